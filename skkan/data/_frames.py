"""Data frames of any library: their names, types and columns.

pandas and polars share some methods, pyarrow has others, and narwhals wraps all of
them. None of them is imported unless its frames are given.
"""

from sklearn.utils import _safe_indexing


def native(X):
    """The frame that narwhals has wrapped, and record batches of pyarrow as a table.

    Anything else stays as it is.

    Raises
    ------
    TypeError
        If it is a frame whose rows are not there yet.
    """
    if _is_of(X, "narwhals") and hasattr(X, "to_native"):
        X = X.to_native()
    if hasattr(X, "collect") and not hasattr(X, "shape"):  # polars' lazy frames
        raise TypeError(
            f"X must hold its rows, got {type(X).__name__}: pass X.collect()."
        )
    if _is_arrow(X) and not hasattr(X, "to_batches"):
        from pyarrow import Table

        return Table.from_batches([X])
    return X


def is_frame(X):
    """Whether X has columns with names."""
    return _is_arrow(X) or hasattr(X, "columns")


def column_names(X):
    """Names of the columns, list; None if X is no frame."""
    if _is_arrow(X):
        return X.schema.names
    return list(X.columns) if hasattr(X, "columns") else None


def column_types(X):
    """Data types of the columns of a frame, list."""
    return list(X.schema.types if _is_arrow(X) else X.dtypes)


def column(X, index):
    """One column, by its position, in one dimension."""
    return X.column(int(index)) if _is_arrow(X) else _safe_indexing(X, index, axis=1)


def columns(X, index):
    """Some columns, by their positions, as a frame or an array."""
    index = [int(each) for each in index]
    return X.select(index) if _is_arrow(X) else _safe_indexing(X, index, axis=1)


def cells(values):
    """Cells of a column or an array in Python's types, list."""
    for name in ("to_list", "to_pylist", "tolist"):
        if hasattr(values, name):
            return getattr(values, name)()
    return list(values)


def declared_categories(values):
    """The categories of the data type of a column, in their order; else None."""
    if hasattr(values, "unify_dictionaries"):  # of pyarrow, in chunks
        chunks = values.unify_dictionaries().chunks
        return getattr(chunks[0], "dictionary", None) if chunks else None
    declared = getattr(getattr(values, "dtype", None), "categories", None)
    return declared if hasattr(declared, "to_list") else None


def is_of_time(dtype):
    """Whether a data type is one of dates or durations."""
    if _is_of(dtype, "pyarrow"):
        from pyarrow.types import is_temporal

        return is_temporal(dtype)
    if hasattr(dtype, "is_temporal"):  # of polars
        return dtype.is_temporal()
    return getattr(dtype, "kind", None) in ("m", "M")


def _is_arrow(X):
    """Whether X is a table or a record batch of pyarrow."""
    return _is_of(X, "pyarrow") and hasattr(X, "schema")


def _is_of(value, library):
    return type(value).__module__.partition(".")[0] == library
