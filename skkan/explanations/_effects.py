"""Effects of features and of pairs of features on the raw output of a fitted model."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from skkan.data._column_checks import feature_position
from skkan.estimators._base import fitted_model_of
from skkan.explanations._background import background_of
from skkan.explanations._pair_screening import pair_strengths
from skkan.numerics._threads import single_thread

# Rows of a background: with 30 features and 5 nodes some seconds. The means of 300 rows
# are precise to 6% of the deviation of what is averaged.
AUTO_ROWS = 300
AUTO_FEATURES = 30
MAX_LEVELS = 32  # values of a number up to which it is drawn as levels
MIN_ROWS_OF_LEVEL = 3  # on average, or values are those of a continuous column
N_GRID_POINTS = 51  # of a curve in equal steps, and as many by quantiles
N_PAIR_POINTS = 16  # of each feature of a pair, by quantiles
# Pairs that are computed, and the share of the variance from which a pair counts.
MAX_PAIRS = 12
MIN_PAIR_SHARE = 1e-3
# Rows of the background over which derivatives are averaged for a band.
N_BAND_ROWS = 32
N_BAND_ROWS_OF_PAIR = 8  # whose points are ten times as many
NORMAL_90 = 1.645  # standard deviations to both sides hold 90% of a normal variable
N_ALE_BINS = 40  # of equal numbers of rows, and of five rows at least
MIN_ROWS_OF_BIN = 5
EFFECT_KINDS = ("interventional", "ale")


@dataclass(frozen=True, eq=False)
class Effect:
    """Effect of one feature, or what two of them add by acting together.

    All values are differences of the raw output in the user's units. Arrays have a last
    dimension for the outputs if there are several.

    Attributes
    ----------
    features : tuple of int
        Columns of X, one or two.
    feature_names : tuple of str
    grid : tuple of ndarray
        Values of each feature, in its units or categories, at which `values` stand.
    values : ndarray of shape (n_points,) or (n_points, n_other_points)
    lower, upper : ndarray of the shape of `values`, or None
        Pointwise 90% bands of the posterior; None where the fit has left none.
    missing_value : float, ndarray of shape (n_outputs,) or None
        Effect where the cell is missing, if some cells of the background are. Of pairs
        it is in `row_values` alone.
    share : float
        Cov(f_j, f) / Var f over the background, summed over the outputs.
    is_categorical : tuple of bool
        Whether each feature is a category.
    has_levels : tuple of bool
        Whether each feature has few values, all of which stand in `grid`.
    rows : ndarray of shape (n_rows, 1) or (n_rows, 2)
        The features in the background. Categories are positions in `grid`, -1 where
        they do not stand there, and NaN where cells are missing.
    row_values : ndarray of shape (n_rows,)
        The effect at these rows.
    sample_weight : ndarray of shape (n_rows,)
        Weights of these rows; they sum to one.
    """

    __module__ = "skkan.inspection"

    features: tuple
    feature_names: tuple
    grid: tuple
    values: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    missing_value: float | np.ndarray | None
    share: float
    is_categorical: tuple
    has_levels: tuple
    rows: np.ndarray
    row_values: np.ndarray
    sample_weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of the features and pairs of a fitted model over a background of rows.

    Attributes
    ----------
    base_value : float or ndarray of shape (n_outputs,)
        Mean raw output over the background, to which effects are added.
    mains : list of Effect
        Of single features, that with the largest share first.
    pairs : list of Effect
        Of pairs, likewise.
    rest_share : float
        Share of the variance that neither shows: other pairs and features, and three or
        more features acting together. With all shares it sums to 1.
    kind : {"interventional", "ale"}
    output_names : list of str
    n_rows : int
        Rows of the background.
    """

    __module__ = "skkan.inspection"

    base_value: float | np.ndarray
    mains: list
    pairs: list
    rest_share: float
    kind: str
    output_names: list
    n_rows: int


