"""KANRegressor and KANClassifier: what fit and predict mean."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_friedman1,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.data._validation_split import split_rows
from skkan.penalties._quadratic import quadratic_form
from skkan.solvers import LBFGS, Adam

# Small budgets end fits early, which is what the warning is for.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"max_iter": 15, "tol": 0.0, "n_iter_no_change": 1000, "random_state": 0}
both = pytest.mark.parametrize("make", [KANRegressor, KANClassifier])


def target_scaling(model):
    """Between the units of the target and the core."""
    return model.fitted_model_.preprocessing.target_scaling


@pytest.fixture
def table(rng):
    """Features, and a target that is fit for both estimators."""
    X = rng.normal(size=(80, 3))
    return X, (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)


def penalised_features(model, X):
    """Basis values in which the model's quadratic penalty is that of Ridge."""
    layer = model.network_.layers[0]
    scaled = torch.from_numpy(model.fitted_model_.scaled(X))
    basis = layer.basis
    form = quadratic_form(basis.grid_size, basis.spline_order, has_base=True)
    root = torch.linalg.cholesky(form)
    features = torch.linalg.solve_triangular(
        root, basis(scaled).mT.detach().transpose(1, 2).mT, upper=False
    )
    return features.flatten(1).numpy()


# Equality with trusted peers.


@pytest.mark.parametrize("grid_eps", [0.0, 1.0])
@pytest.mark.parametrize("spline_order", [1, 3])
def test_additive_model_is_ridge_on_its_features(grid_eps, spline_order):
    """Without hidden layers the model is linear in its coefficients."""
    X, y = load_diabetes(return_X_y=True)
    w = np.random.default_rng(0).integers(1, 4, size=len(y)).astype(float)
    model = KANRegressor(
        hidden_layer_sizes=(),
        solver=LBFGS(history_size=100),
        alpha=0.1,
        grid_eps=grid_eps,
        spline_order=spline_order,
        max_iter=5000,
        tol=0.0,
        n_iter_no_change=5000,
    ).fit(X, y, sample_weight=w)
    features = penalised_features(model, X)
    y_scaled = target_scaling(model).transform(y)
    ridge = Ridge(alpha=0.1 * w.sum(), fit_intercept=False).fit(features, y_scaled, w)
    expected = target_scaling(model).inverse_transform(ridge.predict(features))
    # L-BFGS stops where rounding hides further progress of the objective.
    assert_allclose(model.predict(X), expected, rtol=1e-6)


@pytest.mark.parametrize("n_batches", [1, 3])
def test_additive_stream_is_ridge_on_all_rows(n_batches):
    """Whatever the batches, and however often all of them come."""
    X, y = load_diabetes(return_X_y=True)
    model = KANRegressor((), alpha=0.1, tol=0.0, random_state=0)
    for _ in range(5):
        for rows in np.array_split(np.arange(len(y)), n_batches):
            model.partial_fit(X[rows], y[rows])
    features, scaling = penalised_features(model, X), target_scaling(model)
    ridge = Ridge(alpha=0.1 * len(y), fit_intercept=False)
    ridge.fit(features, scaling.transform(y))
    expected = scaling.inverse_transform(ridge.predict(features))
    assert_allclose(model.predict(X), expected, rtol=1e-5)


def test_additive_classifier_is_logistic_regression_on_its_features():
    """With the class frequencies as an offset, which Ridge's twin has not."""
    X, y = load_breast_cancer(return_X_y=True)
    keep = np.r_[np.flatnonzero(y == 0)[:200], np.flatnonzero(y == 1)[:200]]
    X, y = X[keep][:, :6], y[keep]  # as many of each class: the offset is zero
    model = KANClassifier(
        (),
        solver="lbfgs",
        alpha=0.01,
        max_iter=5000,
        tol=0.0,
        n_iter_no_change=5000,
    ).fit(X, y)
    features = penalised_features(model, X)
    peer = LogisticRegression(
        C=1 / (0.01 * len(y)), fit_intercept=False, tol=1e-10, max_iter=10000
    ).fit(features, y)
    # Both searches end where rounding hides progress.
    assert_allclose(
        model.predict_proba(X), peer.predict_proba(features), rtol=0, atol=1e-6
    )


