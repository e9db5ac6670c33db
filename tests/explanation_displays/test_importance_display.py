"""Bars of shares of the variance."""

from dataclasses import replace

import pytest
from numpy.testing import assert_allclose
from rows_to_explain import X, mixed_model, row_labels

from skkan.drawing._labels import percent
from skkan.inspection import ImportanceDisplay, effects

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def mixed():
    return mixed_model()


def test_bars_are_shares_and_sum_to_the_variance(mixed):
    display = ImportanceDisplay.from_estimator(mixed, X, max_effects=3)
    found = effects(mixed, X)
    everything = sorted(
        [*found.mains, *found.pairs], key=lambda effect: -abs(effect.share)
    )
    widths = [bar.get_width() for bar in display.bars_]
    assert_allclose(widths[:3], [effect.share for effect in everything[:3]])
    assert_allclose(widths[3], sum(effect.share for effect in everything[3:]))
    assert_allclose(sum(widths), 1)
    labels = row_labels(display)
    assert labels[3:] == [f"{len(everything) - 3} other effects", "everything else"]
    names = [" \N{MULTIPLICATION SIGN} ".join(e.feature_names) for e in everything]
    assert [label[:5] for label in labels[:3]] == [name[:5] for name in names[:3]]
    assert [text.get_text() for text in display.texts_] == list(map(percent, widths))


def test_negative_shares_point_to_the_left(mixed):
    found = effects(mixed, X, pairs=None)
    mains = [
        replace(effect, share=share)
        for effect, share in zip(found.mains, (1.1, 0.05, -0.2), strict=True)
    ]
    found = replace(found, mains=mains, rest_share=0.05)
    display = ImportanceDisplay(found).plot()
    assert [bar.get_width() for bar in display.bars_] == [1.1, -0.2, 0.05, 0.05]
    assert [text.get_ha() for text in display.texts_] == [
        "left",
        "right",
        "left",
        "left",
    ]
    assert display.texts_[1].get_text() == "-20%"
    low, high = display.ax_.get_xlim()
    assert low < -0.2 < 1.1 < high


def test_a_bar_of_pairs_names_both_features(mixed):
    """A long name loses its middle, and no pair the sign between its names."""
    names = ["a_name_of_thirty_letters_in_all", "b" * 30, "cc"]
    display = ImportanceDisplay.from_estimator(mixed, X, feature_names=names)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    (pair,) = (label for label in labels if label.startswith("bbb") and "cc" in label)
    assert pair == "bbbbbbbbbbbb…bbbbbbbbb \N{MULTIPLICATION SIGN}\ncc"
    assert "a_name_of_thirty_\nletters_in_all" in labels
