"""What displays, tables and formulas show of categories and of missing cells."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from skkan import KANRegressor
from skkan.inspection import (
    EdgeFunctionDisplay,
    GridDisplay,
    KANDisplay,
    edge_functions,
    edge_table,
)
from skkan.symbolic import (
    CategoryCurve,
    SymbolicKANRegressor,
    feature_symbols,
    fit_symbolic,
    named_splines,
    to_numpy_source,
    to_sympy,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
COLOURS = ["red", "green", 'blue """\n']
X = pd.DataFrame(
    {
        "x": rng.normal(size=150),
        "colour": pd.Categorical.from_codes(rng.integers(0, 3, size=150), COLOURS),
        "town": pd.Categorical(rng.integers(0, 60, size=150)),
    }
)
X.loc[::6, "x"] = np.nan
X.loc[1::7, "colour"] = None
Y = np.where(X["x"].isna(), 2.0, np.sin(X["x"])) + (X["colour"] == "red")
NUMBERS_ONLY = ["knots", "spline", "base_weight", "base_scaling", "extrapolation"]
NUMBERS_ONLY += ["base_activation"]


@pytest.fixture(scope="module")
def additive():
    return KANRegressor((), random_state=0).fit(X, Y)


@pytest.fixture(scope="module")
def hidden():
    return KANRegressor((2,), solver="lbfgs", max_iter=30, random_state=0).fit(X, Y)


def test_bars_are_the_values_less_the_mean(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, ["colour", "x"])
    edge = display.edges[0]
    heights = [bar.get_height() for bar in display.bars_[0]]
    assert_allclose(heights, edge.category_values - edge.mean)
    assert display.bars_[1] is None
    assert len(display.knots_[0].get_xdata()) == 0
    # The density of a category is the share of its rows among those that are known.
    shares = X["colour"].value_counts(normalize=True, sort=False)
    assert_allclose(edge.density, shares)
    names = [tick.get_text() for tick in display.axes_[0].get_xticklabels()]
    assert names[:2] == ["red", "green"]


def test_bands_of_bars_are_posterior_deviations(additive):
    display = EdgeFunctionDisplay.from_estimator(additive, ["colour"])
    (edge,) = display.edges
    band = 1.645 * edge.deviation(edge.categories)
    values = edge.category_values - edge.mean
    for path, low, high in zip(
        display.bands_[0].get_paths(), values - band, values + band, strict=True
    ):
        ends = path.vertices[:, 1]
        assert_allclose([ends.min(), ends.max()], [low, high])


def test_value_at_missing_is_a_mark_beside_the_curve(additive):
    """Right of all that else is drawn, within the scale, and named."""
    display = EdgeFunctionDisplay.from_estimator(additive, ["x", "colour", "town"])
    assert display.missing_[2] is None
    for number, most in ((0, X["x"].max()), (1, 2.4)):
        edge, mark = display.edges[number], display.missing_[number]
        assert_allclose(mark.get_ydata(), edge.missing_value - edge.mean)
        ax = display.axes_[number]
        assert most < mark.get_xdata()[0] < ax.get_xlim()[1]
        low, high = ax.get_ylim()
        assert low < mark.get_ydata()[0] < high
        assert [text.get_text() for text in ax.texts] == ["missing"]


def test_only_as_many_names_as_there_is_room(additive):
    """Of 60 towns in a narrow axes without a layout engine."""
    figure, ax = plt.subplots(figsize=(3, 3))
    EdgeFunctionDisplay.from_estimator(additive, ["town"], ax=ax)
    figure.canvas.draw()
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    assert 2 <= len(boxes) < 30
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_network_shows_bars(additive):
    """As outlines, which fill their box like curves do."""
    display = KANDisplay.from_estimator(additive, threshold=0.0)
    names = [edge.source_name for edge in display.shown_]
    line = display.curves_[names.index("colour")]
    y = line.get_ydata().reshape(3, 5)
    edge = display.shown_[names.index("colour")]
    rise = np.ptp([*edge.category_values, edge.mean])
    heights = y[:, 0] - y[:, 1]  # rows count downwards
    expected = (edge.category_values - edge.mean) / rise
    assert_allclose(heights / np.nanmax(y - np.nanmin(y)), expected)


def test_table_knows_categories(additive):
    table = edge_table(additive).set_index("source")
    assert table["kind"]["colour"] == "category"
    assert table["kind"]["x"] == "curved"
    assert table["low"].isna()["colour"]
    assert np.isnan(table["slope"]["colour"])


def test_edge_takes_categories_as_they_stand_in_x(additive):
    edges = {edge.source_name: edge for edge in edge_functions(additive)}
    colour, town = edges["colour"], edges["town"]
    assert_array_equal(colour(COLOURS), colour.category_values)
    expected = [0.0, colour.missing_value]  # sums in another order
    assert_allclose(colour(["black", None]), expected, rtol=1e-15)
    assert_array_equal(town(town.categories), town.category_values)
    assert colour(np.array([["red"]])).shape == (1, 1)


