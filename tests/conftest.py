"""Set up the suite: scikit-learn's array API checks run, random numbers are fixed."""

import os

# scikit-learn skips one of its checks unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"

from dataclasses import replace
from pkgutil import resolve_name

import numpy as np
import pytest


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
