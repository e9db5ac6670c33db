"""What a fitted estimator predicts from: its network, block by block of the rows."""

from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    check_array,
    check_is_fitted,
    check_X_y,
    validate_data,
)

from skkan.data._categories import Categories, as_table
from skkan.data._column_checks import (
    adding_remedies,
    checked_names,
    checked_no_dates,
    naming_column,
)
from skkan.data._merged_rows import dense
from skkan.data._scaling import AffineScaling
from skkan.estimators._parameter_checks import checked_device
from skkan.fitted._numpy_predictor import Predictor
from skkan.inference._laplace_posterior import deviations
from skkan.inference._last_layer_posterior import output_deviations
from skkan.losses._registry import REGRESSION_LOSSES
from skkan.network._edits import with_values_at_missing
from skkan.network._network import KANNetwork
from skkan.numerics._threads import available_threads, single_thread

LOG_LINKED = {name for name, loss in REGRESSION_LOSSES.items() if loss.has_log_link}
# Numbers that are held at a time: of deviations, and by each thread of a prediction.
CHUNK, PREDICTED = 2**20, 2**17
# What predicts for a fitted estimator, and the arrays of the fit that it was made from.
_PREDICTORS = WeakKeyDictionary()


class FittedKAN(BaseEstimator):
    """The half of an estimator that reads a fit; not to be instantiated."""

    @property
    def network_(self):
        """The fitted network as a torch module, in scaled units, built on access.

        It maps (X - centre) / scale to what is added to the baseline. Changing it does
        not change the estimator.
        """
        check_is_fitted(self)
        try:
            device = checked_device(self.device)
        except ValueError:  # fitted on a GPU, used where there is none
            device = "cpu"
        return KANNetwork.from_arrays(self._network_arrays, device)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags

    def _validated(self, X):
        """X as float64; dense with codes for categories, or perhaps of sparse rows."""
        check_is_fitted(self)
        with adding_remedies():
            return self._validated_as(X, reset=False)

    def _validated_as(self, X, *y, reset, **checks):
        """X as float64, perhaps with y; `checks` are those of scikit-learn."""
        checks = {
            "accept_sparse": "csr",
            "dtype": np.float64,
            "ensure_all_finite": "allow-nan",
            **checks,
        }
        checked_names(X)
        checked_no_dates(X, self.is_categorical_)
        with naming_column(X, self.is_categorical_, in_fit=reset):
            if self.categories_ is None:
                return validate_data(self, X, *y, reset=reset, **checks)
            X = as_table(X, self)
            validate_data(self, X, reset=reset, skip_check_array=True)
            X = Categories(self.categories_).encoded(X)
        if y:
            return check_X_y(X, *y, estimator=self, **checks)
        return check_array(X, estimator=self, input_name="X", **checks)

    def _n_categories(self):
        """Number of categories of each feature, 0 for numbers, (n_features,)."""
        if self.categories_ is None:
            return np.zeros(self.n_features_in_, dtype=int)
        return Categories(self.categories_).counts

    def _taking_missing(self, network):
        """The network of the fit, such that it takes missing cells."""
        means = torch.tensor(self._activity[0]["mean_features"])
        means = means.to(network.layers[0].mask.device)
        return with_values_at_missing(network, means)

    def _network_on_cpu(self):
        """The network of the fit on the CPU, such that it takes missing cells."""
        return self._taking_missing(KANNetwork.from_arrays(self._network_arrays))

    def _network_for(self, X):
        """The fitted network, such that it takes the missing cells of X."""
        network = self.network_
        has_gaps = np.isnan(X.data if issparse(X) else X).any()
        return self._taking_missing(network) if has_gaps else network

    @property
    def _has_log_link(self):
        return getattr(self, "_fitted_loss", None) in LOG_LINKED

    @property
    def _raw_scaling(self):
        """From raw outputs to what the link inverts, in the units of the target."""
        if self._has_log_link:
            # log(scale * mean) = log(scale) + log(mean)
            return AffineScaling(np.log(self._y_scale), np.ones_like(self._y_scale))
        return AffineScaling(self._y_centre, self._y_scale)

    def _raw(self, X):
        """Raw output of validated rows, ndarray of shape (n_samples, n_outputs)."""
        predictor = self._predictor()
        raw = np.empty((X.shape[0], len(self._baseline)))

        def predict(rows):
            raw[rows] = predictor(self._scaled(X[rows]))

        blocks = _blocks(len(raw), predictor.n_values, PREDICTED)
        n_threads = min(available_threads(), len(blocks))
        if n_threads > 1:
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(predict, blocks))
        else:
            list(map(predict, blocks))
        return self._baseline + raw

    def _predictor(self):
        """The fitted network as a function, made once for each fit."""
        check_is_fitted(self)
        fit, predictor = _PREDICTORS.get(self, (None, None))
        if fit is not self._network_arrays:
            predictor = Predictor(self._network_on_cpu())
            _PREDICTORS[self] = self._network_arrays, predictor
        return predictor

    def _deviations(self, X):
        """What the covariances of the raw output of validated rows are made of.

        Yields
        ------
        rows : slice
        deviations : ndarray of shape (n_outputs, n_parameters, n_block)
            At unit noise; see `skkan.inference._laplace_posterior.deviations`.
        """
        network = self._network_for(X)
        if hasattr(self, "_posterior_factor"):
            factor, deviations_of = self._posterior_factor, deviations
        else:
            factor, deviations_of = self._output_factor, output_deviations
        # A copy, as torch takes no arrays that are mapped from a file for reading.
        factor = torch.tensor(factor, device=network.layers[0].mask.device)
        n_values = len(factor) * len(self._baseline)
        with single_thread, torch.no_grad():
            for rows in _blocks(X.shape[0], n_values, CHUNK):
                x = torch.from_numpy(self._scaled(X[rows])).to(factor.device)
                yield rows, deviations_of(network, factor, x).cpu().numpy()

    def _scaled(self, X):
        """Rows in scaled units, dense."""
        scaling = AffineScaling(self._x_centre, self._x_scale)
        return scaling.transform(dense(X))


def _blocks(n_rows, n_values, most_values):
    """Slices of the rows, such that `n_values` numbers for each row fit the cache."""
    size = max(1, most_values // n_values)
    return [slice(start, start + size) for start in range(0, n_rows, size)]
