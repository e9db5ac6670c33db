"""Matrices whose rows lie in chunks, wherever Dask has them.

A `Cluster` is what computes: workers of a client, threads or processes, as Dask is
set. `Chunks` is a matrix on it. Nothing here knows of networks or losses; the only
functions that run on a cluster are those of this package.
"""

from itertools import islice

import numpy as np

from skkan.numerics import _row_blocks
from skkan.numerics._threads import single_thread


class Cluster:
    """Where Dask computes: what is active when this is made.

    Searches call it from several threads, in which Dask might find something else.
    """

    def __init__(self):
        import dask

        self._dask = dask
        self._get = dask.base.get_scheduler()  # None stands for the threads
        client = getattr(self._get, "__self__", None)
        self._client = client if hasattr(client, "scatter") else None

    def task(self, function, *arguments):
        """function(*arguments), to be computed by one thread."""
        return self._dask.delayed(_run, pure=False)(function, *arguments)

    def shared(self, value):
        """A value that many tasks take, as one object."""
        return self._dask.delayed(value, pure=False, traverse=False)

    def placed(self, values):
        """A list of values where the tasks will be; graphs are not meant for data."""
        if self._client is None:
            return [self.shared(value) for value in values]
        return self._client.scatter(values, hash=False)

    def kept(self, tasks):
        """Tasks whose results stay where they are made."""
        return list(self._dask.persist(*tasks, scheduler=self._get))

    def results(self, tasks):
        """List of the results of tasks."""
        return list(self._dask.compute(*tasks, scheduler=self._get))

    def total(self, tasks):
        """Sum of the results of tasks.

        The order is that of `tree_sum`, whichever of the tasks are done first.
        """
        while len(tasks) > _row_blocks.FAN_IN:
            groups = _row_blocks.in_groups(tasks)
            tasks = [self.task(_row_blocks.tree_sum, group) for group in groups]
        return _row_blocks.tree_sum(self.results(tasks))


class Chunks:
    """A matrix of float64 in chunks of its rows, which are the pieces of sums.

    Parameters
    ----------
    cluster : Cluster
    parts : list of dask.delayed.Delayed
        The chunks, ndarrays that are kept on the cluster.
    shape : tuple of int
    """

    def __init__(self, cluster, parts, shape):
        self.cluster, self.parts, self.shape = cluster, parts, shape
        self.slices = _row_blocks.row_blocks(shape[0])  # the rows of each chunk

    @classmethod
    def of_parts(cls, cluster, parts, lengths, n_columns):
        """Chunks from parts with any numbers of rows."""
        ends = np.cumsum([0, *lengths])
        chunks = []
        for rows in _row_blocks.row_blocks(int(ends[-1])):
            first = np.searchsorted(ends, rows.start, side="right") - 1
            stop = np.searchsorted(ends, rows.stop)
            places = [
                slice(max(rows.start - start, 0), rows.stop - start)
                for start in ends[first:stop].tolist()
            ]
            chunks.append(cluster.task(_stacked, parts[first:stop], places))
        return cls(cluster, cluster.kept(chunks), (int(ends[-1]), n_columns))

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        """All rows, where they have become few."""
        return np.concatenate(self.cluster.results(self.parts)).astype(dtype)

    def __getitem__(self, rows):
        """Some of the rows, by a mask or by positions in their order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        blocks = _row_blocks.row_blocks(len(rows))
        some = [self._places(rows[block]) for block in blocks]
        placed = iter(self.cluster.placed([each for _, of in some for each in of]))
        tasks = [
            self.cluster.task(_stacked, parts, [*islice(placed, len(places))])
            for parts, places in some
        ]
        shape = (len(rows), self.shape[1])
        return Chunks(self.cluster, self.cluster.kept(tasks), shape)

    def rows(self, rows):
        """A few of the rows on this machine, by positions in their order, ndarray."""
        task = self.cluster.task(_stacked, *self._places(rows))
        return self.cluster.results([task])[0]

    def _places(self, rows):
        """The chunks that hold some of the rows, and their positions in each."""
        cuts = np.searchsorted(rows, [0, *(part.stop for part in self.slices)])
        used = np.flatnonzero(np.diff(cuts))
        places = [
            rows[cuts[each] : cuts[each + 1]] - self.slices[each].start for each in used
        ]
        return [self.parts[each] for each in used], places

    def columns(self):
        """The columns one after the other, ndarrays of shape (n_rows, 1)."""
        for column in range(self.shape[1]):
            tasks = [self.cluster.task(_column_of, part, column) for part in self.parts]
            yield np.concatenate(self.cluster.results(tasks))

    def transformed(self, function):
        """function(chunk) of each chunk, of the same shape."""
        shared = self.cluster.shared(function)
        tasks = [self.cluster.task(_called, shared, part) for part in self.parts]
        return Chunks(self.cluster, self.cluster.kept(tasks), self.shape)


def _run(function, *arguments):
    with single_thread.alone():
        return function(*arguments)


def _called(function, *arguments):
    return function(*arguments)


def _stacked(parts, places):
    pairs = zip(parts, places, strict=True)
    return np.concatenate([part[place] for part, place in pairs])


def _column_of(part, column):
    return part[:, [column]]
