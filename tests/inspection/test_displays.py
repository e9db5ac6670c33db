"""Tables and displays of fitted estimators: their numbers and artists."""

import builtins
import copy
import pickle
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skkan import KANClassifier, KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    KANDisplay,
    LossCurveDisplay,
    edge_functions,
    edge_table,
    node_importances,
    node_names,
    prune,
)
from skkan.inspection._diagram_layout import DiagramLayout, ShownEdges
from skkan.inspection._network_display import NAME_WIDTH, _wrapped

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NAMES = ["age", "height", "income", "site"]
LONG = [
    f"mean of the logarithm of quantity {i} over all the rows of $a_{i} [mg]"
    for i in range(4)
]
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.uniform(-1, 1, (150, 4)), columns=NAMES)
X["site"] = 3.0
Y = np.sin(3 * X["age"]) + 2 * X["height"] + 0.1 * rng.normal(size=150)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def additive():
    """With a posterior; the curve of age bends, that of height is straight."""
    return KANRegressor((), random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def deep():
    """Three layers, a skip and two targets, without a posterior."""
    model = KANRegressor(
        (3, 2), additive_skip=True, solver="lbfgs", max_iter=20, random_state=0
    )
    return model.fit(X, np.column_stack([Y, X["age"] * X["income"]]))


@pytest.fixture(scope="module")
def classifier():
    y = np.digitize(Y, [-1, 0, 1])
    return KANClassifier((2,), solver="lbfgs", max_iter=10, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def wide():
    """30 inputs and ten outputs."""
    many = rng.normal(size=(80, 30))
    targets = many[:, :10] + many[:, 10:20]
    return KANRegressor((8, 8), solver="lbfgs", max_iter=2, random_state=0).fit(
        many, targets
    )


@pytest.fixture(params=["additive", "deep", "classifier"])
def model(request):
    return request.getfixturevalue(request.param)


def without_edges(estimator, *removed):
    """A copy whose edges (layer, output, input) are removed."""
    pruned = copy.deepcopy(estimator)
    arrays = pruned.fitted_model_.network_arrays["layers"]
    for layer, output, source in removed:
        arrays[layer]["mask"][output, source] = 0
        pruned.fitted_model_.layer_statistics[layer].score[output, source] = 0
    return pruned


# Tables


def test_the_table_holds_the_edges_by_importance(model):
    table, edges = edge_table(model), edge_functions(model)
    assert len(table) == len(edges)
    assert table["importance"].is_monotonic_decreasing
    by_nodes = {(edge.source, edge.target): edge for edge in edges}
    for row in table.itertuples():
        source = row.source_level, row.source_position
        edge = by_nodes.pop((source, (row.target_level, row.target_position)))
        for name in ("importance", "std", "low", "high"):
            assert getattr(row, name) == getattr(edge, name)
        assert (row.source, row.target) == (edge.source_name, edge.target_name)
    assert not by_nodes


def test_learnt_strengths_stand_beside_their_edges(additive):
    table = edge_table(additive).sort_values("source_position")
    strengths = table[["alpha_size", "alpha_curvature", "alpha_change"]]
    assert_array_equal(strengths, additive.alpha_)


def test_without_learnt_strengths_there_are_no_columns(deep):
    assert not [name for name in edge_table(deep) if name.startswith("alpha")]


def test_kinds_are_what_the_curves_look_like(additive):
    """The slope of the straight one is that of the law, to the noise of 150 rows."""
    table = edge_table(additive).set_index("source")
    assert table["kind"]["age"] == "curved"
    assert table["kind"]["height"] == "straight"
    assert table["kind"]["site"] == "flat"
    assert_allclose(table["slope"]["height"], 2, atol=0.05)
    assert np.isnan(table["slope"]["age"])
    pruned = edge_table(without_edges(additive, (0, 0, 1))).set_index("source")
    assert pruned["kind"]["height"] == "removed"


def exact_kinds(second, third=0.0):
    """Kinds of the edges of a fit to x0 + `second` x1 + `third` x0^2, on a lattice."""
    one, other = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    rows = np.column_stack([one.ravel(), other.ravel()])
    law = rows[:, 0] + second * rows[:, 1] + third * rows[:, 0] ** 2
    table = edge_table(KANRegressor((), alpha=1e-9, random_state=0).fit(rows, law))
    return table.set_index("source")["kind"].to_dict()


def test_flat_edges_have_a_hundredth_of_the_deviation_of_their_node():
    """That of x0 + s x1 is sqrt(1 + s^2) in units of that of x0."""
    assert exact_kinds(second=0.0097) == {"x0": "straight", "x1": "flat"}
    assert exact_kinds(second=0.0103) == {"x0": "straight", "x1": "straight"}


def test_straight_edges_depart_from_their_line_by_a_fiftieth_of_their_rise():
    """t x^2 departs from a line by 2/3 t at the ends of [-1, 1]; x0 rises by 2."""
    assert exact_kinds(second=1, third=0.058)["x0"] == "straight"
    assert exact_kinds(second=1, third=0.063)["x0"] == "curved"


def test_edges_into_nodes_that_cancel_are_not_flat():
    """They matter for their node if they matter behind it, and the other way round."""
    X = np.random.default_rng(0).uniform(-1, 1, (300, 3))
    y = np.sin(3 * X[:, 0]) * X[:, 1]
    model = KANRegressor((2,), random_state=0).fit(X, y)
    assert model.score(X, y) > 0.99
    table = edge_table(model)
    assert (table["kind"][table["source"] == "x0"] != "flat").any()
    assert (table["kind"][table["source"] == "x2"] == "flat").all()
    # Nodes of scores 100 and 0.001, where the output has 1.
    deep = copy.deepcopy(model)
    deep.fitted_model_.layer_statistics[1].score[:] = [[100.0, 0.001]]
    deep.fitted_model_.layer_statistics[0].score[:] = [
        [0.011, 99, 0.009],
        [2e-5, 0.001, 0.9e-5],
    ]
    kinds = edge_table(deep).set_index(["target", "source"])["kind"] == "flat"
    assert kinds["h1_0"].to_dict() == {"x1": False, "x0": False, "x2": True}
    assert kinds["h1_1"].to_dict() == {"x1": False, "x0": False, "x2": True}


def test_slopes_are_those_of_the_curves():
    """Of degree one on one interval, with a straight base, every curve is straight."""
    model = KANRegressor(
        (2,),
        grid_size=1,
        spline_order=1,
        base_activation="identity",
        solver="lbfgs",
        max_iter=5,
        random_state=0,
    ).fit(X[["age", "height"]], Y)
    table = edge_table(model)
    by_name = {(e.source_name, e.target_name): e for e in edge_functions(model)}
    assert set(table["kind"]) == {"straight"}
    for row in table.itertuples():
        edge = by_name[row.source, row.target]
        rise = edge(row.high) - edge(row.low)
        assert_allclose(row.slope, rise / (row.high - row.low), rtol=0.02)


def test_node_importances_are_sums_over_the_edges(model):
    table, levels = edge_table(model), node_importances(model)
    assert [len(level) for level in levels] == [len(n) for n in node_names(model)]
    for level, scores in enumerate(levels[:-1]):
        of_level = table[table["source_level"] == level]
        sums = of_level.groupby("source_position")["importance"].sum()
        assert_allclose(scores, sums, rtol=1e-12)
    share = levels[0] / levels[0].sum()
    assert_allclose(share, model.feature_importances_, rtol=1e-12)
    assert_allclose(levels[-1], 1 / len(levels[-1]))


def test_a_constant_network_has_no_importances():
    model = KANRegressor((2,), random_state=0).fit(X, np.full(150, 5.0))
    assert not np.concatenate(node_importances(model)).any()
    assert set(edge_table(model)["kind"]) == {"flat"}
    display = KANDisplay.from_estimator(model)
    assert display.shown_ == []
    assert "0 of 10 edges, from 0 of 4 inputs" in one_line(display.note_)
    assert len(EdgeFunctionDisplay.from_estimator(model).edges) == 9


# Selections


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
    with pytest.raises(ValueError, match=r"feature_names must hold .* 4 nodes, got 2"):
        display.from_estimator(deep, feature_names=["a", "b"])
    with pytest.raises(ValueError, match=r"target_names must hold .* 2 nodes, got 1"):
        display.from_estimator(deep, target_names="a")


DISPLAYS = [KANDisplay, EdgeFunctionDisplay, LossCurveDisplay, GridDisplay]
every_display = pytest.mark.parametrize("display", DISPLAYS)


@every_display
def test_unfitted_estimators_are_told(display):
    with pytest.raises(NotFittedError, match="not fitted"):
        display.from_estimator(KANRegressor())
    with pytest.raises(TypeError, match=r"Expected a fitted KANRegressor .* got Ridge"):
        display.from_estimator(Ridge().fit(X, Y))


@every_display
def test_missing_matplotlib_is_told(display, additive, monkeypatch):
    """In scikit-learn's words, before anything else is done."""
    original = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError
        return original(name, *args, **kwargs)

    drawn = display.from_estimator(additive)
    monkeypatch.setattr(builtins, "__import__", absent)
    message = f"{display.__name__}.* requires matplotlib. You can install"
    with pytest.raises(ImportError, match=message):
        display.from_estimator(additive)
    with pytest.raises(ImportError, match=message):
        drawn.plot()


@every_display
def test_plot_returns_the_display_and_uses_the_axes(display, additive):
    figure, ax = plt.subplots()
    drawn = display.from_estimator(additive, ax=ax)
    assert drawn.figure_ is figure
    assert drawn.plot(plt.subplots()[1]) is drawn
    assert drawn.figure_ is plt.gcf()
    assert len(plt.get_fignums()) == 2  # and none besides


@every_display
def test_displays_pass_pickle(display, additive):
    """Figures and models are sent between processes."""
    drawn = display.from_estimator(additive)
    plt.close("all")
    vars(pickle.loads(pickle.dumps(drawn)))


@every_display
def test_drawing_leaves_no_trace(display, additive, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = dict(plt.rcParams), pickle.dumps(additive)
    display.from_estimator(additive)
    assert (dict(plt.rcParams), pickle.dumps(additive)) == before
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


# Curves


def test_panels_hold_the_curves_in_raw_units(model):
    display = EdgeFunctionDisplay.from_estimator(model)
    scores = [edge.importance for edge in display.edges]
    assert (
        scores == sorted(edge_table(model)["importance"], reverse=True)[: len(scores)]
    )
    for edge, line in zip(display.edges, display.lines_, strict=True):
        x = line.get_xdata()
        assert (x[0], x[-1]) == (edge.low, edge.high)
        assert_allclose(line.get_ydata(), edge(x) - edge.mean, rtol=1e-12)


def test_panels_say_what_they_show(classifier, additive):
    edges = [("age", "h1_0"), ("h1_0", "2")]
    display = EdgeFunctionDisplay.from_estimator(classifier, edges=edges)
    assert [ax.get_xlabel() for ax in display.axes_] == ["age", "h1_0"]
    labels = [one_line(ax.yaxis.label) for ax in display.axes_]
    assert labels == [
        "part of h1_0, less its mean",
        "part of logit of 2, less its mean",
    ]
    display = EdgeFunctionDisplay.from_estimator(additive, target_names=["rent $"])
    assert one_line(display.axes_[0].yaxis.label) == "part of rent $, less its mean"
    # The neighbour on the left has said it.
    assert display.axes_[1].get_ylabel() == ""


def one_line(text):
    return text.get_text().replace("\n", " ")


def test_two_classes_and_labels_have_log_odds():
    settings = {"solver": "lbfgs", "max_iter": 3, "random_state": 0}
    y = np.where(Y > 0, "rich", "poor")
    two = KANClassifier((), **settings).fit(X, y)
    labels = KANClassifier((), **settings).fit(X, np.column_stack([Y > 0, Y > 1]) * 1)
    for model, name in ((two, "rich"), (labels, "1")):
        display = EdgeFunctionDisplay.from_estimator(model, edges=[("age", name)])
        label = one_line(display.axes_[0].yaxis.label)
        assert label == f"part of log odds of {name}, less its mean"


def test_bands_are_those_of_the_posterior(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, edges=["age", "income"])
    for edge, line, band in zip(
        display.edges, display.lines_, display.bands_, strict=True
    ):
        x, curve = line.get_data()
        (path,) = band.get_paths()
        deviation = 1.645 * edge.deviation(x)
        assert_allclose(path.vertices[1 : len(x) + 1, 1], curve - deviation, rtol=1e-9)
        upper = path.vertices[len(x) + 2 : -1, 1][::-1]
        assert_allclose(upper, curve + deviation, rtol=1e-9)
    legend = display.axes_[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == ["90% band"]


def test_bands_are_left_out_on_request_and_asked_for_in_vain(additive, deep):
    plain = EdgeFunctionDisplay.from_estimator(additive, with_posterior=False)
    assert plain.bands_ == [] == EdgeFunctionDisplay.from_estimator(deep).bands_
    with pytest.raises(ValueError, match=r"no posterior of its weights.*solver='lm'"):
        EdgeFunctionDisplay.from_estimator(deep, with_posterior=True)


def test_curves_into_one_node_share_their_scale(deep):
    """So that heights compare, and everything drawn is above the density."""
    wanted = ["age", ("h2_0", "y0"), ("h2_1", "y0")]
    display = EdgeFunctionDisplay.from_estimator(deep, edges=wanted)
    limits = {}
    for edge, ax, line in zip(
        display.edges, display.axes_, display.lines_, strict=True
    ):
        limits.setdefault(edge.target, set()).add(ax.get_ylim())
        low, high = ax.get_ylim()
        shares = (line.get_ydata() - low) / (high - low)
        assert shares.min() > 0.2 - 1e-9
        assert shares.max() < 0.95 + 1e-9
        assert (ax.get_yticks() >= low + 0.19 * (high - low)).all()
    assert [len(shared) for shared in limits.values()] == [1] * len(limits)


@pytest.mark.parametrize("size", [(10, 3), (3, 1.5)])
def test_a_small_curve_beside_large_ones_has_its_own_scale_on_request(size, additive):
    """It fills its panel, and its ticks are its own, however small the axes."""
    _, axes = plt.subplots(1, 2, figsize=size)
    display = EdgeFunctionDisplay.from_estimator(
        additive,
        edges=["age", "income"],
        with_posterior=False,
        shared_scale=False,
        ax=axes,
    )
    display.figure_.canvas.draw()
    large, small = (np.ptp(line.get_ydata()) for line in display.lines_)
    assert small < 0.1 * large
    for ax, line in zip(display.axes_, display.lines_, strict=True):
        low, high = ax.get_ylim()
        assert np.ptp(line.get_ydata()) > 0.5 * (high - low)
        shown = [label.get_text() for label in ax.get_yticklabels()]
        assert sum(map(bool, shown)) > 1
    # The neighbour on the left has said what it is a part of.
    assert display.axes_[1].get_ylabel() == ""


def test_density_and_knots_stand_below(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, edges=["age"])
    (edge,) = display.edges
    counts, bounds = np.histogram(X["age"], 40)
    (path,) = display.densities_[0].get_paths()
    heights = {tuple(vertex) for vertex in np.round(path.vertices, 9)}
    expected = np.column_stack([bounds[:-1], 0.12 * counts / counts.max()])
    assert {tuple(vertex) for vertex in np.round(expected, 9)} <= heights
    assert_array_equal(display.knots_[0].get_xdata(), edge.knots)
    low, high = display.axes_[0].get_xlim()
    assert low < edge.knots[0] < edge.knots[-1] < high


def test_a_constant_column_is_a_level_line(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, edges=["site"])
    assert np.ptp(display.lines_[0].get_xdata()) > 0
    assert_allclose(display.lines_[0].get_ydata(), 0, atol=1e-9)
    vertices = display.densities_[0].get_paths()[0].vertices
    assert_allclose(
        [vertices[:, 0].mean(), np.ptp(vertices[:, 1])], [3, 0.12], rtol=1e-2
    )


def test_a_single_axes_is_divided(deep):
    figure, axes = plt.subplots(1, 2)
    display = EdgeFunctionDisplay.from_estimator(
        deep, edges=["age"], ax=axes[1], n_cols=2
    )
    assert len(display.axes_) == 5
    outer = axes[1].get_subplotspec().get_position(figure)
    for ax in display.axes_:
        inner = ax.get_position()
        assert outer.x0 - 1e-9 <= inner.x0 < inner.x1 <= outer.x1 + 1e-9
    assert not axes[1].axison


def test_given_axes_are_used_in_order(deep):
    _, axes = plt.subplots(5)
    display = EdgeFunctionDisplay.from_estimator(deep, edges=["age"], ax=axes)
    assert list(display.axes_) == list(axes)
    assert all(ax.get_ylabel() for ax in axes)


def test_wrong_axes_are_told(deep):
    with pytest.raises(ValueError, match="draws 5 panels, got 2 axes: pass as many"):
        EdgeFunctionDisplay.from_estimator(deep, edges=["age"], ax=plt.subplots(2)[1])
    free = plt.figure().add_axes((0, 0, 1, 1))
    with pytest.raises(ValueError, match="not part of a grid of subplots"):
        EdgeFunctionDisplay.from_estimator(deep, edges=["age"], ax=free)
    with pytest.raises(ValueError, match="n_cols must be an integer of at least 1"):
        EdgeFunctionDisplay.from_estimator(deep, n_cols=0)
    with pytest.raises(ValueError, match=r"n_cols must be .*, got True"):
        EdgeFunctionDisplay.from_estimator(deep, n_cols=True)


@every_display
@pytest.mark.parametrize("kind", ["Figure", "str", "int"])
def test_things_that_are_not_axes_are_told(kind, display, additive):
    ax = {"Figure": plt.figure(), "str": "axes", "int": 3}[kind]
    with pytest.raises(TypeError, match=f"draws into a single Axes, got {kind}: pass"):
        display.from_estimator(additive, ax=ax)


@every_display
@pytest.mark.parametrize(("projection", "kind"), [("3d", "3d"), ("polar", "polar")])
def test_other_kinds_of_axes_are_told(projection, kind, display, additive):
    """Before anything is drawn, and in a list of axes, too."""
    ax = plt.figure().add_subplot(projection=projection)
    before = set(ax.get_children())
    message = f"rectilinear axes, got axes of kind '{kind}': make them without"
    with pytest.raises(ValueError, match=message):
        display.from_estimator(additive, ax=ax)
    if display is EdgeFunctionDisplay:
        with pytest.raises(ValueError, match=message):
            display.from_estimator(additive, edges=["age"], ax=[ax])
    assert set(ax.get_children()) == before


@pytest.mark.parametrize(("thing", "kind"), [("a", "str"), (None, "NoneType")])
def test_lists_of_other_things_are_told(thing, kind, additive):
    with pytest.raises(TypeError, match=f"into a single Axes, got {kind}: pass"):
        EdgeFunctionDisplay.from_estimator(additive, edges=["age"], ax=[thing])


@pytest.mark.parametrize("display", [EdgeFunctionDisplay, KANDisplay])
@pytest.mark.parametrize("max_edges", [0, 1.5, "a", True])
def test_counts_are_positive_integers(max_edges, display, deep):
    with pytest.raises(ValueError, match="max_edges must be at least 1, and an int"):
        display.from_estimator(deep, max_edges=max_edges)


@pytest.mark.parametrize("threshold", [-1, float("nan"), "a"])
def test_thresholds_are_not_negative(threshold, deep):
    with pytest.raises(ValueError, match=f"threshold must be .* got '?{threshold}"):
        KANDisplay.from_estimator(deep, threshold=threshold)


# Small axes without a layout engine


def drawn_small(case, models):
    """Curves drawn into axes as plt.subplots makes them."""
    model, shape, figsize, names = case
    _, axes = plt.subplots(*shape, figsize=figsize)
    if np.size(axes) == 1:
        return EdgeFunctionDisplay.from_estimator(models[model], ax=axes)
    edges = edge_functions(models[model])[: np.size(axes)]
    return EdgeFunctionDisplay.from_estimator(
        models[model],
        edges=[(edge.source, edge.target) for edge in edges],
        feature_names=names,
        ax=axes,
    )


SMALL = {
    "divided": ("deep", (1, 1), (6, 4), None),
    "grid": ("additive", (2, 2), (5, 4), None),
    "row": ("additive", (1, 4), (8, 2), None),
    "long names": ("additive", (1, 4), (8, 2), LONG),
    "other targets": ("deep", (3, 4), (8, 5), LONG),
}


@pytest.fixture(params=SMALL)
def small(request, additive, deep):
    display = drawn_small(SMALL[request.param], {"additive": additive, "deep": deep})
    display.figure_.canvas.draw()
    return display


def test_labels_lie_on_no_other_panel(small):
    """Nor on each other, nor outside of the figure."""
    whole = small.figure_.bbox
    for ax in small.axes_:
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_yticklabels()]
        extents = [text.get_window_extent() for text in texts if text.get_text()]
        others = [other.bbox for other in small.axes_ if other is not ax]
        for extent in extents:
            assert not any(extent.overlaps(other) for other in others)
            assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
            assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1


def test_ticks_of_x_lie_side_by_side(small):
    for ax in small.axes_:
        low, high = ax.get_xlim()
        extents = [
            label.get_window_extent()
            for tick, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
            if low <= tick <= high
        ]
        assert len(extents) > 1
        assert apart([(extent.x0, extent.x1) for extent in extents])


def test_every_panel_has_its_input_and_its_scale(small):
    """The target stands at the left, in the label of x, or at the neighbour's left."""
    before = None
    for ax, edge in zip(small.axes_, small.edges, strict=True):
        low, high = ax.get_ylim()
        assert sum((low <= ax.get_yticks()) & (ax.get_yticks() <= high)) > 1
        x_label, y_label = one_line(ax.xaxis.label), one_line(ax.yaxis.label)
        assert x_label[:3] == edge.source_name[:3]
        says = y_label.startswith("part of ") or x_label.endswith(edge.target_name)
        assert says or before.target == edge.target
        before = edge


def test_labels_inside_are_above_the_curve(additive):
    display = drawn_small(SMALL["row"], {"additive": additive})
    display.figure_.canvas.draw()
    for ax, line in zip(display.axes_, display.lines_, strict=True):
        bottom = ax.xaxis.label.get_window_extent().y0
        assert bottom > ax.bbox.y0 + 0.8 * ax.bbox.height
        heights = ax.transData.transform(line.get_xydata())[:, 1]
        assert heights.max() <= bottom


def test_axes_of_the_usual_size_keep_the_usual_letters(additive):
    display = EdgeFunctionDisplay.from_estimator(additive)
    usual = plt.rcParams["font.size"]
    for ax in display.axes_:
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels()]
        assert {text.get_fontsize() for text in texts} == {usual}


def test_grids_and_losses_fit_small_axes(additive, staged):
    _, axes = plt.subplots(2, 3, figsize=(5, 3))
    grid = GridDisplay.from_estimator(additive, ax=axes[0, 0], feature_names=LONG)
    loss = LossCurveDisplay.from_estimator(staged, ax=axes[0, 1])
    grid.figure_.canvas.draw()
    for ax in (grid.ax_, loss.ax_):
        assert 6 <= ax.get_xticklabels()[0].get_fontsize() < 7
        assert not ax.get_xlabel()  # there is no room above the next row
    ends = [text.get_window_extent() for text in loss.stage_labels_]
    assert apart([(extent.x0, extent.x1) for extent in ends])
    below = GridDisplay.from_estimator(additive, ax=axes[1, 0], feature_names=LONG)
    assert "…" in below.ax_.get_xlabel()


def test_one_iteration_has_one_tick():
    display = LossCurveDisplay([0.5]).plot()
    low, high = display.ax_.get_xlim()
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks[(low <= ticks) & (ticks <= high)], [1])


# Networks


def test_every_shown_edge_carries_its_curve(model):
    """Up to the place and the size of its box."""
    display = KANDisplay.from_estimator(model)
    assert display.shown_
    for edge, curve, box in zip(
        display.shown_, display.curves_, display.boxes_, strict=True
    ):
        values = edge(np.linspace(edge.low, edge.high, len(curve.get_xdata())))
        drawn = -curve.get_ydata()  # rows count downwards
        span = np.ptp(values)
        assert_allclose(
            (drawn - drawn.min()) / np.ptp(drawn),
            (values - values.min()) / span,
            atol=1e-9,
        )
        x, y = curve.get_data()
        left, bottom = box.get_xy()
        assert left < x.min() < x.max() < left + box.get_width()
        assert bottom < y.min() < y.max() < bottom + box.get_height()


def test_lines_lead_from_node_to_box_to_node(model):
    display = KANDisplay.from_estimator(model)
    for edge, line, box in zip(
        display.shown_, display.lines_, display.boxes_, strict=True
    ):
        x, y = line.get_data()
        start, end = display.nodes_[edge.source], display.nodes_[edge.target]
        assert_allclose([x[0], y[0]], np.ravel(start.get_data()))
        assert_allclose([x[-1], y[-1]], np.ravel(end.get_data()))
        gap = np.flatnonzero(np.isnan(x))
        assert len(gap) == 1
        ends = x[gap[0] - 1], x[gap[0] + 1]
        assert_allclose(ends, [box.get_x(), box.get_x() + box.get_width()])
        middle = box.get_y() + box.get_height() / 2
        assert_allclose([y[gap[0] - 1], y[gap[0] + 1]], middle)


def test_opacity_rises_with_importance(deep):
    display = KANDisplay.from_estimator(deep)
    order = np.argsort([edge.importance for edge in display.shown_])
    for artists in (display.lines_, display.curves_):
        opacities = np.array([artist.get_alpha() for artist in artists])[order]
        assert (np.diff(opacities) >= 0).all()
        assert opacities[-1] > 1.5 * opacities[0] > 0.2
    assert display.curves_[order[-1]].get_alpha() == 1


def test_removed_and_negligible_edges_are_hidden_and_counted(additive):
    pruned = without_edges(additive, (0, 0, 2))
    display = KANDisplay.from_estimator(pruned)
    assert [edge.source_name for edge in display.shown_] == ["height", "age"]
    assert one_line(display.note_) == (
        "2 of 4 edges, from 2 of 4 inputs. Left out: 1 removed, 1 of importance below "
        "0.001."
    )
    assert len(display.nodes_) == 5  # idle inputs are faint, not gone
    fade = {text.get_text(): text.get_alpha() for text in display.names_.values()}
    assert fade == {"age": 1, "height": 1, "income": 0.5, "site": 0.5, "y": 1}
    first = KANDisplay.from_estimator(pruned, max_edges=1)
    assert [edge.source_name for edge in first.shown_] == ["height"]
    assert one_line(first.note_).endswith("below 0.001, 1 that matter less.")
    every = KANDisplay.from_estimator(additive, threshold=0)
    assert every.note_ is None
    assert len(every.shown_) == 4


def test_large_networks_keep_the_edges_that_matter(wide):
    """And stay connected: every hidden node shown has a way in and out."""
    display = KANDisplay.from_estimator(wide)
    edges = edge_functions(wide)
    ranked = sorted(edges, key=lambda edge: -edge.importance)[:30]
    shown = {(edge.source, edge.target) for edge in display.shown_}
    assert {(edge.source, edge.target) for edge in ranked} <= shown
    enters, leaves = {t for _, t in shown}, {s for s, _ in shown}
    for node in display.nodes_:
        assert node[0] == 0 or node in enters
        assert node[0] == 3 or node in leaves
    assert {(3, output) for output in range(10)} <= enters
    assert f"{len(shown)} of 384 edges" in display.note_.get_text()


@pytest.mark.parametrize("figsize", [None, (6, 4)])
def test_boxes_and_names_do_not_overlap(figsize, wide):
    """However many there are; small axes do without the names of hidden nodes."""
    ax = None if figsize is None else plt.subplots(figsize=figsize)[1]
    display = KANDisplay.from_estimator(wide, ax=ax)
    for boxes in by_column((box.get_x(), box.get_bbox()) for box in display.boxes_):
        assert apart([(box.y0, box.y1) for box in boxes])
    display.figure_.canvas.draw()
    extents = [
        (node[0], text.get_window_extent())
        for node, text in display.names_.items()
        if text.get_visible()
    ]
    assert {level for level, _ in extents} == ({0, 1, 2, 3} if ax is None else {0, 3})
    for boxes in by_column(extents):
        assert apart([(box.y0, box.y1) for box in boxes])


def by_column(pairs):
    columns = {}
    for column, thing in pairs:
        columns.setdefault(round(column, 6), []).append(thing)
    return columns.values()


def apart(intervals):
    ordered = sorted(intervals)
    return all(a[1] <= b[0] for a, b in pairwise(ordered))


@pytest.mark.parametrize("figsize", [None, (4, 3), (12, 3)])
def test_names_stay_in_the_axes_and_beside_the_boxes(figsize, deep):
    """Long ones, in a figure of its own and in small axes."""
    ax = None
    if figsize is not None:
        ax = plt.figure(figsize=figsize).add_axes((0, 0, 1, 1))
    display = KANDisplay.from_estimator(
        deep, feature_names=LONG, target_names=["a target", "and another one"], ax=ax
    )
    display.figure_.canvas.draw()
    frame = display.ax_.get_window_extent()
    texts = [*display.names_.values(), display.note_]
    for text in filter(None, texts):
        extent = text.get_window_extent()
        assert frame.x0 - 1 <= extent.x0 < extent.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= extent.y0 < extent.y1 <= frame.y1 + 1
    left = min(box.get_window_extent().x0 for box in display.boxes_)
    inputs = [text for node, text in display.names_.items() if node[0] == 0]
    assert max(text.get_window_extent().x1 for text in inputs) < left


def test_shortened_names_are_told_apart():
    assert _wrapped("age") == "age"
    assert _wrapped("way to the city centre") == "way to the city\ncentre"
    lines = _wrapped(LONG[0]).split("\n")
    assert lines == ["mean of the…", "rows of $a_0 [mg]"]
    assert all(len(line) <= NAME_WIDTH + 1 for line in _wrapped("x" * 99).split("\n"))


def test_alike_names_get_their_numbers(additive):
    names = [f"one and the same beginning, {i}, and the same end" for i in range(4)]
    display = KANDisplay.from_estimator(additive, feature_names=names)
    shown = [display.names_[0, i].get_text() for i in range(4)]
    assert [text[:3] for text in shown] == ["0: ", "1: ", "2: ", "3: "]


def test_sums_stand_where_curves_meet(deep):
    display = KANDisplay.from_estimator(deep)
    assert set(display.sums_) == {node for node in display.nodes_ if node[0] > 0}


def test_small_axes_get_fewer_edges(deep):
    _, ax = plt.subplots(figsize=(5, 2))
    small, own = (KANDisplay.from_estimator(deep, ax=where) for where in (ax, None))
    assert 2 <= len(small.shown_) < len(own.shown_)
    row = small.boxes_[0].get_window_extent().height / small.figure_.dpi
    assert row > 0.1  # inches
    forced = KANDisplay.from_estimator(deep, ax=ax, max_edges=30)
    assert len(forced.shown_) == len(own.shown_)


def test_shared_scale_compares_curves_of_one_node(additive):
    display = KANDisplay.from_estimator(additive, shared_scale=True, threshold=0)
    rises = [
        np.ptp(edge(np.linspace(edge.low, edge.high, 101))) for edge in display.shown_
    ]
    drawn = [np.ptp(curve.get_ydata()) for curve in display.curves_]
    heights = [0.8 * box.get_height() for box in display.boxes_]
    assert_allclose(drawn, np.multiply(heights, rises) / max(rises), atol=1e-9)


def test_skips_run_below_the_hidden_nodes(deep):
    edges = edge_functions(deep)
    layout = DiagramLayout.of(edges, set())
    boxes, paths = {"skip": [], "other": []}, []
    for edge, (_, y), path in zip(edges, layout.boxes, layout.paths, strict=True):
        is_skip = (edge.source[0], edge.target[0]) == (0, 3)
        boxes["skip" if is_skip else "other"].append(y)
        if is_skip:
            paths.append(path)
    lowest = max(y for node, (_, y) in layout.nodes.items() if 0 < node[0] < 3)
    assert len(boxes["skip"]) == 8
    assert min(boxes["skip"]) > max(*boxes["other"], lowest)
    for x, y in paths:
        passing = (x > 0.7) & (x < 2.3)
        assert (y[passing] > lowest).all()


def test_choice_counts_every_edge_once(deep):
    edges = edge_functions(without_edges(deep, (0, 0, 0), (1, 1, 1)))
    for max_edges in (1, 5, 100):
        choice = ShownEdges.of(edges, max_edges=max_edges, threshold=0.01)
        counted = choice.n_removed + choice.n_negligible + choice.n_lesser
        assert counted + len(choice.shown) == choice.n_edges == len(edges)
        assert choice.n_removed == 2


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_colours_follow_the_style(style, additive):
    from matplotlib.colors import same_color

    with plt.style.context(style):
        display = KANDisplay.from_estimator(additive)
        cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        text = plt.rcParams["text.color"]
        assert same_color(display.curves_[0].get_color(), cycle[0])
        assert same_color(display.lines_[0].get_color(), text)
        ground = display.boxes_[0].get_facecolor()
        assert same_color(ground, plt.rcParams["figure.facecolor"])


@pytest.mark.parametrize(("color", "seen"), [("ivory", "ivory"), ("none", "white")])
def test_nodes_have_the_colour_behind_a_transparent_figure(color, seen, additive):
    """Not that of a transparent black, which is black."""
    from matplotlib.colors import same_color

    whole = plt.figure(facecolor=color)
    for figure in (whole, whole.subfigures(1, 2)[0]):
        display = KANDisplay.from_estimator(additive, ax=figure.subplots())
        for node in display.sums_:
            assert same_color(display.nodes_[node].get_markerfacecolor(), seen)


def test_keywords_reach_the_artists(additive):
    display = KANDisplay.from_estimator(
        additive,
        line_kw={"linestyle": "--"},
        box_kw={"linewidth": 3},
        curve_kw={"color": "red"},
        text_kw={"fontsize": 5},
    )
    assert {line.get_linestyle() for line in display.lines_} == {"--"}
    assert {box.get_linewidth() for box in display.boxes_} == {3}
    assert {curve.get_color() for curve in display.curves_} == {"red"}
    assert {text.get_fontsize() for text in display.names_.values()} == {5}
    curves = EdgeFunctionDisplay.from_estimator(
        additive,
        line_kw={"color": "red"},
        band_kw={"alpha": 0.5},
        density_kw={"alpha": 0.4},
        knots_kw={"marker": "x"},
    )
    assert {line.get_color() for line in curves.lines_} == {"red"}
    assert {band.get_alpha() for band in curves.bands_} == {0.5}
    assert {density.get_alpha() for density in curves.densities_} == {0.4}
    assert {knots.get_marker() for knots in curves.knots_} == {"x"}
    grid = GridDisplay.from_estimator(additive, linewidth=4, knots_kw={"marker": "x"})
    assert {line.get_linewidth() for line in grid.lines_} == {4}
    assert grid.knots_.get_marker() == "x"
    loss = LossCurveDisplay.from_estimator(additive, color="red", label="mine")
    assert loss.line_.get_color() == "red"
    assert loss.line_.get_label() == "mine"


# Losses


@pytest.fixture(scope="module")
def staged():
    model = KANRegressor(
        (), grid_schedule=(8, 12), solver="lbfgs", max_iter=8, random_state=0
    )
    return model.fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:])


