"""Displays with a row for each feature: importances, and Shapley values.

`ImportanceDisplay` draws shares of the variance, `WaterfallDisplay` the way from the
mean output to that of one row, `SummaryDisplay` the values of many rows.
"""

from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.data._dask_tables import in_memory
from skkan.data._dataset import subsample_positions
from skkan.estimators._base import fitted_model_of
from skkan.explanations._effects import effects as effects_of
from skkan.explanations._shapley import explain
from skkan.inspection._category_bars import category_name
from skkan.inspection._effect_display import (
    effect_name,
    naming,
    percent,
    renamed_effects,
    shown_effects,
)
from skkan.inspection._effect_panels import short_number
from skkan.inspection._panels import (
    check_count,
    check_single_axes,
    foreground,
    shortened,
    wrapped,
)

ROW_INCHES, FIGURE_WIDTH, AROUND = 0.36, 6.4, 0.9  # inches
ROW_LETTERS = 48  # of the label of a row, which has two lines
# Width of a letter of a number beside a bar, in units of the font size, in axes whose
# labels leave them less width than they had; share of the width that numbers take.
NUMBER_LETTER, MAX_NUMBER_SPACE = 0.65, 0.4
BAR_HEIGHT = 0.7  # of a row
N_STRIP_BINS = 60  # across the axes, within which points of a row evade each other
STRIP_HEIGHT = 0.8  # of a row
POINT_SIZE = 9.0  # square points
N_VALUE_DIGITS = 3  # of the largest contribution; the others have as many decimals


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
    ['s5', 'bmi', '8 others']
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
        _check_rows(cls.__name__, "max_effects", **kwargs)
        names = naming(estimator, feature_names, None)[:2]
        found = effects_of(
            estimator,
            X,
            pairs=pairs,
            sample_weight=sample_weight,
            max_samples=max_samples,
        )
        return cls(renamed_effects(found, *names)).plot(**kwargs)

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
        _check_rows(name, "max_effects", ax, max_effects=max_effects)
        check_matplotlib_support(f"{name}.plot")
        from matplotlib.ticker import PercentFormatter

        self.shown_ = shown_effects(self.effects, max_effects, 0.0)
        rows = [(effect_name(effect), effect.share) for effect in self.shown_]
        everything = [*self.effects.mains, *self.effects.pairs]
        hidden = [effect.share for effect in everything if effect not in self.shown_]
        if hidden:
            rows.append((f"{len(hidden)} others", sum(hidden)))
        if percent(self.effects.rest_share) != "0%":
            rows.append(("everything else", self.effects.rest_share))
        labels, shares = zip(*rows, strict=True)
        self.ax_ = _row_axes(ax, labels)
        self.figure_ = self.ax_.figure
        n_shown = len(self.shown_)
        colors = ["C0"] * n_shown + [(foreground(), 0.4)] * (len(rows) - n_shown)
        style = {"height": BAR_HEIGHT, "color": colors, **kwargs}
        self.bars_ = self.ax_.barh(np.arange(len(rows)), shares, **style)
        self.texts_ = [
            _write_number(self.ax_, share, row, percent(share), share < 0)
            for row, share in enumerate(shares)
        ]
        self.ax_.axvline(0, color=foreground(), linewidth=0.8)
        _leave_sides(self.ax_, min(*shares, 0.0), max(*shares, 0.0), self.texts_)
        if min(shares) >= 0:
            self.ax_.set_xlim(left=0)
        self.ax_.xaxis.set_major_formatter(PercentFormatter(1.0))
        self.ax_.set_xlabel("share of the variance of the model's output")
        return self


