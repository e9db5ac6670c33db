"""Bad input is told by name, with what was expected, what came and what to do."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import DataConversionWarning, NotFittedError

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.solvers import Adam
from skkan.symbolic import SymbolicKANRegressor

# Models that need to be fitted are fitted in one iteration.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
both = pytest.mark.parametrize("make", [KANRegressor, KANClassifier])


@pytest.fixture
def table(rng):
    X = rng.normal(size=(30, 3))
    return X, (X[:, 0] > 0).astype(int)


def spoiled(values, cell, value):
    values = np.array(values, dtype=float)
    values[cell] = value
    return values


@both
@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("categorical_features", [None, [0], [1]])
def test_infinite_features(make, value, categorical_features, table):
    """Missing is NaN; infinity is no category either."""
    X, y = table
    bad = spoiled(X, (3, 1), value)
    settings = {"categorical_features": categorical_features, "max_iter": 1}
    with pytest.raises(ValueError, match="Input X contains infinity"):
        make(**settings).fit(bad, y)
    model = make(**settings).fit(X, y)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(bad)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_y(value, table):
    X, y = table
    with pytest.raises(ValueError, match=r"Input y contains.*Drop those rows"):
        KANRegressor().fit(X, spoiled(y, 2, value))
    with pytest.raises(ValueError, match=r"Input y contains.*Drop those rows"):
        KANClassifier().fit(X, spoiled(y, 2, value))


@both
def test_wrong_shapes(make, table):
    X, y = table
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(X, y[:-1])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        make().fit(X[:, 0], y)
    with pytest.raises(ValueError, match="Found array with dim 3"):
        make().fit(X[None], y)
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        make().fit(X[:, :0], y)
    model = make(max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match=r"X has 2 features, but KAN.* expecting 3"):
        model.predict(X[:, :2])


@both
def test_unseen_feature_names_or_order(make, table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = make(max_iter=1).fit(frame, y)
    with pytest.raises(ValueError, match=r"(?s)unseen at fit time.*d"):
        model.predict(frame.rename(columns={"c": "d"}))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(frame[["b", "a", "c"]])


def test_one_class(table):
    X, _ = table
    with pytest.raises(ValueError, match="at least 2 classes in y, got 1 class:"):
        KANClassifier().fit(X, ["a"] * 30)


@both
@pytest.mark.parametrize("n_rows", [0, 1])
def test_too_few_rows(make, n_rows, table):
    X, y = table
    with pytest.raises(ValueError, match=rf"{n_rows} sample\(s\).*minimum of 2"):
        make().fit(X[:n_rows], y[:n_rows])


@both
def test_text_columns(make, table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(b="blue")
    with pytest.raises(ValueError, match=r"convert string.*categorical_features"):
        make().fit(frame, y)
    for columns in (frame, frame[["b"]].assign(c=X[:, 0])):
        with pytest.raises(ValueError, match=r"float: 'blue' in column 'b'\. Name col"):
            make().fit(columns, y)
    model = make(max_iter=1).fit(frame.assign(b=0.0), y)
    with pytest.raises(ValueError, match=r"'blue' in column 'b'\. It held numbers"):
        model.predict(frame)
    with pytest.raises(ValueError, match=r"'blue' in column 1\. It held numbers"):
        make(max_iter=1).fit(X, y).predict(frame.to_numpy().tolist())


def test_text_columns_of_formulas(table):
    """They take no categories."""
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(b="blue")
    with pytest.raises(
        ValueError, match=r"'blue' in column 'b'\. Make of it columns of"
    ):
        SymbolicKANRegressor().fit(frame, y)


CATEGORIES = pytest.mark.parametrize("categorical_features", [None, [2]])


@CATEGORIES
@both
def test_rows_that_are_no_table(make, categorical_features, table):
    """scikit-learn's messages, with categories as without."""
    X, y = table
    X[:, 2] = y
    settings = {"categorical_features": categorical_features, "max_iter": 1}
    model = make(**settings).fit(X, y)
    for rows, kind in ((X[0], "1D"), (None, "scalar"), (3.0, "scalar")):
        with pytest.raises(ValueError, match=f"Expected 2D array, got {kind} array"):
            model.predict(rows)
    with pytest.raises(ValueError, match="Expected a 2-dimensional container but got"):
        model.predict(pd.Series(X[0]))
    with pytest.raises(ValueError, match=r"0 sample\(s\) \(shape=\(0, 3\)\).* by KAN"):
        model.predict(X[:0])
    with pytest.raises(ValueError, match="Found array with dim 3"):
        model.predict(X[None])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        make(categorical_features=[0]).fit(["a", "b"], [1, 2])
    with pytest.raises(ValueError, match=r"0 feature\(s\) \(shape=\(30, 0\)\)"):
        make(categorical_features=categorical_features).fit(X[:, :0], y)


