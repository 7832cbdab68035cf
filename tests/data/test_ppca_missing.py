"""Factor analysis of rows with missing cells, from which training with a scale per column starts."""

import numpy as np
import pytest
import torch

from sklearn_vae import VAETransformer
from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.ppca_missing import ConditionalMeans, fit_observed_cells
from sklearn_vae._data.sparse_rows import as_rows
from sklearn_vae.likelihoods import Gaussian

NOISE = np.tile([0.02, 0.05, 0.1, 0.5, 1.0, 0.05], 2)


def factors_with_gaps(n=1500, share=0.2, seed=0):
    """Return complete rows x = W z + noise with a variance per column, and the same rows with gaps."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, len(NOISE))) + np.sqrt(NOISE) * rng.normal(size=(n, len(NOISE)))
    return X, np.where(rng.uniform(size=X.shape) < share, np.nan, X)


def solve(X, n_components=2, per_column=True):
    rows = as_rows(X, torch.device("cpu"), has_gaps=bool(np.isnan(X).any()))
    return fit_observed_cells(rows, fit_ppca(rows, fit_moments(rows), n_components, 0), per_column)


def imputed(ppca, X):
    """Return the rows with the conditional means of their missing cells."""
    weight, variance = ppca.factors or (
        ppca.maps(ppca.noise_variance).decoder,
        np.full(len(NOISE), ppca.noise_variance),
    )
    center, unit = ppca.moments.center, ppca.moments.unit
    mean = torch.zeros(len(NOISE), dtype=torch.float64)
    means = ConditionalMeans(mean, torch.from_numpy(weight), torch.from_numpy(variance))
    y = (torch.from_numpy(X) - center) / unit
    return (means(y.nan_to_num(0.0), ~y.isnan()) * unit + center).numpy()


def test_noise_variances_of_columns_are_found():
    ppca = solve(factors_with_gaps()[1])
    np.testing.assert_allclose(ppca.factors.variance * ppca.moments.unit**2, NOISE, rtol=0.25, atol=0.01)


def test_posterior_of_complete_rows_is_diagonal():
    weight, variance = solve(factors_with_gaps()[1], n_components=3).factors
    precision = weight.T @ (weight / variance[:, None])
    np.testing.assert_allclose(precision, np.diag(np.diag(precision)), atol=1e-9 * precision.max())


def test_means_of_missing_cells_gain_by_a_variance_per_column():
    X, gaps = factors_with_gaps()
    missing = np.isnan(gaps)
    errors = [np.square(imputed(solve(gaps, 2, flag), gaps) - X)[missing].mean() for flag in (True, False)]
    assert errors[0] < 0.95 * errors[1]


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("scale", ["optimal", "learned"])
def test_training_with_a_scale_per_column_starts_at_factor_analysis(scale, share):
    X = factors_with_gaps(share=share)[1]
    likelihood = Gaussian(scale, per_column=True)
    vae = VAETransformer(2, likelihood=likelihood, max_iter=0, early_stopping=False, random_state=0).fit(X)
    ppca = solve(X)
    variance = ppca.factors.variance * float(ppca.moments.unit) ** 2
    np.testing.assert_allclose(vae.noise_variance_, variance, rtol=1e-4)
    weight = vae.module_.linear.decoder.weight.detach().numpy()
    np.testing.assert_allclose(weight, ppca.factors.weight, rtol=1e-4, atol=1e-6)


def test_a_column_that_others_determine_keeps_some_noise():
    X, gaps = factors_with_gaps(300)
    copied = np.column_stack([gaps, X[:, :1], X[:, :1]])
    variance = solve(copied, n_components=4).factors.variance
    assert (
        variance[-1]
        >= 0.5e-3
        * copied[:, -1].var()
        / float(fit_moments(as_rows(copied, torch.device("cpu"), has_gaps=bool(np.isnan(copied).any()))).unit) ** 2
    )


def test_input_noise_is_relative_to_each_columns_scale():
    X = factors_with_gaps()[1]
    vae = VAETransformer(2, likelihood=Gaussian(per_column=True), max_iter=0, random_state=0).fit(X)
    likelihood = vae.module_.likelihood
    unit = likelihood.input_noise_unit.numpy() * float(likelihood.unit)
    np.testing.assert_allclose(unit, np.sqrt(vae.noise_variance_), rtol=1e-4)
    one_scale = VAETransformer(2, likelihood=Gaussian(per_column=False), max_iter=0, random_state=0).fit(X)
    assert one_scale.module_.likelihood.input_noise_unit.numel() == 1
