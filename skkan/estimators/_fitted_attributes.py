"""The attributes that a fit stores on an estimator at its end, and the fitted model."""

import numpy as np

from skkan.data._categories import Categories
from skkan.fitted._fitted_model import FittedModel
from skkan.fitted._output_changes import OutputChanges
from skkan.network._attribution_and_statistics import network_statistics

MAX_DESCRIBED_ROWS = 100_000  # from which ranges and densities are taken


def describe(estimator, network, problem, *, continuation, posterior=None):
    """Set the fitted model of a network, and the attributes that describe it.

    Parameters
    ----------
    estimator : KANRegressor, KANClassifier or a namespace in its place
        Knows the columns of X.
    network : KANNetwork
    problem : FitProblem
    continuation : Continuation
    posterior : LaplacePosterior or LastLayerPosterior, default=None
    """
    sample = problem.data.sample(MAX_DESCRIBED_ROWS)
    share = sample.sample_weight / sample.sample_weight.sum()
    changes = OutputChanges.over(network, problem.data)
    importances = changes.importances()
    categories, n_features = estimator.categories_, estimator.n_features_in_
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = [f"x{index}" for index in range(n_features)]
    target = problem.target
    estimator.fitted_model_ = FittedModel(
        network_arrays=network.to_arrays(),
        preprocessing=problem.preprocessing,
        target=target,
        layer_statistics=network_statistics(network, sample.X, share, changes),
        feature_importances=importances,
        categories=None if categories is None else Categories(categories),
        feature_names=[str(name) for name in names],
        posterior=posterior,
        continuation=continuation,
    )
    estimator.feature_importances_ = importances.copy()
    estimator.grid_size_ = network.grid_size
    products = network.n_multiplications
    pairs = zip(network.widths[1:-1], products, strict=True)
    estimator.hidden_layer_sizes_ = tuple(width - count for width, count in pairs)
    estimator.n_multiplications_ = tuple(products)
    estimator.n_outputs_ = network.widths[-1]
    if target.classes is not None:
        estimator.classes_ = target.classes.copy()


def store_course(estimator, loss_curve, stage_ends, n_iter):
    """Set the attributes about the loss of each iteration."""
    estimator.loss_curve_ = loss_curve
    estimator.loss_ = loss_curve[-1]
    estimator.n_iter_ = n_iter
    estimator.stage_ends_ = stage_ends


def store_validation(estimator, monitor=None):
    """Set the attributes about validation rows, None where there were none."""
    scores = monitor.validation_scores if monitor else None
    best = monitor.best_iteration if monitor else None
    curve = monitor.validation_loss_curve if monitor else None
    estimator.validation_loss_curve_ = curve or None
    estimator.validation_scores_ = scores or None
    estimator.best_validation_score_ = None if best is None else scores[best - 1]


def attributes_of_fits(estimator):
    """Fitted attributes of an estimator, a dict by name."""
    parameters = estimator.get_params(deep=False)
    return {
        name: value
        for name, value in vars(estimator).items()
        if name not in parameters and "callback" not in name
    }


def forget_optional(estimator):
    """Remove what a previous fit has set and this one may not set."""
    for name in (
        "alpha_",
        "noise_std_",
        "dispersion_",
        "log_evidence_",
        "n_effective_parameters_",
        "search_results_",
    ):
        vars(estimator).pop(name, None)


def store_posterior(estimator, loss):
    """Set what the posterior of the fitted model says in the user's units.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    loss : Loss
        As adapted to the noise.
    """
    model = estimator.fitted_model_
    posterior, scale = model.posterior, model.preprocessing.target_scaling.scale
    if posterior is None:
        return
    if posterior.covers_all_weights:
        n_rows = posterior.n_observations
        of_scale = loss.noise_power * n_rows * np.log(scale).sum()
        estimator.alpha_ = posterior.alpha.copy()
        estimator.log_evidence_ = posterior.log_evidence - 0.5 * of_scale
        estimator.n_effective_parameters_ = posterior.n_effective
    if posterior.noise is None:
        return
    if loss.is_normal:
        estimator.noise_std_ = _per_target(np.sqrt(posterior.noise) * scale, model)
    elif loss.has_log_link:
        dispersion = posterior.noise * scale**loss.noise_power
        estimator.dispersion_ = _per_target(dispersion, model)


def _per_target(values, model):
    return float(values[0]) if model.target.is_vector else values
