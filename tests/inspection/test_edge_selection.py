"""Edges and nodes are found by name and by position."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import X, Y, one_line, without_edges

from skkan import KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    KANDisplay,
    node_importances,
    prune,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_edges_are_found_by_name_and_by_position(deep):
    def ends(wanted):
        display = EdgeFunctionDisplay.from_estimator(deep, edges=wanted)
        return [(edge.source, edge.target) for edge in display.edges]

    pair = [((0, 1), (1, 2))]
    assert ends([("height", "h1_2")]) == ends([((0, 1), "h1_2")]) == ends(pair) == pair
    leaving = [((0, 1), (1, o)) for o in range(3)] + [((0, 1), (3, o)) for o in (0, 1)]
    assert ends(["height"]) == ends("height") == ends([1]) == leaving
    assert ends(["height", *pair]) == leaving  # each once
    assert ends([("h2_1", "y0"), "h1_0"]) == [
        ((2, 1), (3, 0)),
        ((1, 0), (2, 0)),
        ((1, 0), (2, 1)),
    ]


def test_removed_edges_are_not_drawn(additive):
    """Neither those of an input nor those asked for one by one."""
    gone = without_edges(additive, (0, 0, 1))
    drawn = EdgeFunctionDisplay.from_estimator(gone).edges
    assert "height" not in [edge.source_name for edge in drawn]


def test_a_removed_edge_is_told_apart_from_one_that_never_was(deep):
    gone = without_edges(deep, (0, 2, 1))
    message = r"edge \('height', 'h1_2'\) was removed .* 'height' .* \['h1_0', 'h1_1'"
    with pytest.raises(ValueError, match=message):
        EdgeFunctionDisplay.from_estimator(gone, edges=[("height", "h1_2")])
    left = EdgeFunctionDisplay.from_estimator(gone, edges=["height"]).edges
    assert [edge.target_name for edge in left] == ["h1_0", "h1_1", "y0", "y1"]


@pytest.fixture(scope="module")
def pruned(additive):
    """Of four inputs, age and height are left."""
    return prune(additive, X, Y, threshold=0.02)


@pytest.mark.parametrize("node", ["income", 2, (0, 2)])
def test_inputs_that_pruning_removed_are_told(node, pruned, additive):
    """Also those that are still in the network, but without edges."""
    message = r"input 'income' was removed by pruning.* remain: \['age', 'height'\]"
    masked = without_edges(additive, (0, 0, 2), (0, 0, 3))
    for model in (pruned, masked):
        with pytest.raises(ValueError, match=message):
            EdgeFunctionDisplay.from_estimator(model, edges=[(node, "y")])
        with pytest.raises(ValueError, match=message):
            GridDisplay.from_estimator(model, node)
    with pytest.raises(ValueError, match=r"input 'c' was removed.* \['a', 'b'\]"):
        GridDisplay.from_estimator(pruned, node=2, feature_names=list("abcd"))
    with pytest.raises(ValueError, match="no source node 'weight'"):
        EdgeFunctionDisplay.from_estimator(pruned, edges=["weight"])


def test_without_a_node_the_first_input_left_is_drawn(additive):
    assert GridDisplay.from_estimator(additive).edge.source_name == "age"
    without_first = without_edges(additive, (0, 0, 0))
    assert GridDisplay.from_estimator(without_first).edge.source_name == "height"


def test_the_diagram_counts_pruned_inputs(pruned):
    note = one_line(KANDisplay.from_estimator(pruned).note_)
    assert note == "2 of 2 edges, from 2 of 4 inputs. Left out: 2 pruned inputs."


def test_a_network_without_edges_has_nothing_to_draw(additive):
    """All importances are below two."""
    with pytest.warns(UserWarning, match="it predicts a constant"):
        empty = prune(additive, X, Y, threshold=2.0)
    for draw in (
        EdgeFunctionDisplay.from_estimator,
        GridDisplay.from_estimator,
        lambda model: EdgeFunctionDisplay.from_estimator(model, edges=["age"]),
        lambda model: GridDisplay.from_estimator(model, "site"),
    ):
        with pytest.raises(ValueError, match="All edges of this network were removed"):
            draw(empty)
    note = one_line(KANDisplay.from_estimator(empty).note_)
    assert note.startswith("0 of 1 edges, from 0 of 4 inputs")
    assert not np.concatenate(node_importances(empty)).any()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (["weight"], r"no source node 'weight', expected one of \['age', 'height'"),
        ([7], "no source node 7"),
        ([-1], "no source node -1"),
        ([("age", "h9_9")], r"no target node 'h9_9', expected one of \['h1_0'"),
        ([((4, 0), (1, 0))], r"no source node \(4, 0\)"),
        ([("age", "h2_0")], r"no edge \('age', 'h2_0'\) .*edge_table"),
        ([("age", "h1_0", "y0")], r"a pair \(source, target\) or the name"),
        ([True], "no source node True"),
        (7, "no source node 7"),
        ([3.5], r"a pair \(source, target\) or the name of a feature, got 3.5"),
        ([(3.5, "y0")], "no source node 3.5"),
        ([], "at least one edge, got none"),
    ],
)
def test_edges_that_do_not_exist_are_told(edges, message, deep):
    with pytest.raises(ValueError, match=message):
        EdgeFunctionDisplay.from_estimator(deep, edges=edges)
    assert not plt.get_fignums()


def test_a_name_of_two_nodes_is_told(additive):
    with pytest.raises(ValueError, match=r"'a' is the name of the source nodes \[\(0,"):
        GridDisplay.from_estimator(additive, "a", feature_names=["a", "a", "b", "c"])


@pytest.mark.parametrize("display", [KANDisplay, EdgeFunctionDisplay])
def test_names_are_as_many_as_nodes(display, deep):
    with pytest.raises(ValueError, match=r"feature_names .* each of the 4 features, g"):
        display.from_estimator(deep, feature_names=["a", "b"])
    with pytest.raises(ValueError, match=r"target_names must hold .* 2 targets, got 1"):
        display.from_estimator(deep, target_names="a")


@pytest.mark.parametrize("display", [EdgeFunctionDisplay, KANDisplay])
@pytest.mark.parametrize("max_edges", [0, 1.5, "a", True])
def test_counts_are_positive_integers(max_edges, display, deep):
    with pytest.raises(ValueError, match="max_edges must be an integer of at least 1"):
        display.from_estimator(deep, max_edges=max_edges)


def test_names_of_all_features_after_pruning(rng):
    """Also of those that the network does not use."""
    X = rng.uniform(-1, 1, (100, 3))
    model = KANRegressor((), prune_threshold=0.1).fit(X, X[:, 1] ** 2)
    assert model.network_.used_features.tolist() == [1]
    display = EdgeFunctionDisplay.from_estimator(model, feature_names=list("pqr"))
    assert [edge.source_name for edge in display.edges] == ["q"]
