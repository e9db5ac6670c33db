"""WaterfallDisplay: the way from the mean output to that of one row."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._labels import category_name, short_number, tick_names, wrapped
from skkan.drawing._panels import check_numbers, foreground
from skkan.drawing._ticks import place_ticks
from skkan.estimators._base import fitted_model_of
from skkan.explanation_displays._explained_rows import (
    N_VALUE_DIGITS,
    explain_rows,
    is_missing,
    is_number,
    of_output,
)
from skkan.explanation_displays._feature_rows import (
    BAR_HEIGHT,
    check_place,
    check_row_settings,
    in_two_lines,
    leave_sides,
    row_axes,
    write_number,
)
from skkan.explanation_displays._names_and_units import NamesAndUnits
from skkan.explanations._effects import auto_rows
from skkan.explanations._shapley import Explanation

# Numbers from the first on, or below the second, stand in units of a power of 1,000;
# the former unless contributions would be too small for that.
MIN_LARGE, MAX_SMALL = 1e6, 1e-3


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
        max_samples="auto",
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
        sample_weight, exact
            See `skkan.inspection.explain`.
        max_samples : int or "auto", default="auto"
            Rows of the background that are used. "auto" takes those that `effects`
            takes, so that the mean output is that of `EffectDisplay`.
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
        check_row_settings(cls.__name__, "max_features", **kwargs)
        names = NamesAndUnits.of(estimator, feature_names, target_names)
        output = names.output_meant(target)
        if max_samples == "auto":
            max_samples = auto_rows(len(names.feature_names))

        def chosen(n_rows):
            check_place("row", row, n_rows)
            return [row]

        found = explain_rows(
            estimator,
            X,
            background,
            chosen,
            names,
            sample_weight=sample_weight,
            max_samples=max_samples,
            exact=exact,
        )
        if output is None:
            output = 0
            if fitted_model_of(estimator).target.classes is not None:
                output = int(np.argmax(_outputs_of(found)[0]))
        return cls(found, output=output, response=names.response).plot(**kwargs)

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
        check_row_settings(name, "max_features", ax, max_features=max_features)
        check_matplotlib_support(f"{name}.plot")
        found = self.explanation
        check_numbers(name, found, Explanation)
        check_place("row", self.row, len(found.values))
        check_place("output", self.output, len(found.output_names))
        values = of_output(found.values, found, self.output)[self.row]
        errors = of_output(found.error, found, self.output)[self.row]
        base = float(np.ravel(found.base_values)[self.output])
        order = np.argsort(-np.abs(values), kind="stable")
        own, others = order[:max_features], order[max_features:]
        cells = [f"= {_cell_text(found.data[self.row][column])}" for column in own]
        labels = [
            in_two_lines(found.feature_names[column], cell)
            for column, cell in zip(own, cells, strict=True)
        ]
        steps, deviations = list(values[own]), list(errors[own])
        if len(others):
            labels.append(f"{len(others)} others")
            steps.append(values[others].sum())
            # Values of one row that are drawn together sum to what is known exactly.
            deviations.append(np.nan if errors.any() else 0.0)
        ends = base + np.cumsum([0.0, *steps])
        self.ax_ = row_axes(ax, ["mean output", *labels, "output"])
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
        number = _Numbers.of_contributions(steps, ends)
        texts = [number.signed(*pair) for pair in zip(steps, deviations, strict=True)]
        base = number.text(base)
        self.texts_ = [write_number(self.ax_, ends[0], 0, base, False)]
        self.texts_ += [
            write_number(self.ax_, end, row, text, step < 0)
            for row, end, text, step in zip(rows, ends[1:], texts, steps, strict=True)
        ]
        last = number.text(ends[-1])
        row = len(rows) + 1
        self.texts_.append(write_number(self.ax_, ends[-1], row, last, False))
        leave_sides(self.ax_, ends.min(), ends.max(), self.texts_)
        number.name_ticks(self.ax_.xaxis)
        label = f"{self.response}{found.output_names[self.output]}{number.in_units}"
        note = "\n(± one standard error)" if errors.any() else ""
        self.ax_.set_xlabel(wrapped(label, n_line_letters=48) + note, parse_math=False)
        return self


def _outputs_of(explanation):
    """Raw outputs of the rows, ndarray of shape (n_samples, n_outputs)."""
    total = explanation.values.sum(axis=1) + explanation.base_values
    return total.reshape(len(explanation.values), -1)


def _cell_text(cell):
    """A value of the user's table as short text."""
    if is_missing(cell):
        return "missing"
    return short_number(cell) if is_number(cell) else category_name(cell)


@dataclass(frozen=True)
class _Numbers:
    """Numbers beside bars, of as many decimals and in the same unit.

    Attributes
    ----------
    unit : float
        A power of 1,000.
    decimals : int
        Of a number in this unit; negative where its last digits are rounded to 0.
    """

    unit: float
    decimals: int

    @classmethod
    def of_contributions(cls, steps, ends):
        """Numbers of which the largest contribution has three digits."""
        largest, unit = np.abs(steps).max(), 1.0
        size = max(largest, np.abs(ends).max())
        if 0 < size < MAX_SMALL or (size >= MIN_LARGE and largest >= size / 1000):
            unit = 1000.0 ** np.floor(np.log10(size) / 3)
        size = np.floor(np.log10(largest / unit)) if largest > 0 else 0
        return cls(unit, int(N_VALUE_DIGITS - 1 - size))

    @property
    def in_units(self):
        """What to write behind the name of what the numbers are."""
        return "" if self.unit == 1 else f", in units of {short_number(self.unit)}"

    def text(self, value, sign=""):
        """A number."""
        rounded = round(value / self.unit, self.decimals)
        return f"{rounded:{sign}.{max(0, self.decimals)}f}"

    def signed(self, step, error):
        """A contribution with its sign and, if it was sampled, its standard error."""
        text = self.text(step, "+")
        return f"{text} ± {self.text(error)}" if error > 0 else text

    def name_ticks(self, axis):
        """Name the ticks of an axis in the unit of the numbers."""
        place_ticks(axis)
        axis.get_major_formatter().format_ticks = self._tick_names

    def _tick_names(self, ticks):
        return tick_names(np.asarray(ticks) / self.unit)
