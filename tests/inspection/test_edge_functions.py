"""The curves of fitted estimators, against predictions and dense algebra."""

import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skkan import KANClassifier, KANRegressor
from skkan.inspection import node_importances
from skkan.inspection._edge_functions import (
    edge_functions,
    intercepts,
    node_names,
    node_products,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"max_iter": 5, "random_state": 0}
ADDITIVE = {"hidden_layer_sizes": (), "grid_size": 4}
SETTINGS = {
    "additive": {**ADDITIVE},
    "hidden": {"hidden_layer_sizes": (3,), "solver": "lbfgs"},
    "deep with skip, linear": {
        "hidden_layer_sizes": (2, 1),
        "n_multiplications": (1, 1),
        "additive_skip": True,
        "extrapolation": "linear",
        "base_activation": "identity",
        "solver": "lbfgs",
    },
    "adaptive grid, degree 2": {
        "hidden_layer_sizes": (2,),
        "grid_eps": 0.1,
        "spline_order": 2,
        "solver": "lbfgs",
    },
}
rng = np.random.default_rng(0)
X = rng.normal(3, 2, (60, 3)) * [1, 100, 0] + [0, 0, 7]  # the last column is constant
WEIGHT = rng.uniform(0.5, 2, 60)
SIGNAL = np.sin(X[:, 0]) + (X[:, 1] / 300) ** 2
TARGETS = {
    "one target": 50 + 20 * SIGNAL,
    "two targets": np.column_stack([50 + 20 * SIGNAL, X[:, 0]]),
    "two classes": np.array(["no", "yes"])[(SIGNAL > 1).astype(int)],
    "three classes": np.digitize(SIGNAL, [0.5, 1.5]),
    "labels": np.column_stack([SIGNAL > 1, X[:, 0] > 3]).astype(int),
}
OUTSIDE = X * 3 - 5


