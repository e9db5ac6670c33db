"""The structure of a network, chosen by the data: additive, or with hidden nodes, too.

An additive model has one optimum, and the evidence keeps it smooth on fine grids. What
hidden nodes add to it is a matter of starts and of local optima, in which the evidence
is not to be relied on: rows that were held out judge it, and the strength of its
penalty, and how much weight the mean of several such networks gets beside the additive
model.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from skkan._evidence import Prior
from skkan._monitor import Monitor
from skkan._network import KANNetwork
from skkan._penalties import QuadraticPenalty
from skkan._plan import TrainingPlan
from skkan._second_order import (
    STARTING_STRENGTHS,
    Candidate,
    at_mode,
    finished,
    starting_candidates,
)
from skkan._training import adapted_loss, from_starts, train
from skkan._weighted_sum import WeightedSum
from skkan.solvers import LBFGS, DivergenceError

ADDITIVE_GRIDS = (20, 10, 5)  # the finest that is affordable
HIDDEN = ((10,), 10)  # layers and grid size
GRID_EPS = 0.2  # grids that follow the samples more than they are even
# Of second-order training: rows * outputs * parameters^2, for some tenths of a second
# an iteration, and parameters.
MOST_PRODUCTS, MOST_PARAMETERS = 2.5e9, 1000
MOST_LAST_PRODUCTS = 5e10  # the same for the last steps, on all rows
MOST_SEARCHED = 4000  # rows
FEWEST_ROWS = 60  # to look for hidden nodes
N_MEMBERS = 4  # networks with hidden nodes, of which the mean is taken
HELD_OUT = 0.25  # of the rows
MOST_TRIAL = 40  # steps of a precise network, before it is judged
MOST_REFITTING = 20  # steps of an additive model to its mode for other rows
FIRST_ALPHA, ALPHA_STEP, MOST_ALPHAS = 0.1, 10**0.5, 13
MOST_STEPS = 30  # under each alpha: to stop early keeps from noise, too
MOST_WORSE = 3  # steps of alpha in a row
LAST_STEPS = 5  # of alpha, on all rows
N_ITER_NO_CHANGE = 10
N_SHARES = 20  # of the hidden nodes' weight beside the additive model, to choose from
ENOUGH = 1.0  # mean gain by hidden nodes, in its standard errors
LARGEST_GAIN = 20.0  # of a row, in medians
PRECISE = 0.1  # of a constant's error, below which one network may do better
OUTDONE = 0.25  # of the error of several, at which one needs them no more


@dataclass(frozen=True)
class Structure:
    """What a network looks like before it is trained; None where data are to say."""

    hidden_layer_sizes: tuple | None
    grid_size: int | None
    grid_eps: float | None
    additive_skip: bool | None

    def or_else(self, other):
        """The same, with what is left open taken from another structure."""
        own = vars(self)
        return Structure(
            **{
                name: value if own[name] is None else own[name]
                for name, value in vars(other).items()
            }
        )

    def n_parameters(self, inputs, n_outputs):
        """Number of weights of a network between such inputs and outputs."""
        n_functions = self.grid_size + inputs.n_others
        of_first = inputs.n_numbers * n_functions + inputs.n_categories
        widths = [*self.hidden_layer_sizes, n_outputs]
        total = of_first * widths[0]
        total += sum(a * b for a, b in pairwise(widths)) * n_functions
        if self.additive_skip and self.hidden_layer_sizes:
            total += of_first * n_outputs
        return total


class Inputs(NamedTuple):
    """What the number of weights depends on."""

    n_numbers: int
    n_categories: int  # of all inputs that are categories
    n_others: int  # functions of a number beside the intervals of its grid


# What "auto" stands for where there is no search.
WITHOUT_SEARCH = Structure((5,), 5, 1.0, False)


class Options(NamedTuple):
    """Structures among which a search is to choose; one of the first may be missing."""

    additive: Structure | None
    hidden: Structure | None
    exact: Structure | None

    @property
    def grid_eps(self):
        """Of both."""
        return (self.additive or self.hidden).grid_eps


def structure_options(asked, data, inputs):
    """What a search may choose from.

    Parameters
    ----------
    asked : Structure
        What is not open.
    data : TrainingData
    inputs : Inputs

    Returns
    -------
    Options
    """
    n_rows, n_outputs = min(len(data.X), MOST_SEARCHED), data.target.shape[1]

    def affordable(structure):
        size = structure.n_parameters(inputs, n_outputs)
        is_small = n_rows * n_outputs * size**2 <= MOST_PRODUCTS
        return size <= MOST_PARAMETERS and is_small

    additive = None
    for grid_size in ADDITIVE_GRIDS:
        structure = asked.or_else(Structure((), grid_size, GRID_EPS, False))
        if affordable(structure):
            additive = structure
            break
    hidden = None
    if additive is None or len(data.X) >= FEWEST_ROWS:
        sizes, grid_size = HIDDEN
        if additive is not None:
            grid_size = min(grid_size, additive.grid_size)
        hidden = asked.or_else(Structure(sizes, grid_size, GRID_EPS, False))
    exact = asked.or_else(WITHOUT_SEARCH)
    is_open = asked.hidden_layer_sizes is None
    return Options(additive, hidden, exact if is_open and affordable(exact) else None)


class Learnt(NamedTuple):
    """A network that a search has found by evidence, trained on some of the rows."""

    candidate: Candidate
    plan: TrainingPlan  # for the rest of its training
    n_iter: int


class Hidden(NamedTuple):
    """Networks with hidden nodes, trained on the rows that were not held out."""

    networks: list
    alpha: float  # that all of them were trained with
    share: float  # of their mean, beside the additive model


class Judged(NamedTuple):
    """A network that a search has found by rows held out, trained on all rows."""

    network: KANNetwork
    prior: Prior  # that the penalty of the plan amounts to
    plan: TrainingPlan  # with the penalty of its weights
    n_iter: int
    noise: torch.Tensor | None  # (n_outputs,), that the rows held out show


def search_structure(options, make_network, n_members, data, plan, generator):
    """Choose a structure, and train it.

    An additive model comes first. A quarter of the rows is then held out, and networks
    with hidden nodes are trained on the others, with the strength of the penalty with
    which their mean predicts the rows held out best. A weighted mean of it and the
    additive model takes the place of the latter if it predicts these rows better. Where
    hardly any noise is left, a single network trained by second-order steps is more
    precise than all that; it is tried as soon as that shows. With more rows than
    `MOST_SEARCHED` the search sees some of them only.

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

    Returns
    -------
    Learnt or Judged
    """
    search = _Search(make_network, options.exact, data, plan, generator)
    additive, hidden = None, None
    if options.additive is not None:
        additive = search.additive(options.additive)
    if options.hidden is not None and not (additive and search.is_constant):
        hidden = search.hidden(options.hidden, n_members, additive)
    exact = search.exact()
    if exact is None and hidden is not None:
        return search.judged(hidden, additive)
    found = exact or additive
    if found is None:
        raise DivergenceError("no network to start from predicts finite numbers")
    return found._replace(n_iter=search.n_iter)


class _Search:
    """The trainings of a search, and what is known of the rows held out."""

    def __init__(self, make_network, exact, data, plan, generator):
        self._make_network, self._generator = make_network, generator
        self._exact_structure, self._tried = exact, None
        self._data, self._plan = data, plan
        self._sample = data.thinned(MOST_SEARCHED)
        order = torch.randperm(len(self._sample.X), generator=generator)
        is_held_out = torch.zeros(len(order), dtype=torch.bool)
        is_held_out[order[: math.ceil(HELD_OUT * len(order))]] = True
        self._fitted = self._sample.rows(~is_held_out)
        self._held_out = self._sample.rows(is_held_out)
        self._raw = None  # the best prediction of the rows held out
        self.n_iter = 0

    def additive(self, structure):
        """An additive model by second-order training, under the most evidence."""
        found = self._learnt(
            structure, self._sample, len(STARTING_STRENGTHS), self._plan.max_iter
        )
        # Networks with hidden nodes are compared under the loss of this noise.
        network = found.candidate.network
        loss = adapted_loss(self._plan.loss, [network], self._sample)
        self._plan = replace(self._plan, loss=loss)
        return found._replace(plan=replace(found.plan, loss=loss))

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
        return Learnt(end, plan, self.n_iter)

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
        return found if self._is_better(raw) else None

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
        """Networks of a structure, or None if they are of no use beside `additive`."""
        networks = [self._make_network(structure) for _ in range(n_members)]
        if additive is not None:
            basis = additive.candidate.network.layers[0].basis
            networks = [_on_knots_of(basis, network) for network in networks]
        networks, alpha = self._along_alpha(networks)
        share, raw = 1.0, None
        if networks is not None:
            raw = _mean_output(networks, self._held_out)
        if additive is not None:
            candidate = at_mode(
                additive.candidate, self._fitted, additive.plan, MOST_REFITTING
            )
            self.n_iter += candidate.n_iter
            self._raw = _mean_output([candidate.network], self._held_out)
            if networks is None:
                return None
            if n_members > 1:
                share = self._best_share(raw)
            raw = torch.lerp(self._raw, raw, share)
            if not self._is_better(raw):
                return None
        self._raw = raw
        return networks and Hidden(networks, alpha, share)

    def judged(self, hidden, additive):
        """The weighted mean of networks and an additive model, for all rows."""
        networks, alpha, share = hidden
        noise = None
        if self._plan.loss.has_noise:
            rows = self._held_out
            noise = self._plan.loss.noise_of(self._raw, rows.target, rows.sample_weight)
        loss = adapted_loss(self._plan.loss, networks, self._held_out)
        self._plan = replace(self._plan, loss=loss)
        networks, alpha = self._on_all_rows(networks, alpha)
        total = WeightedSum(networks, [share / len(networks)] * len(networks), alpha)
        if share < 1:
            total = total.with_additive(self._on_all_rows_of(additive), share)
        network = total.network()
        plan = replace(
            self._plan_for(network, alpha), penalties=(total.penalty(self._data),)
        )
        prior = Prior.of_alpha(
            network, plan.penalties[0].alpha, 1.0, self._data.n_observations
        )
        return Judged(network, prior, plan, self.n_iter, noise)

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

    def _is_better(self, raw):
        """Whether rows held out are clearly predicted better than before."""
        loss, target = self._plan.loss, self._held_out.target
        gain = loss.value(self._raw, target) - loss.value(raw, target)
        return _certainty(gain, self._held_out.sample_weight) > ENOUGH

    def _along_alpha(self, networks):
        """Networks under the strength whose mean predicts best, and that strength.

        The strength falls by steps, at each of which the networks are trained on from
        where they stand, until the rows held out are predicted no better for some time.
        """
        best, best_loss, n_worse = (None, None), math.inf, 0
        for step in range(MOST_ALPHAS):
            alpha = FIRST_ALPHA / ALPHA_STEP**step
            networks = self._all_trained(networks, alpha, self._fitted)
            raw = _mean_output(networks, self._held_out)
            loss = self._loss(raw)
            n_worse = 0 if loss < best_loss else n_worse + 1
            if loss < best_loss:
                best, best_loss = (networks, alpha), loss
            if n_worse == MOST_WORSE or self._is_outdone(raw):
                break
        return best

    def _on_all_rows(self, networks, alpha):
        """Networks trained on all rows, under an alpha that falls with their number."""
        ratio = len(self._data.X) / len(self._fitted.X)
        for step in range(1, LAST_STEPS + 1):
            now = alpha / ratio ** (step / LAST_STEPS)
            networks = self._all_trained(networks, now, self._data)
        return networks, now

    def _on_all_rows_of(self, additive):
        candidate, data = additive.candidate, self._data
        size = candidate.network.n_parameters
        if len(data.X) * len(data.baseline) * size**2 > MOST_LAST_PRODUCTS:
            return candidate
        candidate = at_mode(candidate, data, additive.plan, MOST_REFITTING)
        self.n_iter += candidate.n_iter
        return candidate

    def _all_trained(self, networks, alpha, data):
        """Networks trained on; one whose training diverges stays as it is."""
        return [self._trained(network, alpha, data) or network for network in networks]

    def _trained(self, network, alpha, data):
        """A network trained on from where it stands; None if that diverges."""
        plan = self._plan_for(network, alpha)
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
            return None
        if result.interrupted:
            raise KeyboardInterrupt
        self.n_iter += monitor.n_iter
        return result.network

    def _plan_for(self, network, alpha):
        """The plan of a network under one strength of the penalty for all edges."""
        return replace(
            self._plan,
            solver=LBFGS(),
            penalties=(QuadraticPenalty(alpha),),
            grid_sizes=(network.grid_size,),
            n_grid_updates=min(self._plan.n_grid_updates, 1),
            max_iter=min(self._plan.max_iter, MOST_STEPS),
            learns_alpha=False,
        )


def _on_knots_of(basis, network):
    """A network to start from, whose inputs have all or every second knot of a basis.

    Its functions are then among those of the basis.
    """
    grid_size = network.grid_size
    step = basis.grid_size // grid_size
    return network.resized(grid_size, basis.with_grid(basis.grid[:, ::step]))


@torch.no_grad()
def _mean_output(networks, data):
    """Mean raw output of networks, Tensor of shape (n_samples, n_outputs)."""
    return data.baseline + sum(network(data.X) for network in networks) / len(networks)


def _certainty(gain, weight):
    """Mean of the gains in its standard errors; weights count as repetitions.

    Gains are limited to some multiple of their median, so that no single row, far from
    all others, decides.
    """
    gain, weight = gain.cpu(), weight.cpu()
    size = np.quantile(gain.abs(), 0.5, weights=weight, method="inverted_cdf")
    gain = gain.clamp(-LARGEST_GAIN * size, LARGEST_GAIN * size)
    total = weight.sum()
    mean = weight @ gain / total
    variance = weight @ (gain - mean).square() / total
    return float(mean / (variance / total).sqrt().clamp(min=1e-300))
