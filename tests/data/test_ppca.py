"""The closed-form start is probabilistic PCA, on any data."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from sklearn_vae import VAETransformer
from sklearn_vae._data import ppca as _ppca
from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.rows import DenseRows
from sklearn_vae.likelihoods import DiscretizedLogistic, Gaussian


def loadings(ppca):
    """Return W of the maximum-likelihood model, (n_features, n_components)."""
    return ppca.maps(ppca.noise_variance).decoder


def solve(X, n_components, weight=None, n_axes=0):
    X = torch.from_numpy(np.array(X))
    weight = None if weight is None else torch.as_tensor(np.asarray(weight), dtype=torch.float64)
    rows = DenseRows(X, weight)
    return fit_ppca(rows, fit_moments(rows), n_components, n_axes)


def covariance(ppca):
    """The model's covariance W W' + s2 I in the data's units, which does not depend on the signs of the axes."""
    W, unit = loadings(ppca), ppca.moments.unit
    return unit**2 * (W @ W.T + ppca.noise_variance * np.eye(len(W)))


def low_rank(n=60, d=6, rank=3, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    scales = 2.0 ** -np.arange(rank)
    return (rng.normal(size=(n, rank)) * scales) @ rng.normal(size=(rank, d)) + noise * rng.normal(size=(n, d)) + 5


def start(n_components, **params):
    return VAETransformer(n_components, max_iter=0, random_state=0, **params)


@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_ppca_equals_sklearn(digits, n_components):
    X = digits[:, 20:40]
    ppca, pca = solve(X, n_components, n_axes=8), PCA(n_components).fit(X)
    unit = ppca.moments.unit
    np.testing.assert_allclose(ppca.moments.center.numpy(), pca.mean_)
    np.testing.assert_allclose(unit**2 * ppca.noise_variance, pca.noise_variance_)
    np.testing.assert_allclose(np.abs(ppca.axes[:, :n_components].T), np.abs(pca.components_), atol=1e-9)
    np.testing.assert_allclose(covariance(ppca), pca.get_covariance(), atol=1e-9)


def test_ppca_axes_are_orthonormal_with_their_largest_entry_positive(digits):
    axes = solve(digits, 3, n_axes=10).axes
    assert axes.shape[1] >= 10
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-9)
    assert (axes.max(0) >= -axes.min(0)).all()


@pytest.mark.parametrize("n_components", [1, 3])
def test_transformer_at_its_start_scores_like_pca(n_components):
    X = low_rank()
    vae, pca = start(n_components).fit(X), PCA(n_components).fit(X)
    assert vae.noise_variance_ == pytest.approx(pca.noise_variance_, rel=1e-5)
    np.testing.assert_allclose(vae.score_samples(X), pca.score_samples(X), atol=1e-3)
    assert vae.score(X) == pytest.approx(pca.score(X), abs=1e-4)


def test_transformer_at_its_start_reconstructs_like_the_ppca_posterior():
    X = low_rank()
    vae, pca = start(2).fit(X), PCA(2).fit(X)
    shrunk = pca.transform(X) * (1 - pca.noise_variance_ / pca.explained_variance_)
    expected = pca.inverse_transform(shrunk)
    np.testing.assert_allclose(vae.inverse_transform(vae.transform(X)), expected, atol=1e-5)


def test_ppca_constant_columns_have_no_loading():
    X = low_rank()
    X[:, [1, 4]] = [7.0, -1e5]
    ppca = solve(X, 2)
    np.testing.assert_allclose(loadings(ppca)[[1, 4]], 0, atol=1e-12)
    np.testing.assert_allclose(covariance(ppca), PCA(2).fit(X).get_covariance(), atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 3.7, 0.1 + 0.2, 1e12])
def test_ppca_of_constant_data_is_its_mean(value):
    X = np.full((20, 3), value)
    ppca = solve(X, 2)
    assert ppca.moments.unit == 1
    np.testing.assert_allclose(loadings(ppca), 0, atol=1e-6 * max(1, value) * 1e-6)
    Z = start(2).fit(X).transform(X)
    assert np.isfinite(Z).all() and (Z[0] == Z).all()


@pytest.mark.parametrize(("dtype", "value"), [(np.float32, 1e26), (np.float64, 1e45)])
def test_constant_data_far_from_zero_are_fitted(dtype, value):
    """The mean has a rounding error, which exceeds any unit that does not scale with it."""
    X = np.tile(value * np.random.default_rng(0).normal(size=16), (39, 1)).astype(dtype)
    weight = np.random.default_rng(1).random(39)
    vae = VAETransformer(2, hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, sample_weight=weight)
    assert np.isfinite(vae.validation_scores_).all() and np.isfinite(vae.score(X))
    np.testing.assert_allclose(vae.inverse_transform(vae.transform(X)), X, rtol=1e-5)


