"""Exported models, as a runtime evaluates them, against the estimators themselves."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skkan import KANClassifier, KANRegressor
from skkan.export import register_converters, to_onnx
from skkan.export._bisection import thresholds_in_units
from skkan.fitted._numpy_predictor import MAX_CURVES
from skkan.losses._registry import REGRESSION_LOSSES

# Small budgets end fits early.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"max_iter": 4, "random_state": 0}
# Of the spread of predictions, or of probabilities.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
KINDS = [
    {"dtype": np.float32},
    {"dtype": np.float32, "arithmetic": np.float32},
    {"dtype": np.float64},
]
every_loss = pytest.mark.parametrize("loss", REGRESSION_LOSSES)


@pytest.fixture
def table(rng):
    """Features of unlike sizes, and a smooth target."""
    X = rng.normal(size=(120, 4)) * [1, 10, 1e-3, 1] + [0, 100, 0, 0]
    X = X.astype(np.float32).astype(float)
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 3] / 30


def session_of(model):
    """A runtime with a checked model."""
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(model, X):
    return session_of(model).run(None, {"X": X})


def assert_equal_predictions(model, X, **settings):
    """Of rows that are given in the type of the model, whatever their number."""
    session = session_of(to_onnx(model, **settings))
    X = X.astype(settings["dtype"])
    expected = predictions(model, X.astype(float))
    tolerance = TOLERANCE[np.dtype(settings["dtype"]).name]
    outputs = session.run(None, {"X": X})
    for output, known in zip(outputs, expected, strict=True):
        assert output.shape == known.shape
        if known.dtype.kind == "f":
            assert output.dtype == settings["dtype"]
            spread = 1.0 if len(expected) == 2 else known.std(axis=0).max()
            # What is off by so much before the exponential is off relatively after it.
            rtol = tolerance if model.fitted_model_.target.has_log_link else 0
            assert_allclose(output, known, rtol=rtol, atol=tolerance * spread)
        else:
            assert_array_equal(output, known)
    for n_rows in (0, 1):
        few = session.run(None, {"X": X[:n_rows]})
        for output, known in zip(few, expected, strict=True):
            assert output.shape == known[:n_rows].shape
    # Sums of one row may be taken in another order.
    assert_allclose(few[-1], outputs[-1][:1], rtol=tolerance, atol=tolerance)


def predictions(model, X):
    """What an exported model has to give."""
    if hasattr(model, "classes_"):
        return [model.predict(X), model.predict_proba(X)]
    return [model.predict(X).reshape(len(X), -1)]


def with_gaps(X, rng):
    return np.where(rng.random(X.shape) < 0.1, np.nan, X)


# Regression.


@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("hidden", [(), (3,), (MAX_CURVES + 1, 2)], ids=str)
@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
def test_regressor(hidden, extrapolation, settings, table):
    """Inside of the grids and beyond."""
    X, y = table
    model = KANRegressor(hidden, extrapolation=extrapolation, **SHORT).fit(X, y)
    beyond = X + 0.3 * (X - np.median(X, axis=0))
    assert_equal_predictions(model, np.vstack([X, beyond]), **settings)


def test_default_estimators():
    """Whatever structure the data choose."""
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:80, :3], y[:80]
    for model, target in ((KANRegressor, y), (KANClassifier, y > 140)):
        model = model(random_state=0).fit(X, target)
        for settings in KINDS:
            assert_equal_predictions(model, X, **settings)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_several_targets_missing_cells_and_a_skip(settings, table, rng):
    """The identity as base function, too."""
    X, y = table
    X = with_gaps(X, rng)
    model = KANRegressor(
        (3,), additive_skip=True, base_activation="identity", grid_eps=0.3, **SHORT
    ).fit(X, np.column_stack([y, 3 - y, np.cos(y)]))
    assert_equal_predictions(model, X, **settings)


def test_missing_cells_of_a_model_that_knows_none(table, rng):
    X, y = table
    model = KANRegressor((3,), **SHORT).fit(X, y)
    assert_equal_predictions(model, with_gaps(X, rng), dtype=np.float64)


@every_loss
def test_links_and_units_of_losses(loss, table):
    X, y = table
    quantile = 0.7 if loss == "quantile" else None
    model = KANRegressor((), loss=loss, quantile=quantile, **SHORT)
    model.fit(X, 1e4 * np.exp(y))
    for settings in KINDS:
        assert_equal_predictions(model, X, **settings)


def test_predictions_under_a_log_link_stay_positive_and_finite(table):
    """Also in float32, whose largest number is smaller."""
    X, y = table
    model = KANRegressor((), loss="gamma", extrapolation="linear", **SHORT)
    model.fit(X, np.exp(y))
    far = np.vstack([X, 1e6 * X, -1e6 * X]).astype(np.float32)
    for settings in KINDS:
        (mean,) = run(to_onnx(model, **settings), far.astype(settings["dtype"]))
        assert (mean > 0).all()
        assert np.isfinite(mean).all()


@pytest.mark.parametrize("grid_size", [1, 2, 8])
@pytest.mark.parametrize("spline_order", [0, 1, 2, 4])
@pytest.mark.parametrize("n_targets", [1, MAX_CURVES + 1])
def test_degrees_and_grids(spline_order, grid_size, n_targets, table):
    X, y = table
    model = KANRegressor((), spline_order=spline_order, grid_size=grid_size, **SHORT)
    model.fit(X, np.column_stack([y + each for each in range(n_targets)]))
    assert_equal_predictions(model, X, dtype=np.float64)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_steps_jump_at_the_same_numbers(settings, rng):
    """Quantiles are knots, so that rows lie on them."""
    X = (1900 + 100 * rng.random((200, 2))).astype(np.float32).astype(float)
    y = np.floor(X[:, 0] / 7) + X[:, 1] / 50
    model = KANRegressor((), spline_order=0, grid_eps=0, grid_size=12, **SHORT)
    assert_equal_predictions(model.fit(X, y), X, **settings)


def test_thresholds_are_the_first_numbers_that_reach_a_knot(rng):
    """Near zero, too, where rounding makes many numbers equal after scaling."""
    centre, scale = (
        np.array([[1990.0], [0.3], [-7e7]]),
        np.array([[3.0], [0.1], [1e-3]]),
    )
    knots = np.sort(np.column_stack([rng.normal(size=(3, 5)), -centre / scale]))
    for dtype in (np.float32, np.float64):
        found = thresholds_in_units(knots, centre, scale, np.dtype(dtype))
        assert found.dtype == dtype
        before = np.nextafter(found, dtype(-np.inf)).astype(float)
        assert ((found.astype(float) - centre) / scale >= knots).all()
        assert ((before - centre) / scale < knots).all()


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_large_offsets_lose_nothing(settings, rng):
    """Seconds since 1970, in steps that float32 can tell apart."""
    X = 1.6e9 + 128 * rng.integers(0, 1000, size=(150, 1)).astype(float)
    y = np.sin((X[:, 0] - 1.6e9) / 2e4)
    model = KANRegressor((), random_state=0).fit(X, y)
    assert_equal_predictions(model, X, **settings)


def test_constant_and_pruned_features(table):
    """A feature that did not vary is zero, whatever comes later."""
    X, y = table
    X = np.column_stack([X, np.full(len(X), 7.0)])
    model = KANRegressor((3,), prune_threshold=0.05, **SHORT).fit(X, y)
    assert not model.network_.used.all()
    assert_equal_predictions(model, X, dtype=np.float64)
    model = KANRegressor((3,), **SHORT).fit(X, y)
    other = X.copy()
    other[::2, 4], other[::3, 4] = 99.0, np.nan
    assert_equal_predictions(model, other, dtype=np.float64)


# Categories.


@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("n_targets", [1, MAX_CURVES + 1])
def test_categories_are_known_by_their_values(n_targets, settings, rng):
    """Known, unknown and missing ones, beside numbers and alone."""
    X = np.column_stack(
        [
            rng.choice([0.1, 7, -3, 22], size=150),
            rng.normal(size=150),
            rng.integers(0, 2, size=150),
        ]
    )
    X[::7, 0] = np.nan
    y = np.nan_to_num(X[:, 0]) + X[:, 1] ** 2
    y = np.column_stack([y + each for each in range(n_targets)])
    model = KANRegressor((), categorical_features=[0, 2], **SHORT).fit(X, y)
    # Of float32 the estimator would not know what 0.1 is.
    X = np.where(X == 0.1, 7, X)
    X[:5, 0], X[5:9, 2] = 8, -1
    assert_equal_predictions(model, X, **settings)
    model = KANRegressor((), categorical_features=[0, 1], **SHORT).fit(X[:, ::2], y)
    assert_equal_predictions(model, X[:, ::2], **settings)


def test_category_that_float32_rounds_is_known(rng):
    X = rng.choice([0.1, 0.7, 0.2], size=(60, 1))
    model = KANRegressor((), categorical_features=[0], **SHORT).fit(X, X[:, 0] ** 2)
    (y,) = run(to_onnx(model), X.astype(np.float32))
    assert_allclose(y[:, 0], model.predict(X), rtol=1e-6)


def test_categories_of_a_moderated_classifier(rng):
    X = np.column_stack([rng.integers(0, 5, size=150), rng.normal(size=150)])
    X[::9] = np.nan
    model = KANClassifier((), categorical_features=[0], solver="lm", **SHORT)
    model.fit(X, X[:, 0] + X[:, 1] > 2)
    X[:3, 0] = 17
    assert_equal_predictions(model, X, dtype=np.float32)
    assert_equal_predictions(model, X, dtype=np.float64)


# Classification.


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_additive_classifier(load):
    """Fitted by "lm", so that its probabilities are moderated."""
    X, y = load(return_X_y=True)
    model = KANClassifier((), **SHORT).fit(X[::2, :8], y[::2])
    for settings in KINDS:
        assert_equal_predictions(model, X[:, :8], **settings)


@pytest.mark.parametrize("target", ["binary", "classes", "labels"])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layer_sizes": (), "solver": "lm"},
        {"hidden_layer_sizes": (2,), "solver": "lm", "additive_skip": True},
        {"hidden_layer_sizes": (2, 2), "solver": "lm", "extrapolation": "linear"},
        {"hidden_layer_sizes": (3,), "solver": "lbfgs"},
    ],
    ids=["additive", "skip", "deep", "lbfgs"],
)
def test_moderated_probabilities(settings, target, table, rng):
    """Through hidden layers, and with missing cells."""
    X, y = table
    X = with_gaps(X, rng)
    y = {
        "binary": y > 0,
        "classes": np.array(["low", "mid", "top"])[np.digitize(y, [-0.5, 0.5])],
        "labels": np.column_stack([y > 0, np.abs(y) < 1]).astype(int),
    }[target]
    model = KANClassifier(**settings, **SHORT).fit(X, y)
    is_moderated = model.fitted_model_.has_laplace_posterior
    assert is_moderated == (settings["solver"] == "lm")
    beyond = X + 0.3 * (X - np.nanmedian(X, axis=0))
    for kind in KINDS:
        assert_equal_predictions(model, np.vstack([X, beyond]), **kind)


def test_certain_classes_with_a_wide_posterior_stay_on_their_side(rng):
    """Tangents lead far, and their deviations with them."""
    X = rng.normal(size=(2000, 2))
    y = X[:, 0] + rng.logistic(size=2000) / 30 > 0
    settings = {"extrapolation": "linear", "grid_size": 1, "random_state": 0}
    model = KANClassifier((), **settings).fit(X, y)
    far = np.array([[2.0**power, 0.0] for power in range(8)])
    for kind in KINDS:
        assert_equal_predictions(model, np.vstack([far, -far]), **kind)


def test_classes_that_nearly_tie_are_moderated_in_single_precision(rng):
    """Columns that tell nothing of two common classes and a rare one."""
    X, X_new = rng.normal(size=(2, 600, 2))
    y = np.repeat([0, 1, 2], [290, 290, 20])
    model = KANClassifier((), random_state=0).fit(X, y)
    onnx = to_onnx(model, arithmetic=np.float32)
    _, probability = run(onnx, X_new.astype(np.float32))
    expected = model.predict_proba(X_new.astype(np.float32))
    assert_allclose(probability, expected, atol=5e-6)


@pytest.mark.parametrize(
    "classes", [[3, 7], [2.0, 5.0], [False, True], ["no", "yes"]], ids=str
)
def test_labels_keep_their_type(classes, table):
    X, y = table
    classes = np.array(classes)
    model = KANClassifier((), **SHORT).fit(X, classes[(y > 0).astype(int)])
    label, _ = run(to_onnx(model), X.astype(np.float32))
    assert_array_equal(label, model.predict(X))
    assert label.dtype.kind == (
        "O" if classes.dtype.kind == "U" else classes.dtype.kind
    )
    assert classes.dtype.kind != "f" or label.dtype == np.float32


# The form of the model.


def test_names_shapes_and_versions(table):
    X, y = table
    model = KANRegressor((), **SHORT).fit(X, y)
    for opset in (15, 18, 21):
        exported = to_onnx(model, opset=opset)
        assert exported.opset_import[0].version == opset
        run(exported, X.astype(np.float32))
    assert not exported.functions
    assert {each.domain for each in exported.opset_import} == {""}


def test_arithmetic_of_float32_has_no_doubles(table):
    """For devices that have none."""
    X, y = table
    model = KANClassifier((2,), solver="lm", **SHORT).fit(X, y > 0)
    exported = onnx.shape_inference.infer_shapes(
        to_onnx(model, arithmetic=np.float32), strict_mode=True
    )
    kinds = {each.data_type for each in exported.graph.initializer}
    kinds |= {each.type.tensor_type.elem_type for each in exported.graph.value_info}
    assert onnx.TensorProto.FLOAT in kinds
    assert onnx.TensorProto.DOUBLE not in kinds


def test_export_does_not_change_the_estimator(table):
    X, y = table
    model = KANRegressor((2,), **SHORT).fit(X, y)
    expected, names = model.predict(X), sorted(vars(model))
    first, second = (to_onnx(model).SerializeToString() for _ in range(2))
    assert first == second
    assert sorted(vars(model)) == names
    assert_array_equal(model.predict(X), expected)


# Pipelines.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pipelines_of_skl2onnx(dtype, table):
    register_converters()
    X, y = table
    tolerance = {np.float32: 1e-4, np.float64: 1e-10}[dtype]  # the scaler's rounding
    pipeline = make_pipeline(StandardScaler(), KANRegressor((2,), **SHORT)).fit(X, y)
    model = skl2onnx.to_onnx(pipeline, X[:1].astype(dtype))
    (found,) = run(model, X.astype(dtype))
    assert found.dtype == dtype
    assert_allclose(found[:, 0], pipeline.predict(X), rtol=0, atol=tolerance)
    targets = [
        np.array(["a", "b", "c"])[np.digitize(y, [-0.5, 0.5])],
        np.column_stack([y > 0, y < 1]).astype(int),
        (y > 0) * 2.0,
        y > 0,
    ]
    for target in targets:
        pipeline = make_pipeline(StandardScaler(), KANClassifier((), **SHORT))
        pipeline.fit(X, target)
        model = skl2onnx.to_onnx(
            pipeline, X[:1].astype(dtype), options={"zipmap": False}
        )
        label, probability = run(model, X.astype(dtype))
        assert_array_equal(label, pipeline.predict(X))
        assert_allclose(probability, pipeline.predict_proba(X), rtol=0, atol=tolerance)


def test_meta_estimators_of_skl2onnx(table):
    register_converters()
    X, y = table
    model = KANRegressor((), **SHORT)
    voting = VotingRegressor([("kan", model), ("ridge", Ridge())])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model), {"kanregressor__grid_size": [3, 6]}
    )
    for wrapped in (voting, search):
        wrapped.fit(X, y)
        exported = skl2onnx.to_onnx(wrapped, X[:1])
        (found,) = run(exported, X)
        assert_allclose(found[:, 0], wrapped.predict(X), rtol=0, atol=1e-10)


def test_zipmap_is_what_skl2onnx_does_by_default(table):
    register_converters()
    X, y = table
    model = KANClassifier((), **SHORT).fit(X, np.where(y > 0, "up", "down"))
    exported = skl2onnx.to_onnx(model, X[:1].astype(np.float32))
    _, probability = run(exported, X[:2].astype(np.float32))
    assert sorted(probability[0]) == ["down", "up"]


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        (OneHotEncoder(sparse_output=False), {}),
        (OrdinalEncoder(), {"categorical_features": [0]}),
    ],
    ids=["indicators", "codes"],
)
def test_strings_go_through_an_encoder(encoder, settings, rng):
    """Each column of a frame is an input of its own then."""
    register_converters()
    frame = pd.DataFrame(
        {"size": rng.normal(size=90), "colour": rng.choice(["red", "blue"], size=90)}
    )
    y = frame["size"] + 3 * (frame["colour"] == "red")
    encode = ColumnTransformer([("c", encoder, ["colour"])], remainder="passthrough")
    model = make_pipeline(encode, KANRegressor((), **settings, **SHORT)).fit(frame, y)
    types = skl2onnx.common.data_types
    exported = skl2onnx.to_onnx(
        model,
        initial_types=[
            ("size", types.FloatTensorType([None, 1])),
            ("colour", types.StringTensorType([None, 1])),
        ],
    )
    (found,) = session_of(exported).run(
        None,
        {
            "size": frame[["size"]].to_numpy(np.float32),
            "colour": frame[["colour"]].to_numpy(object),
        },
    )
    assert_allclose(found[:, 0], model.predict(frame), rtol=0, atol=1e-5)


# What is refused.


def test_other_estimators_are_refused(table):
    with pytest.raises(TypeError, match="Expected a fitted KANRegressor"):
        to_onnx(Ridge().fit(*table))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        to_onnx(KANRegressor())


def test_bad_settings(table):
    model = KANRegressor((), **SHORT).fit(*table)
    for name in ("dtype", "arithmetic"):
        for wrong in (np.float16, int, None, "no type"):
            with pytest.raises(ValueError, match=f"{name} must be numpy.float32"):
                to_onnx(model, **{name: wrong})
    for wrong in (14, 1000):
        with pytest.raises(ValueError, match=f"opset must be from 15.*got {wrong}"):
            to_onnx(model, opset=wrong)


def test_categories_that_are_strings(rng):
    frame = pd.DataFrame({"a": rng.normal(size=30), "b": ["u", "v", "w"] * 10})
    frame["b"] = frame["b"].astype("category")
    model = KANRegressor((), **SHORT).fit(frame, frame["a"])
    with pytest.raises(ValueError, match=r"got strings in column 1.*OrdinalEncoder"):
        to_onnx(model)


def test_categories_that_float32_cannot_tell_apart(rng):
    X = 2.0**24 + rng.integers(0, 3, size=(40, 1))
    model = KANRegressor((), categorical_features=[0], **SHORT).fit(X, X[:, 0] % 2)
    with pytest.raises(ValueError, match=r"must differ in float32.*dtype=np.float64"):
        to_onnx(model)
    assert_equal_predictions(model, X, dtype=np.float64)


def test_classes_of_no_type_of_onnx(table):
    X, y = table
    days = np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]")
    model = KANClassifier((), **SHORT).fit(X, days[(y > 0).astype(int)])
    with pytest.raises(ValueError, match="Classes must be numbers, strings or truth"):
        to_onnx(model)


# Products.


@pytest.mark.parametrize("sizes", [(0,), (1, 0)], ids=str)
def test_products(sizes, table, rng):
    """Alone or behind each other, with missing cells."""
    X, y = table
    model = KANRegressor(sizes, n_multiplications=1, additive_skip=True, **SHORT)
    model.fit(with_gaps(X, rng), y)
    assert_equal_predictions(model, with_gaps(X, rng), dtype=np.float64)


def test_moderated_products():
    """Deviations of logits take the slopes of both factors."""
    X, y = load_iris(return_X_y=True)
    sizes = {"hidden_layer_sizes": (1, 1), "n_multiplications": (1, 2)}
    model = KANClassifier(solver="lm", grid_size=3, **sizes, **SHORT).fit(X, y)
    assert_equal_predictions(model, X, dtype=np.float64)
