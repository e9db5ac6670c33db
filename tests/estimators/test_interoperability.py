"""The estimators inside scikit-learn's tools, with frames and across processes."""

import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import uniform
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - its effect
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    LearningCurveDisplay,
    RandomizedSearchCV,
    cross_val_predict,
    cross_validate,
)
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.solvers import LBFGS, Adam

# Small budgets end fits early, which is what the warning is for. Here and in the
# worker processes, where pytest's filters do not reach, they are not the subject.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"hidden_layer_sizes": (2,), "max_iter": 15, "random_state": 0}
both = pytest.mark.parametrize("make", [KANRegressor, KANClassifier])


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X.iloc[:200, :5], y[:200]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


# Searches.


@pytest.mark.parametrize(
    "search",
    [
        lambda *args: GridSearchCV(*args, cv=2, n_jobs=2),
        lambda *args: HalvingGridSearchCV(*args, cv=2, n_jobs=2, random_state=0),
    ],
    ids=["grid", "halving"],
)
def test_searches_over_grids_in_two_processes(search, diabetes):
    """Every candidate gets a finite score, the best is refitted with its grid."""
    pipeline = make_pipeline(StandardScaler(), KANRegressor(**SHORT))
    found = search(
        pipeline,
        {
            "kanregressor__grid_size": [3, 6],
            "kanregressor__grid_schedule": [None, (8,)],
        },
    ).fit(*diabetes)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    schedule = found.best_params_["kanregressor__grid_schedule"]
    last = schedule[-1] if schedule else found.best_params_["kanregressor__grid_size"]
    assert found.best_estimator_[-1].grid_size_ == last


def test_random_search_draws_alpha_from_a_distribution(diabetes):
    search = RandomizedSearchCV(
        KANRegressor(**SHORT), {"alpha": uniform(0, 1)}, n_iter=2, random_state=0
    ).fit(*diabetes)
    assert search.best_estimator_.alpha == search.best_params_["alpha"]


def test_solver_objects_are_searchable(iris):
    """They are compared and cloned like any value."""
    solvers = [LBFGS(history_size=3), Adam(learning_rate=0.05), "lbfgs"]
    search = GridSearchCV(KANClassifier(**SHORT), {"solver": solvers}, cv=2, n_jobs=2)
    assert search.fit(*iris).best_params_["solver"] in solvers


@both
def test_bits_do_not_depend_on_the_workers(make, iris):
    """One process, two processes, two threads."""
    X, y = iris
    X = np.vstack([X] * 8) + np.arange(1200)[:, None] * 1e-3
    y = np.tile(y, 8)
    model = make(**SHORT)
    alone = cross_val_predict(model, X, y, cv=3)
    assert_array_equal(cross_val_predict(model, X, y, cv=3, n_jobs=2), alone)
    with joblib.parallel_backend("threading", n_jobs=2):
        assert_array_equal(cross_val_predict(model, X, y, cv=3), alone)


def test_bits_do_not_depend_on_the_workers_where_the_blas_has_threads(rng):
    """The sums of numpy's matrix products differ there between main and worker."""
    X = rng.normal(size=(40_000, 4))
    y = X[:, 0] + np.sin(2 * X[:, 1])
    model = KANRegressor((3,), max_iter=3, solver="lbfgs", random_state=0)
    with threadpool_limits(2, user_api="blas"):
        alone = cross_val_predict(model, X, y, cv=2)
    assert_array_equal(cross_val_predict(model, X, y, cv=2, n_jobs=2), alone)


# It stands here, as the processes of the other searches serve it, too.
@both
def test_bar_and_monitor_work_in_a_search_of_two_processes(make, iris, capsys):
    """Scores of every iteration of every fit come back from the workers."""
    callback = pytest.importorskip("sklearn.callback")  # since scikit-learn 1.9
    scoring = "r2" if make is KANRegressor else "accuracy"
    monitor = callback.ScoringMonitor(scoring=scoring)
    settings = {**SHORT, "max_iter": 6, "tol": 0.0, "n_grid_updates": 0}
    model = make(**settings).set_callbacks(monitor)
    search = GridSearchCV(model, {"grid_size": [3, 5]}, cv=2, n_jobs=2)
    X, y = iris[0].to_numpy(), (iris[1].to_numpy() == 1).astype(int)
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    (log,) = monitor.get_logs(select="all")
    log = log.data_as_pandas
    names = log["task_name"].value_counts()
    assert names["iteration"] == 5 * 6  # four candidate fits and the refit
    assert names["grid 3"] + names["grid 5"] == names["fit"] == 5
    assert np.isfinite(log[scoring]).all()
    assert search.best_estimator_.n_iter_ == 6


