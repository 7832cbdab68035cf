"""Class labels, some of which may be missing."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils._missing import is_pandas_na
from sklearn.utils.multiclass import check_classification_targets

UNLABELLED = -1


def is_unlabelled(y: np.ndarray) -> np.ndarray:
    """Return whether each entry is the number -1, (n_samples,); in object arrays too."""
    if y.dtype.kind == "O":
        return np.array([isinstance(v, Real) and v == UNLABELLED for v in y], dtype=bool)
    if y.dtype.kind in "if":
        return y == UNLABELLED
    return np.zeros(len(y), dtype=bool)


def refuse_missing(y) -> None:
    """Raise ValueError if labels, of any kind of array, have None, NaN or pandas' NA among them."""
    missing = [label for label in np.asarray(y, dtype=object).ravel() if _is_missing(label)]
    if missing:
        raise ValueError(
            f"expected the integer -1 for unlabelled rows, got {missing[0]!r} for {len(missing)} of them; "
            "in a pandas Series y.astype(object).fillna(-1) replaces it."
        )


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and each row's index among them, -1 for unlabelled rows.

    Raises
    ------
    ValueError
        If the entries are not labels.
    TypeError
        If labels of several types cannot be compared.
    """
    if y.dtype.kind in "USO" and (y == str(UNLABELLED)).any():
        raise ValueError(
            "expected the integer -1 for unlabelled rows, got the string '-1'; "
            "use an array of dtype object for strings with -1 among them."
        )
    unlabelled = is_unlabelled(y)
    labels = y[~unlabelled]
    if labels.dtype.kind == "O" and len(labels):
        kinds = sorted({_kind(label) for label in labels})
        if len(kinds) > 1:
            raise TypeError(
                f"expected labels of one type in y, got {', '.join(kinds)}; convert them, for example by y.astype(str)."
            )
        if kinds != ["str"]:
            labels = np.array(labels.tolist())
    if len(labels):
        check_classification_targets(labels)
    classes, index = np.unique(labels, return_inverse=True)
    codes = np.full(len(y), UNLABELLED)
    codes[~unlabelled] = index
    return classes, codes


def _is_missing(label: object) -> bool:
    """Whether it is None, pandas' NA or NaN."""
    return label is None or is_pandas_na(label) or (isinstance(label, Real) and bool(label != label))


def _kind(label: object) -> str:
    """Name the kind of a label; numbers of python and numpy are of one kind."""
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool, np.bool_), "int": (Integral,), "float": (Real,)}
    return next((name for name, kind in kinds.items() if isinstance(label, kind)), type(label).__name__)
