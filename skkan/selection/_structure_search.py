"""The search for a structure: an additive model, or hidden nodes beside it.

An additive model has one optimum. The evidence keeps it smooth on fine grids, or
validation rows do where it has too many weights for the evidence. Networks with hidden
nodes depend on starts and local optima, in which the evidence is not reliable.
Validation rows decide on them, on their penalty weight, and on the weight of their mean
beside the additive model.
"""

import math
from dataclasses import replace
from itertools import compress, cycle, islice
from operator import not_
from typing import NamedTuple

import torch

from skkan.inference._laplace_posterior import laplace_posterior, whitened_jacobian
from skkan.inference._last_layer_posterior import variance_without
from skkan.inference._prior import Prior
from skkan.network._edits import resized
from skkan.numerics._floating_point import SMALLEST_DIVISOR
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection import _settings
from skkan.selection._ensemble import EnsembleMember, ensemble_network
from skkan.selection._regularization_path import (
    PathPoint,
    RegularizationPath,
    validated_plan,
)
from skkan.selection._search_record import (
    ALL_DIVERGED,
    DIVERGED,
    NO_OTHER,
    NONE_TRIED,
    OTHER_CANDIDATE,
    Trial,
    search_results,
)
from skkan.selection._validation_rows import validation_split
from skkan.solvers import DivergenceError
from skkan.training._continuation import trained_from_starts
from skkan.training._plan import FitPlan
from skkan.training._posterior_mean import at_posterior_mean
from skkan.training._second_order import at_mode
from skkan.training._settings import SECOND_ORDER
from skkan.training._stages import adapted_loss
from skkan.training._state import EndReason, FitState


class Found(NamedTuple):
    """A network that a search has trained, and the plan for the rest of its training.

    Where `plan.penalty_from_validation` the penalties of the plan are those that the
    validation rows have chosen. Otherwise the prior was learnt by the evidence.
    """

    state: FitState
    plan: FitPlan
    trial: Trial


def search_structure(
    space, make_network, n_members, data, plan, generator, report=lambda step: None
):
    """Choose a structure, and train it.

    An additive model comes first. A quarter of the rows is set aside for validation.
    Networks with hidden nodes are trained on the others, under the penalty weight with
    which their mean predicts the validation rows best. The nodes of every second one
    take one pair of features each: a sum of surfaces errs otherwise than nodes that
    take all features do. Where one kind is far better, all are of it. A weighted mean
    of them and the additive model replaces the latter if it predicts these rows better.
    Where hardly any noise is left, a single second-order network is more precise than
    the ensemble; it is tried as soon as that shows. With many rows the search sees a
    subsample.

    Parameters
    ----------
    space : SearchSpace
    make_network : callable
        make_network(structure) returns a network to start from, each time another one.
    n_members : int
        Number of networks with hidden nodes. A single one is not averaged.
    data : Dataset
    plan : FitPlan
        Of networks that are trained by the evidence.
    generator : torch.Generator
        For the choice of the validation rows.
    report : callable
        Called with the name of each step before it is taken.

    Returns
    -------
    state : FitState
        It has not converged if networks diverged and were left out. A validated
        ensemble has otherwise converged: few iterations are intended.
    plan : FitPlan
        For the rest of its training, see `Found`.
    results : dict
        What was tried, see `search_results`.
    """
    search = _StructureSearch(
        make_network, space.second_order, data, plan, generator, report
    )
    additive = search.additive(space.additive, by_evidence=space.by_evidence)
    hidden, weight = None, 0.0
    if space.hidden and not search.is_constant:
        hidden, weight = search.hidden(space.hidden, n_members, additive)
    found = search.second_order(hidden)
    if found is None and hidden is None and additive.plan.learns_alpha:
        found = search.alone(additive)
    if found is None:
        found = search.ensemble(hidden, weight, additive)
    results = search_results(search.path.trials, search.path.validation)
    return replace(found.state, n_iter=search.path.n_iter), found.plan, results


