"""KANRegressor under its losses: peers, solvers, extreme targets, other modules."""

import pickle
import runpy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq, minimize
from scipy.special import huber
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import QuantileRegressor, TweedieRegressor
from sklearn.metrics import (
    d2_pinball_score,
    d2_tweedie_score,
    mean_pinball_loss,
    mean_tweedie_deviance,
)

from skkan import KANRegressor
from skkan.data._scaling import NORMAL_MEDIAN
from skkan.fitted._target import RegressionTarget
from skkan.inspection import (
    EdgeFunctionDisplay,
    KANDisplay,
    edge_functions,
    edge_table,
    prune,
)
from skkan.losses._registry import REGRESSION_LOSSES
from skkan.losses._robust import (
    HUBER_DELTA,
    NEAR_SHARE,
    NEAR_WIDTH,
    SIMILAR,
    Huber,
    Pinball,
)
from skkan.penalties._quadratic import quadratic_form
from skkan.solvers import LevenbergMarquardt
from skkan.symbolic import (
    SymbolicKANRegressor,
    fit_symbolic,
    to_latex,
    to_numpy_source,
    to_sympy,
)
from skkan.training._settings import SCHEDULE

# Small budgets end fits early, which is what the warning is for.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LOSSES = [
    {"loss": name, **({"quantile": 0.8} if name == "quantile" else {})}
    for name in REGRESSION_LOSSES
]
OTHERS = LOSSES[1:]
ROBUST = [loss for loss in LOSSES if REGRESSION_LOSSES[loss["loss"]].is_adaptive]
LOG_LINKED = [name for name, loss in REGRESSION_LOSSES.items() if loss.has_log_link]
SOLVERS = ["lm", "lbfgs", "adam"]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["loss"])
other_losses = pytest.mark.parametrize("loss", OTHERS, ids=lambda loss: loss["loss"])
log_linked = pytest.mark.parametrize("name", LOG_LINKED)
every_solver = pytest.mark.parametrize("solver", SOLVERS)
SHORT = {"hidden_layer_sizes": (2,), "max_iter": 12, "random_state": 0}
ADDITIVE = {"hidden_layer_sizes": (), "solver": "lm", "random_state": 0}
EXACT = {"max_iter": 1000, "tol": 0.0, "n_iter_no_change": 1000}


def target_scaling(model):
    """Between the units of the target and the core."""
    return model.fitted_model_.preprocessing.target_scaling


def table(name, rng, n_samples=150, n_outputs=None):
    """Features, and a target of the kind that the loss takes."""
    X = rng.uniform(-1, 1, (n_samples, 3))
    f = X[:, 0] + X[:, 1] ** 2
    if n_outputs is not None:
        f = np.column_stack([(-1) ** output * f for output in range(n_outputs)])
    if name in LOG_LINKED:
        return X, around_mean(name, 3 * np.exp(f), 1.0, rng)
    return X, f + 0.3 * rng.normal(size=f.shape)


def around_mean(name, mean, dispersion, rng):
    """Target of a mean, whose variance is in proportion to the loss's power of it."""
    power = REGRESSION_LOSSES[name]().variance_power
    if power == 1:
        return dispersion * rng.poisson(mean / dispersion)
    if power == 2:
        return rng.gamma(1 / dispersion, dispersion * mean)
    # Sums of a Poisson number of gamma variables (Jorgensen, The Theory of Dispersion
    # Models, 1997).
    count = rng.poisson(mean ** (2 - power) / (dispersion * (2 - power)))
    shape = (2 - power) / (power - 1)
    size = dispersion * (power - 1) * mean ** (power - 1)
    return np.where(count > 0, rng.gamma(np.maximum(count, 1) * shape, size), 0.0)


def penalised_features(model, X):
    """Basis values in which the model's quadratic penalty is that of Ridge."""
    basis = model.network_.layers[0].basis
    scaled = torch.from_numpy(model.fitted_model_.scaled(X))
    root = torch.linalg.cholesky(quadratic_form(basis.grid_size, 3, has_base=True))
    features = torch.linalg.solve_triangular(
        root, basis(scaled).detach().mT, upper=False
    )
    return features.mT.flatten(1).numpy()


# Equality with trusted peers.


