"""Fits that are worse than a constant say so, and those that are not are silent."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from skkan import KANClassifier, KANRegressor
from skkan.estimators import _claims
from skkan.losses._registry import REGRESSION_LOSSES
from skkan.network._jacobian import output_derivatives
from skkan.solvers import Solver, SolverResult
from skkan.strategies import _chosen_structure

SMALL = {"hidden_layer_sizes": (2,), "extrapolation": "linear", "random_state": 0}
USELESS = "predicts its training rows no better than a constant"


@dataclass(frozen=True)
class Lost(Solver):
    """Moves all weights by some length, and calls that convergence."""

    length: float = 3.0

    uses_batches = True

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        theta = theta + self.length
        monitor(theta, objective.value(theta))
        return SolverResult(theta, 1, converged=True, message="")


@dataclass(frozen=True)
class Idle(Solver):
    """Stays where it is, and calls that convergence."""

    second_order = True

    def minimize(self, objective, theta, *, max_iter, monitor, generator, state=None):
        monitor(theta, objective.value(theta))
        return SolverResult(theta, 1, converged=True, message="")


@pytest.fixture
def table(rng):
    X = rng.uniform(-1, 1, (80, 3))
    return X, 1 + X[:, 0] + 0.1 * rng.uniform(size=80)


def regression(loss, y):
    quantile = {"quantile": 0.7} if loss == "quantile" else {}
    return KANRegressor(loss=loss, **quantile), y


CASES = {
    **{loss: lambda y, loss=loss: regression(loss, y) for loss in REGRESSION_LOSSES},
    "two outputs": lambda y: (KANRegressor(), np.column_stack([y, -y])),
    "two classes": lambda y: (KANClassifier(), y > 1),
    "three classes": lambda y: (KANClassifier(), np.digitize(y, [0.7, 1.3])),
    "labels": lambda y: (KANClassifier(), np.column_stack([y > 1, y > 1.5]) * 1),
}


@pytest.mark.parametrize("name", CASES)
def test_every_loss_knows_its_constant(name, table, rng):
    """A solver that goes astray is told, and one that does not is not."""
    X, y = table
    weight = rng.uniform(0.1, 5, len(X))
    model, y = CASES[name](y)
    model.set_params(alpha=1e-3, max_iter=2000, **SMALL).fit(X, y, sample_weight=weight)
    model.set_params(solver=Lost())
    with pytest.warns(ConvergenceWarning, match=f"{USELESS}.*Lost has not begun to"):
        model.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("seed", range(3))
def test_first_order_solver_that_never_began_to_learn(seed):
    """The penalty of steps is so steep that Adam's step length passes its minimum."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 12))
    y = X[:, 0] + 0.1 * rng.normal(size=60)
    model = KANRegressor((), grid_size=200, spline_order=0, solver="adam", alpha=10.0)
    with pytest.warns(ConvergenceWarning, match=rf"{USELESS}.*solver='lm', lower alp"):
        model.set_params(random_state=seed).fit(X, y)
    assert model.score(X, y) < 0


def test_later_fits_are_compared_with_the_constant_of_their_own_rows(table):
    """That of the first fit may be as bad as the network."""
    X, y = table
    model = KANRegressor(alpha=1e-3, warm_start=True, **SMALL).fit(X, y)
    model.set_params(solver=Lost(length=0.0)).fit(X, y)
    with pytest.warns(ConvergenceWarning, match=USELESS):
        model.fit(X, y + 100)


def test_weighted_means_of_networks_are_checked(table, monkeypatch):
    """They are not trained as a whole."""

    def spoiled(state, *args):
        state = trained_already(state, *args)
        network = state.network
        weights = [50 * weight for weight in network.unpacked(network.theta)]
        return replace(state, network=network.with_weights(weights))

    trained_already = _chosen_structure.trained_already
    monkeypatch.setattr(_chosen_structure, "trained_already", spoiled)
    X = table[0][:60, :2]
    y = np.sign(X[:, 0] * X[:, 1])
    with pytest.warns(ConvergenceWarning, match=USELESS):
        KANRegressor(random_state=0).fit(X, y)


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
def test_a_constant_target_is_nothing_to_warn_of(solver, table):
    """It has no variance that could be the measure of an error."""
    X = table[0][:40]
    model = KANRegressor(solver=solver, **SMALL)
    for size in (1000.0, 0.0, -1e-9):
        y = np.full(len(X), size)
        assert_allclose(model.fit(X, y).predict(X), y, rtol=1e-12)
    model.fit(X, np.column_stack([X[:, 0], y + 1]))
    assert_allclose(model.predict(10 * X)[:, 1], y + 1, rtol=1e-12)


