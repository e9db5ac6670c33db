"""The schedule of a fit: stages, grid updates, interruption, early stopping."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANNetwork, grid_from_samples
from skkan.data._dataset import Dataset
from skkan.losses._regression import SquaredError
from skkan.numerics._threads import single_thread
from skkan.objective._objective import make_objective
from skkan.penalties._quadratic import QuadraticPenalty
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt, Solver
from skkan.solvers._base import DivergenceError
from skkan.training import _hidden_grid_updates
from skkan.training._continuation import continuation_stages
from skkan.training._monitor_and_early_stopping import Monitor, Observer, Validation
from skkan.training._plan import FitPlan
from skkan.training._stages import train


def make_data(rng, n_samples=80):
    X = torch.from_numpy(rng.uniform(-1, 1, (n_samples, 2)))
    y = torch.exp(torch.sin(torch.pi * X[:, :1]) + X[:, 1:] ** 2)
    noise = 0.1 * torch.from_numpy(rng.standard_normal((n_samples, 1)))
    return Dataset(
        X,
        (y - y.mean()) / y.std() + noise,
        torch.from_numpy(rng.uniform(1, 2, n_samples)),
        torch.zeros(1, dtype=torch.float64),
    )


def make_network(data, widths=(2, 2, 1), **options):
    generator = torch.Generator().manual_seed(0)
    return KANNetwork.from_samples(widths, data.X, generator=generator, **options)


def make_plan(**changes):
    plan = FitPlan(
        loss=SquaredError(),
        penalties=(QuadraticPenalty(1e-3),),
        solver=LBFGS(),
        grid_sizes=(5,),
        n_grid_updates=3,
        grid_eps=0.3,
        max_iter=30,
        tol=0.0,
    )
    return replace(plan, **changes)


def make_monitor(*observers, early_stopping=False, validation=None):
    return Monitor(
        tol=0.0,
        n_iter_no_change=10,
        early_stopping=early_stopping,
        validation=validation,
        observers=observers,
    )


def fit(network, data, plan, monitor=None):
    monitor = monitor or make_monitor()
    generator = torch.Generator().manual_seed(0)
    return train([network], data, plan, generator=generator, monitor=monitor)


class Recorder(Solver):
    """Another solver, and what each of its calls began and ended with."""

    def __init__(self, solver):
        self._solver = solver
        self.states, self.budgets, self.begins, self.ends = [], [], [], []
        self.objectives = []

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        self.states.append(state)
        self.budgets.append(max_iter)
        self.begins.append(objective.value(theta))
        self.objectives.append(objective)
        self.ends.append(math.nan)  # unless it ends
        result = self._solver.minimize(
            objective,
            theta,
            max_iter=max_iter,
            monitor=monitor,
            generator=generator,
            state=state,
        )
        self.ends[-1] = objective.value(result.theta)
        return result


class Interrupt(Observer):
    """The user presses Ctrl-C after some iterations, or at the begin of a stage."""

    def __init__(self, after=None, at_stage=None):
        self.after, self.at_stage = after, at_stage
        self.n_stages = 0

    def begin_stage(self, grid_size):
        self.n_stages += 1
        if self.n_stages == self.at_stage:
            raise KeyboardInterrupt

    def end_iteration(self, report):
        self.report = report
        if report.n_iter == self.after:
            raise KeyboardInterrupt
        return False


def output(network, data):
    return network(data.X).detach()


def grids(network):
    return [layer.basis.grid for layer in network.layers]


# Stages


@pytest.mark.parametrize(
    "solver", [LBFGS(), Adam(batch_size=20)], ids=["LBFGS", "Adam"]
)
def test_stage_ends_partition_the_loss_curve(solver, rng):
    """`max_iter` counts per grid, and the boundaries are kept beside the curve."""
    data = make_data(rng)
    grid_sizes = []

    class Watch(Observer):
        def end_iteration(self, report):
            grid_sizes.append(report.grid_size)

    monitor = make_monitor(Watch())
    plan = make_plan(solver=solver, grid_sizes=(5, 10, 20), max_iter=7)
    result = fit(make_network(data), data, plan, monitor)
    assert result.stage_ends == (7, 14, 21)
    assert len(monitor.loss_curve) == 21
    assert grid_sizes == [5] * 7 + [10] * 7 + [20] * 7
    assert result.network.grid_size == 20
    assert not result.converged
    assert not result.interrupted
    assert result.message


def test_result_is_the_network_of_the_last_iteration(rng):
    """Its objective is the last number of the loss curve."""
    data, plan = make_data(rng), make_plan(grid_sizes=(5, 10))
    monitor = make_monitor()
    result = fit(make_network(data), data, plan, monitor)
    objective = make_objective(result.network, data, plan)
    assert_allclose(
        objective.value(objective.start), monitor.loss_curve[-1], rtol=1e-12
    )


def test_fit_is_reproducible_and_leaves_its_arguments(rng):
    """Same seed, same bits; the network to start from is not trained in place."""
    data, plan = make_data(rng), make_plan(solver=Adam(batch_size=16), max_iter=6)
    network = make_network(data)
    before = output(network, data)
    one, two = (fit(network, data, plan).network for _ in range(2))
    assert_array_equal(output(one, data), output(two, data))
    assert_array_equal(output(network, data), before)


def test_coarser_start_is_refined_before_the_first_stage(rng):
    """A warm start with a larger grid goes on from the same function."""
    data = make_data(rng)
    network = make_network(data)
    recorder = Recorder(LBFGS())
    plan = make_plan(solver=recorder, grid_sizes=(15,), max_iter=2)
    objective = make_objective(network, data, replace(plan, penalties=()))
    result = fit(network, data, replace(plan, penalties=()))
    assert_allclose(recorder.begins[0], objective.value(objective.start), rtol=1e-12)
    assert result.network.grid_size == 15


def test_refining_to_a_nested_grid_keeps_the_objective(rng):
    """Without penalties a stage begins where the one before it ended."""
    data = make_data(rng)
    recorder = Recorder(LBFGS())
    plan = make_plan(
        solver=recorder,
        penalties=(),
        grid_sizes=(5, 10, 20, 40),
        n_grid_updates=0,
        max_iter=10,
    )
    fit(make_network(data, additive_skip=True), data, plan)
    assert len(recorder.begins) == 4
    assert_allclose(recorder.begins[1:], recorder.ends[:-1], rtol=1e-12)


def test_observer_can_end_the_fit_after_a_stage(rng):
    """True from `end_stage` means no further grids."""

    class OneStage(Observer):
        def end_stage(self, network):
            return True

    data = make_data(rng)
    plan = make_plan(grid_sizes=(5, 10), max_iter=4)
    result = fit(make_network(data), data, plan, make_monitor(OneStage()))
    assert result.stage_ends == (4,)
    assert result.network.grid_size == 5
    assert not result.interrupted


def test_observer_can_end_a_stage(rng):
    """True from `end_iteration` goes on to the next grid, without a grid update."""

    class Impatient(Observer):
        def end_iteration(self, report):
            return True

    data = make_data(rng)
    recorder = Recorder(LBFGS())
    plan = make_plan(solver=recorder, grid_sizes=(5, 10), max_iter=20)
    result = fit(make_network(data), data, plan, make_monitor(Impatient()))
    assert result.stage_ends == (1, 2)
    assert len(recorder.begins) == 2


def test_converged_fit_says_so(rng):
    """A linear model reaches its minimum within the budget, and stops there."""
    data = make_data(rng)
    network = make_network(data, widths=(2, 1))
    result = fit(network, data, make_plan(max_iter=2000))
    assert result.converged
    assert result.stage_ends[-1] < 2000
    plan = make_plan()
    objective = make_objective(result.network, data, plan)
    _, gradient = objective.value_and_grad(objective.start)
    # It ends where the objective's differences drown in rounding, the root of 1e-16.
    assert_allclose(gradient, 0, atol=1e-6)


def test_non_finite_data_raise(rng):
    """A fit must not return a network of NaN."""
    data = make_data(rng)
    target = data.target.clone()
    target[0] = torch.nan
    with pytest.raises(DivergenceError, match="the objective is not finite"):
        fit(make_network(data), replace(data, target=target), make_plan())


# Grid updates


@pytest.mark.parametrize(
    "solver", [LBFGS(), Adam(batch_size=20)], ids=["LBFGS", "Adam"]
)
@pytest.mark.parametrize(("max_iter", "n_updates"), [(40, 5), (41, 3), (3, 5), (1, 5)])
def test_updates_take_place_in_the_first_half(solver, max_iter, n_updates, rng):
    """Evenly, each followed by at least one iteration; the second half is quiet."""
    data = make_data(rng)
    recorder = Recorder(solver)
    plan = make_plan(solver=recorder, max_iter=max_iter, n_grid_updates=n_updates)
    result = fit(make_network(data), data, plan)
    n_updates = min(n_updates, max_iter // 2)
    each = max_iter // 2 // n_updates if n_updates else 0
    refit_iter = each // 2  # of these small budgets; ten at most
    expected = [each - refit_iter, refit_iter] * n_updates
    assert recorder.budgets == [*expected, max_iter - sum(expected)]
    assert result.n_iter == max_iter
    assert result.stage_ends == (max_iter - n_updates * refit_iter,)


@pytest.mark.parametrize(
    "solver", [LBFGS(), Adam(batch_size=20)], ids=["LBFGS", "Adam"]
)
def test_solver_starts_afresh_after_each_update(solver, rng):
    """Its memory belongs to coefficients of other splines."""
    data = make_data(rng)
    recorder = Recorder(solver)
    fit(make_network(data), data, make_plan(solver=recorder, grid_sizes=(5, 10)))
    assert recorder.states == [None] * 14  # 2 stages of 3 updates and 7 searches


@pytest.mark.parametrize("margin", [0.0, 0.06])
def test_updated_grids_follow_the_hidden_activations(margin, rng):
    """The grid of a hidden layer fits what passes through it, or stays as it is."""
    n_kept = 0
    for seed in range(6):
        data = make_data(np.random.default_rng(seed))
        recorder = Recorder(LBFGS())
        plan = make_plan(solver=recorder, max_iter=20, hidden_margin=margin)
        fit(make_network(data), data, plan)
        networks = [
            objective.network_at(objective.start) for objective in recorder.objectives
        ]
        # Searches and trials of updates take turns.
        for before, after in zip(networks[::2], networks[1::2], strict=False):
            first, hidden = grids(after)
            assert_array_equal(first, grids(before)[0])
            expected = grid_from_samples(
                after.layers[0](data.X).detach(),
                5,
                grid_eps=0.3,
                margin=margin,
                sample_weight=data.sample_weight,
            )
            assert_allclose(hidden, expected, rtol=1e-12, atol=1e-12)
        for trial, following in zip(networks[1::2], networks[2::2], strict=False):
            n_kept += torch.equal(grids(trial)[1], grids(following)[1])
    assert n_kept > 1


@pytest.mark.parametrize("seed", range(5))
def test_updates_never_raise_the_objective(seed):
    """In the reference implementation all rises of the loss happen there."""
    data = make_data(np.random.default_rng(seed))
    recorder = Recorder(LBFGS())
    plan = make_plan(
        solver=recorder, n_grid_updates=8, grid_eps=0.02, penalties=(), max_iter=48
    )
    fit(make_network(data), data, plan)
    # Searches and trials of updates take turns.
    begins, ends = recorder.begins[::2], recorder.ends[::2]
    assert len(begins) == 9
    for begin, end in zip(begins[1:], ends[:-1], strict=True):
        # A network that is kept goes from vector to network and back: same bits.
        assert begin <= end


@pytest.mark.parametrize("factor", [-100.0, torch.nan])
def test_update_that_would_raise_the_objective_is_undone(factor, rng, monkeypatch):
    """Here every update blows the function up, or makes it NaN."""
    calls = []

    def worse(network, data, grid_eps, margin):
        calls.append(grid_eps)
        return network.with_weights([factor * weight for weight in network.weights])

    data = make_data(rng)
    recorder = Recorder(LBFGS())
    network = make_network(data)
    monkeypatch.setattr(_hidden_grid_updates, "with_updated_hidden_grids", worse)
    # Four iterations a search leave one to settle, which cannot undo that.
    result = fit(network, data, make_plan(solver=recorder, max_iter=12))
    assert len(calls) == 3
    begins, ends = recorder.begins[::2], recorder.ends[::2]  # without the trials
    assert begins[1:] == ends[:-1]
    for after, before in zip(grids(result.network), grids(network), strict=True):
        assert_array_equal(after, before)


def test_no_updates_leave_the_grids(rng):
    """Bit for bit, whatever the solver does to the coefficients."""
    data = make_data(rng)
    network = make_network(data)
    recorder = Recorder(LBFGS())
    result = fit(network, data, make_plan(solver=recorder, n_grid_updates=0))
    assert recorder.budgets == [30]
    for after, before in zip(grids(result.network), grids(network), strict=True):
        assert_array_equal(after, before)


def test_network_without_hidden_layers_has_no_updates(rng):
    """Its inputs never move."""
    data = make_data(rng)
    network = make_network(data, widths=(2, 1))
    recorder = Recorder(LBFGS())
    result = fit(network, data, make_plan(solver=recorder))
    assert recorder.budgets == [30]
    assert_array_equal(grids(result.network)[0], grids(network)[0])


# Interruption and early stopping


@pytest.mark.parametrize(
    "solver", [LBFGS(), Adam(batch_size=20)], ids=["LBFGS", "Adam"]
)
@pytest.mark.parametrize("after", [1, 8, 17])
def test_interrupted_fit_keeps_its_last_network(after, solver, rng):
    """Ctrl-C in a notebook must not cost the work so far."""
    data = make_data(rng)
    interrupt = Interrupt(after)
    monitor = make_monitor(interrupt)
    plan = make_plan(solver=solver, grid_sizes=(5, 10), max_iter=12, n_grid_updates=0)
    result = fit(make_network(data), data, plan, monitor)
    assert result.interrupted
    assert len(monitor.loss_curve) == after
    assert result.stage_ends == ((12, after) if after > 12 else (after,))
    expected = output(interrupt.report.network(), data)
    assert_array_equal(output(result.network, data), expected)
    if isinstance(solver, LBFGS):
        objective = make_objective(result.network, data, plan)
        value = objective.value(objective.start)
        assert_allclose(value, min(monitor.loss_curve), rtol=1e-12)


class InterruptedSolver(Solver):
    """Its first iteration takes longer than the user's patience."""

    def minimize(self, *args, **kwargs):
        raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["stage", "iteration"])
