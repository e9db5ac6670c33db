"""Structures chosen by the data: which one is chosen, and how it predicts."""

import copy
import pickle
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.metrics import log_loss

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.inspection import edge_table, prune
from skkan.selection import _regularization_path
from skkan.selection._settings import SEARCH
from skkan.solvers import LBFGS, DivergenceError

NOISE = 0.2  # a sixth of the variance of the product
short = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def product():
    """A law of two factors and noise: 300 rows to fit, 300 to test.

    Two features are one pair, so that all networks are of one kind.
    """
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 2))
    y = np.sin(3 * X[:, 0]) * X[:, 1] + NOISE * rng.normal(size=600)
    return X[:300], y[:300], X[300:], y[300:]


@pytest.fixture(scope="module")
def fitted(product):
    X, y, _, _ = product
    return KANRegressor("auto", random_state=0).fit(X, y)


def test_a_sum_of_curves_is_fitted_by_the_additive_model(rng):
    """On its fine grid, with the evidence of such a model fitted by itself."""
    X = rng.uniform(-1, 1, (200, 3))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * rng.normal(size=200)
    model = KANRegressor("auto", random_state=0).fit(X, y)
    assert model.hidden_layer_sizes_ == ()
    alone = KANRegressor((), grid_size=20, grid_eps=0.2, solver="lm").fit(X, y)
    assert model.grid_size_ == 20
    assert_allclose(model.log_evidence_, alone.log_evidence_, atol=1.0)
    assert_allclose(model.predict(X), alone.predict(X), atol=0.05)


def test_a_product_is_fitted_by_a_mean_of_networks(fitted, product):
    X, y, X_test, y_test = product
    assert fitted.hidden_layer_sizes_ == (40,)
    assert fitted.network_.members.bincount().tolist() == [10] * 4
    noise = NOISE**2 / y_test.var()
    assert fitted.score(X_test, y_test) > 1 - 1.5 * noise
    additive = KANRegressor(()).fit(X, y)
    assert additive.score(X_test, y_test) < 0.5


def test_a_pair_among_many_features_is_found():
    """With less than half the error of nodes that all take all features.

    It is a fifth to two fifths in six draws.
    """
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (800, 8))
    law = np.sin(4 * X[:, 2]) * np.cos(3 * X[:, 5]) + X[:, 0] ** 2 + X[:, 1] + X[:, 2]
    y = law[:400] + 0.3 * rng.normal(size=400)
    model, dense = (
        KANRegressor(interaction_cst=groups, random_state=0).fit(X[:400], y)
        for groups in (None, [range(8)])
    )
    pairs, all_features = (
        np.mean((each.predict(X[400:]) - law[400:]) ** 2) for each in (model, dense)
    )
    assert pairs < all_features / 2
    mask = model.network_.layers[0].mask
    assert_array_equal(mask[mask.sum(1) == 2].argsort(1)[0, -2:].sort()[0], [2, 5])


def test_networks_that_are_promising_for_classes_have_half_their_weight(
    rng, monkeypatch
):
    """Their mean is convex in the weight, so that half of it is safe."""
    X = rng.uniform(-1, 1, (300, 3))
    y = 4 * X[:, 0] * X[:, 1] + rng.logistic(size=300) > 0
    weights = []
    for min_t in (SEARCH.promising_t, np.inf):
        settings = replace(SEARCH, min_t_of_classes=min_t)
        monkeypatch.setattr("skkan.selection._settings.SEARCH", settings)
        results = KANClassifier(random_state=0).fit(X, y).search_results_
        is_hidden = results["param_hidden_layer_sizes"].astype(bool)
        weights.append(results["weight"][is_hidden].max())
        assert_allclose(results["weight"].sum(), 1)
    assert weights[0] == 2 * weights[1] > 0
    chosen = results["reason"][results["weight"] == weights[1]]
    assert chosen[0].startswith(f"chosen: {weights[1]:.0%} of the prediction")
    assert chosen[0].endswith("<= inf, half of the best weight")


def test_a_wave_along_a_direction_is_learnt():
    """Its features act together only, and hidden grids have to follow the nodes."""
    rng = np.random.default_rng(30)
    X = rng.uniform(size=(1300, 6))
    law = np.sin(5 * X.sum(1))
    y = law[:300] + 0.1 * rng.normal(size=300)
    model = KANRegressor(random_state=0).fit(X[:300], y)
    assert model.score(X[300:], law[300:]) > 0.8
    assert model.network_.layers[0].mask.all()  # networks of pairs are of no use
    assert model.network_.members.bincount().tolist() == [10] * 4


