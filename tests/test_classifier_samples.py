"""Samples of VAEClassifier, of all classes by their prior or of given ones."""

import numpy as np
import pandas as pd
import pytest
from small_estimators import CLASS, NAMES
from small_estimators import small_classifier as small


def test_classifier_sample_gives_rows_and_labels(trained):
    X, y = trained.sample(40)
    assert X.shape == (40, 4) and np.isfinite(X).all()
    assert y.shape == (40,) and set(y) == set(NAMES) and y.dtype == trained.classes_.dtype
    X, y = trained.sample()
    assert X.shape == (1, 4) and y.shape == (1,)


@pytest.mark.parametrize("label", NAMES)
def test_classifier_sample_of_a_class(trained, iris, label):
    X, y = trained.sample(300, y=label)
    assert y.tolist() == [label] * 300
    assert (trained.predict(X) == label).mean() > 0.75
    np.testing.assert_allclose(X.mean(0), iris[NAMES.tolist().index(label) == CLASS].mean(0), atol=0.6)


@pytest.mark.parametrize("container", [list, np.array, pd.Series, lambda y: np.array(y, dtype=object)])
@pytest.mark.parametrize("n_samples", [1, 6])
def test_classifier_sample_of_each_label(trained, container, n_samples):
    wanted = ["cat", "ant", "ant", "bee", "cat", "ant"]
    X, y = trained.sample(n_samples, y=container(wanted))
    assert X.shape == (6, 4) and y.tolist() == wanted


def test_classifier_sample_of_each_label_is_in_order(trained, iris):
    X, y = trained.sample(y=NAMES[CLASS])
    assert (y == NAMES[CLASS]).all()
    assert np.corrcoef(X[:, 2], iris[:, 2])[0, 1] > 0.8


def test_classifier_sample_follows_its_random_state(trained):
    first, again, other = (trained.sample(20, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.allclose(first[0], other[0])
    np.testing.assert_array_equal(trained.sample(5)[0], trained.sample(5)[0])


def test_classifier_samples_classes_by_their_prior(iris):
    """The shares are those of all rows, labelled or not: 100 of class 0, 25 of each other class."""
    rows = np.r_[0:50, 0:50, 50:75, 100:125]
    vae = small(max_iter=30).fit(iris[rows], CLASS[rows])
    np.testing.assert_allclose(vae.class_prior_, [4 / 6, 1 / 6, 1 / 6])
    _, y = vae.sample(6000, random_state=0)
    np.testing.assert_allclose(np.bincount(y) / 6000, vae.class_prior_, atol=0.03)


def test_classifier_prior_of_classes_is_weighted(iris):
    vae = small().fit(iris, CLASS, sample_weight=np.array([4.0, 1.0, 1.0])[CLASS])
    np.testing.assert_allclose(vae.class_prior_, [4 / 6, 1 / 6, 1 / 6], atol=1e-6)