# Meta-estimators.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: BaggingRegressor(model, 3, random_state=0),
        lambda model: VotingRegressor([("kan", model), ("ridge", Ridge())]),
        lambda model: StackingRegressor([("kan", model), ("ridge", Ridge())], cv=2),
        lambda model: TransformedTargetRegressor(
            model, func=np.log, inverse_func=np.exp
        ),
        lambda model: RFE(model, n_features_to_select=2),
        lambda model: make_pipeline(SelectFromModel(model), Ridge(alpha=1e-3)),
    ],
    ids=["bagging", "voting", "stacking", "transformed", "RFE", "SelectFromModel"],
)
def test_wrapped_regressor_explains_diabetes(wrap, diabetes):
    """The linear model has an R2 of 0.40 here; a broken wrapper has none."""
    X, y = diabetes
    assert wrap(KANRegressor(alpha=0.1, **SHORT)).fit(X, y).score(X, y) > 0.3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: CalibratedClassifierCV(model, cv=2),
        lambda model: BaggingClassifier(model, 3, random_state=0),
        lambda model: VotingClassifier(
            [("kan", model), ("logistic", LogisticRegression(max_iter=1000))],
            voting="soft",
        ),
        lambda model: StackingClassifier([("kan", model)], cv=2),
    ],
    ids=["calibrated", "bagging", "voting", "stacking"],
)
def test_wrapped_classifier_knows_iris(wrap, iris):
    assert wrap(KANClassifier(**SHORT)).fit(*iris).score(*iris) > 0.9


def test_multi_output_wrapper_equals_single_fits(diabetes):
    X, y = diabetes
    Y = np.column_stack([y, -y])
    wrapped = MultiOutputRegressor(KANRegressor(**SHORT), n_jobs=2).fit(X, Y)
    single = KANRegressor(**SHORT).fit(X, -y)
    assert_array_equal(wrapped.predict(X)[:, 1], single.predict(X))


def test_classifier_chain_predicts_its_labels(iris):
    X, y = iris
    Y = np.column_stack([y == 0, y == 2]).astype(int)
    chain = ClassifierChain(KANClassifier(**SHORT), random_state=0).fit(X, Y)
    assert np.mean(chain.predict(X) == Y) > 0.9


def test_permutation_importance_agrees_with_the_importances(rng):
    """Both name the only column that matters."""
    X = rng.normal(size=(200, 3))
    model = KANRegressor(**{**SHORT, "max_iter": 100}).fit(X, np.sin(2 * X[:, 1]))
    shuffled = permutation_importance(model, X, np.sin(2 * X[:, 1]), random_state=0)
    assert (
        shuffled.importances_mean.argmax() == model.feature_importances_.argmax() == 1
    )


def test_displays_of_scikit_learn_draw(diabetes, monkeypatch):
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    X, y = diabetes
    model = KANRegressor(**SHORT).fit(X, y)
    display = PartialDependenceDisplay.from_estimator(model, X, ["bmi"])
    (line,) = display.lines_.ravel()
    assert np.ptp(line.get_ydata()) > 10  # bmi matters
    LearningCurveDisplay.from_estimator(
        KANRegressor(**SHORT), X, y, cv=2, train_sizes=[0.5, 1.0]
    )
    pyplot.close("all")


# Data frames.


@both
def test_frames_of_pandas_and_polars_are_arrays_with_names(make, iris):
    X, y = iris
    plain = make(**SHORT).fit(X.to_numpy(), y.to_numpy())
    for frame in (X, pl.from_pandas(X)):
        model = make(**SHORT).fit(frame, y)
        assert_array_equal(model.feature_names_in_, X.columns)
        assert_array_equal(model.predict(frame), plain.predict(X.to_numpy()))


