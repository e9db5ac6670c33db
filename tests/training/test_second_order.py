"""Second-order training: what is learnt, and that it is learnt from the data."""

from types import SimpleNamespace
from unittest.mock import Mock, patch

import numpy as np
import pytest
from fit_strategies import strategy_of
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.inference._prior import Prior
from skkan.numerics._threads import single_thread
from skkan.solvers import LevenbergMarquardt
from skkan.training import _continuation
from skkan.training._continuation import on_grids
from skkan.training._second_order import (
    _SecondOrderRun,
    starting_states,
    train_second_order,
)
from skkan.training._settings import CONTINUATION

LEARNT = ["alpha_", "noise_std_", "log_evidence_", "n_effective_parameters_"]


def law(X):
    """The function of the KAN paper's scaling law."""
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


@pytest.fixture(scope="module")
def friedman():
    X, y = make_friedman1(400, noise=1.0, random_state=0)
    return train_test_split(X, y, test_size=100, random_state=0)


@pytest.fixture(scope="module")
def additive(friedman):
    X, _, y, _ = friedman
    return KANRegressor(()).fit(X, y)


@pytest.fixture(scope="module")
def layered(friedman):
    X, _, y, _ = friedman
    return KANRegressor((3,), random_state=0).fit(X, y)


def test_refit_with_the_learnt_alpha_is_the_same_model(additive, friedman):
    """A model without hidden layers has one optimum for a penalty."""
    X, X_test, y, _ = friedman
    again = KANRegressor((), solver="lm", alpha=additive.alpha_).fit(X, y)
    # Learning ends near the mode, a fixed penalty at it.
    difference = again.predict(X_test) - additive.predict(X_test)
    assert np.sqrt(np.mean(difference**2)) < 1e-2 * additive.noise_std_
    assert_allclose(again.alpha_, additive.alpha_, rtol=1e-10)
    assert_allclose(again.noise_std_, additive.noise_std_, rtol=1e-2)
    assert_allclose(again.log_evidence_, additive.log_evidence_, atol=1.0)


def test_evidence_peaks_at_the_learnt_alpha(additive, friedman):
    X, _, y, _ = friedman
    for factor in (0.1, 10.0):
        alpha = factor * additive.alpha_
        other = KANRegressor((), solver="lm", alpha=alpha).fit(X, y)
        assert other.log_evidence_ < additive.log_evidence_


@pytest.mark.filterwarnings("ignore:KANRegressor stopped at max_iter")
@pytest.mark.parametrize("seed", range(2))
def test_evidence_of_an_exact_law_is_that_of_the_weights(seed):
    """Far from the mode it fell to -15,000, below that of additive models.

    Normal errors as large as the residuals are an upper limit. Each weight that the
    rows determine costs at most about the logarithm of prior over posterior deviation.
    """
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (150, 2))
    y = X[:, 0] * X[:, 1]
    model = KANRegressor((2,), grid_size=5, random_state=seed).fit(X, y)
    error, n = np.std(y - model.predict(X)), len(y)
    limit = -n * (np.log(error) + 0.5 * np.log(2 * np.pi * np.e))
    cost = np.log(np.sqrt(n) * np.std(y) / error)
    assert 0 < limit - model.log_evidence_ < cost * model.n_effective_parameters_


def test_noise_is_found(layered):
    """It is 1 in the law that made the table."""
    assert 0.8 < layered.noise_std_ < 1.3
    assert 20 < layered.n_effective_parameters_ < 120


@pytest.mark.parametrize("hidden_layer_sizes", [(), (3,)])
def test_intervals_cover_later_targets(hidden_layer_sizes):
    """A share of 0.9 within 0.05, where chance alone has a deviation of 0.01."""
    X, y = make_friedman1(1400, noise=1.0, random_state=1)
    model = KANRegressor(hidden_layer_sizes, random_state=0).fit(X[:400], y[:400])
    mean, std = model.predict(X[400:], return_std=True)
    assert_array_equal(mean, model.predict(X[400:]))
    assert 0.85 < np.mean(np.abs(y[400:] - mean) < 1.645 * std) < 0.95


