"""One noise scale per column, measured after training with one for all."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from sklearn_vae import VAETransformer
from sklearn_vae._training.column_noise import fit_column_scales
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP

NOISE = np.array([0.1, 0.2, 0.4, 0.8])


def noisy_rows(n_rows=600, seed=0):
    """Return rows with one component and columns of unequal noise."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, 1)) + NOISE * rng.normal(size=(n_rows, 4))


def fit(X, **params):
    params = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0, **params}
    return VAETransformer(**{"n_components": 1, **params}).fit(X)


def squares_of(variance, n_rows, seed):
    """Return squares of normal rows."""
    rng = np.random.default_rng(seed)
    return torch.tensor(np.square(np.sqrt(variance) * rng.normal(size=(n_rows, len(variance)))))


# From errors to scales


def test_scales_follow_errors_that_held_out_rows_confirm():
    variance = np.array([0.01, 0.1, 1.0, 2.0])
    training, held_out = squares_of(variance, 5000, 0), squares_of(3 * variance, 5000, 1)
    expected = torch.tensor(0.5 * np.log(variance / variance.mean()))
    torch.testing.assert_close(fit_column_scales(training, [(training, held_out)]), expected, rtol=0, atol=0.1)


def test_scales_are_alike_where_columns_differ_by_chance():
    parts = [squares_of(np.ones(50), 8, seed) for seed in range(3)]
    assert fit_column_scales(parts[0], [(parts[1], parts[2])]).abs().max() < 0.15


def test_scales_make_held_out_rows_no_less_probable():
    """The common scale is one of the candidates."""
    variance = np.random.default_rng(0).gamma(1.0, size=30)
    training, held_out = squares_of(variance, 20, 1), squares_of(variance, 200, 2)
    scales = fit_column_scales(training, [(training, held_out)])
    relative = held_out.mean(0) / held_out.mean()
    assert (2 * scales + relative * (-2 * scales).exp()).sum() < relative.sum()


def test_one_held_out_row_tells_no_columns_apart():
    training, held_out = squares_of(np.array([0.1, 1.0]), 50, 0), squares_of(np.array([0.1, 1.0]), 1, 1)
    scales = fit_column_scales(training, [(training, held_out)])
    assert scales[0] == scales[1]


def test_scales_do_not_trust_heavy_tails():
    """A quiet column whose errors are rarely huge: few held-out rows say it is quiet, and one would refute it."""
    rng = np.random.default_rng(0)
    squares = [torch.tensor(rng.normal(size=(300, 2)) ** 2 * [0.01, 1.0]) for _ in range(2)]
    calm = fit_column_scales(squares[0], [tuple(squares)])
    squares[1][0, 0] = 200.0
    assert fit_column_scales(squares[0], [tuple(squares)])[0] > calm[0] + 0.5


@pytest.mark.parametrize("zero", ["training", "held_out", "both"])
def test_scales_of_columns_without_errors_are_finite(zero):
    none, some = torch.zeros(6, 4, dtype=torch.float64), torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 6, dtype=torch.float64)
    pair = {"training": (none, some), "held_out": (some, none), "both": (none, none)}[zero]
    assert fit_column_scales(some, [pair]).isfinite().all()


# In an estimator


@pytest.mark.parametrize("n_rows", [600, 5500])
def test_noisy_columns_are_found_and_components_stay(n_rows):
    X = noisy_rows(n_rows)
    vae, one_scale = fit(X, whiten=True), fit(X, likelihood=Gaussian(per_column=False), whiten=True)
    assert isinstance(one_scale.noise_variance_, float)
    assert (np.diff(vae.noise_variance_) > 0).all() and vae.noise_variance_[3] > 2 * vae.noise_variance_[0]
    np.testing.assert_array_equal(vae.transform(X), one_scale.transform(X))
    assert vae.validation_scores_ == one_scale.validation_scores_
    new = noisy_rows(seed=1)
    assert vae.score(new) > one_scale.score(new) + 0.1


