"""Axes that displays are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skkan import KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    KANDisplay,
    LossCurveDisplay,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


DISPLAYS = [KANDisplay, EdgeFunctionDisplay, LossCurveDisplay, GridDisplay]


every_display = pytest.mark.parametrize("display", DISPLAYS)


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


@pytest.mark.parametrize("display", [KANDisplay, LossCurveDisplay])
def test_several_axes_where_one_is_drawn_into(display):
    model = KANRegressor((), solver="lbfgs", max_iter=5).fit(
        [[0.0], [1], [2]], [0, 1, 4]
    )
    with pytest.raises(TypeError, match="single Axes, got ndarray"):
        display.from_estimator(model, ax=np.array([None, None]))