@single_thread
def effects(
    model,
    X,
    *,
    features=None,
    pairs="auto",
    kind="interventional",
    sample_weight=None,
    max_samples="auto",
):
    """Effects of features, and of pairs of features, on the raw output.

    The raw output is in the units of the target; it is the logarithm of the mean where
    the loss has a log link, and log odds for classes (before `predict_proba` moderates
    them). Columns are set independently of each other, while the others have the values
    of the rows of the background.

    Parameters
    ----------
    model : KANRegressor or KANClassifier
        Fitted; of a Pipeline the last step, with X as it enters it.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Background, usually the training rows.
    features : sequence of str or int, default=None
        Features by name or number; None takes all that the network uses.
    pairs : "auto", None or sequence of pairs of str or int, default="auto"
        Pairs of features. "auto" takes up to 12, those that act together most among
        those with at least a thousandth of the variance; all that act together if these
        are no more than 12. By the squared mixed differences of the 40 most important
        features, in which terms of three and more features count, too. None takes
        none.
    kind : {"interventional", "ale"}, default="interventional"
        "ale" accumulates local effects along a number, and does not leave the
        neighbourhood of the rows. Take it where features are strongly correlated. It
        has no pairs and no bands, and categories, which have no order, keep the
        interventional effect.
    sample_weight : array-like of shape (n_samples,), default=None
    max_samples : int or "auto", default="auto"
        Rows of the background that are used, evenly spread over X. The time grows with
        its square, and the error of a mean falls with its root. "auto" is 300 for up to
        30 features, and less by the root of their number for more.

    Returns
    -------
    Effects

    Raises
    ------
    TypeError
        If the model is not one of skkan.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If X does not have the columns of the fit, a feature does not exist, or `kind`,
        `pairs` or `max_samples` is not as described.

    Notes
    -----
    With v(S) the mean output over the background in which the columns S are set, the
    effects are f_j = v(j) - v() and f_jk = v(jk) - v(j) - v(k) + v(). The first is a
    partial dependence, whose zero is the mean output. All terms of higher order added
    give f, and shared out equally among their features they give the values of
    `explain`.

    References
    ----------
    J. Friedman, Greedy Function Approximation: A Gradient Boosting Machine, 2001,
    section 8.2.
    D. Apley and J. Zhu, Visualizing the Effects of Predictor Variables in Black Box
    Supervised Learning Models, 2020 (accumulated local effects).

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import effects
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (300, 3))
    >>> y = 3 * X[:, 0] * X[:, 1] + X[:, 2] + 0.1 * rng.normal(size=300)
    >>> model = KANRegressor((2,), random_state=0).fit(X, y)
    >>> found = effects(model, X)
    >>> found.mains[0].feature_names, found.pairs[0].feature_names
    (('x2',), ('x0', 'x1'))
    >>> found.mains[0].share < 0.4 < 0.6 < found.pairs[0].share
    True
    """
    if kind not in EFFECT_KINDS:
        raise ValueError(f"kind must be one of {EFFECT_KINDS}, got {kind!r}.")
    n_features = len(fitted_model_of(model).feature_names)
    if max_samples == "auto":
        max_samples = auto_rows(n_features)
    elif not (isinstance(max_samples, Integral) and max_samples >= 2):
        raise ValueError(
            "max_samples must be 'auto' or an integer of at least 2, got "
            f"{max_samples!r}."
        )
    background = background_of(model, X, sample_weight, int(max_samples))
    names = background.model.feature_names
    columns = background.used_columns
    if features is not None:
        columns = [
            feature_position(each, names, "features") for each in _several(features)
        ]
        columns = list(dict.fromkeys(columns))
    finder = _EffectFinder(background)
    chosen = _chosen_pairs(pairs, background, columns, kind)
    find_main = finder.local if kind == "ale" else finder.main
    mains = [find_main(column) for column in columns]
    found = [finder.pair(*pair) for pair in chosen]
    rest = 1.0 - sum(effect.share for effect in [*mains, *found])
    return Effects(
        base_value=finder.squeezed(background.base_value),
        mains=sorted(mains, key=lambda effect: -effect.share),
        pairs=sorted(found, key=lambda effect: -effect.share),
        rest_share=rest if background.variance > 0 else 0.0,
        kind=kind,
        output_names=background.model.output_names,
        n_rows=len(background.share),
    )


def auto_rows(n_features):
    """Rows of a background for so many features, int."""
    return int(AUTO_ROWS * min(1.0, (AUTO_FEATURES / n_features) ** 0.5))


def _several(given, parameter="features"):
    """What was given for several features or pairs, a list."""
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise ValueError(
            f"{parameter} must be a sequence or None, got {given!r}: for a single one "
            "pass a list that holds it."
        )
    return [*given]


