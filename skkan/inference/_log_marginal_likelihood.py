"""The log marginal likelihood of a linearised network, and penalties that raise it.

Every edge has a Gaussian prior. Its precision is the sum of a ridge part and of parts
for the roughness. The evidence is the likelihood of the targets with the weights
integrated out. Its maximum balances fit and flexibility without validation rows.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from skkan.inference._precision_hyperprior import Hyperprior
from skkan.inference._prior import Prior, clamped
from skkan.inference._settings import EVIDENCE
from skkan.numerics._cholesky import scaled_factor
from skkan.numerics._floating_point import SMALLEST_DIVISOR
from skkan.penalties._eigen_directions import EdgeKinds

# Multiples of a prior among which the one with the most evidence is looked for.
STRENGTHS = 10.0 ** torch.arange(*EVIDENCE.log_strengths, dtype=torch.float64)


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

    References
    ----------
    D. MacKay, Bayesian Interpolation, 1992; F. Foresee and M. Hagan, Gauss-Newton
    Approximation to Bayesian Learning, 1997; S. Wood and M. Fasiolo, A Generalized
    Fellner-Schall Method for Smoothing Parameter Optimization, 2017.
    """

    def __init__(self, network, theta, model, n_observations, loss):
        self._kinds = kinds = EdgeKinds.of(network.all_layers)
        curvature = kinds.along(kinds.along(model.constrained_curvature()).T)
        self._curvature = curvature.mul_(n_observations)
        constraints = kinds.along(model.gauge_constraints)
        self._gauge_constraints = math.sqrt(n_observations) * constraints
        self._gradient = n_observations * kinds.along(model.gradient)
        value = model.value if model.bounded_value is None else model.bounded_value
        self._deviance = 2 * n_observations * value
        self._theta = kinds.along(theta)
        self._theta *= network.weight_mask
        masks = [layer.mask.flatten() for layer in network.all_layers]
        self._exists = torch.cat(masks).unsqueeze(1) > 0
        self._network, self._n_rows = network, n_observations
        self._n_targets = n_observations * network.widths[-1]
        self._has_noise, self._size_of_curves = loss.has_noise, loss.size_of_curves
        self._hyperprior = None if loss.has_noise else Hyperprior.of(network, kinds)
        self._min_noise = max(loss.min_shared_noise, EVIDENCE.min_noise)

    @classmethod
    def around(cls, theta, network, objective, data, plan, *, has_gauge=True):
        """Model of a network around some weights, as its objective sees them.

        Gauge constraints are aids to training. Without `has_gauge` they take no part.
        """
        model = objective.gauss_newton_of_loss(theta)
        if not has_gauge:
            model = model.without_gauge_constraints()
        return cls(network, theta, model, data.n_observations, plan.loss)

    def posterior(self, prior):
        """Posterior and evidence under a prior; None where rounding forbids it.

        log evidence = log likelihood of m - m^T P m / 2 + log|P| / 2 - log|H| / 2 with
        the posterior mean m, the prior precision P and H = curvature / noise + P.
        """
        prior_precision = self._kinds.spread(prior.precision)
        precision = self._curvature / prior.noise
        precision.diagonal().add_(prior_precision)
        factored = scaled_factor(precision)
        if factored is None:
            return None
        factor, scale = factored
        gradient = self._gradient / prior.noise + prior_precision * self._theta
        step = torch.cholesky_solve((scale * gradient).unsqueeze(1), factor)
        step = -scale * step.squeeze(1)
        mean = self._theta + step
        deviance = self._deviance + float(
            2 * self._gradient @ step + step @ (self._curvature @ step)
        )
        if self._has_noise:  # rounding of the quadratic must not make it negative
            deviance = max(deviance, 0.0)
        log_determinant = 2 * (factor.diagonal().log() - scale.log()).sum()
        log_evidence = 0.5 * float(
            prior_precision.log().sum()
            - log_determinant
            - prior_precision @ mean.square()
        )
        log_evidence -= 0.5 * deviance / prior.noise
        if self._has_noise:
            log_evidence -= 0.5 * self._n_targets * math.log(2 * math.pi * prior.noise)
        log_hyperprior = self._log_hyperprior(prior)
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
        columns = (posterior.scale * self._gauge_constraints).T
        roots = torch.linalg.solve_triangular(posterior.factor, columns, upper=False)
        by_constraints = float(roots.square().sum()) / noise
        left = self._n_targets + by_constraints - posterior.n_effective
        return max(left, EVIDENCE.min_freedom * self._n_targets)

    def with_noise_at_point(self, prior, posterior):
        """The prior with the noise that the residuals at the point of expansion show.

        Along a curved valley training may end before it reaches the mode that the
        linearised model promises. The noise of that mode contradicts the residuals, and
        the evidence at the point is then meaningless.

        Parameters
        ----------
        prior : Prior
        posterior : LinearisedPosterior
            Under that prior.

        Returns
        -------
        Prior
            The same one near the mode, and where another noise has no more evidence.
        """
        if not self._has_noise or posterior.decrement < EVIDENCE.min_decrement:
            return prior
        noise = self._deviance / self.freedom(posterior, prior.noise)
        changed = Prior(prior.precision, max(noise, prior.noise))
        outcome = self.posterior(changed)
        if outcome is None or outcome.evidence_at_point < posterior.evidence_at_point:
            return prior
        return changed

    def removal_gains(self, prior, posterior):
        """Change of the log evidence by the removal of each edge alone.

        With the prior N(0, P^-1) and the posterior N(m, S) of the weights of an edge it
        is log N(0; m, S) - log N(0; 0, P^-1), the ratio of Savage and Dickey.

        Parameters
        ----------
        prior : Prior
        posterior : LinearisedPosterior
            Under that prior.

        Returns
        -------
        Tensor of shape (n_edges,)

        References
        ----------
        J. Dickey, The Weighted Likelihood Ratio, Linear Hypotheses on Normal Location
        Parameters, 1971.
        """
        groups = torch.arange(len(prior.precision)).unsqueeze(1)
        return self.removal_gains_of_groups(prior, posterior, groups)

    def removal_gains_of_groups(self, prior, posterior, groups):
        """Change of the log evidence by the removal of several edges together.

        Parameters
        ----------
        prior : Prior
        posterior : LinearisedPosterior
            Under that prior.
        groups : Tensor of int of shape (n_groups, n_members)
            Positions of the edges of each group.

        Returns
        -------
        Tensor of shape (n_groups,)
        """
        root = posterior.prior_precision.sqrt()
        scale = (root * posterior.scale).unsqueeze(1)
        shrunk = scale * torch.cholesky_inverse(posterior.factor) * scale.T
        gains = root.new_empty(len(groups))
        for chosen, members in self._kinds.groups(groups):
            blocks = shrunk[members.unsqueeze(2), members.unsqueeze(1)]
            share, directions = torch.linalg.eigh(blocks)  # of the prior's variances
            share = share.clamp(min=EVIDENCE.min_variance_share)
            weights = (root * posterior.weights)[members].unsqueeze(1) @ directions
            squares = weights.squeeze(1).square() / share
            gains[chosen.to(root.device)] = -0.5 * (share.log() + squares).sum(1)
        if not self._has_noise:
            groups = groups.to(root.device)
            gains = gains + self._hyperprior.removal_gains(prior.precision, groups)
        return gains

    def weights_without(self, posterior, edges):
        """Weights where some edges are zero and the others compensate for them.

        With the scaled posterior precision A = L L^T and u = weights / scale at the
        point of expansion, they are u_r + A_rr^-1 A_rg u_g, where g are the removed
        weights and r the rest. If the point is the mode, they are the mode of the
        smaller network. Otherwise they stay near the point, where the linearisation
        holds.

        Parameters
        ----------
        posterior : LinearisedPosterior
        edges : Tensor of int
            Positions of these edges.

        Returns
        -------
        Tensor of shape (n_parameters,), in the order of the weights of the network

        References
        ----------
        B. Hassibi and D. Stork, Second Order Derivatives for Network Pruning: Optimal
        Brain Surgeon, 1993.
        """
        gone = torch.zeros_like(self._exists)
        gone[edges] = True
        gone = self._kinds.of_edges(gone.flatten())
        matrix = posterior.factor @ posterior.factor.T
        scaled = self._theta / posterior.scale
        pull = matrix[~gone][:, gone] @ scaled[gone]
        factor = torch.linalg.cholesky(matrix[~gone][:, ~gone])
        scaled[~gone] += torch.cholesky_solve(pull.unsqueeze(1), factor).squeeze(1)
        scaled[gone] = 0.0
        return self._kinds.back(posterior.scale * scaled)

    def prior_of_alpha(self, alpha):
        """Prior that is equivalent to penalties of weight `alpha`.

        The noise is that of the residuals. The number of effective parameters depends
        only on the ratio of precisions and noise, which is `alpha`.
        """
        prior = Prior.of_alpha(self._network, alpha, 1.0, self._n_rows)
        outcome = self.posterior(prior) if self._has_noise else None
        if outcome is None:
            return prior
        noise = outcome.deviance / self.freedom(outcome, 1.0)
        noise = max(noise, self._min_noise)
        return Prior.of_alpha(self._network, alpha, noise, self._n_rows)

    def best_common_prior(self):
        """The prior with the most evidence of those that all edges share.

        The noise at each strength is the penalised deviance per observation.

        Returns
        -------
        Prior

        References
        ----------
        D. MacKay, Bayesian Interpolation, 1992 (the evidence in terms of eigenvalues).
        """
        linear = self._curvature @ self._theta - self._gradient
        deviance = self._deviance + float(self._theta @ (linear - self._gradient))
        min_noise = max(self._min_noise, EVIDENCE.rounding * deviance / self._n_targets)
        n_edges, best, most = len(self._exists), None, -math.inf
        for shape in EVIDENCE.common_shapes:
            parts = self._kinds.in_use(linear.new_tensor([shape]).repeat(n_edges, 1))
            values, turn = _relative_eigen(self._curvature, self._kinds.spread(parts))
            strengths = STRENGTHS.to(values).unsqueeze(1)
            sums = values + strengths
            gains = 0.5 * (strengths / sums).log().sum(1)
            fits = ((turn.T @ linear).square() / sums).sum(1)
            left, noise = deviance - fits, torch.ones_like(fits)
            if self._has_noise:
                noise = (left / self._n_targets).clamp(min=min_noise)
            evidence = gains - 0.5 * (left / noise + self._n_targets * noise.log())
            index = int(evidence.argmax())
            strength, noise = float(STRENGTHS[index]), float(noise[index])
            prior = Prior(clamped(parts * (strength / noise)), noise)
            outcome = self.posterior(prior)
            if outcome is not None and outcome.log_evidence > most:
                best, most = prior, outcome.log_evidence
        return best

    def with_best_edges(self, prior, posterior):
        """A prior with clearly more evidence, by other precisions of single edges.

        The updates of `improved` climb the evidence. Along one edge it may have several
        maxima, such as a trend with noise and a cycle.

        Parameters
        ----------
        prior : Prior
        posterior : LinearisedPosterior
            Under that prior.

        Returns
        -------
        Prior
            The same if no edge gains.
        """
        edge_of = self._kinds.of_edges(torch.arange(len(self._exists)))
        edge_of = edge_of.to(self._theta.device)
        covariance = posterior.covariance
        shapes_of = [prior_shapes(kind.parts) for kind in self._kinds.kinds]
        for edge in self._exists.flatten().nonzero().flatten().tolist():
            own = edge_of == edge
            model = _EdgeModel(
                self._curvature_of(own, covariance) / prior.noise,
                posterior.prior_precision[own],
                posterior.weights[own],
            )
            number = int(self._kinds.numbers[edge])
            shapes = shapes_of[number]
            gains = model.gains(shapes @ self._kinds.kinds[number].parts)
            gain = float(gains.max())
            if gain <= EVIDENCE.min_gain_of_edge:
                continue
            shape, strength = divmod(int(gains.argmax()), gains.shape[1])
            precision = prior.precision.clone()
            precision[edge] = STRENGTHS[strength] * shapes[shape]
            trial = Prior(clamped(precision), prior.noise)
            gain += self._log_hyperprior(trial) - posterior.log_hyperprior
            if gain <= EVIDENCE.min_gain_of_edge:
                continue
            outcome = self.posterior(trial)
            least = posterior.log_evidence + EVIDENCE.min_gain_of_edge
            if outcome is not None and outcome.log_evidence > least:
                prior, posterior = trial, outcome
                covariance = posterior.covariance
        return prior

    def _curvature_of(self, own, covariance):
        """Curvature of the log likelihood along some weights, with the best others.

        With the curvature C, the precision P and S = (C + P)^-1 the best others move by
        S_rg S_gg^-1 per unit of the weights g, and C_gg + C_gr S_rg S_gg^-1 =
        (C S)_gg S_gg^-1. The difference S_gg^-1 - P_gg loses all digits to a large P.

        Parameters
        ----------
        own : Tensor of bool of shape (n_parameters,)
        covariance : Tensor of shape (n_parameters, n_parameters)
            Of the posterior.

        Returns
        -------
        Tensor of shape (n_own, n_own)
        """
        columns = covariance[:, own]
        explained = self._curvature[own] @ columns
        curvature = torch.linalg.solve(columns[own], explained, left=False)
        return (curvature + curvature.T) / 2

    def _log_hyperprior(self, prior):
        if self._has_noise:
            return 0.0
        return float(self._hyperprior.log_densities(prior.precision).sum())

    def improved(self, prior, posterior, share=1.0, ceiling=None):
        """A prior with at least the evidence of a given one.

        The update of each precision is lambda tr(P^-1 S - H^-1 S) / (m^T S m), that of
        the noise is the deviance per degree of freedom that is left. A step that lowers
        the evidence is halved, in logarithms, until it does not.

        Parameters
        ----------
        prior : Prior
        posterior : LinearisedPosterior
            Under that prior.
        share : float, default=1.0
            Share of the step to begin with.
        ceiling : Tensor of shape (n_edges, 3), default=None
            See `Prior.at_most`.

        Returns
        -------
        Prior
        """
        target = self._proposal(prior, posterior)
        target = target.with_bounded_outputs(self._network, self._size_of_curves)
        target = target.at_most(ceiling)
        for _ in range(EVIDENCE.max_halvings):
            trial = prior.towards(target, share)
            outcome = self.posterior(trial)
            if outcome is not None and outcome.log_evidence >= posterior.log_evidence:
                return trial
            share /= 2
        return prior

    def precision_for_point(self, prior, posterior):
        """Precisions that `improved` would want if the point were the posterior mean.

        Parameters
        ----------
        prior : Prior
        posterior : LinearisedPosterior
            Under that prior.

        Returns
        -------
        Tensor of shape (n_edges, 3)
        """
        return self._precision_for(self._theta, prior, posterior)

    def _precision_for(self, weights, prior, posterior):
        variances = posterior.variances
        learnt = (1 / posterior.prior_precision - variances).clamp(min=0)
        explained = self._kinds.collected(learnt)
        used = self._kinds.collected(weights.square())
        if self._has_noise:
            factor = explained / used.clamp(min=SMALLEST_DIVISOR)
        else:
            wanted = self._hyperprior.proposal(prior.precision, explained, used)
            factor = wanted / prior.precision.clamp(min=EVIDENCE.min_precision)
        largest = EVIDENCE.max_precision_factor
        factor = factor.clamp(1 / largest, largest)
        factor = torch.where(self._exists, factor, 1.0)
        return clamped(prior.precision * factor)

    def _proposal(self, prior, posterior):
        precision = self._precision_for(posterior.weights, prior, posterior)
        if not self._has_noise:
            return Prior(precision, prior.noise)
        noise = posterior.deviance / self.freedom(posterior, prior.noise)
        noise = max(noise, self._min_noise)
        largest = EVIDENCE.max_noise_factor
        noise = min(max(noise, prior.noise / largest), prior.noise * largest)
        return Prior(precision, noise)