def test_a_law_with_hardly_any_noise_is_fitted_by_one_second_order_network(product):
    """It has evidence, and an error of which a mean of networks has several times."""
    X, X_test = product[0][:150], product[2]

    def law(X):
        return np.sin(3 * X[:, 0]) * X[:, 1]

    errors = []
    for seed in range(3):  # a start may be a lucky one
        model = KANRegressor("auto", random_state=seed).fit(X, law(X))
        assert model.hidden_layer_sizes_ == (5,)
        assert model.log_evidence_ > 0
        errors.append(np.std(model.predict(X_test) - law(X_test)))
    assert np.median(errors) < 0.01


def test_deviations_of_a_mean_of_networks_cover_what_they_should(fitted, product):
    """The noise is the error on validation rows; far from the rows there is more."""
    *_, X_test, y_test = product
    mean, std = fitted.predict(X_test, return_std=True)
    assert_array_equal(mean, fitted.predict(X_test))
    assert (std > fitted.noise_std_).all()
    covered = np.mean(np.abs(y_test - mean) < 1.645 * std)
    assert 0.86 < covered < 0.98
    assert_allclose(fitted.noise_std_, NOISE, rtol=0.3)
    _, far = fitted.predict(3 * X_test, return_std=True)
    assert far.mean() > std.mean()


def test_curves_and_copies_of_a_mean_of_networks(fitted, product):
    """It is one network: its edges add up, and it travels as others do."""
    X = product[0]
    assert len(edge_table(fitted)) == fitted.network_.n_edges >= 2 * 40 + 40
    copy = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(copy.predict(X), fitted.predict(X))
    assert not hasattr(fitted, "alpha_")  # each of the networks had its own


def test_the_same_seed_gives_the_same_bits(fitted, product):
    """On any number of threads."""
    X, y, X_test, _ = product
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        again = KANRegressor("auto", random_state=0).fit(X, y)
    finally:
        torch.set_num_threads(before)
    assert_array_equal(again.predict(X_test), fitted.predict(X_test))


@short
def test_weights_are_repetitions(rng):
    X = rng.uniform(-1, 1, (80, 2))
    y = np.sin(3 * X[:, 0]) * X[:, 1] + 0.05 * rng.normal(size=80)
    weight = rng.integers(1, 3, 80)
    model = KANRegressor("auto", max_iter=12, random_state=0)
    one = model.fit(X, y, sample_weight=weight).predict(X)
    other = model.fit(X.repeat(weight, axis=0), y.repeat(weight)).predict(X)
    assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_one_wild_value_in_each_column_does_not_wreck_the_fit():
    X, y = make_friedman1(400, n_features=5, noise=0.5, random_state=0)
    wild = X[:300].copy()
    wild[np.arange(5), np.arange(5)] = 1e6
    model = KANRegressor("auto", random_state=0)
    clean = model.fit(X[:300], y[:300]).score(X[300:], y[300:])
    attacked = model.fit(wild, y[:300]).score(X[300:], y[300:])
    assert clean > 0.97
    assert attacked > clean - 0.02
    far = model.predict(X[300:] + 100)
    width = np.ptp(y[:300])
    assert far.min() > y[:300].min() - width
    assert far.max() < y[:300].max() + width


@pytest.mark.parametrize("n_classes", [2, 4])
def test_classes_that_no_sum_of_curves_can_tell_apart(n_classes, rng):
    """Quadrants: their number, or whether the signs agree."""
    X = rng.uniform(-1, 1, (400, 2))
    right, upper = (X > 0).T.astype(int)
    y = 2 * right + upper if n_classes == 4 else right ^ upper
    model = KANClassifier("auto", random_state=0).fit(X[:300], y[:300])
    loss = log_loss(y[300:], model.predict_proba(X[300:]))
    assert loss < 0.2
    if n_classes == 2:
        assert model.hidden_layer_sizes_ == (40,)


@short
@pytest.mark.parametrize(
    "settings",
    [
        {"penalty": SparsityPenalty(), "solver": LBFGS()},
        {"alpha": np.full((15, 3), 0.01)},
        {"grid_schedule": (8,), "solver": "lbfgs"},
        {"prune_threshold": 0.0, "alpha": 0.01},
    ],
    ids=str,
)
def test_without_a_search_auto_is_the_default(settings, product):
    X, y, _, _ = product
    settings = {"max_iter": 5, "random_state": 0, **settings}
    model = KANRegressor("auto", **settings).fit(X, y)
    assert model.hidden_layer_sizes_ == (5,)
    same = KANRegressor((5,), **settings).fit(X, y)
    assert_array_equal(model.predict(X), same.predict(X))


