"""Derivatives of the raw output with respect to the columns of X."""

import numpy as np
import torch

from skkan.data._dask_tables import in_memory
from skkan.estimators._base import fitted_model_of
from skkan.estimators._row_validation import validated_features
from skkan.network._jacobian import linearise
from skkan.numerics._threads import parallel_map, single_thread

BLOCK_DERIVATIVES = 2**20  # derivatives of functions that are held at a time, 8 MB


@single_thread
def gradient(estimator, X):
    """Derivatives of the raw output with respect to the columns of X, at its rows.

    The raw output is the prediction, its logarithm under a loss with a log link, or the
    raw log odds of classes, which `decision_function` moderates after a fit with solver
    "lm". The derivatives are analytic, in units of the output per unit of the column.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
        Fitted.
    X : {array-like, sparse matrix, dask array or data frame} of shape \
            (n_samples, n_features)
        As for `predict`. Rows of dask are brought into memory.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or (n_samples, n_features, n_outputs)
        The latter for several outputs. NaN for categories, which have no derivative.
        Zero where a cell is missing, for columns that pruning has left out, and for
        those that did not vary in the fit.

    Raises
    ------
    TypeError
        If the estimator is not one of skkan.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Notes
    -----
    Each curve, those of hidden nodes included, has its own derivative at the value that
    its input has there, and the chain rule joins them. Only curves of `spline_order` 0
    and 1 have kinks or jumps at their knots: their derivative there is the one to the
    right. At both ends of the grid it is the one within the grid, for all orders.
    Beyond the ends it is zero with ``extrapolation="constant"`` and that at the end
    with "linear". Steps of order 0 have the derivative zero, so that only the base
    functions count.

    Examples
    --------
    >>> import numpy as np
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import gradient
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    >>> model = KANRegressor((), random_state=0).fit(X, X[:, 0] ** 2 + 3 * X[:, 1])
    >>> gradient(model, [[0.5, 0.0]]).round(2)
    array([[1., 3.]])
    """
    model = fitted_model_of(estimator)
    return derivatives(model, validated_features(estimator, in_memory(X)))


def derivatives(model, X):
    """Derivatives as `gradient` returns them.

    Parameters
    ----------
    model : FittedModel
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        Checked, with codes for categories and NaN where cells are missing.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or (n_samples, n_features, n_outputs)
    """
    network = model.network_with_missing()
    found = np.zeros((X.shape[0], model.n_outputs, model.n_features))
    scale = (
        model.output_scaling.scale[:, None] / model.preprocessing.input_scaling.scale
    )
    scale[:, model.n_categories > 0] = np.nan
    used = network.used_features.numpy()

    def fill(rows):
        x = torch.from_numpy(model.scaled(X[rows]))
        found[rows, :, used] = _in_scaled_units(network, x)
        found[rows] *= scale

    n_numbers = max(layer.weight.numel() for layer in network.all_layers)
    size = max(1, BLOCK_DERIVATIVES // n_numbers)
    starts = range(0, len(found), size)
    parallel_map(fill, [slice(start, start + size) for start in starts])
    return found[:, 0] if model.n_outputs == 1 else np.moveaxis(found, 1, 2)


@torch.no_grad()
def _in_scaled_units(network, x):
    """By the used columns, ndarray of shape (n_samples, n_outputs, n_inputs)."""
    first = network.layers[0]
    features, slopes = first.basis.values_and_derivatives(network.inputs(x))
    line = linearise(network, network.weights, x, features)
    found = _slopes_of_edges(first, slopes)
    if line.sensitivities:
        found = line.sensitivities[0] @ found
    if network.skip is not None:
        found = found + _slopes_of_edges(network.skip, slopes)
    return found.numpy()


def _slopes_of_edges(layer, slopes):
    """Derivative of each edge, Tensor of shape (n_samples, n_outputs, n_inputs)."""
    return torch.einsum("nif,oif->noi", slopes, layer.masked(layer.weight))