def test_mixed_types_go_through_a_column_transformer(rng):
    frame = pd.DataFrame(
        {"size": rng.normal(size=120), "colour": rng.choice(["red", "blue"], size=120)}
    )
    y = frame["size"] + 3 * (frame["colour"] == "red")
    encode = ColumnTransformer(
        [("colour", OneHotEncoder(sparse_output=False, drop="first"), ["colour"])],
        remainder="passthrough",
    )
    model = make_pipeline(encode, KANRegressor(**{**SHORT, "max_iter": 100}))
    assert model.fit(frame, y).score(frame, y) > 0.99


@both
@pytest.mark.parametrize(
    "kind",
    [
        lambda a: a.astype(np.float32),
        np.asfortranarray,
        lambda a: a.tolist(),
        lambda a: a[:, ::-1][:, ::-1],
    ],
    ids=["float32", "Fortran", "list", "strided"],
)
def test_kind_of_array_does_not_matter(make, kind, rng):
    X = rng.integers(-8, 8, size=(60, 3)) / 4  # exact also in float32
    y = (X[:, 0] > 0).astype(int)
    expected = make(**SHORT).fit(X, y).predict(X)
    assert_array_equal(make(**SHORT).fit(kind(X), y).predict(kind(X)), expected)


def test_read_only_memory_map(tmp_path, rng):
    X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    joblib.dump((X, y), tmp_path / "data")
    mapped_X, mapped_y = joblib.load(tmp_path / "data", mmap_mode="r")
    model = KANRegressor(**SHORT).fit(mapped_X, mapped_y)
    assert_array_equal(
        model.predict(mapped_X), KANRegressor(**SHORT).fit(X, y).predict(X)
    )


# Metadata routing.


def test_models_mapped_for_reading_predict(tmp_path, rng):
    """As the processes of joblib get them."""
    X = rng.normal(size=(40, 2))
    model = KANRegressor((2,), solver="lm", max_iter=5, random_state=0).fit(X, X[:, 0])
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    torch.set_warn_always(True)
    try:
        result = mapped.predict(X, return_std=True)
    finally:
        torch.set_warn_always(False)
    assert_array_equal(result, model.predict(X, return_std=True))


def test_sample_weights_are_routed_to_a_step(diabetes):
    X, y = diabetes
    weight = np.arange(len(y)) % 3
    with config_context(enable_metadata_routing=True):
        step = KANRegressor(**SHORT).set_fit_request(sample_weight=True)
        step.set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler(), step)
        pipeline[0].set_fit_request(sample_weight=False)
        routed = pipeline.fit(X, y, sample_weight=weight)
        scaled = StandardScaler().fit_transform(X)
        direct = KANRegressor(**SHORT).fit(scaled, y, sample_weight=weight)
        assert_array_equal(routed.predict(X), direct.predict(scaled))
        scores = cross_validate(
            step, X, y, params={"sample_weight": weight}, cv=2, error_score="raise"
        )
    assert np.isfinite(scores["test_score"]).all()


def test_validation_set_is_transformed_by_a_pipeline(iris):
    """transform_input sends X_val through the steps before the estimator."""
    X, y = (part.to_numpy() for part in iris)
    fit, held_out = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    with config_context(enable_metadata_routing=True):
        step = KANClassifier(**SHORT).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), step, transform_input=["X_val"])
        pipeline.fit(X[fit], y[fit], X_val=X[held_out], y_val=y[held_out])
    scaler = StandardScaler().fit(X[fit])
    direct = KANClassifier(**SHORT).fit(
        scaler.transform(X[fit]),
        y[fit],
        X_val=scaler.transform(X[held_out]),
        y_val=y[held_out],
    )
    assert pipeline[-1].validation_loss_curve_ == direct.validation_loss_curve_


# Persistence.

