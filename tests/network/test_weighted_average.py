"""The weighted mean of networks as one network."""

import pytest
from numpy.testing import assert_allclose
from random_network import make_network, make_samples, output

from skkan import KANLayer, KANNetwork
from skkan.network._weighted_average import weighted_average


@pytest.mark.parametrize("additive_skip", [False, True])
def test_weighted_sum_of_networks_is_that_of_the_outputs(additive_skip, rng):
    x = make_samples(rng)
    first, *others = (
        make_network(rng, x, additive_skip=additive_skip) for _ in range(3)
    )
    others = [  # inputs have their grids in common
        KANNetwork(
            [KANLayer(first.layers[0].basis, other.weights[0]), other.layers[1]],
            other.skip and KANLayer(first.layers[0].basis, other.weights[2]),
        )
        for other in others
    ]
    direct = KANNetwork([KANLayer.at_random(first.layers[0].basis, 2, None)])
    shares = [0.5, -0.2, 0.3, 0.4]
    networks = [first, *others, direct]
    total = weighted_average(networks, shares)
    expected = sum(
        share * output(network, x)
        for network, share in zip(networks, shares, strict=True)
    )
    assert_allclose(output(total, x), expected, rtol=0, atol=1e-12)
    assert total.widths == [3, 12, 2]
    assert total.members.tolist() == 4 * [0] + 4 * [1] + 4 * [2]
    assert weighted_average([first, direct], [0.5, 0.5]).members is None
    alone = weighted_average([direct], [0.5])
    assert_allclose(output(alone, x), 0.5 * output(direct, x), rtol=0, atol=1e-12)
    assert alone.skip is None