def test_interrupt_before_the_end_of_an_iteration_goes_through(where, rng):
    """There is no fit to keep, and the start must not pass for one."""
    data = make_data(rng)
    plan, monitor = make_plan(solver=InterruptedSolver()), make_monitor()
    if where == "stage":
        monitor = make_monitor(Interrupt(at_stage=1))
    with pytest.raises(KeyboardInterrupt):
        fit(make_network(data), data, plan, monitor)


def test_interrupt_between_stages_keeps_the_function(rng):
    """The finer grid may or may not have been made."""
    data = make_data(rng)
    plan = make_plan(grid_sizes=(5, 10), max_iter=6, n_grid_updates=0)
    interrupt = Interrupt(at_stage=2)
    result = fit(make_network(data), data, plan, make_monitor(interrupt))
    assert result.interrupted
    assert result.stage_ends == (6, 6)
    expected = output(interrupt.report.network(), data)
    assert_allclose(output(result.network, data), expected, rtol=0, atol=1e-12)


def overfitting(rng):
    """Few noisy rows and a fine grid: the validation loss rises in the end."""
    data = make_data(rng, n_samples=30)
    held_out = make_data(rng, n_samples=50)
    validation = Validation(
        held_out,
        lambda raw, target, sample_weight: -float((raw - target).abs().mean()),
    )
    plan = make_plan(
        grid_sizes=(5, 20), penalties=(QuadraticPenalty(1e-8),), max_iter=60
    )
    return data, held_out, validation, plan


