"""Gaussian distributions of normal scores."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from sklearn_vae import VAEClassifier, VAEImputer, VAETransformer
from sklearn_vae.likelihoods import QuantileGaussian
from sklearn_vae.likelihoods.quantile_gaussian import log_prob_of_interval


def spiky_table(n_rows=600, seed=0):
    """Integers with many zeros, a skewed column, and two categories; all depend on one latent variable."""
    random = np.random.RandomState(seed)
    z = random.randn(n_rows)
    gain = np.where(z + 0.3 * random.randn(n_rows) > 1, np.exp(7 + random.randn(n_rows)).astype(int), 0)
    visits = random.poisson(np.exp(1 + z))
    return pd.DataFrame({"gain": gain, "visits": visits, "kind": np.where(z > 0, "a", "b")})


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 2e-5), (torch.float32, 1e-3)])
def test_log_probability_of_intervals(dtype, rtol):
    middle, width = torch.meshgrid(
        torch.linspace(-9, 9, 19, dtype=dtype), torch.tensor([1e-7, 9e-3, 1.1e-2, 0.3, 4.0], dtype=dtype), indexing="ij"
    )
    # Tails are computed below 0, where scipy's differences do not cancel.
    low, half = -middle.abs().double().numpy(), width.double().numpy() / 2
    exact = np.log(norm.cdf(low + half) - norm.cdf(low - half))
    narrow = norm.logpdf(low) + np.log(2 * half)
    got = log_prob_of_interval(middle, width)
    np.testing.assert_allclose(got, np.where(half > 1e-5, exact, narrow), rtol=rtol, atol=rtol)


def test_gradients_of_intervals_are_finite():
    middle = torch.tensor([-300.0, -8.0, 0.0, 8.0, 300.0], requires_grad=True)
    width = torch.tensor([1e-9, 0.1, 5.0, 40.0, 1e-3])
    log_prob_of_interval(middle, width).sum().backward()
    assert bool(middle.grad.isfinite().all())


def test_probabilities_of_integers_sum_to_one_given_z():
    X = np.random.RandomState(0).poisson(2, (400, 1))
    vae = VAETransformer(1, likelihood=QuantileGaussian(), max_iter=2, random_state=0).fit(X)
    module = vae.module_.likelihood.double()
    values = torch.arange(X.min(), X.max() + 1, dtype=torch.float64)[:, None]
    for raw in (-1.0, 0.0, 0.7):
        p = module.log_prob_cells(module.observe(values), torch.full((len(values), 1), raw, dtype=torch.float64)).exp()
        assert float(p.detach().sum()) == pytest.approx(1, abs=0.05)


def test_mean_is_that_of_samples():
    X = spiky_table()[["gain", "visits"]].to_numpy()
    vae = VAETransformer(1, likelihood="quantile_gaussian", max_iter=2, random_state=0).fit(X)
    module, raw = vae.module_.likelihood, torch.tensor([[1.0, -0.3], [2.0, 1.0]])
    draws = module.sample(raw.expand(20_000, 2, 2), torch.Generator().manual_seed(0))
    error = (module.mean(raw) - draws.mean(0)) / (draws.std(0) / 20_000**0.5)
    assert error.abs().max() < 5


def test_the_start_is_a_gaussian_copula():
    """Without training, samples have the marginals of the rows and their rank correlations."""
    random = np.random.RandomState(0)
    u = random.multivariate_normal(np.zeros(3), [[1, 0.7, 0.6], [0.7, 1, 0.5], [0.6, 0.5, 1]], 3000)
    X = np.c_[np.exp(u[:, 0]), u[:, 1] ** 3, np.floor(3 * u[:, 2])]
    vae = VAETransformer(1, likelihood="quantile_gaussian", max_iter=0, random_state=0).fit(X)
    drawn = vae.sample(3000, random_state=0)
    np.testing.assert_allclose(
        pd.DataFrame(drawn).corr("spearman"), pd.DataFrame(X).corr("spearman"), atol=0.08, rtol=0
    )
    for real, synthetic in zip(X.T, drawn.T, strict=True):
        np.testing.assert_allclose(*(norm.cdf(np.quantile(v, [0.1, 0.5, 0.9])) for v in (real, synthetic)), atol=0.06)


def test_results_do_not_depend_on_monotone_transformations():
    X = np.random.RandomState(0).randint(0, 8, (300, 3)).astype(float)
    fits = [VAETransformer(1, likelihood="quantile_gaussian", max_iter=3, random_state=0) for _ in range(2)]
    codes, transformed = (fit.fit_transform(rows) for fit, rows in zip(fits, (X, X**3), strict=True))
    np.testing.assert_allclose(codes / codes.std(), transformed / transformed.std(), atol=0.2)


def test_samples_of_frames_have_the_share_of_zeros_and_the_tail():
    X = spiky_table()
    drawn = VAETransformer(random_state=0, max_iter=20).fit(X).sample(5000, random_state=0)
    assert (drawn["gain"] == 0).mean() == pytest.approx((X["gain"] == 0).mean(), abs=0.06)
    assert drawn["gain"].max() <= X["gain"].max()
    assert drawn["gain"].quantile(0.95) == pytest.approx(X["gain"].quantile(0.95), rel=0.6)


def test_beats_gaussians_of_skewed_integers():
    X, test = spiky_table(), spiky_table(seed=1)
    scores = {
        likelihood: VAETransformer(2, likelihood=likelihood, max_iter=20, random_state=0)
        .fit(X[["gain", "visits"]].to_numpy())
        .score(test[["gain", "visits"]].to_numpy())
        for likelihood in ("quantile_gaussian", "gaussian")
    }
    assert scores["quantile_gaussian"] > scores["gaussian"] + 3


def test_gaps_labels_and_imputation():
    X = spiky_table(300).astype({"gain": "Int64", "visits": "Int64"})
    y = (X["kind"] == "a").to_numpy()
    X = X[["gain", "visits"]].assign(extra=np.where(y, "u", "v")).mask(np.random.RandomState(0).rand(300, 3) < 0.2)
    filled = VAEImputer(max_iter=3, random_state=0).fit_transform(X)
    assert not filled.isna().any().any()
    assert filled.dtypes.equals(X.dtypes)
    assert np.isfinite(VAEClassifier(max_iter=3, random_state=0).fit(X, y).predict_proba(X)).all()


def test_results_do_not_depend_on_units():
    """Also training does not: the unit of the encoder's input noise is that of its inputs."""
    X = spiky_table()[["gain", "visits"]].to_numpy()
    fits = [VAETransformer(1, likelihood="quantile_gaussian", max_iter=20, random_state=0).fit(a * X) for a in (1, 7)]
    assert float(fits[0].module_.likelihood.input_unit) == 1
    codes = [fit.transform(a * X) for fit, a in zip(fits, (1, 7), strict=True)]
    np.testing.assert_allclose(codes[0] / codes[0].std(), codes[1] / codes[1].std(), atol=0.05)


def test_training_improves_on_the_start():
    random = np.random.RandomState(0)
    angle = random.uniform(0, 2 * np.pi, 1500)
    X = np.rint(1000 * np.c_[np.cos(angle), np.sin(angle)] + 40 * random.randn(1500, 2))
    scores = [
        VAETransformer(2, likelihood="quantile_gaussian", max_iter=n, random_state=0).fit(X[:1000]).score(X[1000:])
        for n in (0, 60)
    ]
    assert scores[1] > scores[0] + 0.3


@pytest.mark.parametrize("init", ["ppca", "random"])
def test_constant_and_far_values(init):
    X = np.c_[np.full(60, 7), np.random.RandomState(0).randint(0, 5, 60), np.random.RandomState(1).rand(60)]
    vae = VAETransformer(1, likelihood="quantile_gaussian", init=init, max_iter=2, random_state=0).fit(X)
    scores = vae.score_samples([[7, 2, 0.5], [9, 2, 0.5], [7, 1e12, 0.5], [7, 2, -1e6]])
    assert np.isfinite(scores).all()
    assert (scores[1:] < scores[0]).all()
