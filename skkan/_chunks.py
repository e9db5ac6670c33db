"""Matrices whose rows lie in chunks, wherever Dask has them.

A `Cluster` is what computes: workers of a client, threads or processes, as Dask is
set. `Chunks` is a matrix on it. Nothing here knows of networks or losses; the only
functions that run on a cluster are those of this package.
"""

from itertools import pairwise

import numpy as np

from skkan._threads import single_thread

FAN_IN = 8  # results that are added up in one place


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

        They are added up in a fixed order, so that rounding depends on the chunks, but
        not on which of them are done first.
        """
        while len(tasks) > FAN_IN:
            groups = range(0, len(tasks), FAN_IN)
            tasks = [self.task(_added, tasks[n : n + FAN_IN]) for n in groups]
        return _added(self.results(tasks))


class Chunks:
    """A matrix of float64 in chunks of its rows.

    Parameters
    ----------
    cluster : Cluster
    parts : list of dask.delayed.Delayed
        The chunks, ndarrays that are kept on the cluster.
    lengths : list of int
        Numbers of their rows.
    n_columns : int
    """

    def __init__(self, cluster, parts, lengths, n_columns):
        filled = [index for index, length in enumerate(lengths) if length]
        self.cluster = cluster
        self.parts = [parts[index] for index in filled]
        self.lengths = [int(lengths[index]) for index in filled]
        self.shape = (sum(self.lengths), n_columns)

    def __len__(self):
        return self.shape[0]

    def __array__(self, dtype=None, copy=None):
        """All rows, where they have become few."""
        return np.concatenate(self.cluster.results(self.parts)).astype(dtype)

    def __getitem__(self, rows):
        """Some of the rows, by a mask or by positions in their order."""
        places = self.places(rows)
        parts = self.cluster.kept(
            [
                self.cluster.task(_rows_of, part, place)
                for part, place in zip(
                    self.parts, self.cluster.placed(places), strict=True
                )
            ]
        )
        lengths = [len(place) for place in places]
        return Chunks(self.cluster, parts, lengths, self.shape[1])

    def places(self, rows):
        """Positions of some of the rows within each chunk."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        starts = np.cumsum([0, *self.lengths])
        cuts = np.searchsorted(rows, starts)
        return [
            rows[low:high] - start
            for (low, high), start in zip(pairwise(cuts), starts, strict=False)
        ]

    def slices(self):
        """Where the rows of each chunk are among all."""
        return [slice(*ends) for ends in pairwise(np.cumsum([0, *self.lengths]))]

    def columns(self):
        """The columns one after the other, ndarrays of shape (n_rows, 1)."""
        for column in range(self.shape[1]):
            tasks = [self.cluster.task(_column_of, part, column) for part in self.parts]
            yield np.concatenate(self.cluster.results(tasks))

    def transformed(self, function):
        """function(chunk) of each chunk, of the same shape."""
        shared = self.cluster.shared(function)
        tasks = [self.cluster.task(_called, shared, part) for part in self.parts]
        return Chunks(
            self.cluster, self.cluster.kept(tasks), self.lengths, self.shape[1]
        )


def _run(function, *arguments):
    with single_thread.alone():
        return function(*arguments)


def _called(function, *arguments):
    return function(*arguments)


def _added(values):
    return sum(values[1:], values[0])


def _rows_of(part, rows):
    return part[rows]


def _column_of(part, column):
    return part[:, [column]]