@log_linked
def test_additive_model_is_the_generalised_linear_model_on_its_features(name, rng):
    """With the mean as an offset: the deviance is that of y / mean, up to a factor."""
    X, y = table(name, rng)
    weight = rng.integers(1, 4, len(y)).astype(float)
    alpha, loss = 0.05, REGRESSION_LOSSES[name]()
    model = KANRegressor(loss=name, alpha=alpha, **ADDITIVE, **EXACT)
    model.fit(X, y, sample_weight=weight)
    mean = np.average(y, weights=weight)
    power = loss.variance_power
    null = mean_tweedie_deviance(
        y, np.full_like(y, mean), sample_weight=weight, power=power
    )
    if power < 2:  # in units of the deviance around the mean
        assert_allclose(
            target_scaling(model).scale, [null ** (1 / (2 - power))], rtol=1e-12
        )
    alpha *= (target_scaling(model).scale[0] / mean) ** loss.noise_power
    glm = TweedieRegressor(
        power=power,
        alpha=alpha,
        link="log",
        fit_intercept=False,
        tol=1e-10,
        max_iter=10_000,
    )
    features = penalised_features(model, X)
    glm.fit(features, y / mean, sample_weight=weight)
    # The peer's search ends where rounding hides progress.
    assert_allclose(model.predict(X), mean * glm.predict(features), rtol=1e-5)


def test_robust_losses_end_with_the_noise_of_their_residuals(rng, monkeypatch):
    """The last training is under a loss that fits what it leaves."""
    X, y = table("huber", rng)
    y[::15] += 20 * rng.normal(size=10)
    for loss in ROBUST:
        kind, seen = REGRESSION_LOSSES[loss["loss"]], []
        adapted = kind.adapted

        def spy(self, *rows, adapted=adapted, seen=seen):
            seen.append(adapted(self, *rows))
            return seen[-1]

        monkeypatch.setattr(kind, "adapted", spy)
        model = KANRegressor((), alpha=0.01, solver="lm", **loss).fit(X, y)
        residuals = (y - model.predict(X)) / target_scaling(model).scale
        if kind is Huber:
            (used,) = seen[-1].delta
            ordered, half = np.sort(residuals), len(y) // 2
            shortest = (ordered[half - 1 :] - ordered[: 1 - half or None]).min()
            expected = HUBER_DELTA * shortest / (2 * NORMAL_MEDIAN)
        else:
            (used,) = seen[-1].width
            near = NEAR_SHARE * (1 - loss["quantile"])
            expected = NEAR_WIDTH * np.quantile(np.abs(residuals), near)
        assert len(seen) > 1
        assert 1 / SIMILAR - 0.02 < used / expected < SIMILAR + 0.02


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_second_order_training_minimises_the_huber_loss(delta, rng, monkeypatch):
    """At a given delta, to the last digits of brute force."""
    X, y = table("huber", rng)
    y[::15] += 20 * rng.normal(size=10)
    monkeypatch.setattr(Huber, "adapted", lambda self, *rows: self)
    loss = property(lambda self: Huber(delta=delta))
    monkeypatch.setattr(RegressionTarget, "loss", loss)
    model = KANRegressor(
        (),
        loss="huber",
        alpha=0.01,
        solver=LevenbergMarquardt(decrease_tolerance=1e-14),
        **EXACT,
    ).fit(X, y)
    features = penalised_features(model, X)
    target = (
        target_scaling(model).transform(y) - model.fitted_model_.preprocessing.baseline
    )

    def objective(w):
        error = features @ w - target
        slope = features.T @ np.clip(error, -delta, delta) / len(y) + 0.01 * w
        return huber(delta, error).mean() + 0.005 * w @ w, slope

    start = np.zeros(features.shape[1])
    options = {"gtol": 1e-11, "maxiter": 5000}
    best = minimize(objective, start, jac=True, options=options)
    assert_allclose(model.loss_, best.fun, rtol=1e-9)
    predicted = target_scaling(model).transform(model.predict(X))
    # The root of the rounding of the objective, on which the peer's search ends.
    assert_allclose(
        predicted - model.fitted_model_.preprocessing.baseline,
        features @ best.x,
        atol=1e-5,
    )


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_additive_quantiles_are_the_linear_programs(quantile, rng, monkeypatch):
    """QuantileRegressor on the features, nearly without penalty and smoothing."""
    X, y = table("quantile", rng, n_samples=400)
    monkeypatch.setattr(Pinball, "adapted", lambda self, *rows: self)
    loss = property(lambda self: Pinball(quantile, 1e-3))
    monkeypatch.setattr(RegressionTarget, "loss", loss)
    model = KANRegressor(
        (),
        loss="quantile",
        quantile=quantile,
        alpha=1e-6,
        solver=LevenbergMarquardt(decrease_tolerance=1e-12),
        **EXACT,
    ).fit(X, y)
    features = penalised_features(model, X)
    peer = QuantileRegressor(quantile=quantile, alpha=0, fit_intercept=False)
    target = (
        target_scaling(model).transform(y) - model.fitted_model_.preprocessing.baseline
    )
    expected = peer.fit(features, target).predict(features)
    predicted = (
        target_scaling(model).transform(model.predict(X))
        - model.fitted_model_.preprocessing.baseline
    )

    def loss(raw):
        return np.maximum(
            quantile * (target - raw), (quantile - 1) * (target - raw)
        ).mean()

    # Smoothing adds at most width log 2 to a loss, and the penalty about as much.
    assert loss(expected) <= loss(predicted) <= loss(expected) + 2e-3 * np.log(2)
    assert_allclose(predicted, expected, atol=0.15)


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("law", ["two deviations", "exponential", "outliers"])
def test_quantiles_of_any_noise_are_the_linear_programs(law, quantile, rng):
    """Where noise is small or dense the smoothing is narrow, whatever the others are.

    The share of the loss by which the peer's minimum is missed: what is left is the
    penalty's, a ten-thousandth.
    """
    X = rng.uniform(-1, 1, (600, 1))
    noise = {
        "two deviations": np.where(X[:, 0] < 0, 0.02, 1.0) * rng.normal(size=600),
        "exponential": rng.exponential(size=600),
        "outliers": rng.normal(size=600) + 100 * (rng.uniform(size=600) < 0.3),
    }[law]
    y = X[:, 0] + noise
    model = KANRegressor((), loss="quantile", quantile=quantile, alpha=1e-7)
    model.fit(X, y)
    features = penalised_features(model, X)
    peer = QuantileRegressor(quantile=quantile, alpha=0, fit_intercept=False)
    target = (
        target_scaling(model).transform(y) - model.fitted_model_.preprocessing.baseline
    )
    best = target_scaling(model).scale * peer.fit(features, target).predict(features)
    best += (
        target_scaling(model).centre
        + target_scaling(model).scale * model.fitted_model_.preprocessing.baseline
    )
    least = mean_pinball_loss(y, best, alpha=quantile)
    reached = mean_pinball_loss(y, model.predict(X), alpha=quantile)
    assert least <= reached * (1 + 1e-9)
    assert_allclose(reached, least, rtol=0.01)


