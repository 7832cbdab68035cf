"""A model's weights in one flat tensor."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_vae import VAETransformer
from sklearn_vae._training.weights import Weights
from sklearn_vae.networks import Modules

X = np.random.default_rng(0).normal(size=(40, 6))


class Tied(nn.Module):
    """A layer that is used twice, a frozen layer, and a layer with transposed memory layout."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Linear(6, 6)
        self.again = self.twice
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.turned = nn.Linear(6, 6)
        self.turned.weight = nn.Parameter(torch.randn(6, 6).t())

    def forward(self, x):
        return self.turned(self.frozen(self.again(self.twice(x))))


def make_model(**params):
    """Return a model at its start, with gradients."""
    vae = VAETransformer(2, hidden_layer_sizes=(5,), max_iter=0, random_state=0, **params).fit(X)
    return vae.module_.requires_grad_(True)


def test_weights_are_the_models():
    model = make_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights = Weights(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    weights.values.fill_(3.0)
    assert all((p == 3).all() for p in model.parameters())
    weights.gradient.fill_(2.0)
    assert all((p.grad == 2).all() for p in model.parameters())
    weights.networks.zero_()
    zeros = {name.split(".")[0] for name, p in model.named_parameters() if (p == 0).all()}
    assert zeros == {"encoder", "encoder_head", "decoder"}


def test_autograd_adds_to_the_gradient():
    model = make_model()
    weights = Weights(model)
    sum(p.square().sum() for p in model.parameters()).backward()
    torch.testing.assert_close(weights.gradient, 2 * weights.trained.detach())


def test_weights_are_aligned_as_torch_aligns_memory():
    model = make_model()
    Weights(model)
    assert all(parameter.data_ptr() % 64 == 0 for parameter in model.parameters())


def test_odd_parameters_are_laid_out():
    vae = VAETransformer(
        2, network=Modules(Tied, nn.Sequential(nn.Linear(2, 6))), max_iter=3, early_stopping=False, random_state=0
    )
    frozen = Tied().frozen
    encoder = Tied()
    encoder.frozen.load_state_dict(frozen.state_dict())
    vae.set_params(network__encoder=encoder).fit(X)
    fitted = vae.module_.encoder
    assert fitted.twice is fitted.again
    assert torch.equal(fitted.frozen.weight, frozen.weight)
    for name in ("twice", "turned"):
        assert not torch.equal(getattr(fitted, name).weight, getattr(encoder, name).weight), name


@pytest.mark.parametrize("early_stopping", [False, True])
def test_fitted_models_do_not_share_memory(early_stopping):
    vae = VAETransformer(2, hidden_layer_sizes=(5,), max_iter=3, early_stopping=early_stopping, random_state=0).fit(X)
    before, other = vae.transform(X), copy.deepcopy(vae)
    for parameter in other.module_.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(vae.transform(X), before)
    vae.set_params(warm_start=True).fit(X)
    assert all((p == 0).all() for p in other.module_.parameters())


@pytest.mark.parametrize("early_stopping", [False, True])
def test_fitted_model_holds_its_weights_once(early_stopping):
    vae = VAETransformer(2, max_iter=3, early_stopping=early_stopping, random_state=0).fit(X)
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in vae.module_.state_dict().values()}
    assert sum(held.values()) < 1.1 * sum(t.nbytes for t in vae.module_.state_dict().values())
