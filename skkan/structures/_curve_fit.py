"""Least squares for sums and products of curves, each of one feature.

The model is c + sum_i p_i(x_i) + sum_k prod_(i in S_k) q_ki(x_i). The curves are
polynomials on the range of the rows: a fit takes milliseconds, so that a search can
make hundreds. The additive part is linear, and products are fitted by
Levenberg-Marquardt.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.polynomial.legendre import legval, legvander

MAX_STEPS = 40
END_GAIN = 1e-3  # relative decrease of the squared error at which a fit ends
START_DEGREE = 4  # of the tensor product from which a product's first curves are read
CRUDE_DEGREE = 3  # of the tensor product by which products are ranked
CURVE_RIDGE = 1e-12  # of the mean diagonal: curves of a product may trade a factor


@dataclass(frozen=True, eq=False)
class CurveRows:
    """Rows, with the polynomials of every feature.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,)
    degree : int
    """

    X: np.ndarray
    weight: np.ndarray
    degree: int

    @cached_property
    def low(self):
        return self.X.min(axis=0)

    @cached_property
    def high(self):
        return self.X.max(axis=0)

    @cached_property
    def varying(self):
        """Features that take more than one value."""
        return [i for i in range(self.X.shape[1]) if self.high[i] > self.low[i]]

    @cached_property
    def basis(self):
        """Polynomials of each feature, (n_features, n_samples, degree + 1)."""
        width = np.where(self.high > self.low, self.high - self.low, 1.0)
        z = 2 * (self.X - self.low) / width - 1
        return legvander(z.T, self.degree) * self.norms

    @cached_property
    def norms(self):
        """Factors by which the polynomials have mean square one on their range."""
        return np.sqrt(2 * np.arange(self.degree + 1) + 1)

    @cached_property
    def additive(self):
        """Columns of the additive part, a constant first."""
        columns = [self.basis[i, :, 1:] for i in self.varying]
        return np.hstack([np.ones((len(self.X), 1)), *columns])


@dataclass(frozen=True, eq=False)
class CurveModel:
    """Constants of a model.

    Attributes
    ----------
    additive : ndarray of shape (n_additive,)
        Coefficients of `CurveRows.additive`.
    products : tuple of tuple of int
        Features of each product.
    factors : tuple of list of ndarray of shape (degree + 1,)
        Coefficients of the curves of each product.
    error : float
        Root of the weighted sum of squared errors.
    """

    additive: np.ndarray
    products: tuple = ()
    factors: tuple = ()
    error: float = np.inf

    @property
    def n_constants(self):
        """Number of constants, without the factors that curves of a product trade."""
        of_products = [
            sum(map(len, factors)) - len(factors) + 1 for factors in self.factors
        ]
        return len(self.additive) + sum(of_products)

    def values(self, rows):
        """Values, ndarray of shape (n_samples,)."""
        total = rows.additive @ self.additive
        for features, factors in zip(self.products, self.factors, strict=True):
            total = total + _curves(rows, features, factors).prod(axis=0)
        return total


def _curves(rows, features, factors):
    """Values of the curves of a product, (n_factors, n_samples)."""
    return np.array([rows.basis[i] @ c for i, c in zip(features, factors, strict=True)])


def fitted_sum(rows, u, weight):
    """Additive model of least squares."""
    root = np.sqrt(weight)
    additive = _least_squares(rows.additive * root[:, None], root * u)
    error = np.linalg.norm(root * (rows.additive @ additive - u))
    return CurveModel(additive, error=float(error))


def with_product(rows, u, weight, model, features):
    """Model with one more product, fitted from the better of two starts.

    Parameters
    ----------
    rows : CurveRows
    u, weight : ndarray of shape (n_samples,)
    model : CurveModel
    features : tuple of int

    Returns
    -------
    CurveModel
    """
    rest = replace(model, additive=np.zeros_like(model.additive)).values(rows)
    found = []
    for whole in (False, True)[: len(features) - 1]:
        factors = _start(rows, u - rest, weight, features, whole=whole)
        own = _curves(rows, features, factors).prod(axis=0)
        start = replace(
            model,
            additive=fitted_sum(rows, u - rest - own, weight).additive,
            products=(*model.products, features),
            factors=(*model.factors, factors),
        )
        found.append(fitted(rows, u, weight, start))
    return min(found, key=lambda model: model.error)


def explained_by_product(rows, u, weight, model, features):
    """Part of the squared error of a model that a crude product would explain."""
    root = np.sqrt(weight)
    columns = root[:, None]
    for i in features:
        crude = rows.basis[i, :, 1 : CRUDE_DEGREE + 1]
        columns = (columns[:, :, None] * crude[:, None]).reshape(len(root), -1)
    residuals = root * (u - model.values(rows))
    return np.linalg.norm(columns @ _least_squares(columns, residuals))


def _start(rows, u, weight, features, *, whole):
    """First curves of a product: the leading vectors of a tensor product fit.

    Parameters
    ----------
    whole : bool
        Whether the product takes part in sums of curves of single features. Two curves
        and their sum cannot be told apart, so that a pair never does.
    """
    n = min(START_DEGREE, rows.degree) + 1
    tensor = rows.basis[features[0], :, :n]
    for i in features[1:]:
        tensor = tensor[:, :, None] * rows.basis[i, :, None, :n]
        tensor = tensor.reshape(len(tensor), -1)
    root = np.sqrt(weight)[:, None]
    columns = tensor if whole else np.hstack([rows.additive, tensor])
    fitted = _least_squares(columns * root, root[:, 0] * u)[-tensor.shape[1] :]
    core = fitted.reshape((n,) * len(features))
    if not whole:
        n_varying = np.sum([index > 0 for index in np.indices(core.shape)], axis=0)
        core = np.where(n_varying > 1, core, 0.0)
    vectors = [
        np.linalg.svd(np.moveaxis(core, axis, 0).reshape(n, -1))[0][:, 0]
        for axis in range(core.ndim)
    ]
    size = core
    for vector in vectors:
        size = np.tensordot(vector, size, (0, 0))
    each = abs(size) ** (1 / len(features))
    padded = [np.pad(each * v, (0, rows.degree + 1 - n)) for v in vectors]
    padded[0] = np.copysign(1.0, size) * padded[0]
    return padded


def fitted(rows, u, weight, model):
    """Model after steps of Levenberg-Marquardt.

    Parameters
    ----------
    rows : CurveRows
    u, weight : ndarray of shape (n_samples,)
    model : CurveModel

    Returns
    -------
    CurveModel
    """
    root, damping = np.sqrt(weight), 1e-4
    residuals = root * (model.values(rows) - u)
    model = replace(model, error=float(np.linalg.norm(residuals)))
    additive = rows.additive * root[:, None]
    for _ in range(MAX_STEPS):
        jacobian = np.hstack([additive, *_product_columns(rows, model, root)])
        curvature, gradient = jacobian.T @ jacobian, jacobian.T @ residuals
        size = np.diag(curvature) + CURVE_RIDGE * np.trace(curvature) / len(curvature)
        for _ in range(8):
            damped = curvature + np.diag(damping * size + CURVE_RIDGE * size.mean())
            moved = _moved(model, -np.linalg.solve(damped, gradient))
            found = root * (moved.values(rows) - u)
            error = float(np.linalg.norm(found))
            if error < model.error:
                break
            damping *= 6
        else:
            return model
        gain = 1 - (error / model.error) ** 2
        model, residuals = _balanced(replace(moved, error=error)), found
        damping = max(damping / 8, 1e-12)
        if gain < END_GAIN:
            break
    return model


def _product_columns(rows, model, root):
    """Derivatives by the constants of products, a list of blocks of columns."""
    blocks = []
    for features, factors in zip(model.products, model.factors, strict=True):
        curves = _curves(rows, features, factors)
        for position, i in enumerate(features):
            others = np.delete(curves, position, axis=0).prod(axis=0)
            blocks.append(rows.basis[i] * (root * others)[:, None])
    return blocks


def _moved(model, step):
    """Model after a step in all constants."""
    additive = model.additive + step[: len(model.additive)]
    position, products = len(model.additive), []
    for factors in model.factors:
        moved = []
        for c in factors:
            moved.append(c + step[position : position + len(c)])
            position += len(c)
        products.append(moved)
    return replace(model, additive=additive, factors=tuple(products))


def _balanced(model):
    """The same model, with curves of equal size in each product."""
    balanced = []
    for factors in model.factors:
        sizes = np.array([max(np.linalg.norm(c), 1e-300) for c in factors])
        size = np.exp(np.log(sizes).mean())
        balanced.append(
            [c * (size / own) for c, own in zip(factors, sizes, strict=True)]
        )
    return replace(model, factors=tuple(balanced))


def _least_squares(columns, target):
    """Coefficients of least squares, with a ridge for columns that others express."""
    gram = columns.T @ columns
    gram[np.diag_indices_from(gram)] += CURVE_RIDGE * np.trace(gram) / len(gram)
    return np.linalg.solve(gram, columns.T @ target)


@dataclass(frozen=True, eq=False)
class PolynomialCurve:
    """A curve of one feature, as far as the naming of curves needs to know it.

    Attributes
    ----------
    source, target : tuple of (int, int)
        Nodes that it connects.
    low, high : float
        Range of the feature in the rows.
    density : ndarray of shape (n_bins,)
        Share of the rows in each of equal parts of that range.
    std, mean : float
        Deviation and mean over the rows.
    """

    source: tuple
    target: tuple
    low: float
    high: float
    density: np.ndarray
    std: float
    mean: float
    coefficients: np.ndarray = field(repr=False)

    @classmethod
    def of_rows(cls, rows, feature, coefficients, target):
        """The curve of a feature with coefficients for `CurveRows.basis`."""
        values = rows.basis[feature] @ coefficients
        mean = np.average(values, weights=rows.weight)
        std = np.sqrt(np.average((values - mean) ** 2, weights=rows.weight))
        density, _ = np.histogram(
            rows.X[:, feature], bins=32, weights=rows.weight / rows.weight.sum()
        )
        coefficients = coefficients * rows.norms
        ends = float(rows.low[feature]), float(rows.high[feature])
        scale = float(std), float(mean)
        return cls((0, feature), target, *ends, density, *scale, coefficients)

    def __call__(self, x):
        """Values, ndarray of the shape of `x`."""
        z = 2 * (x - self.low) / (self.high - self.low) - 1
        return legval(z, self.coefficients)