@log_linked
def test_validation_score_is_d2_of_the_deviance(name, rng):
    X, y = table(name, rng)
    X_val, y_val = table(name, rng)
    model = KANRegressor((), loss=name, alpha=0.01, early_stopping=True, random_state=0)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    power = REGRESSION_LOSSES[name]().variance_power
    expected = d2_tweedie_score(y_val, model.predict(X_val), power=power)
    assert_allclose(model.best_validation_score_, expected, rtol=1e-9)


def test_validation_score_of_quantiles_is_d2_of_the_pinball_loss(rng):
    X, y = table("quantile", rng)
    X_val, y_val = table("quantile", rng)
    model = KANRegressor((), loss="quantile", quantile=0.8, early_stopping=True)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    expected = d2_pinball_score(y_val, model.predict(X_val), alpha=0.8)
    # The peer's empirical quantile lies between the same two rows.
    assert_allclose(model.best_validation_score_, expected, atol=2e-3)


@other_losses
def test_validation_score_of_a_constant_target(loss, rng):
    """As with R2: 0, and never a division by zero."""
    X, y = table(loss["loss"], rng)
    model = KANRegressor(early_stopping=True, **loss, **SHORT)
    model.fit(X, y, X_val=X[:5], y_val=np.full(5, 2.0))
    assert set(model.validation_scores_) <= {0.0, 1.0}


