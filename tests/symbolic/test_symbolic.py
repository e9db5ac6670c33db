"""Formulas say what the models predict, and exact laws come out exactly."""

import importlib.util
import inspect
import itertools
import math
import pickle
import unicodedata

import numpy as np
import pandas as pd
import pytest
import sympy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkan import KANClassifier, KANRegressor
from skkan.formulas._primitives import LINEAR
from skkan.inspection import edge_functions
from skkan.symbolic import (
    LIBRARY,
    Candidate,
    Formula,
    Primitive,
    SplineCurve,
    SymbolicKANClassifier,
    SymbolicKANRegressor,
    Term,
    feature_symbols,
    fit_symbolic,
    named_splines,
    rank_candidates,
    to_latex,
    to_numpy_source,
    to_sympy,
)
from skkan.symbolic._beam_search import EdgeChoices, FormulaSearch
from skkan.symbolic._description_length import FormulaFit
from skkan.symbolic._formula_losses import FormulaLogLoss, FormulaSquaredError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BY_NAME = {primitive.name: primitive for primitive in LIBRARY}
QUICK = {"solver": "lbfgs", "max_iter": 15, "random_state": 0}
FEW = [BY_NAME[name] for name in ("0", "x", "x^2", "exp", "log")]
every_primitive = pytest.mark.parametrize("primitive", LIBRARY, ids=lambda p: p.name)


def evaluated(model, X, **options):
    """Values of the sympy expression of a model, one column for each output."""
    expressions = to_sympy(model, **options)
    if not isinstance(expressions, list):
        expressions = [expressions]
    columns = [
        np.broadcast_to(
            sympy.lambdify(feature_symbols(model), expression, "numpy")(*X.T), len(X)
        )
        for expression in expressions
    ]
    return np.column_stack(columns)


def imported(source, folder):
    """The module that a source is."""
    path = folder / "law.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("law", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inner_points(primitive):
    """Arguments well inside of the domain of a primitive."""
    low, high = np.clip(primitive.domain, -3, 3)
    return low + (high - low) * np.linspace(0.05, 0.97, 23)


@pytest.fixture(scope="module")
def table():
    """Rows inside and outside of the range in which a model is fitted."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) * [3, 0.1] + [5, -1]
    y = np.sin(X[:, 0]) + 40 * (X[:, 1] + 1) ** 2 + 7
    wide = rng.normal(size=(200, 2)) * [15, 0.6] + [5, -1]
    return X, y, wide


@pytest.fixture(scope="module")
def product():
    """A network that has learnt x0 x1, and its rows."""
    X = np.random.default_rng(1).uniform(0.2, 2, (300, 2))
    y = X[:, 0] * X[:, 1]
    return KANRegressor((1,), random_state=0).fit(X, y), X, y


@pytest.fixture(scope="module")
def sums():
    """An additive network of three inputs, the last irrelevant, and its noisy rows."""
    rng = np.random.default_rng(2)
    X = rng.uniform(-1, 1, (400, 3))
    y = np.exp(X[:, 0]) - 2 * X[:, 1] + 0.01 * rng.normal(size=400)
    return KANRegressor((), random_state=0).fit(X, y), X, y


# Splines: the expression is the network.


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity"])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (2,), "additive_skip": True},
        {"hidden_layer_sizes": (2, 1), "spline_order": 2, "grid_eps": 0.2},
        {"hidden_layer_sizes": (), "spline_order": 0},
    ],
    ids=["additive", "skip", "deep", "steps"],
)
def test_expression_of_splines_equals_predict(
    settings, base_activation, extrapolation, table
):
    """Inside of the grids and far outside, in the user's units."""
    X, y, wide = table
    kind = {"base_activation": base_activation, "extrapolation": extrapolation}
    model = KANRegressor(**settings, **kind, **QUICK).fit(X, y)
    expected = model.predict(wide)
    assert_allclose(
        evaluated(model, wide)[:, 0], expected, rtol=1e-9, atol=1e-9 * np.ptp(y)
    )


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity"])
def test_piecewise_equals_predict(base_activation, extrapolation, table):
    """Every piece stands where it belongs, the ends included."""
    X, y, wide = table
    kind = {"base_activation": base_activation, "extrapolation": extrapolation}
    model = KANRegressor((), **kind, **QUICK).fit(X, y)
    assert not named_splines(to_sympy(model, piecewise=True))
    assert_allclose(
        evaluated(model, wide, piecewise=True)[:, 0],
        model.predict(wide),
        rtol=1e-9,
        atol=1e-9 * np.ptp(y),
    )


def test_nested_piecewise_equals_predict(table):
    """It explodes, but only in length; sympy's conditions need plain numbers."""
    X, y, wide = table
    model = KANRegressor((1,), grid_size=1, spline_order=1, **QUICK).fit(X, y)
    law = to_sympy(model, piecewise=True)
    values = sympy.lambdify(feature_symbols(model), law, "math")
    found = [values(*row) for row in wide[:30].tolist()]
    assert_allclose(found, model.predict(wide[:30]), rtol=1e-9, atol=1e-9 * np.ptp(y))


