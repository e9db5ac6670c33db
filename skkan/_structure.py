"""The structure of a network, chosen by the data: additive, or with hidden nodes.

An additive model has one optimum, and the evidence keeps it smooth on fine grids. What
hidden nodes add to it is a matter of starts and of local optima, in which the evidence
is not to be relied on: rows that were held out judge it, and the strength of its
penalty, and the mean of several networks is taken.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from skkan._evidence import Prior
from skkan._monitor import Monitor
from skkan._penalties import QuadraticPenalty
from skkan._plan import TrainingPlan
from skkan._second_order import (
    STARTING_STRENGTHS,
    Candidate,
    at_mode,
    finished,
    starting_candidates,
)
from skkan._training import from_starts, train
from skkan.solvers import LBFGS, DivergenceError, LevenbergMarquardt

ADDITIVE_GRIDS = (20, 10, 5)  # the finest that is affordable
HIDDEN = ((5,), 10)  # layers and grid size
GRID_EPS = 0.2  # grids that follow the samples more than they are even
# Of second-order training: rows * outputs * parameters^2, for some tenths of a second
# an iteration, and parameters.
MOST_PRODUCTS, MOST_PARAMETERS = 2.5e9, 1000
MOST_LAST_PRODUCTS = 5e10  # the same for the last steps, on all rows
MOST_SEARCHED = 4000  # rows
FEWEST_ROWS = 60  # to look for hidden nodes
N_MEMBERS = 3  # networks with hidden nodes, of which the mean is taken
HELD_OUT = 0.25  # of the rows
MOST_REFITTING = 20  # steps of an additive model to its mode for other rows
FIRST_ALPHA, ALPHA_STEP, MOST_ALPHAS = 3e-2, 10.0, 7
MOST_STEPS = {"lm": 15, "lbfgs": 200}  # under each alpha
MOST_WORSE = 2  # steps of alpha in a row
N_ITER_NO_CHANGE = 10
ENOUGH = 0.5  # mean gain by hidden nodes, in its standard errors
LARGEST_GAIN = 20.0  # of a row, in medians


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

    def n_parameters(self, n_inputs, n_outputs, n_others):
        """Number of weights, with `n_others` functions an edge beside the intervals."""
        widths = [n_inputs, *self.hidden_layer_sizes, n_outputs]
        n_edges = sum(a * b for a, b in pairwise(widths))
        if self.additive_skip and self.hidden_layer_sizes:
            n_edges += n_inputs * n_outputs
        return n_edges * (self.grid_size + n_others)


# What "auto" stands for where there is no search.
WITHOUT_SEARCH = Structure((5,), 5, 1.0, False)


class Options(NamedTuple):
    """Structures among which a search is to choose; one of the two may be missing."""

    additive: Structure | None
    hidden: Structure | None

    @property
    def grid_eps(self):
        """Of both."""
        return (self.additive or self.hidden).grid_eps


def structure_options(asked, data, n_others):
    """What a search may choose from.

    Parameters
    ----------
    asked : Structure
        What is not open.
    data : TrainingData
    n_others : int
        Functions of an edge beside the intervals of its grid.

    Returns
    -------
    Options
    """
    n_rows, n_outputs = min(len(data.X), MOST_SEARCHED), data.target.shape[1]
    additive = None
    for grid_size in ADDITIVE_GRIDS:
        structure = asked.or_else(Structure((), grid_size, GRID_EPS, False))
        size = structure.n_parameters(data.X.shape[1], n_outputs, n_others)
        if size <= MOST_PARAMETERS and n_rows * n_outputs * size**2 <= MOST_PRODUCTS:
            additive = structure
            break
    hidden = None
    if additive is None or len(data.X) >= FEWEST_ROWS:
        hidden = asked.or_else(Structure(*HIDDEN, GRID_EPS, False))
    return Options(additive, hidden)


class Additive(NamedTuple):
    """An additive model that a search has found, trained on some of the rows."""

    candidate: Candidate
    plan: TrainingPlan  # for the rest of its training
    n_iter: int


class Ensemble(NamedTuple):
    """Networks with hidden nodes that a search has found, trained on all rows."""

    networks: list
    prior: Prior  # that their penalty amounts to
    plan: TrainingPlan  # of their training
    n_iter: int
    error: torch.Tensor  # (n_outputs,), mean squared error of their mean, held out


def search_structure(options, make_network, n_members, data, plan, generator):
    """Choose a structure, and train it.

    An additive model comes first. A quarter of the rows is then held out, and networks
    with hidden nodes are trained on the others, with the strength of the penalty that
    predicts the rows held out best. They take the place of the additive model if their
    mean predicts these rows better. With more rows than `MOST_SEARCHED` the search sees
    some of them only.

    Parameters
    ----------
    options : Options
    make_network : callable
        make_network(structure) gives a network to start from, each time another one.
    n_members : int
        Number of networks with hidden nodes.
    data : TrainingData
    plan : TrainingPlan
        Of additive models.
    generator : torch.Generator
        For the choice of the rows to hold out.

    Returns
    -------
    Additive or Ensemble
    """
    search = _Search(make_network, data, plan, generator)
    additive, ensemble = None, None
    if options.additive is not None:
        additive = search.additive(options.additive)
    if options.hidden is not None:
        ensemble = search.ensemble(options.hidden, n_members, additive)
    if ensemble is not None:
        return ensemble
    if additive is None:
        raise DivergenceError("no network to start from predicts finite numbers")
    return additive._replace(n_iter=search.n_iter)


class _Search:
    """The trainings of a search, and how many iterations they took."""

    def __init__(self, make_network, data, plan, generator):
        self._make_network, self._generator = make_network, generator
        self._data, self._plan = data, plan
        self._sample = data.thinned(MOST_SEARCHED)
        self.n_iter = 0

    def additive(self, structure):
        """An additive model by second-order training, under the most evidence."""
        networks = [self._make_network(structure) for _ in STARTING_STRENGTHS]
        starts = starting_candidates(networks, self._sample, self._plan)
        start = from_starts(starts, networks[0], self._sample, self._plan)
        budget = max(1, self._plan.max_iter - start.n_iter)
        end = finished(start, self._sample, self._plan, budget)
        self.n_iter += start.n_iter + end.n_iter
        plan = replace(self._plan, grid_sizes=(structure.grid_size,))
        return Additive(end, plan, self.n_iter)

    def ensemble(self, structure, n_members, additive):
        """Networks of a structure; None if their mean is no better than `additive`."""
        fitted, held_out = self._parts()
        starts = [self._make_network(structure) for _ in range(n_members)]
        networks, alpha = self._along_alpha(starts, fitted, held_out)
        if networks is None:
            return None
        raw = _mean_output(networks, held_out)
        if additive is not None:
            refitted = at_mode(additive.candidate, fitted, self._plan, MOST_REFITTING)
            self.n_iter += refitted.n_iter
            loss = self._plan.loss
            gain = loss.value(
                _mean_output([refitted.network], held_out), held_out.target
            ) - loss.value(raw, held_out.target)
            if _certainty(gain, held_out.sample_weight) < ENOUGH:
                return None
        weight = held_out.sample_weight / held_out.sample_weight.sum()
        error = weight @ (raw - held_out.target).square()
        networks = [
            self._trained(network, alpha, self._data) or network for network in networks
        ]
        plan = self._plan_for(networks[0], alpha, self._data)
        prior = _prior(networks[0], alpha, self._data)
        return Ensemble(networks, prior, plan, self.n_iter, error)

    def _parts(self):
        """Rows to fit and rows to hold out."""
        sample = self._sample
        order = torch.randperm(len(sample.X), generator=self._generator)
        held_out = torch.zeros(len(order), dtype=torch.bool)
        held_out[order[: math.ceil(HELD_OUT * len(order))]] = True
        return sample.rows(~held_out), sample.rows(held_out)

    def _along_alpha(self, networks, fitted, held_out):
        """Networks under the strength whose mean predicts best, and that strength.

        The strength falls by steps, at each of which the networks are trained on from
        where they stand, until the rows held out are predicted worse twice in a row.
        """
        best, best_loss, n_worse = (None, None), math.inf, 0
        for step in range(MOST_ALPHAS):
            alpha = FIRST_ALPHA / ALPHA_STEP**step
            networks = [
                self._trained(network, alpha, fitted) or network for network in networks
            ]
            loss = self._plan.loss.value(
                _mean_output(networks, held_out), held_out.target
            )
            loss = float(held_out.sample_weight @ loss)
            n_worse = 0 if loss < best_loss else n_worse + 1
            if loss < best_loss:
                best, best_loss = (networks, alpha), loss
            if n_worse == MOST_WORSE:
                break
        return best

    def _trained(self, network, alpha, data):
        """A network trained on from where it stands; None if that diverges."""
        plan = self._plan_for(network, alpha, data)
        monitor = Monitor(
            tol=plan.tol,
            n_iter_no_change=N_ITER_NO_CHANGE,
            early_stopping=False,
            validation=None,
            observers=[],
        )
        try:
            result = train(
                [network],
                data,
                plan,
                generator=self._generator,
                monitor=monitor,
                # It keeps "lm" from looking for a start of its own.
                prior=_prior(network, alpha, data),
            )
        except DivergenceError:
            return None
        if result.interrupted:
            raise KeyboardInterrupt
        self.n_iter += monitor.n_iter
        return result.network

    def _plan_for(self, network, alpha, data):
        """The plan of a network under one strength of the penalty for all edges."""
        n_parameters = network.n_parameters
        products = len(data.baseline) * n_parameters**2
        by_lm = (
            n_parameters <= MOST_PARAMETERS
            and min(len(data.X), MOST_SEARCHED) * products <= MOST_PRODUCTS
            and len(data.X) * products <= MOST_LAST_PRODUCTS
        )
        most_steps = MOST_STEPS["lm" if by_lm else "lbfgs"]
        return replace(
            self._plan,
            solver=LevenbergMarquardt() if by_lm else LBFGS(),
            penalties=(QuadraticPenalty(alpha),),
            grid_sizes=(network.grid_size,),
            max_iter=min(self._plan.max_iter, most_steps),
            learns_alpha=False,
        )


def _prior(network, alpha, data):
    return Prior.of_alpha(network, alpha, 1.0, data.n_observations)


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
