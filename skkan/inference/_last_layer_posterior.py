"""The posterior of the weights of the last layer, given those of all other layers."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from skkan.inference._settings import EVIDENCE
from skkan.numerics._cholesky import scaled_factor
from skkan.penalties._quadratic import QuadraticPenalty


@dataclass(frozen=True, eq=False)
class LastLayerPosterior:
    """Posterior of a network whose penalty was chosen by validation rows.

    Attributes
    ----------
    factor : ndarray of shape (n_weights, n_weights) or None
        Lower Cholesky factor of the precision, at unit noise, of the weights that enter
        one output; None where the noise is not that of normal errors.
    alpha : ndarray of shape (n_edges, 3)
        Weights of the penalty that validation rows have chosen.
    noise : ndarray of shape (n_outputs,) or None
        Variance of each scaled target around the network; None for classes.
    """

    factor: np.ndarray | None
    alpha: np.ndarray
    noise: np.ndarray | None

    covers_all_weights = False

    def whitened_jacobian(self, network, factor, x):
        """Whitened Jacobian of the raw outputs; see `last_layer_jacobian`."""
        return last_layer_jacobian(network, factor, x)


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
        return LastLayerPosterior(factor=None, alpha=alpha, noise=None)
    factor = None
    if plan.loss.is_normal:
        factor = output_factor(network, data, plan)
        if factor is None:
            return None
    return LastLayerPosterior(factor=factor, alpha=alpha, noise=noise.cpu().numpy())


@torch.no_grad()
def output_factor(network, data, plan):
    """Cholesky factor of the precision, at unit noise, of the weights of one output.

    All other weights count as known. The loss is the squared error, so that one factor
    serves all outputs.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
    plan : FitPlan
        With one quadratic penalty.

    Returns
    -------
    ndarray of shape (n_weights, n_weights)
        None if rounding forbids it.

    References
    ----------
    A. Kristiadi et al., Being Bayesian, Even Just a Bit, Fixes Overconfidence in ReLU
    Networks, 2020.
    """
    precision = data.summed(partial(_outer_products, network), EVIDENCE.block_rows)
    (penalty,) = plan.penalties
    counts = [layer.mask.numel() for layer in network.all_layers]
    alpha = penalty.per_edge(sum(counts)).split(counts)
    outer = list(zip(alpha, network.all_layers, strict=True))
    blocks = []
    for own, layer in outer[len(network.layers) - 1 :]:
        blocks.append(precision.new_zeros(layer.n_weights, layer.n_weights))
        QuadraticPenalty(own).form([layer]).add_to(blocks[-1])
    prior = torch.block_diag(*blocks)
    factored = scaled_factor(precision + data.n_observations * prior)
    if factored is None:
        return None
    factor, scale = factored
    return (factor / scale.unsqueeze(1)).cpu().numpy()


@torch.no_grad()
def last_layer_jacobian(network, factor, x):
    """Whitened Jacobian, `whitened_jacobian`, for a factor of one output's weights."""
    columns = _outer_features(network, x).T
    root = torch.linalg.solve_triangular(factor, columns, upper=False)
    return root.expand(network.widths[-1], -1, -1)


def variance_without(network, data, plan, rows):
    """Leave-one-observation-out variance of the outputs for some of the rows.

    Parameters
    ----------
    network, data, plan
        As for `output_factor`.
    rows : Dataset
        Some of the rows of the data.

    Returns
    -------
    Tensor of shape (n_samples,), or None
        At unit noise, the same for all outputs; None as for `output_factor`.

    References
    ----------
    R. Cook and S. Weisberg, Residuals and Influence in Regression, 1982, section 2.2
    (what is left of a leverage h without its row is h / (1 - h)).
    """
    factor = output_factor(network, data, plan)
    if factor is None:
        return None
    factor = torch.from_numpy(factor).to(rows.X)
    own = last_layer_jacobian(network, factor, rows.X)[0].square().sum(0)
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