def test_several_outputs_are_a_list(table):
    X, y, wide = table
    Y = np.column_stack([y, X[:, 1], y**2])
    model = KANRegressor((2,), **QUICK).fit(X, Y)
    assert len(to_sympy(model)) == 3
    values, expected = evaluated(model, wide), model.predict(wide)
    assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.ptp(Y))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_expression_of_a_classifier_is_its_log_odds(n_classes, table):
    """Without a posterior the decision function is the raw output."""
    X, y, wide = table
    labels = np.digitize(y, np.quantile(y, np.linspace(0, 1, n_classes + 1)[1:-1]))
    model = KANClassifier((), **QUICK).fit(X, labels)
    expected = model.decision_function(wide).reshape(len(wide), -1)
    assert_allclose(evaluated(model, wide), expected, rtol=1e-9, atol=1e-9)


def test_constant_columns_and_removed_edges_do_not_show(table):
    """The one adds nothing wherever it is; the other is not written at all."""
    X, y, wide = table
    X, wide = (np.column_stack([part, np.full(len(part), 3.0)]) for part in (X, wide))
    model = KANRegressor((), **QUICK).fit(X, y)
    model.fitted_model_.network_arrays["layers"][0]["mask"][0, 1] = 0
    wide[:, 2] = 100.0
    assert set(named_splines(to_sympy(model))) == {"phi_0", "phi_2"}
    assert_allclose(evaluated(model, wide)[:, 0], model.predict(wide), rtol=1e-9)


