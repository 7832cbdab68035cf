"""objective="neighbors": a map that keeps neighbours beside the bound."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_vae import VAEClassifier, VAEImputer, VAETransformer
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import ELBO, FreeBits, NeighborEmbedding

X, y = load_digits(return_X_y=True)
X_TRAIN, X_TEST, Y_TRAIN, Y_TEST = train_test_split(X, y, train_size=700, test_size=300, stratify=y, random_state=0)


def trained(objective):
    return VAETransformer(
        2, objective=objective, hidden_layer_sizes=(64, 64), max_iter=100, early_stopping=False, random_state=0
    ).fit(X_TRAIN)


def small(n_components=2, objective="neighbors", **params):
    values = {"hidden_layer_sizes": (16,), "max_iter": 3, "early_stopping": False, "random_state": 0}
    return VAETransformer(n_components, objective=objective, **{**values, **params})


@pytest.fixture(scope="module")
def digits_map():
    return trained("neighbors")


def accuracy(vae):
    knn = KNeighborsClassifier(5).fit(vae.transform(X_TRAIN), Y_TRAIN)
    return knn.score(vae.transform(X_TEST), Y_TEST)


def test_new_rows_are_among_their_neighbours(digits_map):
    default = trained("elbo")
    assert accuracy(digits_map) > accuracy(default) + 0.03
    # The map does not cost density.
    assert digits_map.score(X_TEST) > default.score(X_TEST) - 2


def test_map_decodes_samples_and_scores(digits_map):
    Z = digits_map.transform(X_TEST)
    error = np.square(digits_map.inverse_transform(Z) - X_TEST).sum(1).mean()
    assert error < 0.75 * np.square(X_TEST - X_TRAIN.mean(0)).sum(1).mean()
    assert digits_map.sample(5, random_state=0).shape == (5, 64)
    assert np.isfinite(digits_map.score_samples(X_TEST)).all()


def test_transform_has_the_units_of_the_map(digits_map):
    np.testing.assert_array_equal(digits_map.latent_scale_, 7.0)
    assert digits_map.transform(X_TRAIN).std(0) == pytest.approx([7, 7], rel=0.2)
    whitened = small(whiten=True).fit(X_TRAIN)
    np.testing.assert_allclose(small().fit(X_TRAIN).transform(X_TEST), 7 * whitened.transform(X_TEST), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 7.0])
def test_pull_is_minus_log_q_and_its_gradient(scale):
    objective = NeighborEmbedding(weight=3.0, scale=scale)
    loc, point = torch.randn(2, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loc.requires_grad_()
    value, gradient = objective.pull(loc, point)
    q = 1 / (1 + scale**2 * torch.linalg.vector_norm(loc - point, dim=1) ** 2)
    torch.testing.assert_close(value, -3 * q.log())
    torch.testing.assert_close(gradient, torch.autograd.grad(value.sum(), loc)[0])


def test_weight_0_is_the_generative_objective():
    """The points are of no use then."""
    recipe = {"batch_size": 64, "input_noise": 0.1, "learning_rate_init": 1e-3, "network": MLP(layer_norm=True)}
    plain, without = (
        small(objective=objective, **recipe).fit(X_TRAIN) for objective in ("elbo", NeighborEmbedding(weight=0.0))
    )
    np.testing.assert_allclose(without.loss_curve_, plain.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(without.score(X_TEST), plain.score(X_TEST), rtol=1e-4)


def test_input_noise_is_within_the_neighbourhood_of_a_row():
    """Twice as near neighbours halve the noise. A number is taken as it is."""
    rng = np.random.default_rng(0)
    centers = 1000 * rng.normal(size=(20, 1, 10))
    noise = rng.normal(size=(20, 30, 10))
    wide, narrow = (small().fit((centers + width * noise).reshape(600, 10)) for width in (2, 1))
    assert wide.module_.input_noise == pytest.approx(2 * narrow.module_.input_noise, rel=0.05)
    assert small(input_noise=0.3).fit(X_TRAIN).module_.input_noise == 0.3


def test_chunks_have_the_input_noise_of_the_first():
    vae = small().partial_fit(X_TRAIN)
    noise = vae.module_.input_noise
    assert 0.3 < noise < 0.7
    for chunk in (X_TRAIN[:8], X_TRAIN[:2], X_TRAIN[:1]):
        vae = pickle.loads(pickle.dumps(vae)).partial_fit(chunk)
        assert vae.module_.input_noise == noise


@pytest.mark.parametrize("unit", [1e20, 1e-25])
def test_maps_of_rows_in_any_unit(unit):
    """Squares of these values are no numbers of float32."""
    Z = small().fit_transform(X_TRAIN.astype(np.float32))
    difference = small().fit_transform((X_TRAIN * unit).astype(np.float32)) - Z
    # Rounding differs; the moves of points amplify it.
    assert np.abs(difference).mean() < 0.1 * Z.std()


def test_auto_finds_the_number_of_components_by_the_bound_alone():
    vae = small("auto").fit(X_TRAIN[:300])
    assert vae.n_components_ > 1
    same = small(vae.n_components_).fit(X_TRAIN[:300])
    np.testing.assert_array_equal(vae.transform(X_TEST), same.transform(X_TEST))


def test_default_weight_depends_on_the_numbers_of_columns_and_components():
    assert NeighborEmbedding().for_data(64, 1).weight == NeighborEmbedding().for_data(64, 2).weight == 80
    assert NeighborEmbedding().for_data(64, 4).weight == 2.5
    assert NeighborEmbedding(weight=2.0).for_data(64, 4).weight == 2.0


@pytest.mark.parametrize(
    ("objective", "message"),
    [(NeighborEmbedding(), "no neighbours of its own"), (FreeBits(-1.0), "FreeBits must be"), (3, "an instance of")],
)
def test_wrong_objectives_beside_the_map(objective, message):
    with pytest.raises(ValueError, match=message):
        small(objective=NeighborEmbedding(objective)).fit(X_TRAIN)


@pytest.mark.parametrize("objective", ["autoencoder", "free_bits", "iwae", ELBO(), FreeBits(0.2)])
def test_other_objectives_beside_the_map(objective):
    vae = small(objective=NeighborEmbedding(objective)).fit(X_TRAIN)
    assert vae.transform(X_TEST).shape == (300, 2)
    assert hasattr(vae, "sample") == (objective != "autoencoder")


@pytest.mark.parametrize("convert", [np.uint8, sparse.csr_array, sparse.csr_matrix])
def test_forms_of_rows_give_the_same_map(convert):
    """Bytes become float32; sparse rows have their own precision."""
    dense = X_TRAIN.astype(np.float32 if convert is np.uint8 else np.float64)
    expected = small(max_iter=30).fit(dense).transform(X_TEST)
    Z = small(max_iter=30).fit(convert(X_TRAIN)).transform(X_TEST)
    # Rounding differs; the moves of points amplify it a little.
    assert np.abs(Z - expected).mean() < 0.05 * expected.std()


def test_precisions_give_maps_of_the_same_quality():
    maps = [small(max_iter=30).fit(X_TRAIN.astype(dtype)) for dtype in (np.float32, np.float64)]
    assert accuracy(maps[0]) == pytest.approx(accuracy(maps[1]), abs=0.05)
    assert maps[0].transform(X_TEST.astype(np.float32)).dtype == np.float32


def test_rows_with_gaps_and_mixed_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(X_TRAIN[:, 20:30]).rename(columns=str).mask(rng.random((700, 10)) < 0.1)
    frame["class"] = pd.Categorical(Y_TRAIN % 3)
    Z = small().fit_transform(frame)
    assert Z.shape == (700, 2) and np.isfinite(Z).all()
    imputer = VAEImputer(2, objective="neighbors", hidden_layer_sizes=(16,), max_iter=2, random_state=0)
    imputed = imputer.fit_transform(frame)
    assert not imputed.isna().to_numpy().any()


def test_cosine_ignores_the_lengths_of_rows():
    """Rows of zeros have no direction."""
    lengths = np.random.default_rng(0).uniform(0.5, 2, size=(700, 1))
    rows = np.vstack([X_TRAIN * lengths, np.zeros((1, 64))])
    vae = small(objective=NeighborEmbedding(metric="cosine")).fit(rows)
    assert np.isfinite(vae.transform(rows)).all()


def test_weights_of_rows():
    weight = np.random.default_rng(0).integers(0, 3, 700).astype(float)
    weighted = small().fit(X_TRAIN, sample_weight=weight)
    assert np.isfinite(weighted.transform(X_TEST)).all()
    again = small().fit(X_TRAIN[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_allclose(again.transform(X_TEST), weighted.transform(X_TEST), rtol=1e-4, atol=1e-4)


def test_partial_fit_continues_the_map():
    vae, chunks = small(hidden_layer_sizes=(64,), learning_rate_init=0.01), np.array_split(X_TRAIN, 3)
    for _ in range(15):
        for chunk in chunks:
            vae.partial_fit(chunk)
    plain = small(objective="elbo").fit(X_TRAIN)
    assert accuracy(vae) > accuracy(plain)
    vae.partial_fit(X_TRAIN[:1])
    assert np.isfinite(vae.transform(X_TEST)).all()


def test_warm_start_continues_the_map():
    vae = small(warm_start=True, max_iter=40).fit(X_TRAIN)
    before = vae.transform(X_TEST)
    after = vae.set_params(max_iter=1).fit(X_TRAIN).transform(X_TEST)
    assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.9
    for objective in (NeighborEmbedding(n_neighbors=5), "elbo"):
        with pytest.raises(ValueError, match="objective as in the first call"):
            vae.set_params(objective=objective).fit(X_TRAIN)


def test_fit_is_reproducible_and_pickled():
    first, again = (small().fit(X_TRAIN).transform(X_TEST) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    vae = small().fit(X_TRAIN)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(X_TEST), first)


def test_classifier_with_a_map():
    codes = np.where(np.arange(700) % 5, -1, Y_TRAIN)
    classifier = VAEClassifier(2, objective="neighbors", max_iter=3, hidden_layer_sizes=(16,), random_state=0)
    assert classifier.fit(X_TRAIN, codes).predict_proba(X_TEST).shape == (300, 10)


def test_parameters_are_searched():
    search = GridSearchCV(
        make_pipeline(small(objective=NeighborEmbedding()), KNeighborsClassifier()),
        {"vaetransformer__objective__n_neighbors": [5, 15]},
        cv=2,
    )
    assert search.fit(X_TRAIN, Y_TRAIN).score(X_TEST, Y_TEST) > 0.5
    assert clone(NeighborEmbedding(FreeBits(0.3))).objective.free_bits == 0.3


@pytest.mark.parametrize(
    "params",
    [
        {"n_neighbors": 0},
        {"n_neighbors": 1.5},
        {"metric": "manhattan"},
        {"weight": -1.0},
        {"scale": 0.0},
        {"objective": 3},
    ],
)
def test_wrong_parameters(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of NeighborEmbedding"):
        small(objective=NeighborEmbedding(**params)).fit(X_TRAIN)


@pytest.mark.parametrize("n_rows", [2, 4, 16])
def test_few_rows(n_rows):
    assert np.isfinite(small(early_stopping=True).fit_transform(X_TRAIN[:n_rows])).all()


def test_equal_rows():
    assert np.isfinite(small().fit_transform(np.ones((20, 3)))).all()