# What a loss is for.


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_cover_their_share_of_new_rows(quantile, rng):
    """Of noise whose deviation depends on a feature."""
    X, f = make_friedman1(6000, random_state=0)
    y = f + rng.normal(size=6000) * (0.3 + 2 * X[:, 3])
    model = KANRegressor((), loss="quantile", quantile=quantile, random_state=0)
    model.fit(X[:1000], y[:1000])
    below = y[1000:] <= model.predict(X[1000:])
    # Three deviations of the share of 1,000 training rows, and the smoothing.
    deviation = np.sqrt(quantile * (1 - quantile) / 1000)
    assert_allclose(below.mean(), quantile, atol=3 * deviation + 0.004)


def test_outliers_in_y_do_not_move_huber(rng):
    X, f = table("huber", rng)
    y = f.copy()
    y[::10] += 1e3
    clean = KANRegressor((), loss="huber", random_state=0).fit(X, f).predict(X)
    moved = KANRegressor((), loss="huber", random_state=0).fit(X, y).predict(X)
    # A tenth of outliers on one side moves the median by an eighth of the deviation.
    assert np.sqrt(np.mean((moved - clean) ** 2)) < 0.15


@pytest.mark.parametrize("share", [0.26, 0.33, 0.45])
@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_huber_withstands_outliers_in_nearly_half_of_the_rows(share, solver, rng):
    """On one side they move the fit by what the loss of the settled noise says.

    With e outliers far above and normal noise the fit is moved by b deviations, where
    (1 - e) E[clip(b - r, -d, d)] = e d, and d is 1.345 times half the length of the
    shortest interval with half of the rows, 0.5 / (1 - e) of the normal ones.
    """
    x = np.linspace(-1, 1, 2001)
    noise = norm.ppf(rng.permutation(np.arange(2001) + 0.5) / 2001)
    far = np.diff(np.floor(share * np.arange(2002))) > 0  # as many everywhere
    y = x + 0.1 * noise + 1e3 * far
    model = KANRegressor((), loss="huber", solver=solver, alpha=1e-3, tol=1e-6)
    model.fit(x[:, None], y)
    half = norm.ppf(0.5 + 0.25 / (1 - share))
    grid = norm.ppf((np.arange(10_000) + 0.5) / 10_000)

    def pull(moved, delta):
        inner = np.clip(moved - grid, -delta, delta).mean()
        return (1 - share) * inner - share * delta

    moved = np.median(model.predict(x[:, None]) - x)
    least, most = (
        0.1 * brentq(pull, 0, 10, args=(HUBER_DELTA * half / NORMAL_MEDIAN * factor,))
        for factor in (1 / SIMILAR, SIMILAR)  # to which the noise is settled
    )
    # A tenth is left for the sample.
    assert 0.9 * least < moved < 1.1 * most


def test_dispersion_of_counts_is_that_of_poisson_or_more(rng):
    """Rare counts have little deviance, which must not pass for little variance."""
    X = rng.uniform(-1, 1, (2000, 2))
    rare = rng.poisson(0.05 * np.exp(X[:, 0])).astype(float)
    model = KANRegressor((), loss="poisson", random_state=0).fit(X, rare)
    assert_allclose(model.dispersion_, 1.0, rtol=1e-9)
    spread = 5.0 * rng.poisson(20 * np.exp(X[:, 0]))
    model = KANRegressor((), loss="poisson", random_state=0).fit(X, spread)
    assert_allclose(model.dispersion_, 5.0, rtol=0.1)
    # Rates with their exposure as weight are counts, too.
    exposure = rng.uniform(0.1, 1, 2000)
    rates = rng.poisson(0.1 * exposure) / exposure
    model = KANRegressor((), loss="poisson", random_state=0)
    model.fit(X, rates, sample_weight=exposure)
    assert_allclose(model.dispersion_, 1.0, rtol=1e-9)


def test_each_output_of_counts_has_the_least_dispersion_of_its_own(rng):
    """Counts of ten thousand do not have that of counts of one, in whatever unit."""
    X = rng.uniform(-1, 1, (1000, 2))
    mean = np.exp(np.sin(3 * X[:, 0]) + X[:, 1])
    y = rng.poisson(np.c_[mean, 1e4 * mean])
    model = KANRegressor((), loss="poisson", random_state=0).fit(X, y)
    predicted = model.predict(X)
    pearson = ((y - predicted) ** 2 / predicted).mean(axis=0)
    # In place of the Pearson statistic the deviance, per degree of freedom.
    assert_allclose(model.dispersion_, pearson, rtol=0.15)
    # The noise that is learnt is the mean of both.
    assert_allclose(predicted[:, 1], 1e4 * mean, rtol=0.1)
    rates = np.c_[y[:, 0], y[:, 1] + 0.5]  # only the first are counts
    model.fit(X, rates)
    assert model.dispersion_[0] >= 1