def test_uncertainty_is_in_the_units_of_the_target(additive, friedman):
    X, X_test, y, _ = friedman
    scaled = KANRegressor(()).fit(X, 1000 * y - 5)
    std = additive.predict(X_test, return_std=True)[1]
    assert_allclose(scaled.predict(X_test, return_std=True)[1], 1000 * std, rtol=1e-3)
    shift = len(y) * np.log(1000)
    assert_allclose(scaled.log_evidence_, additive.log_evidence_ - shift, atol=0.1)


def test_outputs_have_their_own_noise(rng):
    X = rng.uniform(-1, 1, size=(400, 2))
    noise = rng.normal(size=(400, 2)) * [0.1, 2.0]
    y = np.column_stack([X[:, 0] ** 2, 3 * X[:, 1]]) + noise
    model = KANRegressor(()).fit(X, y)
    assert_allclose(model.noise_std_, [0.1, 2.0], rtol=0.15)
    assert model.predict(X, return_std=True)[1].shape == (400, 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
def test_weights_are_repetitions_for_the_evidence(make, rng):
    X = rng.uniform(-1, 1, size=(60, 2))
    y = (X[:, 0] + 0.3 * rng.normal(size=60) > 0) * 1
    count = rng.integers(0, 3, size=60)
    weighted = make((2,), random_state=0, max_iter=40)
    repeated = clone(weighted)
    weighted.fit(X, y, sample_weight=count)
    repeated.fit(np.repeat(X, count, axis=0), np.repeat(y, count))
    assert_array_equal(weighted.alpha_, repeated.alpha_)
    assert weighted.log_evidence_ == repeated.log_evidence_
    assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_more_grid_does_not_hurt(rng):
    """Where the source's error rises from 5e-6 to 3.4e-2."""
    X, X_test = rng.uniform(-1, 1, size=(2, 300, 2))
    model = KANRegressor((1,), warm_start=True, random_state=0)
    errors = []
    for grid_size in (5, 20, 100):
        model.set_params(grid_size=grid_size).fit(X, law(X))
        errors.append(np.sqrt(np.mean((model.predict(X_test) - law(X_test)) ** 2)))
    assert errors[0] < 5e-2
    assert errors[1] < errors[0] / 10
    assert errors[2] < 2 * errors[1] + 1e-4


@pytest.mark.parametrize(
    ("hidden_layer_sizes", "n_rows", "grid_size"),
    [((), 300, 20), ((), 300, 80), ((2,), 1000, 20)],
)
def test_fine_grids_show_what_coarse_ones_cannot(
    hidden_layer_sizes, n_rows, grid_size, rng
):
    """Six periods in 5 or 10 intervals look like noise, in 20 they do not."""
    X, X_test = rng.uniform(-1, 1, size=(2, n_rows, 2))
    y = np.sin(20 * X[:, 0]) + 0.1 * rng.normal(size=n_rows)
    model = KANRegressor(hidden_layer_sizes, grid_size=grid_size, random_state=0)
    assert model.fit(X, y).score(X_test, np.sin(20 * X_test[:, 0])) > 0.95


def test_irrelevant_inputs_lose_their_edges(rng):
    X = rng.uniform(-1, 1, size=(300, 5))
    y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=300)
    model = KANRegressor(()).fit(X, y)
    assert model.feature_importances_[2:].max() < 0.02
    # The second curve is straight: what is charged for curvature has grown.
    assert model.alpha_[1, 1] > 100 * model.alpha_[0, 1]


def test_probabilities_are_moderated_without_changing_the_class():
    X, y = load_iris(return_X_y=True)
    model = KANClassifier((), random_state=0).fit(X, y)
    probability = model.predict_proba(X)
    assert_array_equal(model.predict(X), probability.argmax(axis=1))
    raw = model._raw(model._validated(X))
    unmoderated = np.exp(raw - raw.max(axis=1, keepdims=True))
    unmoderated /= unmoderated.sum(axis=1, keepdims=True)
    assert (probability.max(axis=1) < unmoderated.max(axis=1)).all()
    assert not hasattr(model, "noise_std_")


