"""What displays with a row for each feature have in common."""

import matplotlib.pyplot as plt
import pytest
from models_to_draw import X as PLAIN
from models_to_draw import apart
from rows_to_explain import LONG, QUICK, X, by_hand, mixed_model, row_labels

from skkan import KANRegressor
from skkan.explanation_displays import _explained_rows, _importance_display
from skkan.inspection import ImportanceDisplay, SummaryDisplay, WaterfallDisplay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
every_display = pytest.mark.parametrize(
    "display", [ImportanceDisplay, WaterfallDisplay, SummaryDisplay]
)


@pytest.fixture(scope="module")
def mixed():
    return mixed_model()


@every_display
def test_labels_have_room(display, mixed):
    names = [LONG, "x" * 80, "a name of quite a few short words that goes on and on"]
    drawn = display.from_estimator(mixed, X, feature_names=names)
    drawn.figure_.canvas.draw()
    whole = drawn.figure_.bbox
    labels = [label.get_window_extent() for label in drawn.ax_.get_yticklabels()]
    assert apart([(label.y0, label.y1) for label in labels])
    texts = [text.get_window_extent() for text in getattr(drawn, "texts_", [])]
    for extent in texts:
        assert drawn.ax_.bbox.x0 <= extent.x0 < extent.x1 <= drawn.ax_.bbox.x1
    for extent in [*labels, drawn.ax_.xaxis.label.get_window_extent()]:
        assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
        assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1


@every_display
def test_bad_arguments_are_told_before_any_work(display, mixed, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(_explained_rows, "explain", fail)
    monkeypatch.setattr(_importance_display, "effects_of", fail)
    name = "max_effects" if display is ImportanceDisplay else "max_features"
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
        display.from_estimator(mixed, X, **{name: 0})
    with pytest.raises(ValueError, match="feature_names must hold one name for each"):
        display.from_estimator(mixed, X, feature_names=["a"])
    with pytest.raises(TypeError, match="draws into a single Axes, got str"):
        display.from_estimator(mixed, X, ax="axes")
    if display is not ImportanceDisplay:
        for target in ("z", 1, -1, True):
            with pytest.raises(
                ValueError, match="target must be the name or number of"
            ):
                display.from_estimator(mixed, X, target=target)
    if display is WaterfallDisplay:
        for row in (-1, 120, 1.0, True):
            with pytest.raises(ValueError, match="one of 120 rows, from 0 to 119, got"):
                display.from_estimator(mixed, X, row=row)
    if display is SummaryDisplay:
        with pytest.raises(ValueError, match="max_rows must be an integer of at least"):
            display.from_estimator(mixed, X, max_rows=0)


def test_numbers_of_another_kind_are_told():
    found = by_hand([[0.5, -2.0]], [[3.0, 1.0]])
    with pytest.raises(TypeError, match=r"object of Effects, got Explanation: make it"):
        ImportanceDisplay(found).plot()
    for display in (WaterfallDisplay, SummaryDisplay):
        with pytest.raises(TypeError, match="object of Explanation, got ndarray"):
            display(found.values).plot()
        with pytest.raises(ValueError, match=r"one of 1 outputs, from 0 to 0, got 1"):
            display(found, output=1).plot()
    with pytest.raises(ValueError, match=r"one of 1 rows, from 0 to 0, got -1"):
        WaterfallDisplay(found, row=-1).plot()


@every_display
def test_arrays_do_as_well_as_frames(display):
    """And the given axes are used."""
    x = PLAIN.to_numpy()[:, :2]
    model = KANRegressor((), **QUICK).fit(x, x[:, 0])
    figure, ax = plt.subplots()
    drawn = display.from_estimator(model, x, ax=ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is figure
    assert any("x0" in label for label in row_labels(drawn))
