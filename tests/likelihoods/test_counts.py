"""Likelihoods of counts, against scipy's distributions, their limits, and models of independent columns."""

import numpy as np
import pytest
import torch
from component_cases import generator, normal
from likelihood_modules import started
from scipy import stats
from scipy.special import softmax

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Multinomial, NegativeBinomial, Poisson
from sklearn_vae.likelihoods.counts import MAX_LOG_RATIO
from sklearn_vae.likelihoods.multinomial import MultinomialModule

COUNTS = [
    Poisson(),
    Poisson(library_size=True),
    NegativeBinomial(),
    NegativeBinomial(per_column=False, library_size=True),
    Multinomial(),
]
over_counts = pytest.mark.parametrize("likelihood", COUNTS, ids=str)
N_ROWS, N_FEATURES = 300, 12


def low_rank_counts(n_rows=N_ROWS, n_features=N_FEATURES, seed=0):
    """Poisson counts whose log-means depend on two numbers, with a column and a row of zeros."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=(2, n_features)) * 0.7
    X = rng.poisson(np.exp(rng.uniform(-1, 3, n_features) + rng.normal(size=(n_rows, 2)) @ effect)).astype(float)
    X[:, 3], X[5] = 0, 0
    return X


def small(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "n_draws": 32, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


def scipy_log_prob(module, X, raw):
    """Log-probabilities of rows from scipy, in float64."""
    total = X.sum(1, keepdims=True)
    if isinstance(module, MultinomialModule):
        rows = zip(total[:, 0], softmax(raw, 1), X, strict=True)
        return np.array([stats.multinomial(n, p).logpmf(x) for n, p, x in rows])
    limit = module.center.log().numpy() + MAX_LOG_RATIO
    mean = np.where(raw < limit, np.exp(raw), np.exp(limit) * (1 + np.maximum(raw - limit, 0)))
    if module.shares_total:
        mean = total * softmax(raw, 1)
    if not hasattr(module, "log_dispersion"):
        return stats.poisson(mean).logpmf(X).sum(1)
    size = np.exp(-module.log_dispersion.detach().numpy())
    return stats.nbinom(size, size / (size + mean)).logpmf(X).sum(1)


@over_counts
def test_counts_log_prob_equals_scipy(likelihood):
    X = low_rank_counts()
    module, _ = started(likelihood, X)
    raw = normal(N_ROWS, N_FEATURES)
    log_prob = module.log_prob(module.observe(torch.from_numpy(X)), raw).detach().numpy()
    np.testing.assert_allclose(log_prob[6:], scipy_log_prob(module, X[6:].astype(int), raw[6:].numpy()), rtol=1e-9)


@over_counts
def test_counts_probabilities_sum_to_one(likelihood):
    """Over all rows of two columns, or over all with the same total if that is given."""
    module = likelihood.build(2, None).double().eval()
    grid = torch.cartesian_prod(torch.arange(400.0), torch.arange(400.0)).double()
    raw = torch.tensor([0.3, -0.8], dtype=torch.float64)
    if isinstance(likelihood, Multinomial):
        grid = grid[grid.sum(1) == 40]
    elif module.shares_total:
        return
    total = module.log_prob(module.observe(grid), raw.expand(len(grid), 2)).exp().sum()
    assert float(total.detach()) == pytest.approx(1, abs=1e-9)


@over_counts
def test_counts_moments_of_samples(likelihood):
    n_draws = 40000
    module, _ = started(likelihood, low_rank_counts())
    raw = normal(1, N_FEATURES)
    draws = module.sample(raw.expand(n_draws, -1), generator()).detach()
    mean = module.mean(raw)[0].detach()
    variance = mean
    if isinstance(likelihood, Multinomial):
        variance = mean * (1 - mean / mean.sum())
        assert draws.sum(1).unique().tolist() == [float(mean.sum().round())]
    elif isinstance(likelihood, NegativeBinomial):
        variance = mean + module.log_dispersion.exp().detach() * mean.square()
    assert (draws == draws.round()).all() and (draws >= 0).all()
    assert ((draws.mean(0) - mean).abs() < 5 * (variance / n_draws).sqrt()).all()
    np.testing.assert_allclose(draws.var(0), variance, rtol=0.15)


def test_negative_binomial_becomes_poisson_as_the_dispersion_vanishes():
    X = low_rank_counts().clip(0, 5)
    poisson, negative_binomial = (started(likelihood, X)[0] for likelihood in (Poisson(), NegativeBinomial()))
    raw = normal(N_ROWS, N_FEATURES)
    expected = poisson.log_prob(poisson.observe(torch.from_numpy(X)), raw)
    errors = []
    for log_dispersion in (-4.0, -8.0, -12.0, -50.0):
        negative_binomial.log_dispersion.data.fill_(log_dispersion)
        log_prob = negative_binomial.log_prob(negative_binomial.observe(torch.from_numpy(X)), raw)
        errors.append(float((log_prob - expected).abs().max().detach()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2] and errors[3] == errors[2] < 2e-3


def test_poisson_of_a_library_is_the_multinomial_times_the_probability_of_the_total():
    X = low_rank_counts()[6:]
    poisson, multinomial = (started(likelihood, X)[0] for likelihood in (Poisson(library_size=True), Multinomial()))
    raw, total = normal(len(X), N_FEATURES), X.sum(1)
    difference = [m.log_prob(m.observe(torch.from_numpy(X)), raw) for m in (poisson, multinomial)]
    np.testing.assert_allclose(difference[0] - difference[1], stats.poisson(total).logpmf(total), rtol=1e-9)


@over_counts
def test_counts_without_some_cells_are_counts_of_the_others(likelihood):
    """The total that is given is that of the observed cells."""
    X, kept = low_rank_counts(), np.arange(N_FEATURES) % 3 > 0
    module, _ = started(likelihood, X)
    part = likelihood.build(int(kept.sum()), None).double().eval()
    part.center.copy_(module.center[torch.from_numpy(kept)])
    if hasattr(part, "log_dispersion"):
        log_dispersion = module.log_dispersion.expand(N_FEATURES).detach()[torch.from_numpy(kept)]
        part.log_dispersion.data.copy_(log_dispersion[: len(part.log_dispersion)])
    x, raw = torch.from_numpy(X), normal(N_ROWS, N_FEATURES)
    observed = module.observe(x)._replace(mask=torch.from_numpy(kept).expand(x.shape))
    expected = part.log_prob(part.observe(x[:, kept]), raw[:, kept])
    torch.testing.assert_close(module.log_prob(observed, raw), expected)


@over_counts
def test_counts_start_beats_independent_columns(likelihood):
    X = low_rank_counts()
    scores = small(2, likelihood=likelihood, max_iter=0).fit(X).score_samples(X)
    module, _ = started(likelihood, X)
    if hasattr(module, "log_dispersion"):
        module.log_dispersion.data.copy_(module.marginal_dispersion.log())
    alone = module.log_prob(module.observe(torch.from_numpy(X)), module.center.log().expand(X.shape)).mean()
    assert np.isfinite(scores).all() and scores.mean() > float(alone.detach()) + 1


@over_counts
@pytest.mark.parametrize("zero", ["column", "rows", "all"])
def test_counts_zeros_are_finite(likelihood, zero):
    X = low_rank_counts()
    X[{"column": np.s_[:, :3], "rows": np.s_[:50], "all": np.s_[:]}[zero]] = 0
    vae = small(2, likelihood=likelihood).fit(X)
    for values in (vae.score_samples(X), vae.transform(X), vae.inverse_transform(vae.transform(X)), vae.loss_curve_):
        assert np.isfinite(values).all()


@over_counts
@pytest.mark.parametrize("raw", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("count", [0.0, 3.0, 1e6])
def test_counts_gradients_are_finite(likelihood, raw, count):
    module, _ = started(likelihood, low_rank_counts())
    module = module.float().train()
    x = torch.full((2, N_FEATURES), count)
    raw = (raw * torch.linspace(0, 1, N_FEATURES)).expand(2, -1).clone().requires_grad_()
    log_prob = module.log_prob(module.observe(x), raw)
    log_prob.sum().backward()
    for values in (log_prob, raw.grad, *(p.grad for p in module.parameters())):
        assert torch.isfinite(values).all()


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial()], ids=str)
def test_counts_means_grow_exponentially_and_then_linearly(likelihood):
    """With a continuous derivative, and finite wherever the raw outputs are."""
    module, _ = started(likelihood, low_rank_counts())
    limit = module.center.log() + MAX_LOG_RATIO
    torch.testing.assert_close(module.mean(limit - 2), (limit - 2).exp())
    torch.testing.assert_close(module.mean(limit + 5), 6 * limit.exp())
    torch.testing.assert_close(
        module.mean(limit + 1e-6) - module.mean(limit - 1e-6), 2e-6 * limit.exp(), rtol=1e-3, atol=0
    )
    assert torch.isfinite(module.mean(torch.full_like(limit, 1e30))).all()


def test_poisson_start_of_wide_rows_with_bursts_beats_independent_columns():
    """Rows that are far from all others have finite means of the size of their counts."""
    rng = np.random.default_rng(0)
    X = rng.poisson(rng.gamma(0.1, 1.0, size=(200, 400)) * rng.gamma(0.5, 1.0, size=(200, 1))).astype(float)
    X[:5] *= 30
    alone = stats.poisson(X.mean(0).clip(0.5 / 200)).logpmf(X).sum(1).mean()
    assert small(20, likelihood="poisson", max_iter=0).fit(X).score(X) > alone


@over_counts
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_counts_of_any_type_give_the_same_scores(likelihood, dtype):
    X = low_rank_counts().clip(0, 255)
    scores = [small(likelihood=likelihood).fit(x).score_samples(x) for x in (X, X.astype(dtype))]
    np.testing.assert_allclose(*scores, rtol=1e-3)


@over_counts
@pytest.mark.parametrize("value", [-1.0, -1.5, 0.5])
def test_counts_refuse_other_values(likelihood, value):
    X = low_rank_counts()
    vae = small(likelihood=likelihood).fit(X)
    wrong = X.copy()
    wrong[3, 7] = value
    message = f"expected counts 0, 1, 2, ..., got {value:g} in row 3, column 7; pass the counts before"
    for method in (small(likelihood=likelihood).fit, vae.transform, vae.score_samples):
        with pytest.raises(ValueError, match=message):
            method(wrong)


@over_counts
def test_counts_check_leaves_missing_cells_to_others(likelihood):
    X = low_rank_counts()
    X[0, 0] = np.nan
    likelihood.check_data(X)


@over_counts
def test_counts_mean_has_the_mean_total_where_it_is_given(likelihood):
    X = low_rank_counts()
    vae = small(likelihood=likelihood).fit(X)
    totals = vae.inverse_transform(vae.transform(X)).sum(1)
    if vae.module_.likelihood.shares_total:
        np.testing.assert_allclose(totals, X.sum(1).mean(), rtol=0.01)
    else:
        assert np.corrcoef(totals, X.sum(1))[0, 1] > 0.3


@over_counts
@pytest.mark.parametrize("hide", [False, True])
def test_counts_mean_given_rows_has_their_totals_if_these_are_given(likelihood, hide):
    X = low_rank_counts()
    module, _ = started(likelihood, X)
    x = torch.from_numpy(X)
    mask = torch.from_numpy(np.random.default_rng(0).random(X.shape) < 0.7) if hide else None
    raw = normal(N_ROWS, N_FEATURES).double()
    mean = module.mean_given(module.observe(x)._replace(mask=mask), raw)
    if not module.shares_total:
        torch.testing.assert_close(mean, module.mean(raw))
        return
    observed = x if mask is None else x.where(mask, 0)
    torch.testing.assert_close(mean.sum(1), observed.sum(1), atol=1e-6, rtol=1e-6)
    ratio = mean[0] / module.mean(raw)[0] if mask is None else (mean / module.mean(raw))[0][mask[0]]
    torch.testing.assert_close(ratio, ratio[:1].expand(ratio.shape))