class _StructureSearch:
    """The trainings of a search, and the best predictions of the validation rows."""

    def __init__(self, make_network, second_order, data, plan, generator, report):
        self._make_network, self._data = make_network, data
        self._second_order_structure = second_order
        self._tried = None  # Found
        self._sample = data.sample(_settings.SEARCH_SPACE.max_rows)
        rows = validation_split(self._sample, plan.loss, generator)
        self.path = RegularizationPath(*rows, plan, generator, report)
        # The best raw output of the validation rows so far, and the one that others
        # must outdo: moderation may improve the probabilities of an additive model.
        self._raw = self._reference = None

    @property
    def is_constant(self):
        """Whether the target does not vary."""
        target = self._sample.target
        return bool((target == target[:1]).all())

    def additive(self, structure, *, by_evidence):
        """An additive model, by second-order training or along a path."""
        self.path.report("additive model")
        if by_evidence:
            n_starts = len(SECOND_ORDER.starting_penalties)
            found = self._by_evidence(
                structure, self._sample, n_starts, self.path.plan.max_iter
            )
        else:
            found = self._along_path(structure)
            self._raw = self._reference = found.trial.raw
        # Networks with hidden nodes are compared under the loss of this noise.
        loss = adapted_loss(self.path.plan.loss, [found.state.network], self._sample)
        self.path.use_loss(loss)
        return found._replace(plan=replace(found.plan, loss=loss))

    def _by_evidence(self, structure, data, n_starts, max_iter):
        plan = replace(
            self.path.plan,
            grid_sizes=(structure.grid_size,),
            grid_eps=structure.grid_eps,
        )
        networks = [self._make_network(structure) for _ in range(n_starts)]
        trial = self.path.new_trial(networks[0], "lm", reason=DIVERGED)
        with trial.timed():
            state = trained_from_starts(networks, data, plan, max_iter)
        trial.n_iter += state.n_iter
        trial.reason = OTHER_CANDIDATE
        return Found(state, plan, trial)

    def _along_path(self, structure):
        """An additive model under penalty weights that validation rows have chosen.

        All edges have one weight at first. In the next rounds the weight of an edge is
        in proportion to one over the variance of its curve, as long as this lowers the
        validation loss.
        """
        best, best_loss, relative = None, math.inf, 1.0
        for _ in range(_settings.SEARCH.max_penalty_rounds):
            point, _ = self.path.best_point(
                [self._make_network(structure)],
                self._is_outdone,
                relative=relative,
                first_alpha=_settings.PATH.first_additive_alpha,
            )
            if point is None and best is None:
                raise DivergenceError("the additive model predicts no finite numbers")
            if point is None:
                break
            loss = self.path.validation.total_loss(point.trial.raw)
            if not loss < best_loss:
                break
            best, best_loss = point, loss
            relative = self._relative_penalties(*point.networks)
        best.trial.reason = OTHER_CANDIDATE
        plan = validated_plan(self.path.plan, *best.networks, best.alpha)
        return Found(*best.states, plan, best.trial)

    def _relative_penalties(self, network):
        """Penalty weights by the variance of the curves, Tensor (n_edges, 3)."""
        layer, rows = network.layers[0], self.path.fitted
        weight = rows.sample_weight / rows.sample_weight.sum()
        with torch.no_grad():
            features = layer.basis(network.inputs(rows.X))
            std = layer.edge_std(features, layer.weight, weight)
        variance = std.square().flatten()
        ratio = variance.mean() / variance.clamp(min=SMALLEST_DIVISOR)
        limit = _settings.SEARCH.max_penalty_ratio
        ratio = ratio.clamp(1 / limit, limit).cpu().unsqueeze(1)
        return ratio * QuadraticPenalty(1.0).per_edge(len(ratio))

    def second_order(self, hidden):
        """A network by second-order training; None if it is not clearly better.

        It is compared with the additive model, or with its mean with `hidden`.
        """
        if self._raw is None or not self._try_second_order(self._raw):
            return None
        trial = self._tried.trial
        t = self.path.validation.paired_t(trial.raw, self._reference)
        others = "the additive model" if hidden is None else "the mean of others"
        trial.compare(t, min_t := _settings.SEARCH.min_t_of_second_order, others)
        if not t > min_t:
            return None
        trial.choose(1.0)
        if hidden is not None:
            hidden.trial.reason = OTHER_CANDIDATE
        return self._tried

    def _try_second_order(self, raw):
        """Train a second-order network if it is promising; whether there is one.

        It is promising where the error of `raw` is far below that of a constant.
        """
        if self._second_order_structure is None or not self.path.plan.loss.has_noise:
            return False
        if self._tried is None:
            error = self.path.validation.relative_error(raw)
            if error >= _settings.SEARCH.low_error:
                return False
            self.path.report("second-order network")
            max_iter = _settings.SEARCH.max_second_order_iter
            try:
                found = self._by_evidence(
                    self._second_order_structure, self.path.fitted, 1, max_iter
                )
            except DivergenceError:
                self._second_order_structure = None
                return False
            found.trial.raw = self.path.validation.raw([found.state.network])
            self._tried = found
        return True

    def _is_outdone(self, raw):
        """Whether a second-order network predicts much better than `raw`."""
        if not self._try_second_order(raw):
            return False
        limit = _settings.SEARCH.clearly_lower_error * self.path.validation.error(raw)
        error = self.path.validation.error(self._tried.trial.raw)
        return bool((error < limit).all())

    def hidden(self, structures, n_members, additive):
        """Networks that take structures in turn, and the weight of their mean.

        One network of each structure is trained first. Others join them where the mean
        of these is promising beside `additive`. If one of the first is far better than
        this mean, the others are like it, and those of the other kind go.

        Returns
        -------
        point : PathPoint or None
            None if they are of no use.
        weight : float
            Of their mean beside the additive model.
        """
        if additive.plan.learns_alpha:
            self._refit(additive)
        basis = additive.state.network.layers[0].basis

        def starts(n_networks):
            for structure in islice(cycle(structures), n_networks):
                yield _on_knots_of(basis, self._make_network(structure))

        settings, may_average = _settings.SEARCH, n_members > 1
        networks = [*starts(min(n_members, len(structures)))]
        point, computed = self.path.best_point(networks, self._is_outdone)
        kept = self._of_better_kind(point) if point else []
        mean, weight, raw, t = self._beside_additive(point, may_average)
        if may_average and t > settings.promising_t:
            mean.trial.reason = f"promising, t = {t:.3g}: averaged with others"
            if len(kept) == len(networks):
                structures = [*compress(structures, kept)]
                networks = [*compress(networks, kept)]
                computed = [[*compress(states, kept)] for states in computed]
            networks += starts(n_members - len(networks))
            point, _ = self.path.best_point(
                networks, self._is_outdone, computed=computed
            )
            mean, weight, raw, t = self._beside_additive(point, may_average)
        self.path.n_left_out += len(networks) - (len(point.states) if point else 0)
        has_noise = self.path.plan.loss.has_noise
        min_t = settings.min_t if has_noise else settings.min_t_of_classes
        if mean is not None:
            mean.trial.compare(t, min_t, "the additive model")
        if not t > min_t:
            is_promising = may_average and t > settings.promising_t
            if has_noise or not is_promising:
                return None, 0.0
            mean.trial.reason += ", half of the best weight"
            weight /= 2
            raw = torch.lerp(self._raw, mean.trial.raw, weight)
        self._raw = self._reference = raw
        return mean, weight

    def _refit(self, additive):
        """Take the predictions of an additive model for the rows it has not seen."""
        state, plan, trial = additive
        with trial.timed():
            state = self._at_mode(state, self.path.fitted, plan, trial)
            self._raw = self.path.validation.raw([state.network])
            moderated = self._moderated(state, plan, trial)
        self._reference = min(self._raw, moderated, key=self.path.validation.total_loss)
        trial.raw = self._reference

    def _at_mode(self, state, data, plan, trial):
        """The state after a few steps to its mode for other rows."""
        state = at_mode(state, data, plan, _settings.SEARCH.max_refit_iter)
        trial.n_iter += state.n_iter
        return state

    def _moderated(self, state, plan, trial):
        """Raw output of the validation rows that allows for the posterior variance."""
        if plan.loss.has_noise:  # it makes no difference
            return self._raw
        posterior = laplace_posterior(
            state.network, self.path.fitted, plan, state.prior, state.objective
        )
        if posterior is None:
            return self._raw
        network, n_iter = at_posterior_mean(
            state.network, self.path.fitted, plan, state.prior, posterior
        )
        trial.n_iter += n_iter
        root = posterior.root(network, self._raw.device)
        spread = whitened_jacobian(network, root, self.path.validation.data.X)
        return plan.loss.moderated(self.path.validation.raw([network]), spread)

    def _beside_additive(self, point, may_average):
        """Weighted mean of networks, its weight beside the additive model, and so on.

        Returns
        -------
        point : PathPoint or None
        weight : float
        raw : Tensor of shape (n_samples, n_outputs)
            Output of both together.
        t : float
            By which it is better than the reference.
        """
        weight, raw = 0.0, self._raw
        if point is not None:
            point = self._of_two_kinds(point)
            other, weight = point.trial.raw, 1.0
            if may_average:
                weight = self.path.validation.best_weight(raw, other)
            raw = torch.lerp(raw, other, weight)
        t = self.path.validation.paired_t(raw, self._reference)
        return point, weight, raw, t

    def _kinds(self, point):
        """The networks of all features, and those of pairs.

        Returns
        -------
        list of (list of bool, Tensor)
            For each of the two kinds which networks it has, and their mean raw output;
            empty if there is only one kind.
        """
        takes_all = [bool(each.layers[0].mask.all()) for each in point.networks]
        if len(set(takes_all)) < 2:
            return []
        return [
            (those, self.path.validation.raw([*compress(point.networks, those)]))
            for those in (takes_all, [*map(not_, takes_all)])
        ]

    def _of_better_kind(self, point):
        """Which networks are of a kind that is far better than the mean; all if none.

        Returns
        -------
        list of bool
        """
        for those, raw in self._kinds(point):
            t = self.path.validation.paired_t(raw, point.trial.raw)
            if t > _settings.SEARCH.min_t_of_one_kind:
                return those
        return [True] * len(point.networks)

    def _of_two_kinds(self, point):
        """Weights of networks of all features and of pairs, if clearly not the same."""
        kinds = self._kinds(point)
        if not kinds:
            return point
        (takes_all, raw_of_all), (takes_pair, raw_of_pairs) = kinds
        n_all, n_pairs = sum(takes_all), sum(takes_pair)
        weight = self.path.validation.best_weight(raw_of_all, raw_of_pairs)
        raw = torch.lerp(raw_of_all, raw_of_pairs, weight)
        t = self.path.validation.paired_t(raw, point.trial.raw)
        if not t > _settings.SEARCH.min_t:
            return point
        point.trial.raw = raw
        return point.weighted(
            [(1 - weight) / n_all if every else weight / n_pairs for every in takes_all]
        )

    def alone(self, additive):
        """An additive model by the evidence, if nothing is better."""
        self._choose_additive(additive, 1.0)
        return additive._replace(state=self.marked(additive.state, 1))

    def _choose_additive(self, additive, weight):
        others = [each for each in self.path.trials if each.hidden_layer_sizes]
        reason = NO_OTHER if others else NONE_TRIED
        if any(each.reason == ALL_DIVERGED for each in others):
            reason = "the networks with hidden nodes " + ALL_DIVERGED
        if weight < 1:
            reason = "beside the networks with hidden nodes"
        additive.trial.reason = reason
        additive.trial.choose(weight)

    def ensemble(self, hidden, weight, additive):
        """The weighted mean of networks and an additive model, for all rows.

        Networks whose training diverges are left out.
        """
        rows = self.path.validation.data
        loss = self.path.plan.loss.adapted(self._raw, rows.target, rows.sample_weight)
        self.path.plan = replace(self.path.plan, loss=loss)
        additives = none = PathPoint([], 1.0, additive.trial, [])
        hidden = self.path.on_all_rows(hidden, self._data) if hidden else none
        if weight < 1 or not hidden.states:
            additives = self._additive_on_all_rows(additive)
        if not (hidden.states and additives.states):
            weight = float(bool(hidden.states))
        if hidden.states:
            hidden.trial.choose(weight)
        if additives.states:
            self._choose_additive(additive, 1 - weight)
        members = [*_members(hidden, weight), *_members(additives, 1 - weight)]
        if not members:
            raise DivergenceError("no network of the ensemble could be trained")
        network, penalty = ensemble_network(members)
        plan = validated_plan(self.path.plan, network, penalty.alpha)
        noise = None
        if loss.has_noise:
            variance = 0.0
            if loss.is_normal:  # the errors of predictions include their variance
                variance = variance_without(network, self._data, plan, rows)
                variance = 0.0 if variance is None else variance
            noise = loss.noise_of(self._raw, rows.target, rows.sample_weight, variance)
        state = FitState(
            network,
            Prior.of_alpha(network, penalty.alpha, 1.0, self._data.n_observations),
            converged=True,
            reason=additive.state.reason if additive.plan.learns_alpha else None,
            validation_noise=noise,
        )
        return Found(self.marked(state, len(members)), plan, additive.trial)

    def marked(self, state, n_networks):
        """The state of so many networks; not converged if others were left out."""
        n_left_out = self.path.n_left_out
        if not n_left_out:
            return state
        return replace(
            state,
            converged=False,
            message=f"{n_left_out} of {n_left_out + n_networks} networks diverged and "
            "are left out",
            reason=EndReason.MEMBERS_DIVERGED,
        )

    def _additive_on_all_rows(self, additive):
        """PathPoint of an additive model for all rows."""
        state, plan, trial = additive
        if not plan.learns_alpha:
            (penalty,) = plan.penalties
            point = PathPoint.of_mean([state], penalty.alpha, trial)
            return self.path.on_all_rows(point, self._data)
        n_products = len(self._data.baseline) * state.network.n_parameters**2  # a row
        n_rows = int(_settings.SEARCH.max_refit_products / n_products)
        rows = self._data.subsample(n_rows)
        if rows.n_rows >= self._sample.n_rows:
            with trial.timed():
                state = self._at_mode(state, rows, plan, trial)
        alpha = state.prior.alpha(self._data.n_observations).cpu()
        return PathPoint.of_mean([state], alpha, trial)


def _members(point, weight):
    """EnsembleMembers that share a weight."""
    return [
        EnsembleMember(network, weight * own, point.alpha)
        for network, own in zip(point.networks, point.weights, strict=True)
    ]


def _on_knots_of(basis, network):
    """A network to start from, whose inputs have all or every second knot of a basis.

    Its functions are then among those of the basis.
    """
    grid_size = network.grid_size
    step = basis.grid_size // grid_size
    return resized(network, grid_size, basis.with_grid(basis.grid[:, ::step]))
