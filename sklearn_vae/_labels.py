"""Class labels, some of which may be missing."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

UNLABELLED = -1


def is_unlabelled(y: np.ndarray) -> np.ndarray:
    """Return whether each entry is the number -1, (n_samples,); in object arrays too."""
    if y.dtype.kind == "O":
        return np.array([isinstance(v, Real) and v == UNLABELLED for v in y], dtype=bool)
    if y.dtype.kind in "if":
        return y == UNLABELLED
    return np.zeros(len(y), dtype=bool)


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and each row's index among them, -1 for unlabelled rows.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or the entries are not labels.
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
    if len(labels) == 0:
        raise ValueError(
            f"expected labels of at least two classes in y, got no label at all: all {len(y)} rows are "
            "unlabelled (-1); use VAETransformer for rows without labels."
        )
    if labels.dtype.kind == "O":
        kinds = sorted({"str" if isinstance(v, str) else type(v).__name__ for v in labels})
        if len(kinds) > 1:
            raise TypeError(
                f"expected labels of one type in y, got {', '.join(kinds)}; convert them, for example by y.astype(str)."
            )
        if kinds != ["str"]:
            labels = np.array(labels.tolist())
    check_classification_targets(labels)
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"expected labels of at least two classes in y, got 1 class, {classes[0]!r}.")
    codes = np.full(len(y), UNLABELLED)
    codes[~unlabelled] = index
    return classes, codes
