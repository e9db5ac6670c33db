"""Small problems whose evidence and posterior have dense formulas."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from skkan import KANNetwork
from skkan.data._dataset import Dataset
from skkan.inference._log_marginal_likelihood import LinearisedModel
from skkan.inference._prior import Prior
from skkan.losses._regression import SquaredError
from skkan.objective._gauss_newton import normal_equations
from skkan.penalties._eigen_directions import penalty_spectrum

# Widths of networks that are linear in their weights, and of others, of which the
# linearisation is put to the test.
WIDTHS = [[2, 1], [2, 2], [2, 2, 1], [2, 2, 2]]
every_network = pytest.mark.parametrize("widths", WIDTHS, ids=str)


def make_problem(rng, widths, *, loss=None, additive_skip=False):
    """A network with random weights, counted rows, and the model around its weights.

    Gauge constraints, which are no part of the textbook's model, are left out.
    """
    loss = loss or SquaredError()
    x = torch.from_numpy(rng.uniform(-1, 1, (30, widths[0])))
    network = KANNetwork.from_samples(
        widths, x, grid_size=3, additive_skip=additive_skip
    )
    weights = [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    network = network.with_weights(weights)
    target = torch.from_numpy(rng.standard_normal((30, widths[-1])))
    if not loss.has_noise:
        target = (target > 0).double()
    count = torch.from_numpy(rng.integers(1, 4, 30))
    n_rows = int(count.sum())
    baseline = torch.from_numpy(rng.standard_normal(widths[-1]))
    rows = Dataset(x, target, count.double() / n_rows, baseline)
    model = normal_equations(network, loss, network.theta, rows)
    model = model.without_gauge_constraints()
    theta = torch.cat([weight.flatten() for weight in weights])
    return SimpleNamespace(
        network=network,
        theta=theta,
        model=model,
        n_rows=n_rows,
        n_edges=sum(layer.mask.numel() for layer in network.all_layers),
        linearised=LinearisedModel(network, theta, model, n_rows, loss),
        rows=rows,
        count=count,
    )


def random_prior(rng, n_edges, *, unused=None):
    """Precisions and noise around one, over some orders of magnitude."""
    precision = np.exp(rng.uniform(-3, 3, (n_edges, 3)))
    if unused is not None:
        precision[:, unused] = 0
    return Prior(torch.from_numpy(precision), float(np.exp(rng.uniform(-3, 1))))


def directions(problem):
    """Directions of the penalties of all weights, one a column."""
    spectrum = penalty_spectrum(problem.network.layers[0].basis.penalty_kinds[0])
    return np.kron(np.eye(problem.n_edges), spectrum.vectors.numpy()), spectrum.parts


def dense_prior(problem, prior):
    """Precision matrix of the weights."""
    vectors, parts = directions(problem)
    return (vectors * (prior.precision @ parts).flatten().numpy()) @ vectors.T


def dense_linear_model(problem):
    """Jacobian and target of all repeated rows, J w = y in the linearisation."""
    network, rows = problem.network, problem.rows
    x = rows.X.repeat_interleave(problem.count, 0)
    target = rows.target.repeat_interleave(problem.count, 0) - rows.baseline
    parts = jacobian(lambda *w: network.propagate(x, w)[0], tuple(network.weights))
    J = torch.cat([part.flatten(2) for part in parts], dim=2).flatten(0, 1)
    y = (target - network(x).detach()).flatten() + J @ problem.theta
    return J.numpy(), y.numpy()


def dense_posterior(problem, prior):
    """Mean and covariance of the weights by the textbook's formulas."""
    J, y = dense_linear_model(problem)
    covariance = np.linalg.inv(J.T @ J / prior.noise + dense_prior(problem, prior))
    return covariance @ (J.T @ y) / prior.noise, covariance
