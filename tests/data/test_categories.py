import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.preprocessing import OrdinalEncoder

from skkan.data._categories import Categories, categorical_columns, codes_of


def known(X, columns=(True,)):
    used = np.ones(len(X), dtype=bool)
    return Categories.of_rows(X, np.array(columns), used)


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a", None, "c", "a"],
        [3.0, 1.0, np.nan, 2.0, 1.0],
        [True, False, None, True, True],
        ["b", "a", np.nan, "c", "a"],
    ],
)
def test_codes_are_those_of_ordinal_encoder(values):
    X = np.array(values, dtype=object).reshape(-1, 1)
    present = X[[value is not None and value == value for value in values]]
    encoder = OrdinalEncoder().fit(present)
    codes = known(X).encoded(X)[:, 0]
    assert np.isnan(codes[2])
    assert_array_equal(codes[[0, 1, 3, 4]], encoder.transform(present)[:, 0])


@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(["low", None, "high"], categories=["low", "mid", "high"]),
        pd.Categorical(
            ["low", None, "high"], categories=["low", "mid", "high"], ordered=True
        ),
        pl.Series(["low", None, "high"], dtype=pl.Enum(["low", "mid", "high"])),
    ],
    ids=["category", "ordered", "Enum"],
)
def test_order_of_a_data_type_is_kept(column):
    """Without those of its categories that do not appear."""
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    frame = make({"c": column})
    categories = known(frame)
    assert categories.of_columns[0].tolist() == ["low", "high"]
    assert_array_equal(categories.encoded(frame)[:, 0], [0, np.nan, 1])


def test_categories_of_polars_are_sorted():
    """Theirs are in the order in which a process has met them."""
    frame = pl.DataFrame({"c": pl.Series(["b", "a", None], dtype=pl.Categorical)})
    assert known(frame).of_columns[0].tolist() == ["a", "b"]


def test_categories_of_other_types_are_told_apart_by_their_text():
    """Intervals, of which pandas.cut makes categories, and dates."""
    values = np.linspace(0, 1, 9)
    frame = pd.DataFrame({"c": pd.cut(values, 3), "d": pd.Timestamp(0)})
    frame["d"] = frame["d"].astype("category")
    categories = known(frame, (True, True))
    assert_array_equal(categories.counts, [3, 1])
    assert_array_equal(categories.encoded(frame)[:, 0], frame["c"].cat.codes)


def test_unknown_is_minus_one_and_rows_without_weight_do_not_count():
    X = np.array([["a"], ["b"], ["c"]], dtype=object)
    used = np.array([True, True, False])
    categories = Categories.of_rows(X, np.array([True]), used)
    assert_array_equal(categories.encoded(X)[:, 0], [0, 1, -1])


def test_numbers_stay_what_they_are():
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], dtype="Int64"),
            "c": pd.Categorical(["a", "b", None]),
            "x": [0.5, np.nan, 2.0],
        }
    )
    encoded = known(frame, (False, True, False)).encoded(frame)
    assert_array_equal(encoded[:, 0], [1, np.nan, 3])
    assert_array_equal(encoded[:, 1], [0, 1, np.nan])
    assert_array_equal(encoded[:, 2], frame["x"])


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("from_dtype", [False, True]),
        (None, None),
        ([], None),
        ([True, False], [True, False]),
        ([1], [False, True]),
        (["x"], [True, False]),
    ],
)
def test_columns_are_given_as_in_hist_gradient_boosting(features, expected):
    frame = pd.DataFrame({"x": [1.0, 2.0], "c": pd.Categorical(["a", "b"])})
    columns = categorical_columns(frame, features)
    assert (None if columns is None else columns.tolist()) == expected
    assert categorical_columns(frame.to_numpy(), "from_dtype") is None


def test_lists_may_hold_categories():
    X = [["a", 1.5], ["b", 2.5]]
    columns = categorical_columns(X, [0])
    encoded = Categories.of_rows(X, columns, np.ones(2, dtype=bool)).encoded(X)
    assert_array_equal(encoded, [[0, 1.5], [1, 2.5]])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, object])