# Weights, order and scale.


@both
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_weights_equal_repetition_bit_by_bit(make, solver, table):
    X, y = table
    weight = np.arange(len(y)) % 3
    model = make(solver=solver, **SHORT)
    weighted = clone(model).fit(X, y, sample_weight=weight).predict(X)
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).predict(X)
    assert_array_equal(weighted, repeated)


@both
def test_weights_equal_repetition_with_early_stopping(make, table):
    """Equal rows never stand on both sides of the split."""
    X, y = table
    weight = 1 + np.arange(len(y)) % 2
    model = make(early_stopping=True, **SHORT)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert weighted.validation_loss_curve_ == repeated.validation_loss_curve_


@both
def test_order_of_rows_does_not_matter(make, table):
    """Also with equal rows whose weights round when they are added."""
    X, y = (np.concatenate([part, part[:20], part[:20]]) for part in table)
    weight = np.random.default_rng(1).uniform(size=len(y))
    order = np.random.default_rng(2).permutation(len(y))
    one = make((5,), **SHORT).fit(X, y, sample_weight=weight)
    other = make((5,), **SHORT).fit(X[order], y[order], sample_weight=weight[order])
    assert one.loss_curve_ == other.loss_curve_


@both
@pytest.mark.parametrize("unit", [0.1, 1 / 7, 1e-3])
def test_unit_of_the_weights_hardly_matters(make, unit, table):
    """Quantiles at which cumulative weights are equal up to rounding stay the same."""
    X, y = table
    short = SHORT | {"solver": "lbfgs"}
    one = make(grid_eps=0.0, **short).fit(X, y)
    other = make(grid_eps=0.0, **short).fit(X, y, sample_weight=np.full(80, unit))
    grids = [m.network_.layers[0].basis.grid.numpy() for m in (one, other)]
    assert_allclose(*grids, rtol=1e-12)


def test_class_weights_equal_repetition_bit_by_bit(table):
    """They multiply what has been merged, as sums of products would round."""
    X, y = table
    weight = 1 + np.arange(len(y)) % 3
    model = KANClassifier(
        (5,), class_weight={0: 0.3, 1: 7.7}, grid_schedule=(8,), **SHORT
    )
    weighted = clone(model).fit(X, y, sample_weight=weight).predict_proba(X)
    model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert_array_equal(weighted, model.predict_proba(X))


def test_class_weights_count_on_validation_rows_too(table):
    X, y = table
    weigh = 1.0 + 49.0 * y
    model = KANClassifier((5,), class_weight={1: 50}, solver="lbfgs", **SHORT)
    model.fit(X, y, X_val=X, y_val=y)
    expected = log_loss(y, model.predict_proba(X), sample_weight=weigh)
    assert_allclose(model.validation_loss_curve_[-1], expected, rtol=1e-9)


def test_change_of_units_changes_predictions_as_it_must(table):
    X, _ = table
    y = X[:, 0] * np.exp(X[:, 1])
    plain = KANRegressor((5,), **SHORT).fit(X, y)
    scale, shift = np.array([1e-3, 4.0, 1e5]), np.array([1.0, -2.0, 1e4])
    moved = KANRegressor((5,), **SHORT).fit(shift + scale * X, 100 * y - 7)
    # Fifteen steps of a search amplify the rounding of the scaled inputs; the targets
    # have a deviation of some 100.
    expected = 100 * plain.predict(X) - 7
    assert_allclose(moved.predict(shift + scale * X), expected, rtol=1e-5, atol=1e-5)


def test_balanced_class_weight_equals_the_same_sample_weights(table):
    X, y = table
    share = np.bincount(y) / len(y)
    one = KANClassifier((5,), class_weight="balanced", **SHORT).fit(X, y)
    other = KANClassifier((5,), **SHORT).fit(X, y, sample_weight=0.5 / share[y])
    assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-6)