def test_losses_and_stages_are_those_of_the_fit(staged):
    display = LossCurveDisplay.from_estimator(staged, scale="log")
    n_iter = len(staged.loss_curve_)
    assert_array_equal(display.line_.get_xdata(), np.arange(1, n_iter + 1))
    assert_array_equal(display.line_.get_ydata(), staged.loss_curve_)
    validation = display.validation_line_.get_ydata()
    assert_array_equal(validation, staged.validation_loss_curve_)
    ends = [line.get_xdata()[0] for line in display.stage_lines_]
    assert_array_equal(ends, np.array(staged.stage_ends_[:-1]) + 0.5)
    labels = [text.get_text() for text in display.stage_labels_]
    assert labels == ["grid 5", "grid 8", "grid 12"]
    assert display.ax_.get_yscale() == "log"


def test_without_validation_or_stages_there_is_one_line(additive):
    display = LossCurveDisplay.from_estimator(additive)
    assert display.validation_line_ is None
    assert display.stage_lines_ == [] == display.stage_labels_
    assert display.ax_.get_lines()[:] == [display.line_]


@pytest.mark.parametrize(
    ("curve", "validation", "scale"),
    [
        ([1.0, 0.5, 0.2], None, "linear"),
        ([1.0, 0.5, 0.1], None, "log"),
        ([1.0, 0.5], [0.5, 0.05], "log"),
        ([1.0, 0.1, 0.0], None, "linear"),
        ([1.0, -0.01], None, "linear"),
    ],
)
def test_scale_is_log_where_losses_fall_tenfold(curve, validation, scale):
    display = LossCurveDisplay(curve, validation_loss_curve=validation).plot()
    assert display.ax_.get_yscale() == scale
    assert display.plot(scale="linear").ax_.get_yscale() == "linear"


