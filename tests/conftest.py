"""Set up the suite: array API checks run, threads share the cores, seeds are fixed."""

import os

# scikit-learn skips one of its checks unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"
# Two test processes with two threads each wait for each other on two cores. Libraries
# read the number of threads when they are imported; tests of threads set their own. The
# process that starts the others sets nothing, as they would inherit it.
if n_processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    n_threads = max(1, (os.cpu_count() or 1) // int(n_processes))
    os.environ.setdefault("OMP_NUM_THREADS", str(n_threads))

from dataclasses import replace
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state


@pytest.fixture(autouse=True)
def seed_global_generators():
    """Networks without a generator and fits without a random_state can be repeated."""
    torch.manual_seed(0)
    check_random_state(None).seed(0)


@pytest.fixture
def rng():
    """A generator that is the same in every test."""
    return np.random.default_rng(0)


@pytest.fixture
def change_settings(monkeypatch):
    """Function that changes fields of default settings for the length of a test."""

    def change(room, name, **changes):
        path = f"skkan.{room}._settings.{name}"
        monkeypatch.setattr(path, replace(resolve_name(path), **changes))

    return change
