"""Networks with random weights, for tests of what is done with networks."""

import numpy as np
import torch

from skkan import BSplineBasis, KANLayer, KANNetwork

WIDTHS = [3, 4, 2]


def make_samples(rng, n_samples=60):
    return torch.from_numpy(rng.uniform(-1, 1, (n_samples, WIDTHS[0])))


def make_network(rng, x, *, additive_skip=True, widths=WIDTHS, **options):
    """Network with random splines, whose grids fit the samples."""
    network = KANNetwork.from_samples(widths, x, additive_skip=additive_skip, **options)
    weights = [
        torch.from_numpy(rng.standard_normal(weight.shape)) / weight.shape[1]
        for weight in network.weights
    ]
    network = network.with_weights(weights)
    return network.with_grids_from_samples(x, grid_eps=0.3)


def output(network, x):
    return network(x).detach()


def polynomial_network(rng, x):
    """Network whose edges are cubic polynomials within their grids."""
    network = make_network(rng, x, base_activation="identity", margin=0.2)
    weights = []
    for layer in network.all_layers:
        weight = np.zeros(layer.weight.shape)
        for i, knots in enumerate(layer.basis.grid.numpy()):
            points = np.linspace(knots[0], knots[-1], 100)
            one = BSplineBasis(torch.from_numpy(knots[None]))
            design = one(torch.from_numpy(points[:, None]))[:, 0].numpy()
            for o in range(len(weight)):
                curve = np.polynomial.Polynomial(rng.uniform(-0.3, 0.3, 4))
                weight[o, i, :-1] = np.linalg.lstsq(design, curve(points))[0]
                weight[o, i, -1] = rng.uniform(-0.3, 0.3)
        weights.append(torch.from_numpy(weight))
    network = network.with_weights(weights)
    # Wide enough for whatever these weights send through the second layer.
    hidden = network.layers[1]
    wide = hidden.basis.with_grid(torch.linspace(-9, 9, 6).double().expand(4, 6))
    coef = torch.einsum(
        "if,o->oif", _greville_cubic(wide), torch.tensor([0.3, -0.2]).double()
    )
    base = hidden.weight.detach()[..., -1:]
    hidden = KANLayer(wide, torch.cat([coef, base], dim=-1))
    return KANNetwork([network.layers[0], hidden], network.skip)


def _greville_cubic(basis):
    """Coefficients of x^3: the products of three neighbouring knots (blossom)."""
    knots = basis.knots
    n = basis.n_splines
    return knots[:, 1 : n + 1] * knots[:, 2 : n + 2] * knots[:, 3 : n + 3]