def test_class_weight_dict_equals_the_same_sample_weights(table):
    X, y = table
    one = KANClassifier((5,), class_weight={0: 1.0, 1: 3.0}, **SHORT).fit(X, y)
    other = KANClassifier((5,), **SHORT).fit(X, y, sample_weight=1.0 + 2.0 * y)
    assert_array_equal(one.predict_proba(X), other.predict_proba(X))


# Targets of all kinds.


def test_columns_of_an_additive_regression_are_separate_fits():
    """Without hidden nodes in common, outputs do not know each other."""
    X, y = load_diabetes(return_X_y=True)
    Y = np.column_stack([y, X[:, 2]])
    settings = {"max_iter": 3000, "tol": 0.0, "n_iter_no_change": 3000, "alpha": 0.1}
    joint = KANRegressor((), **settings).fit(X, Y).predict(X)
    assert joint.shape == Y.shape
    for column in range(2):
        single = KANRegressor((), **settings).fit(X, Y[:, column]).predict(X)
        # Both searches end where rounding hides progress.
        assert_allclose(joint[:, column], single, rtol=0, atol=1e-5 * np.std(single))


def test_predictions_have_the_shape_of_y(table):
    X, y = table
    model = KANRegressor((5,), **SHORT)
    assert model.fit(X, y).predict(X).shape == (80,)
    assert model.fit(X, y[:, None]).predict(X).shape == (80, 1)


def test_probabilities_are_links_of_the_decision_function(table):
    X, y = table
    model = KANClassifier((5,), **SHORT).fit(X, y)
    positive = expit(model.decision_function(X))
    assert_allclose(model.predict_proba(X)[:, 1], positive, rtol=1e-12)
    assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))
    X, y = load_iris(return_X_y=True)
    model = KANClassifier((5,), **SHORT).fit(X, y)
    assert_allclose(
        model.predict_proba(X), softmax(model.decision_function(X), axis=1), rtol=1e-12
    )
    assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))


def test_labels_may_be_strings():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    by_name = KANClassifier((5,), **SHORT).fit(X, names[y])
    assert_array_equal(by_name.classes_, names)
    assert_array_equal(
        by_name.predict(X), names[KANClassifier((5,), **SHORT).fit(X, y).predict(X)]
    )


def test_multi_label_is_one_logit_a_label(rng):
    """Labels of an additive model are separate binary problems."""
    X = rng.normal(size=(120, 2))
    Y = np.column_stack([X[:, 0] > 0.3, X[:, 1] ** 2 > 1]).astype(int)
    settings = {"alpha": 0.05, "max_iter": 3000, "tol": 0.0, "n_iter_no_change": 3000}
    model = KANClassifier((), **settings).fit(X, Y)
    assert_array_equal(model.predict(X), (model.predict_proba(X) > 0.5).astype(int))
    for label in range(2):
        single = KANClassifier((), **settings).fit(X, Y[:, label])
        # Both searches end where rounding hides progress.
        assert_allclose(
            model.predict_proba(X)[:, label],
            single.predict_proba(X)[:, 1],
            rtol=0,
            atol=1e-5,
        )


def test_rare_classes_start_from_their_frequency(rng):
    """An uninformative table predicts the class frequencies, however uneven."""
    y = np.repeat([0, 1, 2], [960, 30, 10])
    X = np.zeros((1000, 1))
    model = KANClassifier((), alpha=1.0, max_iter=50).fit(X, y)
    assert_allclose(model.predict_proba([[0.0]])[0], [0.96, 0.03, 0.01], atol=1e-3)


# Grids.


def test_grid_schedule_ends_on_its_last_grid(table):
    X, y = table
    model = KANRegressor(grid_schedule=(10, 20), solver="lbfgs", **SHORT).fit(X, y)
    assert model.grid_size_ == 20
    assert model.stage_ends_ == [15, 30, 45]
    assert model.n_iter_ == len(model.loss_curve_) == 45