def test_named_splines_hold_knots_and_derivatives_of_the_edges(table):
    """The curve is evaluated by other code than that of the network."""
    X, y, wide = table
    model = KANRegressor((), extrapolation="linear", **QUICK).fit(X, y)
    curves = named_splines(to_sympy(model))
    for number, edge in enumerate(edge_functions(model)):
        curve = curves[f"phi_{number}"]
        x = wide[:, number]
        assert_allclose(curve.knots, edge.knots)
        assert_allclose(curve(x), edge(x), rtol=1e-9, atol=1e-9)
        assert_allclose(curve.derivative(x), edge.derivative(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity"])
def test_numpy_source_equals_predict(base_activation, extrapolation, table, tmp_path):
    """It is a module that imports nothing but numpy."""
    X, y, wide = table
    kind = {"base_activation": base_activation, "extrapolation": extrapolation}
    model = KANRegressor((2,), **kind, **QUICK).fit(X, np.column_stack([y, X[:, 1]]))
    source = to_numpy_source(model)
    assert "import numpy\n" in source
    assert source.count("import") == 1
    module = imported(source, tmp_path)
    values = np.column_stack(module.formula(*wide.T))
    assert_allclose(values, model.predict(wide), rtol=1e-9, atol=1e-9 * np.ptp(y))


# Primitives.


@every_primitive
def test_a_primitive_is_the_same_to_numpy_and_sympy(primitive):
    x = sympy.Symbol("x")
    values = sympy.lambdify(x, primitive.expression(x), "numpy")
    z = inner_points(primitive)
    assert_allclose(primitive.function(z), values(z), rtol=1e-12, atol=1e-14)


@every_primitive
def test_a_primitive_knows_its_derivative(primitive):
    """Compared with central differences, which are precise to 1e-8 or so."""
    z = inner_points(primitive)
    differences = Primitive("f", primitive.function, primitive.expression).slope(z)
    assert_allclose(primitive.slope(z), differences, rtol=1e-6, atol=1e-7)


@every_primitive
@pytest.mark.parametrize("a", [0.3, -0.4])
@pytest.mark.parametrize("c", [2.0, -2.5])
def test_the_normal_form_is_the_same_function(primitive, a, c):
    z = inner_points(primitive)
    b, d = 0.7, 0.2
    x = (z - b) / a
    before = c * primitive.function(z) + d
    a, b, c, d = primitive.normalised(a, b, c, d)
    after = c * primitive.function(a * x + b) + d
    assert_allclose(after, before, rtol=1e-9, atol=1e-12)


@every_primitive
def test_the_normal_form_fixes_what_does_not_matter(primitive):
    """Constants that are not free are the same, whatever was given, up to a sign."""
    forms = [primitive.normalised(*given) for given in [(2, 4, 3, 1), (5, 2, 0.5, 0)]]
    for name, *values in zip("abc", *(np.abs(form) for form in forms), strict=False):
        free = name in primitive.constants or name in primitive.scan
        if primitive.name != "0" and not free:
            assert values[0] == values[1], name


# Curves of single edges.


@pytest.mark.parametrize(
    ("name", "function", "constants"),
    [
        ("exp", lambda x: 2 * np.exp(0.8 * x), (0.8, math.log(2), 1)),
        ("log", lambda x: 3 * np.log(x + 4), (1, 4, 3)),
        ("sin", lambda x: 2 * np.sin(3 * x + 0.5), (3, 0.5, 2)),
        ("x^3", lambda x: 0.5 * (x - 1) ** 3, (1, -1, 0.5)),
        ("1/x^2", lambda x: 1 / (x + 3) ** 2, (1, 3, 1)),
        ("sigmoid", lambda x: np.tanh(x - 1), (2, -2, 2)),
    ],
)
def test_the_curve_of_one_edge_is_recognised(name, function, constants):
    """The law comes first; its constants are off by the error of a spline."""
    X = np.linspace(-2, 2, 500).reshape(-1, 1)
    model = KANRegressor((), grid_size=15, random_state=0).fit(X, function(X[:, 0]))
    ranked = rank_candidates(edge_functions(model)[0], LIBRARY, len(X))
    (found,) = (c for c in ranked if c.term.primitive.name == name)
    assert found.score < ranked[0].score + 0.5  # sin is cos, tanh is sigmoid
    assert 1 - found.r2 < 1e-5
    constants_found = [found.term.a, found.term.b, found.term.c]
    if name == "sigmoid" and found.term.a < 0:  # sigmoid(-z) = 1 - sigmoid(z)
        constants = -np.array(constants)
    assert_allclose(constants_found, constants, atol=0.03)


# Joint refits.


def random_formula(rng):
    """A formula of four levels; one edge skips two of them."""
    edges = {
        "sin": ((0, 0), (1, 0)),
        "tanh": ((0, 1), (1, 0)),
        "x^2": ((0, 0), (1, 1)),
        "gaussian": ((1, 0), (2, 0)),
        "exp": ((1, 1), (2, 0)),
        "sigmoid": ((2, 0), (3, 0)),
        "log": ((0, 1), (3, 1)),
    }
    terms = [
        Term(*nodes, BY_NAME[name], *rng.uniform(0.2, 0.6, 3))
        for name, nodes in sorted(edges.items(), key=lambda item: item[1])
    ]
    return Formula((2, 2, 1, 2), tuple(terms), rng.normal(size=2))


def numerical_jacobian(function, point):
    columns = []
    for index in range(len(point)):
        step = np.zeros(len(point))
        step[index] = 1e-6
        columns.append((function(point + step) - function(point - step)) / 2e-6)
    return np.stack(columns, axis=-1)


def test_jacobian_equals_differences(rng):
    """Through all levels, the edge that skips them, and both outputs."""
    formula, X = random_formula(rng), rng.uniform(0.1, 1, (20, 2))
    expected = numerical_jacobian(
        lambda values: formula.with_constants(values)(X), formula.constants
    )
    jacobian = formula.jacobian(formula.nodes(X))
    assert_allclose(jacobian, expected, atol=1e-8)
    assert (np.abs(expected).max(axis=(0, 1)) > 0).all()


@pytest.mark.parametrize("kind", ["squares", "one label", "labels", "classes"])
def test_losses_and_their_gradients_are_those_of_torch(kind, rng):
    """With weights; the curvature of a log loss is its Hessian, too."""
    output, weight = rng.normal(size=(12, 3)), rng.uniform(0.5, 2, 12)
    target = np.eye(3)[rng.integers(0, 3, 12)]
    functional = torch.nn.functional
    if kind == "squares":
        scale = np.array([1.0, 2.0, 0.5])
        loss = FormulaSquaredError(target, weight, scale, 0.0)
    elif kind == "one label":
        output, target = output[:, :1], target[:, :1]
        loss = FormulaLogLoss(target, weight, exclusive=False)
    else:
        loss = FormulaLogLoss(target, weight, exclusive=kind == "classes")
    direction = rng.normal(size=(*output.shape, 2))
    labels, shares = torch.from_numpy(target), torch.from_numpy(weight)

    def expected(v):
        logits = torch.from_numpy(output) + torch.from_numpy(direction) @ v
        if kind == "squares":
            squares = ((logits - labels) / torch.from_numpy(scale)) ** 2
            return 0.5 * (shares @ squares.sum(1))
        if kind == "classes":
            return shares @ functional.cross_entropy(logits, labels, reduction="none")
        losses = functional.binary_cross_entropy_with_logits(
            logits, labels, reduction="none"
        )
        return shares @ losses.sum(1)

    start = torch.zeros(2, dtype=torch.float64)
    assert_allclose(loss.value(output), float(expected(start)), rtol=1e-12)
    slopes, residuals = loss.expansion(output, direction)
    gradient = torch.autograd.functional.jacobian(expected, start)
    assert_allclose(slopes.T @ residuals, gradient, rtol=1e-9)
    curvature = torch.autograd.functional.hessian(expected, start)
    assert_allclose(slopes.T @ slopes, curvature, rtol=1e-9)


def test_normal_form_of_a_formula_is_the_same_function(rng):
    """Constants move from hidden nodes to the functions behind them."""
    formula, X = random_formula(rng), rng.uniform(0.1, 1, (20, 2))
    terms = [
        Term(t.source, t.target, t.primitive, t.a, t.b, t.c, d=rng.normal() / 9)
        for t in formula.terms
    ]
    strengths = {(t.source, t.target): rng.uniform() for t in terms}
    normal = Formula.of_terms(formula.widths, terms, formula.intercepts, strengths)
    nodes = [
        X,
        np.zeros((20, 2)),
        np.zeros((20, 1)),
        formula.intercepts + [[0, 0]] * 20,
    ]
    for t in terms:
        x = nodes[t.source[0]][:, t.source[1]]
        value = t.c * t.primitive.function(t.a * x + t.b) + t.d
        nodes[t.target[0]][:, t.target[1]] += value
    assert_allclose(normal(X), nodes[-1], rtol=1e-9)
    assert all(t.d == 0 for t in normal.terms)
    assert len(normal.constants) < len(Formula(*vars(formula).values()).constants)


def test_terms_that_lead_nowhere_are_left_out():
    """Behind a node without input there is a constant, which is the intercept's."""
    linear = BY_NAME["x"]
    terms = [
        Term((0, 0), (1, 0), linear),
        Term((1, 0), (2, 0), linear, c=2.0),
        Term((1, 1), (2, 0), linear),
        Term((0, 0), (1, 2), linear),
    ]
    strengths = {(term.source, term.target): 1.0 for term in terms}
    formula = Formula.of_terms((1, 3, 1), terms, [0.5], strengths)
    assert [term.target for term in formula.terms] == [(1, 0), (2, 0)]
    assert_allclose(formula(np.array([[3.0]])), [[6.5]])


# Whole laws.


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


# What a formula costs.


def test_the_cost_of_a_formula_is_its_description_length():
    """In nats, counted by hand.

    Three functions out of seven, exp for 2, x for 1 and x^3 for 3 bits; of their
    constants a, b of exp, c of x and b, c of x^3, that of exp is held at b = -1.5
    (sign, half, and twice log2(1 + 3) bits) and c of x^3 at 2 (sign and 2 log2(1 + 2)
    bits); the intercept is held at 0 (one bit for its sign). So three are fitted.
    """
    terms = (
        Term((0, 0), (1, 0), BY_NAME["exp"], 0.7, -1.5, 1.0, held=frozenset("b")),
        Term((0, 1), (1, 0), BY_NAME["x"], 1.0, 0.0, 0.3),
        Term((0, 2), (1, 0), BY_NAME["x^3"], 1.0, 0.2, 2.0, held=frozenset("c")),
    )
    formula = Formula((3, 1), terms, np.zeros(1), held=frozenset({0}))
    X = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    weight = np.full(20, 2.0)
    target = formula(X) + 0.4
    loss = FormulaSquaredError(target, weight, np.array([2.0]), 0.0)
    bits = (2 + 1 + 3) + (2 + 2 * 2) + (1 + 2 * math.log2(3)) + 1
    expected = bits * math.log(2) + 3 * math.log(7) + 3 * math.log(40) / 2
    refit = FormulaFit(X, loss, n_names=7)
    assert_allclose(refit.complexity(formula), expected, rtol=1e-12)
    # Errors of a fifth of the deviation of the target, in 40 observations.
    assert_allclose(refit.cost(formula), expected + 40 * math.log(0.2), rtol=1e-12)


def test_the_cost_of_a_spline_counts_its_coefficients(table):
    """Which are constants like others, but were fitted by the network."""
    X, y, _ = table
    network = KANRegressor((), grid_size=4, **QUICK).fit(X[:, :1], y)
    model = fit_symbolic(network, X[:, :1], y, fixed=all_splines(network))
    (term,) = model.formula_.terms
    loss = FormulaSquaredError(y[:, None], np.ones(len(y)), np.ones(1), 0.0)
    n_fitted = 4 + 3 + 1 + len(model.formula_.constants)  # splines and base function
    expected = n_fitted * math.log(80) / 2 + math.log(5)
    expected += math.log(2) * term.primitive.complexity
    found = FormulaFit(X[:, :1], loss, n_names=5).complexity(model.formula_)
    assert_allclose(found, expected, rtol=1e-12)


def test_the_cost_of_a_fit_is_that_of_its_documentation(sums):
    """exp(x0) - 2 x1 out of FEW and the spline, all of whose constants are held."""
    network, X, y = sums
    model = fit_symbolic(network, X, y, primitives=FEW)
    x0, x1, _ = feature_symbols(model)
    assert to_sympy(model) == sympy.exp(x0) - 2 * x1
    held = {"a": 1 + 2, "b": 1, "c": 1 + 2 * math.log2(3), "intercept": 1}
    bits = BY_NAME["exp"].complexity + BY_NAME["x"].complexity + sum(held.values())
    share = np.mean((model.predict(X) - y) ** 2) / np.var(y)
    expected = len(X) / 2 * math.log(share)
    expected += bits * math.log(2) + 2 * math.log(len(FEW) + 1)
    assert_allclose(model.cost_, expected, rtol=1e-9)


@pytest.mark.parametrize(("n_hidden", "n_sides"), [(1, 2), (3, 8), (4, 0)])
def test_sides_of_hidden_nodes_are_tried_where_they_are_few(n_hidden, n_sides):
    """Up to three, every combination of a straight side before or behind each.

    Elsewhere a search begins with straight edges only where they are good.
    """
    widths = (1, n_hidden, 1)
    nodes = [((0, 0), (1, node)) for node in range(n_hidden)]
    nodes += [((1, node), (2, 0)) for node in range(n_hidden)]
    edges = []
    for source, target in nodes:
        good, poor = Term(source, target, BY_NAME["exp"]), Term(source, target, LINEAR)
        candidates = [Candidate(good, 1.0, 0.0), Candidate(poor, 0.2, 1.0)]
        edges.append(EdgeChoices(source, target, candidates, 1.0, 1.0, False))
    search = FormulaSearch(widths, edges, np.zeros(1), None, None, max_refits=1)
    starts = {choice for choice in search._starts() if any(choice)}
    expected = {
        (*sides, *(1 - side for side in sides))
        for sides in itertools.product((0, 1), repeat=n_hidden)
    }
    assert starts == (expected if n_sides else set())
    assert len(starts) == n_sides


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


# What users may ask for.


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


def test_names_become_distinct_identifiers():
    """Whatever the columns of a table are called."""
    import pandas as pd

    names = ["a b", "a-b", "1st", "lambda", "numpy", "phi_0", "ü"]
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(50, len(names))), columns=names)
    model = KANRegressor((), **QUICK).fit(X, X["a b"] + X["ü"])
    symbols = [symbol.name for symbol in feature_symbols(model)]
    assert symbols == ["a_b", "a_b_2", "x_1st", "lambda_", "numpy_2", "phi_0_2", "ü"]
    assert_allclose(evaluated(model, X.to_numpy())[:, 0], model.predict(X), rtol=1e-9)
    compile(to_numpy_source(model), "law", "exec")  # is Python


