"""The curves of a fitted estimator as functions in the user's units.

An `EdgeFunction` is one curve phi(x) = w b(x) + sum_m c_m B_m(x) with what is known of
it: names, importance, range and density of its input, posterior deviation. That of a
category is one value for each. Inputs of
the first layer are in the units of the features, outputs of the last one in those of
the target (log odds for classes, logarithms of the mean where the loss has a log
link); hidden nodes have no unit but that of the core.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import BSpline
from scipy.linalg import solve_triangular
from sklearn.utils.validation import check_is_fitted

from skkan.basis._bspline import BSplineBasis
from skkan.basis._categories_and_missing import MixedBasis
from skkan.data._categories import codes_of
from skkan.data._scaling import AffineScaling
from skkan.estimators._base import BaseKAN
from skkan.network._edge_statistics import LayerStatistics
from skkan.penalties._eigen_directions import EdgeKinds

NEGLIGIBLE = 1e-3  # of an attribution, below which an edge does not show in the outputs


@dataclass(frozen=True, eq=False)
class EdgeFunction:
    """One curve of a fitted network, callable in the user's units.

    It is called with the values of a feature: numbers, NaN where they are missing, or
    categories as they stand in X.

    Attributes
    ----------
    source, target : tuple of (int, int)
        Level and position of the node that the edge leaves and of the one that it
        enters. Level 0 holds the inputs, the last level the outputs.
    source_name, target_name : str
    importance : float
        Attribution score of the KAN 2.0 paper; see `KANNetwork.edge_scores`.
    std : float
        Standard deviation of the values over the training rows.
    mean : float
        Mean of the values over the training rows.
    low, high : float
        Range of the input in the training rows; NaN if it is a category.
    density : ndarray of shape (n_bins,)
        Share of the training rows in equal parts of that range, or in each category,
        among those in which the input is not missing.
    removed : bool
        Whether the edge is pruned; it is zero everywhere.
    categories : ndarray of shape (n_categories,) or None
        The known ones, if the input is a category.
    """

    __module__ = "skkan.inspection"

    source: tuple
    target: tuple
    source_name: str
    target_name: str
    importance: float
    std: float
    mean: float
    low: float
    high: float
    density: np.ndarray
    removed: bool
    categories: np.ndarray | None
    _basis: BSplineBasis | MixedBasis  # of this one input, in scaled units
    _weight: np.ndarray  # (n_functions,), times the scale of the output
    _mean_features: np.ndarray  # (n_functions,)
    _centre: float
    _scale: float  # infinite for an input that did not vary
    _root: np.ndarray | None  # (n_parameters, n_functions), root of the covariance

    def __call__(self, x):
        """Values of the curve, ndarray of the shape of `x`.

        A category that is not known has the value zero.
        """
        return self._features(x) @ self._weight

    def derivative(self, x):
        """First derivative of the curve, ndarray of the shape of `x`.

        It is zero where the input is missing.
        """
        self._check_number("derivative")
        return self._features(x, derivative=True) @ self._weight / self._scale

    def deviation(self, x, *, centred=True):
        """Posterior standard deviation of the curve, ndarray of the shape of `x`.

        Parameters
        ----------
        x : array-like
        centred : bool, default=True
            Whether it is that of the curve less its mean over the training rows. What
            one edge adds to all rows another one can take back, so that the rows tell
            nothing of its level.

        Raises
        ------
        ValueError
            If the estimator was not fitted by a second-order solver.
        """
        if self._root is None:
            raise ValueError(
                "deviation needs the posterior of the weights, which solver='lm' "
                "computes: fit the estimator with it."
            )
        features = self._features(x)
        if centred:
            features = features - self._mean_features
        return np.linalg.norm(features @ self._root.T, axis=-1)

    @property
    def category_values(self):
        """Value of each of `categories`, ndarray of shape (n_categories,)."""
        if self.categories is None:
            raise ValueError(
                f"category_values of the edge {self._name} are not defined, since its "
                "input is a number: call the edge with values of it."
            )
        return self._weight[: len(self.categories)].copy()

    @property
    def missing_value(self):
        """Learnt value of the curve where the input is missing, float.

        None if it was never missing in training; the curve then has its mean there.
        """
        if not (isinstance(self._basis, MixedBasis) and self._basis.has_missing.any()):
            return None
        return float(self(np.nan))

    @property
    def knots(self):
        """Grid of the curve, ndarray of shape (grid_size + 1,)."""
        self._check_number("knots")
        return self._unscaled(self._basis.grid[0].numpy())

    @property
    def base_weight(self):
        """Weight w of the base function, whose argument is (x - centre) / scale."""
        self._check_number("base_weight")
        return float(self._weight[self._basis.n_splines])

    @property
    def base_activation(self):
        """Name of the base function b."""
        self._check_number("base_activation")
        return self._basis.base_activation

    @property
    def extrapolation(self):
        """How the curve goes on outside of its knots, "constant" or "linear"."""
        self._check_number("extrapolation")
        return self._basis.extrapolation

    @property
    def base_scaling(self):
        """Centre and scale of the argument of the base function, floats."""
        self._check_number("base_scaling")
        return self._centre, self._scale

    @property
    def spline(self):
        """The spline part as a `scipy.interpolate.BSpline`, on the grid.

        Between the first and the last of `knots` the curve is
        ``spline(x) + base_weight * b((x - centre) / scale)``. Where the input is
        missing, see `missing_value`.
        """
        self._check_number("spline")
        knots = self._unscaled(self._basis.knots[0].numpy())
        coefficients = self._weight[: self._basis.n_splines]
        if np.isinf(self._scale):  # all values of the input count as its centre
            level = self._features(self._centre)[: self._basis.n_splines]
            coefficients = np.full_like(coefficients, level @ coefficients)
        return BSpline(knots, coefficients, self._basis.spline_order)

    @property
    def _name(self):
        return f"({self.source_name!r}, {self.target_name!r})"

    def _check_number(self, what):
        if self.categories is not None:
            raise ValueError(
                f"{what} of the edge {self._name} is not defined, since its input is a "
                "category and the edge has one value for each: use categories and "
                "category_values."
            )

    def _unscaled(self, values):
        scale = self._scale if np.isfinite(self._scale) else 1.0
        return self._centre + scale * values

    def _features(self, x, *, derivative=False):
        if self.categories is not None:
            if hasattr(x, "to_list"):
                x = x.to_list()  # which keeps whole numbers beside missing cells
            x = np.asarray(x, dtype=None if isinstance(x, np.ndarray) else object)
            column = codes_of(x.ravel(), self.categories, repr(self.source_name))
        else:
            x = np.asarray(x, dtype=np.float64)
            scaling = AffineScaling(np.array(self._centre), np.array(self._scale))
            column = scaling.transform(x).ravel()
        features = self._basis.values_and_derivatives(
            torch.from_numpy(column).unsqueeze(1), with_derivatives=derivative
        )[1 if derivative else 0]
        features = features[:, 0].numpy()
        if self.source[0] == 0 and isinstance(self._basis, BSplineBasis):
            features[np.isnan(column)] = 0.0 if derivative else self._mean_features
        return features.reshape(*x.shape, -1)


def edge_functions(estimator, *, with_posterior=False):
    """All curves of a fitted estimator.

    The curves that enter an output and its intercept (see `intercepts`) add up to what
    the model predicts: the target, its logarithm under a loss with a log link, or the
    raw log odds of classes, which `decision_function` moderates after a fit with solver
    "lm".

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.
    with_posterior : bool, default=False
        Whether the curves know their posterior deviation, which takes the inverse of
        the posterior's factor.

    Returns
    -------
    list of EdgeFunction
        In the order of the layers, of their outputs, of their inputs; those of an
        additive skip come last. Features that a pruned network does not use have none.

    Raises
    ------
    TypeError
        If the estimator is not one of skkan.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If the posterior is asked for and there is none.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import edge_functions
    >>> X, y = make_friedman1(200, n_features=5, random_state=0)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> curves = edge_functions(model)
    >>> [curve.source_name for curve in curves]
    ['x0', 'x1', 'x2', 'x3', 'x4']
    >>> curves[3].target_name
    'y'
    """
    check_fitted_kan(estimator)
    network = estimator.network_.cpu()
    roots = _posterior_roots(estimator, network) if with_posterior else None
    names = node_names(estimator)
    last = len(network.widths) - 1
    edges = []
    features = network.used_features.numpy()
    for index, layer in enumerate(network.all_layers):
        is_skip = layer is network.skip
        start, end = (0, last) if is_skip else (index, index + 1)
        activity = LayerStatistics(**estimator._activity[index])
        centre, scale = np.zeros(layer.basis.n_inputs), np.ones(layer.basis.n_inputs)
        if start == 0:
            centre = estimator._x_centre[features]
            scale = estimator._x_scale[features]
        unit = estimator._raw_scaling.scale if end == last else np.ones(len(layer.mask))
        unscale = np.where(np.isfinite(scale), scale, 0.0)
        bases = [
            layer.basis.of_inputs(torch.tensor([i]))
            for i in range(layer.basis.n_inputs)
        ]
        weight = layer.masked(layer.weight).detach().numpy()
        for o, i in np.ndindex(*layer.mask.shape):
            own = slice(bases[i].n_functions)
            of_edge = weight[o, i, own] * unit[o]
            source = features[i] if start == 0 else i
            mean_features = activity.mean_features[i, own]
            low = float(centre[i] + unscale[i] * activity.low[i])
            high = float(centre[i] + unscale[i] * activity.high[i])
            density, categories = activity.density[i], None
            if not layer.is_number[i]:
                categories = estimator.categories_[source]
                density = bases[i].means[0, : len(categories)].numpy()
                low = high = np.nan
            edges.append(
                EdgeFunction(
                    source=(start, int(source)),
                    target=(end, o),
                    source_name=names[start][source],
                    target_name=names[end][o],
                    importance=float(activity.score[o, i]),
                    std=float(activity.std[o, i] * unit[o]),
                    mean=float(mean_features @ of_edge),
                    low=low,
                    high=high,
                    density=density,
                    removed=not layer.mask[o, i],
                    categories=categories,
                    _basis=bases[i],
                    _weight=of_edge,
                    _mean_features=mean_features,
                    _centre=float(centre[i]),
                    _scale=float(scale[i]),
                    _root=None if roots is None else roots[len(edges)] * unit[o],
                )
            )
    return edges


def node_names(estimator):
    """Names of all nodes of a fitted estimator, level by level.

    Inputs have the names of the features or x0, x1, ...; hidden nodes h1_0, h1_1, ...
    for the first hidden layer; outputs y (y0, y1, ... for several targets), or the
    classes.

    Returns
    -------
    list of list of str
    """
    check_fitted_kan(estimator)
    n_inputs = estimator.n_features_in_
    inputs = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(n_inputs)])
    widths = estimator.network_.widths
    hidden = [
        [f"h{level}_{node}" for node in range(width)]
        for level, width in enumerate(widths[1:-1], start=1)
    ]
    return [[str(name) for name in inputs], *hidden, _output_names(estimator)]


def _output_names(estimator):
    n_outputs = len(estimator._baseline)
    classes = getattr(estimator, "classes_", None)
    if classes is not None and n_outputs == 1:
        return [str(classes[-1])]
    if classes is not None and len(classes) == n_outputs:
        return [str(name) for name in classes]
    return ["y"] if n_outputs == 1 else [f"y{output}" for output in range(n_outputs)]


def intercepts(estimator):
    """What the curves that enter the outputs are added to, ndarray of (n_outputs,).

    In the units of the target; log odds for classes; logarithms of the mean where the
    loss has a log link.
    """
    check_fitted_kan(estimator)
    return estimator._raw_scaling.inverse_transform(estimator._baseline)


def check_fitted_kan(estimator):
    """Raise unless it is a fitted estimator of skkan."""
    if not isinstance(estimator, BaseKAN):
        raise TypeError(
            "Expected a fitted KANRegressor or KANClassifier, got "
            f"{type(estimator).__name__}: of a Pipeline or a search pass the last step "
            "or best_estimator_."
        )
    check_is_fitted(estimator)


def _posterior_roots(estimator, network):
    """For each edge a matrix R whose R^T R is the covariance of its weights.

    The noise is that of `predict`: of the output that an edge enters, or the common
    one of training for an edge that enters a hidden node.
    """
    factor = getattr(estimator, "_posterior_factor", None)
    if factor is None:
        raise ValueError(
            f"{type(estimator).__name__} has no posterior of its weights: fit it with "
            "solver='lm', or leave the posterior out."
        )
    inverse = solve_triangular(factor, np.eye(len(factor)), lower=True)
    ends = EdgeKinds.of(network.all_layers).sizes.cumsum(0).numpy()
    roots = iter(np.split(inverse, ends[:-1], axis=1))
    scaled = []
    for layer in network.all_layers:
        enters_output = layer in (network.layers[-1], network.skip)
        noise = np.full(len(layer.mask), estimator._shared_noise)
        if enters_output:
            noise = estimator._noise
        for o, i in np.ndindex(*layer.mask.shape):
            exists = float(layer.mask[o, i])  # a removed edge is zero for certain
            scaled.append(exists * np.sqrt(noise[o]) * next(roots))
    return scaled
