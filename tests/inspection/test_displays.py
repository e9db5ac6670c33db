"""What all displays have in common."""

import builtins
import inspect
import pickle

import matplotlib.pyplot as plt
import pytest
from models_to_draw import X, Y
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skkan import KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    EffectDisplay,
    GridDisplay,
    ImportanceDisplay,
    KANDisplay,
    LossCurveDisplay,
    SummaryDisplay,
    WaterfallDisplay,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


DISPLAYS = [KANDisplay, EdgeFunctionDisplay, LossCurveDisplay, GridDisplay]
DISPLAYS += [EffectDisplay, ImportanceDisplay, WaterfallDisplay, SummaryDisplay]


every_display = pytest.mark.parametrize("display", DISPLAYS)


def draw(display, estimator, **settings):
    """A display of an estimator, with rows where it takes some."""
    takes = inspect.signature(display.from_estimator).parameters
    rows = (X,) if "X" in takes else ()
    return display.from_estimator(estimator, *rows, **settings)


@pytest.fixture(params=DISPLAYS, scope="module")
def drawn(request, additive):
    return draw(request.param, additive)


@every_display
def test_unfitted_estimators_are_told(display):
    with pytest.raises(NotFittedError, match="not fitted"):
        draw(display, KANRegressor())
    with pytest.raises(TypeError, match=r"Expected a fitted KANRegressor .* got Ridge"):
        draw(display, Ridge().fit(X, Y))


def test_missing_matplotlib_is_told(drawn, additive, monkeypatch):
    """In scikit-learn's words, before anything else is done."""
    original = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError
        return original(name, *args, **kwargs)

    display = type(drawn)
    monkeypatch.setattr(builtins, "__import__", absent)
    message = f"{display.__name__}.* requires matplotlib. You can install"
    with pytest.raises(ImportError, match=message):
        draw(display, additive)
    with pytest.raises(ImportError, match=message):
        drawn.plot()


@every_display
def test_plot_returns_the_display_and_uses_the_axes(display, additive):
    figure, ax = plt.subplots()
    drawn = draw(display, additive, ax=ax)
    assert drawn.figure_ is figure
    assert drawn.plot(plt.subplots()[1]) is drawn
    assert drawn.figure_ is plt.gcf()
    assert len(plt.get_fignums()) == 2  # and none besides


def test_displays_pass_pickle(drawn):
    """Figures and models are sent between processes."""
    plt.close("all")
    vars(pickle.loads(pickle.dumps(drawn)))


@every_display
def test_drawing_leaves_no_trace(display, additive, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = dict(plt.rcParams), pickle.dumps(additive)
    draw(display, additive)
    assert (dict(plt.rcParams), pickle.dumps(additive)) == before
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
