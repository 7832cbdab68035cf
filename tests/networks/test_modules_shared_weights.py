"""Weights that user-defined modules share: in a fit, in copies, and between the calls of a factory."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from naming import shown
from own_modules import Features, columns, small, small_classifier
from sklearn.base import clone
from small_estimators import CLASS
from torch import nn

from sklearn_vae import VAETransformer
from sklearn_vae.networks import Modules


class Transposed(nn.Module):
    """A decoder with the encoder's weights, transposed: tied weights."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.first, self.bias = encoder, nn.Linear(2, 8), nn.Parameter(torch.zeros(4))

    def forward(self, z):
        return self.first(z).tanh() @ self.encoder.layers[0].weight + self.bias


def sharing_layers(encoder):
    """An encoder and a decoder that share a square layer."""
    shared = nn.Linear(8, 8)
    encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), shared)
    return encoder, nn.Sequential(nn.Linear(2, 8), nn.Tanh(), shared, nn.Tanh(), nn.Linear(8, 4))


def sharing_weights(encoder):
    return encoder, Transposed(encoder)


def sharing_by_parameter(encoder):
    """Two layers with one weight between them."""
    encoder, decoder = sharing_layers(encoder)
    layer = nn.Linear(8, 8)
    layer.weight = decoder[2].weight
    encoder[2] = layer
    return encoder, decoder


def taking_a_layer(n_features, layer):
    return nn.Sequential(nn.Linear(n_features, 8), nn.Tanh(), layer)


def giving_a_layer(n_components, n_features, layer):
    return nn.Sequential(nn.Linear(n_components, 8), nn.Tanh(), layer, nn.Tanh(), nn.Linear(8, n_features))


def shared_network(kind):
    if kind == "arguments":
        layer = nn.Linear(8, 8)
        return Modules(taking_a_layer, giving_a_layer, encoder__layer=layer, decoder__layer=layer)
    return Modules(*kind(Features(4)))


def n_shared(encoder, decoder):
    return len({*map(id, encoder.parameters())} & {*map(id, decoder.parameters())})


SHARED = [sharing_layers, sharing_weights, sharing_by_parameter, "arguments"]
over_shared = pytest.mark.parametrize("kind", SHARED, ids=shown)


@over_shared
@pytest.mark.parametrize("make", [small, partial(small_classifier, max_iter=2)], ids=["transformer", "classifier"])
def test_modules_that_share_weights_share_them_after_training(iris, kind, make):
    vae = make(network=shared_network(kind)).fit(iris, CLASS)
    before = n_shared(*shared_network(kind).build(4, 2, 4, (), False, torch.Generator()))
    assert before > 0
    for model in (vae.module_, pickle.loads(pickle.dumps(vae)).module_, copy.deepcopy(vae).module_):
        assert n_shared(model.encoder, model.decoder) == before
    state = vae.module_.state_dict()
    vae.module_.load_state_dict({name: value + 1 for name, value in state.items()})
    for name, value in vae.module_.state_dict().items():
        torch.testing.assert_close(value, state[name])


@over_shared
@pytest.mark.parametrize("copied", [clone, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_modules_that_share_weights_share_them_in_copies(kind, copied):
    network = shared_network(kind)
    role = "__layer" if kind == "arguments" else ""
    first, second = (getattr(copied(network), f"{name}{role}") for name in ("encoder", "decoder"))
    own = getattr(network, f"encoder{role}"), getattr(network, f"decoder{role}")
    again = copied(network)
    pair = getattr(again, f"encoder{role}"), getattr(again, f"decoder{role}")
    assert n_shared(*pair) == n_shared(*own) > 0
    assert n_shared(pair[0], own[0]) == n_shared(first, second) == 0


class Gives:
    """A factory that returns the same module at each call."""

    def __init__(self, module):
        self.module = module

    def __call__(self, *sizes):
        return self.module


@pytest.mark.parametrize("kind", ["arguments", "factories"])
def test_modules_leave_what_factories_give_untrained(iris, kind):
    """Otherwise folds and later fits would continue from it."""
    layer = nn.Linear(8, 8)
    if kind == "arguments":
        network = Modules(taking_a_layer, columns, encoder__layer=layer)
    else:
        network = Modules(Gives(nn.Sequential(nn.Linear(4, 8), layer)), Gives(columns(2, 4)))
    before = layer.weight.detach().clone()
    vae = VAETransformer(2, network=network, max_iter=2, random_state=0)
    np.testing.assert_array_equal(vae.fit(iris).transform(iris), vae.fit(iris).transform(iris))
    assert torch.equal(layer.weight, before)