def test_recovers_the_law_of_the_paper(rng):
    """exp(sin(pi x1) + x2^2) on a [2, 1, 1] network; the source has 6.4e-3 at G = 5."""
    X = rng.uniform(-1, 1, size=(1000, 2))
    y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)
    model = KANRegressor(
        (1,), grid_schedule=(10,), alpha=0.0, max_iter=300, random_state=0
    ).fit(X[:700], y[:700])
    rmse = np.sqrt(np.mean((model.predict(X[700:]) - y[700:]) ** 2))
    assert rmse < 2e-3


def test_one_wild_value_in_each_column_does_not_wreck_the_fit():
    X, y = make_friedman1(400, n_features=5, noise=0.1, random_state=0)
    wild = X[:300].copy()
    wild[np.arange(5), np.arange(5)] = 1e6
    settings = {"random_state": 0, "max_iter": 100}
    clean = KANRegressor((5,), **settings).fit(X[:300], y[:300]).score(X[300:], y[300:])
    attacked = KANRegressor((5,), **settings).fit(wild, y[:300]).score(X[300:], y[300:])
    assert attacked > clean - 0.02


@pytest.mark.parametrize(
    ("make", "sizes", "extrapolation"),
    [
        (KANRegressor, "auto", "linear"),
        (KANRegressor, (3,), "constant"),
        (KANClassifier, "auto", "linear"),
    ],
)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda X: X * [1, 0, 1], id="zeros"),
        pytest.param(lambda X: X * [1, 0, 1] + [0, 7.3, 0], id="one repeated value"),
        pytest.param(lambda X: X * 1e-12, id="tiny"),
        pytest.param(lambda X: X * 1e12, id="huge"),
        pytest.param(lambda X: X * 1e300, id="near overflow"),
        pytest.param(lambda X: X + 1e9, id="far from zero"),
        pytest.param(lambda X: np.hstack([X, X]), id="duplicated columns"),
        pytest.param(lambda X: np.hstack([X] * 25), id="more columns than rows"),
        pytest.param(lambda X: X[[0, -1]], id="two rows"),
        pytest.param(lambda X: np.sign(X), id="binary"),
        pytest.param(lambda X: np.round(X), id="tied"),
    ],
)
def test_odd_columns_give_finite_predictions(make, sizes, extrapolation, spoil, table):
    X, y = (part[:60] for part in table)
    y = np.r_[0, y[1:-1], 1]
    X = spoil(X)
    y = y if len(X) == len(y) else y[[0, -1]]
    settings = {**SHORT, "max_iter": 4}
    model = make(sizes, extrapolation=extrapolation, **settings).fit(X, y)
    far = np.vstack([X, X + 100 * np.abs(X).max(axis=0)])
    outputs = model.predict_proba if make is KANClassifier else model.predict
    assert np.isfinite(outputs(far)).all()
    assert np.isfinite(model.feature_importances_).all()


def test_constant_continuation_keeps_what_was_seen_at_the_edge(table):
    """Grids end at most a twentieth of the range beyond the outermost samples."""
    X, y = table
    model = KANRegressor((), **SHORT).fit(X, y)
    for edge in (X.min(axis=0), X.max(axis=0)):
        end = edge + 0.05 * np.ptp(X, axis=0) * np.sign(edge)
        far = end + 1e6 * np.sign(edge)
        assert_allclose(model.predict([far]), model.predict([end]), rtol=1e-12)


def test_linear_continuation_goes_on_along_the_tangent(rng):
    """A line stays a line outside of the samples."""
    X = rng.uniform(-1, 1, size=(200, 1))
    model = KANRegressor((), alpha=0.0, extrapolation="linear", max_iter=1000, tol=0.0)
    model.fit(X, 3 * X[:, 0] + 1)
    # L-BFGS stops where rounding hides further progress of the objective.
    assert_allclose(model.predict([[10.0], [-20.0]]), [31.0, -59.0], rtol=1e-3)


