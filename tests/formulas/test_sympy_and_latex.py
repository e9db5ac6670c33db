"""Expressions, LaTeX and numpy source say what the models predict."""

import importlib.util
import inspect
import unicodedata

import numpy as np
import pandas as pd
import pytest
import sympy
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions, gradient
from skkan.symbolic import (
    LIBRARY,
    Formula,
    Primitive,
    SymbolicKANRegressor,
    Term,
    feature_symbols,
    fit_symbolic,
    named_splines,
    to_latex,
    to_numpy_source,
    to_sympy,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


BY_NAME = {primitive.name: primitive for primitive in LIBRARY}


QUICK = {"solver": "lbfgs", "max_iter": 15, "random_state": 0}


FEW = [BY_NAME[name] for name in ("0", "x", "x^2", "exp", "log")]


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


@pytest.fixture(scope="module")
def table():
    """Rows inside and outside of the range in which a model is fitted."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) * [3, 0.1] + [5, -1]
    y = np.sin(X[:, 0]) + 40 * (X[:, 1] + 1) ** 2 + 7
    wide = rng.normal(size=(200, 2)) * [15, 0.6] + [5, -1]
    return X, y, wide


# Splines: the expression is the network.


@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("base_activation", ["silu", "identity"])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (2,), "additive_skip": True},
        {
            "hidden_layer_sizes": (2, 0),
            "n_multiplications": (0, 1),
            "spline_order": 2,
            "grid_eps": 0.2,
        },
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


def test_products_are_printed_as_products(table, tmp_path):
    """Of both factors, behind which stands one more curve."""
    X, y, wide = table
    model = KANRegressor((0,), n_multiplications=1, **QUICK).fit(X, y)
    expected = (
        r"y = \phi_{4}{\left(\left(\phi_{0}{\left(x_{0} \right)} + "
        r"\phi_{1}{\left(x_{1} \right)}\right) \left(\phi_{2}{\left(x_{0} \right)} + "
        r"\phi_{3}{\left(x_{1} \right)}\right) \right)}"
    )
    assert to_latex(model, round_to=1).startswith(expected)
    module = imported(to_numpy_source(model), tmp_path)
    assert_allclose(module.formula(*wide.T), model.predict(wide), rtol=1e-10)


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
@pytest.mark.parametrize(
    ("spline_order", "base_activation"), [(0, "silu"), (2, "identity"), (3, "silu")]
)
def test_derivatives_of_named_splines_are_those_of_their_pieces(
    spline_order, base_activation, extrapolation, table
):
    """sympy differentiates the pieces itself; of the named functions it cannot know."""
    X, y, wide = table
    X, wide = X[:, :1], wide[:, :1]
    kind = {"base_activation": base_activation, "extrapolation": extrapolation}
    model = KANRegressor(
        (), grid_size=2, spline_order=spline_order, **kind, **QUICK
    ).fit(X, y)
    laws = to_sympy(model), to_sympy(model, piecewise=True)
    (symbol,) = feature_symbols(model)
    for _ in range(3):
        laws = [law.diff(symbol) for law in laws]
        found, expected = (
            np.broadcast_to(sympy.lambdify(symbol, law)(wide[:, 0]), len(wide))
            for law in laws
        )
        scale = np.abs(expected).max() + 1e-300
        assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-9)


@pytest.mark.parametrize("hidden_layer_sizes", [(2,), (2, 1)])
def test_derivatives_behind_hidden_nodes_are_those_of_the_network(
    hidden_layer_sizes, table
):
    """Under a log link, with a skip; a category has none, unlike a number."""
    X, y, wide = table
    code = np.arange(len(wide)) % 3
    X, wide = np.column_stack([X, code[: len(X)]]), np.column_stack([wide, code])
    model = KANRegressor(
        hidden_layer_sizes,
        additive_skip=True,
        categorical_features=[2],
        loss="poisson",
        **QUICK,
    ).fit(X, np.abs(y) + X[:, 2])
    law, symbols = sympy.log(to_sympy(model)), feature_symbols(model)
    law = sympy.expand_log(law, force=True)

    def values(expression, rows):
        return sympy.lambdify(symbols, expression)(*rows.T)

    slopes = [law.diff(symbol) for symbol in symbols]
    assert slopes.pop() == 0
    found = np.column_stack([values(slope, wide) for slope in slopes])
    expected = gradient(model, wide)[:, :2]
    assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    step = 1e-6 * np.eye(3)[1]
    ahead, behind = gradient(model, wide + step), gradient(model, wide - step)
    mixed, expected = law.diff(*symbols[:2]), (ahead - behind)[:, 0] / 2e-6
    # Rounding of slopes over the step, and curvatures that change within it.
    scale = np.abs(expected).max()
    assert_allclose(values(mixed, wide) / scale, expected / scale, rtol=0, atol=1e-7)
    assert law.diff(symbols[1]).diff(symbols[0]) == mixed
    orders = {name: getattr(c, "order", 0) for name, c in named_splines(mixed).items()}
    assert {("phi", "dphi", "d2phi")[n] for n in orders.values()} == {
        name.partition("_")[0] for name in orders
    }


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


def test_names_become_distinct_identifiers():
    """Whatever the columns of a table are called."""
    import pandas as pd

    names = ["a b", "a-b", "1st", "lambda", "numpy", "phi_0", "d2phi_1", "ü"]
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(50, len(names))), columns=names)
    model = KANRegressor((), **QUICK).fit(X, X["a b"] + X["ü"])
    symbols = [symbol.name for symbol in feature_symbols(model)]
    expected = ["a_b", "a_b_2", "x_1st", "lambda_", "numpy_2", "phi_0_2", "d2phi_1_2"]
    assert symbols == [*expected, "ü"]
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
    assert " + 1/10 + zeros" in source
    assert "0.10000000000000001" not in str(to_sympy(model))


@pytest.mark.parametrize("use", [to_sympy, to_latex, to_numpy_source, feature_symbols])
@pytest.mark.parametrize("make", [KANRegressor, SymbolicKANRegressor])
def test_unfitted_models_are_told_so(use, make):
    with pytest.raises(NotFittedError):
        use(make())


def test_features_may_have_names_of_functions(rng):
    """Their symbols are others, as printed functions would be shadowed."""
    X = pd.DataFrame(rng.uniform(-1, 1, (200, 2)), columns=["exp", "sin"])
    y = np.exp(X["exp"]) + X["sin"]
    network = KANRegressor((), random_state=0).fit(X, y)
    model = fit_symbolic(network, X, y, primitives=FEW)
    found = evaluated(model, X.to_numpy())[:, 0]
    assert_allclose(found, model.predict(X), rtol=1e-9)
    assert_allclose(found, y, rtol=1e-6)
