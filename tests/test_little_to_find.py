"""Tables in which there is little or nothing to find: what the defaults return for them."""

import warnings

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from sklearn_vae import VAETransformer
from sklearn_vae._training.diagnostics import kl_of_noise, warn_if_improving


def fit(X, n_components, **params):
    return VAETransformer(n_components, random_state=0, **params).fit(X)


def lost(model, X, test):
    """Share of the variance that is lost in the reconstruction."""
    return np.square(model.inverse_transform(model.transform(test)) - test).sum() / np.square(test - X.mean(0)).sum()


@pytest.mark.parametrize(("seed", "shape"), [(1, (100, 6)), (2, (100, 40))])
def test_noise_is_called_noise(seed, shape):
    """Independent columns of equal variance: a warning, and the density of independent columns."""
    rng = np.random.default_rng(seed)
    X, test = rng.normal(size=shape), rng.normal(size=(2000, shape[1]))
    with pytest.warns(UserWarning, match="no latent variable is used") as caught:
        vae = fit(X, 2)
    assert caught[0].filename == __file__
    independent = norm(X.mean(0), X.std(0)).logpdf(test).sum(1).mean()
    assert vae.score(test) > independent - 0.003 * abs(independent)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_components"), [(500, 10, 2), (300, 6, 5), (200, 40, 2), (100, 300, 8)]
)
def test_kl_of_noise_is_the_largest_one_of_many_tables(n_rows, n_features, n_components):
    rng = np.random.default_rng(0)
    eigenvalues = [
        np.sort(np.linalg.eigvalsh(np.cov(rng.normal(size=(n_rows, n_features)).T)))[::-1] for _ in range(20)
    ]
    largest = max(np.log(values[0] / values[n_components:].mean()) / 2 for values in eigenvalues)
    assert kl_of_noise(n_rows, n_features, n_components) == pytest.approx(largest, rel=0.15)


def test_columns_with_structure_are_not_called_noise():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1)) @ rng.normal(size=(1, 10)) + rng.normal(size=(500, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = fit(X, 2)
    assert vae.kl_per_component_[0] > 2 * kl_of_noise(500, 10, 2)


@pytest.mark.parametrize("n_rows", [2, 6])
def test_fewer_rows_than_components(n_rows):
    """Components beyond the number of rows have a KL of 0, and the noise is not that of a perfect fit."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 8))
    X, test = (rng.normal(size=(n, 3)) @ weight + 0.1 * rng.normal(size=(n, 8)) for n in (n_rows, 200))
    vae = fit(X, n_rows + 2)
    codes = vae.transform(test)
    assert codes.shape == (200, n_rows + 2) and np.isfinite(codes).all() and np.isfinite(vae.score_samples(test)).all()
    assert (vae.kl_per_component_[n_rows:] < 1e-3).all()
    assert lost(vae, X, test) < lost(PCA(n_rows).fit(X), X, test) + 0.15


def test_one_large_column_of_a_hundred_is_the_first_component():
    rng = np.random.default_rng(0)
    X, test = (rng.normal(size=(n, 100)) for n in (500, 300))
    X[:, 0], test[:, 0] = 10 * X[:, 0], 10 * test[:, 0]
    vae = fit(X, 2)
    assert abs(np.corrcoef(vae.transform(test)[:, 0], test[:, 0])[0, 1]) > 0.999
    assert vae.score(test) == pytest.approx(PCA(1).fit(X).score(test), abs=1)


def test_one_column_of_two_values_among_noise_of_the_same_variance_is_not_found():
    """Nothing connects the column with others, so that no component is worth its KL; a warning says so."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 100))
    X[:, 0] = np.sign(X[:, 0])
    with pytest.warns(UserWarning, match="no latent variable is used"):
        fit(X, 2)


@pytest.mark.parametrize("n_copies", [2, 5])
def test_copies_of_one_column_are_one_component(n_copies):
    rng = np.random.default_rng(0)
    x, test = rng.normal(size=(400, 1)), rng.normal(size=(200, 1))
    X, test = np.repeat(x, n_copies, axis=1), np.repeat(test, n_copies, axis=1)
    vae = fit(X, 2)
    assert lost(vae, X, test) < 1e-4
    assert vae.kl_per_component_[0] > 5 and vae.kl_per_component_[1] < 0.1
    # The noise of columns without any has a floor.
    np.testing.assert_allclose(vae.noise_variance_, 1e-6 * X.var(), rtol=0.2)


def test_copied_columns_weigh_as_often_as_they_occur():
    """As in PCA: of two independent columns, the component shows the one with copies."""
    rng = np.random.default_rng(0)
    X = np.hstack([np.repeat(rng.normal(size=(400, 1)), 4, axis=1), rng.normal(size=(400, 1))])
    X += 0.1 * rng.normal(size=X.shape)
    codes = fit(X, 1).transform(X)[:, 0]
    assert abs(np.corrcoef(codes, X[:, 0])[0, 1]) > 0.99 and abs(np.corrcoef(codes, X[:, 4])[0, 1]) < 0.2


def test_a_run_that_max_iter_ends_too_early_warns():
    X = load_digits().data[:1000]
    with pytest.warns(ConvergenceWarning, match="max_iter=10 ended training while the score .* was still") as caught:
        vae = VAETransformer(max_iter=10, random_state=0).fit(X)
    assert caught[0].filename == __file__
    assert vae.n_iter_ == 10 and vae.validation_scores_[-1] == max(vae.validation_scores_)


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("params", [{"max_iter": "auto"}, {"max_iter": 400}, {"early_stopping": False, "max_iter": 10}])
def test_other_runs_do_not(params):
    VAETransformer(**params, random_state=0).fit(load_digits().data[:300, 20:30])


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_a_rise_that_is_small_beside_the_whole_one_is_no_reason_to_warn():
    warn_if_improving([0.0, 0.05, 0.14], 2)
    warn_if_improving([0.0, 10.0, 10.9], 2)
    warn_if_improving([0.0, 5.0, 4.0, 3.0], 3)
    with pytest.warns(ConvergenceWarning):
        warn_if_improving([0.0, 10.0, 11.2], 2)