@both
@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
def test_column_that_was_constant_does_not_matter_later(
    make, hidden_layer_sizes, table
):
    """Nothing was learnt of it, so it must not move a prediction."""
    X, y = table
    for column in (np.full(80, 3.0), np.where(np.arange(80) % 2, 0.1 + 0.2, 0.3)):
        Z = np.column_stack([X, column])
        model = make(hidden_layer_sizes, additive_skip=True, **SHORT).fit(Z, y)
        assert_array_equal(model.predict(Z + np.eye(4)[3]), model.predict(Z))
        assert model.feature_importances_[3] < 1e-9


def test_column_that_begins_to_vary_is_learnt_then(rng):
    """In a later batch of a stream."""
    X = rng.normal(size=(400, 2))
    y = X[:, 0] + X[:, 1]
    still = X * [0, 1]
    stream = KANRegressor((), solver=Adam(learning_rate=0.02), random_state=0)
    stream.partial_fit(still[:20], y[:20])
    for _ in range(200):
        stream.partial_fit(X, y)
    assert stream.score(X, y) > 0.9


def test_tangents_do_not_overflow(table):
    X, y = table
    for make, labels in ((KANRegressor, y), (KANClassifier, np.arange(80) % 3)):
        model = make((3, 3, 3), extrapolation="linear", **SHORT).fit(1e-12 * X, labels)
        far = np.array([[1e308] * 3, [-1e308] * 3])
        output = model.predict if make is KANRegressor else model.predict_proba
        assert np.isfinite(output(far)).all()


@pytest.mark.parametrize("value", [3.0, 1e20, -1e300])
@pytest.mark.parametrize("n_rows", [80, 300, 1000])
def test_constant_target_is_predicted(value, n_rows, rng):
    """Its mean misses it by one rounding, which must not become the target."""
    X = rng.normal(size=(n_rows, 3))
    model = KANRegressor(random_state=0).fit(X, np.full(n_rows, value))
    # The random start fades until the objective is below its tolerance.
    assert_allclose(model.predict(X), value, rtol=1e-2)


@pytest.mark.filterwarnings("ignore:KANRegressor stopped at max_iter")
def test_target_that_varies_by_rounding_is_predicted_as_constant(rng):
    """Whatever the weights are, and although a solver hardly sees some of the rows."""
    X = np.column_stack([1e8 * rng.standard_t(1, 40), np.arange(40) == 3])
    y = 0.01 + 1e-17 * rng.normal(size=40)
    assert len(np.unique(y)) > 5
    weight = np.where(np.arange(40) == 7, 1e5, 1.0)
    model = KANRegressor((3,), penalty=SparsityPenalty(lamb=0.01), **SHORT)
    model.fit(X, y, sample_weight=weight)
    assert_allclose(model.predict(X), 0.01, rtol=1e-12)


# Curves, early stopping and validation.


@both
def test_validation_rows_of_ones_own_are_scored_not_fitted(make, table):
    X, y = table
    settings = {**SHORT, "solver": "lbfgs", "n_grid_updates": 0}
    alone = make(**settings).fit(X[:60], y[:60])
    model = make(**settings).fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])
    assert model.loss_curve_ == alone.loss_curve_
    assert alone.validation_scores_ is None
    prediction = model.predict(X[60:])
    if make is KANRegressor:
        score = r2_score(y[60:], prediction)
        loss = np.mean((y[60:] - prediction) ** 2) / (2 * np.var(y[:60]))
    else:
        score = accuracy_score(y[60:], prediction)
        loss = log_loss(y[60:], model.predict_proba(X[60:]))
    assert_allclose(model.validation_scores_[-1], score, rtol=1e-10)
    assert_allclose(model.validation_loss_curve_[-1], loss, rtol=1e-10)


@both
def test_early_stopping_keeps_the_best_network(make, rng):
    """Noise makes the validation loss turn; the kept network is at its lowest."""
    X = rng.normal(size=(60, 4))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    X_val = rng.normal(size=(200, 4))
    y_val = (X_val[:, 0] + rng.normal(size=200) > 0).astype(int)
    model = make(alpha=0.0, early_stopping=True, max_iter=100, random_state=0)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    curve = model.validation_loss_curve_
    best = int(np.argmin(curve))
    assert best < len(curve) - 1
    assert model.score(X_val, y_val) == pytest.approx(model.validation_scores_[best])
    assert model.best_validation_score_ == model.validation_scores_[best]