@pytest.mark.parametrize("first", [2**53 - 2, 2**60, 2**63 - 4, 2**63 + 1, 10**400])
def test_whole_numbers_of_any_size_are_told_apart(first, dtype):
    """What float64 merges, from 2^53 on, are different categories."""
    numbers = [first + step for step in (2, 0, 1, 2)]
    if dtype is not object and numbers[0] > np.iinfo(dtype).max:
        return
    X = np.array(numbers, dtype=dtype).reshape(-1, 1)
    categories = known(X)
    assert categories.of_columns[0].tolist() == [first, first + 1, first + 2]
    assert_array_equal(categories.encoded(X)[:, 0], [2, 0, 1, 2])
    near = np.array([[first - 1], [first + 3]], dtype=dtype)
    assert_array_equal(categories.encoded(near)[:, 0], -1)
    whole = categories.encoded(np.array([[1.0], [2.0**60]]))[:, 0]
    assert_array_equal(whole, [-1, 0 if first == 2**60 else -1])


def test_long_floats_are_told_apart():
    X = np.longdouble(1) + np.arange(3)[:, None] * np.finfo(np.longdouble).eps
    assert known(X).counts == len(np.unique(X))


def test_missing_cells_of_lists_and_dates_are_no_categories():
    """Not even among strings, of which numpy would make the string "nan"."""
    X = [[1.0, "a"], [2.0, float("nan")], [3.0, None], [4.0, "b"]]
    categories = known(X, (False, True))
    assert categories.of_columns[1].tolist() == ["a", "b"]
    assert_array_equal(categories.encoded(X)[:, 1], [0, np.nan, np.nan, 1])
    dates = [pd.NaT, pd.Timestamp(0), np.datetime64("NaT"), pd.NA]
    X = np.array(dates, dtype=object).reshape(-1, 1)
    assert_array_equal(known(X).encoded(X)[:, 0], [np.nan, 0, np.nan, np.nan])


@pytest.mark.parametrize(
    "make",
    [
        lambda cells: pd.DataFrame({"c": cells}),
        lambda cells: pl.DataFrame({"c": cells}),
        lambda cells: np.array(cells, dtype=object).reshape(-1, 1),
        lambda cells: [[cell] for cell in cells],
    ],
    ids=["pandas", "polars", "ndarray", "list"],
)
def test_a_long_cell_takes_no_more_memory_than_itself(make):
    """Strings of a fixed width took 200 kB for every row, and seconds to be sorted."""
    cells = ["a", "b"] * 1000
    cells[3] = "c" * 50_000
    X = make(cells)
    tracemalloc.start()
    try:
        categories = known(X)
        codes = categories.encoded(X)[:, 0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6
    assert categories.of_columns[0].tolist() == ["a", "b", cells[3]]
    assert_array_equal(codes, [2 if i == 3 else i % 2 for i in range(2000)])


def test_strings_of_a_fixed_width_are_known_still():
    """As files of earlier versions hold them."""
    cells = np.array(["b", "c", "a"], dtype=object)
    assert_array_equal(codes_of(cells, np.array(["a", "b"]), "'c'"), [1, -1, 0])


def test_new_categories_are_those_that_another_knows():
    table = np.array([["a", 1], ["b", 2]], dtype=object)
    other = np.array([["b", 3], ["c", 2]], dtype=object)
    new = known(table, (True, True)).unknown_of(known(other, (True, True)))
    assert new == {0: ["c"], 1: [3.0]}
    assert known(table, (True, False)).unknown_of(
        known(other, (True, False))
    ).keys() == {0}


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (["a", 1], TypeError, "got strings and numbers in column 0: convert all"),
        ([1.0, np.inf], ValueError, "Input X contains infinity in column 0"),
        ([2**60, np.inf], ValueError, "Input X contains infinity in column 0"),
        ([10**400, -np.inf], ValueError, "Input X contains infinity in column 0"),
    ],
)
def test_columns_that_hold_no_categories(values, error, match):
    X = np.array(values, dtype=object).reshape(-1, 1)
    with pytest.raises(error, match=match):
        known(X)


@pytest.mark.parametrize("was", [["a", "b"], [1.0, 2.0]])
def test_type_must_not_change(was):
    other = [1.0, 2.0] if was[0] == "a" else ["a", "b"]
    with pytest.raises(ValueError, match=r"Categories of 'c' were .* convert the"):
        codes_of(np.array(other, dtype=object), np.array(was), "'c'")
    assert np.isnan(codes_of(np.array([None, np.nan]), np.array(was), "'c'")).all()
