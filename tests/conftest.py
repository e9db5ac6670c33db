import numpy as np
import pytest


@pytest.fixture
def rng():
    """Random numbers of the test's own: the same in every run and in any order."""
    return np.random.default_rng(0)