def test_dispersion_of_gamma_is_its_inverse_shape(rng):
    X = rng.uniform(-1, 1, (2000, 2))
    y = rng.gamma(10, np.exp(X[:, 0]))
    model = KANRegressor((), loss="gamma", random_state=0).fit(X, y)
    # The deviance of a gamma of shape 10 is 1.7% above the dispersion.
    assert_allclose(model.dispersion_, 0.1, rtol=0.1)


# Invariants.


@every_solver
@every_loss
def test_weights_are_repetitions(loss, solver, rng):
    X, y = table(loss["loss"], rng, n_samples=60)
    count = rng.integers(1, 4, 60)
    model = KANRegressor(solver=solver, **loss, **SHORT)
    weighted = clone(model).fit(X, y, sample_weight=count)
    repeated = model.fit(np.repeat(X, count, 0), np.repeat(y, count, 0))
    assert_array_equal(weighted.predict(X), repeated.predict(X))


@every_loss
def test_units_do_not_matter(loss, rng):
    """A factor of a power of two changes no bit of the scaled problem."""
    X, y = table(loss["loss"], rng)
    if loss["loss"] == "poisson":
        y = y + 0.5  # whole numbers are counts, whose unit is the count
    model = KANRegressor(solver="lm", **loss, **SHORT)
    one = clone(model).fit(X, y).predict(X)
    # The logarithm of the unit is added to that of the mean, and rounded.
    rtol = 1e-6 if loss["loss"] == "poisson" else 1e-9
    for unit in (2.0**-990, 2.0**-40, 2.0**10, 2.0**1012):
        other = model.fit(X, unit * y).predict(X)
        assert_allclose(other, unit * one, rtol=rtol)


@every_loss
def test_noise_and_evidence_are_in_units_of_the_target(loss, rng):
    """The density of c y is that of y over c, in which the noise has its power of c."""
    X, y = table(loss["loss"], rng)
    y = y + 0.5  # whole numbers are counts, whose unit is the count
    model = KANRegressor(solver="lm", **loss, **SHORT)
    one, other = clone(model).fit(X, y), clone(model).fit(X, 1024 * y)
    power = REGRESSION_LOSSES[loss["loss"]]().noise_power
    fall = one.log_evidence_ - other.log_evidence_
    assert_allclose(fall, 0.5 * power * len(y) * np.log(1024), rtol=1e-6, atol=1e-6)
    if loss["loss"] in LOG_LINKED:
        assert_allclose(other.dispersion_, 1024**power * one.dispersion_, rtol=1e-6)
    if loss["loss"] == "squared_error":
        assert_allclose(other.noise_std_, 1024 * one.noise_std_, rtol=1e-9)


@every_solver
@every_loss
def test_several_targets(loss, solver, rng):
    """Without hidden layers and with one alpha, they are models of their own."""
    X, y = table(loss["loss"], rng, n_outputs=2)
    settings = {**SHORT, "hidden_layer_sizes": (), "alpha": 0.01}
    if solver != "adam":
        settings |= {"max_iter": 300, "tol": 0.0, "n_iter_no_change": 300}
    model = KANRegressor(solver=solver, **loss, **settings)
    both = clone(model).fit(X, y).predict(X)
    assert both.shape == y.shape
    for output in range(2):
        alone = clone(model).fit(X, y[:, output]).predict(X)
        # Searches end elsewhere; Adam's after 12 passes, the adapted loss of one
        # output when that of the other asks for it.
        scale = np.std(y[:, output])
        loose = solver == "adam" or loss["loss"] in ("huber", "quantile")
        assert_allclose(both[:, output], alone, atol=(0.2 if loose else 1e-3) * scale)


