"""Properties of a column's values that decide by which likelihood they are modelled."""

from __future__ import annotations

import numpy as np

# Smallest separation of two clusters that are far apart. The halves of a normal distribution have 1.3, those of a
# uniform one 1.7, and those of an arcsine distribution, which is highest at both ends, 2.1.
MIN_SEPARATION = 2.25
# Smallest share of the rows in a cluster, and smallest number of different values.
MIN_CLUSTER = 0.05
MIN_VALUES = 10


def is_discrete(values: np.ndarray) -> bool:
    """Return whether values (n_values,) are whole numbers, or most of them occur more than once."""
    _, counts = np.unique(values, return_counts=True)
    is_whole = len(values) > 0 and bool((values == np.rint(values)).all())
    return is_whole or bool(counts[counts > 1].sum() > 0.5 * len(values))


def separation(values: np.ndarray) -> float:
    """Return how far apart the two clusters of values are.

    The clusters are those of k-means [1]_.

    Parameters
    ----------
    values : ndarray of shape (n_values,)

    Returns
    -------
    separation : float
        Distance of the clusters' means, divided by the sum of their standard deviations; 0 if one of the clusters
        would have a small share of the values, or few different ones.

    References
    ----------
    .. [1] N. Otsu (1979). A Threshold Selection Method from Gray-Level Histograms. IEEE Transactions on Systems, Man,
       and Cybernetics 9.
    """
    if not len(values):
        return 0.0
    ordered = np.sort(values) / (np.abs(values).max() or 1.0)
    ordered -= ordered.mean()
    starts = np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0)[MIN_VALUES : -MIN_VALUES + 1]
    share = starts / len(ordered)
    starts = starts[(share >= MIN_CLUSTER) & (share <= 1 - MIN_CLUSTER)]
    if not len(starts):
        return 0.0
    # Otsu's threshold has the largest variance between clusters.
    sums, rest = ordered.cumsum()[starts - 1], len(ordered) - starts
    start = starts[np.argmax(sums**2 / (starts * rest))]
    below, above = ordered[:start], ordered[start:]
    return float((above.mean() - below.mean()) / (below.std() + above.std()))
