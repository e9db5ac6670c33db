"""Updates of a prior that raise the log marginal likelihood, and its noise.

The maximum balances fit and flexibility without validation rows.
"""

import torch

from skkan.inference._prior import Prior, clamped
from skkan.inference._settings import EVIDENCE
from skkan.numerics._floating_point import SMALLEST_DIVISOR


def improved_prior(model, prior, posterior, share=1.0, ceiling=None):
    """A prior with at least the evidence of a given one.

    The update of each precision is lambda tr(P^-1 S - H^-1 S) / (m^T S m), that of
    the noise is the deviance per degree of freedom that is left. A step that lowers
    the evidence is halved, in logarithms, until it does not.

    Parameters
    ----------
    model : LinearisedModel
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
    target = _proposal(model, prior, posterior)
    target = target.with_bounded_outputs(model.network, model.sizes)
    target = target.at_most(ceiling)
    for _ in range(EVIDENCE.max_halvings):
        trial = prior.towards(target, share)
        outcome = model.posterior(trial)
        if outcome is not None and outcome.log_evidence >= posterior.log_evidence:
            return trial
        share /= 2
    return prior


def precision_for_point(model, prior, posterior):
    """Precisions that `improved_prior` would want if the point were the posterior mean.

    Parameters
    ----------
    model : LinearisedModel
    prior : Prior
    posterior : LinearisedPosterior
        Under that prior.

    Returns
    -------
    Tensor of shape (n_edges, 3)
    """
    return _precision_for(model, model.theta, prior, posterior)


def _precision_for(model, weights, prior, posterior):
    variances = posterior.variances
    learnt = (1 / posterior.prior_precision - variances).clamp(min=0)
    explained = model.kinds.collected(learnt)
    used = model.kinds.collected(weights.square())
    if model.has_noise:
        factor = explained / used.clamp(min=SMALLEST_DIVISOR)
    else:
        wanted = model.hyperprior.proposal(prior.precision, explained, used)
        factor = wanted / prior.precision.clamp(min=EVIDENCE.min_precision)
    largest = EVIDENCE.max_precision_factor
    factor = factor.clamp(1 / largest, largest)
    factor = torch.where(model.exists, factor, 1.0)
    return clamped(prior.precision * factor)


def _proposal(model, prior, posterior):
    precision = _precision_for(model, posterior.weights, prior, posterior)
    if not model.has_noise:
        return Prior(precision, prior.noise)
    noise = posterior.deviance / model.freedom(posterior, prior.noise)
    noise = max(noise, model.min_noise)
    largest = EVIDENCE.max_noise_factor
    noise = min(max(noise, prior.noise / largest), prior.noise * largest)
    return Prior(precision, noise)


def with_noise_at_point(model, prior, posterior):
    """The prior with the noise that the residuals at the point of expansion show.

    Along a curved valley training may end before it reaches the mode that the
    linearised model promises. The noise of that mode contradicts the residuals, and
    the evidence at the point is then meaningless.

    Parameters
    ----------
    model : LinearisedModel
    prior : Prior
    posterior : LinearisedPosterior
        Under that prior.

    Returns
    -------
    Prior
        The same one near the mode, and where another noise has no more evidence.
    """
    if not model.has_noise or posterior.decrement < EVIDENCE.min_decrement:
        return prior
    noise = model.deviance / model.freedom(posterior, prior.noise)
    changed = Prior(prior.precision, max(noise, prior.noise))
    outcome = model.posterior(changed)
    if outcome is None or outcome.evidence_at_point < posterior.evidence_at_point:
        return prior
    return changed


def prior_with_noise_of_residuals(model, alpha):
    """Prior that is equivalent to penalties of weight `alpha`.

    Parameters
    ----------
    model : LinearisedModel
    alpha : float or Tensor of shape (n_edges, 3)

    Returns
    -------
    Prior

    Notes
    -----
    The noise is that of the residuals. The number of effective parameters depends
    only on the ratio of precisions and noise, which is `alpha`.
    """
    prior = Prior.of_alpha(model.network, alpha, 1.0, model.n_rows)
    outcome = model.posterior(prior) if model.has_noise else None
    if outcome is None:
        return prior
    noise = outcome.deviance / model.freedom(outcome, 1.0)
    noise = max(noise, model.min_noise)
    return Prior.of_alpha(model.network, alpha, noise, model.n_rows)