@every_solver
@every_loss
def test_solvers_agree(loss, solver, rng):
    """On a convex problem there is one optimum."""
    X, y = table(loss["loss"], rng)
    settings = {"hidden_layer_sizes": (), "alpha": 0.1, "random_state": 0, **loss}
    best = KANRegressor(solver="lm", **settings).fit(X, y)
    model = KANRegressor(solver=solver, **settings).fit(X, y)
    loose = 0.1 if solver == "adam" else 0.02
    assert_allclose(model.predict(X), best.predict(X), atol=loose * np.std(y))


@every_loss
def test_warm_start_and_streams_go_on(loss, rng):
    X, y = table(loss["loss"], rng)
    model = KANRegressor((), alpha=0.1, warm_start=True, **loss).fit(X, y)
    before = model.predict(X)
    assert_allclose(model.fit(X, y).predict(X), before, atol=0.02 * np.std(y))
    stream = KANRegressor((), solver="adam", random_state=0, **loss)
    for _ in range(30):
        stream.partial_fit(X, y)
    assert np.corrcoef(stream.predict(X), before)[0, 1] > 0.9
    assert_array_equal(pickle.loads(pickle.dumps(stream)).predict(X), stream.predict(X))


@every_loss
def test_trainings_under_an_adapted_loss_belong_to_the_last_stage(loss, rng):
    """Two grids, two stages, and no more iterations than the budget of each."""
    X, y = table(loss["loss"], rng)
    model = KANRegressor((), grid_schedule=(8,), alpha=0.01, max_iter=40, **loss)
    model.fit(X, y)
    first, last = model.stage_ends_
    assert first <= 40
    # The value at the start of each adapted training is a point, too.
    assert last - first <= 40 + SCHEDULE.max_loss_updates
    assert last == len(model.loss_curve_)
    assert model.grid_size_ == 8


@other_losses
def test_a_fit_goes_on_under_its_own_loss_only(loss, rng):
    X, y = table(loss["loss"], rng)
    model = KANRegressor(warm_start=True, **SHORT).fit(X, y)
    before = model.predict(X)
    model.set_params(**loss)
    with pytest.raises(ValueError, match=r"only be continued with its loss.*afresh"):
        model.fit(X, y)
    assert_array_equal(model.predict(X), before)


@every_loss
def test_structure_is_chosen_and_pruned_under_every_loss(loss, rng):
    """Two of three features matter, whatever the loss."""
    X, y = table(loss["loss"], rng, n_samples=200)
    model = KANRegressor("auto", random_state=0, **loss).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert model.feature_importances_[2] < 0.2
    model = KANRegressor((), prune_threshold="auto", random_state=0, **loss).fit(X, y)
    assert_array_equal(model.feature_importances_ > 0, [True, True, False])
    model = KANRegressor((), alpha=0.01, random_state=0, **loss).fit(X, y)
    assert prune(model, X, y, threshold=0.2).feature_importances_[2] == 0


def test_predictions_of_the_log_link_never_overflow(rng):
    """Straight lines of a logarithm end beyond the largest number."""
    X = np.linspace(0, 1, 50)[:, None]
    for name in LOG_LINKED:
        y = np.exp(30 * X[:, 0])
        model = KANRegressor((), loss=name, extrapolation="linear", alpha=1e-6)
        model.fit(X, y)
        far = model.predict([[1e6], [-1e6], [1e300], [-1e300]])
        assert np.isfinite(far).all()
        assert (far > 0).all()


# Extreme targets.


@every_solver
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_all_counts_but_one_are_zero(size, solver, rng):
    X = rng.normal(size=(80, 2))
    y = np.zeros(80)
    y[7] = size
    model = KANRegressor(loss="poisson", solver=solver, **SHORT).fit(X, y)
    predicted = model.predict(X)
    assert (predicted > 0).all()
    assert predicted.max() < 10 * size


@every_solver
def test_large_counts(solver, rng):
    X = rng.normal(size=(80, 2))
    y = rng.poisson(1e6 * np.exp(0.01 * X[:, 0])).astype(float)
    model = KANRegressor((), loss="poisson", solver=solver, random_state=0).fit(X, y)
    # Mini-batches go by the noise of their rows.
    loose = 0.03 if solver == "adam" else 0.01
    assert_allclose(model.predict(X), 1e6 * np.exp(0.01 * X[:, 0]), rtol=loose)