def test_validation_split_is_stratified():
    """Of 180 and 20 rows, 36 and 4 validate; a class of one row stays out of it."""
    rows = (
        np.arange(200.0)[:, None],
        np.repeat([0, 1], [180, 20])[:, None],
        np.ones(200),
        None,
    )
    fitted, held_out = split_rows(rows, 0.2, rows[1][:, 0], seed=0)
    assert held_out[1].sum() == 4
    assert_array_equal(np.sort(np.r_[fitted[0], held_out[0]], axis=0), rows[0])
    lonely = split_rows(rows, 0.2, np.r_[7, rows[1][1:, 0]], seed=0)
    assert [len(part[0]) for part in lonely] == [160, 40]


@both
def test_stops_when_the_loss_stalls(make, table):
    X, y = table
    model = make(max_iter=2000, tol=0.5, n_iter_no_change=3, random_state=0).fit(X, y)
    assert model.n_iter_ < 2000
    tail = model.loss_curve_[-4:]
    assert tail[-1] >= 0.5 * tail[0]


@both
def test_warns_when_the_budget_ends_first(make, table):
    X, y = table
    with pytest.warns(ConvergenceWarning, match="Raise max_iter or tol"):
        make(max_iter=2).fit(X, y)


def test_warns_when_a_kink_ends_the_search(rng):
    """Hidden nodes end beyond their grids, where curves are continued by constants."""
    X = rng.uniform(-1, 1, (50, 3))
    y = X[:, 0] + X[:, 1] ** 2 + 0.3 * rng.normal(size=50)
    model = KANRegressor((3,), solver="lbfgs", alpha=0.01, random_state=0)
    model.set_params(max_iter=1500, tol=0.0, n_iter_no_change=1500)
    # Updated grids end beyond their nodes.
    model.set_params(grid_size=20, n_grid_updates=0)
    with pytest.warns(ConvergenceWarning, match=r"no step lowers.*='linear'"):
        model.fit(X, y)
    assert model.n_iter_ < 1500
    model.set_params(extrapolation="linear").fit(X, y)  # warnings are errors


# Solvers, penalties, importances.


def test_solver_objects_carry_their_mechanics(table):
    X, y = table
    coarse = KANRegressor(solver=Adam(learning_rate=1e-9, batch_size=7), **SHORT)
    assert max(np.abs(np.diff(coarse.fit(X, y).loss_curve_))) < 1e-3


def test_sparsity_penalty_empties_the_edges_of_irrelevant_inputs(rng):
    X = rng.normal(size=(300, 5))
    y = np.sin(2 * X[:, 0])
    settings = {"alpha": 1e-5, "random_state": 0, "max_iter": 300}
    plain = KANRegressor((3,), **settings).fit(X, y)
    sparse = KANRegressor((3,), penalty=SparsityPenalty(lamb=0.01), **settings).fit(
        X, y
    )
    assert sparse.feature_importances_[1:].sum() < 0.02
    assert sparse.feature_importances_[1:].sum() < plain.feature_importances_[1:].sum()


def test_importances_of_an_additive_model_are_shares_of_variance(rng):
    """x_1 + 2 x_2 of equal spread: one fifth and four fifths."""
    X = rng.uniform(-1, 1, size=(1000, 3))
    model = KANRegressor((), alpha=1e-6).fit(X, X[:, 0] + 2 * X[:, 1])
    # The sample's variances of the three columns differ by some percent.
    expected = [1, 4, 0] * X.var(axis=0)
    assert_allclose(
        model.feature_importances_, expected / expected.sum(), rtol=0, atol=2e-3
    )


def test_skip_adds_the_additive_part(rng):
    """One hidden node and a skip hold a product and sums that one node cannot."""
    X = rng.uniform(0.5, 2, size=(500, 3))
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2])
    settings = {"alpha": 1e-6, "random_state": 0, "max_iter": 300}
    plain = KANRegressor((1,), **settings).fit(X, y).score(X, y)
    skip = KANRegressor((1,), additive_skip=True, **settings).fit(X, y).score(X, y)
    assert skip > 0.999 > plain


