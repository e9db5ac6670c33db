"""The diagram of a network: its numbers and artists."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from models_to_draw import LONG, X, Y, apart, one_line, without_edges
from numpy.testing import assert_allclose

from skkan import KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    KANDisplay,
    LossCurveDisplay,
    edge_functions,
)
from skkan.inspection._diagram_layout import OTHERS, DiagramLayout

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("threshold", [-1, float("nan"), "a"])
def test_thresholds_are_not_negative(threshold, deep):
    with pytest.raises(ValueError, match=f"threshold must be .* got '?{threshold}"):
        KANDisplay.from_estimator(deep, threshold=threshold)


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
        "0.0001."
    )
    assert len(display.nodes_) == 5  # idle inputs are faint, not gone
    fade = {text.get_text(): text.get_alpha() for text in display.names_.values()}
    assert fade == {"age": 1, "height": 1, "income": 0.5, "site": 0.5, "y": 1}
    first = KANDisplay.from_estimator(pruned, max_edges=1)
    assert [edge.source_name for edge in first.shown_] == ["height"]
    share = 1 - edge_functions(additive)[0].importance
    assert one_line(first.note_) == (
        "Thin lines: 1 of 4 edges. The most important edge into the output carries "
        f"{share:.0%} of the variance. Left out: 1 removed, 1 of importance below "
        "0.0001."
    )
    every = KANDisplay.from_estimator(additive, threshold=0)
    assert every.note_ is None
    assert len(every.shown_) == 4


def test_edges_that_have_never_been_there_are_not_counted():
    """Those that `interaction_cst` leaves out."""
    groups = [("age", "height")]
    model = KANRegressor((2,), interaction_cst=groups, solver="lbfgs", max_iter=9)
    display = KANDisplay.from_estimator(model.fit(X, Y))
    assert len(display.edges) == 2 * 2 + 2 + 4
    assert one_line(display.note_).split(" edges")[0].endswith(" of 10")


def test_large_networks_show_the_curves_that_matter(wide):
    """And are connected: every node shown has a curve on the way in and out."""
    display = KANDisplay.from_estimator(wide)
    into_outputs = [e for e in display.edges if e.target[0] == 3]
    ranked = sorted(into_outputs, key=lambda edge: -edge.importance)
    of_each = {edge.target: edge for edge in reversed(ranked)}
    assert set(of_each.values()) <= set(display.shown_)
    assert len(display.shown_) <= 30
    enters = {edge.target for edge in display.shown_}
    leaves = {edge.source for edge in display.shown_}
    for level, position in display.nodes_:
        if 0 < level < 3 and position != OTHERS:
            assert {(level, position)} <= enters & leaves
    assert {(3, output) for output in range(10)} <= enters


@pytest.mark.parametrize("max_edges", [3, 12, 30])
def test_no_input_of_a_shown_node_is_cut_off(max_edges, wide):
    """Edges without a curve are lines, each counted once."""
    display = KANDisplay.from_estimator(wide, max_edges=max_edges, threshold=0)
    pairs = [(edge.source, edge.target) for edge in display.edges]
    known = {(edge.source, edge.target) for edge in display.shown_}
    places = set(display.nodes_)
    expected = {
        tuple(node if node in places else (node[0], OTHERS) for node in pair)
        for pair in pairs
        if pair not in known
    }
    assert set(display.plain_lines_) == expected
    note = one_line(display.note_)
    assert note.startswith(f"Thin lines: {384 - len(known)} of 384 edges")
    for node, text in display.names_.items():
        if node[1] == OTHERS:
            n_others = [30, 8, 8][node[0]] - sum(
                level == node[0] and position != OTHERS for level, position in places
            )
            assert text.get_text().startswith(f"{n_others} other")
    for line, artist in display.plain_lines_.items():
        is_bundle = OTHERS in (line[0][1], line[1][1])
        assert artist.get_linestyle() == ("--" if is_bundle else "-")
        x, y = artist.get_data()
        ends = [display.nodes_[node].get_xydata()[0] for node in line]
        assert_allclose([[x[0], y[0]], [x[-1], y[-1]]], ends)


def test_negligible_edges_are_left_out_unless_they_add_up(additive):
    """Each moves the output by less than 1%, 20 of them perhaps by a tenth."""
    edge = edge_functions(additive)[2]
    few, many = (
        [
            replace(edge, source=(0, number), importance=0.00009)
            for number in range(count)
        ]
        for count in (5, 20)
    )
    large = replace(edge, source=(0, 99), importance=0.9)
    assert KANDisplay([large, *few]).plot().plain_lines_ == {}
    lines = KANDisplay([large, *many]).plot().plain_lines_
    assert sum(line[1] == edge.target for line in lines) == len(lines) > 0


def test_members_of_an_ensemble_are_drawn_one_by_one(ensemble):
    """All nodes of one, without the direct edges."""
    of_nodes = ensemble.network_.members.tolist()
    for member in range(4):
        display = KANDisplay.from_estimator(ensemble, member=member, threshold=0)
        drawn = {node for node in display.nodes_ if node[0] == 1}
        assert drawn == {(1, n) for n, of in enumerate(of_nodes) if of == member}
        assert {edge.source for edge in display.shown_ if edge.target[0] == 2} == drawn
        assert {edge.target[0] - edge.source[0] for edge in display.edges} == {1}
        text = f"Member {member} alone, of 0 to 3."
        assert one_line(display.note_).startswith(text)
    whole = KANDisplay.from_estimator(ensemble)
    assert len([node for node in whole.nodes_ if node[0] == 1]) < 40


def test_the_note_tells_what_the_curves_carry(deep):
    """The rest of the output's variance is lost if means replace the other ones."""
    display = KANDisplay.from_estimator(deep, max_edges=12, threshold=0)
    x = torch.from_numpy(deep.fitted_model_.scaled(X.to_numpy()))
    passes = deep.network_.propagate(x)[1]
    scale = deep.fitted_model_.output_scaling.scale
    inputs = {0: X.to_numpy(), 2: passes[2].inputs.detach().numpy()}
    ends = [edge for edge in display.edges if edge.target[0] == 3]
    ranked = sorted(ends, key=lambda edge: -edge.importance)
    count = next(n for n, edge in enumerate(ranked) if edge not in display.shown_)
    drawn = np.zeros((len(X), 2))
    for edge in ranked[:count]:
        values = edge(inputs[edge.source[0]][:, edge.source[1]])
        drawn[:, edge.target[1]] += values / scale[edge.target[1]]
    y = deep.predict(X) / scale
    share = 1 - np.var(y - drawn, axis=0).sum() / np.var(y, axis=0).sum()
    text = f"The {count} most important edges into the outputs carry {share:.0%} of the"
    assert text in one_line(display.note_)