@every_solver
def test_gamma_targets_of_sixteen_orders_of_magnitude(solver, rng):
    X = rng.uniform(-8, 8, (200, 1))
    y = 10 ** X[:, 0]
    model = KANRegressor((), loss="gamma", solver=solver, random_state=0).fit(X, y)
    predicted = model.predict(X)
    assert np.isfinite(predicted).all()
    assert (predicted > 0).all()
    if solver == "lm":
        assert np.corrcoef(np.log(predicted), np.log(y))[0, 1] > 0.99


@pytest.mark.parametrize("quantile", [0.1, 0.9])
def test_all_quantiles_of_a_constant_are_one(quantile, rng):
    """However far the training has come; whether another output varies or not."""
    X = rng.normal(size=(40, 2))
    settings = {"solver": "lm", "random_state": 0, "loss": "quantile"}
    model = KANRegressor((), quantile=quantile, max_iter=8, **settings)
    y = 3.0 + 1e-15 * rng.normal(size=40)  # it may vary by rounding
    assert_allclose(model.fit(X, y).predict(X), y, rtol=1e-12)
    both = model.fit(X, np.column_stack([y, X[:, 0]])).predict(X)
    # The search ends within its tolerance of the minimum.
    assert_allclose(both[:, 0], y, rtol=1e-8)


def test_a_budget_that_ends_before_the_loss_has_settled_is_told(rng):
    """An extreme quantile, at which most rows are, is then predicted far below them."""
    X = rng.integers(0, 4, (40, 1)).astype(float)
    y = (np.arange(40) < 16) * 1.0
    settings = {"loss": "quantile", "quantile": 0.01, "random_state": 0}
    model = KANRegressor((), max_iter=20, **settings)
    with pytest.warns(ConvergenceWarning, match="stopped at max_iter=20"):
        model.fit(X, y)
    assert_allclose(model.set_params(max_iter=500).fit(X, y).predict(X), 0, atol=0.03)


def test_a_batch_of_one_row_is_not_a_constant(rng):
    """A stream of single rows ends at their quantile, not at their median."""
    X, y = rng.uniform(-1, 1, (250, 1)), rng.uniform(0, 1, 250)
    stream = KANRegressor(
        (), loss="quantile", quantile=0.9, solver="adam", random_state=0
    )
    stream.partial_fit(X[:100], y[:100])
    for row in range(100, 250):
        stream.partial_fit(X[[row]], y[[row]])
    # Towards the median it would have moved as far as there.
    assert_allclose(np.mean(y <= stream.predict(X)), 0.9, atol=0.1)


@every_solver
@every_loss
def test_constant_and_tiny_and_huge_targets(loss, solver, rng):
    X = rng.normal(size=(40, 2))
    settings = {"grid_size": 3, "random_state": 0, **loss}
    model = KANRegressor((), solver=solver, **settings)
    # What is left of the random start under a small alpha.
    assert_allclose(model.fit(X, np.full(40, 3.0)).predict(X), 3.0, rtol=0.02)
    for size in (1e-200, 1e200):
        y = size * (1 + (X[:, 0] > 0))
        predicted = clone(model).fit(X, y).predict(X) / size
        assert (predicted > 0).all()
        assert (predicted < 4).all()


# Errors.


def test_targets_that_a_loss_does_not_take(rng):
    X = rng.normal(size=(20, 2))
    y = np.ones(20)
    y[3] = -1
    with pytest.raises(ValueError, match=r"'poisson' requires non-negative y.*to -1:"):
        KANRegressor(loss="poisson").fit(X, y)
    with pytest.raises(ValueError, match=r"sum\(y\) > 0, got only zeros"):
        KANRegressor(loss="poisson").fit(X, np.zeros(20))
    with pytest.raises(ValueError, match=r"sum\(y\) > 0, got only zeros"):
        KANRegressor(loss="poisson").fit(X, np.column_stack([y**2, 0 * y]))
    y[3] = 0
    with pytest.raises(
        ValueError, match=r"'gamma' requires strictly positive y.*to 0:"
    ):
        KANRegressor(loss="gamma").fit(X, y)
    with pytest.raises(ValueError, match="In X_val and y_val: loss='gamma' requires"):
        KANRegressor(loss="gamma").fit(X, y + 1, X_val=X, y_val=y)