def test_ppca_spread_is_that_of_the_data_whatever_the_noise():
    ppca = solve(low_rank(), 2)
    assert ppca.maps(1e100).spread == pytest.approx(6**0.5)
    assert ppca.maps(0.0).spread == pytest.approx(ppca.variances.mean() ** 0.5)


@pytest.mark.parametrize("noise", [1e-30, 1e-18, 1e-9, 1e-3, 1.0, 1e9])
def test_ppca_posterior_variance_is_exact_for_any_noise(noise):
    maps = solve(low_rank(), 3).maps(noise)
    expected = 1 / (1 + np.square(maps.decoder).sum(0) / noise)
    np.testing.assert_allclose(maps.posterior_variance, expected, rtol=1e-9)


def test_ppca_posterior_without_noise_is_the_prior_where_there_is_no_loading():
    maps = solve(low_rank(rank=2, noise=0.0)[:, :4], 6).maps(0.0)
    np.testing.assert_array_equal(maps.posterior_variance[[0, 1, 4, 5]], [0, 0, 1, 1])


NOISES = [Gaussian(2e-5), Gaussian(0.1), Gaussian(), Gaussian(per_column=True), DiscretizedLogistic(2**30, 2.0**30 - 1)]


@pytest.mark.parametrize("n_components", [1, 4, 7])
@pytest.mark.parametrize("likelihood", NOISES, ids=str)
def test_transformer_of_next_to_no_noise_starts_and_trains(likelihood, n_components):
    """A fixed noise may be smaller than the rounding error of 1, and data of low rank have no noise."""
    X = np.rint(1e4 * low_rank(d=4, rank=2, noise=0.0)) + 1e6
    for max_iter in (0, 2):
        vae = start(n_components, hidden_layer_sizes=(4,), likelihood=likelihood).set_params(max_iter=max_iter).fit(X)
        assert np.isfinite(vae.transform(X)).all() and np.isfinite(vae.score(X))
        assert all(parameter.isfinite().all() for parameter in vae.module_.parameters())


def test_ppca_with_fewer_rows_than_columns_has_the_axes_of_sklearn(digits):
    """The noise is the mean over all D - k dropped axes (Tipping & Bishop, eq. 8); sklearn's is over n - k."""
    X = digits[:12]
    ppca, pca = solve(X, 4), PCA(4, svd_solver="full").fit(X)
    np.testing.assert_allclose(np.abs(ppca.axes[:, :4].T), np.abs(pca.components_), atol=1e-9)
    variance = ppca.moments.unit**2 * (np.square(loadings(ppca)).sum(0) + ppca.noise_variance)
    np.testing.assert_allclose(variance, pca.explained_variance_)
    assert np.trace(covariance(ppca)) == pytest.approx(X.var(0, ddof=1).sum())
    assert start(4).fit(X).score(X) > pca.score(X)


@pytest.mark.parametrize("shape", [(50, 4), (6, 20)])
@pytest.mark.parametrize("n_components", [3, 4, 6, 25])
def test_ppca_of_any_number_of_components_is_finite(shape, n_components):
    """Components beyond the data's rank have no loading, and the model then is the sample covariance."""
    X = low_rank(*shape, rank=2, noise=0.0)
    ppca = solve(X, n_components)
    assert (
        loadings(ppca).shape == (shape[1], n_components) and np.isfinite(ppca.maps(ppca.noise_variance).encoder).all()
    )
    np.testing.assert_allclose(loadings(ppca)[:, 2:], 0, atol=1e-6)
    np.testing.assert_allclose(covariance(ppca), np.cov(X.T), atol=1e-9)


def test_ppca_weighted_rows_equal_repeated_rows():
    """Up to the unbiased factor n / (n - 1), where n is Kish's effective number of weighted rows."""
    X = low_rank(n=40)
    counts = np.random.default_rng(0).integers(1, 5, len(X))
    weighted, repeated = solve(X, 2, counts), solve(X.repeat(counts, axis=0), 2)
    n, n_effective = counts.sum(), counts.sum() ** 2 / np.square(counts).sum()
    factor = n_effective / (n_effective - 1) * (n - 1) / n
    np.testing.assert_allclose(covariance(weighted), factor * covariance(repeated), rtol=1e-9)
    np.testing.assert_allclose(weighted.moments.center.numpy(), repeated.moments.center.numpy())


