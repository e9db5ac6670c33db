"""Sparse features, as OneHotEncoder emits them: the same model as of dense ones."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skkan import KANClassifier, KANRegressor
from skkan.inspection import prune
from skkan.symbolic import fit_symbolic

# Small budgets end fits early, which is what the warning is for.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


SPARSE = ["csr_array", "csc_array", "coo_array", "csr_matrix", "csc_matrix"]


def one_hot_table(rng):
    """Indicators of two columns, a number that is mostly zero, and a target."""
    codes = rng.integers(4, size=(90, 2))
    numbers = rng.normal(size=90) * (rng.uniform(size=90) < 0.3)
    X = np.column_stack([np.eye(4)[codes[:, 0]], np.eye(4)[codes[:, 1]], numbers])
    return X, (X[:, 0] - X[:, 5] + numbers > 0).astype(int)


@pytest.mark.parametrize("container", SPARSE)
@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
def test_sparse_rows_are_dense_ones_bit_for_bit(make, solver, container, rng):
    """In fit, as validation rows, and in all that is predicted."""
    X, y = one_hot_table(rng)
    S = getattr(sparse, container)(X)
    settings = {"solver": solver, "max_iter": 4, "random_state": 0}
    model = make((2,), early_stopping=True, **settings)
    dense = clone(model).fit(X, y, X_val=X[:20], y_val=y[:20])
    model.fit(S, y, X_val=S.tocsr()[:20], y_val=y[:20])
    assert model.validation_scores_ == dense.validation_scores_
    methods = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
    for method in methods if make is KANClassifier else methods[:1]:
        expected = getattr(dense, method)(X)
        assert_array_equal(getattr(model, method)(S), expected)
        assert_array_equal(getattr(dense, method)(S), expected)
    assert model.score(S, y) == dense.score(X, y)
    if make is KANRegressor and solver == "lm":
        for one, other in zip(
            model.predict(S, return_std=True),
            dense.predict(X, return_std=True),
            strict=True,
        ):
            assert_array_equal(one, other)


@pytest.mark.parametrize("container", ["csr_array", "coo_array", "csc_matrix"])
def test_categories_of_sparse_columns(container, rng):
    """Zero is a category like any other."""
    X, y = one_hot_table(rng)
    X = np.column_stack([X[:, 8], rng.integers(3, size=90)])
    S = getattr(sparse, container)(X)
    model = KANRegressor((), categorical_features=[1], max_iter=4, random_state=0)
    dense, model = clone(model).fit(X, y), model.fit(S, y)
    assert_array_equal(model.categories_[1], [0, 1, 2])
    assert_array_equal(model.predict(S), dense.predict(X))
    settings = {"solver": "adam", "random_state": 0, "categorical_features": [1]}
    streams = [KANRegressor((), **settings).partial_fit(rows, y) for rows in (X, S)]
    assert_array_equal(streams[1].predict(S), streams[0].predict(X))


@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
def test_streams_pruning_and_formulas_take_sparse_rows(make, rng):
    """Whatever takes rows takes sparse ones."""
    X, y = one_hot_table(rng)
    S = sparse.csr_array(X)
    classes = {} if make is KANRegressor else {"classes": [0, 1]}
    models = [make((), solver="adam", random_state=0) for _ in range(2)]
    for model, rows in zip(models, (X, S), strict=True):
        model.partial_fit(rows[:50], y[:50], **classes).partial_fit(rows[50:], y[50:])
    assert_array_equal(models[1].predict(S), models[0].predict(X))
    fitted = make((), alpha=0.01, random_state=0).fit(X, y)
    for act in (prune, partial(fit_symbolic, max_refits=5)):
        model, dense = act(fitted, S, y), act(fitted, X, y)
        assert_array_equal(model.predict(S), dense.predict(X))
    kind = type(model)
    formula = kind(make((), alpha=0.01, random_state=0), max_refits=5).fit(S, y)
    assert_array_equal(formula.predict(S), dense.predict(X))


@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
def test_sparse_rows_become_dense_block_by_block(make, rng, monkeypatch):
    """A prediction of many wide rows must not need the memory of all of them."""
    X, y = one_hot_table(rng)
    model = make((), alpha=0.01, random_state=0).fit(X, y)
    n_rows = []
    monkeypatch.setattr("skkan.fitted._fitted_model.PREDICTION_BLOCK", 500)
    monkeypatch.setattr(
        "skkan.fitted._fitted_model.dense",
        lambda X: n_rows.append(X.shape[0]) or X.toarray(),
    )
    model.predict(sparse.csr_array(X))
    assert sum(n_rows) == len(X)
    assert max(n_rows) * X.shape[1] <= 500


def test_one_hot_columns_of_a_pipeline(rng):
    """OneHotEncoder's sparse output goes straight in."""
    codes = rng.integers(5, size=(120, 2))
    y = codes[:, 0] % 2 + 0.1 * rng.normal(size=120)
    model = make_pipeline(OneHotEncoder(), KANRegressor((), random_state=0))
    assert sparse.issparse(model[:1].fit_transform(codes))
    assert model.fit(codes, y).score(codes, y) > 0.9
