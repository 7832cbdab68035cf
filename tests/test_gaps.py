"""Missing cells are cells that were not observed, in fits and in every method that takes rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from component_cases import LIKELIHOOD_CASES, binary_rows
from naming import shown
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from small_estimators import CLASS, marked, small_classifier, small_transformer

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP


def with_gaps(X, share=0.3, seed=0, dtype=np.float64):
    """Return a copy with this share of the cells missing, at random, but never a whole row."""
    gaps = np.random.default_rng(seed).random(X.shape) < share
    gaps[gaps.all(axis=1), 0] = False
    return np.where(gaps, np.nan, X).astype(dtype)


def low_rank(n=200, p=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, p)) + 0.4 * rng.normal(size=(n, p)) + np.arange(p)


# The linear start is exact


STARTS = {
    "rows with gaps": (with_gaps(low_rank()), {}),
    "complete rows": (low_rank(), {}),
    "fixed scale": (with_gaps(low_rank()), {"likelihood": Gaussian(scale=0.5)}),
    "principal coordinates": (with_gaps(low_rank()), {"network": MLP(principal_coordinates=3)}),
    "principal coordinates of complete rows": (low_rank(), {"network": MLP(principal_coordinates=3)}),
}


def linear_model(vae):
    """Return mean, weights and noise variance of a model at its linear start, in the data's units."""
    d = vae.n_components
    mean = vae.inverse_transform(np.zeros((1, d)))[0]
    W = (vae.inverse_transform(np.eye(d)) - mean).T
    return mean, W, vae.noise_variance_ * np.ones(len(mean))


@pytest.mark.parametrize(("X", "params"), STARTS.values(), ids=STARTS)
def test_start_has_the_marginal_density_of_the_observed_cells(X, params):
    vae = VAETransformer(2, max_iter=0, n_draws=20000, whiten=True, random_state=0, **params).fit(X)
    mean, W, noise = linear_model(vae)
    rows = with_gaps(low_rank(20, seed=1), 0.5)
    covariance = W @ W.T + np.diag(noise)
    seen = [np.flatnonzero(~np.isnan(x)) for x in rows]
    expected = [
        multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(x[o]) for x, o in zip(rows, seen, strict=True)
    ]
    np.testing.assert_allclose(vae.score_samples(rows), expected, atol=0.15)


@pytest.mark.parametrize(("X", "params"), STARTS.values(), ids=STARTS)
def test_start_has_the_posterior_mean_given_the_observed_cells(X, params):
    vae = VAETransformer(2, max_iter=0, whiten=True, random_state=0, **params).fit(X)
    mean, W, noise = linear_model(vae)
    rows = with_gaps(low_rank(20, seed=1), 0.5)
    for x, z in zip(rows, vae.transform(rows), strict=True):
        o = ~np.isnan(x)
        precision = np.eye(2) + W[o].T @ (W[o] / noise[o, None])
        np.testing.assert_allclose(z, np.linalg.solve(precision, W[o].T @ ((x - mean)[o] / noise[o])), atol=1e-5)


def test_permuted_columns_change_nothing_at_the_start():
    X, order = with_gaps(low_rank()), np.array([3, 0, 5, 1, 4, 2])
    vae, permuted = (VAETransformer(2, max_iter=0, random_state=0).fit(rows) for rows in (X, X[:, order]))
    np.testing.assert_allclose(permuted.score_samples(X[:, order]), vae.score_samples(X), atol=1e-3)


def test_columns_that_are_always_missing_change_nothing_at_the_start():
    X = with_gaps(low_rank())
    wider = np.insert(X, 2, np.nan, axis=1)
    vae, with_column = (VAETransformer(2, max_iter=0, random_state=0).fit(rows) for rows in (X, wider))
    np.testing.assert_allclose(with_column.score_samples(wider), vae.score_samples(X), atol=1e-4)
    np.testing.assert_allclose(with_column.transform(wider), vae.transform(X), atol=1e-4)
    np.testing.assert_array_equal(with_column.inverse_transform(vae.transform(X))[:, 2], 0)