def test_quantile_must_be_given(rng):
    X, y = table("quantile", rng)
    with pytest.raises(ValueError, match="quantile must be a number between 0 and 1"):
        KANRegressor(loss="quantile").fit(X, y)
    for quantile in (0.0, 1.0, 1.5, "median"):
        with pytest.raises(ValueError, match="'quantile' parameter"):
            KANRegressor(loss="quantile", quantile=quantile).fit(X, y)


@other_losses
@pytest.mark.parametrize("sizes", [(2,), "auto"])
def test_no_deviation_where_errors_are_not_normal(loss, sizes, rng):
    X, y = table(loss["loss"], rng, n_samples=60)
    model = KANRegressor(**{**SHORT, "hidden_layer_sizes": sizes}, **loss).fit(X, y)
    with pytest.raises(
        ValueError, match=f"not defined for a fit with loss='{loss['loss']}'"
    ):
        model.predict(X, return_std=True)
    assert not hasattr(model, "noise_std_")


# Other modules.


@every_loss
def test_curves_and_intercepts_add_up_to_the_link_of_predictions(loss, rng):
    X, y = table(loss["loss"], rng)
    model = KANRegressor((), alpha=0.01, **loss).fit(X, y)
    terms = [
        edge(X[:, edge.source[1]]) for edge in edge_functions(model) if not edge.removed
    ]
    from skkan.inspection._edge_functions import intercepts

    total = np.sum(terms, axis=0) + intercepts(model)
    if loss["loss"] in LOG_LINKED:
        total = np.exp(total)
    assert_allclose(model.predict(X), total, rtol=1e-10)
    assert len(edge_table(model)) == 3


@log_linked
def test_displays_say_that_curves_add_up_to_a_logarithm(name, rng):
    pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    X, y = table(name, rng)
    model = KANRegressor((), loss=name, random_state=0).fit(X, y)
    display = EdgeFunctionDisplay.from_estimator(model)
    labels = [ax.get_ylabel() for ax in display.figure_.axes]
    assert any("log mean of y" in label for label in labels)
    KANDisplay.from_estimator(model)
    plt.close("all")


@every_loss
def test_exports_predict_what_the_model_predicts(loss, rng, tmp_path):
    """The link included, and finite constants without edges too."""
    sympy = pytest.importorskip("sympy")
    X, y = table(loss["loss"], rng)
    model = KANRegressor((2,), alpha=0.01, max_iter=30, random_state=0, **loss)
    model.fit(X, y)
    path = tmp_path / "law.py"
    path.write_text(to_numpy_source(model))
    formula = runpy.run_path(str(path))["formula"]
    assert_allclose(formula(*X.T), model.predict(X), rtol=1e-9)
    function = sympy.lambdify(sympy.symbols("x0 x1 x2"), to_sympy(model))
    assert_allclose(function(*X.T), model.predict(X), rtol=1e-9)


@log_linked
def test_laws_of_a_mean_are_found(name, rng):
    """exp(a x0 + x1^2), from counts and from gamma targets."""
    X = rng.uniform(-1, 1, (400, 2))
    mean = 50 * np.exp(X[:, 0] + X[:, 1] ** 2)
    power = REGRESSION_LOSSES[name]().variance_power
    y = around_mean(name, mean, 0.05 if power > 1 else 1.0, rng)
    network = KANRegressor((), loss=name, random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y)
    assert model.choices_["x0", "y"] == "x"
    assert model.choices_["x1", "y"] == "x^2"
    assert_allclose(model.predict(X), mean, rtol=0.1)
    assert to_latex(model).startswith("y = ")
    described = fit_symbolic(network, X)
    assert_allclose(described.predict(X), network.predict(X), rtol=0.1)
    again = SymbolicKANRegressor(clone(network)).fit(X, y)
    assert again.choices_ == model.choices_


@pytest.mark.parametrize("loss", ROBUST, ids=lambda loss: loss["loss"])
def test_formulas_of_robust_losses_describe_the_network(loss, rng):
    """The target would be fitted by squared error, which is another question."""
    X, y = table(loss["loss"], rng)
    network = KANRegressor((), random_state=0, **loss).fit(X, y)
    with_target = fit_symbolic(network, X, y + 1e3 * rng.normal(size=len(y)))
    without = fit_symbolic(network, X)
    assert_array_equal(with_target.predict(X), without.predict(X))