class _EdgeModel(NamedTuple):
    """The log likelihood of the weights of an edge, with the best weights elsewhere."""

    curvature: torch.Tensor  # (n_weights, n_weights)
    precision: torch.Tensor  # (n_weights,), of the present prior
    weights: torch.Tensor  # (n_weights,), the posterior mean under that prior

    def gains(self, parts):
        """Gains of log evidence from priors of precision strength * parts.

        At the present mean m the log likelihood has the derivative P m, where P is the
        present precision.

        Parameters
        ----------
        parts : Tensor of shape (n_priors, n_weights)

        Returns
        -------
        Tensor of shape (n_priors, n_strengths)
        """
        values, turn = _relative_eigen(self.curvature, parts)
        strengths = STRENGTHS.to(values).unsqueeze(1)
        values, turn = values.unsqueeze(1), turn.mT
        pull = (turn @ (self.precision * self.weights)).unsqueeze(1)
        mean = (turn @ (parts * self.weights).unsqueeze(2)).mT
        sums = values + strengths
        gains = (strengths / sums).log() - strengths * mean.square()
        gains = gains + (pull - strengths * mean).square() / sums
        values, _ = _relative_eigen(self.curvature, self.precision)
        now = -values.log1p().sum() - self.precision @ self.weights.square()
        return 0.5 * (gains.sum(2) - now)


