"""float32 scores against float64 and exact densities, where a small quantity is left of large ones."""

import numpy as np
import pytest
import torch
from likelihood_modules import started
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian


def wide(n_features, noise, n_rows=500):
    """Rows of five components, and the same rows with 10% more noise."""
    rng = np.random.default_rng(0)
    linear = rng.normal(size=(n_rows, 5)) @ rng.normal(size=(5, n_features))
    small, more = rng.normal(size=(2, n_rows, n_features)) * 5**0.5 * noise
    return linear + small, linear + small + 0.21**0.5 * 5**0.5 * noise * rng.normal(size=small.shape) * (more != 0)


@pytest.mark.parametrize("noise", [3e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("n_features", [150, 1500])
def test_scores_of_wide_float32_rows_are_those_in_float64(n_features, noise):
    X, noisier = (rows.astype(np.float32) for rows in wide(n_features, noise))
    vae = VAETransformer(5, max_iter=0, n_draws=8, random_state=0).fit(X[:400])
    single = np.concatenate([vae.score_samples(X[i : i + 1]) for i in range(400, 420)])
    for size in (1, 2, 7, 100):
        scores = vae.score_samples(X[400 : 400 + size])
        np.testing.assert_allclose(scores, vae.score_samples(X[400 : 400 + size].astype(float)), atol=0.05)
        np.testing.assert_allclose(scores[:20], single[:size], atol=0.05)
    if (n_features, noise) == (1500, 3e-3):
        scores = [*vae.score_samples(X[400:]), *vae.score_samples(noisier[400:])]
        assert roc_auc_score(np.repeat([1, 0], 100), scores) > 0.99


def test_score_of_wide_rows_is_the_exact_density():
    """The start is probabilistic PCA with its exact posterior, so that each draw gives log p(x)."""
    X, _ = wide(200, 3e-3)
    vae = VAETransformer(5, max_iter=0, early_stopping=False, n_draws=4, random_state=0).fit(X)
    linear, likelihood = vae.module_.linear.decoder, vae.module_.likelihood
    weight = (likelihood.axes @ linear.weight.double() * likelihood.unit).detach().numpy()
    covariance = weight @ weight.T + np.diag(vae.noise_variance_)
    exact = multivariate_normal(likelihood.center.numpy(), covariance).logpdf(X)
    np.testing.assert_allclose(vae.score_samples(X), exact, atol=0.1)
    np.testing.assert_allclose(vae.score_samples(X.astype(np.float32)), exact, atol=0.2)


def test_offsets_do_not_change_scores():
    X, _ = wide(200, 3e-3)
    scores = [VAETransformer(5, max_iter=0, random_state=0).fit(X + c).score_samples(X + c) for c in (0.0, 1e8)]
    # 1e8 has a rounding error of 1.5e-8.
    np.testing.assert_allclose(*scores, atol=0.5)


@pytest.mark.parametrize("noise", [1.0, 0.1, 1e-3, 1e-6])
def test_dropped_norm_in_training_is_that_of_the_residual(noise):
    """A difference of squares replaces it only where float32 resolves the difference."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 40)) + noise * rng.normal(size=(200, 40))
    module, _ = started(Gaussian(), X, n_coordinates=4, n_components=2)
    exact = module.observe(torch.from_numpy(X)).inputs[:, -1]
    trained = module.float().train().observe(torch.from_numpy(X)).inputs[:, -1]
    torch.testing.assert_close(trained.double(), exact, rtol=1e-3, atol=1e-6)
