"""Neighbours for label spreading that are searched in the codes of a model without labels."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from sklearn_vae import VAEClassifier
from sklearn_vae._semi_supervised import graph
from sklearn_vae._training import recipe
from sklearn_vae._training.fit import FitProcedure

ONE_A_DIGIT = 10
TWO_A_DIGIT = 20


@pytest.fixture
def digits():
    """1000 rows of digits, in which the first ones have each digit once, then twice."""
    X, y = load_digits(return_X_y=True)
    return X[:1000].astype(np.float32), y[:1000]


@pytest.fixture
def many_rows(monkeypatch):
    """1000 rows count as many."""
    monkeypatch.setattr(recipe, "MAX_SMALL_ROWS", 500)


@pytest.fixture
def runs(monkeypatch):
    """Procedure, name and result of each training run."""
    runs, train = [], FitProcedure.train

    def spy(self, rows, *args, name="fit", **kwargs):
        result = train(self, rows, *args, name=name, **kwargs)
        runs.append((self, name, result))
        return result

    monkeypatch.setattr(FitProcedure, "train", spy)
    return runs


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
    return VAEClassifier(4, **{"hidden_layer_sizes": (32, 32), "max_iter": 2, "random_state": 0, **params})


def few_labels(y, n):
    return np.where(np.arange(len(y)) < n, y, -1)


@pytest.mark.parametrize("max_columns, n_coordinates", [(63, 20), (64, 32)])
def test_codes_are_compared_if_there_are_many_rows_and_columns(
    digits, many_rows, monkeypatch, compared, max_columns, n_coordinates
):
    monkeypatch.setattr(recipe, "MAX_COMPARED_COLUMNS", max_columns)
    X, y = digits
    classifier().fit(X, few_labels(y, ONE_A_DIGIT))
    assert {x.shape for x in compared} == {(1000, n_coordinates)}


def test_codes_do_not_depend_on_labels(digits, many_rows, compared):
    X, y = digits
    other = np.random.RandomState(0).permutation(10)[y]
    for labels in (few_labels(y, ONE_A_DIGIT), few_labels(other, TWO_A_DIGIT)):
        classifier().fit(X, labels)
    first, last = compared
    np.testing.assert_array_equal(first, last)


def test_small_tables_compare_columns(digits, compared, runs):
    X, y = digits
    classifier().fit(X, few_labels(y, ONE_A_DIGIT))
    assert [x.shape for x in compared] == [(1000, 32)]
    assert "codes" not in [name for _, name, _ in runs]


def test_one_label_of_a_class_suffices_for_clusters_of_codes(digits, many_rows, runs):
    """Most digits are clusters: training on them corrects pseudo-labels, without being surer than they are."""
    X, y = digits
    few = few_labels(y, ONE_A_DIGIT)
    vae = VAEClassifier(batch_size=64, max_iter=60, random_state=0).fit(X, few)
    final, names = runs[-1][0], [name for _, name, _ in runs]
    assert names[:3] == ["codes", "labelled rows", "fit"]
    assert final.recipe.targets_fade
    unlabelled = few == -1
    P = vae.predict_proba(X[unlabelled])
    accuracy = np.mean(P.argmax(1) == y[unlabelled])
    nearest = KNeighborsClassifier(1).fit(X[~unlabelled], y[~unlabelled]).score(X[unlabelled], y[unlabelled])
    assert accuracy > nearest + 0.1
    assert P.max(1).mean() < accuracy