@pytest.mark.parametrize("name", NUMBERS_ONLY)
def test_categories_have_no_splines(additive, name):
    edge = edge_functions(additive)[1]
    with pytest.raises(ValueError, match=rf"{name} of the edge .'colour', 'y'. is not"):
        getattr(edge, name)


def test_numbers_have_no_values_of_categories(additive):
    number, category, _ = edge_functions(additive)
    with pytest.raises(ValueError, match="its input is a number: call the edge"):
        _ = number.category_values
    with pytest.raises(ValueError, match="derivative of the edge"):
        category.derivative(["red"])
    assert number.derivative([np.nan])[0] == 0


def test_grid_of_a_category_is_an_error(additive):
    assert GridDisplay.from_estimator(additive).edge.source_name == "x"
    with pytest.raises(ValueError, match="'colour' is a category and has no grid"):
        GridDisplay.from_estimator(additive, "colour")


# Formulas.


@pytest.mark.parametrize("which", ["additive", "hidden"])
def test_formulas_predict_from_codes(which, request):
    """Of known and of unknown categories, where nothing is missing."""
    model = request.getfixturevalue(which)
    rows = X.dropna()
    codes = [rows["x"], rows["colour"].cat.codes, rows["town"].cat.codes]
    codes = [np.asarray(column, dtype=float) for column in codes]
    rows = rows.assign(town=rows["town"].cat.add_categories([99]))
    rows.loc[rows.index[0], "town"], codes[2][0] = 99, -1
    expected = model.predict(rows)
    expression, namespace = to_sympy(model), {}
    formula = sympy.lambdify(feature_symbols(model), expression)
    assert_allclose(formula(*codes), expected, rtol=1e-9)
    exec(to_numpy_source(model), namespace)  # noqa: S102 - it is what users do
    assert_allclose(namespace["formula"](*codes), expected, rtol=1e-9)
    curves = named_splines(expression).values()
    assert sum(isinstance(curve, CategoryCurve) for curve in curves) >= 2
    gap = namespace["formula"](np.array([np.nan]), *(c[:1] for c in codes[1:]))
    assert np.isnan(gap).all()


def test_piecewise_compares_with_codes(additive):
    x, colour, town = feature_symbols(additive)
    expression = to_sympy(additive, piecewise=True)
    values = edge_functions(additive)[1].category_values
    at = {x: 0.3, town: 4}
    red, other = (expression.subs({**at, colour: code}).evalf() for code in (0, 17))
    assert_allclose(float(red - other), values[0], atol=1e-12)


def test_category_curve_is_a_function_of_codes():
    curve = CategoryCurve("phi_0", np.array(["a", "b"]), np.array([2.0, 3.0]))
    assert_array_equal(curve([1, 0, -1, 0.5, np.nan]), [3, 2, 0, 0, np.nan])
    assert_array_equal(curve.derivative([0, 1]), [0, 0])


def test_functions_are_not_read_off_categories(additive):
    """Neither of a fitted network nor before one is fitted."""
    match = r"got the categories \['colour', 'town'\]: write the network as it is"
    with pytest.raises(ValueError, match=match):
        fit_symbolic(additive, X, Y)
    with pytest.raises(ValueError, match=match):
        SymbolicKANRegressor().fit(X, Y)
    with pytest.raises(ValueError, match=r"got the categories \[0\]"):
        SymbolicKANRegressor(KANRegressor(categorical_features=[0])).fit(
            [[0.0], [1.0]], [0, 1]
        )


def test_formulas_have_no_value_at_missing():
    x = X[["x"]]
    with pytest.raises(ValueError, match=r"(?s)X contains NaN.*impute these cells"):
        SymbolicKANRegressor().fit(x, Y)
    model = KANRegressor((), random_state=0).fit(x, Y)
    known = x["x"].notna()
    formula = fit_symbolic(model, x[known], Y[known])
    assert formula.score(x[known], Y[known]) > 0.5
    with pytest.raises(ValueError, match=r"(?s)X contains NaN.*impute these cells"):
        fit_symbolic(model, x, Y)


def test_bars_of_long_codes_have_different_names():
    """Codes of stores, of which six digits do not tell all."""
    codes = 1_234_560 + np.arange(60) % 3
    for first in (0, 2**60):
        model = KANRegressor((), categorical_features=[0], max_iter=2, random_state=0)
        model.fit((first + codes).reshape(-1, 1), codes % 3)
        display = EdgeFunctionDisplay.from_estimator(model)
        names = [tick.get_text() for tick in display.axes_[0].get_xticklabels()]
        if first == 0:
            assert names == ["1234560", "1234561", "1234562"]
        assert not any("e+" in name for name in names)
