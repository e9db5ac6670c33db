"""Formulas of fitted networks are exact where laws are, and hold what is requested."""

import pickle
from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sympy
import torch
from expressions import BY_NAME, FEW, QUICK, evaluated
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions
from skkan.symbolic import (
    LIBRARY,
    Formula,
    Primitive,
    SplineCurve,
    SymbolicKANClassifier,
    Term,
    feature_symbols,
    fit_symbolic,
    to_latex,
    to_sympy,
)
from skkan.symbolic._description_length import FormulaFit
from skkan.symbolic._formula_losses import FormulaLogLoss

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_a_product_comes_out_of_logarithms(product):
    """Exactly, and as an expression that is the law to the letter."""
    network, X, y = product
    model = fit_symbolic(network, X, y)
    x0, x1 = feature_symbols(model)
    assert to_sympy(model) == x0 * x1
    names = [edge.primitive.name for edge in model.edges_]
    assert names == ["log", "log", "exp"]
    assert_allclose(model.predict(X), y, rtol=1e-12)
    assert to_latex(model) == "y = x_{0} x_{1}"


def test_constants_of_a_density_are_exact():
    """A network that is off by 4% is enough to start from."""
    X = np.random.default_rng(0).uniform(-3, 3, (300, 1))
    y = np.exp(-(X[:, 0] ** 2) / 2) / np.sqrt(2 * np.pi)
    model = fit_symbolic(KANRegressor((), random_state=0).fit(X, y), X, y)
    (edge,) = model.edges_
    assert edge.primitive.name == "gaussian"
    expected = [0.5**0.5, 0, 1 / np.sqrt(2 * np.pi), 0]
    found = [edge.a, edge.b, edge.c, *model.intercept_]
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_product_comes_out_of_squares():
    """Of any network whose inner edges are nearly straight, by a joint refit."""
    X = np.random.default_rng(0).uniform(-1, 1, (150, 2))
    y = X[:, 0] * X[:, 1]
    network = KANRegressor((2,), grid_size=3, max_iter=40, random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=FEW[:3])
    x0, x1 = feature_symbols(model)
    difference = sympy.expand(to_sympy(model) - x0 * x1)
    assert all(abs(c) < 1e-9 for c in sympy.Poly(difference, x0, x1).coeffs())


def test_noise_does_not_make_terms(sums):
    """The irrelevant input and all constants that are round are left out."""
    network, X, y = sums
    model = fit_symbolic(network, X, y)
    assert list(model.choices_.values()) == ["exp", "x", "0"]
    x0, x1, _ = feature_symbols(model)
    difference = sympy.expand(to_sympy(model) - (sympy.exp(x0) - 2 * x1))
    wide = sympy.lambdify([x0, x1], difference, "numpy")(*X[:, :2].T)
    assert_allclose(wide * np.ones(len(X)), 0, atol=3e-3)  # noise / sqrt(n / constants)


@pytest.mark.parametrize("with_target", [True, False])
def test_expression_equals_predictions(sums, with_target):
    """Of a symbolic model, also where it was not fitted; with a spline in it, too."""
    network, X, y = sums
    model = fit_symbolic(
        network,
        X,
        y if with_target else None,
        fixed={("x1", "y"): "spline"},
        primitives=FEW,
    )
    wide = 5 * X
    assert_allclose(evaluated(model, wide)[:, 0], model.predict(wide), rtol=1e-9)
    assert_allclose(model.predict(X), network.predict(X), atol=0.02)


def test_several_outputs_equal_predictions(table):
    X, _, _ = table
    Y = np.column_stack([2 * X[:, 0] + 1, np.exp(X[:, 1])])
    network = KANRegressor((), random_state=0).fit(X, Y)
    model = fit_symbolic(network, X, Y)
    assert_allclose(model.predict(X), Y, rtol=1e-9)
    assert_allclose(evaluated(model, X), model.predict(X), rtol=1e-9)
    assert list(model.choices_.values()) == ["x", "0", "0", "exp"]
    assert [part.split(" = ")[0] for part in to_latex(model)] == ["y_{0}", "y_{1}"]


def labelled(rng, n_rows=500):
    """Rows of two inputs, and labels with log odds 3 x0^2 + 4 x1 - 2."""
    X = rng.uniform(-2, 2, (n_rows, 2))
    odds = 3 * X[:, 0] ** 2 + 4 * X[:, 1] - 2
    return X, np.where(rng.logistic(size=n_rows) < odds, "yes", "no")