def additive_formula(names, functions):
    """A fitted sum of functions, made by hand: nothing of it depends on a fit."""
    X = pd.DataFrame(np.zeros((2, len(names))), columns=names)
    X.iloc[1] = 1.0
    network = KANRegressor((), solver="lbfgs", max_iter=1).fit(X, [0.0, 1.0])
    fixed = {(name, "y"): "x" for name in names}
    model = fit_symbolic(network, X, fixed=fixed, primitives=FEW)
    terms = [
        Term((0, number), (1, 0), function)
        for number, function in enumerate(functions)
        if function is not None
    ]
    model.formula_ = Formula((len(names), 1), tuple(terms), np.zeros(1))
    return model


LOOKALIKES = ["area_m²", "x½", "①", "µ", "μ", "ﬁ", "fi", "ª", "a", "௰", "__debug__"]


@pytest.mark.filterwarnings("ignore:.*overflow:RuntimeWarning")
def test_names_that_python_takes_for_equal_are_told_apart(tmp_path):
    """Identifiers are compared in Unicode's form KC, and must be some."""
    model = additive_formula(LOOKALIKES, [BY_NAME["x"]] * len(LOOKALIKES))
    names = [symbol.name for symbol in feature_symbols(model)]
    assert all(map(str.isidentifier, names))
    forms = [unicodedata.normalize("NFKC", name) for name in names]
    assert len(set(forms)) == len(names)
    formula = imported(to_numpy_source(model), tmp_path).formula
    assert list(inspect.signature(formula).parameters) == forms
    assert formula(*2.0 ** np.arange(len(names))) == 2 ** len(names) - 1


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("x1", "x_{1}"),
        ("T", "T"),
        ("alpha", r"\alpha"),
        ("lambda", r"\lambda"),
        ("x_1", r"\mathrm{x\_1}"),
        ("x 1 (m/s)", r"\mathrm{x\ 1\ (m/s)}"),
        ("speed__max", r"\mathrm{speed\_\_max}"),
        ("gas_hat", r"\mathrm{gas\_hat}"),
        ("e", r"\mathrm{e}"),
        ("pi", r"\mathrm{pi}"),
        ("x-ray", r"\mathrm{x\text{-}ray}"),
        ("a^b~c", r"\mathrm{a{\wedge}b{\sim}c}"),
        ("R&D {\\} #$%", r"\mathrm{R\&D\ \{\backslash \}\ \#\$\%}"),
        ("m²", r"\mathrm{m\text{²}}"),
        ("7", "x_{7}"),
        ("2 m", r"x_{\mathrm{2\ m}}"),
    ],
)
def test_latex_shows_features_as_they_are_given(name, latex):
    """No index, accent or exponent that is not in the name, and no number."""
    model = additive_formula([name, "z"], [BY_NAME["x^2"], None])
    square = (
        rf"\left({latex}\right)^{{2}}" if latex.startswith("(") else f"{latex}^{{2}}"
    )
    assert to_latex(model) == f"y = {square}"


