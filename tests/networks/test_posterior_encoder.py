"""User-defined encoders that return (loc, scale)."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from naming import shown
from own_modules import WAYS_TO_LATENTS, Posterior, columns, features, observed, small, small_classifier
from small_estimators import CLASS
from torch import nn

from sklearn_vae.networks import Modules
from sklearn_vae.networks.base import PosteriorEncoder


@pytest.mark.parametrize("make", [small, partial(small_classifier, max_iter=2)], ids=["transformer", "classifier"])
@pytest.mark.parametrize("encoder", WAYS_TO_LATENTS, ids=shown)
def test_posterior_encoder_says_the_posterior_itself(iris, encoder, make):
    vae = make(network=Modules(encoder, columns), init="random", whiten=True).fit(iris, CLASS)
    assert isinstance(vae.module_.encoder, PosteriorEncoder)
    with torch.no_grad():
        loc, scale = vae.module_.encoder.module(observed(vae, iris))
        q = vae.module_.posterior(torch.from_numpy(iris.astype(np.float32)))
    X = iris.astype(np.float32)
    np.testing.assert_array_equal(vae.transform(X), loc.numpy())
    np.testing.assert_allclose(q.scale.numpy(), scale.numpy(), rtol=1e-5)


@pytest.mark.parametrize("make", [small, partial(small_classifier, max_iter=0)], ids=["transformer", "classifier"])
def test_posterior_encoder_starts_at_pca(iris, make):
    start = make(network=Modules(Posterior, columns), max_iter=0).fit(iris, CLASS)
    expected = make(max_iter=0).fit(iris, CLASS)
    assert start.module_.encoder.gate == 0
    np.testing.assert_allclose(start.transform(iris), expected.transform(iris), atol=1e-12)
    x = torch.from_numpy(iris.astype(np.float32))
    with torch.no_grad():
        np.testing.assert_allclose(start.module_.posterior(x).scale, expected.module_.posterior(x).scale)
    Z = start.transform(iris)
    np.testing.assert_allclose(start.inverse_transform(Z), expected.inverse_transform(Z), atol=1e-12)


@pytest.mark.parametrize("make", [small, small_classifier], ids=["transformer", "classifier"])
def test_posterior_encoder_leaves_pca_through_its_gate(iris, make):
    """Its loc adds to the linear map's, times the gate."""
    vae = make(network=Modules(Posterior, columns), max_iter=20, whiten=True).fit(iris, CLASS)
    gate = vae.module_.encoder.gate
    assert gate != 0
    with torch.no_grad():
        y = observed(vae, iris)
        loc, _ = vae.module_.encoder.module(y / vae.module_.linear.spread)
        expected = vae.module_.linear.encoder(y) + gate * loc
    np.testing.assert_allclose(vae.transform(iris), expected, atol=1e-5)


@pytest.mark.parametrize("init", ["ppca", "random"])
@pytest.mark.parametrize("generative_weight", [0, 0.1])
def test_posterior_encoder_classifies(iris, init, generative_weight):
    """Class logits depend on loc and scale, even if nothing else moves the gate."""
    network = Modules(Posterior, columns, encoder__width=32)
    params = {"generative_weight": generative_weight, "consistency_weight": 0, "max_iter": 60}
    vae = small_classifier(network=network, init=init, **params).fit(iris, CLASS)
    assert vae.score(iris, CLASS) > 0.65
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(restored.predict_proba(iris), vae.predict_proba(iris))


def test_posterior_encoder_learns(iris):
    """Without linear maps it scores close to networks that return features."""
    params = {"init": "random", "max_iter": 100}
    own = small(network=Modules(Posterior, columns, encoder__width=32), **params).fit(iris)
    read = small(network=Modules(features, columns, encoder__width=32), **params).fit(iris)
    start = small(network=Modules(Posterior, columns, encoder__width=32), init="random", max_iter=0).fit(iris)
    assert own.score(iris) > start.score(iris) + 1 and own.score(iris) > read.score(iris) - 0.5


@pytest.mark.parametrize("init", ["ppca", "random"])
def test_posterior_encoder_whose_scale_underflows(iris, init):
    """exp(-200) is 0 in float32."""

    class Sure(Posterior):
        def forward(self, x):
            loc, scale = super().forward(x)
            return loc, torch.cat([scale[:, :1], torch.full_like(scale[:, :1], torch.finfo(x.dtype).tiny)], -1) * (
                1e-30 if self.training else 1.0
            )

    vae = small(network=Modules(Sure, columns), init=init).fit(iris)
    assert np.isfinite(vae.loss_curve_).all() and np.isfinite(vae.transform(iris)).all()


def test_posterior_encoder_whose_scale_turns_negative_in_training(iris):
    class Bad(Posterior):
        def forward(self, x):
            loc, scale = super().forward(x)
            return loc, scale - 10 if self.training else scale

    for init in ("ppca", "random"):
        with pytest.raises(ValueError, match=r"expected the encoder to return scale above 0, got -\d.*softplus, or"):
            small(network=Modules(Bad, columns), init=init).fit(iris)


def test_posterior_encoder_with_dropout_is_deterministic_afterwards(iris):
    def encoder(n_features):
        return nn.Sequential(nn.Dropout(0.5), Posterior(n_features))

    vae = small(network=Modules(encoder, columns), init="random").fit(iris)
    np.testing.assert_array_equal(vae.transform(iris), vae.transform(iris))
    assert not vae.module_.encoder.module.training
