"""SummaryDisplay: Shapley values of many rows as strips of points."""

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.data._dataset import subsample_positions
from skkan.drawing._labels import short_number, wrapped
from skkan.drawing._panels import check_count, check_numbers, foreground
from skkan.explanation_displays._explained_rows import (
    N_VALUE_DIGITS,
    explain_rows,
    is_missing,
    is_number,
    of_output,
)
from skkan.explanation_displays._feature_rows import (
    check_place,
    check_row_settings,
    in_two_lines,
    row_axes,
)
from skkan.explanation_displays._names_and_units import NamesAndUnits
from skkan.explanations._shapley import Explanation

N_STRIP_BINS = 60  # across the axes, within which points of a row evade each other
STRIP_HEIGHT = 0.8  # of a row
POINT_SIZE = 9.0  # square points


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
        check_row_settings(cls.__name__, "max_features", **kwargs)
        check_count("max_rows", max_rows)
        names = NamesAndUnits.of(estimator, feature_names, target_names)
        output = names.output_meant(target) or 0

        def spread(n_rows):
            if n_rows > max_rows:
                return subsample_positions(n_rows, max_rows).numpy()
            return None

        found = explain_rows(
            estimator,
            X,
            background,
            spread,
            names,
            sample_weight=sample_weight,
            max_samples=max_samples,
            exact=exact,
        )
        return cls(found, output=output, response=names.response).plot(**kwargs)

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
        check_row_settings(name, "max_features", ax, max_features=max_features)
        check_matplotlib_support(f"{name}.plot")
        found = self.explanation
        check_numbers(name, found, Explanation)
        check_place("output", self.output, len(found.output_names))
        values = of_output(found.values, found, self.output)
        sizes = np.abs(values).mean(axis=0)
        order = np.argsort(-sizes, kind="stable")
        own, others = order[:max_features], order[max_features:]
        names = [in_two_lines(found.feature_names[column]) for column in own]
        self.ax_ = row_axes(ax, names)
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
        bar.set_label("rank of the feature")
        self.note_ = "\nGrey: a category, or missing" if grey else ""
        if len(others):
            s = "s" * (len(others) > 1)
            self.note_ += (
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


def _ranks(cells):
    """Ranks of numbers between 0 and 1; NaN for categories and missing cells."""
    ranks = np.full(len(cells), np.nan)
    known = np.array([not is_missing(cell) for cell in cells], dtype=bool)
    if not all(map(is_number, cells[known])):
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
