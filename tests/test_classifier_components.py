"""VAEClassifier with likelihoods, networks and objectives other than the default."""

import numpy as np
import pytest
import torch
from small_estimators import CLASS
from small_estimators import small_classifier as small

from sklearn_vae.networks import Modules


@pytest.mark.parametrize("params", [{"generative_weight": 0}, {"objective": "autoencoder"}], ids=str)
def test_classifier_without_a_model_of_the_rows_has_nothing_to_sample(iris, params):
    vae = small(max_iter=20, **params)
    assert not hasattr(vae, "sample") and not hasattr(vae, "score_samples")
    with pytest.raises(AttributeError, match="has no attribute 'sample'") as error:
        vae.sample(3)
    assert "expected a generative model for samples and densities" in str(error.value.__cause__)
    vae.fit(iris, CLASS)
    assert not hasattr(vae, "sample") and not hasattr(vae, "score_samples") and not hasattr(vae, "class_prior_")
    assert vae.score(iris, CLASS) > 0.8 and vae.transform(iris).shape == (150, 2)
    vae.set_params(generative_weight=1e-3, objective="elbo").fit(iris, CLASS)
    assert vae.sample(3)[0].shape == (3, 4) and np.isfinite(vae.score_samples(iris)).all()


@pytest.mark.parametrize("partly", [False, True])
def test_classifier_takes_the_bernoulli_likelihood(digits, partly):
    X, y = (digits > 8).astype(float)[:150], np.arange(150) % 2
    X = np.where(y[:, None], X, 1 - X)
    y[1::3] = -1 if partly else y[1::3]
    vae = small(likelihood="bernoulli", max_iter=20).fit(X, y)
    assert vae.score(X[y >= 0], y[y >= 0]) > 0.9
    assert set(np.unique(vae.sample(20)[0])) == {0.0, 1.0}
    assert np.isfinite(vae.score_samples(X)).all() and vae.score_samples(X).max() < 0


def test_classifier_takes_user_networks(iris):
    def encoder(n_features):
        return torch.nn.Sequential(torch.nn.Linear(n_features, 16), torch.nn.Dropout(0.1), torch.nn.Tanh())

    def decoder(n_components, n_features):
        return torch.nn.Linear(n_components, n_features)

    first, again = (small(max_iter=30, network=Modules(encoder, decoder)).fit(iris, CLASS) for _ in range(2))
    assert first.score(iris, CLASS) > 0.8 and first.sample(3)[0].shape == (3, 4)
    np.testing.assert_array_equal(first.predict_proba(iris), again.predict_proba(iris))