@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
def test_early_stopping_that_never_began_to_learn(make, table):
    """No iteration has predicted the validation rows; the one that is kept is any."""
    X, y = table
    if make is KANClassifier:
        y = y > 1
    model = make(early_stopping=True, solver="lm", alpha=1e-3, max_iter=100, **SMALL)
    model.fit(X, y)
    model.set_params(alpha=1e6)
    with pytest.warns(ConvergenceWarning, match=f"{USELESS}.*early_stopping=False"):
        model.fit(X, y)


def test_early_stopping_of_a_network_that_knows_its_rows_by_heart(rng):
    """From its first step on, Newton's method fits noise as it does."""
    X, y = rng.normal(size=(2, 40, 8))
    model = KANRegressor((2,), early_stopping=True, solver="lm", alpha=1e-8)
    with pytest.warns(ConvergenceWarning, match="rows no better.*rows by heart"):
        model.set_params(random_state=0).fit(X, y[:, 0])


def test_early_stopping_at_the_end_of_the_budget(table):
    """It does not stop early where the validation loss is still falling."""
    model = KANRegressor(solver="lbfgs", early_stopping=True, **SMALL).fit(*table)
    with pytest.warns(ConvergenceWarning, match="stopped at max_iter=5"):
        model.set_params(max_iter=5).fit(*table)


def test_streams_are_given_time(table):
    """They are checked once Adam could have taken back its start."""
    X, y = table
    model = KANRegressor(solver="adam", **SMALL)
    for _ in range(110):
        model.partial_fit(X, y)
    model = KANRegressor(solver=Lost(), **SMALL)
    for _ in range(99):
        model.partial_fit(X, y)
    assert model.score(X, y) < 0
    with pytest.warns(ConvergenceWarning, match="constant after 100 passes"):
        model.partial_fit(X, y)


@pytest.mark.filterwarnings("ignore:KANRegressor predicts up to")  # by hardly a prior
@pytest.mark.parametrize("factor", [1.0, 1e-3])
def test_noise_of_a_fit_through_all_rows_is_contradicted(rng, factor):
    """Without a row each prediction misses it by far more than that noise."""
    X = rng.uniform(size=(100, 2))
    y = np.sin(5 * X[:, 0]) + rng.normal(size=100)
    weight = np.full(100, factor)
    model = KANRegressor((), solver="lm", grid_size=60, alpha=1e-12)
    with pytest.warns(ConvergenceWarning, match="noise_std_ that is .* times below"):
        model.fit(X, y, sample_weight=weight)
    model.set_params(alpha="auto").fit(X, y, sample_weight=weight)
    assert 0.8 < model.noise_std_ < 1.2


