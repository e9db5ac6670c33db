"""The log marginal likelihood, or evidence, of a linearised network under a prior.

Every edge has a Gaussian prior. Its precision is the sum of a ridge part and of parts
for the roughness. The evidence is the likelihood of the targets with the weights
integrated out. Does not change the prior.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from skkan.inference._precision_hyperprior import Hyperprior
from skkan.inference._prior import CurveSizes
from skkan.inference._settings import EVIDENCE
from skkan.numerics._cholesky import scaled_factor
from skkan.penalties._eigen_directions import EdgeKinds


@dataclass(frozen=True, eq=False)
class LinearisedPosterior:
    """The weights of a linearised network given its data and a prior.

    Vectors are along the directions of the penalties.
    """

    log_evidence: float  # the hyperprior's part included
    log_hyperprior: float
    decrement: float  # of the log posterior, from its maximum to the point of expansion
    weights: torch.Tensor  # (n_parameters,), the mean
    prior_precision: torch.Tensor  # (n_parameters,)
    deviance: float  # twice the loss at the mean, summed over the observations
    factor: torch.Tensor  # Cholesky factor of the precision, scaled to a unit diagonal
    scale: torch.Tensor  # (n_parameters,), of that scaling

    @property
    def evidence_at_point(self):
        """Log evidence with the log posterior at the point of expansion.

        `log_evidence` takes the log posterior at its maximum. Far from the point the
        linearisation overstates that maximum.
        """
        return self.log_evidence - self.decrement

    @property
    def covariance(self):
        """Covariance of the weights."""
        inverse = torch.cholesky_inverse(self.factor)
        return inverse.mul_(self.scale.unsqueeze(1)).mul_(self.scale)

    @cached_property
    def variances(self):
        """Diagonal of the covariance of the weights."""
        return torch.cholesky_inverse(self.factor).diagonal() * self.scale.square()

    @property
    def n_effective(self):
        """Number of weights that the data determine rather than the prior.

        It is the trace of covariance * curvature of the likelihood.
        """
        return float((1 - self.prior_precision * self.variances).sum())


class LinearisedModel:
    """A network expanded around a point, as a linear model with Gaussian weights.

    Parameters
    ----------
    network : KANNetwork
    theta : Tensor of shape (n_parameters,)
        The point.
    model : QuadraticModel
        Mean loss, its gradient and its Gauss-Newton matrix at the point.
    n_observations : float
        Sum of the sample weights, which count as repetitions.
    loss : Loss
        Says whether there is a noise to learn, and how small it can be.
    sizes : CurveSizes, default=None
        Bounds of the priors that are learnt. By default, those of the loss for curves
        of hidden nodes.

    Attributes
    ----------
    kinds : EdgeKinds
        Turns weights into the directions of the penalties, along which the others are.
    curvature : Tensor of shape (n_parameters, n_parameters)
        Of the log likelihood for a noise of 1, with that of the gauge constraints.
    gauge_constraints : Tensor of shape (n_constraints, n_parameters)
    gradient, theta : Tensor of shape (n_parameters,)
        Of half the deviance, and the point.
    deviance : float
        At the point.
    exists : Tensor of bool of shape (n_edges, 1)
    network : KANNetwork
    n_rows, n_targets : float
    has_noise : bool
    hyperprior : Hyperprior or None
        Of the precisions, where there is no noise to learn.
    sizes : CurveSizes
    min_noise : float
        Of the loss.

    References
    ----------
    D. MacKay, Bayesian Interpolation, 1992; F. Foresee and M. Hagan, Gauss-Newton
    Approximation to Bayesian Learning, 1997; S. Wood and M. Fasiolo, A Generalized
    Fellner-Schall Method for Smoothing Parameter Optimization, 2017.
    """

    def __init__(self, network, theta, model, n_observations, loss, sizes=None):
        self.kinds = kinds = EdgeKinds.of(network.all_layers)
        curvature = kinds.along(kinds.along(model.constrained_curvature()).T)
        self.curvature = curvature.mul_(n_observations)
        constraints = kinds.along(model.gauge_constraints)
        self.gauge_constraints = math.sqrt(n_observations) * constraints
        self.gradient = n_observations * kinds.along(model.gradient)
        value = model.value if model.bounded_value is None else model.bounded_value
        self.deviance = 2 * n_observations * value
        self.theta = kinds.along(theta)
        self.theta *= network.weight_mask
        masks = [layer.mask.flatten() for layer in network.all_layers]
        self.exists = torch.cat(masks).unsqueeze(1) > 0
        self.network, self.n_rows = network, n_observations
        self.n_targets = n_observations * network.widths[-1]
        self.has_noise = loss.has_noise
        self.sizes = sizes or CurveSizes(loss.size_of_curves, math.inf)
        self.hyperprior = None if loss.has_noise else Hyperprior.of(network, kinds)
        self.min_noise = max(loss.min_shared_noise, EVIDENCE.min_noise)

    @classmethod
    def around(cls, theta, network, objective, data, plan, *, has_gauge=True):
        """Model of a network around some weights, as its objective sees them.

        Gauge constraints are aids to training. Without `has_gauge` they take no part.
        """
        model = objective.gauss_newton_of_loss(theta)
        if not has_gauge:
            model = model.without_gauge_constraints()
        sizes = CurveSizes.of(plan.loss, data)
        return cls(network, theta, model, data.n_observations, plan.loss, sizes)

    def posterior(self, prior):
        """Posterior and evidence under a prior; None where rounding forbids it.

        log evidence = log likelihood of m - m^T P m / 2 + log|P| / 2 - log|H| / 2 with
        the posterior mean m, the prior precision P and H = curvature / noise + P.
        """
        prior_precision = self.kinds.spread(prior.precision)
        precision = self.curvature / prior.noise
        precision.diagonal().add_(prior_precision)
        factored = scaled_factor(precision)
        if factored is None:
            return None
        factor, scale = factored
        gradient = self.gradient / prior.noise + prior_precision * self.theta
        step = torch.cholesky_solve((scale * gradient).unsqueeze(1), factor)
        step = -scale * step.squeeze(1)
        mean = self.theta + step
        deviance = self.deviance + float(
            2 * self.gradient @ step + step @ (self.curvature @ step)
        )
        if self.has_noise:  # rounding of the quadratic must not make it negative
            deviance = max(deviance, 0.0)
        log_determinant = 2 * (factor.diagonal().log() - scale.log()).sum()
        log_evidence = 0.5 * float(
            prior_precision.log().sum()
            - log_determinant
            - prior_precision @ mean.square()
        )
        log_evidence -= 0.5 * deviance / prior.noise
        if self.has_noise:
            log_evidence -= 0.5 * self.n_targets * math.log(2 * math.pi * prior.noise)
        log_hyperprior = self.log_hyperprior(prior)
        log_evidence += log_hyperprior
        if not math.isfinite(log_evidence):
            return None
        return LinearisedPosterior(
            log_evidence=log_evidence,
            log_hyperprior=log_hyperprior,
            decrement=-0.5 * float(gradient @ step),
            weights=mean,
            prior_precision=prior_precision,
            deviance=deviance,
            factor=factor,
            scale=scale,
        )

    def freedom(self, posterior, noise):
        """Degrees of freedom of the residuals.

        They are the observations less the effective parameters. The soft gauge
        constraints G determine tr(covariance * G^T G) / noise of these parameters,
        which take no observations.
        """
        columns = (posterior.scale * self.gauge_constraints).T
        roots = torch.linalg.solve_triangular(posterior.factor, columns, upper=False)
        by_constraints = float(roots.square().sum()) / noise
        left = self.n_targets + by_constraints - posterior.n_effective
        return max(left, EVIDENCE.min_freedom * self.n_targets)

    def log_hyperprior(self, prior):
        """Log density of the precisions, 0 where there is a noise to learn."""
        if self.has_noise:
            return 0.0
        return float(self.hyperprior.log_densities(prior.precision).sum())
