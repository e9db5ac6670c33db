"""The posterior at the end of a training, and the weights at its mean.

Training ends at the mode. Where classes are nearly separable the mean of the posterior
predicts better, and penalties are learnt once more around it.
"""

from dataclasses import replace

import numpy as np

from skkan.inference._laplace_posterior import laplace_posterior
from skkan.inference._last_layer_posterior import last_layer_posterior
from skkan.inference._prior import Prior
from skkan.training._posterior_mean import at_posterior_mean, learnt_at_mean
from skkan.training._second_order import FitState


def with_posterior(result, data, plan, *, keep_weights):
    """The result with its posterior, and with its weights at the mean of that.

    Parameters
    ----------
    result : TrainingResult
    data : Dataset
    plan : FitPlan
    keep_weights : bool
        Whether the weights stay, as with early stopping. After an interruption they
        stay in any case.

    Returns
    -------
    TrainingResult
        Its posterior is None if the normal matrix is not positive definite within
        rounding, or if the solver leaves none.
    """
    if result.has_final_posterior:
        return result
    final = result
    try:
        if not keep_weights:
            final = _learnt_once_more(result, data, plan)
        posterior = _posterior(final, data, plan)
        if not keep_weights:
            final = _at_mean(final, data, plan, posterior)
    except KeyboardInterrupt:
        final = replace(result, interrupted=True)
        posterior = _posterior(final, data, plan)
    return replace(final, posterior=posterior, has_final_posterior=True)


def _posterior(result, data, plan):
    if plan.judged:
        noise = result.held_out_noise
        return last_layer_posterior(result.network, data, plan, noise)
    if not plan.solver.second_order:
        return None
    prior = result.prior if plan.learns_alpha else None
    return laplace_posterior(result.network, data, plan, prior, result.objective)


def _learnt_once_more(result, data, plan):
    """The result with penalties that are learnt around the mean of its posterior."""
    if not (plan.learns_alpha and _is_at_mode(result)):
        return result
    start = FitState(result.network, result.prior, objective=result.objective)
    found = learnt_at_mean(start, data, plan)
    result.monitor.n_iter += found.n_iter
    return replace(
        result, network=found.network, prior=found.prior, objective=found.objective
    )


def _at_mean(result, data, plan, posterior):
    """The result with the mean weights of its posterior.

    With one alpha for all edges the weights stay at the mode: that alpha asks for the
    minimum of the penalised loss, and is no prior.
    """
    is_laplace = posterior is not None and posterior.covers_all_weights
    if not is_laplace or not _is_at_mode(result):
        return result
    is_prior = [np.ndim(penalty.alpha) == 2 for penalty in plan.penalties]
    if not (plan.learns_alpha or any(is_prior)):
        return result
    prior = Prior.of_alpha(result.network, posterior.alpha, 1.0, data.n_observations)
    network, n_iter = at_posterior_mean(
        result.network, data, plan, prior, posterior.factor
    )
    result.monitor.n_iter += n_iter
    return replace(result, network=network)


def _is_at_mode(result):
    return result.converged and not result.interrupted
