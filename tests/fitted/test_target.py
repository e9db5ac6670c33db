"""Targets of two classes: their probabilities."""

import numpy as np
from numpy.testing import assert_allclose

from skkan.fitted._target import ClassTarget


def test_a_small_probability_of_either_class_keeps_its_digits():
    """Also where the other one rounds to 1."""
    raw = np.array([[-200.0], [-40.0], [-1.0], [0.0], [1.0], [40.0], [200.0]])
    target = ClassTarget(np.array(["a", "b"]))
    probabilities = target.probabilities(raw)
    expected = np.exp(-np.logaddexp(0, np.hstack([raw, -raw])))
    assert_allclose(probabilities, expected, rtol=1e-14)
    assert_allclose(np.log(probabilities), target.log_probabilities(raw), rtol=1e-14)
    assert_allclose(probabilities.sum(1), 1.0, rtol=1e-15)
