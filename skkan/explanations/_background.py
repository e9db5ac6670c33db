"""The raw output of a fitted model over rows of which some columns are set.

The first layer adds up curves of one column each. Their values are kept, so that a set
column costs a sum and the layers behind.
"""

from functools import cached_property
from operator import or_

import numpy as np

from skkan.data._column_checks import checked_weights
from skkan.data._dask_tables import in_memory
from skkan.data._dataset import subsample_positions
from skkan.data._merged_rows import dense
from skkan.estimators._base import fitted_model_of
from skkan.estimators._row_validation import validated_features
from skkan.network._products import nodes_of
from skkan.numerics._threads import parallel_map

# Numbers of the sums of the first layer that are held at a time, 2 MB.
BLOCK_NUMBERS = 2**18


def coded_rows(estimator, X):
    """Rows as `predict` takes them, with codes for categories; perhaps sparse."""
    fitted_model_of(estimator)
    return validated_features(estimator, in_memory(X))


def background_of(estimator, X, sample_weight, max_rows):
    """Background of rows that are evenly spread over those of positive weight.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,) or None
    max_rows : int
    """
    rows = coded_rows(estimator, X)
    weight = checked_weights(sample_weight, rows, min_samples=1)
    kept = np.flatnonzero(weight > 0)
    if len(kept) > max_rows:
        kept = kept[subsample_positions(len(kept), max_rows).numpy()]
    share = weight[kept] / weight[kept].sum()
    return Background(estimator.fitted_model_, dense(rows[kept]), share)


class Background:
    """Rows against which features are explained, or that are explained themselves.

    Parameters
    ----------
    model : FittedModel
    rows : ndarray of shape (n_rows, n_features)
        With codes for categories and NaN where cells are missing.
    share : ndarray of shape (n_rows,)
        Weights that sum to one.

    Attributes
    ----------
    output : ndarray of shape (n_rows, n_outputs)
        Raw output without its constant, in the user's units.
    summands_of_rows : ndarray of shape (n_features, n_rows, n_sums)
        Curves of the first layer; `sums` is their sum over the features.
    """

    def __init__(self, model, rows, share):
        self.model, self.rows, self.share = model, rows, share
        self.summands_of_rows = model.summands(rows)
        self.sums = self.summands_of_rows.sum(0)
        self.output = self.output_of(self.sums)

    @property
    def base_value(self):
        """Mean raw output with its constant, ndarray of shape (n_outputs,)."""
        return self.model.intercepts + self.share @ self.output

    @property
    def used_columns(self):
        """Numbers of the features that the network uses, list of int."""
        return self.model.network().used_features.tolist()

    @property
    def n_curves(self):
        """Number of curves behind the first layer."""
        return sum(layer.mask.numel() for layer in self.model.network().layers[1:])

    def main_curve(self, column, n_points):
        """Mean output as a function of one column, by interpolation.

        Parameters
        ----------
        column : int
        n_points : int

        Returns
        -------
        callable
            From codes or numbers of shape (n,) to an ndarray of shape (n, n_outputs).
        """
        own = self.rows[:, column]
        known, n_categories = own[~np.isnan(own)], self.model.n_categories[column]
        if n_categories:
            points = np.arange(-1.0, n_categories)
        elif len(known):
            points = np.unique(np.quantile(known, np.linspace(0, 1, n_points)))
        else:
            points = np.zeros(1)
        curves = self.summands(column, np.r_[points, np.nan])
        *values, missing = self.mean_output([column], curves)

        def curve(x):
            found = [
                np.interp(x, points, of_output) for of_output in np.transpose(values)
            ]
            return np.where(np.isnan(x)[:, None], missing, np.stack(found, axis=1))

        return curve

    @cached_property
    def variance(self):
        """Variance of the output in units of the targets, summed over the outputs."""
        unit = self.model.output_scaling.scale
        centred = (self.output - self.share @ self.output) / unit
        return float(self.share @ np.square(centred).sum(1))

    def share_of(self, part):
        """Share of the variance of the output that a part of it explains.

        Parameters
        ----------
        part : ndarray of shape (n_rows, n_outputs)
        """
        if self.variance == 0:
            return 0.0
        square = np.square(self.model.output_scaling.scale)
        centred = (self.output - self.share @ self.output) / square
        return float(self.share @ (part * centred).sum(1)) / self.variance

    def drawn_rows(self, n_rows):
        """Positions of rows, evenly spread, that stand for all with equal weights."""
        middle = (np.arange(n_rows) + 0.5) / n_rows
        rows = np.searchsorted(self.share.cumsum(), middle)
        return rows.clip(max=len(self.share) - 1)

    def columns_of_nodes(self):
        """Which columns enter which hidden nodes, bool of (n_features, n_nodes).

        Columns that do not vary over the rows enter none. Nodes that further layers mix
        count as one.
        """
        layers = self.model.network().layers
        n_sums = len(layers[0].mask) if len(layers) > 1 else 0
        enters = np.ptp(self.summands_of_rows[:, :, :n_sums], axis=1) > 0
        enters = nodes_of(enters, layers[0].n_multiplications, or_)
        return enters if len(layers) <= 2 else enters.any(axis=1, keepdims=True)

    def summands(self, column, values):
        """Curves of a column at some of its values, ndarray of (n_values, n_sums)."""
        rows = np.repeat(self.rows[:1], len(values), axis=0)
        rows[:, column] = values
        return self.model.summands(rows)[column]

    def mean_output(self, columns, summands):
        """Mean output over the rows, of which some columns are set.

        Parameters
        ----------
        columns : sequence of int
        summands : ndarray of shape (n_values, n_sums)
            Of these columns, added up.

        Returns
        -------
        ndarray of shape (n_values, n_outputs)
        """
        rest = self.sums - self.summands_of_rows[list(columns)].sum(0)
        size = max(1, BLOCK_NUMBERS // rest.size)

        def mean(values):
            sums = (summands[values, None] + rest).reshape(-1, rest.shape[1])
            output = self.output_of(sums).reshape(-1, len(rest), self.output.shape[1])
            return np.tensordot(output, self.share, axes=(1, 0))

        starts = range(0, len(summands), size)
        return np.concatenate(
            parallel_map(mean, [slice(start, start + size) for start in starts])
        )

    def mean_steps(self, column, points, *, is_level):
        """Mean changes of the output from each point of a column to the next one.

        Parameters
        ----------
        column : int
        points : ndarray of shape (n_points,)
            Increasing.
        is_level : bool
            Whether the column takes these values only. A step is then averaged over the
            rows at both ends, and else over the rows between them.

        Returns
        -------
        ndarray of shape (n_points - 1, n_outputs)
        """
        own, curves = self.rows[:, column], self.summands(column, points)
        rest, steps = self.sums - self.summands_of_rows[column], []
        bins = np.searchsorted(points, own).clip(1, len(points) - 1) - 1
        for index in range(len(points) - 1):
            near = bins == index
            if is_level:
                near = (own == points[index]) | (own == points[index + 1])
            near &= ~np.isnan(own)
            if not near.any():  # in a gap of the values nothing is known
                steps.append(np.zeros(self.output.shape[1]))
                continue
            rows, weight = rest[near], self.share[near]
            change = self.output_of(rows + curves[index + 1])
            change -= self.output_of(rows + curves[index])
            steps.append(weight @ change / weight.sum())
        return np.array(steps).reshape(-1, self.output.shape[1])

    def output_of(self, sums):
        """Raw output without its constant for sums of the first layer."""
        return self.model.from_sums(sums) * self.model.output_scaling.scale
