"""Stratified cross-validation for partially labelled data."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.utils import indexable
from sklearn.utils.validation import column_or_1d

from sklearn_vae._data.labels import refuse_missing, split_labels


class LabelledKFold(BaseCrossValidator):
    """Stratified k-fold cross-validator for partially labelled data.

    Rows with ``y == -1`` are unlabelled. Every training set contains all unlabelled rows, and
    test sets contain labelled rows only, so that every scorer of scikit-learn can be used.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds. Must be at least 2.
    shuffle : bool, default=False
        Whether to shuffle the labelled rows of each class before splitting.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling. Used only with shuffle=True.

    See Also
    --------
    sklearn.model_selection.StratifiedKFold : Stratified folds for fully labelled data.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_vae import LabelledKFold
    >>> y = np.array([0, 1, -1, 0, 1, -1])
    >>> for train, test in LabelledKFold(n_splits=2).split(np.zeros((6, 1)), y):
    ...     print(train, test)
    [2 3 4 5] [0 1]
    [0 1 2 5] [3 4]
    """

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        n_splits : int
            Number of folds.
        """
        return self.n_splits

    def split(self, X, y, groups=None):
        """Yield the indices of training and test rows for each fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. Only their number is used.
        y : array-like of shape (n_samples,)
            Labels; -1 marks an unlabelled row.
        groups : object
            Ignored.

        Yields
        ------
        train : ndarray
            Sorted indices of all unlabelled rows and of the labelled rows outside the fold.
        test : ndarray
            Sorted indices of the labelled rows in the fold.

        Raises
        ------
        ValueError
            If every class has fewer labelled rows than there are folds, or a label is None, NaN or the string "-1".
        TypeError
            If labels are of several types, or are neither strings nor booleans nor numbers.
        """
        X, y = indexable(X, y)
        refuse_missing(y)
        labels, unlabelled = split_labels(column_or_1d(y))
        labelled = np.flatnonzero(~unlabelled)
        folds = StratifiedKFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        if len(labelled) < self.n_splits:
            raise ValueError(
                f"expected at least n_splits={self.n_splits} labelled rows, got {len(labelled)} of "
                f"{len(unlabelled)} rows."
            )
        for _, test in folds.split(labelled, labels):
            is_test = np.zeros(len(unlabelled), dtype=bool)
            is_test[labelled[test]] = True
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)
