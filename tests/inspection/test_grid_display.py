"""The splines of one input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skkan.inspection import (
    GridDisplay,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("node", ["age", 0, (0, 0), "h1_1", (2, 0)])
def test_splines_are_those_of_the_basis(node, deep):
    """They sum to one, and the curve of an edge is made of them."""
    display = GridDisplay.from_estimator(deep, node)
    edge = display.edge
    x = display.lines_[0].get_xdata()
    values = np.array([line.get_ydata() for line in display.lines_])
    assert_allclose(values.sum(0), 1, rtol=1e-12)
    assert_allclose(edge.spline.c @ values, edge.spline(x), atol=1e-10)
    assert (x[0], x[-1]) == (edge.knots[0], edge.knots[-1])
    assert_array_equal(display.knots_.get_xdata(), edge.knots)
    assert display.ax_.get_xlabel() == edge.source_name


def test_nodes_that_do_not_exist_are_told(deep):
    for node in ("y0", "weight", 4, (3, 0)):
        with pytest.raises(ValueError, match="There is no source node"):
            GridDisplay.from_estimator(deep, node)