@CATEGORIES
@both
@pytest.mark.parametrize("container", [pd.DataFrame, np.array, csr_array])
def test_column_of_infinity_is_named(make, categorical_features, container, table):
    X, y = table
    bad = container(spoiled(X.round(), (3, 1), np.inf))
    model = make(categorical_features=categorical_features, max_iter=1)
    with pytest.raises(ValueError, match=r"contains infinity .* in column 1\. Make"):
        model.fit(bad, y)


@pytest.mark.parametrize("make_frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("what", ["datetime64[ns]", "timedelta64[ns]"])
def test_dates_are_not_numbers(what, make_frame, table):
    """Alone in a table they would pass for counts of nanoseconds."""
    X, y = table
    when = np.arange(30).astype(what)
    for columns in ({"a": X[:, 0], "when": when}, {"when": when}):
        with pytest.raises(
            TypeError, match=r"must hold numbers, .* in column 'when': c"
        ):
            KANRegressor().fit(make_frame(columns), y)
    with pytest.raises(TypeError, match="must hold numbers, got dtype"):
        KANRegressor().fit(when.reshape(-1, 1), y)
    frame = pd.DataFrame({"a": X[:, 0], "when": [pd.Timestamp(0)] * 30}, dtype=object)
    with pytest.raises(TypeError, match=r"not 'Timestamp' in column 'when'\. Convert"):
        KANRegressor().fit(frame, y)
    model = KANRegressor((), max_iter=1, categorical_features=["when"])
    assert len(model.fit(pd.DataFrame({"when": when}), y).categories_[0]) == 30


def test_formulas_name_the_column(table):
    """They check their rows themselves, before any network is fitted."""
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"contains infinity .* in column 'b'\. Make"):
        SymbolicKANRegressor().fit(frame.assign(b=np.inf), y)
    with pytest.raises(TypeError, match=r"must hold numbers, .* in column 'b': conv"):
        SymbolicKANRegressor().fit(frame.assign(b=pd.Timestamp(0)), y)


@both
def test_names_that_occur_twice(make, table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "a"])
    for categorical_features in ("from_dtype", None, ["a"], [0]):
        model = make(categorical_features=categorical_features)
        with pytest.raises(ValueError, match=r"different names, got \['a'\] more than"):
            model.fit(frame, y)


def test_categorical_features_of_other_shapes(table):
    X, y = table
    for value in ([[True], [False], [False]], ["a"]):
        with pytest.raises(ValueError, match=r"got categorical_features=.*: give num"):
            KANRegressor(categorical_features=value).fit(X, y)


