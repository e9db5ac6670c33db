"""Checks of what a finished fit claims, by the rows that it has seen.

A check is a function of a `FinishedFit`. It returns None, or what is wrong with cause
and cure, to follow the name of the estimator. All checks together must cost next to
nothing against the training: a pass through the rows or two.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from skkan.data._dask_dataset import DaskDataset
from skkan.data._dataset import GOLDEN_RATIO, Dataset
from skkan.inference._settings import EVIDENCE
from skkan.losses._robust import NORMAL_MEDIAN, weighted_quantile
from skkan.network._attribution_and_statistics import edge_scores
from skkan.numerics._floating_point import SMALLEST_DIVISOR
from skkan.objective._objective import make_objective
from skkan.training import _settings
from skkan.training._plan import FitPlan
from skkan.training._state import FitState


@dataclass(frozen=True, eq=False)
class FinishedFit:
    """A fit at its end, and the rows by which it is judged.

    Attributes
    ----------
    state : FitState
    data : Dataset or DaskDataset
    plan : FitPlan
    validation : Dataset or None
        Rows by which early stopping has chosen the network.
    validation_loss : float
        Their mean loss.
    """

    state: FitState
    data: Dataset | DaskDataset
    plan: FitPlan
    validation: Dataset | None = None
    validation_loss: float = math.inf

    @property
    def is_stopped_early(self):
        """Whether validation rows have chosen the network."""
        return self.validation is not None

    @property
    def is_in_units_of_target(self):
        """Whether the raw output is a prediction, up to a scale."""
        loss = self.plan.loss
        return loss.has_noise and not loss.has_log_link

    @cached_property
    def minimises_penalties(self):
        """Whether the weights are to minimise the loss with the plan's penalties.

        Elsewhere the evidence or validation rows have the last word, or the weights of
        classes are the mean of a posterior.
        """
        plan = self.plan
        is_chosen = plan.learns_alpha or plan.penalty_from_validation
        is_mode = plan.loss.has_noise or not plan.solver.second_order
        return is_mode and not is_chosen and not self.is_stopped_early

    @cached_property
    def objective_value(self):
        """Mean loss of the training rows, with penalties if these are minimised."""
        plan = self.plan
        if not self.minimises_penalties:
            plan = replace(plan, penalties=())
        network = self.state.network
        return make_objective(network, self.data, plan).value(network.theta)

    @cached_property
    def loss_of_constant(self):
        """Mean loss of the best constant on the training rows."""
        loss, data = self.plan.loss, self.data
        # Classes add a count to their weights, which must not be small beside it.
        weight = data.sample_weight / data.sample_weight.mean()
        best = loss.baseline(data.target, weight)
        # The squared error takes its targets to be standardised. Those of a later fit
        # are not; this step is exact for it.
        slope = loss.gradient(best.expand_as(data.target), data.target)
        stepped = best - weight @ slope / weight.sum()
        return min(loss_of_constant(loss, data, one) for one in (best, stepped))


def loss_of_constant(loss, data, raw):
    """Mean loss of rows for one raw output of all of them, float."""
    values = loss.value(raw.expand_as(data.target), data.target)
    return float(data.sample_weight @ values / data.sample_weight.sum())


def _is_no_better_than_constant(fit):
    """Training ends where it should have been at its start or soon after.

    Only a search to its end may find that there is nothing to learn.
    """
    if not _exceeds(fit.objective_value, fit.loss_of_constant, fit.is_stopped_early):
        return None
    penalties = ", penalties included" if fit.minimises_penalties else ""
    return (
        "predicts its training rows no better than a constant: their loss is "
        f"{fit.objective_value:.3g}{penalties}, that of the best constant "
        f"{fit.loss_of_constant:.3g}. If the features are informative, "
        f"{type(fit.plan.solver).__name__} has not begun to learn: {_cures(fit)}."
    )


def _knows_its_rows_by_heart(fit):
    """Early stopping has kept the best of many networks, and it is of no use."""
    if not fit.is_stopped_early or _is_no_better_than_constant(fit):
        return None
    rows = fit.validation
    constant = loss_of_constant(fit.plan.loss, rows, rows.baseline)
    if not _exceeds(fit.validation_loss, constant, is_stopped_early=True):
        return None
    return (
        "predicts the validation rows no better than a constant, after any iteration: "
        f"their loss is {fit.validation_loss:.3g}, that of the constant of the "
        f"training rows {constant:.3g}. If the features are informative, the network "
        "has learnt its training rows by heart: raise alpha, choose a smaller shape, "
        "or validate on more rows."
    )


def _contradicts_its_noise(fit):
    """The noise is far below the errors of rows that are left out one at a time."""
    posterior, network = fit.state.posterior, fit.state.network
    has_noise = posterior is not None and posterior.covers_all_weights
    is_mode = has_noise and fit.plan.loss.is_normal and not fit.is_stopped_early
    if not is_mode:
        return None
    settings = _settings.CLAIMS
    n_rows = int(settings.max_products / network.n_parameters**2)
    rows = fit.data.sample(max(settings.min_rows, n_rows))
    squares = left_out_errors(fit, rows).square()
    noise = torch.from_numpy(posterior.noise).to(squares)
    typical = weighted_quantile(squares, rows.sample_weight, 0.5) / NORMAL_MEDIAN**2
    typical = torch.where(typical > settings.min_left_out_error**2, typical, 0.0)
    worst = float((typical / noise).max().sqrt())
    if not worst > settings.max_ratio_to_noise:
        return None
    return (
        f"reports a noise_std_ that is {worst:.2g} times below the errors of its "
        "training rows where each is left out in turn: it has nearly as many weights "
        "as the rows can tell. Choose a smaller grid_size or shape, or raise alpha; do "
        "not trust noise_std_ and return_std."
    )


@torch.no_grad()
def left_out_errors(fit, rows):
    """Errors of some rows, each predicted without one observation of it.

    The error of the fit is divided by 1 - h, with the leverage h of the observation.

    Returns
    -------
    Tensor of shape (n_samples, n_outputs)

    References
    ----------
    R. Cook and S. Weisberg, Residuals and Influence in Regression, 1982, section 2.2.
    """
    network, posterior = fit.state.network, fit.state.posterior
    root = posterior.root(network, rows.X.device)
    columns = posterior.whitened_jacobian(network, root, rows.X)
    weight = rows.sample_weight.unsqueeze(1)
    if rows.counts is not None:
        weight = weight / rows.counts.unsqueeze(1)
    left = 1 - weight * columns.square().sum(1).T
    left = left.clamp(min=EVIDENCE.min_leverage_rest)
    return (rows.baseline + network(rows.X) - rows.target) / left


@torch.no_grad()
def _has_cancelling_curves(fit):
    """Curves are far larger than what they have to add up to.

    By the attribution scores, in which a curve into a hidden node counts by what the
    node means for the output.
    """
    if not fit.is_in_units_of_target or _is_no_better_than_constant(fit):
        return None
    network, settings = fit.state.network, _settings.CLAIMS
    rows = fit.data.sample(settings.max_rows)
    share = rows.sample_weight / rows.sample_weight.sum()
    _, passes = network.propagate(rows.X)
    scores = edge_scores(network, rows.target, passes, share)
    largest = len(rows.baseline) * max(float(score.max()) for score in scores)
    if not largest > settings.max_curve_deviation:
        return None
    return (
        f"has curves that cancel each other: the largest moves the output by "
        f"{largest:.2g} standard deviations of the target. Where features combine "
        "otherwise than in the training rows, predictions may be far beyond the range "
        "of the target. Raise alpha, choose a smaller shape, or leave out features "
        "that others determine."
    )


@torch.no_grad()
def _is_wild_elsewhere(fit):
    """Rows with the values of other rows in each column are predicted far away.

    So are rows beyond all grids, where curves are constant there.
    """
    network, settings = fit.state.network, _settings.CLAIMS
    is_told = _is_no_better_than_constant(fit) or _has_cancelling_curves(fit)
    if is_told or not fit.is_in_units_of_target:
        return None
    X, basis = fit.data.sample(settings.max_rows_elsewhere).X, network.layers[0].basis
    turns = (GOLDEN_RATIO * len(X) * torch.arange(X.shape[1])).long()
    index = torch.arange(len(X)).unsqueeze(1) + turns
    mixed = X.gather(0, index.to(X.device) % len(X))
    low, high = fit.data.target.amin(0), fit.data.target.amax(0)
    low, high = low - fit.data.baseline, high - fit.data.baseline
    beyond = _farthest_beyond(network(mixed), low, high)
    if basis.extrapolation == "constant":
        numbers = network.used_features[basis.is_number]
        mixed[:, numbers] *= settings.far_away
        beyond = max(beyond, _farthest_beyond(network(mixed), low, high))
    if not beyond > settings.max_widths_beyond:
        return None
    return (
        f"predicts up to {beyond:.2g} times the range of the target beyond it, where "
        "features combine otherwise than in the training rows or leave their range. "
        "Raise alpha, choose a smaller shape, or take such rows for training as well."
    )


def _farthest_beyond(values, low, high):
    """How far values leave an interval at most, in widths of it."""
    width = torch.where(high > low, high - low, torch.inf)
    return float((torch.maximum(low - values, values - high) / width).max())


@torch.no_grad()
def _follows_a_few_rows(fit):
    """All rows but a few outlying ones are predicted far worse than by their mean.

    The outlying ones are those whose targets are farthest from the median, weights
    included. Where the median is the target of most rows, the others are rare events.
    """
    settings = _settings.CLAIMS
    rows = fit.data.sample(settings.max_rows)
    n_few = math.ceil(settings.share_outliers * rows.n_rows)
    is_too_small = rows.n_rows < settings.min_rows_of_outliers
    if not fit.plan.loss.is_normal or is_too_small or _is_no_better_than_constant(fit):
        return None
    weight = rows.sample_weight.unsqueeze(1)
    median = weighted_quantile(rows.target, rows.sample_weight, 0.5)
    distances = (rows.target - median).square()
    is_rare = weighted_quantile(distances, rows.sample_weight, 0.5) == 0
    few = (weight * distances).topk(n_few, dim=0).indices
    weight = weight.expand(rows.target.shape).scatter(0, few, 0.0)
    mean = (weight * rows.target).sum(0) / weight.sum(0)
    errors = rows.baseline + fit.state.network(rows.X) - rows.target
    error, of_mean = (
        (weight * each.square()).sum(0) for each in (errors, rows.target - mean)
    )
    ratio = error / of_mean.clamp(min=SMALLEST_DIVISOR)
    ratio, output = torch.where(is_rare, 0.0, ratio).max(dim=0)
    if not ratio > settings.max_ratio_to_mean:
        return None
    target = f"target {int(output)}" if len(rows.baseline) > 1 else "the target"
    return (
        f"follows a few rows: without the {settings.share_outliers:.0%} of them where "
        f"{target} is farthest from its median, weights included, its squared error is "
        f"{float(ratio):.2g} times that of the mean of the others. If these targets or "
        "weights are errors, correct them or leave the rows out; loss='huber' bounds "
        "what an outlying target counts, and so does a transformation, for instance to "
        "its logarithm by TransformedTargetRegressor."
    )


CHECKS = (
    _follows_a_few_rows,
    _has_cancelling_curves,
    _is_wild_elsewhere,
    _is_no_better_than_constant,
    _knows_its_rows_by_heart,
    _contradicts_its_noise,
)


def broken_claims(fit):
    """What is wrong with a fit, a list of messages.

    Parameters
    ----------
    fit : FinishedFit
    """
    return [message for check in CHECKS if (message := check(fit)) is not None]


def broken_claim_of_stream(network, data, plan, loss_curve):
    """What is wrong after a batch of a stream; None if it is nothing.

    A stream begins anywhere, and goes wherever its batches lead. It claims no more than
    to be better, now and then, than the constant that it has started from.

    Parameters
    ----------
    network : KANNetwork
        After the batch.
    data : Dataset
        The batch.
    plan : FitPlan
    loss_curve : list of float
        Mean objective of each batch during the pass through it.
    """
    n_passes = _settings.CLAIMS.passes_of_stream
    if len(loss_curve) < n_passes:
        return None
    constant = loss_of_constant(plan.loss, data, data.baseline)
    if not _exceeds(min(loss_curve[-n_passes:]), constant):
        return None
    value = make_objective(network, data, plan).value(network.theta)
    if not _exceeds(value, constant):
        return None
    return (
        f"predicts worse than a constant after {len(loss_curve)} passes: the loss of "
        f"the last batch is {value:.3g}, penalties included, that of the constant of "
        f"the first batch {constant:.3g}. Lower alpha, choose a smaller grid_size, set "
        "another learning_rate by solver=Adam(...), or start afresh."
    )


def _exceeds(value, constant, is_stopped_early=False):
    """Whether a loss is above that of a constant by more than a solver leaves open.

    Early stopping must fall clearly below.
    """
    settings = _settings.CLAIMS
    tolerance = -settings.tolerance if is_stopped_early else settings.tolerance
    return not value <= (1 + tolerance) * constant + settings.rounding


def _cures(fit):
    """What may help, in the words of the estimator's parameters."""
    plan, cures = fit.plan, []
    if not fit.state.converged:
        cures.append("raise max_iter")
    if not plan.solver.second_order:
        cures.append("set solver='lm'")
    if fit.is_stopped_early:
        cures.append("set early_stopping=False")
    if plan.penalties and not (plan.learns_alpha or plan.penalty_from_validation):
        cures.append("lower alpha")
    return ", ".join([*cures, "lower tol", "or choose a smaller grid_size"])