def prior_shapes(parts):
    """Ridge, second- and third-difference precision of the priors of one edge.

    Cycles of c periods across the grid have a roughness of 780 c^4 and 780 c^6. The
    precisions fall as far as the fastest cycle of the grid needs, two a decade: coarser
    steps miss a nat.

    Parameters
    ----------
    parts : Tensor of shape (3, n_functions)
        See `penalty_spectrum`.

    Returns
    -------
    Tensor of shape (n_shapes, 3)
    """
    shapes = [[1.0, 0.0, 0.0]] if not parts[1:].any() else []
    for part in (1, 2):
        if parts[part].any():
            largest = math.ceil(float((parts[part].max() / parts[0].max()).log10()))
            for step in range(2 * largest + 1):
                shapes.append([1.0, 0.0, 0.0])
                shapes[-1][part] = 10.0 ** (-step / 2)
    return parts.new_tensor(shapes)


def _relative_eigen(curvature, parts):
    """Eigenvalues of a curvature relative to precisions, and vectors of weights.

    For the vectors U it is U^T curvature U = diag(values) and U^T diag(parts) U = 1.
    """
    root = parts.rsqrt()
    scaled = root.unsqueeze(-1) * curvature * root.unsqueeze(-2)
    values, vectors = torch.linalg.eigh(scaled)
    return values.clamp(min=0.0), root.unsqueeze(-1) * vectors
