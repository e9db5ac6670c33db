"""What a training leaves: the fitted attributes of an estimator."""

from dataclasses import replace

import numpy as np
import torch

from skkan.inference._laplace_posterior import laplace_posterior
from skkan.inference._last_layer_posterior import output_factor
from skkan.inference._prior import Prior
from skkan.network._edge_statistics import layer_statistics
from skkan.training._posterior_mean import at_posterior_mean, relearnt_at_mean

MOST_DESCRIBED = 100_000  # rows from which importances are taken
# Those that only some trainings leave.
OF_POSTERIOR = (
    "_judged_alpha",
    "alpha_",
    "noise_std_",
    "dispersion_",
    "log_evidence_",
    "n_effective_parameters_",
    "_posterior_factor",
    "_output_factor",
    "_noise",
    "_shared_noise",
    "_n_observations",
)


def report(state, data, monitor):
    """Attributes about the course of a fit.

    Parameters
    ----------
    state : FitState
    data : Dataset
    monitor : Monitor

    Returns
    -------
    dict
    """
    scores = monitor.validation_scores
    best = monitor.best_iteration
    return {
        **description(state.network, data),
        **curves(monitor.loss_curve, [*state.stage_ends], monitor.n_iter),
        **validation(
            monitor.validation_loss_curve or None,
            scores or None,
            None if best is None else scores[best - 1],
        ),
    }


def description(network, data):
    """Attributes about a network, as the data see it."""
    data = data.sample(MOST_DESCRIBED)
    share = data.sample_weight / data.sample_weight.sum()
    layers = layer_statistics(network, data.X, share)
    scores = [torch.from_numpy(layer.score) for layer in layers]
    return {
        "grid_size_": network.grid_size,
        "hidden_layer_sizes_": tuple(network.widths[1:-1]),
        "n_outputs_": data.target.shape[1],
        "feature_importances_": network.input_scores(scores).numpy(),
        "_activity": [layer.to_arrays() for layer in layers],
    }


def curves(loss_curve, stage_ends, n_iter):
    """Attributes about the loss of each iteration."""
    return {
        "loss_curve_": loss_curve,
        "loss_": loss_curve[-1],
        "n_iter_": n_iter,
        "stage_ends_": stage_ends,
    }


def validation(loss_curve=None, scores=None, best_score=None):
    """Attributes about rows to validate on, None where there were none."""
    return {
        "validation_loss_curve_": loss_curve,
        "validation_scores_": scores,
        "best_validation_score_": best_score,
    }


def uncertainty(result, data, plan, frame):
    """Attributes `OF_POSTERIOR`, as far as this training leaves them.

    Parameters
    ----------
    result : FitState
    data : Dataset
    plan : FitPlan
    frame : Preprocessing

    Returns
    -------
    dict, or None
        None if the normal matrix is not positive definite within rounding.
    """
    if plan.penalty_from_validation:
        return _uncertainty_of_outputs(result, data, plan, frame)
    if not plan.solver.second_order:
        return {}
    prior = result.prior if plan.learns_alpha else None
    posterior = laplace_posterior(result.network, data, plan, prior, result.objective)
    if posterior is None:
        return None
    n_rows = data.n_observations
    of_scale = plan.loss.noise_power * n_rows * np.log(frame.y_scaling.scale).sum()
    return {
        "alpha_": posterior.alpha,
        "log_evidence_": posterior.log_evidence - 0.5 * of_scale,
        "n_effective_parameters_": posterior.n_effective,
        "_posterior_factor": posterior.factor,
        "_noise": posterior.noise,
        "_shared_noise": posterior.shared_noise,
        "_n_observations": n_rows,
        **_noise_in_units(plan.loss, posterior.noise, frame),
    }


def relearnt(result, data, plan, monitor):
    """The state of a training with penalties for the mean of its posterior.

    Parameters
    ----------
    result : FitState
    data : Dataset
    plan : FitPlan
    monitor : Monitor

    Returns
    -------
    FitState
        The given one where the training did not end at the mode, or nothing is learnt.
    """
    if not _is_at_mode(result):
        return result
    found, n_iter = relearnt_at_mean(result, data, plan)
    monitor.n_iter += n_iter
    return found


def at_mean(result, data, plan, attributes, monitor):
    """The state with the mean weights of its posterior.

    Parameters
    ----------
    result : FitState
    data : Dataset
    plan : FitPlan
    attributes : dict
        See `uncertainty`.
    monitor : Monitor

    Returns
    -------
    FitState
        The given one where the training did not end at the mode, or where one alpha for
        all edges is no prior but asks for the minimum of the penalised loss.
    """
    if "_posterior_factor" not in attributes or not _is_at_mode(result):
        return result
    is_prior = [np.ndim(penalty.alpha) == 2 for penalty in plan.penalties]
    if not (plan.learns_alpha or any(is_prior)):
        return result
    alpha, factor = attributes["alpha_"], attributes["_posterior_factor"]
    prior = Prior.of_alpha(result.network, alpha, 1.0, data.n_observations)
    network, n_iter = at_posterior_mean(result.network, data, plan, prior, factor)
    monitor.n_iter += n_iter
    return replace(result, network=network)


def _is_at_mode(result):
    return result.converged and not result.interrupted


def _uncertainty_of_outputs(result, data, plan, frame):
    """Noise and last-layer posterior, where rows held out tell the noise."""
    (penalty,) = plan.penalties
    attributes = {"_judged_alpha": penalty.alpha.numpy()}
    if result.validation_noise is None:
        return attributes
    noise = result.validation_noise.cpu().numpy()
    attributes |= {"_noise": noise, **_noise_in_units(plan.loss, noise, frame)}
    if not plan.loss.is_normal:
        return attributes
    factor = output_factor(result.network, data, plan)
    return None if factor is None else {**attributes, "_output_factor": factor}


def _noise_in_units(loss, noise, frame):
    """Noise as a fitted attribute in units of the target, if it has a meaning."""
    if loss.is_normal:
        name, value = "noise_std_", np.sqrt(noise) * frame.y_scaling.scale
    elif loss.has_log_link:
        name = "dispersion_"
        value = noise * frame.y_scaling.scale**loss.noise_power
    else:
        return {}
    return {name: float(value[0]) if frame.coding["_y_is_vector"] else value}
