"""Pruning: what goes, what stays, and that what stays is fitted."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions, prune
from skkan.solvers import LevenbergMarquardt

short = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FAST = {"solver": "lbfgs", "max_iter": 60, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    """Two of five features matter."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (150, 5))
    return X, np.sin(3 * X[:, 1]) + X[:, 3] ** 2 + 0.05 * rng.normal(size=150)


@pytest.fixture(scope="module")
def additive(table):
    """The features that matter score above 0.1, the others below 0.02."""
    return KANRegressor((), solver="lm", alpha=1e-3).fit(*table)


@pytest.fixture(scope="module")
def wide(table):
    return KANRegressor((3,), grid_size=4, random_state=0).fit(*table)


@pytest.fixture(scope="module")
def pruned_by_evidence(wide, table):
    return prune(wide, *table, threshold="auto")


def edge_set(model):
    """Pairs of names of the nodes between which there is an edge."""
    return {
        (edge.source_name, edge.target_name)
        for edge in edge_functions(model)
        if not edge.removed
    }


def test_pruned_additive_model_is_that_of_the_remaining_columns(table, additive):
    """Without hidden layers there is one optimum, wherever the search begins."""
    X, y = table
    solver = LevenbergMarquardt(damping=0.0, decrease_tolerance=1e-12)
    settings = {"hidden_layer_sizes": (), "solver": solver, "alpha": 1e-3}
    pruned = KANRegressor(prune_threshold=0.05, **settings).fit(X, y)
    rest = KANRegressor(**settings).fit(X[:, [1, 3]], y)
    mean, std = pruned.predict(X, return_std=True)
    other_mean, other_std = rest.predict(X[:, [1, 3]], return_std=True)
    assert_allclose(mean, other_mean, rtol=0, atol=1e-8)
    assert_allclose(std, other_std, rtol=1e-8)
    assert_allclose(pruned.log_evidence_, rest.log_evidence_, rtol=1e-8)
    assert_allclose(pruned.alpha_, rest.alpha_, rtol=1e-12)
    shares = pruned.feature_importances_
    assert_allclose(shares[[1, 3]], rest.feature_importances_, rtol=1e-8)
    assert_array_equal(shares[[0, 2, 4]], 0.0)


def test_alpha_of_each_edge_goes_with_its_edge(table, additive):
    """An array of strengths names the edges of the whole network."""
    X, y = table
    alpha = np.array([[strength, 1e-3, 0.0] for strength in (1, 2e-3, 3, 4e-3, 5)])
    pruned = KANRegressor((), solver="lm", alpha=alpha, prune_threshold=0.05).fit(X, y)
    assert_allclose(pruned.alpha_, alpha[[1, 3]], rtol=1e-12)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (3,)])
def test_threshold_zero_removes_dead_edges_only(hidden_layer_sizes, table):
    """Edges from a constant column are dead, and all others are not."""
    X, y = table
    X = np.column_stack([X, np.full(len(X), 7.0)])
    settings = {**FAST, "hidden_layer_sizes": hidden_layer_sizes, "max_iter": 400}
    whole = KANRegressor(**settings).fit(X, y)
    pruned = prune(whole, X, y, threshold=0.0)
    assert edge_set(pruned) == {edge for edge in edge_set(whole) if edge[0] != "x5"}
    assert pruned.network_.widths[0] == 5
    assert_allclose(pruned.predict(X), whole.predict(X), rtol=0, atol=1e-2)


