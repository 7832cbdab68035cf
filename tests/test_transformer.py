"""VAETransformer as a scikit-learn transformer: shapes, precision, names, searches, randomness."""

import random

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP
from sklearn_vae.priors import StandardNormal


def small(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


# Shapes and precision


@pytest.mark.parametrize("n_components", [1, 4, 7])
def test_transformer_shapes(iris, n_components):
    """Also with as many components as columns, and more."""
    vae = small(n_components).fit(iris)
    Z = vae.transform(iris)
    assert Z.shape == (150, n_components) and np.isfinite(Z).all()
    assert vae.inverse_transform(Z[:7]).shape == (7, 4)
    assert vae.sample(5).shape == (5, 4)
    assert vae.score_samples(iris[:3]).shape == (3,)
    assert isinstance(vae.score(iris), float)
    assert vae.kl_per_component_.shape == (n_components,) and (vae.kl_per_component_ >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transformer_preserves_precision(iris, dtype):
    X = iris.astype(dtype)
    vae = small().fit(X)
    Z = vae.transform(X)
    assert Z.dtype == dtype and vae.fit_transform(X).dtype == dtype
    assert vae.inverse_transform(Z).dtype == dtype and vae.score_samples(X).dtype == dtype


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, bool, np.float16])
def test_transformer_takes_other_numbers_as_float64(iris, dtype):
    X = iris.astype(dtype)
    Z = small().fit_transform(X)
    assert Z.dtype == np.float64
    np.testing.assert_array_equal(Z, small().fit_transform(X.astype(np.float64)))


def test_transformer_precisions_agree(iris):
    vae = small(max_iter=10).fit(iris)
    for method in (vae.transform, vae.score_samples):
        np.testing.assert_allclose(method(iris.astype(np.float32)), method(iris), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hidden_layer_sizes", ["auto", (512, 512)])
@pytest.mark.parametrize("method", ["transform", "score_samples", "inverse_transform"])
def test_rows_do_not_depend_on_their_companions(digits, hidden_layer_sizes, method):
    vae = small(8, hidden_layer_sizes=hidden_layer_sizes, max_iter=1).fit(digits)
    rows = vae.transform(digits[:60]) if method == "inverse_transform" else digits[:60]
    whole, order = getattr(vae, method)(rows), np.random.default_rng(0).permutation(60)
    one_by_one = np.concatenate([getattr(vae, method)(row[None]) for row in rows])
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(getattr(vae, method)(rows[order]), whole[order], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_calls_repeat_exactly(fitted, iris, method):
    np.testing.assert_array_equal(getattr(fitted, method)(iris), getattr(fitted, method)(iris))


def test_transformer_leaves_its_input_alone(iris):
    X = np.array(iris)
    vae = small().fit(X)
    vae.inverse_transform(vae.transform(X)), vae.score(X)
    np.testing.assert_array_equal(X, iris)


@pytest.mark.parametrize("as_input", [np.asfortranarray, lambda X: X[::-1][::-1], np.ndarray.tolist, pd.DataFrame])
def test_transformer_takes_any_layout(iris, as_input):
    vae = small()
    np.testing.assert_array_equal(vae.fit(as_input(iris)).transform(as_input(iris)), vae.fit(iris).transform(iris))


def test_fit_transform_is_fit_then_transform(iris):
    np.testing.assert_array_equal(small().fit_transform(iris), small().fit(iris).transform(iris))


# Units of the latents


@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_start_equals_pca_by_default(iris, n_components, scale):
    X = scale * iris
    Z = small(n_components, max_iter=0).fit_transform(X)
    expected = PCA(n_components).fit_transform(X)
    np.testing.assert_allclose(np.abs(Z), np.abs(expected), rtol=0.01, atol=0.01 * scale)
    assert (
        np.abs(np.abs((Z * expected).sum(0)) - np.square(expected).sum(0)) < 0.02 * np.square(expected).sum(0)
    ).all()


def test_whitened_start_is_on_the_prior_scale(digits):
    """The posterior means and variances together have the prior's moments: E[mu^2] + E[s^2] = 1."""
    vae = small(5, max_iter=0).fit(digits)
    model = vae.module_.double()
    q = model.posterior(torch.tensor(digits))
    np.testing.assert_allclose((q.loc.square() + q.scale.square()).mean(0).detach(), 1, atol=0.01)


@pytest.mark.parametrize("n_components", [2, 6])
def test_inverse_transform_undoes_the_latent_scale(iris, n_components):
    white, scaled = (small(n_components, whiten=flag).fit(iris) for flag in (True, False))
    np.testing.assert_allclose(scaled.transform(iris), white.transform(iris) * scaled.latent_scale_)
    np.testing.assert_allclose(
        scaled.inverse_transform(scaled.transform(iris)), white.inverse_transform(white.transform(iris)), atol=1e-6
    )
    assert not hasattr(white, "latent_scale_")


def test_latent_scale_of_an_unused_component_is_small(iris):
    """Iris has four columns, so two of six components are unused."""
    vae = small(6, whiten=False, max_iter=0).fit(iris)
    Z = vae.transform(iris)
    assert np.isfinite(Z).all()
    assert (Z.std(0)[4:] < 0.05 * Z.std(0)[0]).all()


# Fitted attributes


def test_kl_per_component_is_the_mean_kl_of_the_posterior(fitted, iris):
    q = fitted.module_.posterior(torch.tensor(iris))
    kl = 0.5 * (q.loc.square() + q.scale.square() - 1) - q.scale.log()
    np.testing.assert_allclose(fitted.kl_per_component_, kl.mean(0).detach(), rtol=1e-4)


def test_kl_per_component_of_unused_components_is_zero():
    t = np.random.default_rng(0).normal(size=(200, 2)) * [3, 1]
    X = np.column_stack([t, np.zeros((200, 2))]) + 0.1 * np.random.default_rng(1).normal(size=(200, 4))
    kl = small(6, max_iter=0).fit(X).kl_per_component_
    assert (kl[:2] > 1).all() and (kl[4:] < 0.01).all()


@pytest.mark.parametrize("scale", ["optimal", "learned"])
def test_noise_variance_is_a_float_or_one_per_column(iris, scale):
    one = small(likelihood=Gaussian(scale=scale, per_column=False)).fit(iris)
    each = small(likelihood=Gaussian(scale=scale, per_column=True)).fit(iris)
    assert isinstance(one.noise_variance_, float) and one.noise_variance_ > 0
    assert each.noise_variance_.shape == (4,) and (each.noise_variance_ > 0).all()
    assert not hasattr(small(likelihood="bernoulli").fit(iris / 10), "noise_variance_")


@pytest.mark.parametrize("scale", ["optimal", "learned"])
def test_noise_variance_per_column_finds_the_noisy_columns(scale):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1000, 1))
    X = z * [1.0, 1.0, 1.0, 1.0] + rng.normal(size=(1000, 4)) * [0.1, 0.2, 0.4, 0.8]
    vae = small(1, likelihood=Gaussian(scale, True), max_iter=60, input_noise=0, learning_rate_init=0.01).fit(X)
    np.testing.assert_allclose(np.sqrt(vae.noise_variance_), [0.1, 0.2, 0.4, 0.8], rtol=0.5)
    assert (np.diff(vae.noise_variance_) > 0).all()