def test_far_fewer_steps_than_the_budget_suffice_without_hidden_layers():
    """The objective is quadratic: one step, and one more to see that it is done."""
    X, y = load_diabetes(return_X_y=True)
    solver = LevenbergMarquardt(damping=0.0)
    model = KANRegressor((), solver=solver, alpha=0.1).fit(X, y)
    assert len(model.loss_curve_) == 1


def test_another_solver_leaves_nothing_of_the_posterior(friedman):
    X, _, y, _ = friedman
    model = KANRegressor((), solver="lm").fit(X, y)
    assert all(hasattr(model, name) for name in LEARNT)
    model.set_params(solver="lbfgs", max_iter=1000).fit(X, y)
    assert not any(hasattr(model, name) for name in LEARNT)
    with pytest.raises(ValueError, match="fit with solver='lm'"):
        model.predict(X, return_std=True)


def test_sparsity_needs_a_first_order_solver(friedman):
    X, _, y, _ = friedman
    model = KANRegressor(solver="lm", penalty=SparsityPenalty())
    with pytest.raises(ValueError, match="set solver='lbfgs' or 'adam'"):
        model.fit(X, y)


def test_subsamples_come_before_many_rows(rng):
    """Rows grow from 2,000 to all; the last iterations see all of them."""
    X = rng.uniform(-1, 1, size=(9000, 2))
    model = KANRegressor((1,), random_state=0, max_iter=60).fit(X, law(X))
    assert np.sqrt(np.mean((model.predict(X) - law(X)) ** 2)) < 1.5e-2
    assert len(model.loss_curve_) < model.n_iter_


def test_a_posterior_that_rounding_forbids_is_warned_of(monkeypatch, friedman):
    """The model still predicts; what is missing is missing, not made up."""
    X, _, y, _ = friedman
    monkeypatch.setattr(
        "skkan.training._final_posterior.laplace_posterior", lambda *args: None
    )
    with pytest.warns(ConvergenceWarning, match="Raise alpha, or choose a smaller"):
        model = KANRegressor(()).fit(X, y)
    assert not any(hasattr(model, name) for name in LEARNT)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("name", ["additive", "layered"])
def test_learnt_alpha_serves_the_default_solver(name, friedman, request):
    """Strengths that differ by orders of magnitude are beyond first-order solvers."""
    X, X_test, y, y_test = friedman
    learnt = request.getfixturevalue(name)
    again = clone(learnt).set_params(random_state=0, alpha=learnt.alpha_).fit(X, y)
    assert hasattr(again, "alpha_")
    assert again.score(X_test, y_test) > learnt.score(X_test, y_test) - 0.02


@pytest.mark.filterwarnings("ignore:KANRegressor stopped at max_iter")
@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_warm_start_keeps_what_an_earlier_fit_found(solver, rng):
    """On its grids, with all rows, from the first iteration on."""
    X, X_test = rng.uniform(-1, 1, size=(2, 3000, 2))
    model = KANRegressor(
        (1,), grid_size=20, solver=solver, warm_start=True, random_state=0
    ).fit(X, law(X))
    before = np.sqrt(np.mean((model.predict(X_test) - law(X_test)) ** 2))
    model.set_params(solver="lm", max_iter=2).fit(X, law(X))
    after = np.sqrt(np.mean((model.predict(X_test) - law(X_test)) ** 2))
    assert after < 1.1 * before


def test_noise_of_dead_nodes_is_that_of_the_residuals(rng):
    """Nodes without data give no observations."""
    X, y = rng.normal(size=(100, 1)), rng.normal(size=100)
    model = KANRegressor((20,), random_state=0).fit(X, y)
    residual = np.sqrt(np.mean((y - model.predict(X)) ** 2))
    assert model.noise_std_ >= residual


