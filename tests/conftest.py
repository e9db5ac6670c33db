"""Set up the suite: scikit-learn's array API checks run, random numbers are fixed."""

import os

# scikit-learn skips one of its checks unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator that is the same in every test."""
    return np.random.default_rng(0)
