"""What "auto" and the other settings stand for."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skkan import KANNetwork, SparsityPenalty
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.selection._solver_choice import (
    FIRST_ORDER_ALPHA,
    LM_LIMITS,
    MAX_LBFGS_ROWS,
    SOLVERS,
    check_compatible,
    checked_alpha,
    choose_penalties,
    choose_solver,
    coarser_for_lm,
)
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt, Solver


def make_network(rng, widths=(2, 3, 2), **options):
    x = torch.from_numpy(rng.uniform(-1, 1, (20, widths[0])))
    return KANNetwork.from_samples(widths, x, **options)


def n_parameters(network):
    return sum(weight.numel() for weight in network.weights)


def test_auto_is_second_order_where_it_can_be_afforded(rng):
    """Up to the limit of the multiplications, outputs counted; then by the rows."""
    network = make_network(rng)
    (_, max_products), _ = LM_LIMITS
    most = int(max_products / (2 * n_parameters(network) ** 2))
    assert most > MAX_LBFGS_ROWS
    assert choose_solver("auto", network, 100) == LevenbergMarquardt()
    assert choose_solver("auto", network, most) == LevenbergMarquardt()
    assert choose_solver("auto", network, most + 1) == Adam()


@pytest.mark.parametrize("excess", [0, 1])
def test_auto_is_first_order_for_large_networks(excess, rng, monkeypatch):
    """The normal matrix must fit."""
    network = make_network(rng)
    limits = ((n_parameters(network) - excess, np.inf),)
    monkeypatch.setattr("skkan.selection._solver_choice.LM_LIMITS", limits)
    expected = [LBFGS(), Adam()] if excess else [LevenbergMarquardt()] * 2
    rows = (MAX_LBFGS_ROWS, MAX_LBFGS_ROWS + 1)
    assert [choose_solver("auto", network, n) for n in rows] == expected


def test_default_network_of_a_common_table_is_second_order(rng):
    """Five hidden nodes on ten columns are far from the limit."""
    network = make_network(rng, (10, 5, 1))
    (max_parameters, _), _ = LM_LIMITS
    assert n_parameters(network) < max_parameters
    assert choose_solver("auto", network, 20_000) == LevenbergMarquardt()


def test_fine_grids_stay_second_order_for_few_rows(rng):
    """Between the limits the rows decide; beyond them coarser grids would do."""
    network = make_network(rng, (2, 1), grid_size=400)
    (_, _), (max_parameters, max_products) = LM_LIMITS
    count = n_parameters(network)
    assert 800 < count <= max_parameters
    most = int(max_products / count**2)
    assert choose_solver("auto", network, most) == LevenbergMarquardt()
    assert choose_solver("auto", network, most + 1) == LBFGS()


@pytest.mark.parametrize(
    ("widths", "grid_size", "n_rows", "expected"),
    [
        ((2, 5, 1), 200, 1000, 25),  # 435 parameters; 50 intervals make 810
        ((2, 5, 1), 200, 10**6, None),  # too many rows
        ((30, 10, 1), 10, 1000, None),  # too many edges
    ],
)
def test_grids_are_halved_until_second_order_is_affordable(
    widths, grid_size, n_rows, expected, rng
):
    """Down to what shows the outline of a curve."""
    network = make_network(rng, widths, grid_size=grid_size)
    assert coarser_for_lm(network, n_rows) == expected


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(MAX_LBFGS_ROWS, LBFGS()), (MAX_LBFGS_ROWS + 1, Adam())]
)
def test_auto_with_a_penalty_is_first_order(n_rows, expected, rng):
    """Sparsity terms have no second derivatives to speak of."""
    network = make_network(rng)
    assert choose_solver("auto", network, n_rows, has_penalty=True) == expected


@pytest.mark.parametrize("has_penalty", [False, True])
def test_auto_takes_streams_by_lbfgs(has_penalty, rng):
    """However few rows the first batch has: alpha is not learnt."""
    network = make_network(rng)
    options = {"has_penalty": has_penalty, "streaming": True}
    solver = choose_solver("auto", network, 10, **options)
    assert solver == LBFGS(n_unwhitened_iter=0)


@pytest.mark.parametrize("name", SOLVERS)
def test_named_solvers_are_those_with_their_defaults(name, rng):
    """Whatever the size, since the user says so."""
    solver = choose_solver(name, make_network(rng), 10**9)
    assert solver == SOLVERS[name]()


def test_given_solver_is_taken_as_it_is(rng):
    """Its fields are the user's."""
    network = make_network(rng)
    for solver in (Adam(learning_rate=0.3), LevenbergMarquardt(damping=1.0)):
        assert choose_solver(solver, network, 10) is solver
    assert choose_solver(LBFGS(), network, 10, has_penalty=True) == LBFGS()