def test_latex_keeps_the_target_and_the_features_apart():
    """And features whose names would look the same."""
    model = additive_formula(["y", "a b", "a\tb", "x1", "1"], [BY_NAME["x"]] * 5)
    left, right = to_latex(model).split(" = ")
    assert left == r"\widehat{y}"
    parts = sorted(right.split(" + "))
    expected = [
        r"\mathrm{a\ b}",
        r"{\mathrm{a\ b}}_{(2)}",
        "x_{1}",
        "{x_{1}}_{(2)}",
        "y",
    ]
    assert parts == sorted(expected)


def test_latex_of_classes_has_their_names(table):
    """Numbers are indices, so that no equation begins with one."""
    X, y, _ = table
    model = KANClassifier((), **QUICK).fit(
        X, np.digitize(y, np.quantile(y, [0.3, 0.6]))
    )
    lefts = [equation.split(" = ")[0] for equation in to_latex(model)]
    assert lefts == ["y_{0}", "y_{1}", "y_{2}"]


# The library has none of these.
OF_NUMPY = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: sympy.Max(x, 0)),
    "least of three": (
        lambda x: np.minimum(np.minimum(x, 1), x**2),
        lambda x: sympy.Min(x, 1, x**2),
    ),
    "size": (np.abs, sympy.Abs),
    "sign": (np.sign, sympy.sign),
    "step": (lambda x: np.heaviside(x, 0.5), sympy.Heaviside),
    "hat": (
        lambda x: np.where((x > -1) & (x < 1), 1 - np.abs(x), 0),
        lambda x: sympy.Piecewise(
            (1 - sympy.Abs(x), sympy.And(x > -1, x < 1)), (0, True)
        ),
    ),
    "outside": (
        lambda x: np.where((x < -1) | (x > 1), x, 0.0),
        lambda x: sympy.Piecewise((x, sympy.Or(x < -1, x > 1)), (0, True)),
    ),
    "sinc": (np.sinc, lambda x: sympy.sinc(sympy.pi * x)),
    "remainder": (lambda x: np.mod(x, 2), lambda x: sympy.Mod(x, 2)),
    "floor": (np.floor, sympy.floor),
    "asinh": (np.arcsinh, sympy.asinh),
}


