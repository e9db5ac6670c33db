"""The posterior of the weights of the last layer, given those of all other layers."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from skkan.inference._covariance_root import (
    CovarianceRoot,
    EdgePrior,
    has_few_rows,
)
from skkan.inference._settings import EVIDENCE
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.penalties._quadratic import QuadraticPenalty


@dataclass(frozen=True, eq=False)
class LastLayerPosterior:
    """Posterior of a network whose penalty was chosen by validation rows.

    Attributes
    ----------
    factor : ndarray of shape (n_rows, n_weights) or None
        Of the covariance, at unit noise, of the weights that enter one output, see
        `CovarianceRoot`; None where the noise is not that of normal errors.
    alpha : ndarray of shape (n_edges, 3)
        Weights of the penalty that validation rows have chosen.
    noise : ndarray of shape (n_outputs,) or None
        Variance of each scaled target around the network; None for classes.
    n_observations : float
        Sum of the sample weights.
    """

    factor: np.ndarray | None
    alpha: np.ndarray
    noise: np.ndarray | None
    n_observations: float

    covers_all_weights = False

    def root(self, network, device="cpu"):
        """CovarianceRoot of the weights of one output of a network on a device."""
        penalty = QuadraticPenalty(self.alpha)
        prior = _edge_prior(network, penalty, self.n_observations)
        return CovarianceRoot(torch.tensor(self.factor, device=device), prior)

    @torch.no_grad()
    def jacobian(self, network, x):
        """Derivatives by the weights of each output; see `LaplacePosterior`."""
        return _outer_features(network, x).T.expand(network.widths[-1], -1, -1)

    def whitened_jacobian(self, network, root, x):
        """Whitened Jacobian of the raw outputs; see `last_layer_jacobian`."""
        return last_layer_jacobian(network, root, x)


def last_layer_posterior(network, data, plan, noise):
    """Posterior of a network whose penalty validation rows have chosen.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset
    plan : FitPlan
        With one quadratic penalty, whose weights have shape (n_edges, 3).
    noise : Tensor of shape (n_outputs,) or None
        Noise on the validation rows.

    Returns
    -------
    LastLayerPosterior, or None if rounding forbids it
    """
    (penalty,) = plan.penalties
    alpha = penalty.alpha.numpy()
    if noise is None:
        return LastLayerPosterior(None, alpha, None, data.n_observations)
    factor = None
    if plan.loss.is_normal:
        root = output_root(network, data, plan)
        if root is None:
            return None
        factor = root.factor.cpu().numpy()
    return LastLayerPosterior(
        factor=factor,
        alpha=alpha,
        noise=noise.cpu().numpy(),
        n_observations=data.n_observations,
    )


@torch.no_grad()
def output_root(network, data, plan):
    """Root of the posterior covariance, at unit noise, of the weights of one output.

    All other weights count as known. The loss is the squared error, so that one root
    serves all outputs.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
    plan : FitPlan
        With one quadratic penalty.

    Returns
    -------
    CovarianceRoot
        None if rounding forbids it.

    References
    ----------
    A. Kristiadi et al., Being Bayesian, Even Just a Bit, Fixes Overconfidence in ReLU
    Networks, 2020.
    """
    (penalty,) = plan.penalties
    prior = _edge_prior(network, penalty, data.n_observations)
    if has_few_rows(data, data.n_rows, len(prior.precision)):
        weight = data.sample_weight.sqrt().unsqueeze(1)
        return prior.posterior_root_of_rows(weight * _outer_features(network, data.X))
    products = data.summed(partial(_outer_products, network), EVIDENCE.block_rows)
    return prior.posterior_root(products)


def _edge_prior(network, penalty, n_observations):
    """Prior of the weights of one output, EdgePrior."""
    counts = [layer.mask.numel() for layer in network.all_layers]
    strengths = penalty.per_edge(sum(counts)).split(counts)
    first = len(network.layers) - 1
    layers = network.all_layers[first:]
    pairs = zip(layers, strengths[first:], strict=True)
    alpha = torch.cat([alpha[: layer.basis.n_inputs] for layer, alpha in pairs])
    kinds = EdgeKinds.of(layers, one_output=True)
    return EdgePrior.of_alpha(kinds, alpha.to(layers[0].mask), n_observations)


@torch.no_grad()
def last_layer_jacobian(network, root, x):
    """Whitened Jacobian, `whitened_jacobian`, for a root of one output's weights."""
    columns = root.times(_outer_features(network, x).T)
    return columns.expand(network.widths[-1], -1, -1)


def variance_without(network, data, plan, rows):
    """Leave-one-observation-out variance of the outputs for some of the rows.

    Parameters
    ----------
    network, data, plan
        As for `output_root`.
    rows : Dataset
        Some of the rows of the data.

    Returns
    -------
    Tensor of shape (n_samples,), or None
        At unit noise, the same for all outputs; None as for `output_root`.

    References
    ----------
    R. Cook and S. Weisberg, Residuals and Influence in Regression, 1982, section 2.2
    (what is left of a leverage h without its row is h / (1 - h)).
    """
    root = output_root(network, data, plan)
    if root is None:
        return None
    own = last_layer_jacobian(network, root, rows.X)[0].square().sum(0)
    weight = rows.sample_weight  # of the observation that is left out
    weight = weight if rows.counts is None else weight / rows.counts
    return own / (1 - weight * own).clamp(min=EVIDENCE.min_leverage_rest)


@torch.no_grad()
def _outer_products(network, rows):
    """Weighted products of the last layer's features, summed over rows."""
    features = _outer_features(network, rows.X)
    return (rows.sample_weight * features.T) @ features


def _outer_features(network, x):
    """Features of the last layer: basis values of the edges that enter outputs."""
    passes = network.propagate(x)[1][len(network.layers) - 1 :]
    return torch.cat([step.layer.packed(step.features) for step in passes], dim=1)