@pytest.mark.parametrize("with_target", [True, False])
def test_log_odds_of_classes_are_recovered(rng, with_target):
    """Within what 500 labels tell of them."""
    X, y = labelled(rng)
    network = KANClassifier((), random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y if with_target else None, primitives=FEW)
    assert isinstance(model, SymbolicKANClassifier)
    square, straight = model.edges_
    assert (square.primitive.name, straight.primitive.name) == ("x^2", "x")
    assert_allclose([square.c, straight.c], [3, 4], rtol=0.25)
    assert_allclose(evaluated(model, X)[:, 0], model.decision_function(X), rtol=1e-9)
    share = model.predict_proba(X)
    assert_allclose(np.log(share[:, 1] / share[:, 0]), model.decision_function(X))
    assert_array_equal(model.predict(X), model.classes_[share.argmax(axis=1)])


def test_constants_of_classes_are_those_of_logistic_regression(rng):
    """A formula of straight edges is one, fitted by maximum likelihood."""
    from sklearn.linear_model import LogisticRegression

    X, y = labelled(rng)
    terms = [Term((0, i), (1, 0), BY_NAME["x"]) for i in range(2)]
    formula = Formula((2, 1), tuple(terms), np.zeros(1))
    indicator = (y == "yes").astype(float)[:, None]
    refit = FormulaFit(
        X, FormulaLogLoss(indicator, np.ones(len(X)), exclusive=False), n_names=2
    )
    found = refit(formula, max_nfev=100, tol=1e-14)
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(X, y)
    expected = [*peer.coef_[0], *peer.intercept_]
    assert_allclose(found.constants, expected, atol=1e-5)  # tolerance of the peer


def test_labels_and_many_classes(rng):
    """Probabilities are those of the expressions."""
    X = rng.uniform(-2, 2, (120, 2))
    labels = np.column_stack([X[:, 0] > 0.1, X[:, 1] ** 2 > 1]).astype(int)
    labels ^= rng.uniform(size=labels.shape) < 0.1
    classes = labels[:, 0] + 2 * labels[:, 1] * labels[:, 0]
    for y in (labels, classes):
        network = KANClassifier((), **QUICK).fit(X, y)
        model = fit_symbolic(network, X, y, primitives=FEW[:3], max_refits=10)
        raw = evaluated(model, X)
        share = np.exp(raw) / (1 + np.exp(raw))
        if y.ndim == 1:
            share = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
        assert_allclose(model.predict_proba(X), share, rtol=1e-9)
        assert model.score(X, y) > 0.6
        assert_allclose(model.decision_function(X), raw, rtol=1e-9, atol=1e-9)


def test_edges_can_be_fixed_and_freed(sums):
    """By name, as a function of one's own, and from the choices of another fit."""
    network, X, y = sums
    fixed = {("x0", "y"): "sigmoid", ("x1", "y"): "spline"}
    model = fit_symbolic(network, X, y, fixed=fixed)
    assert model.choices_ == {**fixed, ("x2", "y"): "0"}
    assert isinstance(model.edges_[1].primitive.function, SplineCurve)
    freed = {edge: name for edge, name in model.choices_.items() if edge[0] != "x0"}
    again = fit_symbolic(network, X, y, fixed=freed)
    assert again.choices_ == {**model.choices_, ("x0", "y"): "exp"}
    assert again.cost_ < model.cost_


def test_own_functions_take_part():
    """Without a derivative, with two constants that matter, in the expression."""
    hill = Primitive(
        "hill", lambda x: x**2 / (1 + x**2), lambda x: x**2 / (1 + x**2), complexity=2
    )
    X = np.random.default_rng(0).uniform(-3, 3, (300, 1))
    y = 5 * hill.function(2 * X[:, 0] - 1)
    network = KANRegressor((), grid_size=12, random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=[*LIBRARY, hill])
    assert model.choices_ == {("x0", "y"): "hill"}
    assert_allclose([abs(model.edges_[0].a), model.edges_[0].c], [2, 5], atol=1e-6)
    (x0,) = feature_symbols(model)
    assert float(to_sympy(model).subs(x0, 1)) == pytest.approx(2.5)