@pytest.mark.parametrize("name", OF_NUMPY)
def test_source_of_ones_own_functions_is_numpy(name, tmp_path):
    """For numbers, arrays, and arrays that broadcast, in one function of two inputs."""
    function, expression = OF_NUMPY[name]
    own = Primitive(name, function, expression)
    model = additive_formula(["u", "v"], [own, BY_NAME["x"]])
    source = to_numpy_source(model)
    assert source.count("import") == 1
    formula = imported(source, tmp_path).formula
    u = np.linspace(-2, 2, 9)
    assert_allclose(formula(u, 3.0), function(u) + 3, atol=1e-12)
    assert_allclose(formula(0.5, 3.0), function(np.array(0.5)) + 3, atol=1e-12)
    v = np.arange(3.0)[:, None]
    assert_allclose(formula(u, v), function(u) + v, atol=1e-12)
    nested = model.formula_.terms[0].primitive.expression(sympy.Symbol("u") + v[1, 0])
    assert_allclose(
        sympy.lambdify([sympy.Symbol("u")], nested, "numpy")(u), function(u + 1)
    )


def counted(x):
    return sympy.Sum(x ** sympy.Symbol("k"), (sympy.Symbol("k"), 0, 2))


@pytest.mark.parametrize(
    ("expression", "lacking"),
    [
        (sympy.erf, "erf"),
        (sympy.gamma, "gamma"),
        (sympy.LambertW, "LambertW"),
        (lambda x: 1 + sympy.besselj(0, x) ** 2, "besselj"),
        (sympy.Function("f"), "f"),
        (counted, "Sum"),
        (lambda x: x + sympy.I, "ImaginaryUnit"),
    ],
)
def test_functions_that_numpy_lacks_are_told(expression, lacking):
    """Rather than written down as something that does not run."""
    own = Primitive("own", np.sin, expression)
    model = additive_formula(["u", "v"], [own, BY_NAME["x"]])
    with pytest.raises(ValueError, match=f"numpy, which lacks '{lacking}', .*lambdify"):
        to_numpy_source(model)


def test_source_returns_arrays_of_the_shape_of_its_arguments(tmp_path):
    """Where an output is constant, and where it does not depend on all of them."""
    X = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    Y = np.column_stack([np.exp(X[:, 0]), np.full(60, 3.0), X[:, 0] * 2 + X[:, 1]])
    network = KANRegressor((), random_state=0).fit(X, Y)
    model = fit_symbolic(network, X, Y, primitives=FEW)
    first, second = np.linspace(-1, 1, 4), np.linspace(-1, 1, 3)[:, None]
    formula = imported(to_numpy_source(model), tmp_path).formula
    grid = np.column_stack(
        [part.ravel() for part in np.broadcast_arrays(first, second)]
    )
    expected = model.predict(grid).T.reshape(3, 3, 4)
    for values, of_output in zip(formula(first, second), expected, strict=True):
        assert values.dtype == np.float64
        assert_allclose(values, of_output, rtol=1e-12)
    assert [np.shape(value) for value in formula(0.5, 1)] == [()] * 3


def test_a_constant_formula_returns_arrays(tmp_path):
    """All edges pruned: lambdify gives a number, which its documentation says."""
    X = np.random.default_rng(0).uniform(-1, 1, (60, 2))
    network = KANRegressor((), prune_threshold=1e9, **QUICK).fit(X, X[:, 0] + 3)
    formula = imported(to_numpy_source(network), tmp_path).formula
    assert formula(*X.T).shape == (60,)
    assert_allclose(formula(*X.T), network.predict(X), rtol=1e-12)


def test_constants_are_written_to_the_last_digit(tmp_path):
    """Beside a pole, where 15 digits are too few; and 0.1 is 0.1."""
    a, b = 4.6361228149301476e-06, 1.5707795241997045
    beside = Term((0, 0), (1, 0), BY_NAME["tan"], a, b)
    model = additive_formula(["u", "z"], [None, None])
    model.formula_ = Formula((2, 1), (beside,), np.array([0.1]))
    X = np.column_stack([np.linspace(-3, 3, 101), np.zeros(101)])
    expected = np.tan(a * X[:, 0] + b) + 0.1
    assert_allclose(evaluated(model, X)[:, 0], expected, rtol=1e-12)
    source = to_numpy_source(model)
    assert_allclose(imported(source, tmp_path).formula(*X.T), expected, rtol=1e-12)
    assert " + 0.1 + zeros" in source
    assert "0.10000000000000001" not in str(to_sympy(model))


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