@both
def test_complex_numbers(make, table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(c=X[:, 2] + 1j)
    frame["a"] = (frame["a"] > 0).astype("category")
    with pytest.raises(ValueError, match=r"^Complex .* in column 'c'\. Give real .*$"):
        make().fit(frame, y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        make().fit(X + 1j, y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        make().fit(X, y + 1j)


@both
def test_non_finite_sparse_features(make, table):
    X, y = table
    bad = csr_array(spoiled(X, (3, 1), np.inf))
    with pytest.raises(ValueError, match="Input X contains infinity"):
        make().fit(bad, y)
    model = make(max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(bad)


@both
def test_bad_weights(make, table):
    X, y = table
    with pytest.raises(ValueError, match="Negative values in data passed to"):
        make().fit(X, y, sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match="at least one non-zero number"):
        make().fit(X, y, sample_weight=np.zeros(30))
    with pytest.raises(ValueError, match="n_samples=1, but at least 2 are required"):
        make().fit(X, y, sample_weight=np.eye(30)[0])
    with pytest.raises(ValueError, match=r"shape == \(29,\), .*Give one weight for"):
        make().fit(X, y, sample_weight=np.ones(29))
    with pytest.raises(ValueError, match=r"Give one weight for each row of X\.$"):
        make(categorical_features=[0]).fit(X, y, sample_weight=np.ones(29))
    with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
        make().fit(X, y, sample_weight=np.full(30, np.nan))


@both
@pytest.mark.parametrize("schedule", [(5,), (10, 8), (10, 10), (3, 20)])
def test_grid_schedule_that_does_not_increase(make, schedule, table):
    with pytest.raises(ValueError, match=r"must increase strictly.*got grid_size=5"):
        make(grid_schedule=schedule).fit(*table)


@both
@pytest.mark.parametrize("schedule", [(7.5,), ("a",), (0,), (True,)])
def test_grid_schedule_of_other_things(make, schedule, table):
    with pytest.raises(ValueError, match="grid_schedule must hold integers"):
        make(grid_schedule=schedule).fit(*table)


@both
@pytest.mark.parametrize("sizes", [(0,), (2.5,), (-1,), ("a",), ((2, 3),)])
def test_impossible_layers(make, sizes, table):
    with pytest.raises(ValueError, match="hidden_layer_sizes must hold integers"):
        make(hidden_layer_sizes=sizes).fit(*table)


@both
@pytest.mark.parametrize(
    ("sizes", "n_multiplications", "message"),
    [
        ((2,), (1.5,), "n_multiplications must hold integers of at least 0"),
        ((2,), (-1,), "n_multiplications must hold integers of at least 0"),
        ((2,), (True,), "n_multiplications must hold integers of at least 0"),
        ("auto", 1, "n_multiplications needs hidden_layer_sizes that are set"),
        ("additive", (2,), "n_multiplications needs hidden_layer_sizes that are set"),
        ((), 1, r"needs a hidden layer, got .*set hidden_layer_sizes=\(0,\)"),
        ((2, 2), (1,), "one for each hidden layer, got .*give 2 integers"),
        ((0, 2), (0, 1), "or 0 where n_multiplications adds products"),
    ],
)
def test_impossible_products(make, sizes, n_multiplications, message, table):
    model = make(hidden_layer_sizes=sizes, n_multiplications=n_multiplications)
    with pytest.raises(ValueError, match=message):
        model.fit(*table)


@both
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_multiplications", -1, "array-like or an int in the range"),
        ("n_multiplications", None, "array-like or an int in the range"),
        ("hidden_layer_sizes", 0, "array-like or an int in the range"),
        ("hidden_layer_sizes", None, "array-like or an int in the range"),
        ("grid_size", 0, r"an int in the range \[1, inf\)"),
        ("grid_size", 2.0, r"an int in the range \[1, inf\)"),
        ("spline_order", -1, r"an int in the range \[0, inf\)"),
        ("grid_eps", 1.5, r"a float in the range \[0.0, 1.0\]"),
        ("grid_schedule", 10, "an array-like or None"),
        ("n_grid_updates", -1, r"an int in the range \[0, inf\)"),
        ("base_activation", "relu", "a str among"),
        ("extrapolation", "zero", "a str among"),
        ("additive_skip", "yes", "'bool'"),
        ("loss", "absolute_error", "a str among"),
        ("solver", "sgd", "a str among.*Solver"),
        ("alpha", -1.0, r"a float in the range \[0.0, inf\)"),
        ("penalty", 0.1, "Penalty"),
        ("max_iter", 0, r"an int in the range \[1, inf\)"),
        ("tol", -1e-3, r"a float in the range \[0.0, inf\)"),
        ("early_stopping", "yes", "'bool'"),
        ("validation_fraction", 0.0, r"a float in the range \(0.0, 1.0\)"),
        ("n_iter_no_change", 0, r"an int in the range \[1, inf\)"),
        ("warm_start", "yes", "'bool'"),
        ("random_state", "seed", "RandomState"),
        ("verbose", "loud", "int"),
        ("device", 3, "str"),
    ],
)
def test_impossible_parameters(make, name, value, expected, table):
    message = rf"(?s)'{name}' parameter of {make.__name__} must be.*{expected}.*Got"
    with pytest.raises(ValueError, match=message):
        make(**{name: value}).fit(*table)


def test_impossible_class_weight(table):
    with pytest.raises(ValueError, match="'class_weight' parameter of KANClassifier"):
        KANClassifier(class_weight="even").fit(*table)


@both
@pytest.mark.parametrize("device", ["tpu9", "cuda:99"])
def test_device_that_is_not_there(make, device, table):
    with pytest.raises(ValueError, match=r"device must name a device of this machine"):
        make(device=device).fit(*table)


@both
def test_predict_before_fit(make, table):
    for method in ("predict", "score"):
        with pytest.raises(NotFittedError, match=f"This {make.__name__} instance"):
            getattr(make(), method)(*table[: 1 + (method == "score")])
    with pytest.raises(NotFittedError, match=f"This {make.__name__} instance"):
        _ = make().network_


@pytest.mark.parametrize(
    "method", ["predict_proba", "predict_log_proba", "decision_function"]
)
def test_probabilities_before_fit(method, table):
    with pytest.raises(NotFittedError, match="This KANClassifier instance"):
        getattr(KANClassifier(), method)(table[0])


def test_text_target_in_regression(table):
    X, y = table
    for text in (np.where(y, "yes", "no"), y.astype(str), y.astype(str).astype(object)):
        with pytest.raises(ValueError, match=r"numeric for regression.*KANClassifier"):
            KANRegressor().fit(X, text)
    with pytest.raises(ValueError, match="numeric for regression, got dtype datetime"):
        KANRegressor().fit(X, y.astype("datetime64[s]"))


def test_continuous_target_in_classification(table):
    X, _ = table
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        KANClassifier().fit(X, X[:, 0])


def test_column_of_labels_is_taken_with_a_warning(table):
    X, y = table
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        model = KANClassifier(random_state=0).fit(X, y[:, None])
    assert model.predict(X).shape == (30,)


@both
def test_missing_target(make, table):
    with pytest.raises(ValueError, match="requires y to be passed"):
        make().fit(table[0], None)


@both
def test_half_a_validation_set(make, table):
    X, y = table
    with pytest.raises(ValueError, match="go together, but y_val is missing"):
        make().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="go together, but X_val is missing"):
        make().fit(X, y, y_val=y)


def test_validation_labels_that_the_fit_does_not_know(table):
    X, y = table
    with pytest.raises(ValueError, match=r"classes that the fit does not know: \[7\]"):
        KANClassifier().fit(X, y, X_val=X, y_val=y + 7 * (y == 1) - (y == 1))


@both
def test_too_few_rows_to_validate(make):
    X, y = np.arange(6.0).reshape(3, 2), [0, 1, 1]
    with pytest.raises(ValueError, match="at least 2 distinct rows to fit and 2 to"):
        make(early_stopping=True).fit(X, y)


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_layer_sizes": (4,)}, r"hidden_layer_sizes=\(3,\), got \(4,\)"),
        ({"spline_order": 2}, "spline_order=3, got 2"),
        ({"base_activation": "identity"}, "='silu', got 'identity'"),
        ({"extrapolation": "linear"}, "extrapolation='constant', got 'linear'"),
        ({"additive_skip": True}, "additive_skip=False, got True"),
        ({"grid_size": 4}, r"grid_size must not shrink, got 4 after .* ended at 5"),
    ],
)
def test_warm_start_of_another_network(make, change, message, table):
    settings = {"warm_start": True, "max_iter": 1}
    model = make(hidden_layer_sizes=(3,), **settings).fit(*table)
    with pytest.raises(ValueError, match=message):
        model.set_params(**change).fit(*table)


