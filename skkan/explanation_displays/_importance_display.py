"""ImportanceDisplay: shares of the variance as bars."""

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._labels import SMALLEST_PERCENT, percent
from skkan.drawing._panels import check_numbers, foreground
from skkan.explanation_displays._feature_rows import (
    BAR_HEIGHT,
    check_row_settings,
    in_two_lines,
    leave_sides,
    row_axes,
    write_number,
)
from skkan.explanation_displays._largest_effects import (
    NEGATIVE_SHARE,
    TIMES,
    largest_effects,
)
from skkan.explanation_displays._names_and_units import NamesAndUnits
from skkan.explanations._effects import Effects
from skkan.explanations._effects import effects as effects_of


class ImportanceDisplay:
    """Shares of the variance of features and pairs as bars, the largest one first.

    All bars together are the variance of the model's output. A share is negative where
    a feature works against those with which it is correlated.

    Use `from_estimator` to make one.

    Parameters
    ----------
    effects : Effects
        See `skkan.inspection.effects`.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    shown_ : list of Effect
        In the order of their bars from above, before those of what remains.
    bars_ : BarContainer
    texts_ : list of Text
        The shares.

    See Also
    --------
    EffectDisplay : What each of them does.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import ImportanceDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> display = ImportanceDisplay.from_estimator(model, X, max_effects=2)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['s5', 'bmi', '8 other effects']
    """

    __module__ = "skkan.inspection"

    def __init__(self, effects):
        self.effects = effects

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        pairs="auto",
        sample_weight=None,
        max_samples="auto",
        feature_names=None,
        **kwargs,
    ):
        """Draw the shares of a fitted model.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted; of a Pipeline the last step, with X as it enters it.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Background, usually the training rows.
        pairs, sample_weight, max_samples
            See `skkan.inspection.effects`.
        feature_names : sequence of str, default=None
            Names of the inputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        ImportanceDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If X does not have the columns of the fit, or a parameter is not as
            described.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_row_settings(cls.__name__, "max_effects", **kwargs)
        names = NamesAndUnits.of(estimator, feature_names)
        found = effects_of(
            estimator,
            X,
            pairs=pairs,
            sample_weight=sample_weight,
            max_samples=max_samples,
        )
        return cls(names.in_effects(found)).plot(**kwargs)

    def plot(self, ax=None, *, max_effects=15, **kwargs):
        """Draw the shares.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        max_effects : int, default=15
            Largest number of features and pairs with bars of their own. Two more bars
            stand for all other features and pairs, and for everything else, such as
            larger groups of features.
        **kwargs
            Passed on to `Axes.barh`.

        Returns
        -------
        ImportanceDisplay
            The object itself.

        Raises
        ------
        ValueError
            If `max_effects` is out of its range, or the axes are not rectilinear.
        """
        name = type(self).__name__
        check_row_settings(name, "max_effects", ax, max_effects=max_effects)
        check_matplotlib_support(f"{name}.plot")
        check_numbers(name, self.effects, Effects)
        from matplotlib.ticker import PercentFormatter

        self.shown_ = largest_effects(self.effects, max_effects, 0.0)
        rows = [(_name_in_lines(effect), effect.share) for effect in self.shown_]
        everything = [*self.effects.mains, *self.effects.pairs]
        hidden = [effect.share for effect in everything if effect not in self.shown_]
        if hidden:
            rows.append((f"{len(hidden)} other effects", sum(hidden)))
        if percent(self.effects.rest_share) != "0%":
            rows.append(("everything else", self.effects.rest_share))
        labels, shares = zip(*rows, strict=True)
        self.ax_ = row_axes(ax, labels)
        self.figure_ = self.ax_.figure
        n_shown = len(self.shown_)
        colors = ["C0"] * n_shown + [(foreground(), 0.4)] * (len(rows) - n_shown)
        style = {"height": BAR_HEIGHT, "color": colors, **kwargs}
        self.bars_ = self.ax_.barh(np.arange(len(rows)), shares, **style)
        self.texts_ = [
            write_number(self.ax_, share, row, percent(share), share < 0)
            for row, share in enumerate(shares)
        ]
        self.ax_.axvline(0, color=foreground(), linewidth=0.8)
        leave_sides(self.ax_, min(*shares, 0.0), max(*shares, 0.0), self.texts_)
        if min(shares) >= 0:
            self.ax_.set_xlim(left=0)
        self.ax_.xaxis.set_major_formatter(PercentFormatter(1.0))
        label = "share of the variance of the model's output"
        if min(shares) <= -SMALLEST_PERCENT:
            label += f",\n{NEGATIVE_SHARE}"
        self.ax_.set_xlabel(label)
        return self


def _name_in_lines(effect):
    """Names of the features of an effect, the label of a row."""
    *first, last = effect.feature_names
    return in_two_lines(*(name + TIMES.rstrip() for name in first), last)
