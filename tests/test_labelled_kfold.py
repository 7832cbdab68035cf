"""LabelledKFold: test folds of labelled rows, training parts with every unlabelled one."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from sklearn_vae import LabelledKFold, VAEClassifier

CODES = np.array([0, 1, 2, -1, -1] * 12)
NAMES = np.array(["ant", "bee", "cat", -1], dtype=object)[CODES]
LABELS = [
    CODES,
    CODES.astype(float),
    CODES.astype(object),
    CODES.astype(float).astype(object),
    NAMES,
    pd.Series(NAMES),
    pd.Series(CODES, index=np.arange(60)[::-1]),
    pd.Series(NAMES).astype("category"),
]
over_labels = pytest.mark.parametrize("y", LABELS, ids=lambda y: f"{type(y).__name__}-{y.dtype}")


@over_labels
@pytest.mark.parametrize("params", [{}, {"n_splits": 3}, {"n_splits": 4, "shuffle": True, "random_state": 0}], ids=str)
def test_labelled_k_fold_tests_each_labelled_row_once(y, params):
    folds = LabelledKFold(**params)
    parts = list(folds.split(np.zeros((60, 2)), y))
    assert len(parts) == folds.get_n_splits() == params.get("n_splits", 5)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in parts])), np.flatnonzero(CODES >= 0))
    for train, test in parts:
        assert set(np.flatnonzero(CODES < 0)) <= set(train)
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(60))


@over_labels
def test_labelled_k_fold_spreads_classes_evenly(y):
    for _, test in LabelledKFold(4).split(np.zeros((60, 2)), y):
        np.testing.assert_array_equal(np.bincount(CODES[test]), [3, 3, 3])


@pytest.mark.parametrize("shuffle", [False, True])
def test_labelled_k_fold_without_unlabelled_rows_is_stratified(shuffle):
    y, random_state = CODES[CODES >= 0], 0 if shuffle else None
    X = np.zeros((len(y), 1))
    pairs = (cls(3, shuffle=shuffle, random_state=random_state).split(X, y) for cls in (LabelledKFold, StratifiedKFold))
    for ours, expected in zip(*pairs, strict=True):
        np.testing.assert_array_equal(ours[0], expected[0])
        np.testing.assert_array_equal(ours[1], expected[1])


def test_labelled_k_fold_follows_its_random_state():
    X = np.zeros((60, 1))
    first, again, other = (
        [test.tolist() for _, test in LabelledKFold(3, shuffle=True, random_state=seed).split(X, CODES)]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_labelled_k_fold_is_judged_by_labelled_rows_alone():
    """A classifier that is always right scores 1; with scikit-learn's folds, rows with -1 count as errors."""
    X = np.eye(3)[CODES] * (CODES >= 0)[:, None]

    class Known(LogisticRegression):
        def fit(self, X, y):
            return super().fit(X[y >= 0], y[y >= 0])

    assert cross_val_score(Known(), X, CODES, cv=LabelledKFold(3)).tolist() == [1, 1, 1]
    assert max(cross_val_score(Known(), X, CODES, cv=StratifiedKFold(3))) < 1


@pytest.mark.parametrize("n_splits", [1, 0, 2.5, "3"])
def test_labelled_k_fold_with_a_wrong_number_of_folds(n_splits):
    with pytest.raises((ValueError, TypeError), match="n_splits|number of folds"):
        list(LabelledKFold(n_splits).split(np.zeros((60, 1)), CODES))


def test_labelled_k_fold_with_missing_labels():
    with pytest.raises(ValueError, match="expected the integer -1 for unlabelled rows, got nan for 24 of them"):
        list(LabelledKFold(2).split(np.zeros((60, 1)), np.where(CODES < 0, np.nan, CODES)))


@pytest.mark.parametrize("n_labels", [0, 2])
def test_labelled_k_fold_with_fewer_labelled_rows_than_folds(n_labels):
    y = np.r_[np.arange(n_labels), np.full(60 - n_labels, -1)]
    with pytest.raises(ValueError, match=f"expected at least n_splits=5 labelled rows, got {n_labels} of 60 rows"):
        list(LabelledKFold().split(np.zeros((60, 1)), y))


def test_labelled_k_fold_with_more_folds_than_labels():
    with pytest.raises(ValueError, match="n_splits=13 cannot be greater than the number of members in each class"):
        list(LabelledKFold(13).split(np.zeros((60, 1)), CODES))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((9, 1)), CODES, "inconsistent numbers of samples"),
        (np.zeros((60, 1)), np.full(60, -1), "label|sample"),
        (np.zeros((60, 1)), np.c_[CODES, CODES], "1d array"),
    ],
)
def test_labelled_k_fold_with_wrong_labels(X, y, message):
    with pytest.raises(ValueError, match=message):
        list(LabelledKFold(3).split(X, y))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.where(CODES < 0, "-1", NAMES.astype(str)), ValueError, "got the string '-1'"),
        (NAMES.tolist(), ValueError, "got the string '-1'"),
        (np.where(np.arange(60) == 0, 7, NAMES), TypeError, "labels of one type in y, got int, str"),
    ],
    ids=["strings", "list", "types"],
)
def test_labelled_k_fold_refuses_labels_that_fit_refuses(y, error, message):
    X = np.random.default_rng(0).normal(size=(60, 2))
    for use in (lambda: list(LabelledKFold(2).split(X, y)), lambda: VAEClassifier(max_iter=1).fit(X, y)):
        with pytest.raises(error, match=message):
            use()