@pytest.mark.filterwarnings("ignore:KANRegressor has no posterior")
def test_end_for_rounding_is_told_as_such():
    X, y = make_friedman1(300, noise=1.0, random_state=0)
    X[0, 0] = 1e9
    model = KANRegressor((3,), extrapolation="linear", random_state=0)
    with pytest.warns(ConvergenceWarning, match="rounding hides the evidence"):
        model.fit(X, y)


def make_start(**settings):
    """What a fit of a small table begins with: networks, data and plan."""
    X, y = make_friedman1(300, noise=1.0, random_state=0)
    model = KANRegressor((3,), random_state=0, **settings)
    strategy = strategy_of(model, X, y)
    return SimpleNamespace(
        networks=strategy.networks, data=strategy.problem.data, plan=strategy.plan
    )


@single_thread
def test_no_edge_dies_on_a_coarse_grid():
    """Precisions stay below those of the start, until the last grids."""
    start = make_start(grid_size=8)
    rows, last = (start.data, start.plan), start.networks[0]
    state = starting_states(start.networks, *rows)[0]
    coarse = train_second_order(on_grids(state, 4, last), *rows, 40)
    assert (coarse.prior.precision <= state.prior.precision * (1 + 1e-12)).all()
    fine = train_second_order(on_grids(coarse, 8, last), *rows, 40)
    assert fine.prior.precision.max() > 100 * state.prior.precision.max()


@single_thread
def test_start_that_is_far_behind_is_given_up():
    start = make_start()
    rows = start.data, start.plan
    state = starting_states(start.networks, *rows)[0]
    alone = train_second_order(state, *rows, 100)
    out_of_reach = alone.score + 1e6
    behind = train_second_order(state, *rows, 100, min_score=out_of_reach)
    assert behind.n_iter <= alone.n_iter / 2
    assert behind.message == "too far behind another start"


@single_thread
def test_prior_follows_the_units_of_the_nodes():
    """Else a node that is divided by its deviation would be charged anew."""
    start = make_start()
    state = starting_states(start.networks, start.data, start.plan)[0]
    moves, update = [], _SecondOrderRun.update_hidden_grids

    def watched(run):
        moves.append(update(run))
        return moves[-1]

    scaled = Mock(wraps=Prior.with_scaled_nodes)
    with (
        patch.object(_SecondOrderRun, "update_hidden_grids", watched),
        patch.object(Prior, "with_scaled_nodes", lambda *arguments: scaled(*arguments)),
    ):
        train_second_order(state, start.data, start.plan, 40)
    moved = [scales for scales in moves if scales is not None]
    assert moved
    assert [call.args[2] for call in scaled.call_args_list] == moved


@pytest.mark.parametrize("hidden_layer_sizes", [(2,), "auto"])
def test_more_rows_refine_what_some_have_told(
    hidden_layer_sizes, monkeypatch, change_settings
):
    """In few steps, and the law is the better for it."""
    change_settings("training", "CONTINUATION", min_rows=300)
    change_settings("training", "CONTINUATION", max_rows_for_evidence=1500)
    change_settings("selection", "SEARCH_SPACE", max_rows=600)
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (6000, 2))
    law = np.sin(2 * X[:, 0]) * X[:, 1]
    y = law + 0.05 * rng.normal(size=6000)
    model = KANRegressor(hidden_layer_sizes, random_state=0)
    few = model.fit(X[:1500], y[:1500]).predict(X)
    calls = Mock(wraps=train_second_order)
    monkeypatch.setattr(_continuation, "train_second_order", calls)
    many = model.fit(X, y).predict(X)
    steps = {len(data.X): n for _, data, _, n, *_ in (c.args for c in calls.mock_calls)}
    assert 1500 in steps
    max_iter = CONTINUATION.max_iter_per_stage
    assert all(n <= max_iter for n_rows, n in steps.items() if n_rows > 1500)
    assert np.std(many - law) < 0.8 * np.std(few - law) < 0.01
    assert_allclose(model.noise_std_, 0.05, rtol=0.05)
