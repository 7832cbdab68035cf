"""Associations between the columns of a table, from 0 to 1, for numbers and categories alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import rankdata
from scipy.stats.contingency import association


def associations(columns: Sequence[np.ndarray], is_category: Sequence[bool]) -> np.ndarray:
    r"""Return the association of each pair of columns.

    It is Spearman's :math:`|\rho|` of two numbers, the correlation ratio :math:`\eta` of the ranks of a number and a
    category, the root of the share of their variance between the categories, and Cramér's V of two categories. All
    three are 0 if the columns of a large table are independent, and 1 if one is a (monotonic) function of the other
    [1]_. They are defined by

    .. math:: \eta^2 = \frac{\sum_k n_k (\bar r_k - \bar r)^2}{\sum_i (r_i - \bar r)^2}, \qquad
       V^2 = \frac{\chi^2}{n \min(K - 1, L - 1)}.

    Parameters
    ----------
    columns : sequence of ndarray of shape (n_rows,)
        Numbers, or codes 0, 1, ... of categories; NaN for missing cells, which are left out pair by pair.
    is_category : sequence of bool

    Returns
    -------
    associations : ndarray of shape (n_columns, n_columns)
        Symmetric, with ones in the diagonal. 0 if a column is constant, and NaN if no row has both cells.

    References
    ----------
    .. [1] A. Agresti (2013). Categorical Data Analysis. Wiley.
    """
    ranks = [
        column if own or np.isnan(column).any() else rankdata(column)
        for column, own in zip(columns, is_category, strict=True)
    ]
    matrix = np.eye(len(columns))
    for i, j in combinations(range(len(columns)), 2):
        observed = ~(np.isnan(ranks[i]) | np.isnan(ranks[j]))
        a, b = (i, j) if is_category[i] else (j, i)
        own = ranks[a][observed], ranks[b][observed]
        matrix[i, j] = matrix[j, i] = _association(*own, is_category[a], is_category[b])
    return matrix


def _association(a: np.ndarray, b: np.ndarray, a_is_category: bool, b_is_category: bool) -> float:
    """Return the association of two columns without missing cells; the first is a category if one of them is."""
    if not len(a):
        return np.nan
    if a.min() == a.max() or b.min() == b.max():
        return 0.0
    if b_is_category:
        return cramers_v(a, b)
    return correlation_ratio(a, rankdata(b)) if a_is_category else abs(spearman(a, b))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of the ranks of two columns that are not constant, (n_rows,)."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def correlation_ratio(codes: np.ndarray, numbers: np.ndarray) -> float:
    """Return the root of the share of the numbers' variance that lies between the categories, both (n_rows,)."""
    groups, counts = np.unique(codes, return_inverse=True, return_counts=True)[1:]
    numbers = numbers - numbers.mean()
    between = np.square(np.bincount(groups, numbers)) / counts
    return float(np.sqrt((between.sum() / np.square(numbers).sum()).clip(0, 1)))


def cramers_v(a: np.ndarray, b: np.ndarray) -> float:
    """Return Cramér's V of two columns of codes that are not constant, (n_rows,)."""
    rows, columns = (np.unique(codes, return_inverse=True)[1] for codes in (a, b))
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=int)
    np.add.at(table, (rows, columns), 1)
    return float(association(table, method="cramer"))