# Messages.


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": (1, 0)}, "must be an interval"),
        ({"domain": 3}, "must be an interval"),
        ({"domain": (None, 3)}, "must be an interval"),
        ({"constants": "abd"}, "must be some of 'abc'"),
        ({"scan": "c"}, "scan of 'f' must be one of"),
    ],
)
def test_wrong_primitives_are_told_so(options, message):
    with pytest.raises(ValueError, match=message):
        Primitive("f", np.sin, sympy.sin, **options)


def test_other_estimators_are_told_so(sums):
    network, X, y = sums
    with pytest.raises(TypeError, match="got Pipeline: of a Pipeline pass its last"):
        fit_symbolic(make_pipeline(StandardScaler(), network), X, y)
    with pytest.raises(
        TypeError, match="primitives must hold Primitive objects, got str"
    ):
        fit_symbolic(network, X, y, primitives=["x"])


@pytest.mark.parametrize(
    "estimator", [KANClassifier(), GridSearchCV(KANRegressor(), {})]
)
def test_other_networks_are_told_so(estimator, sums):
    """Before they are fitted."""
    _, X, y = sums
    with pytest.raises(TypeError, match="must be a KANRegressor, got"):
        SymbolicKANRegressor(estimator).fit(X, y)


def test_networks_without_edges_are_constants(rng):
    """All of them are pruned away, and nothing is left to choose."""
    X = rng.uniform(-1, 1, (60, 2))
    network = KANRegressor((), prune_threshold=1e9, **QUICK).fit(X, X[:, 0] + 3)
    model = fit_symbolic(network, X, X[:, 0] + 3, primitives=FEW)
    assert set(model.choices_.values()) <= {"0"}
    assert_allclose(model.predict(X), np.mean(X[:, 0] + 3), rtol=1e-9)


@pytest.mark.parametrize("use", [to_sympy, to_latex, to_numpy_source, feature_symbols])
@pytest.mark.parametrize("make", [KANRegressor, SymbolicKANRegressor])
def test_unfitted_models_are_told_so(use, make):
    with pytest.raises(NotFittedError):
        use(make())


@pytest.mark.parametrize("method", ["predict", "proposals"])
def test_unfitted_formulas_are_told_so(method):
    model = SymbolicKANRegressor()
    arguments = [[[1.0]]] if method == "predict" else []
    with pytest.raises(NotFittedError):
        getattr(model, method)(*arguments)
    with pytest.raises(NotFittedError):
        fit_symbolic(KANRegressor(), np.ones((3, 1)))


# Conventions.


def test_models_are_estimators(sums):
    """They clone, pickle, and know their columns."""
    network, X, y = sums
    model = fit_symbolic(network, X, y, primitives=FEW)
    restored = pickle.loads(pickle.dumps(model))
    assert_array_equal(restored.predict(X), model.predict(X))
    assert to_sympy(restored) == to_sympy(model)
    copy = clone(model)
    assert not hasattr(copy, "formula_")
    assert not hasattr(copy.estimator, "_network_arrays")
    assert to_sympy(copy.fit(X, y)) == to_sympy(model)
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.predict(X[:, :2])


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
    assert isinstance(SymbolicKANRegressor()._default_estimator(), KANRegressor)
    assert isinstance(SymbolicKANClassifier()._default_estimator(), KANClassifier)


def test_arguments_are_not_modified(sums):
    network, X, y = sums
    before, copies = pickle.dumps(network), (X.copy(), y.copy())
    fit_symbolic(network, X, y, primitives=FEW)
    assert pickle.dumps(network) == before
    assert_array_equal(X, copies[0])
    assert_array_equal(y, copies[1])


def test_features_may_have_names_of_functions(rng):
    """Their symbols are others, as printed functions would be shadowed."""
    X = pd.DataFrame(rng.uniform(-1, 1, (200, 2)), columns=["exp", "sin"])
    y = np.exp(X["exp"]) + X["sin"]
    network = KANRegressor((), random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=FEW)
    found = evaluated(model, X.to_numpy())[:, 0]
    assert_allclose(found, model.predict(X), rtol=1e-9)
    assert_allclose(found, y, rtol=1e-6)


def test_choices_may_be_given_back(rng):
    """Dead edges, too, whether or not the library has the function 0."""
    X = rng.uniform(-1, 1, (200, 3))
    y = np.exp(X[:, 0]) + X[:, 1]
    network = KANRegressor((), random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=FEW[1:])
    assert model.choices_["x2", "y"] == "0"
    again = fit_symbolic(network, X, y, primitives=FEW[1:], fixed=model.choices_)
    assert again.choices_ == model.choices_


# What is asked for holds.


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
@pytest.mark.parametrize("asked", ["spline", "x", "exp"])
def test_fixed_edges_are_never_left_out(asked, with_target, sums):
    """Not even that of an input which is irrelevant."""
    network, X, y = sums
    fixed = {("x2", "y"): asked}
    model = fit_symbolic(
        network, X, y if with_target else None, fixed=fixed, primitives=FEW
    )
    assert model.choices_["x2", "y"] == asked
    assert model.edges_[2].c != 0
    assert feature_symbols(model)[2] in to_sympy(model).free_symbols
    assert consistent(model, X)


