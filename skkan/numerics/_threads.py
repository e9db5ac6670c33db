"""One thread for each task, whatever the process is set to.

Results then do not depend on the number of workers, and workers do not oversubscribe
the cores. Parallelism comes from fitting several models at once (`n_jobs`), from
training several networks of one search, and from sums and predictions of several blocks
of rows, by as many threads as torch may use.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator, contextmanager
from functools import lru_cache

import torch
from threadpoolctl import ThreadpoolController

from skkan.numerics._row_blocks import in_groups, tree_sum


class _SingleThread(ContextDecorator):
    """Context in which torch and the BLAS use one thread.

    torch's setting belongs to the thread that made it, and is inherited by threads that
    start later. The BLAS' setting belongs to the process. Concurrent fits in threads
    therefore restore the former each for itself, to what it was outside of all fits,
    and the latter when the last one leaves.

    The public functions of this package call torch in this context only. Threads of
    torch do not survive a fork, and a forked worker that waits for them never returns.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._own = threading.local()
        self._n_inside = 0  # threads

    def __enter__(self):
        depth = getattr(self._own, "depth", 0)
        self._own.depth = depth + 1
        if depth > 0:
            return self
        with self._lock:
            before = torch.get_num_threads()
            if self._n_inside == 0:
                self._n_outside = before
                self._blas = [(each, each.get_num_threads()) for each in _blas()]
                for library, _ in self._blas:
                    library.set_num_threads(1)
            elif before == 1:  # inherited from a fit that is under way
                before = self._n_outside
            self._own.before = before
            self._n_inside += 1
            torch.set_num_threads(1)
        return self

    def n_outside(self):
        """Number of threads that this thread would use outside of this context."""
        is_inside = getattr(self._own, "depth", 0) > 0
        return self._own.before if is_inside else torch.get_num_threads()

    @contextmanager
    def alone(self):
        """Context in which `parallel_map` uses one thread, too.

        It is for work that is one of many tasks.
        """
        with self:
            before, self._own.before = self._own.before, 1
            try:
                yield
            finally:
                self._own.before = before

    def __exit__(self, *error):
        self._own.depth -= 1
        if self._own.depth > 0:
            return False
        with self._lock:
            self._n_inside -= 1
            torch.set_num_threads(self._own.before)
            if self._n_inside == 0:
                self._restore_blas()
        return False

    def forget_other_threads(self):
        """Let a forked process begin with the one thread that it has."""
        self._lock = threading.Lock()  # another thread may have held it
        is_inside = getattr(self._own, "depth", 0) > 0
        if self._n_inside and not is_inside:
            self._restore_blas()
        self._n_inside = int(is_inside)

    def _restore_blas(self):
        for library, n_threads in self._blas:
            library.set_num_threads(n_threads)


def parallel_map(function, items):
    """List of function(item), by as many threads as there are outside.

    Order, and with it any sum of the results, does not depend on their number.
    """
    items = list(items)
    n_threads = min(threads_outside(), len(items))
    if n_threads < 2:
        return list(map(function, items))
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(function, items))


def parallel_tree_sum(function, items):
    """`tree_sum` of all function(item), by as many threads as there are outside."""
    return tree_sum(
        tree_sum(parallel_map(function, group)) for group in in_groups(items)
    )


def threads_outside():
    """Number of threads that torch may use outside of `single_thread`."""
    return single_thread.n_outside()


@lru_cache(maxsize=1)
def _blas():
    # Looks through all loaded libraries, which takes some milliseconds; numpy's and
    # scipy's BLAS are loaded by the time of the first fit.
    return ThreadpoolController().select(user_api="blas").lib_controllers


single_thread = _SingleThread()
if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=single_thread.forget_other_threads)
