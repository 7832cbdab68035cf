"""The contract of networks, tested over their registry."""

import pytest
import torch
from component_cases import N_COMPONENTS, N_FEATURES, NETWORK_CASES, generator, normal
from naming import shown
from torch import nn

over_networks = pytest.mark.parametrize("network", NETWORK_CASES, ids=shown)


def built(network, zero_output=False, seed=0):
    return network.build(N_FEATURES, N_COMPONENTS, N_FEATURES, (8, 7), zero_output, generator(seed))


@over_networks
@pytest.mark.parametrize("zero_output", [False, True])
def test_network_shapes(network, zero_output):
    encoder, decoder = built(network, zero_output)
    features = encoder(torch.randn(7, N_FEATURES, generator=generator()))
    assert features.ndim == 2 and len(features) == 7
    assert decoder(torch.randn(7, N_COMPONENTS, generator=generator())).shape == (7, N_FEATURES)


@over_networks
def test_network_zero_output_returns_zeros(network):
    _, decoder = built(network, zero_output=True)
    assert not decoder(normal(7, N_COMPONENTS).float()).any()


@over_networks
@pytest.mark.parametrize("zero_output", [False, True])
def test_network_can_leave_its_start(network, zero_output):
    """Gradients are finite, and not all zero, so that training can move either network."""
    encoder, decoder = built(network, zero_output)
    for module, width in [(encoder, N_FEATURES), (decoder, N_COMPONENTS)]:
        (module(normal(7, width).float()) - 1).square().sum().backward()
        gradients = [parameter.grad for parameter in module.parameters()]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


@over_networks
def test_network_weights_are_drawn_from_the_generator_alone(network, global_random_state):
    before = global_random_state()
    first, again, other = (nn.ModuleList(built(network, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert global_random_state() == before


@over_networks
def test_network_state_dict_round_trip(network):
    pairs = [nn.ModuleList(built(network, seed=seed)) for seed in (0, 1)]
    pairs[1].load_state_dict(pairs[0].state_dict())
    for first, second, width in zip(*pairs, (N_FEATURES, N_COMPONENTS), strict=True):
        x = normal(5, width).float()
        assert torch.equal(first(x), second(x))


@over_networks
def test_network_treats_rows_independently(network):
    for module, width in zip(built(network), (N_FEATURES, N_COMPONENTS), strict=True):
        module, x = module.double().eval(), normal(9, width)
        torch.testing.assert_close(module(x)[2:5], module(x[2:5]), rtol=1e-12, atol=1e-12)