def test_proposals_are_ranked_and_say_which_was_chosen(sums):
    network, X, y = sums
    model = fit_symbolic(network, X, y)
    table = model.proposals()
    first = table[(table["source"] == "x0") & (table["primitive"] != "phi_0")]
    assert first["score"].is_monotonic_increasing or first["primitive"].iloc[0] == "exp"
    assert first.iloc[0]["primitive"] == "exp"
    assert table.groupby("source")["chosen"].sum().tolist() == [1, 1, 1]
    row, curve = first.iloc[0], edge_functions(network)[0]
    x = np.linspace(-0.9, 0.9, 50)
    values = row["c"] * np.exp(row["a"] * x + row["b"]) + row["d"]
    assert_allclose(values, curve(x), atol=0.02)  # noise of the network


def test_constants_are_rounded_on_request(product):
    """To significant digits, whole numbers as such; the model stays as it is."""
    network, X, y = product
    model = fit_symbolic(network, X, 1234.5678 * y, primitives=FEW)
    x0, x1 = feature_symbols(model)
    assert to_sympy(model, round_to=3) == 1230 * x0 * x1
    (number,) = to_sympy(model).atoms(sympy.Float)
    assert float(number) == pytest.approx(1234.5678, rel=1e-9)
    constant = replace(model.formula_, terms=(), intercepts=np.array([6.93009705]))
    model = copy(model)
    model.formula_ = constant
    assert str(to_sympy(model, round_to=3)) == "6.93"


def test_undefined_is_an_error(product):
    """The logarithm of a negative number has no value, and none is made up."""
    network, X, y = product
    fixed = {("x0", "h1_0"): "log"}
    model = fit_symbolic(network, X, y, fixed=fixed, primitives=FEW)
    with pytest.raises(ValueError, match=r"not defined at 1 of 2 rows .* row 1"):
        model.predict([[3.0, 5.0], [-1.0, 1.0]])
    assert_allclose(model.predict([[3.0, 5.0]]), [15])


def test_pruned_networks_are_written_down(rng):
    """Their features keep their names, and predictions their place."""
    X = rng.uniform(-1, 1, (300, 4))
    y = np.exp(X[:, 3]) + X[:, 1] ** 2 + 0.01 * rng.normal(size=300)
    network = KANRegressor((), prune_threshold=0.05, random_state=0).fit(X, y)
    assert network.network_.used_features.tolist() == [1, 3]
    assert_allclose(evaluated(network, X)[:, 0], network.predict(X), rtol=1e-9)
    model = fit_symbolic(network, X, y, primitives=FEW)
    assert_allclose(evaluated(model, X)[:, 0], model.predict(X), rtol=1e-9)
    assert {str(symbol) for symbol in to_sympy(model).free_symbols} == {"x1", "x3"}
    assert_allclose(model.predict(X), np.exp(X[:, 3]) + X[:, 1] ** 2, atol=0.01)


def wrong(**options):
    """fit_symbolic with one wrong argument, as a function of a network and rows."""
    return lambda network, X, y: fit_symbolic(network, X, y, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (wrong(fixed={("x9", "y"): "x"}), "which the network does not have: use pairs"),
        (wrong(fixed={("x0", "y"): "cosine"}), "expected a Primitive, 'spline' or one"),
        (
            wrong(primitives=[LIBRARY[1], LIBRARY[1]]),
            r"distinct names.* rename \['x'\]",
        ),
        (wrong(max_refits=0), "'max_refits' parameter"),
        (wrong(n_candidates=0), "'n_candidates' parameter"),
        (lambda m, X, y: fit_symbolic(m, X, y[:-1]), "inconsistent numbers of samples"),
        (lambda m, X, y: fit_symbolic(m, X, np.c_[y, y]), "must have the 1 outputs"),
        (lambda m, X, y: fit_symbolic(m, X[:, :2], y), "expecting 3 features"),
        (lambda m, X, y: to_sympy(m, round_to=0), "significant digits of at least 1"),
    ],
)
def test_wrong_requests_are_told_so(call, message, sums):
    with pytest.raises(ValueError, match=message):
        call(*sums)