@pytest.mark.filterwarnings("ignore:KANRegressor has removed all edges")
def test_thresholds_cut_the_scores(additive, table):
    """So that larger ones leave subsets, down to no edge at all."""
    scores = {
        (edge.source_name, edge.target_name): edge.importance
        for edge in edge_functions(additive)
    }
    values = sorted(scores.values())
    assert values[0] > 1e-4
    between = [(low + high) / 2 for low, high in pairwise(values)]
    for threshold in [0.0, *between, 2 * values[-1]]:
        pruned = prune(additive, *table, threshold=threshold)
        left = edge_set(pruned)
        # Those that were above it, less what has fallen below it by the training.
        assert left <= {edge for edge in scores if scores[edge] >= threshold}
        assert len(left) == len(scores) or threshold > 0
        if left:
            removed = [scores[edge] for edge in scores if edge not in left]
            assert max(removed, default=0.0) < threshold + 0.05
            edges = [edge for edge in edge_functions(pruned) if not edge.removed]
            assert min(edge.importance for edge in edges) >= threshold


def test_an_input_goes_whose_edges_make_up_for_each_other(rng):
    """Hidden nodes may carry what cancels behind them; no edge can then go alone."""
    X = rng.uniform(-1, 1, (150, 2))
    model = KANRegressor((2,), prune_threshold="auto", random_state=0)
    model.fit(X, X[:, 1] ** 2)
    assert_array_equal(model.feature_importances_, [0, 1])
    assert_array_equal(model.network_.used_features, [1])
    assert_allclose(model.predict(X), X[:, 1] ** 2, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.03, "auto"])
def test_irrelevant_features_vanish_and_relevant_ones_stay(
    threshold, wide, pruned_by_evidence, table
):
    X, y = table
    pruned = pruned_by_evidence
    if threshold != "auto":
        before = pickle.dumps(vars(wide))
        pruned = prune(wide, X, y, threshold=threshold)
        assert pickle.dumps(vars(wide)) == before
    used = pruned.network_.used_features.numpy()
    assert set(used) >= {1, 3}
    if threshold != "auto":  # the evidence keeps what looks like a law by chance
        assert_array_equal(used, [1, 3])
    unused = np.setdiff1d(np.arange(5), used)
    assert_array_equal(pruned.feature_importances_[unused], 0.0)
    assert pruned.feature_importances_[[0, 2, 4]].max() < 0.01
    assert_allclose(pruned.feature_importances_.sum(), 1.0, rtol=1e-12)
    assert pruned.network_.weight_mask.sum() < wide.network_.weight_mask.sum() / 1.5
    assert pruned.score(X, y) > 0.98
    moved = X.copy()
    moved[:, unused] = 1e6
    assert_array_equal(pruned.predict(moved), pruned.predict(X))
    # What is left of the unused columns is their check.
    with pytest.raises(ValueError, match="5 features"):
        pruned.predict(X[:, [1, 3]])


def test_auto_does_not_lower_the_evidence(wide, pruned_by_evidence, table):
    """By more than one, which training takes for nothing, and a step to the mode."""
    pruned = pruned_by_evidence
    assert pruned.network_.n_edges < wide.network_.n_edges / 1.5
    assert pruned.log_evidence_ > wide.log_evidence_ - 1.5
    again = prune(pruned, *table, threshold="auto")
    assert edge_set(again) <= edge_set(pruned)


@pytest.mark.filterwarnings("ignore:.*has removed all edges")
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "target", "settings"),
    [
        (20, 2, "constant", {"grid_size": 1, "spline_order": 5}),
        (20, 2, "constant", {"additive_skip": True}),
        (5, 3, "noise", {"spline_order": 2, "grid_eps": 0.1}),
        (60, 2, "classes", {}),
        (60, 2, "classes", {"hidden_layer_sizes": (2, 1)}),
    ],
    ids=str,
)
def test_auto_ends_where_there_is_nothing_to_learn(
    n_rows, n_columns, target, settings, rng
):
    """Edges that are gone cannot go once more."""
    X = rng.normal(size=(n_rows, n_columns))
    y = {
        "constant": np.full(n_rows, 1000.0),
        "noise": rng.normal(size=n_rows),
        "classes": rng.integers(0, 3, n_rows),
    }[target]
    make = KANClassifier if target == "classes" else KANRegressor
    settings = {"hidden_layer_sizes": (1,), "max_iter": 200, **settings}
    model = make(prune_threshold="auto", random_state=0, **settings).fit(X, y)
    predict = model.predict_proba if target == "classes" else model.predict
    assert model.network_.n_edges == 0
    assert_array_equal(predict(X), predict(X[:1]).repeat(n_rows, axis=0))


