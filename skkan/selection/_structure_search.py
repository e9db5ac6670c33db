"""The structure of a network, chosen by the data: additive, or with hidden nodes, too.

An additive model has one optimum, and the evidence keeps it smooth on fine grids, or
rows that were held out do, where it has too many weights for the evidence. What hidden
nodes add to it is a matter of starts and of local optima, in which the evidence is not
to be relied on: rows held out judge it, and the strength of its penalty, and how much
weight the mean of several such networks gets beside the additive model.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skkan.inference._laplace_posterior import deviations, laplace_posterior
from skkan.inference._last_layer_posterior import variance_without
from skkan.inference._prior import Prior
from skkan.network._edits import resized
from skkan.network._network import KANNetwork
from skkan.numerics._threads import parallel_map
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection import _search_space
from skkan.selection._ensemble import EnsembleMember, ensemble_network
from skkan.solvers import LBFGS, DivergenceError
from skkan.training._monitor import Monitor
from skkan.training._plan import FitPlan
from skkan.training._posterior_mean import at_posterior_mean
from skkan.training._second_order import (
    STARTING_STRENGTHS,
    FitState,
    at_mode,
    finished,
    starting_candidates,
)
from skkan.training._training import adapted_loss, from_starts, train

MOST_LAST_PRODUCTS = (
    5e10  # as `selection._search_space.MOST_PRODUCTS`, for the last steps
)
N_MEMBERS = 4  # networks with hidden nodes, of which the mean is taken
HELD_OUT = 0.25  # of the rows
MOST_TRIAL = 40  # steps of a precise network, before it is judged
MOST_REFITTING = 20  # steps of an additive model to its mode for other rows
FIRST_ALPHA, LAST_ALPHA, ALPHA_STEP = 0.1, 1e-7, 10**0.5
FIRST_ADDITIVE_ALPHA = 10.0  # under which next to nothing is left of a model
MOST_ROUNDS, MOST_CHARGED = 3, 1e6  # of strengths by use
MOST_STEPS = 30  # under each alpha: to stop early keeps from noise, too
MOST_WORSE = 3  # steps of alpha in a row
LAST_STEPS = 5  # of alpha, on all rows
# Rows that all of these steps see, and that the last one sees. Of many rows fewer steps
# are taken.
MOST_AT_ONCE, MOST_USED = 50_000, 300_000
MOST_ROW_STEPS, FEWEST_STEPS = 3_000_000, 10
N_ITER_NO_CHANGE = 10
N_SHARES = 20  # of the hidden nodes' weight beside the additive model, to choose from
# Mean gain by hidden nodes, in its standard errors: for one network, before others are
# tried, and to be taken. To be too sure of a class costs most in few rows, of which
# those held out may have none.
PROMISING, ENOUGH, ENOUGH_OF_CLASSES = 0.5, 1.0, 2.0
LARGEST_GAIN = 20.0  # of a row, in medians, where there can be outliers
PRECISE = 0.1  # of a constant's error, below which one network may do better
OUTDONE = 0.25  # of the error of several, at which one needs them no more


class EvidenceFit(NamedTuple):
    """A network that a search has found by evidence, trained on some of the rows."""

    candidate: FitState
    plan: FitPlan  # for the rest of its training
    n_iter: int


class PathPoint(NamedTuple):
    """Networks that a search has trained under one strength of the penalty.

    They have seen the rows that were not held out.
    """

    networks: list
    alpha: float


class ValidatedEnsemble(NamedTuple):
    """A network that a search has found by rows held out, trained on all rows."""

    network: KANNetwork
    prior: Prior  # that the penalty of the plan amounts to
    plan: FitPlan  # with the penalty of its weights
    n_iter: int
    noise: torch.Tensor | None  # (n_outputs,), that the rows held out show
    message: str  # how the training of the additive model ended


def search_structure(
    options, make_network, n_members, data, plan, generator, tell=lambda step: None
):
    """Choose a structure, and train it.

    An additive model comes first. A quarter of the rows is held out, and networks
    with hidden nodes are trained on the others, with the strength of the penalty with
    which their mean predicts the rows held out best. A weighted mean of it and the
    additive model takes the place of the latter if it predicts these rows better. Where
    hardly any noise is left, a single network trained by second-order steps is more
    precise than all that; it is tried as soon as that shows. With more rows than
    `selection._search_space.MOST_SEARCHED` the search sees some of them only.

    Parameters
    ----------
    options : Options
    make_network : callable
        make_network(structure) gives a network to start from, each time another one.
    n_members : int
        Number of networks with hidden nodes; of one alone no mean is taken.
    data : TrainingData
    plan : TrainingPlan
        Of networks that are learnt by evidence.
    generator : torch.Generator
        For the choice of the rows to hold out.
    tell : callable
        Called with the name of each step before it is taken.

    Returns
    -------
    EvidenceFit or Judged
    """
    search = _StructureSearch(make_network, options.exact, data, plan, generator, tell)
    additive = search.additive(options.additive, by_evidence=options.by_evidence)
    hidden, share = None, 0.0
    if options.hidden is not None and not search.is_constant:
        hidden, share = search.hidden(options.hidden, n_members, additive)
    exact = search.exact()
    if exact is not None:
        return exact._replace(n_iter=search.n_iter)
    if hidden is None and isinstance(additive, EvidenceFit):
        return additive._replace(n_iter=search.n_iter)
    return search.judged(hidden, share, additive)


class _StructureSearch:
    """The trainings of a search, and what is known of the rows held out."""

    def __init__(self, make_network, exact, data, plan, generator, tell):
        self._make_network, self._generator, self._tell = make_network, generator, tell
        self._exact_structure, self._tried = exact, None
        self._data, self._plan = data, plan
        self._sample = data.sample(_search_space.MOST_SEARCHED)
        order = torch.randperm(self._sample.n_rows, generator=generator)
        is_held_out = torch.zeros(len(order), dtype=torch.bool)
        is_held_out[order[: math.ceil(HELD_OUT * len(order))]] = True
        self._fitted = self._sample.rows(~is_held_out)
        self._held_out = self._sample.rows(is_held_out)
        # The best prediction of the rows held out so far, and what others must outdo,
        # as the uncertainty of an additive model may make its probabilities better.
        self._raw = self._rival = None
        self.n_iter = 0

    def additive(self, structure, *, by_evidence):
        """An additive model: EvidenceFit by second-order training, or PathPoint."""
        self._tell("additive model")
        if by_evidence:
            found = self._learnt(
                structure, self._sample, len(STARTING_STRENGTHS), self._plan.max_iter
            )
            network = found.candidate.network
        else:
            found = self._shrunk_additive(structure)
            network = found.networks[0]
            self._raw = self._rival = _mean_output([network], self._held_out)
        # Networks with hidden nodes are compared under the loss of this noise.
        loss = adapted_loss(self._plan.loss, [network], self._sample)
        self._plan = replace(self._plan, loss=loss)
        if by_evidence:
            found = found._replace(plan=replace(found.plan, loss=loss))
        return found

    def _shrunk_additive(self, structure):
        """An additive model under strengths that rows held out have judged.

        All edges have one strength at first. Those that are of less use than others
        under it are charged more in the next round, in proportion to one over their
        variance, as long as this helps with the rows held out.
        """
        best, best_loss, strengths = None, math.inf, 1.0
        for _ in range(MOST_ROUNDS):
            network = self._make_network(structure)
            found = self._along_alpha([network], strengths, FIRST_ADDITIVE_ALPHA)
            if found is None:
                raise DivergenceError("the additive model predicts no finite numbers")
            loss = self._loss(_mean_output(found.networks, self._held_out))
            if not loss < best_loss:
                break
            best, best_loss = found, loss
            strengths = self._by_use(found.networks[0])
        return best

    def _by_use(self, network):
        """Relative strengths of the penalty, Tensor of shape (n_edges, 3)."""
        layer, rows = network.layers[0], self._fitted
        share = rows.sample_weight / rows.sample_weight.sum()
        with torch.no_grad():
            features = layer.basis(network.inputs(rows.X))
            variance = layer.edge_std(features, layer.weight, share).square().flatten()
        usual = variance.mean()
        factor = (usual / variance.clamp(min=1e-300)).clamp(
            1 / MOST_CHARGED, MOST_CHARGED
        )
        return factor.cpu().unsqueeze(1) * QuadraticPenalty(1.0).per_edge(len(factor))

    def _learnt(self, structure, data, n_starts, max_iter):
        plan = replace(
            self._plan,
            grid_sizes=(structure.grid_size,),
            grid_eps=structure.grid_eps,
        )
        networks = [self._make_network(structure) for _ in range(n_starts)]
        starts = starting_candidates(networks, data, plan)
        start = from_starts(starts, networks[0], data, plan)
        end = finished(start, data, plan, max(1, max_iter - start.n_iter))
        self.n_iter += start.n_iter + end.n_iter
        return EvidenceFit(end, plan, self.n_iter)

    @property
    def is_constant(self):
        """Whether the target does not vary."""
        target = self._sample.target
        return bool((target == target[:1]).all())

    def exact(self):
        """A network by second-order training; None if it is not clearly better."""
        if self._raw is None or not self._try_exact(self._raw):
            return None
        found, raw = self._tried
        return found if self._gain(raw) > ENOUGH else None

    def _try_exact(self, raw):
        """Train one precise network if that is worth while, and say whether it is.

        It is where hardly any of what a constant leaves on rows held out is left.
        """
        if self._exact_structure is None or not self._plan.loss.has_noise:
            return False
        if self._tried is None:
            constant = self._error(self._held_out.baseline.expand(raw.shape))
            left = self._error(raw) / constant.clamp(min=1e-300)
            if left.amax() >= PRECISE:
                return False
            self._tell("precise network")
            try:
                found = self._learnt(self._exact_structure, self._fitted, 1, MOST_TRIAL)
            except DivergenceError:
                self._exact_structure = None
                return False
            network = found.candidate.network
            self._tried = found, _mean_output([network], self._held_out)
        return True

    def _is_outdone(self, raw):
        """Whether one precise network makes others, with this output, superfluous."""
        if not self._try_exact(raw):
            return False
        return bool((self._error(self._tried[1]) < OUTDONE * self._error(raw)).all())

    def hidden(self, structure, n_members, additive):
        """Networks of a structure, and the weight of their mean beside `additive`.

        Returns
        -------
        shrunk : PathPoint, or None
            None if they are of no use.
        share : float
        """
        if isinstance(additive, EvidenceFit):
            candidate = at_mode(
                additive.candidate, self._fitted, additive.plan, MOST_REFITTING
            )
            self.n_iter += candidate.n_iter
            self._raw = _mean_output([candidate.network], self._held_out)
            moderated = self._moderated(candidate, additive.plan)
            self._rival = min(self._raw, moderated, key=self._loss)
        basis = _network_of(additive).layers[0].basis

        def start():
            return _on_knots_of(basis, self._make_network(structure))

        first, may_mix, trail = start(), n_members > 1, []
        shrunk = self._along_alpha([first], trail=trail)
        share, raw = self._beside_additive(shrunk, may_mix)
        if may_mix and self._gain(raw) > PROMISING:
            others = [start() for _ in range(1, n_members)]
            shrunk = self._along_alpha([first, *others], ahead=trail)
            share, raw = self._beside_additive(shrunk, may_mix)
        has_noise = self._plan.loss.has_noise
        if not self._gain(raw) > (ENOUGH if has_noise else ENOUGH_OF_CLASSES):
            return None, 0.0
        self._raw = self._rival = raw
        return shrunk, share

    def _moderated(self, candidate, plan):
        """Raw output for the rows held out, the uncertainty of a network included."""
        if plan.loss.has_noise:  # it makes no difference
            return self._raw
        posterior = laplace_posterior(
            candidate.network, self._fitted, plan, candidate.prior, candidate.objective
        )
        if posterior is None:
            return self._raw
        network, n_iter = at_posterior_mean(
            candidate.network, self._fitted, plan, candidate.prior, posterior.factor
        )
        self.n_iter += n_iter
        factor = torch.from_numpy(posterior.factor).to(self._raw)
        spread = deviations(network, factor, self._held_out.X)
        return plan.loss.moderated(_mean_output([network], self._held_out), spread)

    def _beside_additive(self, shrunk, may_mix):
        """Weight of the mean of networks, and the output that comes of it."""
        if shrunk is None:
            return 0.0, self._raw
        raw = _mean_output(shrunk.networks, self._held_out)
        share = self._best_share(raw) if may_mix else 1.0
        return share, torch.lerp(self._raw, raw, share)

    def judged(self, hidden, share, additive):
        """The weighted mean of networks and an additive model, for all rows."""
        rows, loss, noise = self._held_out, self._plan.loss, None
        loss = loss.adapted(self._raw, rows.target, rows.sample_weight)
        self._plan = replace(self._plan, loss=loss)
        parts = []
        if hidden is not None:
            networks, alpha = self._on_all_rows(hidden)
            each = share / len(networks)
            parts += [EnsembleMember(network, each, alpha) for network in networks]
        if share < 1:
            network, alpha = self._additive_on_all_rows(additive)
            parts.append(EnsembleMember(network, 1 - share, alpha))
        network, penalty = ensemble_network(parts)
        plan = validated_plan(self._plan, network, penalty.alpha)
        prior = Prior.of_alpha(network, penalty.alpha, 1.0, self._data.n_observations)
        if loss.has_noise:
            variance = 0.0
            if loss.is_normal:  # their errors are those of the predictions, too
                variance = variance_without(network, self._data, plan, rows)
                variance = 0.0 if variance is None else variance
            noise = loss.noise_of(self._raw, rows.target, rows.sample_weight, variance)
        message = (
            additive.candidate.message if isinstance(additive, EvidenceFit) else ""
        )
        return ValidatedEnsemble(network, prior, plan, self.n_iter, noise, message)

    def _error(self, raw):
        weight = self._held_out.sample_weight / self._held_out.sample_weight.sum()
        return weight @ self._plan.loss.deviances(raw, self._held_out.target)

    def _best_share(self, raw):
        """Weight of the hidden nodes with which rows held out are predicted best."""
        shares = [step / N_SHARES for step in range(N_SHARES + 1)]
        losses = [self._loss(torch.lerp(self._raw, raw, share)) for share in shares]
        return shares[int(np.argmin(losses))]

    def _loss(self, raw):
        loss = self._plan.loss.value(raw, self._held_out.target)
        return float(self._held_out.sample_weight @ loss)

    def _gain(self, raw):
        """By how much better rows held out are predicted, in its standard errors."""
        loss, target = self._plan.loss, self._held_out.target
        gain = loss.value(self._rival, target) - loss.value(raw, target)
        if loss.has_noise:
            gain = _limited(gain, self._held_out.sample_weight)
        return _certainty(gain, self._held_out.sample_weight)

    def _along_alpha(
        self, networks, strengths=1.0, first=FIRST_ALPHA, *, trail=None, ahead=()
    ):
        """The point of the path whose mean network predicts validation rows best.

        The strength falls by steps, at each of which the networks are trained on from
        where they stand, until the rows held out are predicted no better for some time.
        None if they predict no finite numbers. The first of the networks is added to
        the `trail` after each step; `ahead` is such a trail, of steps that it need not
        take again.
        """
        ahead = list(ahead)
        alpha, best, best_loss, n_worse = first, None, math.inf, 0
        while alpha > LAST_ALPHA / ALPHA_STEP**0.5:
            self._tell(_told_of(networks, alpha))
            begun = [ahead.pop(0)] if ahead else []
            networks = begun + self._all_trained(
                networks[len(begun) :], strengths * alpha, self._fitted
            )
            if trail is not None:
                trail.append(networks[0])
            raw = _mean_output(networks, self._held_out)
            loss = self._loss(raw)
            n_worse = 0 if loss < best_loss else n_worse + 1
            if loss < best_loss:
                best, best_loss = PathPoint(networks, strengths * alpha), loss
            if n_worse == MOST_WORSE or self._is_outdone(raw):
                break
            alpha /= ALPHA_STEP
        return best

    def _on_all_rows(self, shrunk):
        """Networks trained on all rows, under an alpha that falls with their number.

        Up to `MOST_AT_ONCE` rows take part from the first step on; more of them come
        step by step, and those beyond `MOST_USED` never.
        """
        networks, alpha = shrunk
        n_fitted, n_rows = self._fitted.n_rows, self._data.n_rows
        for step in range(1, LAST_STEPS + 1):
            self._tell(_told_of(networks, alpha, "all rows, "))
            ratio = (n_rows / n_fitted) ** (step / LAST_STEPS)
            n_used = min(max(MOST_AT_ONCE, round(n_fitted * ratio)), MOST_USED)
            networks = self._all_trained(
                networks, alpha / ratio, self._data.subsample(n_used)
            )
        return networks, alpha / ratio

    def _additive_on_all_rows(self, additive):
        """An additive model for all rows, and the strength of its penalty."""
        if isinstance(additive, PathPoint):
            (network,), alpha = self._on_all_rows(additive)
            return network, alpha
        candidate, data = additive.candidate, self._data
        for_each_row = len(data.baseline) * candidate.network.n_parameters**2
        some = data.subsample(int(MOST_LAST_PRODUCTS / for_each_row))
        if some.n_rows >= self._sample.n_rows:
            candidate = at_mode(candidate, some, additive.plan, MOST_REFITTING)
            self.n_iter += candidate.n_iter
        return candidate.network, candidate.prior.alpha(data.n_observations).cpu()

    def _all_trained(self, networks, alpha, data):
        """Networks trained on, side by side if there are threads to do so."""
        results = parallel_map(partial(self._trained, alpha=alpha, data=data), networks)
        self.n_iter += sum(n_iter for _, n_iter in results)
        return [network for network, _ in results]

    def _trained(self, network, alpha, data):
        """A network trained on from where it stands, and the iterations it took.

        If its training diverges it stays as it is.
        """
        steps = max(FEWEST_STEPS, min(MOST_STEPS, MOST_ROW_STEPS // data.n_rows))
        plan = validated_plan(self._plan, network, alpha, steps)
        monitor = Monitor(
            tol=plan.tol,
            n_iter_no_change=N_ITER_NO_CHANGE,
            early_stopping=False,
            validation=None,
            observers=[],
        )
        try:
            result = train(
                [network], data, plan, generator=self._generator, monitor=monitor
            )
        except DivergenceError:
            return network, 0
        if result.interrupted:
            raise KeyboardInterrupt
        return result.network, monitor.n_iter


def validated_plan(plan, network, alpha, most_steps=MOST_STEPS):
    """The plan for a network under a penalty that rows held out are to judge, or have.

    Parameters
    ----------
    plan : TrainingPlan
        Whose loss, tolerance and budget are kept.
    network : KANNetwork
    alpha : float or Tensor of shape (n_edges, 3)
        See `QuadraticPenalty`.
    most_steps : int
        Of each training.
    """
    return replace(
        plan,
        solver=LBFGS(),
        penalties=(QuadraticPenalty(alpha),),
        grid_sizes=(network.grid_size,),
        n_grid_updates=min(plan.n_grid_updates, 1),
        max_iter=min(plan.max_iter, most_steps),
        learns_alpha=False,
        judged=True,
    )


def _network_of(additive):
    if isinstance(additive, EvidenceFit):
        return additive.candidate.network
    return additive.networks[0]


def _on_knots_of(basis, network):
    """A network to start from, whose inputs have all or every second knot of a basis.

    Its functions are then among those of the basis.
    """
    grid_size = network.grid_size
    step = basis.grid_size // grid_size
    return resized(network, grid_size, basis.with_grid(basis.grid[:, ::step]))


def _told_of(networks, alpha, where=""):
    """What is trained, in words."""
    kind = "hidden nodes" if len(networks[0].layers) > 1 else "additive model"
    strength = float(torch.as_tensor(alpha).max())
    return f"{where}{len(networks)} x {kind}, alpha {strength:.0e}"


@torch.no_grad()
def _mean_output(networks, data):
    """Mean raw output of networks, Tensor of shape (n_samples, n_outputs)."""
    return data.baseline + sum(network(data.X) for network in networks) / len(networks)


def _limited(gain, weight):
    """Gains of at most some multiple of their median.

    No single outlier, far from all other rows, is to decide. Rows of the wrong class
    are to: they are few, and all that tells a model which is too sure.
    """
    size = np.quantile(
        gain.abs().cpu(), 0.5, weights=weight.cpu(), method="inverted_cdf"
    )
    return gain.clamp(-LARGEST_GAIN * size, LARGEST_GAIN * size)


def _certainty(gain, weight):
    """Mean of the gains in its standard errors; weights count as repetitions."""
    total = weight.sum()
    mean = weight @ gain / total
    variance = weight @ (gain - mean).square() / total
    return float(mean / (variance / total).sqrt().clamp(min=1e-300))