def test_other_members_are_told(ensemble, deep):
    with pytest.raises(ValueError, match=r"member must be one of .* got 4"):
        KANDisplay.from_estimator(ensemble, member=4)
    with pytest.raises(ValueError, match=r"member must be None, since .* no ensemble"):
        KANDisplay.from_estimator(deep, member=0)


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


def test_alike_names_get_their_numbers(additive):
    names = [f"one and the same beginning, {i}, and the same end" for i in range(3)]
    names.append("way to the city centre")
    display = KANDisplay.from_estimator(additive, feature_names=names)
    shown = [display.names_[0, i].get_text() for i in range(4)]
    assert [text[:3] for text in shown[:3]] == ["0: ", "1: ", "2: "]
    assert shown[3] == "way to the city\ncentre"


def test_sums_stand_where_curves_meet(deep):
    display = KANDisplay.from_estimator(deep)
    assert set(display.sums_) == {node for node in display.nodes_ if node[0] > 0}


def test_a_product_stands_behind_its_factors():
    """As in the KAN 2.0 paper: a multiplication sign, joined to two sums."""
    model = KANRegressor((1,), n_multiplications=1, max_iter=5, random_state=0)
    display = KANDisplay.from_estimator(model.fit(X, Y), max_edges=1)
    product, factors = (1, 1), [(1, 2), (1, 3)]
    assert display.sums_[product].get_text() == r"$\times$"
    assert {display.sums_[each].get_text() for each in factors} == {r"$\Sigma$"}
    assert list(display.factor_lines_) == factors
    (end,) = np.transpose(display.nodes_[product].get_data())
    places = []
    for factor, line in display.factor_lines_.items():
        start, stop = np.transpose(line.get_data())
        assert_allclose(start, np.ravel(display.nodes_[factor].get_data()))
        assert_allclose(stop, end)
        places.append(start)
    assert_allclose(np.mean(places, axis=0)[1], end[1])
    assert np.max(places, axis=0)[0] < end[0]
    # However few curves are to be drawn, each factor has one, and the product a name.
    assert {edge.target for edge in display.shown_} >= set(factors)
    assert set(factors).isdisjoint(display.names_)
    assert display.names_[product].get_text() == "h1_1"


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


@pytest.mark.parametrize("max_edges", [1, 5, 100])
def test_the_note_counts_every_edge_once(max_edges, deep):
    pruned = without_edges(deep, (0, 0, 0), (1, 1, 1))
    display = KANDisplay.from_estimator(pruned, max_edges=max_edges, threshold=1e-3)
    note = one_line(display.note_)
    n_shown, n_all = len(display.shown_), len(display.edges)
    if display.plain_lines_:
        assert f" of {n_all} edges" in note
    else:
        assert note.startswith(f"{n_shown} of {n_all} edges")
    n_lines = re.match(r"Thin lines: (\d+) of", note)
    left_out = note.split("Left out: ")[1].split(", ")
    counts = [int(part.split()[0]) for part in left_out]
    assert counts[0] == 2  # removed
    n_lines = int(n_lines[1]) if n_lines else 0
    assert sum(counts) + n_lines + n_shown == n_all


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