# What goes together.


@dataclass(frozen=True)
class Batched(Solver):
    """A solver of a user's, which declares what it offers."""

    uses_batches = True

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        raise NotImplementedError


@pytest.mark.parametrize("setting", ["lm", LevenbergMarquardt(damping=1.0)])
def test_second_order_solver_refuses_a_penalty(setting):
    """It names both parameters, and what to do."""
    check_compatible(setting)
    with pytest.raises(ValueError, match=r"penalty must be None with solver=.*'lbfgs'"):
        check_compatible(setting, SparsityPenalty())


@pytest.mark.parametrize("setting", ["lm", LevenbergMarquardt()])
def test_streams_do_not_learn_penalties(setting):
    with pytest.raises(ValueError, match=r"not learn penalties.*'lbfgs' or 'adam'"):
        check_compatible(setting, streaming=True)
    for fitting in ("auto", "lbfgs", LBFGS(history_size=5), "adam", Batched()):
        check_compatible(fitting, streaming=True)


def test_chunks_take_sums_over_rows_only():
    check_compatible("auto", QuadraticPenalty(1.0), in_chunks=True)
    for setting in ("adam", Adam(), Batched()):
        with pytest.raises(ValueError, match=r"solver must be .*mini-batches.*lbfgs"):
            check_compatible(setting, in_chunks=True)
    with pytest.raises(ValueError, match="penalty must not depend on the rows"):
        check_compatible("lbfgs", SparsityPenalty(), in_chunks=True)
    with pytest.raises(ValueError, match="device must be 'cpu'"):
        check_compatible("lbfgs", device="cuda", in_chunks=True)


# alpha


def test_alpha_auto_is_none(rng):
    """It is learnt, or replaced where it cannot be."""
    assert checked_alpha("auto", make_network(rng)) is None
    (penalty,) = choose_penalties(None, None)
    assert penalty.alpha == FIRST_ORDER_ALPHA


def test_alpha_array_has_a_row_for_each_edge(rng):
    """Also for those of the skip."""
    network = make_network(rng, (2, 3, 2), additive_skip=True)
    alpha = rng.uniform(0, 1, (6 + 6 + 4, 3))
    assert_array_equal(checked_alpha(alpha.tolist(), network), alpha)
    assert checked_alpha(1, network) == 1.0


@pytest.mark.parametrize("shape", [(3,), (15, 3), (16, 2), (16, 3, 1)])
def test_alpha_of_another_shape_is_an_error(shape, rng):
    """It names the shape that the network takes."""
    network = make_network(rng, (2, 3, 2), additive_skip=True)
    with pytest.raises(ValueError, match=r"alpha .* expected shape \(16, 3\), got \("):
        checked_alpha(np.ones(shape), network)


@pytest.mark.parametrize("alpha", [[[1, 2], [3]], [["a"]], [[None]]])
def test_alpha_that_is_no_array_of_numbers_is_an_error(alpha, rng):
    with pytest.raises(ValueError, match=r"alpha as an array .* expected shape"):
        checked_alpha(alpha, make_network(rng))


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf])
def test_unusable_strengths_are_an_error(value, rng):
    """One is enough."""
    network = make_network(rng)
    alpha = np.ones((12, 3))
    alpha[7, 1] = value
    with pytest.raises(ValueError, match=r"alpha .* must be finite and not negative"):
        checked_alpha(alpha, network)


def test_no_alpha_is_no_penalty():
    """Zero everywhere costs no time."""
    assert choose_penalties(0.0, None) == ()
    assert choose_penalties(np.zeros((4, 3)), None) == ()
    sparsity = SparsityPenalty()
    assert choose_penalties(0.0, sparsity) == (sparsity,)
    quadratic, other = choose_penalties(0.5, sparsity)
    assert isinstance(quadratic, QuadraticPenalty)
    assert quadratic.alpha == 0.5
    assert other is sparsity