@both
def test_warm_start_on_other_features(make, table):
    X, y = table
    settings = {"warm_start": True, "max_iter": 1}
    model = make(**settings).fit(X, y)
    with pytest.raises(ValueError, match="n_features=3, got 2"):
        model.fit(X[:, :2], y)


def test_warm_start_on_other_classes(table):
    X, y = table
    settings = {"warm_start": True, "max_iter": 1}
    model = KANClassifier(**settings).fit(X, y)
    with pytest.raises(ValueError, match="classes_ stays the same"):
        model.fit(X, 2 * y)


@both
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "lm"}, "partial_fit needs a solver that does not learn penalties"),
        ({"early_stopping": True}, "partial_fit sees one batch at a time"),
    ],
)
def test_partial_fit_where_it_cannot_be(make, settings, message, table):
    model = make(**settings)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.partial_fit(*table)
    assert message in str(error.value.__cause__)


def test_partial_fit_without_classes(table):
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        KANClassifier(solver="adam").partial_fit(*table)


def test_partial_fit_with_balanced_weights(table):
    model = KANClassifier(solver="adam", class_weight="balanced")
    with pytest.raises(ValueError, match="'balanced' cannot be known from one batch"):
        model.partial_fit(*table, classes=[0, 1])


def test_class_weight_of_an_indicator_matrix(table):
    X, y = table
    with pytest.raises(
        ValueError, match="class_weight is not defined for an indicator"
    ):
        KANClassifier(class_weight="balanced").fit(X, np.column_stack([y, 1 - y]))


def test_divergence_says_what_to_do(table):
    X, y = table
    model = KANRegressor(solver=Adam(learning_rate=1e300, max_backoff=2))
    with pytest.raises(ValueError, match=r"KANRegressor diverged.*lower the solver's"):
        model.fit(X, y)