def test_functions_that_are_nowhere_defined_are_told_so(sums):
    """By a domain into which no range fits, and by one that no constant can reach."""
    network, X, y = sums
    nowhere = Primitive(
        "f", np.exp, sympy.exp, domain=(100, np.inf), constants="c", scan=""
    )
    with pytest.raises(ValueError, match="no constants a, b were found"):
        fit_symbolic(network, X, y, fixed={("x0", "y"): nowhere})
    # The curve is defined at all the points that are looked at, but not at all rows.
    edge = Primitive(
        "g", lambda x: x, lambda x: x, domain=(-1.5, 1.5), constants="c", scan=""
    )
    inner = np.abs(X[:, 0]) < 0.4
    few = KANRegressor((), **QUICK).fit(X[inner], X[inner, 0])
    with pytest.raises(ValueError, match="no combination of functions that is defined"):
        fit_symbolic(few, X, y, fixed={("x0", "y"): edge})


def test_other_estimators_are_told_so(sums):
    network, X, y = sums
    with pytest.raises(TypeError, match="got Pipeline: of a Pipeline pass its last"):
        fit_symbolic(make_pipeline(StandardScaler(), network), X, y)
    with pytest.raises(
        TypeError, match="primitives must hold Primitive objects or names, got ufunc"
    ):
        fit_symbolic(network, X, y, primitives=[np.sin])
    with pytest.raises(ValueError, match=r"name functions .* got \['sine'\]"):
        fit_symbolic(network, X, y, primitives=["sine"])


def test_products_of_nodes_are_products(rng):
    """A factor keeps its constant, which no function behind the product absorbs."""
    X = rng.uniform([0.2, 0.0], [1.0, 2.0], (200, 2))
    y = (1 + X[:, 0]) * np.sin(X[:, 1])
    options = {"grid_size": 5, "prune_threshold": "auto", "random_state": 0}
    network = KANRegressor((0,), n_multiplications=1, **options).fit(X, y)
    law = to_sympy(fit_symbolic(network, X, y), round_to=2)
    x0, x1 = sympy.symbols("x0 x1")
    assert sympy.simplify(law - (1 + x0) * sympy.sin(x1)) == 0


def test_networks_without_edges_are_constants(rng):
    """All of them are pruned away, and nothing is left to choose."""
    X = rng.uniform(-1, 1, (60, 2))
    network = KANRegressor((), prune_threshold=1e9, **QUICK).fit(X, X[:, 0] + 3)
    model = fit_symbolic(network, X, X[:, 0] + 3, primitives=FEW)
    assert set(model.choices_.values()) <= {"0"}
    assert_allclose(model.predict(X), np.mean(X[:, 0] + 3), rtol=1e-9)


def test_arguments_are_not_modified(sums):
    network, X, y = sums
    before, copies = pickle.dumps(network), (X.copy(), y.copy())
    fit_symbolic(network, X, y, primitives=FEW)
    assert pickle.dumps(network) == before
    assert_array_equal(X, copies[0])
    assert_array_equal(y, copies[1])


def test_choices_may_be_given_back(rng):
    """Dead edges, too, whether or not the library has the function 0."""
    X = rng.uniform(-1, 1, (200, 3))
    y = np.exp(X[:, 0]) + X[:, 1]
    network = KANRegressor((), random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=FEW[1:])
    assert model.choices_["x2", "y"] == "0"
    again = fit_symbolic(network, X, y, primitives=FEW[1:], fixed=model.choices_)
    assert again.choices_ == model.choices_


def consistent(model, X):
    """Whether choices, edges, expressions and predictions say the same."""
    if isinstance(model, SymbolicKANClassifier):
        predicted = model.decision_function(X)
    else:
        predicted = model.predict(X)
    predicted = np.asarray(predicted).reshape(len(X), -1)
    assert_allclose(evaluated(model, X), predicted, rtol=1e-9, atol=1e-9)
    terms = {(term.source, term.target) for term in model.formula_.terms}
    assert sum(choice != "0" for choice in model.choices_.values()) == len(terms)
    for edge in model.edges_:
        choice = model.choices_[edge.source_name, edge.target_name]
        assert (choice == "0") == (edge.c == 0)
        assert (choice == "spline") == isinstance(edge.primitive.function, SplineCurve)
    return True


def all_splines(network):
    return {(e.source_name, e.target_name): "spline" for e in edge_functions(network)}