def test_ppca_ignores_rows_of_weight_zero():
    X = low_rank(n=40)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    weight[::3] = 0
    kept, removed = solve(X, 2, weight), solve(X[weight > 0], 2, weight[weight > 0])
    np.testing.assert_allclose(covariance(kept), covariance(removed), rtol=1e-12)
    np.testing.assert_allclose(
        kept.maps(kept.noise_variance).encoder, removed.maps(removed.noise_variance).encoder, rtol=1e-9
    )


@pytest.mark.parametrize("factor", [1e-3, 1, 1e3])
def test_ppca_does_not_depend_on_the_weights_unit(factor):
    X = low_rank(n=40)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    np.testing.assert_allclose(covariance(solve(X, 2, factor * weight)), covariance(solve(X, 2, weight)), rtol=1e-10)


@pytest.mark.parametrize("shape", [(50, 40), (40, 50)])
@pytest.mark.parametrize("weighted", [False, True])
def test_ppca_by_subspace_iterations_is_near_the_exact_solution(monkeypatch, shape, weighted):
    X = low_rank(*shape, rank=8, noise=0.3)
    weight = np.random.default_rng(0).uniform(0, 1, len(X)) if weighted else None
    exact = solve(X, 3, weight, n_axes=5)
    monkeypatch.setattr(_ppca, "MAX_COVARIANCE_COLUMNS", 10)
    monkeypatch.setattr(_ppca, "MAX_GRAM_ROWS", 10)
    found = solve(X, 3, weight, n_axes=5)
    assert found.noise_variance == pytest.approx(exact.noise_variance, rel=1e-5)
    np.testing.assert_allclose(covariance(found), covariance(exact), atol=1e-3 * covariance(exact).max())
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(5), atol=1e-9)


@pytest.mark.parametrize("shape", [(15, 12), (12, 15)])
@pytest.mark.parametrize("n_components", [10, 11, 40])
def test_ppca_beyond_the_exact_size_takes_any_number_of_components(monkeypatch, shape, n_components):
    X = low_rank(*shape, rank=8, noise=0.3)
    exact = solve(X, n_components)
    monkeypatch.setattr(_ppca, "MAX_COVARIANCE_COLUMNS", 10)
    monkeypatch.setattr(_ppca, "MAX_GRAM_ROWS", 10)
    np.testing.assert_allclose(covariance(solve(X, n_components)), covariance(exact), rtol=1e-6, atol=1e-8)


def test_ppca_of_float32_rows_is_near_float64():
    X = low_rank()
    np.testing.assert_allclose(covariance(solve(X.astype(np.float32), 2)), covariance(solve(X, 2)), rtol=1e-4)


def test_ppca_does_not_lose_precision_far_from_zero():
    X = low_rank()
    near, far = solve(X, 2), solve(X + 1e6, 2)
    np.testing.assert_allclose(covariance(far), covariance(near), rtol=1e-6)
    np.testing.assert_allclose(start(2).fit_transform(X + 1e6), start(2).fit_transform(X), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e20])
def test_ppca_follows_the_scale_of_the_data(scale):
    X = low_rank()
    np.testing.assert_allclose(covariance(solve(scale * X, 2)) / scale**2, covariance(solve(X, 2)), rtol=1e-9)
    vae = start(2).fit(scale * X)
    assert vae.noise_variance_ / scale**2 == pytest.approx(start(2).fit(X).noise_variance_, rel=1e-5)
    np.testing.assert_allclose(vae.transform(scale * X) / scale, start(2).fit_transform(X), atol=1e-5)


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_bernoulli_start_beats_independent_columns(digits, n_components):
    X = (digits > 7).astype(float)
    mean = X.mean(0).clip(1e-3, 1 - 1e-3)
    independent = (X * np.log(mean) + (1 - X) * np.log(1 - mean)).sum(1).mean()
    vae = start(n_components, likelihood="bernoulli", n_draws=32).fit(X)
    assert vae.score(X) > independent + 0.5 * n_components


@pytest.mark.parametrize("n_rows", [3, 6, 8])
def test_bernoulli_start_of_fewer_rows_than_components_is_of_unit_scale(n_rows):
    """Components beyond the rank have variances of rounding size, and no part in the encoder."""
    X = np.random.default_rng(0).integers(0, 2, (n_rows, 150)).astype(float)
    assert np.abs(start(8, likelihood="bernoulli").fit_transform(X)).max() < 5


def test_bernoulli_start_of_independent_columns_is_their_mean():
    X = (np.random.default_rng(0).random((4000, 3)) < [0.2, 0.5, 0.9]).astype(float)
    vae = start(1, likelihood="bernoulli").fit(X)
    np.testing.assert_allclose(vae.inverse_transform([[0.0]])[0], X.mean(0), atol=0.03)