@pytest.mark.parametrize("figsize", [(3, 2), (2.5, 2), (6.4, 4.8)])
@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_legend_lies_on_no_curve(figsize, scale, falls, layout):
    """However small the axes are, and whichever way the curves go."""
    losses = np.geomspace(1, 1e-4, 40)[:: 1 if falls else -1]
    validation = np.full(40, 0.5)
    _, ax = plt.subplots(figsize=figsize, layout=layout)
    display = LossCurveDisplay(
        losses, validation_loss_curve=validation, stage_ends=[10, 40]
    ).plot(ax, scale=scale)
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    for line in (display.line_, display.validation_line_):
        assert (
            not line.get_path()
            .transformed(ax.transData)
            .intersects_bbox(box, filled=False)
        )
    low, high = ax.get_ylim()
    assert low < losses.min()
    assert high > losses.max()


def test_other_scales_are_told():
    with pytest.raises(ValueError, match="'auto', 'log' or 'linear', got 'sqrt'"):
        LossCurveDisplay([1.0]).plot(scale="sqrt")


def test_a_warm_start_has_no_grid_sizes_to_name(staged):
    """It is not known which stages it went through."""
    later = copy.deepcopy(staged).set_params(warm_start=True, grid_schedule=(8, 12, 16))
    display = LossCurveDisplay.from_estimator(later.fit(X, Y))
    assert len(display.stage_lines_) == len(later.stage_ends_) - 1
    assert display.stage_labels_ == []


