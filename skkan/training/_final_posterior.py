"""The posterior at the end of a training, and the weights at its mean.

Training ends at the mode. Where classes are nearly separable the mean of the posterior
predicts better, and penalties are learnt once more around it.
"""

from dataclasses import replace

import numpy as np

from skkan.inference._laplace_posterior import laplace_posterior
from skkan.inference._last_layer_posterior import last_layer_posterior
from skkan.inference._prior import Prior
from skkan.training._posterior_mean import at_posterior_mean, relearnt_at_mean


def with_posterior(state, data, plan, monitor, *, keep_weights):
    """The state with its posterior, and with its weights at the posterior mean.

    Parameters
    ----------
    state : FitState
    data : Dataset
    plan : FitPlan
    monitor : Monitor
        Counts the iterations.
    keep_weights : bool
        Whether the weights stay, as with early stopping. After an interruption they
        stay in any case.

    Returns
    -------
    FitState
        Its posterior is None if the normal matrix is not positive definite within
        rounding, or if the solver leaves none.
    """
    if state.has_final_posterior:
        return state
    final = state
    keep_weights = keep_weights or not state.converged or state.interrupted
    try:
        if not keep_weights:
            final, n_iter = relearnt_at_mean(state, data, plan)
            monitor.n_iter += n_iter
        posterior = _posterior(final, data, plan)
        if not keep_weights:
            network, n_iter = _mean_network(final, data, plan, posterior)
            monitor.n_iter += n_iter
            final = replace(final, network=network)
    except KeyboardInterrupt:
        final = replace(state, interrupted=True)
        posterior = _posterior(final, data, plan)
    return replace(final, posterior=posterior, has_final_posterior=True)


def _posterior(state, data, plan):
    if plan.penalty_from_validation:
        noise = state.validation_noise
        return last_layer_posterior(state.network, data, plan, noise)
    if not plan.solver.second_order:
        return None
    prior = state.prior if plan.learns_alpha else None
    return laplace_posterior(state.network, data, plan, prior, state.objective)


def _mean_network(state, data, plan, posterior):
    """The network with the mean weights of its posterior, and the iterations.

    With one alpha for all edges the weights stay at the mode: that alpha asks for the
    minimum of the penalised loss, and is no prior.
    """
    if posterior is None or not posterior.covers_all_weights:
        return state.network, 0
    is_prior = [np.ndim(penalty.alpha) == 2 for penalty in plan.penalties]
    if not (plan.learns_alpha or any(is_prior)):
        return state.network, 0
    prior = Prior.of_alpha(state.network, posterior.alpha, 1.0, data.n_observations)
    return at_posterior_mean(state.network, data, plan, prior, posterior)
