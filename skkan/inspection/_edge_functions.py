"""The curves of a fitted estimator as functions in the user's units.

An `EdgeFunction` is one curve phi(x) = w b(x) + sum_m c_m B_m(x), with its names,
importance and posterior deviation, and the range and density of its input. The curve of
a category has one value for each category. Inputs of the first layer are in the units
of the features. Outputs of the last layer are in the units of the target; they are log
odds for classes, and logarithms of the mean where the loss has a log link. Hidden nodes
have the units of the network.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import BSpline

from skkan.basis._base import Basis
from skkan.data._categories import codes_of
from skkan.data._frames import cells
from skkan.data._scaling import AffineScaling
from skkan.estimators._base import fitted_model_of
from skkan.numerics._threads import single_thread

# Importance below which an edge does not show in the outputs: 1% of their deviation.
NEGLIGIBLE = 1e-4


@dataclass(frozen=True, eq=False)
class EdgeFunction:
    """One curve of a fitted network, callable in the user's units.

    Its argument holds values of a feature: numbers, NaN where they are missing, or
    categories as in X.

    Attributes
    ----------
    source, target : tuple of (int, int)
        Level and position of the node that the edge leaves and of the node that it
        enters. Level 0 holds the inputs, the last level the outputs. The factors of
        products stand behind all nodes of their level.
    source_name, target_name : str
    product : tuple of (int, int) or None
        Level and position of the product, if the target is one of its two factors.
    importance : float
        Share of the variance of the output that is lost if the mean of the edge
        replaces it; see `edge_table`.
    std : float
        Standard deviation of the values over the training rows.
    mean : float
        Mean of the values over the training rows.
    low, high : float
        Range of the input in the training rows; NaN if it is a category.
    density : ndarray of shape (n_bins,)
        Share of the training rows in each of equal parts of that range, or in each
        category, among the rows in which the input is not missing.
    removed : bool
        Whether the edge is pruned, or left out by `interaction_cst`. It is zero
        everywhere.
    categories : ndarray of shape (n_categories,) or None
        Known categories, if the input is a category.
    """

    __module__ = "skkan.inspection"

    source: tuple
    target: tuple
    source_name: str
    target_name: str
    product: tuple | None
    importance: float
    std: float
    mean: float
    low: float
    high: float
    density: np.ndarray
    removed: bool
    categories: np.ndarray | None
    _basis: Basis  # of this one input, in scaled units
    _weight: np.ndarray  # (n_functions,), times the scale of the output
    _mean_features: np.ndarray  # (n_functions,)
    _centre: float
    _scale: float  # infinite for an input that did not vary
    _root: np.ndarray | None  # (n_functions, n_functions), root of the covariance

    def __call__(self, x):
        """Values of the curve, ndarray of the shape of `x`.

        The value of an unknown category is zero.
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
            Whether the curve's mean over the training rows is subtracted first. The
            rows do not determine the level of a single curve, since another curve can
            take up a constant.

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
    def enters(self):
        """Level and position of the node that the edge enters, of a factor its product.

        It is the node that edges leave.
        """
        return self.target if self.product is None else self.product

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
    @single_thread
    def missing_value(self):
        """Learnt value of the curve where the input is missing, float.

        None if the input was never missing in training; the curve then takes its mean.
        """
        if not self._basis.has_missing.any():
            return None
        return float(self(np.nan))

    @property
    @single_thread
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
        """How the curve continues beyond its knots, "constant" or "linear"."""
        self._check_number("extrapolation")
        return self._basis.extrapolation

    @property
    def base_scaling(self):
        """Centre and scale of the argument of the base function, floats."""
        self._check_number("base_scaling")
        return self._centre, self._scale

    @property
    @single_thread
    def spline(self):
        """Spline part of the curve, a `scipy.interpolate.BSpline` on the grid.

        Between the first and the last of `knots` the curve is
        ``spline(x) + base_weight * b((x - centre) / scale)``. Its value for a missing
        input is `missing_value`.
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

    @single_thread
    def _features(self, x, *, derivative=False):
        if self.categories is not None:
            if not isinstance(x, np.ndarray):
                # Python's types keep whole numbers beside missing cells.
                x = np.asarray(x if np.isscalar(x) else cells(x), dtype=object)
            column = codes_of(x.ravel(), self.categories, repr(self.source_name))
        else:
            x = np.asarray(x, dtype=np.float64)
            scaling = AffineScaling(np.array(self._centre), np.array(self._scale))
            column = scaling.transform(x).ravel()
        features = self._basis.values_and_derivatives(
            torch.from_numpy(column).unsqueeze(1), with_derivatives=derivative
        )[1 if derivative else 0]
        features = features[:, 0].numpy()
        if self.source[0] == 0 and not self._basis.takes_missing:
            features[np.isnan(column)] = 0.0 if derivative else self._mean_features
        return features.reshape(*x.shape, -1)


@single_thread
def edge_functions(estimator, *, with_posterior=False):
    """All curves of a fitted estimator.

    The curves that enter an output and its intercept (see `intercepts`) sum to the
    prediction: the target, its logarithm under a loss with a log link, or the raw log
    odds of classes, which `decision_function` moderates after a fit with solver "lm".

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.
    with_posterior : bool, default=False
        Whether the curves know their posterior deviation. It costs the inverse of a
        matrix with one row for each weight.

    Returns
    -------
    list of EdgeFunction
        Sorted by layer, then by output, then by input. Edges of an additive skip come
        last. Features that a pruned network does not use have no edges.

    Raises
    ------
    TypeError
        If the estimator is not one of skkan.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If `with_posterior` is set and the fit has left no posterior.

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
    model = fitted_model_of(estimator)
    network, scaling = model.network(), model.preprocessing.input_scaling
    roots = None
    if with_posterior:
        if not model.has_laplace_posterior:
            raise ValueError(
                f"{type(estimator).__name__} has no posterior of its weights: fit it "
                "with solver='lm', or leave the posterior out."
            )
        roots = _posterior_roots(model.posterior, network)
    names = node_names(estimator)
    product_of = {
        factor: product
        for product, factors in node_products(estimator)
        for factor in factors
    }
    last = len(network.widths) - 1
    edges = []
    features = network.used_features.numpy()
    layers = zip(network.all_layers, model.layer_statistics, strict=True)
    for index, (layer, statistics) in enumerate(layers):
        is_skip = layer is network.skip
        start, end = (0, last) if is_skip else (index, index + 1)
        centre, scale = np.zeros(layer.basis.n_inputs), np.ones(layer.basis.n_inputs)
        if start == 0:
            centre, scale = scaling.centre[features], scaling.scale[features]
        unit = model.output_scaling.scale if end == last else np.ones(len(layer.mask))
        unscale = np.where(np.isfinite(scale), scale, 0.0)
        bases = [
            layer.basis.of_inputs(torch.tensor([i]))
            for i in range(layer.basis.n_inputs)
        ]
        weight = layer.masked(layer.weight).detach().numpy()
        n_sums = len(layer.mask) - 2 * layer.n_multiplications
        for o, i in np.ndindex(*layer.mask.shape):
            own = slice(bases[i].n_functions)
            of_edge = weight[o, i, own] * unit[o]
            target = end, o if o < n_sums else o + layer.n_multiplications
            source = features[i] if start == 0 else i
            mean_features = statistics.mean_features[i, own]
            low = float(centre[i] + unscale[i] * statistics.low[i])
            high = float(centre[i] + unscale[i] * statistics.high[i])
            density, categories = statistics.density[i], None
            if not layer.basis.is_number[i]:
                categories = model.categories.of_columns[source]
                density = bases[i].means[0, : len(categories)].numpy()
                low = high = np.nan
            edges.append(
                EdgeFunction(
                    source=(start, int(source)),
                    target=target,
                    source_name=names[start][source],
                    target_name=names[end][target[1]],
                    product=product_of.get(target),
                    importance=float(statistics.score[o, i]),
                    std=float(statistics.std[o, i] * unit[o]),
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


@single_thread
def node_names(estimator):
    """Names of all nodes of a fitted estimator, level by level.

    Inputs have the names of the features, or x0, x1, .... Nodes of the first hidden
    layer are h1_0, h1_1, ..., sums first, then products. Behind them stand the factors,
    h1_1a and h1_1b of the product h1_1. Outputs are y (y0, y1, ... for several
    targets), or have the names of classes.

    Returns
    -------
    list of list of str
    """
    model = fitted_model_of(estimator)
    hidden = []
    for level, layer in enumerate(model.network().layers[:-1], start=1):
        names = [f"h{level}_{node}" for node in range(layer.n_nodes)]
        products = names[layer.n_nodes - layer.n_multiplications :]
        hidden.append([*names, *(f"{name}{end}" for name in products for end in "ab")])
    return [model.feature_names, *hidden, model.output_names]


def node_products(estimator):
    """Products of a fitted estimator and their factors, as (level, position).

    Returns
    -------
    tuple of (product, (factor, factor))
    """
    network, found = fitted_model_of(estimator).network(), []
    for level, layer in enumerate(network.layers, start=1):
        n_nodes, n_products = layer.n_nodes, layer.n_multiplications
        for index in range(n_products):
            product = level, n_nodes - n_products + index
            first = n_nodes + 2 * index
            found.append((product, ((level, first), (level, first + 1))))
    return tuple(found)


def intercepts(estimator):
    """Constants of the outputs, ndarray of shape (n_outputs,).

    The curves that enter an output are added to its constant. The units are those of
    the target; they are log odds for classes, and logarithms of the mean where the loss
    has a log link.
    """
    return fitted_model_of(estimator).intercepts


def _posterior_roots(posterior, network):
    """A matrix R for each edge, whose R^T R is the covariance of the edge's weights.

    The noise is that of the output that an edge enters, as in `predict`. Edges that
    enter hidden nodes take the noise that outputs share in training.
    """
    roots = iter(posterior.root(network).of_edges())
    scaled = []
    for layer in network.all_layers:
        enters_output = layer in (network.layers[-1], network.skip)
        noise = np.full(len(layer.mask), posterior.shared_noise)
        if enters_output:
            noise = posterior.noise
        for o, i in np.ndindex(*layer.mask.shape):
            exists = float(layer.mask[o, i])  # a removed edge is zero for certain
            scaled.append(exists * np.sqrt(noise[o]) * next(roots).numpy())
    return scaled
