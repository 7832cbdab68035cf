"""Classifiers of few labelled rows, and the effect of unlabelled ones."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification, make_moons
from sklearn.metrics import balanced_accuracy_score
from small_estimators import CLASS, marked
from small_estimators import small_classifier as small


@pytest.mark.parametrize("rows", [[0, 50, 100], [0, 1, 2, 3, 50, 51, 100], [0, 50, 51, 52, 100, 101]], ids=str)
def test_classifier_takes_classes_with_one_labelled_row(iris, rows):
    vae = small(max_iter=30).fit(iris, marked(CLASS, np.isin(np.arange(150), rows), dtype=int))
    assert vae.classes_.tolist() == [0, 1, 2]
    assert balanced_accuracy_score(CLASS, vae.predict(iris)) > 0.6
    assert (vae.class_prior_ > 0).all() and set(vae.sample(200)[1]) == {0, 1, 2}


def test_classifier_learns_digits_from_ten_labels():
    X, digit = load_digits(return_X_y=True)
    X, digit = X[:600], digit[:600]
    y = np.full(600, -1)
    first = [np.flatnonzero(digit == k)[0] for k in range(10)]
    y[first] = digit[first]
    vae = small(8, hidden_layer_sizes=(64,), max_iter=15, learning_rate_init=5e-3).fit(X, y)
    unseen = y < 0
    assert vae.score(X[unseen], digit[unseen]) > 0.55


def test_classifier_with_all_rows_labelled_has_nothing_to_spread(iris):
    p = small().fit(iris, CLASS).predict_proba(iris)
    for params in ({"unlabelled": "ignore"}, {"n_neighbors": 3}):
        np.testing.assert_array_equal(small(**params).fit(iris, CLASS).predict_proba(iris), p)


def test_classifier_that_ignores_unlabelled_rows_asks_no_neighbours(iris):
    y = marked(CLASS, dtype=int)
    p, q, r = (
        small(unlabelled=value, n_neighbors=n).fit(iris, y).predict_proba(iris)
        for value, n in (("ignore", 10), ("ignore", 3), ("auto", 3))
    )
    np.testing.assert_array_equal(p, q)
    assert not np.allclose(p, r)


def test_classifier_learns_moons_from_unlabelled_rows():
    """Five labels per moon; a network trained on these labels alone cannot find the moons."""
    with_rows, without = [], []
    for seed in range(2):
        X, y = make_moons(200, noise=0.05, random_state=seed)
        known = np.concatenate([np.random.default_rng(seed).permutation(np.flatnonzero(y == k))[:5] for k in (0, 1)])
        labels = np.full(200, -1)
        labels[known] = y[known]
        vae = small(hidden_layer_sizes=(32,), max_iter=60)
        with_rows.append(clone(vae).fit(X, labels).score(X, y))
        without.append(clone(vae).fit(X[known], y[known]).score(X, y))
    assert np.mean(with_rows) > np.mean(without) + 0.04 and np.mean(with_rows) > 0.9


def test_classifier_is_not_hurt_by_unlabelled_rows_that_say_nothing():
    """A row's neighbours belong to its class no more often than other rows do."""
    differences = []
    for seed in range(2):
        X, y = make_classification(
            300,
            20,
            n_informative=2,
            n_redundant=0,
            class_sep=0.8,
            flip_y=0.1,
            n_clusters_per_class=1,
            random_state=seed,
        )
        labels = np.where(np.arange(300) < 60, y, -1)
        vae = small(hidden_layer_sizes=(16,), max_iter=20)
        with_rows, without = clone(vae).fit(X, labels), clone(vae).fit(X[:60], y[:60])
        differences.append(with_rows.score(X[60:], y[60:]) - without.score(X[60:], y[60:]))
    assert np.mean(differences) > -0.03
