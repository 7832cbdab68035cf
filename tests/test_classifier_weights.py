"""Sample weights and class weights of VAEClassifier."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import recall_score
from small_estimators import CLASS, METHODS, NAMES, marked
from small_estimators import small_classifier as small


def test_classifier_rows_of_weight_zero_are_as_good_as_removed(iris):
    kept = np.random.default_rng(0).random(150) < 0.7
    y = marked(CLASS, dtype=int)
    zero, removed = small().fit(iris, y, sample_weight=kept), small().fit(iris[kept], y[kept])
    for method in METHODS:
        np.testing.assert_allclose(
            getattr(zero, method)(iris), getattr(removed, method)(iris), rtol=1e-4, atol=1e-5, err_msg=method
        )


def test_classifier_classes_of_weight_zero_are_no_classes(iris):
    vae = small().fit(iris, NAMES[CLASS], sample_weight=CLASS < 2)
    assert vae.classes_.tolist() == ["ant", "bee"]


def test_classifier_equal_weights_change_nothing(iris):
    plain, weighted = small().fit(iris, CLASS), small().fit(iris, CLASS, sample_weight=np.full(150, 3.0))
    np.testing.assert_array_equal(plain.predict_proba(iris), weighted.predict_proba(iris))


@pytest.fixture(scope="module")
def rare():
    """Two classes that overlap; one row in ten is of class 1. Training rows, then others."""
    rng = np.random.default_rng(0)
    y = (np.arange(1000) % 10 == 0).astype(int)
    X = rng.normal(size=(1000, 3)) + 1.2 * y[:, None]
    return X[:300], y[:300], X[300:], y[300:]


@pytest.mark.parametrize("weigh", ["balanced", "dict", "sample_weight"])
def test_classifier_weights_raise_the_recall_of_a_rare_class(rare, weigh):
    X, y, X_test, y_test = rare
    vae = small(max_iter=12)
    plain = recall_score(y_test, clone(vae).fit(X, y).predict(X_test))
    weight = np.where(y == 1, 9.0, 1.0) if weigh == "sample_weight" else None
    if weight is None:
        vae.set_params(class_weight="balanced" if weigh == "balanced" else {1: 9.0})
    assert recall_score(y_test, vae.fit(X, y, sample_weight=weight).predict(X_test)) > plain + 0.15


def test_classifier_sample_weights_of_classes_are_class_weights(rare):
    X, y, X_test, _ = rare
    by_class = small(class_weight={1: 4.0}).fit(X, y).predict_proba(X_test)
    by_row = small().fit(X, y, sample_weight=np.where(y == 1, 4.0, 1.0)).predict_proba(X_test)
    assert np.abs(by_class - by_row).mean() < 0.05


def test_classifier_class_weights_take_labels_of_strings(rare):
    X, y, X_test, _ = rare
    by_code = small(class_weight={0: 1.0, 1: 5.0}).fit(X, y).predict_proba(X_test)
    by_name = small(class_weight={"no": 1.0, "yes": 5.0}).fit(X, np.array(["no", "yes"])[y]).predict_proba(X_test)
    np.testing.assert_array_equal(by_code, by_name)


def test_classifier_class_weights_count_labelled_rows_alone(iris):
    """Classes with equally many labels are balanced, however many rows are unlabelled."""
    y = marked(CLASS, dtype=int)
    plain, balanced = (small(class_weight=weight).fit(iris, y) for weight in (None, "balanced"))
    np.testing.assert_allclose(plain.predict_proba(iris), balanced.predict_proba(iris), atol=1e-6)
