"""Labels of any type and number that VAEClassifier takes, and -1 for rows without one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_blobs
from small_estimators import CLASS, NAMES, marked
from small_estimators import small_classifier as small


@pytest.mark.parametrize(
    "y",
    [
        NAMES[CLASS],
        NAMES[CLASS].astype(object),
        NAMES[CLASS].tolist(),
        pd.Series(NAMES[CLASS]),
        pd.Series(NAMES[CLASS], index=np.arange(150)[::-1]),
        pd.Series(NAMES[CLASS], dtype="category"),
        pd.Categorical(NAMES[CLASS], categories=["cat", "bee", "ant", "dog"]),
        CLASS.astype(np.uint8),
        CLASS.astype(float),
        CLASS.astype(object),
        pd.Series(CLASS, dtype="Int64"),
        10 * CLASS - 7,
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}",
)
def test_classifier_takes_labels_of_any_kind(iris, y):
    vae = small().fit(iris, y)
    classes = np.unique(np.asarray(y))
    np.testing.assert_array_equal(vae.classes_, classes)
    np.testing.assert_array_equal(vae.predict_proba(iris), small().fit(iris, CLASS).predict_proba(iris))
    assert set(vae.predict(iris)) <= set(classes) and vae.predict(iris).dtype == vae.classes_.dtype


@pytest.mark.parametrize(
    "y",
    [
        marked(CLASS, dtype=int),
        marked(CLASS, dtype=np.int8),
        marked(CLASS, dtype=float),
        marked(CLASS),
        marked(CLASS.astype(float)),
        marked(NAMES[CLASS]),
        pd.Series(marked(NAMES[CLASS])),
        pd.Series(marked(NAMES[CLASS])).astype("category"),
        pd.Series(marked(CLASS, dtype=int), dtype="Int64"),
        marked(5 * CLASS + 7, dtype=int),
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}",
)
def test_classifier_takes_minus_one_as_no_label(iris, y):
    vae = small().fit(iris, y)
    assert len(vae.classes_) == 3 and -1 not in vae.classes_.tolist()
    expected = small().fit(iris, marked(CLASS, dtype=int)).predict_proba(iris)
    np.testing.assert_array_equal(vae.predict_proba(iris), expected)
    assert -1 not in vae.predict(iris).tolist()
    assert -1 not in vae.sample(50)[1].tolist()


@pytest.mark.parametrize("y", [CLASS > 0, (CLASS > 0).astype(object), marked((CLASS > 0).tolist())], ids=str)
def test_classifier_takes_booleans(iris, y):
    vae = small().fit(iris, y)
    assert vae.classes_.tolist() == [False, True] and vae.classes_.dtype == bool
    assert vae.predict(iris).dtype == bool and vae.sample(3, y=True)[1].tolist() == [True] * 3


def test_classifier_classes_are_sorted_and_columns_follow(iris):
    y = np.array(["zebra", "ant", "mole"])[CLASS]
    vae = small(max_iter=30).fit(iris, y)
    assert vae.classes_.tolist() == ["ant", "mole", "zebra"]
    assert (vae.classes_[vae.predict_proba(iris).argmax(1)] == y).mean() > 0.9
    assert vae.score(iris, y) > 0.9


@pytest.mark.parametrize("n_classes", [2, 7])
def test_classifier_learns_any_number_of_classes(n_classes):
    X, y = make_blobs(40 * n_classes, 4, centers=n_classes, cluster_std=0.5, random_state=0)
    vae = small(max_iter=40, hidden_layer_sizes=(32,)).fit(X[::2], y[::2])
    assert vae.predict_proba(X).shape == (len(X), n_classes)
    assert vae.score(X[1::2], y[1::2]) > 0.95