class WaterfallDisplay:
    """The way from the mean output to the output of one row, feature by feature.

    Bars are Shapley values, see `explain`, the largest one first. Each begins where the
    one above ends. The labels tell the values of the row.

    Use `from_estimator` to make one.

    Parameters
    ----------
    explanation : Explanation
        See `skkan.inspection.explain`.
    row : int, default=0
        Row of the explanation.
    output : int, default=0
        Which of several outputs.
    response : str, default=""
        What an output is of its name, such as "log odds of ".

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    bars_ : BarContainer
        From above; the last one stands for all features without a bar of their own, if
        there are such.
    texts_ : list of Text
        The mean output, the Shapley values and the output of the row.

    See Also
    --------
    SummaryDisplay : Many rows at a glance.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import WaterfallDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> display = WaterfallDisplay.from_estimator(model, X, row=5, max_features=2)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['mean output', 's5 = 4.19', 'bmi = 22.6', '8 others', 'output']
    """

    __module__ = "skkan.inspection"

    def __init__(self, explanation, *, row=0, output=0, response=""):
        self.explanation = explanation
        self.row = row
        self.output = output
        self.response = response

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        background=None,
        *,
        row=0,
        target=None,
        sample_weight=None,
        max_samples=100,
        exact="auto",
        feature_names=None,
        target_names=None,
        **kwargs,
    ):
        """Draw the explanation of the output of one row.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted; of a Pipeline the last step, with X as it enters it.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        background : {array-like, sparse matrix}, default=None
            Rows to compare with, usually those of the training; None takes X.
        row : int, default=0
            Number of the row of X.
        target : str or int, default=None
            Name or number of one of several outputs. None takes the class with the
            largest output, and the first target of regression.
        sample_weight, max_samples, exact
            See `skkan.inspection.explain`.
        feature_names, target_names : sequence of str, default=None
            Names of the inputs and outputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        WaterfallDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If X does not have the columns of the fit or such a row, there is no such
            target, or a parameter is not as described.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        _check_rows(cls.__name__, "max_features", **kwargs)
        *names, response, _ = naming(estimator, feature_names, target_names)
        output = _output_meant(target, names[1])
        X = in_memory(X)
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        whole = isinstance(row, Integral) and not isinstance(row, bool)
        if not (whole and 0 <= row < n_rows):
            raise ValueError(
                f"row must be the number of one of the {n_rows} rows of X, from 0 on, "
                f"got {row!r}."
            )
        found = explain(
            estimator,
            _safe_indexing(X, [row]),
            X if background is None else background,
            sample_weight=sample_weight,
            max_samples=max_samples,
            exact=exact,
        )
        if output is None:
            output = 0
            if fitted_model_of(estimator).target.classes is not None:
                output = int(np.argmax(_outputs_of(found)[0]))
        found = _renamed_explanation(found, *names)
        return cls(found, output=output, response=response).plot(**kwargs)

    def plot(self, ax=None, *, max_features=10, **kwargs):
        """Draw the way from the mean output to that of the row.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        max_features : int, default=10
            Largest number of features with bars of their own; one more bar stands for
            all others.
        **kwargs
            Passed on to `Axes.barh`.

        Returns
        -------
        WaterfallDisplay
            The object itself.

        Raises
        ------
        ValueError
            If `max_features` is out of its range, or the axes are not rectilinear.
        """
        name = type(self).__name__
        _check_rows(name, "max_features", ax, max_features=max_features)
        check_matplotlib_support(f"{name}.plot")
        found = self.explanation
        values = _of_output(found.values, found, self.output)[self.row]
        errors = _of_output(found.error, found, self.output)[self.row]
        base = float(np.ravel(found.base_values)[self.output])
        order = np.argsort(-np.abs(values), kind="stable")
        own, others = order[:max_features], order[max_features:]
        labels = [
            f"{shortened(found.feature_names[column], ROW_LETTERS - 18)} = "
            f"{_cell(found.data[self.row][column])}"
            for column in own
        ]
        steps, deviations = list(values[own]), list(errors[own])
        if len(others):
            labels.append(f"{len(others)} others")
            steps.append(values[others].sum())
            # Values of one row that are drawn together sum to what is known exactly.
            deviations.append(np.nan if errors.any() else 0.0)
        ends = base + np.cumsum([0.0, *steps])
        self.ax_ = _row_axes(ax, ["mean output", *labels, "output"])
        self.figure_ = self.ax_.figure
        colors = ["C0" if step >= 0 else "C1" for step in steps]
        style = {"height": BAR_HEIGHT, "color": colors, **kwargs}
        rows = np.arange(1, len(steps) + 1)
        self.bars_ = self.ax_.barh(rows, steps, left=ends[:-1], **style)
        self.ax_.vlines(
            ends,
            np.r_[0, rows] - BAR_HEIGHT / 2,
            np.r_[rows, rows[-1] + 1] + BAR_HEIGHT / 2,
            color=foreground(),
            linewidth=0.8,
        )
        decimals = _decimals(np.abs(steps).max())
        texts = [
            _signed(*pair, decimals) for pair in zip(steps, deviations, strict=True)
        ]
        base = f"{base:.{decimals}f}"
        self.texts_ = [_write_number(self.ax_, ends[0], 0, base, False)]
        self.texts_ += [
            _write_number(self.ax_, end, row, text, step < 0)
            for row, end, text, step in zip(rows, ends[1:], texts, steps, strict=True)
        ]
        last = f"{ends[-1]:.{decimals}f}"
        row = len(rows) + 1
        self.texts_.append(_write_number(self.ax_, ends[-1], row, last, False))
        _leave_sides(self.ax_, ends.min(), ends.max(), self.texts_)
        label = f"{self.response}{found.output_names[self.output]}"
        note = "\n(± one standard error)" if errors.any() else ""
        self.ax_.set_xlabel(wrapped(label, n_line_letters=48) + note, parse_math=False)
        return self


class SummaryDisplay:
    """Shapley values of many rows, a strip of points for each feature.

    Features stand in the order of their mean absolute values. The colour tells whether
    the feature is low or high in a row, by its rank among the rows. Points of
    categories and of missing cells are grey.

    Use `from_estimator` to make one.

    Parameters
    ----------
    explanation : Explanation
        See `skkan.inspection.explain`.
    output : int, default=0
        Which of several outputs.
    response : str, default=""
        What an output is of its name, such as "log odds of ".

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    strips_ : list of PathCollection
        Points of the features from above, in the order of the rows of the explanation.
    note_ : str
        What is not shown, empty if nothing is.

    See Also
    --------
    WaterfallDisplay : One row.
    EffectDisplay : Effects as curves.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import SummaryDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> display = SummaryDisplay.from_estimator(model, X, max_features=3)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['s5', 'bmi', 'bp']
    """

    __module__ = "skkan.inspection"

    def __init__(self, explanation, *, output=0, response=""):
        self.explanation = explanation
        self.output = output
        self.response = response

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        background=None,
        *,
        target=None,
        max_rows=300,
        sample_weight=None,
        max_samples=100,
        exact="auto",
        feature_names=None,
        target_names=None,
        **kwargs,
    ):
        """Draw the explanations of many rows.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted; of a Pipeline the last step, with X as it enters it.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        background : {array-like, sparse matrix}, default=None
            Rows to compare with, usually those of the training; None takes X.
        target : str or int, default=None
            Name or number of one of several outputs. None takes the first one.
        max_rows : int, default=300
            Rows that are explained, evenly spread over X.
        sample_weight, max_samples, exact
            See `skkan.inspection.explain`.
        feature_names, target_names : sequence of str, default=None
            Names of the inputs and outputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        SummaryDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If X does not have the columns of the fit, there is no such target, or a
            parameter is not as described.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        _check_rows(cls.__name__, "max_features", **kwargs)
        check_count("max_rows", max_rows)
        *names, response, _ = naming(estimator, feature_names, target_names)
        output = _output_meant(target, names[1]) or 0
        X = in_memory(X)
        n_rows, rows = X.shape[0] if hasattr(X, "shape") else len(X), X
        if n_rows > max_rows:
            rows = _safe_indexing(X, subsample_positions(n_rows, max_rows).numpy())
        found = explain(
            estimator,
            rows,
            X if background is None else background,
            sample_weight=sample_weight,
            max_samples=max_samples,
            exact=exact,
        )
        found = _renamed_explanation(found, *names)
        return cls(found, output=output, response=response).plot(**kwargs)

    def plot(self, ax=None, *, max_features=15, **kwargs):
        """Draw the strips.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        max_features : int, default=15
            Largest number of strips.
        **kwargs
            Passed on to `Axes.scatter`.

        Returns
        -------
        SummaryDisplay
            The object itself.

        Raises
        ------
        ValueError
            If `max_features` is out of its range, or the axes are not rectilinear.
        """
        name = type(self).__name__
        _check_rows(name, "max_features", ax, max_features=max_features)
        check_matplotlib_support(f"{name}.plot")
        found = self.explanation
        values = _of_output(found.values, found, self.output)
        sizes = np.abs(values).mean(axis=0)
        order = np.argsort(-sizes, kind="stable")
        own, others = order[:max_features], order[max_features:]
        names = [found.feature_names[column] for column in own]
        self.ax_ = _row_axes(ax, names)
        self.figure_ = self.ax_.figure
        span = values[:, own].min(), values[:, own].max()
        self.ax_.axvline(0, color=foreground(), linewidth=0.8, alpha=0.6)
        cells = np.asarray(found.data, dtype=object)
        ranks = [_ranks(cells[:, column]) for column in own]
        style = {"s": POINT_SIZE, "cmap": "coolwarm", "linewidth": 0, **kwargs}
        self.strips_ = [
            self.ax_.scatter(
                values[:, column],
                row + _evading(values[:, column], *span),
                c=rank,
                vmin=0,
                vmax=1,
                plotnonfinite=True,
                **style,
            )
            for row, (column, rank) in enumerate(zip(own, ranks, strict=True))
        ]
        for strip in self.strips_:
            strip.set_cmap(strip.get_cmap().with_extremes(bad="0.5"))
        self._write_texts(ranks, sizes[others])
        return self

    def _write_texts(self, ranks, others):
        bar = self.figure_.colorbar(self.strips_[0], ax=self.ax_, aspect=40)
        bar.set_ticks([0, 1], labels=["low", "high"])
        grey = any(np.isnan(rank).any() for rank in ranks)
        bar.set_label(
            "the feature in this row, by rank"
            + ("\n(grey: a category, or missing)" if grey else "")
        )
        self.note_ = ""
        if len(others):
            s = "s" * (len(others) > 1)
            self.note_ = (
                f"\nNot shown: {len(others)} feature{s} of mean absolute value "
                f"{short_number(others.max(), N_VALUE_DIGITS)} at most"
            )
        found = self.explanation
        label = (
            f"Shapley value on {self.response}{found.output_names[self.output]}, "
            f"{len(found.values)} rows"
        )
        self.ax_.set_xlabel(
            wrapped(label, n_line_letters=48) + self.note_, parse_math=False
        )


