"""Tables of many more columns than rows, as spectra and gene expressions are."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from torch.utils._python_dispatch import TorchDispatchMode

from skkan import KANClassifier, KANRegressor
from skkan.inference import _covariance_root

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N_ROWS, N_COLUMNS, N_FUNCTIONS = 30, 150, 9


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor."""

    n_elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        size = result.numel() if hasattr(result, "numel") else 0
        self.n_elements = max(self.n_elements, size)
        return result


def table(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_COLUMNS))
    y = np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=N_ROWS)
    return X, {"one": y, "two": np.column_stack([y, y**2]), "class": y > 0}[kind]


@pytest.mark.parametrize("kind", ["one", "class"])
def test_memory_does_not_grow_with_the_square_of_the_columns(kind):
    """Of a search, whose penalty comes from validation rows: 2e6 numbers in a square.

    The networks of an ensemble have 40 nodes, and a posterior a row for each row of X.
    """
    X, y = table(kind)
    make = KANClassifier if kind == "class" else KANRegressor
    with Largest() as largest:
        model = make(max_iter=10, random_state=0).fit(X, y)
        model.predict(X)
    most = 2 * N_ROWS * N_COLUMNS * N_FUNCTIONS
    assert largest.n_elements <= most
    assert len(pickle.dumps(model)) < 8 * 2 * most


@pytest.mark.parametrize(("kind", "solver"), [("one", "auto"), ("two", "lm")])
def test_deviations_are_those_of_the_square_factor(kind, solver, monkeypatch):
    """Singular vectors of the rows against a Cholesky factor of the whole precision."""
    X, y = table(kind)
    sizes = "auto"
    if solver == "lm":
        X, sizes = X[:, :10], ()
    model = KANRegressor(sizes, solver=solver, max_iter=10, random_state=0)
    new = np.random.default_rng(1).normal(size=(20, X.shape[1]))
    found = model.fit(X, y).predict(new, return_std=True)
    assert len(model.fitted_model_.posterior.factor) <= y.size
    monkeypatch.setattr(_covariance_root, "MIN_WEIGHTS_PER_ROW", np.inf)
    expected = model.fit(X, y).predict(new, return_std=True)
    factor = model.fitted_model_.posterior.factor
    assert len(factor) == factor.shape[1]
    assert_allclose(found, expected, rtol=1e-8)