@pytest.fixture(scope="module", params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


@pytest.fixture(scope="module", params=TARGETS)
def model(request, settings):
    y = TARGETS[request.param]
    is_regression = request.param in ("one target", "two targets")
    make = KANRegressor if is_regression else KANClassifier
    return make(**SHORT, **settings).fit(X, y, sample_weight=WEIGHT)


@pytest.fixture(scope="module")
def additive():
    y = TARGETS["two targets"]
    return KANRegressor(**ADDITIVE, random_state=0).fit(X, y, sample_weight=WEIGHT)


def node_values(estimator, rows):
    """Values of all nodes, from the curves alone."""
    edges = edge_functions(estimator)
    last = max(edge.target[0] for edge in edges)
    nodes = {(0, i): rows[:, i] for i in range(rows.shape[1])}
    factors_of = dict(node_products(estimator))
    for edge in edges:
        if edge.source in factors_of:
            first, second = factors_of[edge.source]
            nodes[edge.source] = nodes[first] * nodes[second]
        if edge.target not in nodes:
            nodes[edge.target] = np.zeros(len(rows))
        nodes[edge.target] = nodes[edge.target] + edge(nodes[edge.source])
    for output, start in enumerate(intercepts(estimator)):
        nodes[last, output] = nodes[last, output] + start
    return nodes


def raw_output(model):
    """Function to which the curves add up.

    Log odds are those before a posterior moderates them.
    """
    if isinstance(model, KANRegressor):
        return model.predict
    return model.fitted_model_.raw_output


@pytest.mark.parametrize("rows", [X, OUTSIDE], ids=["inside", "outside"])
def test_curves_through_the_layers_are_the_model(model, rows):
    """It is what makes a KAN readable: there is nothing but the curves."""
    nodes = node_values(model, rows)
    last = max(level for level, _ in nodes)
    total = np.column_stack([nodes[n] for n in sorted(nodes) if n[0] == last])
    expected = raw_output(model)(rows).reshape(len(rows), -1)
    assert_allclose(total, expected, rtol=1e-10, atol=1e-10)


def test_mean_std_and_range_are_those_of_the_training_rows(model):
    """Deviations come from a covariance, which is precise to the root of rounding."""
    nodes = node_values(model, X)
    for edge in edge_functions(model):
        x = nodes[edge.source]
        values = edge(x)
        mean = np.average(values, weights=WEIGHT)
        std = np.sqrt(np.average((values - mean) ** 2, weights=WEIGHT))
        size = np.abs(values).max()
        assert_allclose(edge.mean, mean, rtol=0, atol=1e-10 * size)
        assert_allclose(edge.std, std, rtol=1e-7, atol=1e-6 * size)
        assert_allclose([edge.low, edge.high], [x.min(), x.max()], rtol=1e-10)
        if np.ptp(x) > 1e-6:
            inside = np.clip(x, edge.low, edge.high)  # up to rounding they are
            ends = edge.low, edge.high
            counts, _ = np.histogram(inside, len(edge.density), ends, weights=WEIGHT)
            assert_allclose(edge.density, counts / WEIGHT.sum(), atol=1e-12)


def test_the_spline_is_one_of_scipy(model):
    """Curve and spline differ by the base function, on the grid."""
    for edge in edge_functions(model):
        x = np.linspace(edge.knots[0], edge.knots[-1], 50)[1:-1]
        centre, scale = edge.base_scaling
        z = (x - centre) / scale
        base = {"silu": z * expit(z), "identity": z}[edge.base_activation]
        assert_allclose(
            edge.spline(x) + edge.base_weight * base,
            edge(x),
            atol=1e-10 * max(1, np.abs(edge(x)).max()),
        )
        inner = slice(edge.spline.k, -edge.spline.k)
        assert_allclose(edge.spline.t[inner], edge.knots, rtol=1e-12)


def test_derivatives_are_finite_differences(model):
    """Inside of the grid and outside, where they are constant."""
    for edge in edge_functions(model):
        low, high = edge.knots[0], edge.knots[-1]
        # Curvature may jump at the knots themselves.
        inner = [np.linspace(*ends, 6)[1:-1] for ends in pairwise(edge.knots)]
        x = np.concatenate([*inner, [2 * low - high, 2 * high - low]])
        step = 1e-5 * (high - low)
        expected = (edge(x + step) - edge(x - step)) / (2 * step)
        scale = max(1e-3, np.abs(expected).max())
        assert_allclose(edge.derivative(x), expected, rtol=0, atol=1e-6 * scale)


def test_any_shape_is_kept(additive):
    edge = edge_functions(additive)[0]
    x = X[:, 0].reshape(5, 12)
    assert_array_equal(edge(x), edge(X[:, 0]).reshape(5, 12))
    assert_allclose(edge(float(x[0, 0])), edge(x)[0, 0], rtol=1e-14)


def test_a_constant_column_has_constant_curves(additive):
    """Whatever values come later."""
    edges = edge_functions(additive, with_posterior=True)
    curve = next(edge for edge in edges if edge.source == (0, 2))
    x = np.array([-1e6, 0.0, 7.0, 1e6])
    assert_allclose(curve(x), np.full(4, curve(7.0)), rtol=1e-12)
    assert_array_equal(curve.derivative(x), np.zeros(4))
    assert_allclose(curve.deviation(x), np.zeros(4), atol=1e-12)
    assert curve.importance < 1e-9


def dense_features(edge, x):
    """Splines, with scipy, and the base function within the grid."""
    x = np.clip(x, edge.knots[0], edge.knots[-1])
    splines = type(edge.spline)(
        edge.spline.t, np.eye(len(edge.spline.c)), edge.spline.k
    )
    centre, scale = edge.base_scaling
    z = (x - centre) / scale
    return np.column_stack([splines(x), z * expit(z)])


@pytest.fixture(scope="module")
def hidden():
    """With a posterior, hidden nodes and a skip."""
    model = KANRegressor(
        (2,), grid_size=2, additive_skip=True, solver="lm", alpha=0.1, **SHORT
    )
    return model.fit(X, TARGETS["two targets"], sample_weight=WEIGHT)


@pytest.mark.parametrize("name", ["additive", "hidden"])
def test_deviations_are_those_of_dense_algebra(name, request):
    """Covariance of the weights of each edge, by an explicit inverse.

    The inverse of a matrix of condition 1e8 keeps as many digits.
    """
    model = request.getfixturevalue(name)
    posterior, network = model.fitted_model_.posterior, model.network_
    root = posterior.root(network).matrix().numpy()
    covariance = root.T @ root
    edges = edge_functions(model, with_posterior=True)
    nodes, last = node_values(model, X), max(edge.target[0] for edge in edges)
    n = len(root) // len(edges)
    for number, edge in enumerate(edges):
        rows = nodes[edge.source]
        if np.ptp(rows) < 1e-6:  # see the constant column
            continue
        noise = np.sqrt(
            model.fitted_model_.posterior.shared_noise
        )  # hidden nodes have no scale
        if edge.target[0] == last:
            noise = model.noise_std_[edge.target[1]]
        x = np.linspace(rows.min(), rows.max(), 31)
        block = covariance[number * n : (number + 1) * n, number * n : (number + 1) * n]
        features = dense_features(edge, x)
        mean = np.average(dense_features(edge, rows), axis=0, weights=WEIGHT)
        for centred in (True, False):
            phi = features - mean * centred
            expected = noise * np.sqrt(np.einsum("nf,fg,ng->n", phi, block, phi))
            actual = edge.deviation(x, centred=centred)
            assert_allclose(actual, expected, rtol=1e-5, atol=1e-7 * expected.max())


def test_the_deviation_of_a_single_curve_is_that_of_predict():
    """With one feature the curve is the model."""
    x, y = X[:, :1], TARGETS["two targets"]
    model = KANRegressor(**ADDITIVE, random_state=0).fit(x, y)
    points = np.linspace(-4, 12, 40)
    _, std = model.predict(points[:, None], return_std=True)
    for edge, total, noise in zip(
        edge_functions(model, with_posterior=True), std.T, model.noise_std_, strict=True
    ):
        deviation = edge.deviation(points, centred=False)
        assert_allclose(deviation**2 + noise**2, total**2, rtol=1e-9)


def test_removed_edges_are_zero_for_certain(additive):
    pruned = copy.deepcopy(additive)
    pruned.fitted_model_.network_arrays["layers"][0]["mask"][1, 0] = 0
    for edge in edge_functions(pruned, with_posterior=True):
        assert edge.removed == ((edge.source, edge.target) == ((0, 0), (1, 1)))
        if edge.removed:
            assert not edge(X[:, 0]).any()
            assert not edge.deviation(X[:, 0], centred=False).any()


@pytest.mark.parametrize(
    ("target", "outputs"),
    [
        ("one target", ["y"]),
        ("two targets", ["y0", "y1"]),
        ("two classes", ["yes"]),
        ("three classes", ["0", "1", "2"]),
        ("labels", ["0", "1"]),
    ],
)
def test_nodes_have_the_names_of_features_and_classes(target, outputs):
    make = KANRegressor if "target" in target else KANClassifier
    frame = pd.DataFrame(X, columns=["age", "height", "site"])
    model = make((2,), max_iter=1, solver="lbfgs", random_state=0)
    model.fit(frame, TARGETS[target])
    inputs, hidden = ["age", "height", "site"], ["h1_0", "h1_1"]
    assert node_names(model) == [inputs, hidden, outputs]
    assert node_names(model.fit(X, TARGETS[target]))[0] == ["x0", "x1", "x2"]
    pairs = [(edge.source_name, edge.target_name) for edge in edge_functions(model)]
    assert pairs == [(i, h) for h in hidden for i in ["x0", "x1", "x2"]] + [
        (h, o) for o in outputs for h in hidden
    ]


@pytest.mark.parametrize("function", [edge_functions, intercepts, node_names])
def test_what_is_not_a_fitted_model_is_told_so(function, additive):
    with pytest.raises(NotFittedError, match="not fitted"):
        function(KANRegressor())
    with pytest.raises(TypeError, match=r"got Ridge: of a Pipeline .* best_estimator_"):
        function(Ridge())
    with pytest.raises(TypeError, match="got Pipeline"):
        function(make_pipeline(additive))


def test_without_a_posterior_there_is_no_deviation():
    model = KANRegressor(**SHORT, solver="lbfgs").fit(X, TARGETS["one target"])
    with pytest.raises(
        ValueError, match=r"KANRegressor has no posterior .*solver='lm'"
    ):
        edge_functions(model, with_posterior=True)
    with pytest.raises(ValueError, match=r"deviation needs the posterior .*'lm'"):
        edge_functions(model)[0].deviation([0.0])


def test_factors_are_named_by_their_product():
    """They stand behind all nodes of their level; no edge leaves them."""
    model = KANRegressor((1,), n_multiplications=1, solver="lbfgs", **SHORT)
    model.fit(X, SIGNAL)
    _, hidden, _ = node_names(model)
    assert hidden == ["h1_0", "h1_1", "h1_1a", "h1_1b"]
    assert node_products(model) == (((1, 1), ((1, 2), (1, 3))),)
    edges = edge_functions(model)
    of_factors = [(edge.target_name, edge.product) for edge in edges[3:9]]
    assert of_factors == [("h1_1a", (1, 1))] * 3 + [("h1_1b", (1, 1))] * 3
    assert [edge.enters for edge in edges[::3]] == [(1, 0), (1, 1), (1, 1), (2, 0)]
    assert [edge.source_name for edge in edges[9:]] == ["h1_0", "h1_1"]
    assert [len(level) for level in node_importances(model)] == [3, 4, 1]
