"""Base functions against torch's own, and their slopes against autograd."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skkan.basis._base_functions import BASE_ACTIVATIONS, base_derivatives

PEERS = {"silu": torch.nn.SiLU(), "identity": torch.nn.Identity()}


@np.errstate(over="ignore")
@pytest.mark.parametrize("as_array", [torch.Tensor.numpy, torch.Tensor.clone])
@pytest.mark.parametrize("name", sorted(BASE_ACTIVATIONS))
def test_values_and_slopes_are_those_of_torch(name, as_array):
    """Of arrays of numpy and of torch.

    Slopes far to the right are those of values that cancel, to their rounding.
    """
    numbers = [-1e300, -800.0, -30.0, -1.0, 0.0, 2.0, 40.0, 1e3]
    x = torch.tensor(numbers, dtype=torch.float64)
    values, slopes = BASE_ACTIVATIONS[name](as_array(x), True)
    x.requires_grad_()
    expected = PEERS[name](x)
    (expected_slopes,) = torch.autograd.grad(expected.sum(), x)
    assert_allclose(values, expected.detach(), rtol=1e-12, atol=0)
    assert_allclose(slopes, expected_slopes, rtol=1e-12, atol=0)
    assert BASE_ACTIVATIONS[name](as_array(x.detach()), False)[1] is None


@np.errstate(over="ignore")
@pytest.mark.parametrize("as_array", [torch.Tensor.numpy, torch.Tensor.clone])
@pytest.mark.parametrize("name", sorted(BASE_ACTIVATIONS))
def test_derivatives_of_any_order_are_those_of_autograd(name, as_array):
    """A residual of second derivatives needs the third ones of hidden layers."""
    x = torch.tensor([-800.0, -30.0, -2.0, 0.0, 0.3, 2.0, 30.0], dtype=torch.float64)
    found = base_derivatives(name, as_array(x), 5)
    x.requires_grad_()
    # torch has no derivatives of its SiLU beyond the third.
    expected = x * torch.sigmoid(x) if name == "silu" else 1 * x
    for values in found:
        assert_allclose(values, expected.detach(), rtol=0, atol=1e-13)
        if expected.requires_grad:
            (expected,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
        else:
            expected = torch.zeros_like(expected)
