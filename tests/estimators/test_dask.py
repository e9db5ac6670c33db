"""Rows of dask: the model of a fit in memory, predictions by chunks, and searches."""

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.data._dask_chunks import Chunks, Cluster
from skkan.numerics import _row_blocks
from skkan.solvers import Adam

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ROWS = (300, 1, 399, 150)  # of the chunks
N_ROWS = sum(ROWS)


@pytest.fixture
def _many(monkeypatch, change_settings):
    """A few hundred rows count as many."""
    monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", 300)
    monkeypatch.setattr(_row_blocks, "SUM_BLOCK_ROWS", 128)
    change_settings("training", "CONTINUATION", max_rows_for_evidence=300)
    change_settings("selection", "SEARCH_SPACE", max_rows=300)
    change_settings("selection", "SEARCH", n_members=2)
    change_settings("selection", "PATH", last_alpha=1e-2)


@pytest.fixture(autouse=True)
def _in_this_thread():
    """For speed, unless a test says otherwise."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def table(rng):
    X = rng.uniform(-1, 1, (N_ROWS, 3))
    return X, np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=N_ROWS)


def chunked(data, rows=ROWS):
    if isinstance(data, pd.DataFrame):
        frames = np.split(np.arange(len(data)), np.cumsum(rows)[:-1])
        return dd.concat(
            [dd.from_pandas(data.iloc[each], npartitions=1) for each in frames]
        )
    chunks = (rows,) if data.ndim == 1 else (rows, (data.shape[1],))
    return da.from_array(data, chunks=chunks)


def assert_same(one, other):
    """Everything that two fits know."""
    assert vars(one).keys() == vars(other).keys()
    assert one.loss_curve_ == other.loss_curve_
    for name, value in vars(one).items():
        if isinstance(value, float | np.ndarray):
            assert_array_equal(value, getattr(other, name), err_msg=name)
    for layer, of_other in zip(
        one.fitted_model_.layer_statistics,
        other.fitted_model_.layer_statistics,
        strict=True,
    ):
        for name, values in vars(layer).items():
            assert_array_equal(values, getattr(of_other, name), err_msg=name)
    arrays, of_other = one.network_.state_dict(), other.network_.state_dict()
    for name, values in arrays.items():
        assert_array_equal(values, of_other[name], err_msg=name)


def assert_same_fit(model, X, y, sample_weight=None):
    """Of arrays in memory and in chunks, to the bit."""
    whole = clone(model).fit(X, y, sample_weight=sample_weight)
    weight = None if sample_weight is None else chunked(sample_weight)
    assert_same(clone(model).fit(chunked(X), chunked(y), sample_weight=weight), whole)


def regressor(hidden_layer_sizes=(2,), max_iter=4, **settings):
    return KANRegressor(
        hidden_layer_sizes, max_iter=max_iter, random_state=0, **settings
    )


REGRESSORS = {
    "additive": regressor(()),
    "hidden": regressor(max_iter=12),
    "fixed alpha": regressor(solver="lm", alpha=1e-3, n_multiplications=1),
    "lbfgs": regressor((1,), solver="lbfgs", n_multiplications=1, max_iter=20),
    "default": regressor("auto", max_iter=3),
    "huber": regressor(loss="huber", max_iter=8),
    "pruned": regressor(prune_threshold=0.1),
    "early stopping": regressor(solver="lbfgs", early_stopping=True),
    "schedule": regressor(solver="lbfgs", grid_schedule=(8,)),
}


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize("model", REGRESSORS.values(), ids=REGRESSORS)
def test_regressors_are_those_of_a_fit_in_memory(model, table, rng):
    """Pieces, and the order of their sums, do not depend on the chunks."""
    X, y = table
    X[rng.random(X.shape) < 0.05] = np.nan
    weight = rng.uniform(0.5, 2, N_ROWS)
    weight[::7] = 0
    assert_same_fit(model, X, y, weight)


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize(
    ("n_classes", "hidden_layer_sizes"), [(2, (2,)), (3, ()), (2, "auto")]
)
def test_classifiers_are_those_of_a_fit_in_memory(n_classes, hidden_layer_sizes, table):
    X, y = table
    labels = np.array(["a", "b", "c"])[np.digitize(y, [-0.5, 0.5][: n_classes - 1])]
    model = KANClassifier(
        hidden_layer_sizes, class_weight="balanced", max_iter=3, random_state=0
    )
    assert_same_fit(model, X, labels)


@pytest.mark.usefixtures("_many")
def test_rows_that_become_few_by_early_stopping_are_summed_at_once(table, monkeypatch):
    monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", N_ROWS - 1)
    assert_same_fit(REGRESSORS["early stopping"], *table)


@pytest.mark.usefixtures("_many")
def test_a_data_frame_is_fitted_by_its_names(table):
    """Its chunks have lengths that are not known before they are computed."""
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=y)
    rows = chunked(frame)
    model = regressor(())
    found = clone(model).fit(rows[["a", "b", "c"]], rows["y"])
    assert_same(found, clone(model).fit(frame[["a", "b", "c"]], y))
    assert found.feature_names_in_.tolist() == ["a", "b", "c"]


@pytest.mark.usefixtures("_many")
def test_what_is_not_in_chunks_may_lie_beside(table):
    """y in memory, several columns of it, and chunks of columns and sparse rows."""
    X, y = table
    X[X < 0] = 0.0
    both = np.column_stack([y, X[:, 0]])
    model = regressor(()).fit(X, both)
    wide = da.from_array(X, chunks=(200, 2))
    assert_same(clone(model).fit(wide, both), model)
    thin = wide.rechunk((200, 3)).map_blocks(sparse.csr_array)
    assert_same(clone(model).fit(thin, both), model)


@pytest.mark.usefixtures("_many")
def test_a_fit_goes_on_with_chunks(table):
    """From the earlier one, with finer grids and cells that are missing now."""
    X, y = table
    gaps = np.where(np.arange(N_ROWS)[:, None] % 9 == 0, np.nan, X)
    models = []
    for of in (np.asarray, chunked):
        model = regressor(warm_start=True).fit(of(X), y)
        models.append(model.set_params(grid_size=8).fit(of(gaps), y))
    assert_same(*models)


def test_few_rows_are_brought_to_the_client(table, monkeypatch):
    """Where equal rows are merged; categories and all solvers are to be had there."""
    X, y = table
    monkeypatch.delattr(Chunks, "of_parts")
    frame = pd.DataFrame(X, columns=list("abc"))
    frame["d"] = pd.Categorical(np.where(X[:, 0] > 0, "high", "low"))
    model = regressor((), solver="adam", max_iter=2)
    assert_same(clone(model).fit(chunked(frame), y), clone(model).fit(frame, y))


@pytest.mark.usefixtures("_many")
def test_rows_that_weights_leave_are_merged_where_they_are_few(table):
    X, y = table
    weight = (np.arange(N_ROWS) < 200).astype(float)
    assert_same_fit(regressor(()), X, y, weight)


@pytest.mark.usefixtures("_many")
def test_validation_rows_may_be_of_dask(table):
    X, y = table
    model = regressor((), solver="lbfgs")
    one = clone(model).fit(chunked(X), y, X_val=chunked(X), y_val=chunked(y))
    other = clone(model).fit(X, y, X_val=X, y_val=y)
    assert one.validation_scores_ == other.validation_scores_


def test_a_stream_takes_batches_of_dask(table):
    X, y = table
    one = KANRegressor(solver="adam", random_state=0).partial_fit(chunked(X), y)
    other = KANRegressor(solver="adam", random_state=0).partial_fit(X, y)
    assert_array_equal(one.predict(X), other.predict(X))


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_predictions_map_over_the_chunks(kind, table):
    """They come back in memory, those of no rows aside."""
    X, y = kind(table[0]), table[1]
    model = regressor(()).fit(X, y)
    rows = chunked(X)
    if kind is pd.DataFrame:
        X.columns = X.columns.astype(str)
        model.fit(X, y)
        rows = chunked(X)
        rows = dd.concat([rows.partitions[0].query("`0` > 2"), rows])
    assert_allclose(model.predict(rows), model.predict(X), rtol=1e-14)
    for part, whole in zip(
        model.predict(rows, return_std=True),
        model.predict(X, return_std=True),
        strict=True,
    ):
        assert_allclose(part, whole, rtol=1e-12)
    assert_allclose(model.score(rows, chunked(y)), model.score(X, y), rtol=1e-14)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_classes_map_over_the_chunks(method, table):
    X, y = table
    model = KANClassifier((), random_state=0).fit(X, y > 0)
    whole, found = getattr(model, method)(X), getattr(model, method)(chunked(X))
    if method == "predict":
        assert_array_equal(found, whole)
    else:
        assert_allclose(found, whole, rtol=1e-12)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_no_rows_raise_what_they_raise_in_memory(kind, method, table):
    X, y = table
    model = KANClassifier((), max_iter=2).fit(X, y > 0)
    rows, labels = kind(X[:0]), [y[:0] > 0] if method == "score" else []
    for none in (rows, chunked(rows, (0,))):
        with pytest.raises(
            ValueError, match=r"0 sample\(s\) \(shape=\(0, 3\)\).* by KAN"
        ):
            getattr(model, method)(none, *labels)


def test_predictions_can_stay_lazy(table):
    """As the documentation says."""
    X, y = table
    model = regressor(()).fit(X, y)
    lazy = chunked(X).map_blocks(model.predict, drop_axis=1, dtype=float)
    assert lazy.chunks == (ROWS,)
    assert_allclose(lazy.compute(), model.predict(X), rtol=1e-14)


REFUSED = {
    "adam": ({"solver": "adam"}, "solver must be 'auto', 'lm' or 'lbfgs' for dask"),
    "an Adam": ({"solver": Adam()}, "solver must be 'auto', 'lm' or 'lbfgs' for dask"),
    "penalty": ({"penalty": SparsityPenalty()}, "penalty must not depend on the rows"),
    "device": ({"device": "meta"}, "device must be 'cpu' for dask data"),
    "category": ({"categorical_features": [1]}, "numbers only, .* categories in"),
}


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_what_chunks_do_not_allow_is_refused_before_any_work(
    settings, message, table, monkeypatch
):
    """Nothing has been computed by then."""
    monkeypatch.delattr(Cluster, "kept")
    X, y = table
    with pytest.raises(ValueError, match=message):
        KANRegressor(**settings).fit(chunked(X), y)


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda X, y: X.__setitem__((400, 1), np.inf),
            r"infinity .* column 1\. Make",
        ),
        (lambda X, y: y.__setitem__(400, np.inf), "Input y contains infinity"),
        (lambda X, y: y.__setitem__(400, np.nan), "Input y contains NaN"),
    ],
    ids=["infinite X", "infinite y", "missing y"],
)
def test_bad_cells_raise_what_they_raise_in_memory(change, message, table):
    change(*table)
    X, y = table
    model = regressor(())
    for one in (X, chunked(X)):
        with pytest.raises(ValueError, match=message):
            model.fit(one, y)


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize("dtype", [object, "string"])
def test_text_has_a_remedy_that_chunks_allow(dtype, table):
    """They hold no categories; few rows, which come to memory, may."""
    X, y = table
    frame = pd.DataFrame(X, columns=list("abc")).assign(b="blue").astype({"b": dtype})
    rows, model = chunked(frame), regressor(())
    remedy = r"Encode it, .*get_dummies\(X\.categorize\(\)\), or pass X\.compute\(\)"
    with pytest.raises(ValueError, match=rf"'blue' in column 'b'\. {remedy}"):
        model.fit(rows, y)
    array = da.from_array(frame.to_numpy(dtype=object), chunks=(200, 3))
    with pytest.raises(ValueError, match=rf"'blue' in column 1\. {remedy}"):
        model.fit(array, y)
    with pytest.raises(
        ValueError, match=r"'blue' in column 'b'\. Name columns of text"
    ):
        model.fit(rows.partitions[0], y[: ROWS[0]])
    model.fit(dd.get_dummies(rows.categorize()), y)
    assert model.feature_names_in_.tolist() == ["a", "c", "b_blue"]


@pytest.mark.usefixtures("_many")
def test_shapes_that_do_not_fit_raise_what_they_raise_in_memory(table):
    X, y = table
    model = regressor(())
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[850, 84"):
        model.fit(chunked(X), chunked(y)[:-1])
    with pytest.raises(ValueError, match="Give one weight for each row of X"):
        model.fit(chunked(X), y, sample_weight=y[:-1] ** 2)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
        model.fit(chunked(y), y)
    model.set_params(warm_start=True).fit(chunked(X), y)
    with pytest.raises(ValueError, match="has n_features=3, got 2: keep it"):
        model.fit(chunked(X)[:, :2], y)


@pytest.mark.usefixtures("_many")
def test_auto_stands_for_a_solver_of_sums(table, monkeypatch):
    """Where it is Adam in memory, chunks take L-BFGS."""
    X, y = table
    monkeypatch.setattr("skkan.selection._solver_choice.LM_LIMITS", ((0, 0),) * 2)
    monkeypatch.setattr("skkan.selection._solver_choice.MAX_LBFGS_ROWS", 0)
    model = regressor().fit(chunked(X), y)
    chosen = model.set_params(solver="lbfgs")
    assert_same(clone(chosen).fit(chunked(X), y), model)


@pytest.mark.usefixtures("_many")
def test_scikit_learn_splits_arrays(table):
    """As the documentation says, and how data frames become such."""
    X, y = table
    model = regressor((), max_iter=3)
    whole = cross_val_score(model, X, y, cv=2)
    frame = chunked(pd.DataFrame(X)).to_dask_array(lengths=True)
    for rows in (chunked(X), frame):
        assert_array_equal(cross_val_score(model, rows, chunked(y), cv=2), whole)


# On a cluster


@pytest.mark.usefixtures("_many")
@pytest.mark.parametrize("name", ["additive", "lbfgs"])
def test_workers_make_the_same_model(name, table, client):
    """Processes with memories of their own, as on other machines."""
    with dask.config.set(scheduler=None):
        assert_same_fit(clone(REGRESSORS[name]).set_params(max_iter=3), *table)


def test_searches_scale_out_by_joblib(table, client):
    """Fits are spread over the workers; each is that of this process."""
    X, y = table
    search = GridSearchCV(
        KANRegressor((), max_iter=5, random_state=0), {"grid_size": [3, 6]}, cv=2
    )
    here = clone(search).fit(X, y)
    with dask.config.set(scheduler=None), joblib.parallel_config(backend="dask"):
        there = clone(search).set_params(n_jobs=-1).fit(X, y)
    for name in ("split0_test_score", "split1_test_score"):
        assert_array_equal(there.cv_results_[name], here.cv_results_[name])