# Streams.


@both
def test_partial_fit_of_all_rows_is_one_pass_of_adam(make, table):
    """The first call does what a fit of one iteration does."""
    X, y = table
    stream = make(solver="adam", random_state=0)
    classes = {"classes": [0, 1]} if make is KANClassifier else {}
    stream.partial_fit(X, y, **classes)
    settings = {"solver": "adam", "max_iter": 1, "n_grid_updates": 0}
    whole = make((5,), random_state=0, **settings).fit(X, y)
    assert_array_equal(stream.predict(X), whole.predict(X))


def test_partial_fit_learns_from_batches(rng):
    X = rng.uniform(-1, 1, size=(4000, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
    model = KANRegressor(solver=Adam(learning_rate=0.02, batch_size=50), random_state=0)
    for rows in np.split(np.arange(4000), 20):
        model.partial_fit(X[rows], y[rows])
    assert model.n_iter_ == len(model.loss_curve_) == 20
    assert model.score(X, y) > 0.98


def test_partial_fit_goes_on_after_fit(table):
    X, y = table
    model = KANClassifier((5,), solver="adam", **SHORT).fit(X, y)
    before = model.network_.layers[0].basis.knots
    model.partial_fit(X, y)
    assert model.n_iter_ == 16
    assert_array_equal(model.network_.layers[0].basis.knots, before)


def test_partial_fit_accepts_a_single_row_after_the_first_batch(table):
    X, y = table
    model = KANRegressor(solver="adam").partial_fit(X, y).partial_fit(X[:1], y[:1])
    assert np.isfinite(model.predict(X)).all()


def test_batches_of_another_kind_are_refused(table):
    """Nothing is broadcast to the shape of the first batch."""
    X, y = table
    model = KANRegressor(solver="adam").partial_fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="n_outputs=2, got 1"):
        model.partial_fit(X, y)
    model = KANClassifier(solver="adam").partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="expected one of the classes"):
        model.partial_fit(X, np.column_stack([y, 1 - y]))
    with pytest.raises(ValueError, match="classes_ stays the same"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes that the fit does not know: \[5\]"):
        model.partial_fit(X, 5 * y)
    many = KANClassifier(solver="adam").partial_fit(X, np.column_stack([y, 1 - y]))
    with pytest.raises(ValueError, match="expected a matrix of 2 labels"):
        many.partial_fit(X, y)


def test_warm_start_follows_the_shape_of_y(table):
    X, y = table
    model = KANRegressor(warm_start=True, **SHORT).fit(X, y)
    assert model.predict(X).shape == (80,)
    assert model.fit(X, y[:, None]).predict(X).shape == (80, 1)


def test_warm_start_does_not_change_the_kind_of_target():
    """Three labels and three classes have three outputs each."""
    X, y = load_iris(return_X_y=True)
    labels = np.eye(3, dtype=int)[y]
    for first, second in ((y, labels), (labels, y)):
        model = KANClassifier((5,), warm_start=True, **SHORT).fit(X, first)
        with pytest.raises(ValueError, match="classes_ stays the same"):
            model.fit(X, second)


def test_stream_extends_the_curves_of_a_fit(table):
    X, y = table
    model = KANRegressor(solver="adam", grid_schedule=(8,), **SHORT)
    model.fit(X, y, X_val=X, y_val=y).partial_fit(X, y).partial_fit(X, y)
    assert model.stage_ends_[-1] == len(model.loss_curve_) == model.stage_ends_[-2] + 2
    assert len(model.stage_ends_) == 3
    assert model.validation_loss_curve_ is model.validation_scores_ is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fits_where_gradients_are_off(mode, table):
    X, y = table
    with mode():
        inside = KANRegressor((5,), **SHORT).fit(X, y).predict(X)
    assert_array_equal(inside, KANRegressor((5,), **SHORT).fit(X, y).predict(X))