@both
@pytest.mark.parametrize(
    "spoil",
    [
        lambda X, y: (spoiled(X, (0, 0), np.inf), y),
        lambda X, y: (X[:, :2], spoiled(y, 0, np.nan)),
        lambda X, y: (X, y[:-1]),
    ],
)
def test_failed_refit_leaves_the_earlier_model_whole(make, spoil, table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = make(max_iter=1).fit(frame, y)
    before, expected = dict(vars(model)), model.predict(frame)
    with pytest.raises(ValueError, match=r"contains (NaN|inf)|inconsistent numbers"):
        model.fit(*spoil(X, y))
    assert vars(model).keys() == before.keys()
    np.testing.assert_array_equal(model.predict(frame), expected)


@both
def test_failed_first_fit_leaves_it_unfitted(make, table):
    X, y = table
    model = make(grid_schedule=(2,))
    with pytest.raises(ValueError, match="must increase strictly"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_validation_set_of_other_columns(table):
    X, y = table
    with pytest.raises(
        ValueError, match="y_val must have the columns of y, expected 2"
    ):
        KANRegressor().fit(X, np.column_stack([y, y]), X_val=X, y_val=y)
    with pytest.raises(ValueError, match=r"In X_val and y_val: .*contains infinity"):
        KANRegressor().fit(X, y, X_val=spoiled(X, 0, np.inf), y_val=y)
    with pytest.raises(ValueError, match="In X_val and y_val: X has 2 features"):
        KANRegressor().fit(X, y, X_val=X[:, :2], y_val=y)


@pytest.mark.parametrize("values", [(0, 2), (-1, 1), (1, 2)])
def test_matrix_that_is_no_indicator(values, table):
    X, y = table
    matrix = np.array(values)[np.column_stack([y, 1 - y])]
    with pytest.raises(ValueError, match=r"indicator matrix of 0 and 1|not supported"):
        KANClassifier().fit(X, matrix)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({0: -1, 1: 1}, "must hold finite numbers of at least 0"),
        ({0: np.nan, 1: 1}, "must hold finite numbers of at least 0"),
        ({0: np.inf, 1: 1}, "must hold finite numbers of at least 0"),
        ({0: 0, 1: 0}, "must leave at least 2 classes a weight"),
        ({0: 0, 1: 1}, "must leave at least 2 classes a weight"),
    ],
)
def test_impossible_class_weights(weights, message, table):
    with pytest.raises(ValueError, match=message):
        KANClassifier(class_weight=weights).fit(*table)


def test_weights_whose_sum_overflows(table):
    X, y = table
    with pytest.raises(ValueError, match="The sum of sample_weight exceeds"):
        KANRegressor().fit(X, y, sample_weight=np.full(30, 1.7e308))


def test_device_that_holds_no_numbers(table):
    with pytest.raises(ValueError, match="device must name a device of this machine"):
        KANRegressor(device="meta").fit(*table)


@pytest.mark.parametrize("value", [np.inf, Decimal("Infinity"), np.nan, Decimal("NaN")])
def test_non_finite_objects_in_the_target(value, table):
    X, y = table
    objects = y.astype(object)
    objects[3] = value
    with pytest.raises(ValueError, match="contains"):
        KANRegressor().fit(X, objects)


def test_validation_rows_whose_classes_have_no_weight(table):
    X, y = table
    classes = y + (X[:, 1] > 0)
    model = KANClassifier(class_weight={0: 0, 1: 1, 2: 1})
    rows = classes == 0
    with pytest.raises(
        ValueError, match=r"In X_val and y_val: class_weight must leave"
    ):
        model.fit(X, classes, X_val=X[rows], y_val=classes[rows])
    heavy = dict.fromkeys((0, 1, 2), 1e308)
    with pytest.raises(ValueError, match="class_weight must leave these"):
        KANClassifier(class_weight=heavy).fit(X, classes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prune_threshold": True}, "prune_threshold must be a number"),
        ({"prune_threshold": "auto", "solver": "lbfgs"}, "needs solver='lm'"),
        ({"prune_threshold": "auto", "solver": "lm", "alpha": 0.1}, "a fixed alpha"),
        ({"prune_threshold": "auto", "alpha": 0.1}, "needs solver='lm'"),
        ({"prune_threshold": "auto", "alpha": np.ones((3, 3))}, "a fixed alpha"),
        ({"prune_threshold": "auto", "penalty": SparsityPenalty()}, "got LBFGS"),
        ({"penalty": SparsityPenalty(), "solver": "lm"}, "penalty must be None"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused_before_any_work(
    settings, message
):
    """Not even the rows are looked at."""
    with pytest.raises(ValueError, match=message):
        KANRegressor(**settings).fit("no table", None)
