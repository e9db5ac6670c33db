"""The losses of a fit: lines, stages and legend."""

import copy

import matplotlib.pyplot as plt
import numpy as np
import pytest
from models_to_draw import X, Y, apart, one_line
from numpy.testing import assert_array_equal

from skkan import KANRegressor
from skkan.inspection import LossCurveDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_legend_lies_on_no_curve(scale, falls, layout):
    """In axes of the usual size, whichever way the curves go."""
    losses = np.geomspace(1, 1e-4, 40)[:: 1 if falls else -1]
    validation = np.full(40, 0.5)
    _, ax = plt.subplots(layout=layout)
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


def test_one_iteration_has_one_tick():
    display = LossCurveDisplay([0.5]).plot()
    low, high = display.ax_.get_xlim()
    ticks = display.ax_.get_xticks()
    assert_array_equal(ticks[(low <= ticks) & (ticks <= high)], [1])


def test_names_of_stages_lie_side_by_side(staged):
    display = LossCurveDisplay.from_estimator(staged)
    short = LossCurveDisplay(
        np.geomspace(1, 0.1, 60), stage_ends=[1, 5, 60], grid_sizes=[5, 8, 12]
    ).plot()
    assert [text.get_text() for text in short.stage_labels_] == ["", "8", "grid 12"]
    for each in (display, short):
        each.figure_.canvas.draw()
        names = [text for text in each.stage_labels_ if text.get_text()]
        extents = [text.get_window_extent() for text in names]
        assert apart([(extent.x0, extent.x1) for extent in extents])


def search_results(*candidates):
    """As estimators have them, from (sizes, alpha, number, score, weight, reason)."""
    sizes, alpha, count, score, weight, reason = zip(*candidates, strict=True)
    of_sizes = np.empty(len(sizes), dtype=object)
    of_sizes[:] = sizes
    return {
        "param_hidden_layer_sizes": np.ma.array(of_sizes),
        "param_alpha": np.ma.masked_invalid(np.array(alpha, dtype=float)),
        "n_networks": np.array(count),
        "validation_score": np.array(score),
        "weight": np.array(weight),
        "reason": np.array(reason, dtype=object),
    }


SEARCH = [
    ((), np.nan, 1, -0.4, 0.25, "chosen: 25% of the prediction; beside others"),
    ((10,), 1e-1, 1, -0.9, 0.0, "another penalty"),
    ((5,), np.nan, 1, -0.6, 0.0, "another candidate"),  # amid a path
    ((10,), 1e-2, 1, -0.5, 0.0, "promising"),
    ((10,), 1e-1, 4, -0.8, 0.0, "another penalty"),
    ((10,), 1e-2, 3, -0.3, 0.75, "chosen: 75% of the prediction; t = 2 > 1"),
    ((10,), 1e-3, 0, np.nan, 0.0, "diverged"),
]


def test_a_search_has_its_paths_and_its_choice():
    """One line for each path, dashed ones for learnt penalties, stars for weights."""
    display = LossCurveDisplay([0.1], search_results=search_results(*SEARCH)).plot()
    lines = {line.get_label(): line for line in display.search_lines_}
    assert list(lines) == [
        "additive model, penalty learnt",
        "network (10,)",
        "network (5,), penalty learnt",
        "mean of 4 networks (10,)",
    ]
    dashed = [line for line in display.search_lines_ if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [0.4, 0.6]
    assert_array_equal(lines["network (10,)"].get_xydata(), [[0.1, 0.9], [0.01, 0.5]])
    mean = lines["mean of 4 networks (10,)"]
    assert_array_equal(mean.get_ydata(), [0.8, 0.3, np.nan])
    assert [star.get_ydata()[0] for star in display.chosen_] == [0.4, 0.3]
    assert display.chosen_[1].get_xdata() == [0.01]
    assert one_line(display.ax_.title) == (
        "Chosen: 75% mean of 4 networks (10,) and 25% additive model, penalty learnt, "
        "since t = 2 > 1"
    )
    left, right = display.ax_.get_xlim()
    assert left > 0.1 > 0.01 > right  # in the order of the training
    assert display.line_ is None


def test_a_fit_with_a_search_shows_it_unless_asked_for_the_iterations():
    model = KANRegressor(solver="lbfgs", max_iter=5, random_state=0).fit(X, Y)
    display = LossCurveDisplay.from_estimator(model)
    drawn = [line.get_ydata()[0] for line in display.search_lines_]
    assert_array_equal(drawn, -model.search_results_["validation_score"])
    assert one_line(display.ax_.title).startswith("Chosen: 100% ")
    iterations = display.plot(course="iterations")
    assert_array_equal(iterations.line_.get_ydata(), model.loss_curve_)
    assert iterations.search_lines_ == [] == iterations.chosen_


@pytest.mark.parametrize("worst", [0.9, 90.0])
def test_the_legend_of_a_search_lies_on_no_curve(worst):
    """On both scales of the losses."""
    candidates = [list(each) for each in SEARCH]
    candidates[-1][3], candidates[1][3] = -worst, -worst
    display = LossCurveDisplay([0.1], search_results=search_results(*candidates)).plot()
    assert display.ax_.get_yscale() == ("log" if worst > 1 else "linear")
    display.figure_.canvas.draw()
    box = display.ax_.get_legend().get_window_extent()
    for line in display.search_lines_:
        path = line.get_transform().transform_path(line.get_path())
        assert not path.intersects_bbox(box, filled=False)


def test_candidates_without_a_path_are_compared_side_by_side():
    """As two structures are under a solver of one's own; rounds are counted."""
    learnt = [
        ((), np.nan, 1, -0.4, 1.0, "chosen: 100% of the prediction; no other"),
        ((5,), np.nan, 1, np.nan, 0.0, "diverged"),
    ]
    display = LossCurveDisplay([0.1], search_results=search_results(*learnt)).plot()
    labels = [line.get_label() for line in display.search_lines_]
    assert labels[1] == "network (5,), penalty learnt, diverged"
    assert len(display.ax_.get_xticks()) == 0
    rounds = [((), 10.0 ** (-n % 2), 1, -0.4, n == 3, "chosen; no") for n in range(4)]
    display = LossCurveDisplay([0.1], search_results=search_results(*rounds)).plot()
    labels = [line.get_label() for line in display.search_lines_]
    assert labels == [f"additive model, round {n}" for n in (1, 2, 3)]


def test_a_search_without_rows_held_out_shows_the_iterations(additive):
    alone = [((), np.nan, 1, np.nan, 1.0, "chosen: 100% of the prediction; none")]
    display = LossCurveDisplay([0.1, 0.2], search_results=search_results(*alone))
    assert len(display.plot().line_.get_ydata()) == 2
    for each in (display, LossCurveDisplay.from_estimator(additive)):
        with pytest.raises(
            ValueError, match="needs a fit that has compared structures"
        ):
            each.plot(course="search")
    with pytest.raises(ValueError, match=r"course must be one of .* got 'epochs'"):
        display.plot(course="epochs")


def test_other_scales_are_told():
    with pytest.raises(ValueError, match="'auto', 'log' or 'linear', got 'sqrt'"):
        LossCurveDisplay([1.0]).plot(scale="sqrt")


def test_a_warm_start_has_no_grid_sizes_to_name(staged):
    """It is not known which stages it went through."""
    later = copy.deepcopy(staged).set_params(warm_start=True, grid_schedule=(8, 12, 16))
    display = LossCurveDisplay.from_estimator(later.fit(X, Y))
    assert len(display.stage_lines_) == len(later.stage_ends_) - 1
    assert display.stage_labels_ == []
