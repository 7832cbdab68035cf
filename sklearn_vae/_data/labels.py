"""Class labels, which some rows may lack."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.utils._missing import is_pandas_na
from sklearn.utils.multiclass import check_classification_targets

from sklearn_vae._data.rows import Rows

# Label and class index of rows without a label.
UNLABELLED = -1
# Number of folds that labelled rows are split into: `FEW_SPLITS` if the median of the classes' rows is at least
# `MANY_PER_CLASS`.
SPLITS, FEW_SPLITS, MANY_PER_CLASS = 5, 3, 20
# Probability floor for label spreading. Divided by the number of classes, it is the floor of a class's share.
MIN_PROBABILITY = 1e-3
# A class is rare if its share is surely below this fraction of an equal share.
RARE_SHARE = 0.5
# Accepted types of labels, by the names that error messages use.
KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool, np.bool_), "int": (Integral,), "float": (Real,)}
# Code that error messages suggest: it converts labels to strings, except the number -1, or all labels, including -1,
# to the numbers 0, 1, ...
TO_STRINGS = "np.array([label if label == -1 else str(label) for label in y], dtype=object)"
TO_NUMBERS = "np.unique(y, return_inverse=True)[1]"


def is_unlabelled(y: np.ndarray) -> np.ndarray:
    """Return a mask (n_samples,) of the entries that are the number -1, also in object arrays."""
    if y.dtype.kind == "O":
        return np.array([isinstance(v, Real) and v == UNLABELLED for v in y], dtype=bool)
    if y.dtype.kind in "if":
        return y == UNLABELLED
    return np.zeros(len(y), dtype=bool)


def refuse_missing(y) -> None:
    """Raise ValueError if labels, in any kind of array, include None, NaN or pandas' NA."""
    missing = [label for label in np.asarray(y, dtype=object).ravel() if _is_missing(label)]
    if missing:
        raise ValueError(
            f"expected the integer -1 for unlabelled rows, got {missing[0]!r} for {len(missing)} of them; "
            "for a pandas Series, use y.astype(object).fillna(-1)."
        )


def split_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Separate labelled from unlabelled rows.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)

    Returns
    -------
    labels : ndarray of shape (n_labelled,)
        The labels of the labelled rows. Numbers and booleans in an object array are converted to a numeric or boolean
        array.
    unlabelled : ndarray of shape (n_rows,)
        Whether each row is unlabelled.

    Raises
    ------
    ValueError
        If the string "-1" is among the labels, or an integer needs more than 64 bits.
    TypeError
        If the labels have several types, or are not strings, booleans or numbers.
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
            raise TypeError(f"expected labels of one type in y, got {', '.join(kinds)}; convert them: {TO_STRINGS}.")
        if kinds[0] not in KINDS:
            raise _wrong_kind(kinds[0])
        if kinds != ["str"]:
            labels = np.array(labels.tolist())
        if labels.dtype.kind == "O" and kinds == ["int"]:
            raise ValueError(
                f"expected integer labels of 64 bits, got {max(labels, key=abs)}; convert them: {TO_STRINGS}."
            )
    if labels.dtype.kind in "mMV":
        raise _wrong_kind(str(labels.dtype))
    return labels, unlabelled


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and each row's class index, -1 for unlabelled rows.

    Raises
    ------
    ValueError
        If the entries are not class labels.
    TypeError
        If the labels have several types, or are not strings, booleans or numbers.

    Warns
    -----
    UserWarning
        If there are unlabelled rows and a class below -1, so that -1 may have been meant as a class.
    """
    labels, unlabelled = split_labels(y)
    if len(labels):
        check_classification_targets(labels)
    classes, index = np.unique(labels, return_inverse=True)
    if unlabelled.any() and classes.dtype.kind in "if" and len(classes) and classes[0] < UNLABELLED:
        warnings.warn(
            f"rows with y == -1 are unlabelled, while {classes[0]} is a class; if -1 is meant as a class too, fit on "
            f"{TO_NUMBERS}.",
            stacklevel=6,
        )
    codes = np.full(len(y), UNLABELLED)
    codes[~unlabelled] = index
    return classes, codes


def encode_as(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return each row's index among the classes, -1 for unlabelled rows; raise ValueError for other labels."""
    labels, unlabelled = split_labels(y)
    index = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in labels.tolist() if label not in index]
    if unknown:
        raise ValueError(
            f"expected labels among the classes of the first call, {classes.tolist()!r}, or -1 for unlabelled rows, "
            f"got {unknown[0]!r}; pass all classes in the first call of partial_fit."
        )
    codes = np.full(len(y), UNLABELLED)
    codes[~unlabelled] = [index[label] for label in labels.tolist()]
    return codes


