"""Tables of pyarrow, frames of narwhals and sparse columns of pandas.

The models are those of the pandas frame.
"""

import narwhals
import narwhals.stable.v1
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import StandardScaler

from skkan import KANClassifier, KANRegressor
from skkan.inspection import edge_functions
from skkan.numerics import _row_blocks
from skkan.symbolic import SymbolicKANRegressor

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore:pandas.DataFrame with sparse columns:UserWarning",
)
FRAMES = {
    "table": pa.Table.from_pandas,
    "batch": pa.RecordBatch.from_pandas,
    "chunks": lambda frame: pa.concat_tables(
        [pa.Table.from_pandas(frame[:7]), pa.Table.from_pandas(frame[7:])]
    ),
    "narwhals of pandas": narwhals.from_native,
    "narwhals of polars": lambda frame: narwhals.from_native(pl.from_pandas(frame)),
    "narwhals of pyarrow": lambda frame: narwhals.from_native(
        pa.Table.from_pandas(frame)
    ),
    "narwhals v1": narwhals.stable.v1.from_native,
}
every_frame = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
BRIEF = {"hidden_layer_sizes": (2,), "max_iter": 3, "random_state": 0}
SHORT = {"max_iter": 20, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    """Numbers and categories, some cells missing."""
    rng = np.random.default_rng(0)
    kinds = pd.Categorical(rng.choice(["u", "v", "w"], 60))
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.integers(0, 5, 60)})
    frame["kind"], frame.loc[3, "a"], frame.loc[4, "kind"] = kinds, np.nan, None
    return frame, (frame["a"].fillna(0) ** 2 + frame["b"]).to_numpy()


@every_frame
@pytest.mark.parametrize("columns", [["a", "b"], ["a", "b", "kind"]])
def test_frames_of_all_libraries_give_the_same_model(make, columns, table):
    """With the names that scikit-learn's estimators take from them."""
    frame, y = table[0][columns], table[1]
    other = make(frame)
    for kind, target in ((KANRegressor, y), (KANClassifier, y > 2)):
        expected = kind(**BRIEF).fit(frame, target)
        model = kind(**BRIEF).fit(other, target, X_val=other, y_val=target)
        assert_array_equal(model.predict(other), expected.predict(frame))
        assert_array_equal(model.predict(other[:9]), expected.predict(frame[:9]))
        peer = StandardScaler().fit(make(frame[["a", "b"]]))
        assert hasattr(model, "feature_names_in_") == hasattr(peer, "feature_names_in_")


def test_order_of_the_categories_of_a_table_is_kept():
    """As `to_pandas` keeps it, also where chunks have dictionaries of their own."""
    parts = [pa.array(list(cells)).dictionary_encode() for cells in ("wvw", "uvw")]
    frame = pa.table({"kind": pa.chunked_array(parts)})
    model = KANRegressor(**BRIEF).fit(frame, np.arange(6.0))
    assert model.categories_[0].tolist() == ["w", "v", "u"]
    assert_array_equal(
        model.predict(frame),
        model.fit(frame.to_pandas(), np.arange(6.0)).predict(frame),
    )


def test_names_and_columns_of_tables_are_used(table):
    """In `categorical_features`, in the curves and in the formula."""
    frame, y = table
    text = pa.Table.from_pandas(frame.astype({"kind": object}))
    model = KANRegressor((), categorical_features=["kind"], random_state=0).fit(text, y)
    curves = edge_functions(model)
    assert [curve.source_name for curve in curves] == ["a", "b", "kind"]
    assert_array_equal(curves[2](text["kind"]), curves[2](frame["kind"]))
    assert_array_equal(curves[0](text["a"]), curves[0](frame["a"]))
    numbers = pa.Table.from_pandas(frame[["b"]])
    formula = SymbolicKANRegressor(KANRegressor((), **SHORT), max_refits=2)
    formula = formula.fit(numbers, frame["b"] + 1.0)
    assert formula.feature_names_in_.tolist() == ["b"]
    np.testing.assert_allclose(formula.predict(numbers), frame["b"] + 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "error", "match"),
    [
        (["u", "v"] * 30, ValueError, "could not convert string to float.*'new'"),
        (pd.date_range("2026", periods=60), TypeError, "got dtype timestamp.*'new'"),
        ([np.inf] * 60, ValueError, "contains infinity.* in column 'new'"),
    ],
)
def test_messages_name_the_column_of_a_table(column, error, match, table):
    frame, y = table
    frame = pa.Table.from_pandas(frame.assign(new=column))
    for X in (frame, narwhals.from_native(frame)):
        with pytest.raises(error, match=match):
            KANRegressor(**BRIEF).fit(X, y)


def test_frames_that_are_still_to_be_computed_are_refused(table):
    frame = pl.from_pandas(table[0]).lazy()
    for X in (frame, narwhals.from_native(frame)):
        with pytest.raises(TypeError, match=r"LazyFrame: pass X.collect\(\)"):
            KANRegressor(**BRIEF).fit(X, table[1])


@pytest.mark.parametrize("sparse", [["a"], ["b"], ["a", "b"], ["a", "b", "code"]])
@pytest.mark.parametrize("beside", [["kind"], ["code"], ["kind", "code"], []])
def test_sparse_columns_are_taken_beside_categories(sparse, beside, table):
    """Also where all numbers are sparse, or the categories themselves."""
    frame, y = table
    frame = frame.assign(a=frame["a"].fillna(0).round(), code=frame["b"] % 2)
    frame = frame[["a", "b", *beside]]
    sparse = [name for name in sparse if name in frame]
    other = frame.astype(
        {name: pd.SparseDtype(frame[name].dtype, 0) for name in sparse}
    )
    model = KANRegressor(categorical_features=beside or None, **BRIEF)
    expected = model.fit(frame, y).predict(frame)
    assert_array_equal(model.fit(other, y).predict(other), expected)


def test_sparse_columns_that_are_filled_with_other_values_get_a_remedy(table):
    """pandas makes no sparse matrix of them, as scikit-learn asks it to."""
    frame, y = table
    other = frame.astype({"a": pd.SparseDtype(float)})
    for X in (other[["a", "kind"]], other[["a"]]):
        with pytest.raises(ValueError, match=r"must be 0.*X\.sparse\.to_dense\(\)"):
            KANRegressor(**BRIEF).fit(X, y)


def test_columns_that_are_read_only_are_taken_without_a_warning(monkeypatch, table):
    """As those of pandas 3 are; many rows are neither merged nor copied."""
    monkeypatch.setattr(_row_blocks, "SINGLE_BLOCK_ROWS", 20)
    monkeypatch.setattr(_row_blocks, "SUM_BLOCK_ROWS", 16)
    frame, y = table
    X, weight = frame[["a", "b"]].fillna(0.0).to_numpy(), 1.0 + (y > 1)
    expected = KANRegressor(**BRIEF).fit(X, y, sample_weight=weight).predict(X)
    read_only = [part.copy() for part in (X, y, weight)]
    for part in read_only:
        part.flags.writeable = False
    X, y, weight = read_only
    model = KANRegressor(**BRIEF).fit(X, y, sample_weight=weight, X_val=X, y_val=y)
    assert_array_equal(model.predict(X), expected)
    for loss in ("huber", "poisson"):
        KANRegressor(loss=loss, **BRIEF).fit(X, y, sample_weight=weight).score(X, y)
    KANClassifier(class_weight="balanced", **BRIEF).fit(X, y > 1, weight)
