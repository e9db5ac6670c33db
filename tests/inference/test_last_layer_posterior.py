"""The posterior of the weights of the outputs, with all others known."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from posterior_problems import dense_jacobian, dense_precision, make_plan, make_problem

from skkan.inference._last_layer_posterior import (
    last_layer_jacobian,
    output_root,
    variance_without,
)
from skkan.network._jacobian import outer_weight_positions
from skkan.penalties._quadratic import QuadraticPenalty


@pytest.mark.parametrize("widths", [[2, 1], [2, 3, 2]])
@pytest.mark.parametrize("n_rows", [60, 7])
def test_root_of_the_outputs_is_of_a_part_of_the_whole_precision(widths, n_rows, rng):
    """That of the weights of one output, with all others known."""
    network, data = make_problem(rng, widths)
    data = data.rows(slice(n_rows))
    plan = make_plan(QuadraticPenalty(0.1))
    root = output_root(network, data, plan)
    alpha = QuadraticPenalty(0.1).per_edge(
        sum(layer.mask.numel() for layer in network.all_layers)
    )
    own = outer_weight_positions(network)[-1]
    expected = dense_precision(network, data, alpha)[own][:, own]
    matrix = root.matrix().numpy()
    assert_allclose(matrix @ expected @ matrix.T, np.eye(len(own)), rtol=0, atol=1e-9)
    assert len(root.factor) == (7 if n_rows == 7 else len(own))
    x = torch.from_numpy(rng.uniform(-2, 2, (7, 2)))
    roots = last_layer_jacobian(network, root, x).numpy()
    assert len(roots) == widths[-1]
    columns = dense_jacobian(network, x)[:, -1, own]
    variance = np.einsum("np,pn->n", columns, np.linalg.solve(expected, columns.T))
    assert_allclose(np.square(roots).sum(1)[-1], variance, rtol=1e-7)


@pytest.mark.parametrize("n_rows", [60, 7])
def test_variance_without_a_row_is_that_of_the_other_rows(n_rows, rng):
    """With the prior of all rows."""
    network, data = make_problem(rng, [2, 3, 1])
    data = data.rows(slice(n_rows))
    plan = make_plan(QuadraticPenalty(0.3))
    some = data.rows(torch.arange(4))
    found = variance_without(network, data, plan, some)
    inverse = output_root(network, data, plan).matrix().inverse()
    outer = torch.from_numpy(dense_jacobian(network, some.X))
    outer = outer[:, 0, outer_weight_positions(network)[0]]
    for row, variance in enumerate(found):
        features = outer[row].unsqueeze(1)
        own = data.sample_weight[row] * features @ features.T
        others = inverse @ inverse.T - own
        expected = features.T @ torch.linalg.solve(others, features)
        assert_allclose(variance, expected.item(), rtol=1e-6)
