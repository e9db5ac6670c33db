"""Symbolic estimators are estimators."""

import io
import pickle

import numpy as np
import pytest
import skops.io
from expressions import FEW, QUICK, evaluated
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions
from skkan.symbolic import (
    SymbolicKANClassifier,
    SymbolicKANRegressor,
    fit_symbolic,
    to_sympy,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("method", ["predict", "proposals"])
def test_unfitted_formulas_are_told_so(method):
    model = SymbolicKANRegressor()
    arguments = [[[1.0]]] if method == "predict" else []
    with pytest.raises(NotFittedError):
        getattr(model, method)(*arguments)
    with pytest.raises(NotFittedError):
        fit_symbolic(KANRegressor(), np.ones((3, 1)))


def test_models_are_estimators(sums):
    """They clone, pickle, and know their columns."""
    network, X, y = sums
    model = fit_symbolic(network, X, y, primitives=FEW)
    restored = pickle.loads(pickle.dumps(model))
    assert_array_equal(restored.predict(X), model.predict(X))
    assert to_sympy(restored) == to_sympy(model)
    assert restored.choices_ == model.choices_
    copy = clone(model)
    assert not hasattr(copy, "formula_")
    assert not hasattr(copy.estimator, "_network_arrays")
    assert to_sympy(copy.fit(X, y)) == to_sympy(model)
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.predict(X[:, :2])


class PublicUnpickler(pickle.Unpickler):
    """Unpickler that refuses private names of the package."""

    def find_class(self, module, name):
        parts = f"{module}.{name}".split(".")
        assert parts[0] != "skkan" or not any(part.startswith("_") for part in parts)
        return super().find_class(module, name)


def from_pickle(model):
    return PublicUnpickler(io.BytesIO(pickle.dumps(model))).load()


def from_skops(model):
    stored = skops.io.dumps(model)
    ours = ["Candidate", "Formula", "FrontFormula", "Primitive", "SplineCurve"]
    ours += ["SymbolicEdge", "Term"]
    ours = [f"skkan.symbolic.{name}" for name in [type(model).__name__, *ours]]
    network = f"skkan.{type(model.estimator_).__name__}"
    return skops.io.loads(stored, trusted=["builtins.frozenset", network, *ours])


@pytest.mark.parametrize("restored", [from_pickle, from_skops])
@pytest.mark.parametrize("kind", [SymbolicKANRegressor, SymbolicKANClassifier])
def test_files_name_public_classes_only(kind, restored, rng):
    """They are read after the modules behind these have moved."""
    X = rng.uniform(-1, 1, (150, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
    if kind is SymbolicKANClassifier:
        y = np.where(y > 0.3, "high", "low")
    network = kind._network((), **QUICK).fit(X, y)
    names = [(edge.source_name, edge.target_name) for edge in edge_functions(network)]
    fixed = dict(zip(names, ["sin", "spline"], strict=True))
    model = fit_symbolic(network, X, y, fixed=fixed)
    assert model.choices_ == fixed
    again = restored(model)
    assert_array_equal(again.predict(X), model.predict(X))
    assert_array_equal(again.formula_(X), model.formula_(X))
    assert again.choices_ == model.choices_
    assert again.fixed == fixed
    assert_array_equal(evaluated(again, X), evaluated(model, X))


def test_a_search_over_parameters_of_the_network(sums):
    """And the fit of the network and of the formula in one."""
    _, X, y = sums
    model = SymbolicKANRegressor(
        KANRegressor((), **QUICK), primitives=FEW, max_refits=40
    )
    search = GridSearchCV(model, {"estimator__grid_size": [1, 5]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.99
    assert list(search.best_estimator_.choices_.values()) == ["exp", "x", "0"]


def test_default_estimators():
    """Networks of the kind that the formula is of."""
    assert SymbolicKANRegressor._network is KANRegressor
    assert SymbolicKANClassifier._network is KANClassifier


@pytest.mark.parametrize(
    "estimator", [KANClassifier(), GridSearchCV(KANRegressor(), {})]
)
def test_other_networks_are_told_so(estimator, sums):
    """Before they are fitted."""
    _, X, y = sums
    with pytest.raises(TypeError, match="must be a KANRegressor, got"):
        SymbolicKANRegressor(estimator).fit(X, y)


def test_weights_reach_the_network(sums):
    """The estimator fits both by them."""
    _, X, y = sums
    y = np.where(np.arange(len(y)) < 200, y, -y)
    model = SymbolicKANRegressor(KANRegressor((), **QUICK), primitives=FEW)
    model.fit(X, y, sample_weight=(np.arange(len(y)) < 200).astype(float))
    assert_allclose(model.predict(X[:200]), y[:200], atol=0.06)


def test_a_failed_fit_leaves_the_earlier_one(sums):
    _, X, y = sums
    model = SymbolicKANRegressor(
        KANRegressor((), **QUICK), primitives=FEW, max_refits=9
    ).fit(X, y)
    before = model.predict(X)
    model.set_params(fixed={("x9", "y"): "x"})
    with pytest.raises(ValueError, match="fixed names the edge"):
        model.fit(X[:, :2], y)
    assert_array_equal(model.predict(X), before)
    assert model.n_features_in_ == 3


def test_a_search_over_primitives(sums):
    """Tuples of functions are parameters like others."""
    _, X, y = sums
    model = SymbolicKANRegressor(KANRegressor((), **QUICK), max_refits=40)
    search = GridSearchCV(model, {"primitives": [FEW[:2], FEW]}, cv=2).fit(X, y)
    assert search.best_params_["primitives"] == FEW
    assert "exp" in search.best_estimator_.choices_.values()


@pytest.fixture(scope="module")
def law():
    """A formula of noisy rows of 1 + x0 sin(6 x1), for which nothing was given."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.2, 1, (300, 2))
    y = 1 + X[:, 0] * np.sin(6 * X[:, 1])
    y = y + 0.01 * y.std() * rng.normal(size=len(y))
    names = ["0", "x", "x^2", "exp", "sin", "sqrt"]
    model = SymbolicKANRegressor(random_state=0, primitives=names, max_refits=80)
    return model.fit(X, y), X, y


def test_a_law_is_found_without_a_structure(law):
    """Its constants are as exact as the noise allows, and refits are counted."""
    model, X, _ = law
    exact = 1 + X[:, 0] * np.sin(6 * X[:, 1])
    assert_allclose(model.predict(X), exact, atol=0.01 * exact.std())
    assert {edge.primitive.name for edge in model.edges_} <= {"0", "x", "sin"}
    assert model.n_refits_ <= 80
    assert_allclose(evaluated(model, X)[:, 0], model.predict(X), rtol=1e-12)


def test_the_front_is_a_front(law):
    """Errors fall as complexity grows, and each formula can be picked."""
    model, X, _ = law
    sizes = [entry.complexity for entry in model.formulas_]
    errors = [entry.validation_error for entry in model.formulas_]
    assert len(sizes) > 1
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)
    assert np.isfinite([entry.distance for entry in model.formulas_]).all()
    for index, entry in enumerate(model.formulas_):
        other = model.picked(index)
        assert other.choices_ == entry.choices
        assert other.formulas_[other.index_] is entry
        assert to_sympy(other) == entry.expressions[0]
        assert_allclose(evaluated(other, X)[:, 0], other.predict(X), rtol=1e-9)
    with pytest.raises(IndexError, match="index must be one of"):
        model.picked(len(sizes))


def test_complexity_bounds_the_formula(sums):
    """The best of at most that many nodes is taken; none may be too small."""
    network, X, y = sums
    whole = fit_symbolic(network, X, y, primitives=FEW, max_refits=60)
    least, *_ = (entry.complexity for entry in whole.formulas_)
    small = fit_symbolic(
        network, X, y, primitives=FEW, max_refits=60, complexity=int(least)
    )
    assert small.formulas_[small.index_].complexity == least
    with pytest.raises(ValueError, match="complexity must be at least"):
        fit_symbolic(network, X, y, primitives=["exp"], max_refits=9, complexity=1)


def test_large_networks_are_refused(rng):
    """Before a search, by their number of edges."""
    X = rng.uniform(size=(60, 6))
    network = KANRegressor((6,), solver="lbfgs", max_iter=2).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="at most 40 edges, got 42: fit a smaller"):
        fit_symbolic(network, X, X[:, 0])


def test_verbose_counts_the_fits(sums, capsys):
    network, X, y = sums
    model = fit_symbolic(network, X, y, primitives=FEW, max_refits=9, verbose=1)
    assert f"{model.n_refits_}refit" in capsys.readouterr().err
    assert model.n_refits_ == 9
