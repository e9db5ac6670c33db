"""Random networks with weighted rows, and the dense algebra of their posterior."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from skkan import KANNetwork
from skkan.data._dataset import Dataset
from skkan.losses._regression import SquaredError
from skkan.penalties._eigen_directions import penalty_spectrum
from skkan.solvers import LevenbergMarquardt
from skkan.training._plan import FitPlan

WIDTHS = [[2, 1], [2, 3, 1], [2, 3, 2]]
every_network = pytest.mark.parametrize("widths", WIDTHS, ids=str)


def make_problem(rng, widths):
    """Random network with a skip, and weighted rows."""
    X = torch.from_numpy(rng.uniform(-1, 1, (60, widths[0])))
    network = KANNetwork.from_samples(widths, X, grid_size=3, additive_skip=True)
    network = network.with_weights(
        [torch.from_numpy(rng.standard_normal(w.shape)) for w in network.weights]
    )
    data = Dataset(
        X,
        torch.from_numpy(rng.standard_normal((60, widths[-1]))),
        torch.from_numpy(rng.uniform(1, 2, 60)),
        torch.from_numpy(rng.standard_normal(widths[-1])),
    )
    return network, data


def make_plan(*penalties):
    return FitPlan(
        loss=SquaredError(),
        penalties=penalties,
        solver=LevenbergMarquardt(),
        grid_sizes=(3,),
        n_grid_updates=0,
        grid_eps=1.0,
        max_iter=10,
        tol=0.0,
    )


def dense_jacobian(network, x):
    """(n_samples, n_outputs, n_parameters), by autograd."""
    parts = jacobian(lambda *w: network.propagate(x, w)[0], tuple(network.weights))
    return torch.cat([part.flatten(2) for part in parts], dim=2).numpy()


def dense_precision(network, data, alpha):
    """sum_n w_n J_n^T J_n + n P(alpha)."""
    J = dense_jacobian(network, data.X)
    loss = np.einsum("n,nop,noq->pq", data.sample_weight.numpy(), J, J)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    spectrum = penalty_spectrum(network.layers[0].basis.penalty_kinds[0])
    vectors = np.kron(np.eye(n_edges), spectrum.vectors.numpy())
    strengths = (np.asarray(alpha) @ spectrum.parts.numpy()).ravel()
    return loss + data.n_observations * (vectors * strengths) @ vectors.T