# Grids


@pytest.mark.parametrize("node", ["age", 0, (0, 0), "h1_1", (2, 0)])
def test_splines_are_those_of_the_basis(node, deep):
    """They sum to one, and the curve of an edge is made of them."""
    display = GridDisplay.from_estimator(deep, node)
    edge = display.edge
    x = display.lines_[0].get_xdata()
    values = np.array([line.get_ydata() for line in display.lines_])
    assert_allclose(values.sum(0), 1, rtol=1e-12)
    assert_allclose(edge.spline.c @ values, edge.spline(x), atol=1e-10)
    assert (x[0], x[-1]) == (edge.knots[0], edge.knots[-1])
    assert_array_equal(display.knots_.get_xdata(), edge.knots)
    assert display.ax_.get_xlabel() == edge.source_name


def test_nodes_that_do_not_exist_are_told(deep):
    for node in ("y0", "weight", 4, (3, 0)):
        with pytest.raises(ValueError, match="There is no source node"):
            GridDisplay.from_estimator(deep, node)


@pytest.mark.parametrize("display", [KANDisplay, LossCurveDisplay])
def test_several_axes_where_one_is_drawn_into(display):
    model = KANRegressor((), solver="lbfgs", max_iter=5).fit(
        [[0.0], [1], [2]], [0, 1, 4]
    )
    with pytest.raises(TypeError, match="single Axes, got ndarray"):
        display.from_estimator(model, ax=np.array([None, None]))


def test_names_of_all_features_after_pruning(rng):
    """Also of those that the network does not use."""
    X = rng.uniform(-1, 1, (100, 3))
    model = KANRegressor((), prune_threshold=0.1).fit(X, X[:, 1] ** 2)
    assert model.network_.used_features.tolist() == [1]
    display = EdgeFunctionDisplay.from_estimator(model, feature_names=list("pqr"))
    assert [edge.source_name for edge in display.edges] == ["q"]