def _chosen_pairs(pairs, background, columns, kind):
    if pairs is None or (kind == "ale" and isinstance(pairs, str)):
        return []
    if kind == "ale":
        raise ValueError(
            f"pairs must be 'auto' or None with kind='ale', got {pairs!r}: only "
            "kind='interventional' has pairs."
        )
    if isinstance(pairs, str):
        if pairs != "auto":
            raise ValueError(
                f"pairs must be 'auto', None or a sequence of pairs, got {pairs!r}."
            )
        strengths = pair_strengths(background, columns)
        if len(strengths) <= MAX_PAIRS:
            return list(strengths)
        strong = [pair for pair, share in strengths.items() if share >= MIN_PAIR_SHARE]
        return strong[:MAX_PAIRS]
    names, chosen = background.model.feature_names, []
    for pair in _several(pairs, "pairs"):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(
                f"Each of pairs must hold two features, got {pair!r}: for a single "
                "pair pass a list that holds it."
            )
        one, other = (feature_position(feature, names, "pairs") for feature in pair)
        if one == other:
            raise ValueError(
                f"A pair must hold two different features, got {pair!r}: the effect of "
                "a single one is in `features`."
            )
        chosen.append((one, other))
    # The other way round a pair is the same one.
    return list({frozenset(pair): pair for pair in reversed(chosen)}.values())[::-1]


def _places(codes, points):
    """Position of each code among the points, -1 where it is none of them."""
    places = np.searchsorted(points, codes).clip(max=len(points) - 1)
    places = np.where(points[places] == codes, places, -1.0)
    return np.where(np.isnan(codes), np.nan, places)