def warn_of_unlabelled(n_unlabelled: int, n_rows: int) -> None:
    """Warn that a score counts unlabelled rows as errors."""
    warnings.warn(
        f"{n_unlabelled} of {n_rows} rows are unlabelled (y == -1), and each counts as an error; score X[y != -1] and "
        f"y[y != -1], and use LabelledKFold in cross-validation. If -1 is meant as a class, fit on {TO_NUMBERS}.",
        stacklevel=3,
    )


def _is_missing(label: object) -> bool:
    """Return whether a label is None, NaN or pandas' NA."""
    return label is None or is_pandas_na(label) or (isinstance(label, Real) and bool(label != label))


def _kind(label: object) -> str:
    """Return the name of a label's type; Python's and numpy's numbers share a name."""
    return next((name for name, kind in KINDS.items() if isinstance(label, kind)), type(label).__name__)


def _wrong_kind(kind: str) -> TypeError:
    return TypeError(f"expected labels that are strings, booleans or integers, got {kind}; convert them: {TO_STRINGS}.")


@dataclass(frozen=True)
class Labels:
    """Labels and weights of rows.

    Attributes
    ----------
    codes : ndarray of shape (n_rows,)
        Class indices; -1 for unlabelled rows.
    class_weight : ndarray of shape (n_rows,)
        Weight of each row's cross-entropy, which depends on its class.
    weight : ndarray of shape (n_rows,)
        Weight of each row in the whole loss.
    n_classes : int
    """

    codes: np.ndarray
    class_weight: np.ndarray
    weight: np.ndarray
    n_classes: int

    @property
    def labelled(self) -> np.ndarray:
        """Indices of the labelled rows."""
        return np.flatnonzero(self.codes != UNLABELLED)

    @property
    def n_rare(self) -> int:
        """Number of classes times the rows of the rarest class; 0 if no class is rare.

        An upper confidence bound of the count decides, so that few labels do not.
        """
        counts = np.bincount(self.codes[self.labelled], minlength=self.n_classes)
        is_rare = self.n_classes * (math.sqrt(counts.min()) + 1) ** 2 < RARE_SHARE * counts.sum()
        return int(self.n_classes * counts.min()) if is_rare else 0

    def of(self, rows: Rows) -> Rows:
        """Return the rows with these labels as targets."""
        return rows.with_classes(self.codes, self.class_weight, self.n_classes)

    def truth(self, index: np.ndarray) -> sparse.csr_array:
        """Return one-hot classes times all weights for the labelled rows at `index`, (n_selected, n_classes)."""
        weight, n = self.class_weight[index] * self.weight[index], len(index)
        return sparse.csr_array((weight, self.codes[index], np.arange(n + 1)), shape=(n, self.n_classes))

    @property
    def log_prior(self) -> np.ndarray:
        """Log of each class's weighted share of the labelled rows, (n_classes,)."""
        labelled = self.labelled
        weight = np.bincount(
            self.codes[labelled], self.class_weight[labelled] * self.weight[labelled], minlength=self.n_classes
        )
        # A class whose rows have almost no weight stays possible.
        return np.log((weight / weight.sum()).clip(MIN_PROBABILITY / self.n_classes))

    def folds(self, seed: int) -> list[np.ndarray]:
        """Return disjoint folds of the labelled rows, as arrays of indices, for out-of-fold predictions.

        Each class is spread evenly over the folds. A class's only row is in no fold.
        """
        codes = self.codes[self.labelled]
        counts = np.bincount(codes, minlength=self.n_classes)
        index = np.random.RandomState(seed).permutation(self.labelled[counts[codes] > 1])
        index = index[np.argsort(self.codes[index], kind="stable")]
        # With more folds than labels per class, the classes of a fold would have fewer labels left than the others.
        n_per_class = int(np.median(counts[counts > 1])) if len(index) else 0
        n_splits = min(n_per_class, FEW_SPLITS if n_per_class >= MANY_PER_CLASS else SPLITS)
        return [index[i::n_splits] for i in range(n_splits)]

    def evaluated(self, seed: int) -> np.ndarray:
        """Return the indices of all folds, fold after fold."""
        return np.concatenate([np.zeros(0, dtype=int), *self.folds(seed)])

    def without(self, index: np.ndarray) -> Labels:
        """Return a copy of these labels in which the rows at `index` are unlabelled."""
        codes = self.codes.copy()
        codes[index] = UNLABELLED
        return replace(self, codes=codes)
