"""The table of edges and the importances of nodes."""

import numpy as np
import pytest
from models_to_draw import X, Y, one_line, without_edges
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    KANDisplay,
    edge_functions,
    edge_table,
    node_importances,
    node_names,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    """What the output loses decides, whatever the curves do inside."""
    X = np.random.default_rng(0).uniform(-1, 1, (300, 3))
    y = np.sin(3 * X[:, 0]) * X[:, 1]
    model = KANRegressor((2,), grid_size=5, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.99
    table = edge_table(model)
    assert (table["kind"][table["source"] == "x0"] != "flat").any()
    assert (table["kind"][table["source"] == "x2"] == "flat").all()


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


def test_node_importances_are_those_of_the_fitted_network(model):
    """Inputs have their shares, and a node of one edge has the score of its edge."""
    table, levels = edge_table(model), node_importances(model)
    assert [len(level) for level in levels] == [len(n) for n in node_names(model)]
    assert_array_equal(levels[0], model.feature_importances_)
    assert_allclose(levels[-1].sum(), 1, rtol=1e-9)
    for level, scores in enumerate(levels[1:-1], start=1):
        of_level = table[table["source_level"] == level]
        for position, edges in of_level.groupby("source_position"):
            if len(edges) == 1:
                assert_allclose(scores[position], edges["importance"].item())


def test_a_constant_network_has_no_importances():
    model = KANRegressor((2,), random_state=0).fit(X, np.full(150, 5.0))
    assert not np.concatenate(node_importances(model)).any()
    assert set(edge_table(model)["kind"]) == {"flat"}
    display = KANDisplay.from_estimator(model)
    assert display.shown_ == []
    assert "0 of 10 edges, from 0 of 4 inputs" in one_line(display.note_)
    assert len(EdgeFunctionDisplay.from_estimator(model).edges) == 9
