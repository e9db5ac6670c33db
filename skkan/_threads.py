"""One thread inside a fit or a prediction, whatever the process is set to.

Results then do not depend on the number of workers, and workers do not oversubscribe
the cores. Parallelism comes from fitting several models at once (`n_jobs`).
"""

import threading
from contextlib import ContextDecorator

import torch


class _SingleThread(ContextDecorator):
    """Context in which torch uses one thread; the last one to leave restores it.

    torch's setting belongs to the process, so that concurrent fits in threads must
    agree on when to restore it.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._n_inside = 0
        self._n_before = 1

    def __enter__(self):
        with self._lock:
            if self._n_inside == 0:
                self._n_before = torch.get_num_threads()
            self._n_inside += 1
            torch.set_num_threads(1)
        return self

    def __exit__(self, *error):
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                torch.set_num_threads(self._n_before)
        return False


single_thread = _SingleThread()
