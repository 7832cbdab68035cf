"""Categorical likelihood: probabilities, inputs of multiple correspondence analysis, gaps and its start."""

import numpy as np
import pytest
import torch
from component_cases import generator
from likelihood_modules import started
from scipy import stats
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import OneHotEncoder

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Categorical

SIZES = [3, 2, 9, 1, 4]
ENDS = np.cumsum(SIZES)


def blocks(values):
    return np.split(values, ENDS[:-1], axis=-1)


def one_hot(n=60, sizes=SIZES, seed=0):
    """One-hot blocks that depend on one number, with every category but the last of each large block."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    codes = [(stats.norm.cdf(z + 0.3 * rng.normal(size=n)) * max(1, k - (k > 2))).astype(int) for k in sizes]
    return np.hstack([np.eye(k)[code] for k, code in zip(sizes, codes, strict=True)])


@pytest.fixture(scope="module")
def module():
    return started(Categorical(SIZES), one_hot())[0]


def test_log_prob_is_that_of_multinomial_draws_of_one(module):
    X, raw = one_hot(20, seed=1), np.random.default_rng(2).normal(size=(2, 20, sum(SIZES)))
    expected = sum(
        stats.multinomial(1, softmax(r, axis=-1)).logpmf(x) for x, r in zip(blocks(X), blocks(raw), strict=True)
    )
    observed = module.observe(torch.from_numpy(X))
    np.testing.assert_allclose(module.log_prob(observed, torch.from_numpy(raw)), expected, rtol=1e-9)
    cells = np.concatenate([x * log_softmax(r, -1) for x, r in zip(blocks(X), blocks(raw), strict=True)], -1)
    np.testing.assert_allclose(module.log_prob_cells(observed, torch.from_numpy(raw)), cells, atol=1e-12)


def test_raw_outputs_of_very_different_sizes_do_not_underflow(module):
    raw = torch.zeros(1, sum(SIZES), dtype=torch.float32)
    raw[:, :3] = 1000.0
    observed = module.float().observe(torch.from_numpy(one_hot(1)))
    np.testing.assert_allclose(module.log_prob(observed, raw), -np.log(SIZES).sum(), rtol=1e-5)
    module.double()


def test_mean_and_samples_are_those_of_the_softmax(module):
    raw = torch.from_numpy(np.random.default_rng(3).normal(size=(1, sum(SIZES))))
    p = np.concatenate([softmax(r, axis=-1) for r in blocks(raw.numpy())], -1)[0]
    np.testing.assert_allclose(module.mean(raw)[0], p, rtol=1e-12)
    draws = module.sample(raw.expand(20000, -1), generator()).numpy()
    assert all((block.sum(1) == 1).all() and set(block.ravel()) <= {0, 1} for block in blocks(draws))
    assert (np.abs(draws.mean(0) - p) <= 5 * np.sqrt(p * (1 - p) / 20000) + 1e-12).all()


def test_inputs_are_those_of_multiple_correspondence_analysis(module):
    X = one_hot()
    share = X.mean(0)
    inputs = module.observe(torch.from_numpy(X)).inputs.numpy()
    used = share > 0
    np.testing.assert_allclose(inputs[:, used], ((X - share)[:, used] / np.sqrt(share[used])), atol=1e-6)
    assert not inputs[:, ~used].any() and not used.all()
    # The inertia of a question is its number of categories minus one.
    inertia = [block.var(0).sum() for block in blocks(inputs)]
    np.testing.assert_allclose(inertia, [u.sum() - 1 for u in blocks(used)], atol=1e-6)


def test_start_has_the_shares_of_the_categories_and_explains_more_than_these():
    X = one_hot(300)
    share = X.mean(0)
    vae = VAETransformer(2, likelihood=Categorical(SIZES), max_iter=0, random_state=0).fit(X)
    np.testing.assert_allclose(vae.sample(20000, random_state=0).mean(0), share, atol=0.05)
    alone = np.log(share, out=np.zeros_like(share), where=X.any(0)) @ X.T
    assert vae.score(X) > alone.mean() + 0.5


def test_a_missing_category_is_left_out():
    X = one_hot(100)
    gaps = X.copy()
    gaps[:, 5:14] = np.nan
    vae = VAETransformer(2, likelihood=Categorical(SIZES), max_iter=3, n_draws=500, random_state=0).fit(X)
    narrow = VAETransformer(2, likelihood=Categorical([3, 2, 1, 4]), max_iter=3, n_draws=500, random_state=0)
    np.testing.assert_allclose(vae.score_samples(np.full((1, X.shape[1]), np.nan)), 0, atol=1e-9)
    # At the start, a block that is always missing changes nothing.
    kept = np.delete(X, np.s_[5:14], axis=1)
    start = VAETransformer(2, likelihood=Categorical(SIZES), max_iter=0, n_draws=500, random_state=0).fit(gaps)
    narrow.set_params(max_iter=0).fit(np.vstack([kept, np.full((1, 10), np.nan)]))
    np.testing.assert_allclose(start.score_samples(gaps), narrow.score_samples(kept), atol=0.05)


def test_probabilities_of_a_block_sum_to_one_in_the_model():
    """The probabilities of a row with each category of a block sum to that of the row without the block."""
    X = one_hot(100)
    vae = VAETransformer(2, likelihood=Categorical(SIZES), max_iter=3, n_draws=4000, random_state=0).fit(X)
    row = np.repeat(X[:1], 3, axis=0)
    row[:, :3] = np.eye(3)
    without = X[:1].copy()
    without[:, :3] = np.nan
    np.testing.assert_allclose(np.exp(vae.score_samples(row)).sum(), np.exp(vae.score_samples(without))[0], rtol=0.1)


def test_blocks_of_an_encoder_are_taken():
    codes = np.array([["a", "x"], ["b", "y"], ["c", "x"], ["a", "y"]] * 10)
    encoder = OneHotEncoder(sparse_output=False)
    vae = VAETransformer(1, likelihood=Categorical([3, 2]), max_iter=2, random_state=0)
    vae.fit(encoder.fit_transform(codes))
    assert encoder.inverse_transform(vae.sample(5, random_state=0)).shape == (5, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 1, 0, 1, 0], r"columns 0 to 2, got \[1.0, 1.0, 0.0\] in row 1"),
        ([0, 0, 0, 1, 0], "columns 0 to 2"),
        ([1, 0, 0, 0.5, 0.5], "columns 3 to 4"),
        ([1, np.nan, 0, 1, 0], "columns 0 to 2"),
        ([2, -1, 0, 1, 0], "columns 0 to 2"),
    ],
)
def test_other_rows_are_refused(row, message):
    X = np.array([[1, 0, 0, 0, 1], row, [0, 0, 1, 1, 0]], dtype=float)
    with pytest.raises(ValueError, match=message):
        VAETransformer(1, likelihood=Categorical([3, 2])).fit(X)


@pytest.mark.parametrize("n_categories", [[3], [3, 0, 2], [], [6]])
def test_sizes_that_do_not_fit_are_refused(n_categories):
    with pytest.raises(ValueError, match="whose sum is the number of columns, 5"):
        VAETransformer(1, likelihood=Categorical(n_categories)).fit(np.eye(5))