@pytest.mark.parametrize("sizes", [(), (2,)])
@pytest.mark.parametrize("kind", ["one label", "classes", "labels"])
def test_splines_reproduce_a_classifier(kind, sizes, rng):
    """All of them, however little an edge matters: without labels nothing moves."""
    X = rng.uniform(-2, 2, (90, 3))
    labels = np.column_stack([X[:, 0] > 0.1, X[:, 1] ** 2 > 1]).astype(int)
    labels ^= rng.uniform(size=labels.shape) < 0.1
    y = {"one label": labels[:, 0], "classes": labels.sum(1), "labels": labels}[kind]
    network = KANClassifier(sizes, grid_size=3, random_state=0).fit(X, y)
    fixed = all_splines(network)
    model = fit_symbolic(network, X, fixed=fixed)
    assert model.choices_ == fixed
    assert consistent(model, X)
    wide = 2 * X
    raw = network._raw(wide)
    assert_allclose(model._raw(wide), raw, rtol=1e-9, atol=1e-9)
    share = 1 / (1 + np.exp(-raw))
    if kind == "classes":
        share = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    if kind == "one label":
        share = np.column_stack([1 - share, share])
    assert_allclose(model.predict_proba(wide), share, rtol=1e-9, atol=1e-9)


def test_splines_reproduce_a_regressor(table):
    X, y, wide = table
    network = KANRegressor((2,), **QUICK).fit(X, y)
    model = fit_symbolic(network, X, fixed=all_splines(network))
    assert_allclose(model.predict(wide), network.predict(wide), rtol=1e-9)


@pytest.mark.parametrize("with_target", [True, False])
@pytest.mark.parametrize("requested", ["spline", "x", "exp"])
def test_fixed_edges_are_never_left_out(requested, with_target, sums):
    """Not even that of an input which is irrelevant."""
    network, X, y = sums
    fixed = {("x2", "y"): requested}
    model = fit_symbolic(
        network, X, y if with_target else None, fixed=fixed, primitives=FEW
    )
    assert model.choices_["x2", "y"] == requested
    assert model.edges_[2].c != 0
    assert feature_symbols(model)[2] in to_sympy(model).free_symbols
    assert consistent(model, X)


def test_fixed_edges_lead_to_an_output(rng):
    """Behind a node that the network does not use, edges are used nevertheless."""
    X = rng.uniform(-1, 1, (100, 2))
    network = KANRegressor((2,), grid_size=3, random_state=0).fit(X, np.exp(X[:, 0]))
    for node in range(2):
        fixed = {("x1", f"h1_{node}"): "x^2"}
        model = fit_symbolic(network, X, fixed=fixed, primitives=FEW, max_refits=4)
        assert model.choices_["x1", f"h1_{node}"] == "x^2"
        assert model.choices_[f"h1_{node}", "y"] != "0"
        assert consistent(model, X)
    fixed[f"h1_{node}", "y"] = "0"
    with pytest.raises(ValueError, match="all requested edges lead to an output"):
        fit_symbolic(network, X, fixed=fixed, primitives=FEW, max_refits=4)


def test_a_function_of_ones_own_may_have_a_known_name(sums):
    """The object is used, and `choices_` hands it on."""
    network, X, y = sums
    own = Primitive("exp", np.cosh, sympy.cosh)
    model = fit_symbolic(network, X, y, fixed={("x0", "y"): own}, primitives=FEW)
    edge, x0 = model.edges_[0], feature_symbols(model)[0]
    assert edge.primitive == own
    assert model.choices_["x0", "y"] == own
    assert to_sympy(model).atoms(sympy.cosh)
    assert not to_sympy(model).atoms(sympy.exp)
    assert consistent(model, X)
    again = fit_symbolic(network, X, y, fixed=model.choices_, primitives=FEW)
    assert again.choices_ == model.choices_
    assert x0 in to_sympy(again).free_symbols


@pytest.mark.parametrize("kind", ["regressor", "its predictions", "classifier"])
def test_weights_equal_repetitions(kind, sums, rng):
    """Bit by bit, as both are brought to the same form."""
    network, X, y = sums
    X, y = X[:120], y[:120]
    if kind == "classifier":
        y = (y > 1).astype(int)
        network = KANClassifier((), **QUICK).fit(X, y)
    target = None if kind == "its predictions" else y
    weight = rng.integers(0, 4, len(X))
    repeated = None if target is None else np.repeat(y, weight)
    options = {"primitives": ["x", "x^2", "exp"], "max_refits": 60}
    one = fit_symbolic(network, X, target, sample_weight=weight, **options)
    other = fit_symbolic(network, np.repeat(X, weight, axis=0), repeated, **options)
    assert one.cost_ == other.cost_
    assert str(to_sympy(one)) == str(to_sympy(other))


