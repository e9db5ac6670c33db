"""Dask arrays and data frames of users, before they become chunks of numbers.

dask is never imported unless such data are given.
"""

from dataclasses import dataclass
from functools import wraps
from operator import methodcaller

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from skkan.data import _merged_rows
from skkan.data._column_checks import naming_column
from skkan.data._dask_chunks import Chunks, Cluster
from skkan.numerics import _row_blocks

ENCODE = (
    "for instance by dask.dataframe.get_dummies(X.categorize()), or pass X.compute(), "
    "if it fits into memory."
)


def is_dask(data):
    """Whether data are a dask array, series or data frame."""
    return hasattr(data, "__dask_graph__") and hasattr(data, "to_delayed")


def in_memory(data):
    """Data in memory; data that are not dask's stay as they are."""
    return data.compute() if is_dask(data) else data


def table_of(X):
    """X as it is; in memory if it is dask's and has few rows, a `DaskTable` if many."""
    if not is_dask(X):
        return X
    if X.ndim != 2:
        return in_memory(X)  # for the usual message
    cluster, n_rows = Cluster(), X.shape[0]
    if isinstance(n_rows, int) and n_rows <= _row_blocks.SINGLE_BLOCK_ROWS:
        return in_memory(X)
    if isinstance(n_rows, int):
        parts, lengths = _parts_of(X), X.chunks[0]
    else:
        X = X.persist()
        parts = _parts_of(X)
        lengths = cluster.results([cluster.task(_n_rows, part) for part in parts])
    if sum(lengths) <= _row_blocks.SINGLE_BLOCK_ROWS:
        return in_memory(X)
    head = X._meta
    if not hasattr(head, "columns"):  # dask's has no columns
        head = np.empty((0, X.shape[1]), dtype=X.dtype)
    return DaskTable(cluster, parts, lengths, head)


@dataclass(frozen=True, eq=False)
class DaskTable:
    """Rows in chunks, as they came.

    Attributes
    ----------
    cluster : Cluster
    parts : list of dask.delayed.Delayed
        Arrays, sparse matrices or data frames.
    lengths : sequence of int
    head : ndarray or data frame
        One without rows that has the columns of all parts.
    """

    cluster: Cluster
    parts: list
    lengths: tuple
    head: object

    @property
    def shape(self):
        return (sum(self.lengths), self.head.shape[1])

    def checked(self):
        """The rows as float64, Chunks; raises where scikit-learn does, too."""
        tasks = [self.cluster.task(_checked, part) for part in self.parts]
        parts = self.cluster.kept(tasks)
        # Waits for all parts, so that errors are raised here.
        lengths = self.cluster.results([self.cluster.task(len, part) for part in parts])
        return Chunks.of_parts(self.cluster, parts, lengths, self.head.shape[1])


def checked_no_categories(is_categorical, head):
    """Raise if a column in chunks holds categories."""
    if is_categorical is None or not is_categorical.any():
        return
    columns = getattr(head, "columns", np.arange(len(is_categorical)))
    raise ValueError(
        "X must hold numbers only, as dask data of more than "
        f"{_row_blocks.SINGLE_BLOCK_ROWS} rows, got categories in "
        f"{[*columns[is_categorical]]}: "
        f"encode them, {ENCODE}"
    )


def over_chunks(method):
    """A method of rows that maps over the chunks of dask data, on their cluster.

    Its results come back as one ndarray, or a tuple of these.
    """

    @wraps(method)
    def mapped(self, X, *args, **kwargs):
        if not is_dask(X):
            return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        cluster = Cluster()
        model = cluster.shared(self)
        call = (method.__name__, args, kwargs)
        parts = _parts_of(X)
        results = cluster.results(
            [cluster.task(_predicted, model, *call, part) for part in parts]
        )
        results = [result for result in results if result is not None]
        if not results:
            return method(self, in_memory(X), *args, **kwargs)  # for the usual message
        if isinstance(results[0], tuple):
            return tuple(map(np.concatenate, zip(*results, strict=True)))
        return np.concatenate(results)

    return mapped


def _predicted(model, name, args, kwargs, part):
    if _n_rows(part) == 0:  # as partitions of data frames may have none
        return None
    return methodcaller(name, part, *args, **kwargs)(model)


def _parts_of(X):
    """The chunks of whole rows, list of dask.delayed.Delayed."""
    if getattr(X, "numblocks", (1, 1))[1:] != (1,):
        X = X.rechunk({1: -1})
    return list(np.ravel(X.to_delayed()))


def _n_rows(part):
    return part.shape[0]


def _checked(part):
    with naming_column(part, in_fit=True, of_text=f"Encode it, {ENCODE}"):
        checked = check_array(
            part,
            accept_sparse="csr",
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=0,
            input_name="X",
        )
    return _merged_rows.dense(checked)