@short
def test_parameters_that_are_set_are_kept(product):
    X, y, _, _ = product
    model = KANRegressor("auto", grid_size=4, grid_eps=1.0, max_iter=20)
    model.fit(X, y)
    assert model.grid_size_ == 4
    steps = np.diff(model.network_.layers[0].basis.grid.numpy(), axis=1)
    assert_allclose(steps, steps[:, :1].repeat(4, axis=1), rtol=1e-9)


@short
def test_early_stopping_watches_one_network(product):
    X, y, X_val, y_val = product
    model = KANRegressor("auto", early_stopping=True, random_state=0)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.hidden_layer_sizes_ == (10,)
    assert_allclose(model.best_validation_score_, model.score(X_val, y_val))


@short
def test_more_columns_than_second_order_training_can_take(rng):
    """Of many columns, most are found to be of no use; ridge cannot tell them apart."""
    X = rng.normal(size=(450, 200))
    y = X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=450)
    train, test = slice(150), slice(150, None)
    model = KANRegressor("auto", max_iter=20, random_state=0).fit(X[train], y[train])
    ridge = RidgeCV(np.logspace(-2, 5, 15)).fit(X[train], y[train])
    assert model.score(X[test], y[test]) > ridge.score(X[test], y[test]) > 0
    importances = model.feature_importances_
    assert set(np.argsort(importances)[-2:]) == {0, 1}


@short
def test_wide_tables_of_noise_are_predicted_by_a_constant(rng):
    X, y = rng.normal(size=(290, 150)), rng.normal(size=290)
    model = KANRegressor("auto", max_iter=20, random_state=0).fit(X[:90], y[:90])
    assert model.score(X[90:], y[90:]) > -0.1


@short
def test_validated_ensembles_are_trained_further_under_their_penalty(fitted, product):
    """And keep the noise that the validation rows have shown."""
    X, y, X_new, y_new = product
    model = copy.deepcopy(fitted).set_params(warm_start=True)
    before = model.loss_, model.noise_std_, model.score(X_new, y_new)
    thinner = prune(model, X, y, threshold=0.0)
    for later in (thinner, model.fit(X, y)):
        assert later.loss_ <= before[0]
        assert later.noise_std_ == before[1]
        assert later.score(X_new, y_new) > before[2] - 0.05
        _, std = later.predict(X_new, return_std=True)
        assert (std >= before[1]).all()


@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
@pytest.mark.parametrize("max_iter", [1, 6])
def test_no_stage_takes_more_than_its_budget(make, max_iter, product):
    """Callbacks are promised so many iterations; and the user hears of the end."""
    X, y, _, _ = product
    y = y if make is KANRegressor else y > 0
    model = make(max_iter=max_iter, tol=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match=f"stopped at max_iter={max_iter}"):
        model.fit(X[:100], y[:100])
    assert len(model.loss_curve_) <= max_iter


def test_a_constant_target_needs_no_search(product):
    X = product[0]
    model = KANRegressor(random_state=0).fit(X, np.full(300, 7.0))
    assert model.hidden_layer_sizes_ == ()
    assert_allclose(model.predict(X), 7.0, rtol=1e-12)


@short
def test_fits_go_on_from_what_was_found(fitted, product):
    X, y, _, _ = product
    model = pickle.loads(pickle.dumps(fitted)).set_params(warm_start=True)
    model.set_params(max_iter=3).fit(X, y)
    assert model.hidden_layer_sizes_ == (40,)
    assert_allclose(model.score(X, y), fitted.score(X, y), atol=0.05)


def test_long_tails_of_inputs_are_followed():
    """One row in ten lies farther out than five robust deviations."""
    rng = np.random.default_rng(0)
    x, z = np.exp(2 * rng.normal(size=1300)), rng.normal(size=1300)
    law = np.minimum(x, 50) / 10 + np.sin(z)
    X, y = np.column_stack([x, z]), law + 0.2 * rng.normal(size=len(law))
    model = KANRegressor(random_state=0).fit(X[:300], y[:300])
    peer = HistGradientBoostingRegressor().fit(X[:300], y[:300])
    score, of_peer = (m.score(X[300:], law[300:]) for m in (model, peer))
    assert score > of_peer
    assert score > 0.97


