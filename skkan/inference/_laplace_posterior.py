"""The Laplace posterior of a fitted network, as one factor.

The posterior of the weights is approximated by a Gaussian around its mode. Its
precision is the Gauss-Newton matrix of the penalised loss.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from skkan.inference._covariance_root import CovarianceRoot, EdgePrior, has_few_rows
from skkan.inference._evidence_maximization import prior_with_noise_of_residuals
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.network._jacobian import output_derivatives
from skkan.objective._objective import make_objective
from skkan.penalties._eigen_directions import EdgeKinds
from skkan.penalties._quadratic import QuadraticPenalty


@dataclass(frozen=True, eq=False)
class LaplacePosterior:
    """The Gaussian posterior of all weights, and the prior that it is based on.

    Attributes
    ----------
    factor : ndarray of shape (n_rows, n_parameters)
        Of the covariance of the weights at unit noise; see `CovarianceRoot`.
    alpha : ndarray of shape (n_edges, 3)
        Weights of the penalty on size, curvature and change of curvature.
    noise : ndarray of shape (n_outputs,)
        Variance of each scaled target around the network; 1 for classes.
    shared_noise : float
        The variance that all targets have in training.
    log_evidence : float
        Of the scaled targets; minus infinity where an edge has no prior.
    n_effective : float
        Number of weights that the data determine rather than the prior.
    n_observations : float
        Sum of the sample weights.
    """

    factor: np.ndarray
    alpha: np.ndarray
    noise: np.ndarray
    shared_noise: float
    log_evidence: float
    n_effective: float
    n_observations: float

    covers_all_weights = True

    def root(self, network, device="cpu"):
        """CovarianceRoot of the weights of a network on a device."""
        prior = _edge_prior(network, self.alpha, self.n_observations)
        return CovarianceRoot(torch.tensor(self.factor, device=device), prior)

    def jacobian(self, network, x):
        """Derivatives of the raw outputs by the weights that are uncertain.

        Returns
        -------
        Tensor of shape (n_outputs, n_weights, n_samples)
        """
        return output_derivatives(network, x)

    def whitened_jacobian(self, network, root, x):
        """Whitened Jacobian of the raw outputs; see the function of this name."""
        return whitened_jacobian(network, root, x)


def laplace_posterior(network, data, plan, prior, objective=None):
    """LaplacePosterior of the weights of a network at the optimum of its objective.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
    plan : FitPlan
    prior : Prior or None
        None stands for the plan's penalties, with the noise that the residuals show.
    objective : Objective, default=None
        Objective of the data and the plan. One that training leaves may hold the normal
        matrix already.

    Returns
    -------
    LaplacePosterior or None
        None if rounding forbids it.
    """
    if objective is None or not objective.covers(network):
        objective = make_objective(network, data, plan)
    theta = network.theta
    n_rows = data.n_observations
    linearised = LinearisedModel.around(
        theta, network, objective, data, plan, has_gauge=False
    )
    is_proper = True
    if prior is None:
        (penalty,) = plan.penalties or (QuadraticPenalty(0.0),)
        alpha = torch.as_tensor(penalty.alpha)  # on size, where there are three
        is_proper = bool(((alpha[:, 0] if alpha.ndim else alpha) > 0).all())
        prior = prior_with_noise_of_residuals(linearised, penalty.alpha)
    outcome = linearised.posterior(prior)
    if outcome is None:
        return None
    alpha = prior.alpha(n_rows)
    if has_few_rows(data, data.target.numel(), network.n_parameters):
        rows = _weighted_jacobian(network, data, plan.loss)
        root = _edge_prior(network, alpha, n_rows).posterior_root_of_rows(rows)
        if root is None:
            return None
        factor = root.factor
    else:
        factor = math.sqrt(prior.noise) * outcome.factor / outcome.scale.unsqueeze(1)
    noise = [prior.noise] * len(data.baseline)
    if plan.loss.has_noise:
        deviances = plan.loss.deviances(objective.raw(theta), data.target)
        freedom = linearised.freedom(outcome, prior.noise) / len(data.baseline)
        noise = data.sample_weight @ deviances / freedom
        noise = noise.clamp(min=noise.new_tensor(plan.loss.min_noise)).tolist()
    log_evidence = outcome.evidence_at_point - outcome.log_hyperprior
    return LaplacePosterior(
        factor=factor.cpu().numpy(),
        alpha=alpha.cpu().numpy(),
        noise=np.array(noise),
        shared_noise=prior.noise,
        log_evidence=log_evidence if is_proper else -math.inf,
        n_effective=outcome.n_effective,
        n_observations=n_rows,
    )


def prior_of_penalty(network, data, plan, alpha):
    """Prior of a fitted network, equivalent to a penalty of weight `alpha`.

    The noise is that of the residuals.
    """
    objective = make_objective(network, data, plan)
    linearised = LinearisedModel.around(objective.start, network, objective, data, plan)
    return prior_with_noise_of_residuals(linearised, alpha)


def _edge_prior(network, alpha, n_observations):
    kinds = EdgeKinds.of(network.all_layers)
    alpha = QuadraticPenalty(alpha).per_edge(len(kinds.numbers))
    alpha = alpha.to(network.layers[0].mask)
    return EdgePrior.of_alpha(kinds, alpha, n_observations)


@torch.no_grad()
def _weighted_jacobian(network, data, loss):
    """Rows whose squares sum to the curvature of the loss, (n, n_parameters)."""
    raw = data.baseline + network(data.X)
    weight = data.sample_weight * (data.n_observations / data.sample_weight.sum())
    root = weight.sqrt().view(-1, 1, 1) * loss.curvature_root(raw, data.target)
    derivatives = output_derivatives(network, data.X)
    return torch.einsum("nro,opn->nrp", root, derivatives).flatten(0, 1)


@torch.no_grad()
def whitened_jacobian(network, root, x):
    """Whitened Jacobian of the raw outputs.

    Let R^T R be the covariance of the weights and J_o the Jacobian of output o. The
    whitened Jacobian is R J_o^T. Its products are the covariances of the raw outputs
    at unit noise.

    Parameters
    ----------
    network : KANNetwork
    root : CovarianceRoot
        R, see `LaplacePosterior`.
    x : Tensor of shape (n_samples, n_inputs)

    Returns
    -------
    Tensor of shape (n_outputs, n_parameters, n_samples)
    """
    return root.times(output_derivatives(network, x))
