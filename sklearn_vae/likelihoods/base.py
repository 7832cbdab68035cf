"""Base class of the specifications of likelihoods p(x|z)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from sklearn_vae._data.rows import CHUNK_SIZE, Rows

if TYPE_CHECKING:
    from sklearn_vae._data.table_column import Column
    from sklearn_vae.likelihoods.module import LikelihoodModule


class Likelihood(BaseEstimator, ABC):
    """Specification of a likelihood p(x|z), given to an estimator as ``likelihood=``.

    The estimator clones the specification and calls `build`. Parameters of the constructor
    can be searched as ``likelihood__<name>``.

    Attributes
    ----------
    takes_frames : bool
        Class attribute. True if the columns of a data frame, also of numbers, are encoded for `for_table`, and samples
        are data frames.
    handle_unknown : {"warn", "error"}
        What the estimator's methods do with categories of a data frame that ``fit`` did not see: these cells count as
        not observed, with a warning, or the frame is refused. "warn", except in `Columns`, which has it as a parameter.
    """

    takes_frames: ClassVar[bool] = False
    handle_unknown: str = "warn"

    @property
    def isotropic(self) -> bool:
        """True if all columns have one common scale.

        The likelihood is then invariant to rotations of the columns, so networks may work in
        principal coordinates.
        """
        return False

    @property
    def has_free_scale(self) -> bool:
        """True for a distribution of real values with a location and a scale that training finds.

        `Columns` then standardises each column.
        """
        return False

    @abstractmethod
    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module.

        Parameters
        ----------
        n_features : int
            Number of columns.
        n_coordinates : int or None
            Number of principal coordinates that the networks work in. None: the networks work in
            the columns. Only an isotropic likelihood gets a number.
        """

    def for_table(self, columns: Sequence[Column]) -> Likelihood:
        """Return the specification for columns of a data frame.

        Parameters
        ----------
        columns : sequence of Column
            Columns of the frame, with their kinds and their places in the matrix that the frame is encoded as.

        Returns
        -------
        likelihood : Likelihood
            Specification for the matrix.

        Raises
        ------
        ValueError
            If the likelihood is not one of these kinds of columns.
        """
        name = next((column.name for column in columns if column.kind == "category" and column.categories), None)
        if name is not None:
            raise ValueError(
                f"likelihood {type(self).__name__}: expected columns of numbers or booleans, got strings or categories "
                f"in column {name!r}; use likelihood='from_dtype', or Columns with a likelihood for each group of "
                "columns."
            )
        return self

    def for_data(self, rows: Rows) -> Likelihood:
        """Return the specification with every "auto" that depends on the training rows replaced.

        Parameters
        ----------
        rows : Rows
            Training rows in the data's units.

        Returns
        -------
        likelihood : Likelihood
            This specification if nothing changes, otherwise a copy.
        """
        return self

    def resolved_as(self, fitted: Likelihood) -> Likelihood:
        """Return the specification with each "auto" replaced by the value in `fitted`.

        Parameters
        ----------
        fitted : Likelihood
            A specification of this class that `for_data` returned.

        Returns
        -------
        likelihood : Likelihood
            Itself, or a copy.
        """
        return self

    def kinds_of_means(self, n_features: int) -> list[str]:
        """Return what the mean of each column is, for the scales of plots.

        Parameters
        ----------
        n_features : int
            Number of columns.

        Returns
        -------
        kinds : list of {"number", "count", "probability"}
            By default "number" for each column. "count" is the mean of a count, and "probability" that of zeros and
            ones.
        """
        return ["number"] * n_features

    def check_data(self, X: np.ndarray) -> None:
        """Raise an error for values outside the support of p(x|z).

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows in the data's units.

        Raises
        ------
        ValueError
            If a value lies outside the support.
        """

    def check_sparse(self, X: sparse.csr_array) -> None:
        """Raise an error for values of sparse rows outside the support of p(x|z).

        By default, `check_data` gets the rows in dense chunks.

        Parameters
        ----------
        X : sparse matrix or array in CSR format, of shape (n_samples, n_features)
            Rows in the data's units.

        Raises
        ------
        ValueError
            If a value lies outside the support.
        """
        if type(self).check_data is Likelihood.check_data:
            return
        n_rows = max(1, CHUNK_SIZE // X.shape[1])
        for start in range(0, X.shape[0], n_rows):
            try:
                self.check_data(X[start : start + n_rows].toarray())
            except ValueError as error:
                where = f" Rows are counted from row {start} of the sparse matrix." if start else ""
                raise ValueError(f"{error}{where}") from error
