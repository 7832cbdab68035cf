"""The model: bounds, likelihoods and units."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP


def noise(n_draws, n_components, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n_draws, 1, n_components), generator=generator, dtype=torch.float64)


def double(vae):
    return vae.module_.double().requires_grad_(False)


@pytest.fixture(scope="module")
def trained(iris):
    """A nonlinear model, in float64."""
    vae = VAETransformer(
        2, hidden_layer_sizes=(16,), learning_rate_init=0.01, max_iter=60, early_stopping=False, random_state=0
    )
    return double(vae.fit(iris))


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_log_likelihood_is_exact_at_the_start(iris, n_components):
    """The posterior is the true one, so that every importance weight equals p(x), also with one draw."""
    model = double(VAETransformer(n_components, max_iter=0).fit(iris))
    estimate = model.log_likelihood(torch.tensor(iris), noise(1, n_components))
    expected = PCA(n_components).fit(iris).score_samples(iris)
    # With n_components = n_features the noise is zero in PCA, and at its floor here.
    np.testing.assert_allclose(estimate.numpy(), expected, atol=2e-3 if n_components < 4 else 0.3)


def test_log_likelihood_rises_with_the_number_of_draws(iris, trained):
    x = torch.tensor(iris)
    means = [
        np.mean([float(trained.log_likelihood(x, noise(n_draws, 2, seed)).mean()) for seed in range(200 // n_draws)])
        for n_draws in (1, 5, 50)
    ]
    assert means[0] < means[1] < means[2]


def test_log_likelihood_of_one_draw_averages_to_the_elbo(iris, trained):
    x = torch.tensor(iris)
    draws = np.array([float(trained.log_likelihood(x, noise(1, 2, seed)).mean()) for seed in range(200)])
    generator = torch.Generator().manual_seed(0)
    elbo = float(-trained(x.repeat(200, 1), beta=1.0, generator=generator).loss.mean())
    assert elbo == pytest.approx(draws.mean(), abs=5 * draws.std() / math.sqrt(100))


def test_elbo_is_below_the_log_likelihood(iris, trained):
    x = torch.tensor(iris)
    elbo = -trained(x.repeat(100, 1), beta=1.0, generator=torch.Generator().manual_seed(0)).loss.mean()
    assert float(elbo) < float(trained.log_likelihood(x, noise(500, 2)).mean())


def test_log_likelihood_equals_numerical_integration(iris):
    """With one latent variable, p(x) is an integral over a line."""
    vae = VAETransformer(
        1, hidden_layer_sizes=(8,), learning_rate_init=0.01, max_iter=40, early_stopping=False, random_state=0
    )
    model, x = double(vae.fit(iris)), torch.tensor(iris[::10])
    z = torch.linspace(-8, 8, 8001, dtype=torch.float64)[:, None, None].expand(-1, len(x), -1)
    joint = model.likelihood.log_prob(model.likelihood.observe(x), model.decode(z)) + model.log_prior(z)
    exact = joint.logsumexp(0) + math.log(16 / 8000)
    np.testing.assert_allclose(model.log_likelihood(x, noise(20000, 1)).numpy(), exact.numpy(), atol=0.05)


@pytest.mark.parametrize("likelihood", [Gaussian(), Gaussian(per_column=True), Gaussian(scale="learned")], ids=repr)
@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_density_changes_with_the_units_of_the_data(iris, likelihood, scale):
    """If x' = c x, then p(x') = p(x) / c^D, and everything else is the same."""
    vae = VAETransformer(
        2,
        hidden_layer_sizes=(8,),
        likelihood=likelihood,
        whiten=True,
        max_iter=3,
        early_stopping=False,
        random_state=0,
    )
    before, Z = vae.fit(iris).score_samples(iris), vae.transform(iris)
    noise_variance = np.array(vae.noise_variance_)
    after = vae.fit(scale * iris).score_samples(scale * iris)
    np.testing.assert_allclose(after, before - iris.shape[1] * math.log(scale), atol=2e-2)
    np.testing.assert_allclose(vae.transform(scale * iris), Z, atol=1e-2)
    np.testing.assert_allclose(vae.noise_variance_, scale**2 * noise_variance, rtol=1e-2)


def test_fixed_scale_is_in_the_units_of_the_data(iris):
    for scale in (0.01, 30.0):
        vae = VAETransformer(2, likelihood=Gaussian(scale=scale), max_iter=1, early_stopping=False, random_state=0)
        assert vae.fit(iris).noise_variance_ == pytest.approx(scale**2)
        assert vae.fit(1e4 * iris).noise_variance_ == pytest.approx(scale**2)


@pytest.mark.parametrize("principal_coordinates", [2, None])
def test_reconstruct_and_sample_are_in_the_units_of_the_data(iris, principal_coordinates):
    X = 1e3 * iris + 1e5
    network = MLP(principal_coordinates=principal_coordinates)
    model = double(VAETransformer(2, network=network, max_iter=2, early_stopping=False, random_state=0).fit(X))
    reconstructed = model.reconstruct(model.posterior(torch.tensor(X)).loc)
    assert reconstructed.dtype == torch.float64
    assert np.square(reconstructed.numpy() - X).mean() < 0.2 * X.var(0).mean()
    generator = torch.Generator().manual_seed(0)
    draws = model.sample(model.sample_latents(4000, generator), generator).numpy()
    assert draws.dtype == np.float64
    np.testing.assert_allclose(draws.mean(0), X.mean(0), atol=300)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(X.T), atol=0.25 * np.cov(X.T).max())


@pytest.mark.parametrize("principal_coordinates", [16, 40, 64, None])
def test_principal_coordinates_leave_the_likelihood_exact(digits, principal_coordinates):
    """At the start the model is probabilistic PCA, in however many coordinates the networks work."""
    network = MLP(principal_coordinates=principal_coordinates)
    vae = VAETransformer(2, network=network, max_iter=0, random_state=0).fit(digits)
    np.testing.assert_allclose(vae.score_samples(digits), PCA(2).fit(digits).score_samples(digits), atol=2e-3)


def test_principal_coordinates_set_the_width_of_the_networks(digits):
    network = MLP(principal_coordinates=16)
    model = VAETransformer(2, hidden_layer_sizes=(8,), network=network, max_iter=0).fit(digits).module_
    assert model.encoder[0].in_features == 16 + 1
    assert model.decoder[-1].out_features == 16
    assert model.reconstruct(torch.zeros(3, 2)).shape == (3, 64)


def test_principal_coordinates_keep_what_they_drop(digits):
    """The dropped norm is the length of what the kept axes do not reach."""
    network = MLP(principal_coordinates=16)
    model = double(VAETransformer(2, network=network, max_iter=0).fit(digits))
    y = model.likelihood.observe(torch.tensor(digits)).inputs.numpy()
    standardised = (digits - digits.mean(0)) / float(model.likelihood.unit)
    np.testing.assert_allclose(np.square(y).sum(1), np.square(standardised).sum(1), rtol=1e-5)
    np.testing.assert_allclose(np.square(y[:, :16]).mean(0)[:15], np.sort(np.square(y[:, :16]).mean(0))[::-1][:15])


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_encode_is_noisy_in_training_only(digits, likelihood):
    vae = VAETransformer(2, likelihood=likelihood, input_noise=0.5, max_iter=0, random_state=0)
    model = double(vae.fit(digits / 16))
    y = model.observe(torch.tensor(digits / 16))
    quiet = [model.encode(y, torch.Generator().manual_seed(seed)).loc for seed in (0, 1)]
    assert torch.equal(*quiet)
    model.train()
    noisy = [model.encode(y, torch.Generator().manual_seed(seed)).loc for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2]) and not torch.equal(noisy[0], quiet[0])


def test_encode_without_input_noise_is_the_same_in_training(iris):
    model = double(VAETransformer(2, input_noise=0, max_iter=0).fit(iris))
    y = model.observe(torch.tensor(iris))
    quiet = model.encode(y).loc
    assert torch.equal(model.train().encode(y, torch.Generator().manual_seed(0)).loc, quiet)


@pytest.mark.parametrize("shape", [(50, 300), (20, 140), (200, 330)])
def test_principal_coordinates_of_fewer_rows_than_coordinates(shape):
    """There are more than 128 columns, and at most as many coordinates as rows."""
    X = np.random.default_rng(0).normal(size=shape)
    vae = VAETransformer(2, max_iter=2, random_state=0).fit(X)
    assert vae.module_.likelihood.n_outputs == min(128, len(X))
    assert np.isfinite(vae.score(X)) and vae.inverse_transform(vae.transform(X)).shape == shape


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_start_of_a_fixed_scale_is_the_optimum_for_that_scale(scale):
    """Tipping & Bishop, eq. 7, holds for a given noise variance: neither more nor less loading scores better."""
    X = np.random.default_rng(0).normal(size=(300, 5)) * [3, 2, 1, 1, 0.5]
    vae = VAETransformer(2, likelihood=Gaussian(scale=scale), max_iter=0, random_state=0).fit(X)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    kept = np.maximum(eigenvalues[:2], scale**2)
    variances = np.concatenate([kept, np.full(3, scale**2)])
    n = len(X)
    expected = -0.5 * (np.log(2 * np.pi * variances) + eigenvalues * (n - 1) / n / variances).sum()
    assert vae.score(X) == pytest.approx(expected, abs=1e-5)