def test_samples_have_the_columns_noise():
    vae = fit(noisy_rows())
    sample = vae.sample(20_000, random_state=0)
    left = sample - vae.inverse_transform(vae.transform(sample))
    assert (np.diff(left.std(0)) > 0).all()
    np.testing.assert_allclose(sample.var(0), 1 + NOISE**2, rtol=0.2)


def test_score_samples_is_the_exact_density_of_a_linear_model():
    X = noisy_rows(50)
    vae = fit(X, max_iter=0, n_draws=20_000)
    linear = vae.module_.linear
    vae.module_.likelihood.column_log_scale.copy_(torch.tensor([-0.5, 0.0, 0.2, 0.4]))
    unit, center = float(vae.module_.likelihood.unit), vae.module_.likelihood.center.numpy()
    weight = linear.decoder.weight.detach().double().numpy()
    variance = vae.module_.likelihood.variance.numpy()
    covariance = unit**2 * weight @ weight.T + np.diag(variance)
    exact = multivariate_normal(center + unit * linear.decoder.bias.detach().numpy(), covariance).logpdf(X)
    np.testing.assert_allclose(vae.score_samples(X), exact, atol=0.1)


@pytest.mark.parametrize("params", [{"early_stopping": False}, {"max_iter": 0}, {"objective": "autoencoder"}])
def test_columns_are_alike_where_nothing_tells_them_apart(params):
    variance = fit(noisy_rows(), **params).noise_variance_
    assert variance.shape == (4,) and (variance == variance[0]).all()


def test_a_learned_scale_is_one_for_all_columns():
    assert isinstance(fit(noisy_rows(), likelihood=Gaussian("learned")).noise_variance_, float)


def test_columns_are_told_apart_in_principal_coordinates():
    X = np.tile(noisy_rows(), 3) + noisy_rows(seed=2)[:, :1]
    vae = fit(X, network=MLP(principal_coordinates=3))
    assert vae.noise_variance_.shape == (12,) and vae.noise_variance_.max() > 2 * vae.noise_variance_.min()


@pytest.mark.parametrize("n_coordinates", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_density_of_columns_in_principal_coordinates_is_exact(n_coordinates, dtype):
    X = noisy_rows(50).astype(dtype)
    vae = fit(X, max_iter=0, n_components=1, network=MLP(principal_coordinates=n_coordinates))
    model = copy.deepcopy(vae.module_).double()
    likelihood = model.likelihood
    likelihood.column_log_scale.copy_(torch.tensor([-0.5, 0.0, 0.7, 0.4]))
    z = torch.randn(5, 50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    observed, raw = likelihood.observe(torch.from_numpy(X)), model.decode(z)
    scale = likelihood.variance.sqrt().numpy()
    expected = norm(likelihood.mean(raw).detach().numpy(), scale).logpdf(X)
    np.testing.assert_allclose(likelihood.log_prob_cells(observed, raw).detach(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(likelihood.log_prob(observed, raw).detach(), expected.sum(-1), rtol=1e-5, atol=1e-5)
    mask = torch.rand(50, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    actual = likelihood.log_prob(observed._replace(mask=mask), raw).detach()
    np.testing.assert_allclose(actual, (expected * mask.numpy()).sum(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("go_on", ["fit", "partial_fit"])
def test_columns_keep_their_ratios_when_training_goes_on_without_held_out_rows(go_on):
    vae = fit(noisy_rows(), warm_start=True).set_params(early_stopping=False)
    before = vae.noise_variance_
    assert before.std() > 0
    ratio = getattr(vae, go_on)(noisy_rows()).noise_variance_ / before
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_warm_start_keeps_to_the_scales_of_training():
    vae = fit(noisy_rows(), warm_start=True, likelihood=Gaussian(per_column=True))
    with pytest.raises(ValueError, match="expected likelihood as in the first call"):
        vae.set_params(likelihood=Gaussian(per_column=False)).fit(noisy_rows())
    # As for other parameters, "auto" is what was fitted.
    assert vae.set_params(likelihood=Gaussian()).fit(noisy_rows()).module_.likelihood.has_column_scales


def test_constant_column_keeps_densities_finite():
    X = np.column_stack([noisy_rows(), np.full(600, 3.0)])
    assert np.isfinite(fit(X).score_samples(X + 1)).all()