def test_a_search_that_is_cut_off_says_so(table):
    """Edges may be left that the documentation says are removed."""
    model = KANRegressor((), prune_threshold="auto", max_iter=12, random_state=0)
    with pytest.warns(ConvergenceWarning, match="ended its search for unneeded edges"):
        model.fit(*table)


def test_auto_keeps_many_weak_features_that_the_evidence_needs(rng):
    """Each is worth little, all together are not: the fall is at most 1 in all."""
    X = rng.uniform(-1, 1, (300, 20))
    y = 3 * X[:, 0] + 0.2 * X[:, 1:].sum(1) + rng.normal(size=300)
    whole = KANRegressor((), random_state=0).fit(X, y)
    pruned = prune(whole, X, y, threshold="auto")
    assert pruned.network_.n_edges < 20
    assert pruned.log_evidence_ > whole.log_evidence_ - 1


@short
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": (2,), "max_iter": 30},
        {"hidden_layer_sizes": (2,), "max_iter": 30, "additive_skip": True},
        {"hidden_layer_sizes": (20,), "max_iter": 5, "solver": "lbfgs", "grid_size": 3},
    ],
)
def test_no_edge_below_the_threshold_is_left(settings):
    """Training moves the scores of what is left; many edges take many rounds."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, (150, 4))
    y = np.sin(3 * X[:, 0]) * X[:, 1] + X[:, 2]
    threshold = 0.005
    model = KANRegressor(prune_threshold=threshold, random_state=0, **settings)
    curves = edge_functions(model.fit(X, y))
    scores = [edge.importance for edge in curves if not edge.removed]
    assert len(scores) > 0
    assert min(scores) >= threshold


def test_hyperparameter_prunes_what_the_function_prunes(table):
    """A fit is a fit without pruning, and then `prune`."""
    X, y = table
    settings = {**FAST, "hidden_layer_sizes": (2,), "max_iter": 300, "tol": 1e-2}
    whole = KANRegressor(**settings).fit(X, y)
    at_once = KANRegressor(prune_threshold=0.05, **settings).fit(X, y)
    after = prune(whole, X, y, threshold=0.05)
    assert_array_equal(at_once.predict(X), after.predict(X))
    assert edge_set(at_once) == edge_set(after) < edge_set(whole)
    n_first = len(whole.loss_curve_)
    assert at_once.loss_curve_[:n_first] == whole.loss_curve_
    assert at_once.loss_curve_[n_first:] == after.loss_curve_
    rounds = [n_first + end for end in after.stage_ends_]
    assert at_once.stage_ends_ == whole.stage_ends_ + rounds


@short
@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "lbfgs"},
        {"solver": "adam"},
        {"early_stopping": True, "prune_threshold": "auto", "max_iter": 300},
        {"solver": "lbfgs", "additive_skip": True},
        {"solver": "lbfgs", "grid_size": 3, "grid_schedule": (6,)},
    ],
    ids=str,
)
def test_every_solver_and_schedule_prunes(settings, table):
    """The noise features go, the fit stays good, and copies predict the same."""
    X, y = table
    model = KANRegressor((3,), random_state=0, max_iter=60)
    model.set_params(**{"prune_threshold": 0.1, **settings}).fit(X, y)
    assert set(model.network_.used_features.tolist()) >= {1, 3}
    assert model.network_.n_edges < 18
    assert model.score(X, y) > 0.8
    assert len(model.stage_ends_) >= 2 + ("grid_schedule" in settings)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict(X), model.predict(X))
    if model.early_stopping:
        n_first = model.stage_ends_[0]
        assert model.best_validation_score_ in model.validation_scores_[n_first:]


@short
@pytest.mark.parametrize(
    ("make", "threshold"),
    [(KANRegressor, 0.3), (KANRegressor, "auto"), (KANClassifier, "auto")],
)
def test_weights_are_repetitions(make, threshold, rng):
    X = rng.uniform(-1, 1, size=(60, 3))
    y = (X[:, 0] + 0.3 * rng.normal(size=60) > 0) * 1
    count = rng.integers(0, 3, size=60)
    weighted = make((2,), random_state=0, max_iter=60, prune_threshold=threshold)
    repeated = clone(weighted)
    weighted.fit(X, y, sample_weight=count)
    repeated.fit(np.repeat(X, count, axis=0), np.repeat(y, count))
    assert edge_set(weighted) == edge_set(repeated)
    assert threshold == "auto" or weighted.network_.n_edges < 8
    assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_threshold_can_be_searched(table):
    """With noise features, pruning all but the law predicts best."""
    model = KANRegressor((), solver="lbfgs", alpha=1e-4, max_iter=200)
    grid = {"prune_threshold": [None, 0.05]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(*table)
    assert search.best_params_ == {"prune_threshold": 0.05}
    assert_array_equal(search.best_estimator_.network_.used_features, [1, 3])


def test_classes_prune_by_evidence():
    X, y = load_iris(return_X_y=True)
    X = np.column_stack([X, np.random.default_rng(0).normal(size=(150, 3))])
    model = KANClassifier((), random_state=0, prune_threshold="auto").fit(X, y)
    assert_array_equal(model.feature_importances_[4:], 0.0)
    assert model.network_.n_edges < 12
    assert model.score(X, y) > 0.95


@pytest.mark.filterwarnings("ignore:.*stopped at max_iter")
@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
@pytest.mark.parametrize("hidden_layer_sizes", [(), (2,)])
def test_without_any_edge_the_mean_is_left(hidden_layer_sizes, solver, table):
    """A search over thresholds then sees an honest score instead of an error."""
    X, y = table
    model = KANRegressor(hidden_layer_sizes, solver=solver, prune_threshold=1e3)
    model.set_params(max_iter=20, alpha=1e-2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="removed all edges"):
        model.fit(X, y)
    assert_allclose(model.predict(X), y.mean(), rtol=1e-12)
    assert_array_equal(model.feature_importances_, 0.0)
    if solver == "lm":
        std = model.predict(X, return_std=True)[1]
        assert_allclose(std, y.std(), rtol=1e-2)


@short
def test_training_goes_on_without_growing_back(table):
    """`warm_start` and `partial_fit` keep what pruning has left."""
    X, y = table
    model = KANRegressor((3,), prune_threshold=0.05, **FAST).fit(X, y)
    edges = edge_set(model)
    assert len(edges) < 18
    model.set_params(warm_start=True, prune_threshold=None, grid_size=8)
    assert edge_set(model.fit(X, y)) == edges
    assert model.grid_size_ == 8
    model.set_params(solver="adam", prune_threshold=10.0)
    before = model.predict(X)
    assert edge_set(model.partial_fit(X, y)) == edges
    assert 0 < np.abs(model.predict(X) - before).max() < 1
    model.set_params(hidden_layer_sizes=(2,))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(3,\), got \(2,\)"):
        model.fit(X, y)


def test_curves_of_what_is_left_add_up_to_the_prediction(table):
    """Names, units and importances are those of the features that are left."""
    X, y = table
    model = KANRegressor((), solver="lm", alpha=1e-3, prune_threshold=0.05).fit(X, y)
    curves = edge_functions(model, with_posterior=True)
    assert [curve.source for curve in curves] == [(0, 1), (0, 3)]
    assert [curve.source_name for curve in curves] == ["x1", "x3"]
    total = y.mean() + curves[0](X[:, 1]) + curves[1](X[:, 3])
    assert_allclose(total, model.predict(X), rtol=1e-10)


def test_removed_edges_are_known_for_sure(wide, table):
    """Their curves are zero, with a deviation of zero."""
    pruned = prune(wide, *table, threshold=0.02)
    curves = edge_functions(pruned, with_posterior=True)
    removed = [curve for curve in curves if curve.removed]
    assert removed
    for curve in removed:
        assert curve.importance == 0
        assert_array_equal(curve([0.0, 0.5]), 0.0)
        assert_array_equal(curve.deviation([0.0, 0.5]), 0.0)


def test_auto_needs_the_evidence(wide, table):
    model = KANRegressor((), prune_threshold="auto", solver="lbfgs")
    with pytest.raises(ValueError, match=r"needs solver='lm'.*got LBFGS"):
        model.fit(*table)
    model.set_params(solver="lm", alpha=0.1)
    with pytest.raises(ValueError, match="and a fixed alpha"):
        model.fit(*table)
    with pytest.raises(NotFittedError):
        model.predict(table[0])


@pytest.mark.parametrize("threshold", [-1.0, "many", True, np.True_])
def test_requests_that_make_no_sense(threshold, additive, table):
    before = additive.predict(table[0])
    with pytest.raises(ValueError, match="prune_threshold"):
        prune(additive, *table, threshold=threshold)
    with pytest.raises(ValueError, match="warm_start=True"):
        prune(additive, *table, threshold=None)
    with pytest.raises(NotFittedError):
        prune(KANRegressor(), *table)
    with pytest.raises(ValueError, match=r"n_features=5, got 2|expecting 5 features"):
        prune(additive, table[0][:, :2], table[1])
    assert_array_equal(additive.predict(table[0]), before)


@short
def test_requests_are_checked_before_a_model_is_copied(table, monkeypatch):
    """A large one takes time and memory."""
    model = KANRegressor((), solver="lbfgs", max_iter=5).fit(*table)

    def fail(*args):
        raise AssertionError

    monkeypatch.setattr("skkan.estimators._base.deepcopy", fail)
    with pytest.raises(ValueError, match="goes by the evidence"):
        prune(model, *table, threshold="auto")
    with pytest.raises(ValueError, match="'prune_threshold' parameter"):
        prune(model, *table, threshold=-1.0)


@short
def test_failed_pruning_keeps_the_earlier_model(table, monkeypatch):
    X, y = table
    model = KANRegressor((2,), **FAST).fit(X, y)
    before = model.predict(X)

    def fail(*args, **kwargs):
        raise ValueError("on purpose")

    monkeypatch.setattr("skkan.training._pruning.train", fail)
    model.set_params(prune_threshold=0.1)
    with pytest.raises(ValueError, match="on purpose"):
        model.fit(X, y)
    assert_array_equal(model.predict(X), before)


def test_interrupted_search_keeps_the_whole_network(wide, table, monkeypatch):
    X, y = table

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "skkan.training._evidence_pruning.train_second_order", interrupt
    )
    model = clone(wide).set_params(prune_threshold="auto")
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X, y)
    assert_array_equal(model.predict(X), wide.predict(X))
    with pytest.raises(KeyboardInterrupt):  # there is nothing new to keep
        prune(wide, X, y, threshold="auto")


def test_columns_of_another_order_are_an_error(table):
    """Scores belong to the columns of the fit."""
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = KANRegressor((), random_state=0).fit(frame, y)
    with pytest.raises(ValueError, match="same order"):
        prune(model, frame[list("edcba")], y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert list(prune(model, X, y).feature_names_in_) == list("abcde")


def test_only_fitted_kans_are_pruned(table):
    with pytest.raises(TypeError, match="KANRegressor or KANClassifier, got int"):
        prune(1, *table)
