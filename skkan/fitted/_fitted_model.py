"""All that predictions, inspection, formulas and exports read of a fit.

A `FittedModel` holds numpy arrays, and nothing of scikit-learn. The estimators store
one; it builds torch modules and lookup tables on request.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import issparse

from skkan.data._categories import Categories
from skkan.data._merged_rows import dense
from skkan.data._preprocessing import Preprocessing
from skkan.data._scaling import AffineScaling
from skkan.fitted._numpy_predictor import Predictor
from skkan.fitted._target import Target
from skkan.inference._laplace_posterior import LaplacePosterior
from skkan.inference._last_layer_posterior import LastLayerPosterior
from skkan.network._attribution_and_statistics import LayerStatistics
from skkan.network._edits import with_values_at_missing
from skkan.network._network import KANNetwork
from skkan.numerics._threads import parallel_map, single_thread

# Numbers that each thread of a prediction holds at a time: what a cache holds.
PREDICTION_BLOCK = 2**17
JACOBIAN_BLOCK = 2**20  # numbers of a whitened Jacobian that are held at a time, 8 MB


@dataclass(frozen=True)
class Continuation:
    """State of a fit that only a later fit needs, to continue it.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int or "auto"
        As requested, before anything was pruned.
    grid_eps : float
    solver_state : dict or None
        Of a solver that is fed batch by batch.
    extension : float
        Intervals of the grids for each that was requested: new ranges have added some.
    n_observations : float
        Sum of the weights of the rows.
    rows : tuple (X, encoded target, sample weight) or None
        What a stream remembers of its rows, in the user's units.
    alpha : ndarray of shape (n_edges, 3) or None
        What an earlier fit has learnt, where a stream goes on from it.
    interaction_cst : str, list of lists or None
        As requested.
    n_multiplications : tuple of int
        As requested; empty if all are 0.
    """

    hidden_layer_sizes: tuple | str
    grid_eps: float
    solver_state: dict | None = None
    extension: float = 1.0
    n_observations: float = 1.0
    rows: tuple | None = None
    alpha: np.ndarray | None = None
    interaction_cst: str | list | None = None
    n_multiplications: tuple = ()


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fitted network with the way from the user's rows to it and back.

    Attributes
    ----------
    network_arrays : dict
        See `KANNetwork.to_arrays`; the only copy of the weights.
    preprocessing : Preprocessing
    target : Target
        How the target is coded and decoded.
    layer_statistics : list of LayerStatistics
        What passed through the layers in training, one per layer of `all_layers`.
    feature_importances : ndarray of shape (n_features,)
        See `OutputChanges.importances`.
    categories : Categories or None
        Those of the features, None if all are numbers.
    feature_names : list of str
    posterior : LaplacePosterior, LastLayerPosterior or None
        None after solvers that leave none.
    continuation : Continuation
    """

    network_arrays: dict
    preprocessing: Preprocessing
    target: Target
    layer_statistics: list
    feature_importances: np.ndarray
    categories: Categories | None
    feature_names: list
    posterior: LaplacePosterior | LastLayerPosterior | None
    continuation: Continuation

    @property
    def n_outputs(self):
        return len(self.preprocessing.baseline)

    @property
    def n_features(self):
        return len(self.feature_names)

    @property
    def output_names(self):
        """Names of the outputs of the network, list of str."""
        return self.target.output_names(self.n_outputs)

    @property
    def n_categories(self):
        """Number of categories of each feature, 0 for numbers, (n_features,)."""
        if self.categories is None:
            return np.zeros(self.n_features, dtype=int)
        return self.categories.counts

    @property
    def has_laplace_posterior(self):
        """Whether the posterior is that of all weights."""
        return self.posterior is not None and self.posterior.covers_all_weights

    @property
    def learnt_alpha(self):
        """Strengths of the penalty that the rows have taught, (n_edges, 3), or None."""
        if self.has_laplace_posterior:
            return self.posterior.alpha
        return self.continuation.alpha

    @property
    def output_scaling(self):
        """From raw outputs to what the link inverts, in the units of the target."""
        scaling = self.preprocessing.target_scaling
        if self.target.has_log_link:
            # log(scale * mean) = log(scale) + log(mean)
            scale = scaling.scale
            return AffineScaling(np.log(scale), np.ones_like(scale))
        return scaling

    @property
    def intercepts(self):
        """Constants to which the curves that enter the outputs add, (n_outputs,).

        In the units of the target; log odds for classes; logarithms of the mean where
        the loss has a log link.
        """
        return self.output_scaling.inverse_transform(self.preprocessing.baseline)

    @single_thread
    def network(self, device="cpu"):
        """The network as a torch module in scaled units, built anew."""
        return KANNetwork.from_arrays(self.network_arrays, device)

    def network_with_missing(self, device="cpu"):
        """The network such that it takes missing cells, which count as the mean."""
        means = torch.tensor(self.layer_statistics[0].mean_features, device=device)
        return with_values_at_missing(self.network(device), means)

    @cached_property
    def _predictor(self):
        return Predictor(self.network_with_missing())

    def raw_output(self, X):
        """Raw output of the network and its baseline.

        Parameters
        ----------
        X : {ndarray, sparse matrix} of shape (n_samples, n_features)
            Checked, with codes for categories and NaN where cells are missing.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        predictor = self._predictor
        raw = np.empty((X.shape[0], self.n_outputs))

        def predict(rows):
            raw[rows] = predictor(self.scaled(X[rows]))

        blocks = _row_slices(len(raw), predictor.n_values, PREDICTION_BLOCK)
        parallel_map(predict, blocks)
        return self.preprocessing.baseline + raw

    def summands(self, X):
        """Curves of the columns that the first layer adds up; see `Predictor`.

        Returns
        -------
        ndarray of shape (n_features, n_samples, n_sums)
        """
        return self._predictor.summands(self.scaled(X))

    def from_sums(self, sums):
        """Raw output of the network, without its baseline, from added `summands`.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        return self._predictor.from_sums(sums)

    def imagined_rows(self, n_rows):
        """Rows with predictions for targets, which stand for those of the fit.

        Each column is spread as it was in the fit, by itself.

        Parameters
        ----------
        n_rows : int

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            Codes for categories; no cell is missing.
        target : ndarray of shape (n_rows, n_outputs)
            Encoded.
        sample_weight : ndarray of shape (n_rows,)

        References
        ----------
        A. Robins, Catastrophic Forgetting, Rehearsal and Pseudorehearsal, 1995.
        """
        inputs, network = self.layer_statistics[0], self.network()
        generator = np.random.default_rng(0)
        share = (np.arange(n_rows) + 0.5) / n_rows
        scaling = self.preprocessing.input_scaling
        X = np.tile(scaling.centre, (n_rows, 1))
        known = np.isfinite(scaling.scale)
        of_inputs = zip(inputs.low, inputs.high, inputs.density, strict=True)
        for column, (low, high, density) in zip(
            network.used_features.tolist(), of_inputs, strict=True
        ):
            ends = np.r_[0.0, density.cumsum()]
            values = np.interp(share, ends, np.linspace(low, high, len(ends)))
            if self.n_categories[column]:
                values = np.rint(values)
            if known[column]:
                values = scaling.centre[column] + scaling.scale[column] * values
                X[:, column] = generator.permutation(values)
        raw = torch.from_numpy(self.raw_output(X))
        target = self.target.loss.inverse_link(raw).numpy()
        target = self.preprocessing.target_scaling.inverse_transform(target)
        weight = np.full(n_rows, self.continuation.n_observations / n_rows)
        return X, target, weight

    def whitened_jacobians(self, X, device="cpu"):
        """Blocks of the Jacobian of the raw output, whitened by the posterior.

        Squares summed over the parameters are the variances of the raw output at unit
        noise.

        Parameters
        ----------
        X : {ndarray, sparse matrix} of shape (n_samples, n_features)
        device : str or torch.device
            Where to compute.

        Yields
        ------
        rows : slice
        deviations : ndarray of shape (n_outputs, n_parameters, n_block)
        """
        posterior = self.posterior
        has_missing = np.isnan(X.data if issparse(X) else X).any()
        make = self.network_with_missing if has_missing else self.network
        network = make(device)
        root = posterior.root(network, device)
        n_values = root.n_weights * self.n_outputs
        for rows in _row_slices(X.shape[0], n_values, JACOBIAN_BLOCK):
            x = torch.from_numpy(self.scaled(X[rows])).to(device)
            yield rows, posterior.whitened_jacobian(network, root, x).cpu().numpy()

    def mean_deviation_roots(self, X, n_means):
        """Whitened derivatives of means of the raw output over groups of rows.

        Parameters
        ----------
        X : ndarray of shape (n_means * n_rows, n_features)
            The rows of one mean stand together.
        n_means : int

        Returns
        -------
        ndarray of shape (n_means, n_outputs, n_parameters)
            Sums of squares over the parameters are variances in scaled units; so they
            are of differences of means.
        """
        posterior, network = self.posterior, self.network_with_missing()
        root, means = posterior.root(network), []
        n_rows = len(X) // n_means
        n_values = n_rows * root.n_weights * self.n_outputs
        for group in _row_slices(n_means, n_values, JACOBIAN_BLOCK):
            rows = X[group.start * n_rows : group.stop * n_rows]
            x = torch.from_numpy(self.scaled(rows))
            columns = posterior.jacobian(network, x)
            columns = columns.unflatten(2, (-1, n_rows)).mean(3)
            means.append(root.times(columns).permute(2, 0, 1).numpy())
        noise = 1.0 if posterior.noise is None else posterior.noise
        return np.concatenate(means) * np.sqrt(noise).reshape(-1, 1)

    def moderated_output(self, X, device="cpu"):
        """Raw output, drawn towards indecision where the posterior is wide.

        Parameters and result are those of `raw_output`; only after a fit that leaves a
        posterior of all weights there is a difference.
        """
        raw = self.raw_output(X)
        if not self.has_laplace_posterior:
            return raw
        for rows, deviations in self.whitened_jacobians(X, device):
            logits, deviations = map(torch.from_numpy, (raw[rows], deviations))
            raw[rows] = self.target.loss.moderated(logits, deviations).numpy()
        return raw

    def scaled(self, X):
        """Rows in scaled units, dense."""
        return self.preprocessing.input_scaling.transform(dense(X))

    def __getstate__(self):
        # Tables of the predictor are made anew. Files hold `to_dict` instead, which
        # names no class.
        return _plain(self)

    def __setstate__(self, state):
        vars(self).update(state)

    def to_dict(self):
        """Nested dicts of arrays and plain values, for files."""
        return {
            "network": self.network_arrays,
            "preprocessing": {
                "input_scaling": dict(vars(self.preprocessing.input_scaling)),
                "target_scaling": dict(vars(self.preprocessing.target_scaling)),
                "baseline": self.preprocessing.baseline,
            },
            "target": self.target.to_dict(),
            "layer_statistics": [layer.to_arrays() for layer in self.layer_statistics],
            "feature_importances": self.feature_importances,
            "categories": self.categories and self.categories.of_columns,
            "feature_names": self.feature_names,
            "posterior": _plain(self.posterior),
            "covers_all_weights": self.has_laplace_posterior,
            "continuation": _plain(self.continuation),
        }

    @classmethod
    def from_dict(cls, state):
        """Model from what `to_dict` returned."""
        scalings = state["preprocessing"]
        posterior = state["posterior"]
        if posterior is not None:
            laplace = state["covers_all_weights"]
            kind = LaplacePosterior if laplace else LastLayerPosterior
            posterior = kind(**posterior)
        return cls(
            network_arrays=state["network"],
            preprocessing=Preprocessing(
                AffineScaling(**scalings["input_scaling"]),
                AffineScaling(**scalings["target_scaling"]),
                scalings["baseline"],
            ),
            target=Target.from_dict(state["target"]),
            layer_statistics=[
                LayerStatistics(**arrays) for arrays in state["layer_statistics"]
            ],
            feature_importances=state["feature_importances"],
            categories=state["categories"] and Categories(state["categories"]),
            feature_names=state["feature_names"],
            posterior=posterior,
            continuation=Continuation(**state["continuation"]),
        )


def _plain(settings):
    """Fields of a dataclass as a dict, None for None."""
    if settings is None:
        return None
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def _row_slices(n_rows, n_values, most_values):
    """Slices of the rows, such that `n_values` numbers for each row fit the cache."""
    size = max(1, most_values // n_values)
    return [slice(start, start + size) for start in range(0, n_rows, size)]