def _check_rows(caller, parameter, ax=None, **settings):
    """Raise for arguments of a plot with rows that are not as described."""
    check_single_axes(ax, caller)
    if parameter in settings:
        check_count(parameter, settings[parameter])


def _row_axes(ax, labels):
    """Axes with a row for each label, from above."""
    import matplotlib.pyplot as plt

    n_rows = len(labels)
    if ax is None:
        size = FIGURE_WIDTH, n_rows * ROW_INCHES + AROUND
        ax = plt.figure(figsize=size, layout="constrained").add_subplot()
    ax.set_yticks(np.arange(n_rows), map(_of_two_lines, labels), parse_math=False)
    ax.set_ylim(n_rows - 0.5, -0.5)
    return ax


def _of_two_lines(text):
    """A label of two lines at most, for which a row has room."""
    labels = (wrapped(text, n_letters) for n_letters in range(ROW_LETTERS, 0, -1))
    return next(label for label in labels if label.count("\n") <= 1)


def _write_number(ax, x, row, text, is_left):
    """Write a number beside the end of a bar."""
    return ax.annotate(
        text,
        (x, row),
        xytext=(-3 if is_left else 3, 0),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="center",
        fontsize="small",
    )


def _leave_sides(ax, low, high, texts):
    """Set the limits of x so that texts have room beside the ends of bars."""
    font, width = _font_size(), ax.bbox.width * 72 / ax.figure.dpi
    longest = max(len(text.get_text()) for text in texts) + 1
    share = min(MAX_NUMBER_SPACE, NUMBER_LETTER * longest * font / width)
    space = share * ((high - low) or 1.0) / (1 - 2 * share)
    ax.set_xlim(low - space, high + space)