def test_fixed_edges_lead_to_an_output(rng):
    """Behind a node that the network does not use, edges are used nevertheless."""
    X = rng.uniform(-1, 1, (100, 2))
    network = KANRegressor((2,), grid_size=3, random_state=0).fit(X, np.exp(X[:, 0]))
    for node in range(2):
        fixed = {("x1", f"h1_{node}"): "x^2"}
        model = fit_symbolic(network, X, fixed=fixed, primitives=FEW, max_refits=40)
        assert model.choices_["x1", f"h1_{node}"] == "x^2"
        assert model.choices_[f"h1_{node}", "y"] != "0"
        assert consistent(model, X)
    fixed[f"h1_{node}", "y"] = "0"
    with pytest.raises(ValueError, match="all edges asked for lead to an output"):
        fit_symbolic(network, X, fixed=fixed, primitives=FEW, max_refits=20)


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


# Weights are repetitions.


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
    options = {"primitives": FEW, "max_refits": 20}
    one = fit_symbolic(network, X, target, sample_weight=weight, **options)
    other = fit_symbolic(network, np.repeat(X, weight, axis=0), repeated, **options)
    assert one.cost_ == other.cost_
    assert to_sympy(one) == to_sympy(other)


def test_weights_reach_the_network(sums):
    """The estimator fits both by them."""
    _, X, y = sums
    y = np.where(np.arange(len(y)) < 200, y, -y)
    model = SymbolicKANRegressor(KANRegressor((), **QUICK), primitives=FEW)
    model.fit(X, y, sample_weight=(np.arange(len(y)) < 200).astype(float))
    assert_allclose(model.predict(X[:200]), y[:200], atol=0.06)


# Functions of torch.


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


@pytest.mark.parametrize(
    "function",
    [
        torch.sin,
        torch.nn.SiLU(),
        lambda x: x * torch.sigmoid(x),
        np.sin,
        lambda x: x**2,
    ],
)
def test_functions_may_be_of_either_kind(function):
    own = Primitive("own", function, sympy.sin, domain=(3, 9))
    z = np.linspace(4, 5, 6).reshape(2, 3)
    expected = function(z if isinstance(function, np.ufunc) else torch.from_numpy(z))
    assert_allclose(own.function(z), np.asarray(expected), rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: 1.0, ValueError, r"'f' must return .* got float 1.0: compute"),
        (lambda x: x.sum(), ValueError, r"must return .* got float64 .* element"),
        (
            lambda x: x[0],
            ValueError,
            r"shape of its argument, \(3, 4\), got shape \(4,",
        ),
        (lambda x: x > 0, ValueError, r"got dtype bool: keep the precision"),
        (lambda x: x + 0j, ValueError, r"got dtype complex128: keep the precision"),
        (lambda x: torch.sin(x).float(), ValueError, r"got dtype float32"),
        (lambda x: x * np.nan, ValueError, r"got NaN at all of -1.83 to 1.83: set dom"),
        (math.sin, TypeError, r"must take a float64 ndarray .* in place of math.sin"),
        ("sin", TypeError, r"of 'f' must be a function of numpy or torch"),
    ],
)
@pytest.mark.parametrize("role", ["function", "derivative"])
def test_functions_that_are_none_are_told_so(role, function, error, message):
    """At construction, with the name and a remedy."""
    functions = {"function": np.sin, "derivative": np.cos, role: function}
    with pytest.raises(error, match=message):
        Primitive("f", expression=sympy.sin, **functions)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("f", np.sin, None), TypeError, "expression of 'f' must be a function"),
        (("", np.sin, sympy.sin), ValueError, "name must be text"),
    ],
)
def test_wrong_parts_of_primitives_are_told_so(arguments, error, message):
    with pytest.raises(error, match=message):
        Primitive(*arguments)
    with pytest.raises(ValueError, match="complexity of 'f' must be a finite number"):
        Primitive("f", np.sin, sympy.sin, complexity=-1)
    with pytest.raises(TypeError, match="normal_form of 'f' must be a function"):
        Primitive("f", np.sin, sympy.sin, normal_form="odd")


# Further requests, and data as they come.


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


def test_read_only_tables_serve(sums):
    """And one row is enough for a prediction."""
    network, X, y = sums
    X, y = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    model = fit_symbolic(network, X, y, primitives=FEW, max_refits=9)
    assert model.predict(X[:1]).shape == (1,)


def test_a_search_over_primitives(sums):
    """Tuples of functions are parameters like others."""
    _, X, y = sums
    model = SymbolicKANRegressor(KANRegressor((), **QUICK), max_refits=40)
    search = GridSearchCV(model, {"primitives": [FEW[:2], FEW]}, cv=2).fit(X, y)
    assert search.best_params_["primitives"] == FEW
    assert "exp" in search.best_estimator_.choices_.values()


def test_labels_must_be_those_of_the_network(rng):
    X = rng.uniform(-2, 2, (60, 2))
    labels = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    network = KANClassifier((), **QUICK).fit(X, labels)
    with pytest.raises(ValueError, match="must have the 2 outputs of the network"):
        fit_symbolic(network, X, labels[:, [0, 1, 1]])


def test_functions_are_shown_without_addresses():
    """So that names of tests, and printed estimators, are the same in each process."""
    assert not [function for function in LIBRARY if " at 0x" in repr(function)]
    assert "name='x^2'" in repr([one for one in LIBRARY if one.name == "x^2"])