@pytest.mark.parametrize("interrupt_after", [None, 55])
def test_early_stopping_restores_the_best_network(interrupt_after, rng):
    """Lowest validation loss of all stages, interrupted or not."""
    data, held_out, validation, plan = overfitting(rng)
    observers = [] if interrupt_after is None else [Interrupt(interrupt_after)]
    monitor = make_monitor(*observers, early_stopping=True, validation=validation)
    result = fit(make_network(data), data, plan, monitor)
    curve = monitor.validation_loss_curve
    assert curve[-1] > min(curve)
    assert monitor.best_iteration == 1 + int(np.argmin(curve))
    raw = output(result.network, held_out)
    loss = np.average(
        0.5 * (raw - held_out.target).square().sum(1), weights=held_out.sample_weight
    )
    assert_allclose(loss, min(curve), rtol=1e-12)
    score = monitor.validation_scores[monitor.best_iteration - 1]
    assert_allclose(score, -float((raw - held_out.target).abs().mean()), rtol=1e-12)


def test_validation_alone_does_not_change_the_fit(rng):
    """Without early stopping it is only watched."""
    data, _, validation, plan = overfitting(rng)
    plan = replace(plan, max_iter=15)
    watched = fit(
        make_network(data), data, plan, make_monitor(validation=validation)
    ).network
    expected = fit(make_network(data), data, plan).network
    assert_array_equal(output(watched, data), output(expected, data))