def test_noise_variance_of_optimal_scale_is_the_expected_squared_error(iris):
    vae = small(max_iter=0).fit(iris)
    model = vae.module_.double()
    q = model.posterior(torch.tensor(iris))
    noise = torch.randn((500, *q.loc.shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    error = (model.reconstruct(q.loc + q.scale * noise) - torch.tensor(iris)).square().mean().detach()
    assert float(error) == pytest.approx(vae.noise_variance_, rel=0.03)


# Names and containers


def test_feature_names(iris):
    columns = ["a", "b", "c", "d"]
    vae = small(3).fit(pd.DataFrame(iris, columns=columns))
    assert vae.feature_names_in_.tolist() == columns and vae.n_features_in_ == 4
    assert vae.get_feature_names_out().tolist() == ["vaetransformer0", "vaetransformer1", "vaetransformer2"]


@pytest.mark.parametrize(("container", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output(iris, container, frame):
    vae = small().set_output(transform=container)
    Z = vae.fit_transform(iris)
    assert isinstance(Z, frame)
    assert list(Z.columns) == ["vaetransformer0", "vaetransformer1"]
    np.testing.assert_array_equal(Z.to_numpy(), small().fit_transform(iris))


def test_set_output_keeps_the_index_of_pandas(iris):
    X = pd.DataFrame(iris, index=np.arange(150) * 2, columns=list("abcd"))
    assert small().set_output(transform="pandas").fit_transform(X).index.equals(X.index)


def test_inverse_transform_takes_what_set_output_gives(iris):
    vae = small().set_output(transform="pandas").fit(iris)
    Z = vae.transform(iris)
    np.testing.assert_array_equal(vae.inverse_transform(Z), vae.inverse_transform(Z.to_numpy()))


# Pipelines and searches


def test_grid_search_over_nested_parameters(digits):
    y = np.arange(len(digits)) % 2
    pipe = Pipeline(
        [
            ("vae", small(likelihood=Gaussian(), network=MLP(), max_iter=1)),
            ("classifier", LogisticRegression(max_iter=50)),
        ]
    )
    grid = {
        "vae__n_components": [1, 3],
        "vae__likelihood__scale": ["optimal", 2.0],
        "vae__network__activation": ["tanh", "relu"],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(digits[:80], y[:80])
    assert len(search.cv_results_["params"]) == 8
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    fitted = search.best_estimator_.named_steps["vae"]
    assert fitted.module_.likelihood.log_scale.shape == (1,)
    assert fitted.transform(digits).shape == (400, search.best_params_["vae__n_components"])


def test_grid_search_without_a_target_uses_the_likelihood(iris):
    """Three components are found in three-dimensional data."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 10)) + 0.1 * rng.normal(size=(300, 10))
    search = GridSearchCV(small(max_iter=0), {"n_components": [1, 2, 3]}, cv=3).fit(X)
    assert search.best_params_ == {"n_components": 3}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_pipeline_passes_sample_weight(iris):
    weight = np.where(np.arange(150) < 50, 20.0, 1.0)
    pipe = make_pipeline(StandardScaler(), small()).fit(iris, vaetransformer__sample_weight=weight)
    expected = small().fit(StandardScaler().fit_transform(iris), sample_weight=weight)
    np.testing.assert_array_equal(pipe[-1].module_.likelihood.center, expected.module_.likelihood.center)


def test_fit_leaves_component_specifications_alone(iris):
    likelihood, prior, network = Gaussian(scale="learned"), StandardNormal(), MLP()
    before = [component.get_params() for component in (likelihood, prior, network)]
    vae = small(likelihood=likelihood, prior=prior, network=network).fit(iris)
    assert vae.likelihood is likelihood and vae.prior is prior and vae.network is network
    assert [component.get_params() for component in (likelihood, prior, network)] == before


# Randomness


def work(vae, X):
    """Call every method that may draw random numbers, and return the results."""
    vae = clone(vae).fit(X)
    return vae.transform(X), vae.score_samples(X), vae.sample(4), vae.sample(4, random_state=3)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("random_state", [0, None])
def test_global_random_state_is_left_alone(iris, global_random_state, early_stopping, random_state):
    before = global_random_state()
    work(small(early_stopping=early_stopping, random_state=random_state), iris)
    small().partial_fit(iris).partial_fit(iris)
    assert global_random_state() == before


def test_global_random_state_is_not_read(iris):
    results = []
    for seed in (0, 1):
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        try:
            results.append(work(small(init="random", early_stopping=True), iris))
        finally:
            random.setstate(state[0]), np.random.set_state(state[1]), torch.set_rng_state(state[2])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("init", ["ppca", "random"])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_random_state_decides_the_result(iris, init, early_stopping):
    vae = small(init=init, early_stopping=early_stopping, max_iter=15, learning_rate_init=0.01, input_noise=0)
    first, again, other = (work(vae.set_params(random_state=seed), iris) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    for i in (0, 1, 2):
        assert not np.allclose(first[i], other[i], rtol=1e-9)


def test_random_state_may_be_a_generator(iris):
    first, second = (small(random_state=np.random.RandomState(7)).fit(iris) for _ in range(2))
    np.testing.assert_array_equal(first.transform(iris), second.transform(iris))
    assert not np.allclose(first.fit(iris).transform(iris), second.transform(iris), rtol=1e-9)


def test_random_state_none_is_random(iris):
    first, second = (small(random_state=None, init="random").fit(iris) for _ in range(2))
    assert not np.allclose(first.transform(iris), second.transform(iris))
    assert not np.allclose(first.sample(3), first.sample(3))


def test_sample_follows_its_random_state(fitted):
    first, again, other = (fitted.sample(6, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    np.testing.assert_array_equal(fitted.sample(6), fitted.sample(6))
    np.testing.assert_array_equal(
        fitted.sample(6, np.random.RandomState(3)), fitted.sample(6, np.random.RandomState(3))
    )
    rng = np.random.RandomState(3)
    assert not np.allclose(fitted.sample(6, rng), fitted.sample(6, rng))


def test_sample_resembles_the_data(fitted, iris):
    """Moments of samples are near the data's; and the model finds its samples as likely as the data."""
    draws = fitted.sample(3000, random_state=0)
    np.testing.assert_allclose(draws.mean(0), iris.mean(0), atol=0.25)
    np.testing.assert_allclose(draws.std(0), iris.std(0), rtol=0.25)
    assert fitted.score(draws) == pytest.approx(fitted.score(iris), abs=1)


def test_score_is_the_mean_of_score_samples(fitted, iris):
    assert fitted.score(iris) == pytest.approx(fitted.score_samples(iris).mean())
    assert fitted.score(iris, np.zeros(150)) == fitted.score(iris)


def test_n_draws_raises_the_score(fitted, iris):
    scores = [clone(fitted).set_params(n_draws=n).fit(iris).score(iris) for n in (1, 200)]
    assert scores[0] < scores[1]


def test_score_samples_finds_outliers(fitted, iris):
    assert fitted.score_samples(iris + np.array([0, 10, -10, 0])).max() < fitted.score_samples(iris).min()


def test_transformer_refused_refit_leaves_no_earlier_model(digits):
    """Otherwise the old model would be used with the new number of columns."""
    vae = VAETransformer(2, max_iter=1, random_state=0).fit(digits)
    vae.set_params(beta=lambda step: -1.0)
    with pytest.raises(ValueError, match="expected beta"):
        vae.fit(digits[:, :10])
    with pytest.raises(NotFittedError):
        vae.transform(digits[:, :10])
