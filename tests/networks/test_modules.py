"""User-defined torch modules: all ways to pass one, and training from its weights."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from naming import shown
from own_modules import WAYS_TO_LATENTS, Features, columns, features, small
from torch import nn

from sklearn_vae.networks import Modules
from sklearn_vae.objectives import IWAE


class Factory:
    """A callable object, whose repr is its address."""

    def __call__(self, n_features, width=8):
        return features(n_features, width)


class Convolution(nn.Module):
    """A decoder that takes (n_rows, n_components), without axes for draws."""

    def __init__(self, n_components, n_features):
        super().__init__()
        self.dense = nn.Linear(n_components, n_features)
        self.convolution = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, z):
        n_rows, _ = z.shape
        return self.convolution(self.dense(z).view(n_rows, 1, -1)).view(n_rows, -1)


WAYS = [
    Features,
    features,
    Factory(),
    partial(features, width=3),
    Features(4),
    nn.Sequential(nn.Linear(4, 3), nn.ELU()),
]


@pytest.mark.parametrize("init", ["ppca", "random"])
@pytest.mark.parametrize("encoder", WAYS + WAYS_TO_LATENTS, ids=shown)
@pytest.mark.parametrize("decoder", [columns, columns(2, 4), nn.Linear], ids=shown)
def test_modules_takes_classes_factories_and_instances(iris, encoder, decoder, init):
    vae = small(network=Modules(encoder, decoder), init=init).fit(iris)
    assert vae.transform(iris).shape == (150, 2) and vae.sample(3).shape == (3, 4)
    assert np.isfinite(vae.score_samples(iris)).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(iris), vae.transform(iris))


@pytest.mark.parametrize("encoder", WAYS + WAYS_TO_LATENTS, ids=shown)
def test_modules_go_on_training(iris, encoder):
    """Each call recognises the model as unchanged, whatever the way that it was passed."""
    vae = small(network=Modules(encoder, columns)).partial_fit(iris)
    before = vae.transform(iris)
    restored = pickle.loads(pickle.dumps(vae))
    assert np.abs(vae.partial_fit(iris).transform(iris) - before).max() > 0
    np.testing.assert_array_equal(restored.partial_fit(iris).transform(iris), vae.transform(iris))


def test_modules_instance_is_trained_from_its_weights(iris):
    encoder, decoder = Features(4), columns(2, 4)
    before = copy.deepcopy(encoder.state_dict())
    start, end = (small(network=Modules(encoder, decoder), init="random", max_iter=n).fit(iris) for n in (0, 2))
    for name, weight in before.items():
        assert torch.equal(start.module_.encoder.state_dict()[name], weight)
        assert not torch.equal(end.module_.encoder.state_dict()[name], weight)
        assert torch.equal(encoder.state_dict()[name], weight)


def test_modules_instance_keeps_frozen_weights(iris):
    encoder = Features(4).requires_grad_(False)
    vae = small(network=Modules(encoder, columns)).fit(iris)
    for name, weight in encoder.state_dict().items():
        assert torch.equal(vae.module_.encoder.state_dict()[name], weight)


def test_modules_instance_of_another_precision_is_taken(iris):
    vae = small(network=Modules(Features(4).double(), columns(2, 4).double())).fit(iris)
    assert {p.dtype for p in vae.module_.parameters()} == {torch.float32}
    assert vae.transform(iris).dtype == np.float64 and vae.transform(iris.astype(np.float32)).dtype == np.float32


def test_modules_of_classes_start_from_random_state(iris):
    fits = [small(network=Modules(Features, columns), init="random", random_state=seed).fit(iris) for seed in (0, 0, 1)]
    first, again, other = (vae.transform(iris) for vae in fits)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_modules_with_lazy_layers(iris, global_random_state):
    """Layers that learn their input's width when first called, as classes, factories and instances."""

    def lazy(n_in, n_out=4):
        return nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(n_out))

    instance, before = nn.LazyLinear(6), global_random_state()
    for network in (Modules(lazy, lazy), Modules(instance, nn.LazyLinear(4))):
        fits = [small(network=network).fit(iris) for _ in range(2)]
        np.testing.assert_array_equal(*(vae.score_samples(iris) for vae in fits))
    assert global_random_state() == before and instance.has_uninitialized_params()
    restored = pickle.loads(pickle.dumps(fits[0]))
    np.testing.assert_array_equal(restored.transform(iris), fits[0].transform(iris))


@pytest.mark.parametrize("objective", ["elbo", IWAE(3)], ids=shown)
def test_modules_need_not_take_draws_in_front_of_rows(iris, objective):
    vae = small(network=Modules(features, Convolution), objective=objective, n_draws=5).fit(iris)
    scores = vae.score_samples(iris)
    assert scores.shape == (150,) and np.isfinite(scores).all() and vae.sample(1).shape == (1, 4)
    np.testing.assert_allclose(vae.score_samples(iris[:1]), scores[:1])