def test_weights_are_repeated_rows_at_the_start():
    X = with_gaps(low_rank())
    weight = np.random.default_rng(0).integers(1, 4, len(X))
    weighted = VAETransformer(2, max_iter=0, random_state=0).fit(X, sample_weight=weight)
    repeated = VAETransformer(2, max_iter=0, random_state=0).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), atol=0.1)


# Rows without observed cells


@pytest.mark.parametrize("params", [{}, {"prior": "mixture"}, {"init": "random"}], ids=str)
def test_a_row_of_gaps_has_the_prior_as_posterior(iris, params):
    vae = small_transformer(max_iter=5, **params).fit(with_gaps(iris))
    nothing = np.full((3, 4), np.nan)
    np.testing.assert_array_equal(vae.score_samples(nothing), 0)
    np.testing.assert_array_equal(vae.transform(nothing), 0)


def test_rows_of_gaps_change_no_fit(iris):
    X = with_gaps(iris)
    more = np.insert(X, [0, 70], np.nan, axis=0)
    vae, other = small_transformer(max_iter=3).fit(X), small_transformer(max_iter=3).fit(more)
    np.testing.assert_allclose(other.transform(X), vae.transform(X), atol=1e-5)


def test_a_classifier_predicts_the_prior_or_less_for_a_row_of_gaps(iris):
    classifier = small_classifier(max_iter=10).fit(with_gaps(iris), CLASS)
    p = classifier.predict_proba(np.full((1, 4), np.nan))
    assert np.isfinite(p).all() and p.max() < 0.9


def test_a_table_of_gaps_is_refused(iris):
    with pytest.raises(ValueError, match="at least two rows .* rows without an observed cell have weight 0"):
        small_transformer().fit(np.full((5, 3), np.nan))


# All methods


@pytest.mark.parametrize("likelihood", LIKELIHOOD_CASES, ids=shown)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_likelihood_takes_gaps(likelihood, dtype):
    X = with_gaps(binary_rows(60), dtype=dtype)
    vae = small_transformer(likelihood=likelihood, max_iter=3).fit(X)
    Z = vae.transform(X)
    assert Z.dtype == dtype and np.isfinite(Z).all() and np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.inverse_transform(Z)).all() and np.isfinite(vae.sample(5, random_state=0)).all()


@pytest.mark.parametrize("likelihood", LIKELIHOOD_CASES, ids=shown)
def test_a_model_of_complete_rows_takes_gaps(likelihood):
    """Its density of a cell is larger than that of the whole row given that cell, and the mask decides it."""
    X = binary_rows(60)
    vae = small_transformer(likelihood=likelihood, max_iter=3, n_draws=500).fit(X)
    one = np.full_like(X, np.nan)
    one[:, 4] = X[:, 4]
    p = vae.score_samples(one)
    assert np.isfinite(vae.transform(one)).all()
    assert np.ptp(p[X[:, 4] == 0]) < 1e-6 and np.ptp(p[X[:, 4] == 1]) < 1e-6


@pytest.mark.parametrize("params", [{}, {"objective": "iwae"}, {"objective": "free_bits"}, {"prior": "vamp"}], ids=str)
def test_every_component_takes_gaps(iris, params):
    vae = small_transformer(max_iter=3, early_stopping=True, **params).fit(with_gaps(iris))
    assert np.isfinite(vae.score_samples(with_gaps(iris, seed=1))).all()


def test_results_do_not_depend_on_other_rows(iris):
    """Nor on the path: few complete rows are computed in numpy, all others in torch."""
    vae, X = small_transformer(max_iter=3).fit(with_gaps(iris)), with_gaps(iris, seed=1)
    one_by_one = np.concatenate([vae.transform(x[None]) for x in X])
    np.testing.assert_allclose(one_by_one, vae.transform(X), atol=1e-10)
    scores = np.concatenate([vae.score_samples(x[None]) for x in X])
    np.testing.assert_allclose(scores, vae.score_samples(X), atol=1e-8)


def test_partial_fit_takes_gaps(iris):
    vae = small_transformer()
    for chunk in np.array_split(with_gaps(iris)[np.random.default_rng(0).permutation(150)], 5):
        vae.partial_fit(chunk)
    assert np.isfinite(vae.score(with_gaps(iris)))


