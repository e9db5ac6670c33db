"""Losses of formulas are those of torch."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skkan.symbolic._formula_losses import FormulaLogLoss, FormulaSquaredError


@pytest.mark.parametrize("kind", ["squares", "one label", "labels", "classes"])
def test_losses_and_their_gradients_are_those_of_torch(kind, rng):
    """With weights; the curvature of a log loss is its Hessian, too."""
    output, weight = rng.normal(size=(12, 3)), rng.uniform(0.5, 2, 12)
    target = np.eye(3)[rng.integers(0, 3, 12)]
    functional = torch.nn.functional
    if kind == "squares":
        scale = np.array([1.0, 2.0, 0.5])
        loss = FormulaSquaredError(target, weight, scale, 0.0)
    elif kind == "one label":
        output, target = output[:, :1], target[:, :1]
        loss = FormulaLogLoss(target, weight, exclusive=False)
    else:
        loss = FormulaLogLoss(target, weight, exclusive=kind == "classes")
    direction = rng.normal(size=(*output.shape, 2))
    labels, shares = torch.from_numpy(target), torch.from_numpy(weight)

    def expected(v):
        logits = torch.from_numpy(output) + torch.from_numpy(direction) @ v
        if kind == "squares":
            squares = ((logits - labels) / torch.from_numpy(scale)) ** 2
            return 0.5 * (shares @ squares.sum(1))
        if kind == "classes":
            return shares @ functional.cross_entropy(logits, labels, reduction="none")
        losses = functional.binary_cross_entropy_with_logits(
            logits, labels, reduction="none"
        )
        return shares @ losses.sum(1)

    start = torch.zeros(2, dtype=torch.float64)
    assert_allclose(loss.value(output), float(expected(start)), rtol=1e-12)
    slopes, residuals = loss.expansion(output, direction)
    gradient = torch.autograd.functional.jacobian(expected, start)
    assert_allclose(slopes.T @ residuals, gradient, rtol=1e-9)
    curvature = torch.autograd.functional.hessian(expected, start)
    assert_allclose(slopes.T @ slopes, curvature, rtol=1e-9)
