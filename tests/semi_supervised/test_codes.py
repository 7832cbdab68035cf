"""Neighbours for label spreading that are searched in the codes of a model without labels."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._semi_supervised import graph
from sklearn_vae._training import recipe
from sklearn_vae._training.recipe import CodeRules
from sklearn_vae.networks import Conv, Modules
from sklearn_vae.objectives import ELBO

ONE_A_DIGIT, TWO_A_DIGIT = 10, 20


@pytest.fixture
def digits():
    """1000 rows of digits. The first ones have each digit once, then twice."""
    X, y = load_digits(return_X_y=True)
    return X[:1000].astype(np.float32), y[:1000]


@pytest.fixture
def many_rows(monkeypatch):
    """1000 rows count as many."""
    monkeypatch.setattr(recipe, "MAX_SMALL_ROWS", 500)


@pytest.fixture
def compared(monkeypatch):
    """The rows' coordinates in each search for neighbours."""
    compared, search = [], graph.nearest_neighbors

    def spy(X, *args):
        compared.append(X)
        return search(X, *args)

    monkeypatch.setattr(graph, "nearest_neighbors", spy)
    return compared


def classifier(**params):
    return VAEClassifier(**{"n_components": 4, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0, **params})


def few_labels(y, n):
    return np.where(np.arange(len(y)) < n, y, -1)


@pytest.mark.parametrize("max_columns, n_coordinates", [(63, 20), (64, 32)])
def test_codes_are_compared_if_there_are_many_rows_and_columns(
    digits, many_rows, monkeypatch, compared, max_columns, n_coordinates
):
    monkeypatch.setattr(recipe, "MAX_COMPARED_COLUMNS", max_columns)
    X, y = digits
    classifier().fit(X, few_labels(y, ONE_A_DIGIT))
    assert [x.shape for x in compared] == [(1000, n_coordinates)]


def test_few_rows_compare_columns(digits, compared, runs):
    X, y = digits
    classifier().fit(X, few_labels(y, ONE_A_DIGIT))
    assert [x.shape for x in compared] == [(1000, 32)]
    assert "codes" not in [run.name for run in runs]


def test_no_codes_are_trained_without_label_spreading(digits, many_rows, runs):
    X, y = digits
    classifier(unlabelled="ignore").fit(X, few_labels(y, TWO_A_DIGIT))
    classifier().fit(X, y)
    assert "codes" not in [run.name for run in runs]


def test_codes_do_not_depend_on_labels(digits, many_rows, compared):
    X, y = digits
    other = np.random.RandomState(0).permutation(10)[y]
    for labels in (few_labels(y, ONE_A_DIGIT), few_labels(other, TWO_A_DIGIT)):
        classifier().fit(X, labels)
    first, last = compared
    np.testing.assert_array_equal(first, last)


def fixed_modules():
    """Modules of the classifier's number of components."""
    from torch import nn

    return Modules(nn.Sequential(nn.Linear(64, 8), nn.ReLU()), nn.Linear(4, 64))


@pytest.mark.parametrize(
    "params",
    [
        {"beta": 100.0},
        {"generative_weight": 0.0},
        {"objective": "autoencoder"},
        {"objective": "neighbors"},
        {"network": Conv((8, 8))},
        {"network": fixed_modules()},
        {"init": "random"},
        {"prior": "vamp"},
        {"input_noise": 2.0, "learning_rate_init": 1e-5, "alpha": 10.0, "batch_size": 900},
    ],
    ids=lambda params: ",".join(params),
)
def test_codes_are_those_of_the_defaults(digits, many_rows, compared, params):
    """Parameters of the classifier are meant for its own model, whose generative loss has a small weight."""
    X, y = digits
    for classified in (classifier(), classifier(**params)):
        classified.fit(X, few_labels(y, ONE_A_DIGIT))
    default, other = compared
    np.testing.assert_array_equal(other, default)


@pytest.mark.parametrize("max_iter, n_epochs", [(2, 2), (1000, 30)])
def test_codes_train_no_longer_than_asked_for(digits, many_rows, monkeypatch, runs, max_iter, n_epochs):
    class Enough(Exception):
        pass

    def stop(*args):
        raise Enough

    monkeypatch.setattr(graph, "nearest_neighbors", stop)
    X, y = digits
    with pytest.raises(Enough):
        classifier(max_iter=max_iter).fit(X, few_labels(y, ONE_A_DIGIT))
    assert [run.name for run in runs] == ["codes"] and runs[0].result.n_epochs == n_epochs


def test_codes_are_those_of_a_noisy_normalised_transformer(digits, many_rows, runs):
    X, y = digits
    classifier().fit(X, few_labels(y, ONE_A_DIGIT))
    procedure, rules = runs[0].procedure, CodeRules(len(X))
    assert isinstance(procedure.architecture.objective, ELBO) and not procedure.architecture.n_classes
    assert procedure.architecture.network.layer_norm is True
    assert procedure.recipe.input_noise == 0.5
    assert rules.recipe() == VAETransformer()._recipe(rules)


def share_of_one_class(Z, y):
    nearest = KNeighborsClassifier(10).fit(Z, y).kneighbors(return_distance=False)
    return np.mean(y[nearest] == y[:, None])


def test_neighbours_by_codes_are_of_one_class(digits, many_rows, compared):
    """Codes are in units of the data. With equal variances, those that matter less would count as much."""
    X, y = digits
    classifier(max_iter=30).fit(X, few_labels(y, ONE_A_DIGIT))
    (codes,) = compared
    assert share_of_one_class(codes, y) > max(0.94, share_of_one_class(codes / codes.std(0), y))


def test_one_label_of_each_class_suffices_for_clusters_of_codes(digits, many_rows, runs):
    """Most digits are clusters: training on them corrects pseudo-labels, and is not surer than they are."""
    X, y = digits
    few = few_labels(y, ONE_A_DIGIT)
    vae = VAEClassifier(batch_size=64, max_iter=60, random_state=0).fit(X, few)
    assert [run.name for run in runs] == ["codes", "labelled rows", "fit"]
    assert runs[-1].procedure.recipe.targets_fade
    unlabelled = few == -1
    P = vae.predict_proba(X[unlabelled])
    accuracy = np.mean(P.argmax(1) == y[unlabelled])
    nearest = KNeighborsClassifier(1).fit(X[~unlabelled], y[~unlabelled]).score(X[unlabelled], y[unlabelled])
    assert accuracy > nearest + 0.1
    assert P.max(1).mean() < accuracy