LOAD_AND_PREDICT = """
import sys
from pathlib import Path
import joblib, numpy, pickle, skops.io
X = numpy.load("data.npy")
for path in map(Path, sys.argv[1:]):
    if path.suffix == ".pickle":
        model = pickle.loads(path.read_bytes())
    elif path.suffix == ".joblib":
        model = joblib.load(path, mmap_mode="r")
    else:
        untrusted = skops.io.get_untrusted_types(file=path)
        model = skops.io.load(path, trusted=untrusted)
    numpy.save(f"{path}.npy", model.predict(X))
"""


@pytest.fixture(scope="module")
def dumped(iris):
    """Models whose fit left a solver's state behind, by name."""
    X, y = (part.to_numpy() for part in iris)
    settings = {"solver": Adam(batch_size=64), "additive_skip": True, **SHORT}
    return {
        make.__name__: make(**settings).fit(X, y).partial_fit(X, y)
        for make in (KANRegressor, KANClassifier)
    }


def test_round_trip_into_another_process(tmp_path, iris, dumped):
    X = iris[0].to_numpy()
    np.save(tmp_path / "data.npy", X)
    dumps = {
        ".pickle": lambda model, path: path.write_bytes(pickle.dumps(model)),
        ".joblib": joblib.dump,
        ".skops": skops.io.dump,
    }
    expected = {}
    for name, model in dumped.items():
        for suffix, dump in dumps.items():
            dump(model, tmp_path / (name + suffix))
            expected[name + suffix] = model.predict(X)
    command = [sys.executable, "-W", "error", "-c", LOAD_AND_PREDICT, *expected]
    subprocess.run(command, cwd=tmp_path, check=True)
    for name, values in expected.items():
        assert_array_equal(np.load(tmp_path / f"{name}.npy"), values, err_msg=name)


@pytest.mark.parametrize(
    ("model", "trusted"),
    [
        (KANRegressor(**SHORT), ["skkan.KANRegressor"]),
        (KANClassifier(**SHORT), ["skkan.KANClassifier"]),
        (
            KANRegressor(
                solver=Adam(), penalty=SparsityPenalty(), n_multiplications=1, **SHORT
            ),
            [
                "skkan.KANRegressor",
                "skkan.SparsityPenalty",
                "skkan.solvers.Adam",
            ],
        ),
    ],
    ids=["regressor", "classifier", "objects"],
)
def test_skops_has_to_trust_only_what_is_ours(model, trusted, iris):
    """Nothing but the lists that the README gives."""
    model = clone(model).fit(*iris)
    buffer = skops.io.dumps(model)
    assert skops.io.get_untrusted_types(data=buffer) == trusted
    again = skops.io.loads(buffer, trusted=trusted)
    assert_array_equal(again.predict(iris[0]), model.predict(iris[0]))


def test_fitted_state_holds_no_torch_objects(iris):
    """What a GPU made can then be read where there is none."""
    model = KANClassifier(solver="adam", **SHORT).fit(*iris).partial_fit(*iris)
    stored = io.BytesIO()

    class Checked(pickle.Pickler):
        def persistent_id(self, obj):
            assert not isinstance(obj, torch.Tensor | torch.nn.Module)

    Checked(stored).dump(model)


def test_model_for_a_gpu_predicts_where_there_is_none(iris, monkeypatch):
    X, y = iris
    model = KANClassifier(**SHORT).fit(X, y)
    expected = model.predict_proba(X)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model.device = "cuda"
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)


@both
def test_changed_parameters_do_not_change_a_fitted_model(make, iris):
    """They take effect at the next fit."""
    X, y = iris
    model = make(**SHORT).fit(X, y)
    expected = model.predict(X)
    model.set_params(spline_order=1, grid_size=9, extrapolation="linear", alpha=5.0)
    assert_array_equal(model.predict(X), expected)
    assert not hasattr(clone(model), "n_iter_")


def test_clone_of_a_round_trip_refits_to_the_same_model(iris):
    X, y = iris
    model = KANRegressor(**SHORT).fit(X, y)
    again = clone(pickle.loads(pickle.dumps(model))).fit(X, y)
    assert_allclose(again.predict(X), model.predict(X), rtol=0, atol=0)
