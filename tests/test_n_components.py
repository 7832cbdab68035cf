"""Numbers of latent variables that follow from the rows."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from small_estimators import small_classifier, small_imputer, small_transformer

from sklearn_vae import VAETransformer

WINE = load_wine().data
ROWS = {
    "wine": WINE,
    "scaled wine": WINE / WINE.std(0),
    "float32": load_digits().data.astype(np.float32),
    "few": load_digits().data[:20],
    "wide": np.random.default_rng(0).standard_normal((30, 200)),
    "constant": np.ones((5, 3)),
}


def n_components(estimator):
    assert estimator.n_components_ == estimator.module_.n_components
    return estimator.n_components_


def surface(n_rows, rng):
    """Rows near a curved surface of two dimensions, in ten columns."""
    t = 3 * rng.random((n_rows, 2))
    curved = np.c_[np.sin(t), np.cos(t), t[:, :1] * t[:, 1:], np.sin(t.sum(1, keepdims=True))]
    return curved @ rng.standard_normal((6, 10)) + 0.1 * rng.standard_normal((n_rows, 10))


def plane(n_rows, rng):
    """Rows near a subspace of four dimensions, in twelve columns."""
    return rng.standard_normal((n_rows, 4)) @ rng.standard_normal((4, 12)) + 0.3 * rng.standard_normal((n_rows, 12))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_a_share_of_the_variance_is_that_of_pca(name, share):
    X = ROWS[name]
    expected = 1 if name == "constant" else PCA(share, svd_solver="full").fit(X).n_components_
    assert n_components(VAETransformer(share, max_iter=0).fit(X)) == expected


@pytest.mark.parametrize("name", ["wine", "few"])
def test_none_keeps_all_components_as_pca_does(name):
    X = ROWS[name]
    assert VAETransformer(None, max_iter=0).fit_transform(X).shape == PCA().fit_transform(X).shape


def test_weights_count_in_the_variance():
    weight = np.arange(178) % 3
    vae = VAETransformer(0.999, max_iter=0).fit(WINE / WINE.std(0), sample_weight=weight)
    repeated = VAETransformer(0.999, max_iter=0).fit(np.repeat(WINE / WINE.std(0), weight, axis=0))
    assert n_components(vae) == n_components(repeated)


def test_sparse_rows_have_the_components_of_dense_ones():
    X = np.random.default_rng(0).poisson(0.3, (60, 15)).astype(float)
    dense, csr = (VAETransformer(0.8, max_iter=0).fit(rows) for rows in (X, sparse.csr_array(X)))
    assert n_components(dense) == n_components(csr) == PCA(0.8).fit(X).n_components_


def test_columns_of_a_frame_are_standardised():
    frame = pd.DataFrame(WINE, columns=[f"x{i}" for i in range(13)]).assign(label=pd.Categorical(load_wine().target))
    small, scaled = (VAETransformer(0.8, max_iter=0).fit(X) for X in (frame, frame.assign(x12=1000 * frame["x12"])))
    assert n_components(small) == n_components(scaled) > 2


@pytest.mark.parametrize("make", [small_classifier, small_imputer, small_transformer], ids=lambda f: f.__name__)
def test_later_calls_keep_the_number(make):
    X, y = load_iris(return_X_y=True)
    X = X / X.std(0)
    estimator = make(0.9).fit(X, y)
    assert n_components(estimator) == PCA(0.9).fit(X).n_components_ == 2
    estimator.partial_fit(X[::5], y[::5])
    assert n_components(estimator) == 2
    estimator.set_params(warm_start=True, n_components=None).fit(X, y)
    assert n_components(estimator) == 2
    with pytest.raises(ValueError, match="n_components as in the first call, 2, got 3"):
        estimator.set_params(n_components=3).fit(X, y)


@pytest.mark.parametrize(
    ("make", "n_rows", "expected"),
    [(surface, 400, 2), (plane, 400, 4)],
    ids=["surface", "plane"],
)
def test_auto_finds_the_dimension_of_the_rows(make, n_rows, expected):
    X = make(n_rows, np.random.default_rng(0))
    vae = VAETransformer("auto", random_state=0).fit(X)
    assert n_components(vae) == expected
    same = VAETransformer(expected, random_state=0).fit(X)
    np.testing.assert_array_equal(vae.transform(X), same.transform(X))


def test_auto_finds_next_to_nothing_in_noise():
    assert n_components(VAETransformer("auto", random_state=0).fit(np.random.default_rng(0).random((60, 6)))) <= 2


def test_auto_takes_weights_gaps_frames_and_few_rows():
    X = plane(150, np.random.default_rng(1))
    quick = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    weight = np.arange(150) % 3
    weighted = VAETransformer("auto", **quick).fit(X, sample_weight=weight)
    kept = VAETransformer("auto", **quick).fit(X[weight > 0], sample_weight=weight[weight > 0])
    assert n_components(weighted) == n_components(kept)
    X[::7, 3] = np.nan
    assert n_components(VAETransformer("auto", **quick).fit(X)) >= 2
    frame = pd.DataFrame(X).add_prefix("x").assign(sign=np.where(X[:, 0] > 0, "plus", "minus"))
    assert n_components(VAETransformer("auto", **quick).fit(frame)) >= 1
    assert VAETransformer("auto", **quick).fit_transform(X[:3]).shape[0] == 3
    assert n_components(VAETransformer("auto", **quick).fit(X[:, :1])) == 1
    assert n_components(VAETransformer("auto", **quick | {"max_iter": 0}).fit(X[:, :6])) >= 2


def test_auto_needs_held_out_rows_and_a_density():
    X = WINE / WINE.std(0)
    with pytest.raises(ValueError, match="n_components to be a number in partial_fit .* got 'auto'"):
        VAETransformer("auto").partial_fit(X)
    with pytest.raises(ValueError, match="use fit and another objective, or a number"):
        VAETransformer("auto", objective="autoencoder").fit(X)
    vae = VAETransformer("auto", max_iter=2, random_state=0).fit(X)
    n = n_components(vae)
    assert n_components(vae.partial_fit(X)) == n_components(vae.set_params(warm_start=True).fit(X)) == n