def test_warm_start_in_principal_coordinates_takes_gaps(digits):
    vae = small_transformer(max_iter=2, network=MLP(principal_coordinates=16), warm_start=True).fit(digits)
    assert np.isfinite(vae.fit(with_gaps(digits)).score(with_gaps(digits)))


@pytest.mark.parametrize("labels", [CLASS, marked(CLASS, dtype=int)], ids=["all labels", "few labels"])
def test_a_classifier_takes_labels_and_gaps(iris, labels):
    X = with_gaps(iris)
    classifier = small_classifier(max_iter=30).fit(X, labels)
    assert classifier.score(X, CLASS) > 0.75
    assert np.isfinite(classifier.score_samples(X)).all()


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan], ids=str)
@pytest.mark.parametrize("dtype", ["Float64", "Int64"])
def test_none_and_na_are_gaps(iris, missing, dtype):
    X = pd.DataFrame(np.round(10 * iris), columns=list("abcd")).astype(dtype)
    X.loc[[3, 7], "b"] = missing
    expected = np.round(10 * iris)
    expected[[3, 7], 1] = np.nan
    vae = small_transformer().fit(X)
    np.testing.assert_array_equal(vae.transform(X), small_transformer().fit(expected).transform(expected))


# What is learned


def test_gaps_cost_little_of_what_is_learned(digits):
    """Rows with a tenth of the cells missing lose little more variance than complete rows do by PCA."""
    vae = VAETransformer(8, random_state=0).fit(with_gaps(digits, 0.1))
    lost = np.square(vae.inverse_transform(vae.transform(digits)) - digits).sum()
    pca = PCA(8).fit(digits)
    by_pca = np.square(pca.inverse_transform(pca.transform(digits)) - digits).sum()
    assert lost < 1.1 * by_pca


def test_missing_cells_have_no_influence(iris):
    """The gradient of the bound with respect to a missing cell is 0."""
    model = VAETransformer(2, max_iter=0, random_state=0).fit(iris).module_.double()
    x = torch.tensor(with_gaps(iris))
    mask = ~x.isnan()
    filled = [x.where(mask, value) for value in (0.0, 100.0)]
    losses = [model(rows, 1.0, torch.Generator().manual_seed(0), mask).loss for rows in filled]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("n_observed", [0, 1, 3])
@pytest.mark.parametrize("as_frame", [False, True])
def test_columns_with_hardly_a_cell_and_a_scale_of_their_own(n_observed, as_frame):
    """No held-out part may have a cell of such a column: its variance is that of training, or of the start."""
    X, likelihood = low_rank(100), Gaussian(per_column=True)
    X[n_observed:, 2] = np.nan
    if as_frame:
        X, likelihood = pd.DataFrame(X, columns=list("abcdef")).assign(kind=list("uvwx") * 25), "from_dtype"
    vae = VAETransformer(2, likelihood=likelihood, max_iter=3, random_state=0).fit(X)
    vae = pickle.loads(pickle.dumps(vae))
    assert np.isfinite(vae.score_samples(X)).all() and np.isfinite(vae.latent_scale_).all()
    assert not pd.DataFrame(vae.sample(5, random_state=0)).isna().any().any()


def test_missing_cells_of_a_random_start_are_seen_at_the_means_of_their_columns():
    X = with_gaps(binary_rows(60))
    vae = small_transformer(likelihood="bernoulli", init="random", max_iter=0).fit(X)
    inputs = vae.module_.observe_rows(torch.full((1, X.shape[1]), torch.nan)).inputs[0]
    np.testing.assert_allclose(inputs, np.nanmean(X, axis=0), rtol=1e-5)


def test_continued_training_on_rows_with_gaps_finds_no_stale_model(iris):
    """The linear model that training keeps is left behind when the module is in another precision."""
    vae = small_transformer(max_iter=2).fit(with_gaps(iris))
    gaps = vae.module_.gaps
    assert all(device == gaps.mean.device for _, device in gaps._linear_models)
    gaps.to("meta").train()
    filled = gaps.fill(torch.zeros(2, 4, device="meta"), torch.ones(2, 4, dtype=torch.bool, device="meta"))
    assert filled.device.type == "meta"
