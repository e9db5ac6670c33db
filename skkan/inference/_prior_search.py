"""Searches for the prior with the most evidence, where updates miss a maximum.

`best_common_prior` tries priors that all edges share, `with_best_edges` those of single
edges.
"""

import math
from typing import NamedTuple

import torch

from skkan.inference._prior import Prior, clamped
from skkan.inference._settings import EVIDENCE

# Multiples of a prior among which the one with the most evidence is looked for.
STRENGTHS = 10.0 ** torch.arange(*EVIDENCE.log_strengths, dtype=torch.float64)


def best_common_prior(model):
    """The prior with the most evidence of those that all edges share.

    The noise at each strength is the penalised deviance per observation.

    Parameters
    ----------
    model : LinearisedModel

    Returns
    -------
    Prior

    References
    ----------
    D. MacKay, Bayesian Interpolation, 1992 (the evidence in terms of eigenvalues).
    """
    linear = model.curvature @ model.theta - model.gradient
    deviance = model.deviance + float(model.theta @ (linear - model.gradient))
    min_noise = max(model.min_noise, EVIDENCE.rounding * deviance / model.n_targets)
    n_edges, best, most = len(model.exists), None, -math.inf
    for shape in EVIDENCE.common_shapes:
        parts = model.kinds.in_use(linear.new_tensor([shape]).repeat(n_edges, 1))
        values, turn = _relative_eigen(model.curvature, model.kinds.spread(parts))
        strengths = STRENGTHS.to(values).unsqueeze(1)
        sums = values + strengths
        gains = 0.5 * (strengths / sums).log().sum(1)
        fits = ((turn.T @ linear).square() / sums).sum(1)
        left, noise = deviance - fits, torch.ones_like(fits)
        if model.has_noise:
            noise = (left / model.n_targets).clamp(min=min_noise)
        evidence = gains - 0.5 * (left / noise + model.n_targets * noise.log())
        index = int(evidence.argmax())
        strength, noise = float(STRENGTHS[index]), float(noise[index])
        prior = Prior(clamped(parts * (strength / noise)), noise)
        prior = prior.with_bounded_outputs(model.network, model.sizes)
        outcome = model.posterior(prior)
        if outcome is not None and outcome.log_evidence > most:
            best, most = prior, outcome.log_evidence
    return best


def with_best_edges(model, prior, posterior):
    """A prior with clearly more evidence, by other precisions of single edges.

    Updates of a prior climb the evidence. Along one edge it may have several maxima,
    such as a trend with noise and a cycle.

    Parameters
    ----------
    model : LinearisedModel
    prior : Prior
    posterior : LinearisedPosterior
        Under that prior.

    Returns
    -------
    Prior
        The same if no edge gains.
    """
    edge_of = model.kinds.of_edges(torch.arange(len(model.exists)))
    edge_of = edge_of.to(model.theta.device)
    covariance = posterior.covariance
    shapes_of = [prior_shapes(kind.parts) for kind in model.kinds.kinds]
    for edge in model.exists.flatten().nonzero().flatten().tolist():
        own = edge_of == edge
        of_edge = _EdgeModel(
            curvature_along(model, own, covariance) / prior.noise,
            posterior.prior_precision[own],
            posterior.weights[own],
        )
        number = int(model.kinds.numbers[edge])
        shapes = shapes_of[number]
        gains = of_edge.gains(shapes @ model.kinds.kinds[number].parts)
        gain = float(gains.max())
        if gain <= EVIDENCE.min_gain_of_edge:
            continue
        shape, strength = divmod(int(gains.argmax()), gains.shape[1])
        precision = prior.precision.clone()
        precision[edge] = STRENGTHS[strength] * shapes[shape]
        trial = Prior(clamped(precision), prior.noise)
        trial = trial.with_bounded_outputs(model.network, model.sizes)
        gain += model.log_hyperprior(trial) - posterior.log_hyperprior
        if gain <= EVIDENCE.min_gain_of_edge:
            continue
        outcome = model.posterior(trial)
        least = posterior.log_evidence + EVIDENCE.min_gain_of_edge
        if outcome is not None and outcome.log_evidence > least:
            prior, posterior = trial, outcome
            covariance = posterior.covariance
    return prior


def curvature_along(model, own, covariance):
    """Curvature of the log likelihood along some weights, with the best others.

    With the curvature C, the precision P and S = (C + P)^-1 the best others move by
    S_rg S_gg^-1 per unit of the weights g, and C_gg + C_gr S_rg S_gg^-1 =
    (C S)_gg S_gg^-1. The difference S_gg^-1 - P_gg loses all digits to a large P.

    Parameters
    ----------
    model : LinearisedModel
    own : Tensor of bool of shape (n_parameters,)
    covariance : Tensor of shape (n_parameters, n_parameters)
        Of the posterior.

    Returns
    -------
    Tensor of shape (n_own, n_own)
    """
    columns = covariance[:, own]
    explained = model.curvature[own] @ columns
    curvature = torch.linalg.solve(columns[own], explained, left=False)
    return (curvature + curvature.T) / 2


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