def test_left_out_errors_are_those_of_fits_without_the_row(rng, monkeypatch):
    """Least squares without each row in turn, with the same penalty."""
    finished = []
    monkeypatch.setattr(_claims, "CHECKS", [lambda fit: finished.append(fit)])
    X = rng.uniform(-1, 1, size=(30, 1))
    y = np.sin(4 * X[:, 0]) + 0.3 * rng.normal(size=30)
    weight = rng.uniform(0.5, 2.0, size=30)
    model = KANRegressor((), solver="lm", alpha=0.02, grid_size=8, tol=1e-12)
    model.fit(X, y, sample_weight=weight)
    (fit,) = finished
    data, network = fit.data, fit.state.network
    features = output_derivatives(network, data.X)[0].T.detach()
    covariance = fit.state.posterior.root(network).matrix()
    weight, target = data.sample_weight, (data.target - data.baseline)[:, 0]
    precision = torch.linalg.inv(covariance.T @ covariance)
    penalty = precision - (weight * features.T) @ features
    errors = []
    for row in range(30):
        others = weight.clone()
        others[row] = 0.0
        products = (others * features.T) @ features + penalty
        weights = torch.linalg.solve(products, features.T @ (others * target))
        errors.append(features[row] @ weights - target[row])
    errors = torch.stack(errors)
    assert_allclose(_claims.left_out_errors(fit, data)[:, 0], errors, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("distance", [0.1, 1.0])
def test_curves_that_cancel_are_told(distance, scale, rng):
    """A difference of two columns that are nearly the same, without noise."""
    X = rng.uniform(-1, 1, (200, 1)) * [1.0, 1.0]
    X[:, 1] += distance * rng.uniform(-0.5, 0.5, 200)
    y = X[:, 0] - X[:, 1]
    ratio = X.std(axis=0).max() / y.std()
    model = KANRegressor((), grid_size=3)
    if ratio < 5:
        assert model.fit(X, scale * y).score(X, scale * y) > 0.99
    else:
        with pytest.warns(ConvergenceWarning, match="curves that cancel") as caught:
            model.fit(X, scale * y)
        (told,) = re.findall(r"by (\S+) standard", str(caught[0].message))
        assert_allclose(float(told), ratio, rtol=0.05)


@pytest.mark.filterwarnings("ignore:KANRegressor stopped at max_iter")
@pytest.mark.parametrize("seed", range(2))
def test_curves_that_cancel_within_a_hidden_node_are_told(seed):
    """Rows of one of two equal columns in another order are predicted far away."""
    rng = np.random.default_rng(seed)
    a, z = rng.normal(size=(2, 150))
    X = np.column_stack([a, a + 1e-3 * rng.normal(size=150), z])
    y = np.sin(2 * a) + 0.3 * rng.normal(size=150)
    model = KANRegressor((1,), solver="lm", alpha=0.0, random_state=seed)
    with pytest.warns(ConvergenceWarning, match="has curves that cancel each other"):
        model.fit(X, y)
    X[:, 1] = rng.permutation(X[:, 1])
    assert np.abs(model.predict(X)).max() > 5 * np.ptp(y)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_predictions_far_beyond_the_target_are_told(scale, rng):
    """A difference of two columns is at most 0.25, until one of them is flipped."""
    X = rng.uniform(-1, 1, (200, 1)) * [1.0, 1.0]
    X[:, 1] += rng.uniform(-0.25, 0.25, 200)
    y = scale * (X[:, 0] - X[:, 1])
    model = KANRegressor((), grid_size=3)
    with pytest.warns(ConvergenceWarning, match="times the range of the") as caught:
        model.fit(X, y)
    (told,) = re.findall(r"up to (\S+) times", str(caught[0].message))
    corners = model.predict([[9.0, -9.0], [-9.0, 9.0]])
    assert (np.abs(corners) > 2 * scale).all()
    beyond = max(corners.max() - y.max(), y.min() - corners.min())
    assert_allclose(float(told), beyond / np.ptp(y), rtol=0.02)  # it has two digits


@pytest.mark.parametrize("n_outliers", [1, 12])
@pytest.mark.parametrize("value", [1e9, -1e5])
def test_targets_that_outweigh_all_others_are_told(n_outliers, value, rng):
    """Least squares follow them; a robust loss and rows without them need not."""
    X = rng.uniform(-1, 1, (300, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=300)
    spoilt = np.where(np.arange(300) < n_outliers, value * rng.uniform(size=300), y)
    model, targets = KANRegressor(()), np.column_stack([y, spoilt])
    with pytest.warns(ConvergenceWarning, match="follows a few rows") as caught:
        model.fit(X, targets)
    (told,) = re.findall(r"where target 1 is .* (\S+) times", str(caught[0].message))
    others = np.argsort(np.abs(spoilt - np.median(spoilt)))[: 300 - 15]
    r2 = r2_score(spoilt[others], model.predict(X[others])[:, 1])
    assert_allclose(float(told), 1 - r2, rtol=0.05)  # it has two digits
    for sane in (model.fit(X, y), model.set_params(loss="huber").fit(X, spoilt)):
        assert np.abs(sane.predict(X) - X[:, 0]).max() < 0.2


def test_weights_that_outweigh_all_others_are_told(table):
    """Rows of small weights are predicted anyhow."""
    X, y = table
    weight = np.where(np.arange(len(y)) < 3, 1e6, 1.0)
    with pytest.warns(ConvergenceWarning, match="follows a few rows"):
        KANRegressor(()).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_skewed_targets_outweigh_no_rows(sigma, rng):
    X = rng.normal(size=(500, 2))
    KANRegressor(()).fit(X, np.exp(X[:, 0] + sigma * rng.normal(size=500)))


def test_rare_events_outweigh_no_rows(rng):
    """The other rows are equal, and their target is the median."""
    X = rng.uniform(-1, 1, (300, 2))
    KANRegressor(()).fit(X, 1.0 * (np.arange(300) == 7))


@pytest.mark.filterwarnings(f"ignore:KANRegressor {USELESS}")
@pytest.mark.parametrize("shape", [(), (1,)])
def test_second_order_has_converged_where_the_gradient_agrees(shape, table):
    """As first order has; a search that ends elsewhere says so."""
    X, y = table
    model = KANRegressor(shape, alpha=1e-3, grid_size=3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="no step lowers the objective"):
        model.set_params(solver=Idle()).fit(X, y)