class SecondOrderRecorder(Recorder):
    """The same of a second-order solver, and the problems that it saw."""

    second_order = True

    @property
    def visited(self):
        """Grid size and rows of each of its calls, repetitions left out."""
        problems = [(one.network.grid_size, one.n_rows) for one in self.objectives]
        return [
            one
            for one, before in zip(problems, [None, *problems], strict=False)
            if one != before
        ]


@single_thread
@pytest.mark.parametrize("learns_alpha", [False, True])
def test_second_order_goes_through_the_levels(learns_alpha, rng):
    """Few rows and coarse grids first, then the grids and the rows that there are."""
    data = make_data(rng, 2500)
    recorder = SecondOrderRecorder(LevenbergMarquardt())
    network = make_network(data, grid_size=9)
    plan = make_plan(
        solver=recorder, grid_sizes=(9,), max_iter=60, learns_alpha=learns_alpha
    )
    monitor = make_monitor()
    result = fit(network, data, plan, monitor)
    assert recorder.visited == continuation_stages(network, 2500)
    assert monitor.n_iter <= 60
    assert_array_equal(
        result.network.layers[0].basis.grid, network.layers[0].basis.grid
    )


@single_thread
def test_second_order_begins_anew_where_coarse_grids_show_nothing(rng):
    """Six periods in five intervals look like noise, of which there is some, too."""
    data = make_data(rng, 1000)
    noise = torch.from_numpy(rng.standard_normal((1000, 1)))
    data = replace(data, target=torch.sin(20 * data.X[:, :1]) + noise)
    recorder = SecondOrderRecorder(LevenbergMarquardt())
    network = make_network(data, grid_size=20)
    plan = make_plan(solver=recorder, grid_sizes=(20,), max_iter=500, learns_alpha=True)
    generator, monitor = torch.Generator().manual_seed(0), make_monitor()
    train([network, network], data, plan, generator=generator, monitor=monitor)
    assert continuation_stages(network, 1000) == [(5, 1000), (10, 1000), (20, 1000)]
    assert recorder.visited == [(5, 1000), (20, 1000)]