def sympy_softplus(x):
    return sympy.log(1 + sympy.exp(x))


@pytest.mark.parametrize("derivative", [None, torch.sigmoid])
def test_functions_of_torch_are_functions(derivative):
    """Fitted, written down and pickled like those of numpy."""
    softplus = Primitive(
        "softplus", torch.nn.functional.softplus, sympy_softplus, derivative
    )
    z = np.linspace(-3, 3, 7)
    assert_allclose(softplus.function(z), np.logaddexp(0, z), rtol=1e-12)
    assert_allclose(softplus.slope(z), 1 / (1 + np.exp(-z)), rtol=1e-8)
    X = np.random.default_rng(0).uniform(-3, 3, (200, 1))
    y = 2 * np.logaddexp(0, 3 * X[:, 0] - 1)
    network = KANRegressor((), grid_size=12, random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=[*FEW, softplus])
    assert model.choices_ == {("x0", "y"): "softplus"}
    assert_allclose([model.edges_[0].a, model.edges_[0].c], [3, 2], rtol=1e-5)
    assert consistent(model, X)
    restored = pickle.loads(pickle.dumps(model))
    assert_array_equal(restored.predict(X), model.predict(X))


def test_counts_are_whole_numbers(sums):
    """Of numpy as of Python; True is none."""
    network, X, y = sums
    model = fit_symbolic(
        network, X, y, primitives=FEW, n_candidates=np.int64(2), max_refits=np.int32(9)
    )
    assert to_sympy(model, round_to=np.int64(2)) == to_sympy(model, round_to=2)
    for wrong_digits in (True, 2.0, "2"):
        with pytest.raises(ValueError, match="significant digits of at least 1"):
            to_sympy(model, round_to=wrong_digits)
    for name in ("n_candidates", "max_refits"):
        with pytest.raises(ValueError, match=f"'{name}' parameter must be an integer"):
            fit_symbolic(network, X, y, **{name: True})


@pytest.mark.parametrize("name", ["spline", "0"])
def test_names_with_a_meaning_are_reserved(name, sums):
    network, X, y = sums
    own = Primitive(name, np.sin, sympy.sin)
    with pytest.raises(ValueError, match="primitives holds a function of one's own"):
        fit_symbolic(network, X, y, primitives=[own])
    with pytest.raises(ValueError, match="fixed holds a function of one's own"):
        fit_symbolic(network, X, y, fixed={("x0", "y"): own})
    with pytest.raises(ValueError, match="primitives must hold at least one function"):
        fit_symbolic(network, X, y, primitives=[])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, np.where(X[:, 0] > 0.9, np.nan, y)), "y contains NaN.* Drop"),
        (lambda X, y: (np.where(X > 0.9, np.nan, X), y), "X contains NaN"),
        (lambda X, y: (X[:1], y[:1]), "minimum of 2 is required"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: (pd.DataFrame(X, columns=["a", "b", "c"]), y), "feature names"),
    ],
)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_wrong_data_are_told_so(change, message, sums):
    network, X, y = sums
    if "names" in message:
        named = pd.DataFrame(X, columns=["x0", "x1", "x2"])
        network = KANRegressor((), **QUICK).fit(named, y)
    with pytest.raises(ValueError, match=message):
        fit_symbolic(network, *change(X, y), primitives=FEW)


def test_read_only_tables_serve(sums):
    """And one row is enough for a prediction."""
    network, X, y = sums
    X, y = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    model = fit_symbolic(network, X, y, primitives=FEW, max_refits=9)
    assert model.predict(X[:1]).shape == (1,)


def test_labels_must_be_those_of_the_network(rng):
    X = rng.uniform(-2, 2, (60, 2))
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    network = KANClassifier((), **QUICK).fit(X, labels)
    with pytest.raises(ValueError, match="must have the 2 outputs of the network"):
        fit_symbolic(network, X, labels[:, [0, 1, 1]])
