"""Passes without a graph against autograd."""

import pytest
import torch
from numpy.testing import assert_allclose

from skkan import KANLayer, KANNetwork
from skkan.objective._gradient_without_autograd import ForwardBackwardPass


@pytest.fixture(params=["by its kernel", "by values"])
def kind(request, monkeypatch):
    """Layers have no kernel on other devices."""
    if request.param == "by values":
        monkeypatch.setattr(KANLayer, "evaluation", lambda *_, **__: None)


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("extrapolation", ["constant", "linear"])
@pytest.mark.parametrize("additive_skip", [False, True])
@pytest.mark.parametrize(
    ("widths", "n_multiplications"),
    [
        ([3, 1], ()),
        ([3, 4, 2], 0),
        ([2, 3, 2, 1], 0),
        ([2, 8, 7], 0),
        ([3, 2, 0, 2], (2, 1)),
    ],
)
def test_pass_equals_autograd(
    widths, n_multiplications, additive_skip, extrapolation, rng
):
    """With few and many outputs, products, beyond the grids, with edges removed."""
    x = torch.from_numpy(rng.normal(size=(50, widths[0])))
    network = KANNetwork.from_samples(
        widths,
        x,
        grid_eps=0.3,
        extrapolation=extrapolation,
        additive_skip=additive_skip and len(widths) > 2,
        n_multiplications=n_multiplications,
        generator=torch.Generator().manual_seed(0),
    )
    network.layers[0].mask[0, 1] = 0.0
    weights = [
        weight + 0.3 * torch.from_numpy(rng.normal(size=weight.shape))
        for weight in network.weights
    ]
    x = 1.5 * x
    slope = torch.from_numpy(rng.normal(size=(50, widths[-1])))
    theta = torch.cat([weight.flatten() for weight in weights])
    run = ForwardBackwardPass(network, x)
    found = run.output(theta)
    leaves = [weight.clone().requires_grad_() for weight in weights]
    output, _ = network.propagate(x, leaves)
    assert_allclose(found, output.detach(), rtol=1e-11, atol=1e-11)
    expected = torch.autograd.grad((slope * output).sum(), leaves)
    masks = [layer.mask.unsqueeze(2) for layer in network.all_layers]
    result = run.gradient(slope).split([weight.numel() for weight in weights])
    for mine, theirs, mask in zip(result, expected, masks, strict=True):
        mine = mine.view(theirs.shape) * mask
        assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)
    only_output = ForwardBackwardPass(network, x, with_gradient=False).output(theta)
    assert_allclose(only_output, found, rtol=0, atol=0)
