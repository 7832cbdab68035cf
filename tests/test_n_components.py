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
    return estimator._architecture.n_components


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