class _EffectFinder:
    """Effects of a background, computed once for each feature."""

    def __init__(self, background):
        self._background, self._model = background, background.model
        self._singles = {}  # column: its values, and the outputs there
        self._mean = background.share @ background.output
        posterior = self._model.posterior
        self._has_band = posterior is not None and posterior.factor is not None

    def squeezed(self, values):
        """Without the dimension of the outputs if there is one output."""
        values = np.asarray(values)
        if values.shape[-1] > 1:
            return values
        return float(values[0]) if values.ndim == 1 else values[..., 0]

    def main(self, column):
        """Effect of setting a feature."""
        points, is_level = self._points(column)
        own = self._background.rows[:, column]
        values = self._values_of_single(column, np.r_[points, own])
        missing = self._values_of_single(column, [np.nan])[0]
        return self._effect(
            [column],
            [points],
            [is_level],
            values[: len(points)],
            values[len(points) :],
            self._deviations([column], points[:, None]),
            missing if np.isnan(own).any() else None,
        )

    def pair(self, one, other):
        """What two features add by being set together."""
        background, columns = self._background, [one, other]
        grids, has_levels = zip(
            *(self._points(c, is_pair=True) for c in columns), strict=True
        )
        mesh = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1)
        points = mesh.reshape(-1, 2)
        both = np.concatenate([points, background.rows[:, columns]])
        values = self._values(columns, both)
        for index, column in enumerate(columns):
            values -= self._values_of_single(column, both[:, index])
        deviations = self._deviations(columns, points)
        shape = *mesh.shape[:2], -1
        return self._effect(
            columns,
            grids,
            has_levels,
            values[: len(points)].reshape(shape),
            values[len(points) :],
            None if deviations is None else deviations.reshape(shape),
            None,
        )

    def local(self, column):
        """Accumulated local effect of a number; of a category, that of setting it."""
        background = self._background
        own = background.rows[:, column]
        known = ~np.isnan(own)
        if self._model.n_categories[column] or not known.any():
            return self.main(column)
        points, is_level = self._points(column)
        if not is_level:
            n_bins = min(N_ALE_BINS, max(1, known.sum() // MIN_ROWS_OF_BIN))
            points = np.unique(np.quantile(own[known], np.linspace(0, 1, n_bins + 1)))
        steps = background.mean_steps(column, points, is_level=is_level)
        values = np.concatenate([np.zeros((1, steps.shape[1])), steps.cumsum(0)])
        at_rows = np.stack(
            [np.interp(own, points, of_output) for of_output in values.T], axis=1
        )
        missing = self._values([column], np.full((1, 1), np.nan))[0]
        weight = background.share * known
        mean = weight @ np.where(known[:, None], at_rows, 0.0) / weight.sum()
        at_rows = np.where(known[:, None], at_rows - mean, missing)
        missing = None if known.all() else missing
        return self._effect(
            [column], [points], [is_level], values - mean, at_rows, None, missing
        )

    def _points(self, column, *, is_pair=False):
        """Values of a feature at which effects stand, and whether they are levels."""
        own = self._background.rows[:, column]
        own = own[~np.isnan(own)]
        n_categories = self._model.n_categories[column]
        if n_categories and not (is_pair and n_categories > MAX_LEVELS):
            return np.arange(float(n_categories)), True
        levels, counts = np.unique(own, return_counts=True)
        if n_categories:  # the most frequent ones
            return np.sort(
                levels[np.argsort(-counts, kind="stable")[:MAX_LEVELS]]
            ), True
        if len(levels) <= max(2, min(MAX_LEVELS, len(own) / MIN_ROWS_OF_LEVEL)):
            return (levels, True) if len(levels) else (np.zeros(1), True)
        if is_pair:
            quantiles = np.quantile(own, np.linspace(0, 1, N_PAIR_POINTS))
            return np.unique(quantiles), False
        quantiles = np.quantile(own, np.linspace(0, 1, N_GRID_POINTS))
        steps = np.linspace(own.min(), own.max(), N_GRID_POINTS)
        return np.union1d(quantiles, steps), False

    def _values_of_single(self, column, points):
        """`_values` for some of a column's grids and rows, all of which it computes."""
        if column not in self._singles:
            grids = [self._points(column, is_pair=each)[0] for each in (False, True)]
            own = self._background.rows[:, column]
            known = np.unique(np.concatenate([*grids, own, [np.nan]]))
            self._singles[column] = known, self._values([column], known[:, None])
        known, values = self._singles[column]
        return values[np.searchsorted(known, points)]

    def _values(self, columns, points):
        """Mean output where columns are set, less its mean; (n_points, n_outputs)."""
        different, inverse = np.unique(points, axis=0, return_inverse=True)
        summands = sum(
            self._background.summands(column, different[:, index])
            for index, column in enumerate(columns)
        )
        values = self._background.mean_output(columns, summands) - self._mean
        return values[inverse.reshape(-1)]

    def _deviations(self, columns, points):
        """Posterior deviations of effects, (n_points, n_outputs), or None."""
        if not self._has_band:
            return None
        n_rows = N_BAND_ROWS if len(columns) == 1 else N_BAND_ROWS_OF_PAIR
        rows = self._background.rows[self._background.drawn_rows(n_rows)]
        of_mean = self._model.mean_deviation_roots(rows, 1)
        roots = self._roots(rows, columns, points) - of_mean
        if len(columns) == 2:
            for index, column in enumerate(columns):
                values, inverse = np.unique(points[:, index], return_inverse=True)
                single = self._roots(rows, [column], values[:, None]) - of_mean
                roots -= single[inverse]
        return np.linalg.norm(roots, axis=2) * self._model.output_scaling.scale

    def _roots(self, rows, columns, points):
        X = np.tile(rows, (len(points), 1))
        X[:, columns] = np.repeat(points, len(rows), axis=0)
        return self._model.mean_deviation_roots(X, len(points))

    def _effect(self, columns, grids, has_levels, values, at_rows, deviations, missing):
        model, background = self._model, self._background
        lower = upper = None
        if deviations is not None:
            lower = self.squeezed(values - NORMAL_90 * deviations)
            upper = self.squeezed(values + NORMAL_90 * deviations)
        is_categorical = tuple(bool(model.n_categories[column]) for column in columns)
        rows = background.rows[:, columns]
        for own, points, is_code in zip(rows.T, grids, is_categorical, strict=True):
            if is_code:
                own[:] = _places(own, points)
        grids = tuple(
            model.categories.of_columns[column][points.astype(int)]
            if is_code
            else points
            for column, points, is_code in zip(
                columns, grids, is_categorical, strict=True
            )
        )
        return Effect(
            features=tuple(columns),
            feature_names=tuple(model.feature_names[column] for column in columns),
            grid=grids,
            values=self.squeezed(values),
            lower=lower,
            upper=upper,
            missing_value=None if missing is None else self.squeezed(missing),
            share=background.share_of(at_rows),
            is_categorical=is_categorical,
            has_levels=tuple(has_levels),
            rows=rows,
            row_values=self.squeezed(at_rows),
            sample_weight=background.share,
        )