def _output_meant(target, names):
    """Number of an output that is given by its name or number; None for None."""
    if target is None:
        return None
    if isinstance(target, str) and target in names:
        return names.index(target)
    whole = isinstance(target, Integral) and not isinstance(target, bool)
    if whole and 0 <= target < len(names):
        return int(target)
    raise ValueError(
        f"target must be the name or number of an output, got {target!r}: the names "
        f"are {names}."
    )


def _of_output(values, explanation, output):
    return values if len(explanation.output_names) == 1 else values[..., output]


def _outputs_of(explanation):
    """Raw outputs of the rows, ndarray of shape (n_samples, n_outputs)."""
    total = explanation.values.sum(axis=1) + explanation.base_values
    return total.reshape(len(explanation.values), -1)


def _renamed_explanation(explanation, feature_names, target_names):
    return replace(explanation, feature_names=feature_names, output_names=target_names)


def _is_missing(cell):
    return cell is None or (not isinstance(cell, str) and cell != cell)


def _cell(cell):
    """A value of the user's table as short text."""
    if _is_missing(cell):
        return "missing"
    is_number = isinstance(cell, float | np.floating)
    return short_number(cell) if is_number else category_name(cell)


def _ranks(cells):
    """Ranks of numbers between 0 and 1; NaN for categories and missing cells."""
    ranks = np.full(len(cells), np.nan)
    known = np.array([not _is_missing(cell) for cell in cells], dtype=bool)
    if not all(isinstance(cell, float | np.floating) for cell in cells[known]):
        return ranks
    levels, places = np.unique(cells[known].astype(float), return_inverse=True)
    counts = np.bincount(places, minlength=len(levels))
    if len(levels) > 1:
        middle = counts.cumsum() - counts / 2
        middle = (middle - middle[0]) / (middle[-1] - middle[0])
        ranks[known] = middle[places]
    else:
        ranks[known] = 0.5
    return ranks


def _evading(values, low, high):
    """Heights at which points of about the same value lie beside each other."""
    bins = (values - low) / ((high - low) or 1.0) * N_STRIP_BINS
    heights = np.zeros(len(values))
    bins = bins.astype(int)
    most = max(np.bincount(bins).max(), 8)
    for each in np.unique(bins):
        (members,) = np.nonzero(bins == each)
        turn = np.arange(len(members)) - (len(members) - 1) / 2
        heights[members] = turn / most * STRIP_HEIGHT
    return heights


def _font_size():
    import matplotlib as mpl

    return mpl.rcParams["font.size"]


def _decimals(largest):
    """Decimals by which a largest number has three significant digits."""
    size = np.floor(np.log10(largest)) if largest > 0 else 0
    return int(max(0, N_VALUE_DIGITS - 1 - size))


def _signed(step, error, decimals):
    """A contribution with its sign and, if it was sampled, its standard error."""
    text = f"{step:+.{decimals}f}"
    return f"{text} ± {error:.{decimals}f}" if error > 0 else text