def test_an_interrupted_search_keeps_the_earlier_fit(product, monkeypatch):
    X, y, _, _ = product
    model = KANRegressor((), alpha=0.1).fit(X, y)
    before = model.predict(X)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skkan.training._continuation.train_second_order", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(hidden_layer_sizes="auto", alpha="auto").fit(X, y)
    assert_array_equal(model.predict(X), before)


@pytest.fixture
def diverge(monkeypatch):
    """Function that lets some networks diverge on all of so many rows.

    Networks are counted in the order of their training, `n_side_by_side` at each step.
    """

    def diverge(members, n_side_by_side, n_rows):
        calls = count()

        def train(networks, data, *settings):
            is_last = data.n_rows == n_rows
            if is_last and next(calls) % n_side_by_side in members:
                raise DivergenceError("on purpose")
            return original(networks, data, *settings)

        monkeypatch.setattr(_regularization_path, "train", train)
        monkeypatch.setattr(
            _regularization_path,
            "parallel_map",
            lambda function, x: [*map(function, x)],
        )

    original = _regularization_path.train
    return diverge


def test_members_that_diverge_are_left_out(fitted, product, diverge):
    """The ensemble is the mean of the others, and a warning says so."""
    X, y, X_test, _ = product
    diverge({1}, 4, len(X))
    with pytest.warns(
        ConvergenceWarning, match="1 of 4 networks diverged and are left"
    ):
        model = KANRegressor("auto", random_state=0).fit(X, y)
    network = fitted.network_
    *inner, outer = network.weights
    outer = 4 / 3 * outer.clone()
    outer[:, 10:20] = 0.0  # nodes of the second member
    scaling = fitted.fitted_model_.preprocessing
    x = torch.from_numpy(scaling.input_scaling.transform(X_test))
    raw = network.with_weights([*inner, outer])(x).detach().numpy()
    expected = scaling.target_scaling.inverse_transform(scaling.baseline + raw)
    assert_allclose(model.predict(X_test), expected[:, 0], rtol=1e-9)
    assert model.hidden_layer_sizes_ == (30,)
    results = model.search_results_
    assert results["n_networks"][results["weight"].argmax()] == 3


def test_the_additive_model_is_left_where_all_others_diverge(product, diverge):
    X, y, X_test, _ = product
    diverge({0, 1, 2, 3}, 4, len(X))
    with pytest.warns(
        ConvergenceWarning, match="4 of 5 networks diverged and are left"
    ):
        model = KANRegressor("auto", random_state=0).fit(X, y)
    assert model.hidden_layer_sizes_ == ()
    results = model.search_results_
    assert_array_equal(results["weight"][1:], 0.0)
    assert results["weight"][0] == 1
    assert results["reason"][0].endswith("hidden nodes diverged on all rows")
    assert "diverged on all rows" in results["reason"]
    alone = KANRegressor((), grid_size=20, grid_eps=0.2).fit(X, y)
    assert_allclose(model.predict(X_test), alone.predict(X_test), atol=0.05)


def test_a_search_tells_that_hidden_nodes_could_not_be_tried(product, monkeypatch):
    """The additive model that is found in their place has not converged."""
    X, y, X_test, _ = product

    def train(networks, *settings):
        assert len(networks[0].layers) > 1  # the evidence trains the additive model
        raise DivergenceError("on purpose")

    monkeypatch.setattr(_regularization_path, "train", train)
    with pytest.warns(
        ConvergenceWarning, match="1 of 2 networks diverged and are left"
    ):
        model = KANRegressor("auto", random_state=0).fit(X, y)
    assert model.hidden_layer_sizes_ == ()
    assert set(model.search_results_["reason"][1:]) == {"diverged"}
    assert np.isnan(model.search_results_["validation_score"][1:]).all()
    alone = KANRegressor((), grid_size=20, grid_eps=0.2, solver="lm").fit(X, y)
    assert_allclose(model.predict(X_test), alone.predict(X_test), atol=0.05)


def test_a_search_whose_networks_all_diverge_is_an_error(rng, diverge):
    X = rng.normal(size=(100, 150))
    diverge({0}, 1, len(X))
    model = KANRegressor(max_iter=10, random_state=0)
    with pytest.raises(ValueError, match="diverged: no network of the ensemble"):
        model.fit(X, X[:, 0] + X[:, 1])
