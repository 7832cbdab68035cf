"""A likelihood for each group of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import _BaseComposition

from sklearn_vae._data.rows import Rows
from sklearn_vae._data.table import HANDLE_UNKNOWN
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.bernoulli import Bernoulli
from sklearn_vae.likelihoods.categorical import Categorical
from sklearn_vae.likelihoods.columns_module import ColumnsModule
from sklearn_vae.likelihoods.gaussian import Gaussian
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.quantile_gaussian import QuantileGaussian

if TYPE_CHECKING:
    from sklearn_vae._data.table_column import Column

# Value of an estimator's `likelihood`, and of `remainder`, that chooses likelihoods by the dtypes of columns.
FROM_DTYPE = "from_dtype"
# Names and likelihoods of groups by the kinds of their columns. Each column of floats has a scale of its own in
# training: with a common one, noise that no other column explains would take up latent variables.
NUMBERS = ("numbers", Gaussian(per_column=True))
QUANTILES = ("quantiles", QuantileGaussian())
BY_KIND: dict[str, tuple[str, Likelihood]] = {
    "float": NUMBERS,
    "integer": NUMBERS,
    "boolean": ("booleans", Bernoulli()),
    "category": ("categories", Categorical()),
}
# A name, a likelihood, and the columns.
Group = tuple[str, Likelihood, Any]


class Columns(_BaseComposition, Likelihood):
    """A likelihood for each group of columns, given as to scikit-learn's `ColumnTransformer`.

    The groups are independent given z, so the log-likelihood of a row is the sum over groups. The encoder sees
    standardised columns of numbers, and columns of categories as in multiple correspondence analysis. With
    ``init="ppca"``, training starts at probabilistic PCA of these, which is factor analysis of mixed data [1]_.
    Densities are in the data's units.

    Parameters
    ----------
    likelihoods : list of (str, Likelihood, columns) tuples
        Name, likelihood and columns of each group. The parameters of a likelihood can be searched as
        ``likelihood__<name>__<parameter>``. Columns are a name or a position, a list of these, a slice of positions or
        a boolean mask. They refer to the columns of a data frame, of which each column of categories is one, or to
        those of an array.
    remainder : {"from_dtype", "refuse"} or Likelihood, default="from_dtype"
        What to do with the other columns. "from_dtype": floats are Gaussian with ``per_column=True``, integers
        QuantileGaussian, booleans Bernoulli, strings and categories Categorical. Floats that are whole numbers, or
        most of which occur more than once, are QuantileGaussian too; floats and integers in two clusters that are far
        apart are Gaussian. All columns of an array are Gaussian with ``per_column=True``. "refuse": an error. A
        likelihood: that of all other columns.
    handle_unknown : {"warn", "error"}, default="warn"
        What the estimator's methods do with categories of a data frame that ``fit`` did not see. "warn": such cells
        count as not observed, with a warning that names the categories. "error": a ValueError. A change after ``fit``
        applies at once. ``Columns([], handle_unknown="error")`` is `likelihood="from_dtype"` with this refusal.

    See Also
    --------
    sklearn.compose.ColumnTransformer : The same for transformers.
    Categorical : Columns of strings or categories.

    References
    ----------
    .. [1] J. Pagès (2014). Multiple Factor Analysis by Example Using R. Chapman and Hall/CRC.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.likelihoods import Columns, Poisson
    >>> X = pd.DataFrame({"visits": [0, 3, 1, 7] * 10, "age": [31.5, 48.0, 29.0, 55.5] * 10, "plan": list("abba") * 10})
    >>> likelihood = Columns([("visits", Poisson(), ["visits"])])
    >>> vae = VAETransformer(1, likelihood=likelihood, max_iter=5, random_state=0).fit(X)
    >>> vae.sample(2, random_state=0).dtypes.equals(X.dtypes)
    True
    >>> vae.set_params(likelihood__visits__library_size=False).likelihood
    Columns(likelihoods=[('visits', Poisson(), ['visits'])])
    """

    _parameter_constraints: ClassVar[dict] = {
        "likelihoods": [list, tuple],
        "remainder": [StrOptions({FROM_DTYPE, "refuse"}), Likelihood],
        "handle_unknown": [StrOptions(set(HANDLE_UNKNOWN))],
    }

    takes_frames = True

    def __init__(self, likelihoods, remainder=FROM_DTYPE, handle_unknown="warn"):
        self.likelihoods = likelihoods
        self.remainder = remainder
        self.handle_unknown = handle_unknown

    @property
    def _pairs(self) -> list[tuple[str, Likelihood]]:
        """Names and likelihoods, of which scikit-learn's compositions get and set the parameters."""
        groups = self.likelihoods
        return [(group[0], group[1]) for group in groups] if all(map(_is_group, groups)) else list(groups)

    @_pairs.setter
    def _pairs(self, pairs: list[tuple[str, Likelihood]]) -> None:
        columns = [group[2] for group in self.likelihoods]
        self.likelihoods = [(*pair, c) for pair, c in zip(pairs, columns, strict=True)]

    def get_params(self, deep=True):
        """Return the parameters, and those of the likelihoods as ``<name>__<parameter>``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of the likelihoods too.

        Returns
        -------
        params : dict
            Parameter names and values.
        """
        if not (isinstance(self.likelihoods, list | tuple) and all(map(_is_group, self.likelihoods))):
            return super().get_params(deep=False)
        return self._get_params("_pairs", deep=deep)

    def set_params(self, **params):
        """Set the parameters, and those of the likelihoods as ``<name>__<parameter>``.

        Parameters
        ----------
        **params : dict
            Parameter names and values. The name of a group sets its likelihood.

        Returns
        -------
        self : object
            The specification.
        """
        if "likelihoods" in params:
            self.likelihoods = params.pop("likelihoods")
        self._set_params("_pairs", **params)
        return self

    def _validate_params(self) -> None:
        """Raise an error for invalid groups, names or parameters of the likelihoods."""
        super()._validate_params()
        wrong = next((group for group in self.likelihoods if not _is_group(group)), None)
        if wrong is not None:
            raise TypeError(f"Columns: expected (name, likelihood, columns) tuples, got {wrong!r}; give all three.")
        names = [name for name, _, _ in self.likelihoods]
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"Columns: expected a different name for each group, got {repeated[0]!r} more than once.")
        self._validate_names(names)
        others = [self.remainder] if isinstance(self.remainder, Likelihood) else []
        for likelihood in [likelihood for _, likelihood, _ in self.likelihoods] + others:
            if isinstance(likelihood, Columns):
                raise TypeError("Columns: expected likelihoods that are not Columns themselves; join their groups.")
            if hasattr(likelihood, "_parameter_constraints"):
                likelihood._validate_params()

    def for_table(self, columns: Sequence[Column]) -> Likelihood:
        """Return the specification for the matrix that a frame is encoded as."""
        names = [column.name for column in columns]
        groups, rest = self._positions(len(columns), names)
        resolved = []
        for name, likelihood, positions in groups:
            own = [columns[i] for i in positions]
            resolved.append((name, _named(name, likelihood.for_table, own), _in_matrix(own)))
        if rest:
            own = [columns[i] for i in rest]
            if isinstance(self.remainder, Likelihood):
                resolved.append(("rest", self.remainder.for_table(own), _in_matrix(own)))
            elif self.remainder == FROM_DTYPE:
                resolved += _by_kind(own)
            else:
                self._refuse([names[i] for i in rest])
        return Columns(_unique([group for group in resolved if group[2]]), "refuse")

    def for_data(self, rows: Rows) -> Likelihood:
        """Return the specification with positions of all columns, and every "auto" of the likelihoods replaced."""
        groups = self._complete(rows.n_features).likelihoods
        resolved = [(name, likelihood.for_data(rows.columns(columns)), columns) for name, likelihood, columns in groups]
        return Columns(resolved, "refuse")

    def resolved_as(self, fitted: Likelihood) -> Likelihood:
        """Return the specification with each "auto" replaced by the value in `fitted`."""
        fitted_groups = fitted.get_params(deep=False)["likelihoods"]
        complete = self._complete(sum(len(columns) for _, _, columns in fitted_groups))
        if [columns for _, _, columns in complete.likelihoods] != [columns for _, _, columns in fitted_groups]:
            return complete
        pairs = zip(complete.likelihoods, fitted_groups, strict=True)
        resolved = [
            (name, own.resolved_as(other) if type(own) is type(other) else own, columns)
            for (name, own, columns), (_, other, _) in pairs
        ]
        return Columns(resolved, "refuse")

    def kinds_of_means(self, n_features: int) -> list[str]:
        """Return what the mean of each column is under its group's likelihood."""
        kinds = ["number"] * n_features
        for _, likelihood, columns in self._complete(n_features).likelihoods:
            for i, kind in zip(columns, likelihood.kinds_of_means(len(columns)), strict=True):
                kinds[i] = kind
        return kinds

    def check_data(self, X: np.ndarray) -> None:
        """Raise an error for values outside the support of a group's likelihood."""
        for name, likelihood, columns in self._complete(X.shape[1]).likelihoods:
            _named(name, likelihood.check_data, X[:, columns])

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        groups = self._complete(n_features).likelihoods
        return ColumnsModule([likelihood for _, likelihood, _ in groups], [columns for _, _, columns in groups])

    def _complete(self, n_features: int) -> Columns:
        """Return the specification whose groups are lists of positions, and include the remainder."""
        groups, rest = self._positions(n_features, None)
        if rest and self.remainder == "refuse":
            self._refuse(rest)
        if rest:
            likelihood = self.remainder if isinstance(self.remainder, Likelihood) else clone(NUMBERS[1])
            groups.append(("rest", likelihood, rest))
        return Columns(_unique([group for group in groups if group[2]]), "refuse")

    def _positions(self, n_columns: int, names: list | None) -> tuple[list[Group], list[int]]:
        """Return the groups with lists of positions for their columns, and the positions of all other columns."""
        groups = [(name, clone(one), _find(name, c, n_columns, names)) for name, one, c in self.likelihoods]
        count = Counter(i for _, _, positions in groups for i in positions)
        repeated = [i for i, n in count.items() if n > 1]
        if repeated:
            column = repeated[0] if names is None else names[repeated[0]]
            raise ValueError(f"Columns: expected each column in one group, got column {column!r} more than once.")
        return groups, [i for i in range(n_columns) if i not in count]

    def _refuse(self, rest: list) -> None:
        """Raise ValueError for columns that are in no group."""
        raise ValueError(
            f"Columns: expected a group for each column, as remainder='refuse', got none for {rest[:5]!r}; add them to "
            "a group, or use remainder='from_dtype'."
        )


def from_dtype(columns: Sequence[Column] | None) -> Likelihood:
    """Return the likelihood of `likelihood="from_dtype"`.

    Parameters
    ----------
    columns : sequence of Column or None
        Columns of a data frame; None for arrays, and for frames of numbers only.

    Returns
    -------
    likelihood : Likelihood
        Gaussian for arrays, otherwise Columns.
    """
    return Gaussian() if columns is None else Columns([]).for_table(columns)


def _is_group(value: Any) -> bool:
    """Return whether a value is a tuple of a name, a likelihood and columns."""
    is_triple = isinstance(value, tuple | list) and len(value) == 3
    return is_triple and isinstance(value[0], str) and isinstance(value[1], Likelihood)


def _by_kind(columns: Sequence[Column]) -> list[Group]:
    """Return a group for each kind of columns."""
    groups: dict[str, tuple[Likelihood, list[Column]]] = {}
    for column in columns:
        name, likelihood = QUANTILES if column.by_quantiles else BY_KIND[column.kind]
        groups.setdefault(name, (clone(likelihood), []))[1].append(column)
    return [(name, likelihood.for_table(own), _in_matrix(own)) for name, (likelihood, own) in groups.items()]


def _in_matrix(columns: Sequence[Column]) -> list[int]:
    """Return the places of a frame's columns in the matrix."""
    return [i for column in columns for i in range(column.start, column.stop)]


def _unique(groups: list[Group]) -> list[Group]:
    """Return groups whose names differ: those of the remainder get underscores where a user's group has the name."""
    taken: set[str] = set()
    unique = []
    for name, likelihood, columns in groups:
        while name in taken:
            name += "_"
        taken.add(name)
        unique.append((name, likelihood, columns))
    return unique


def _named(name: str, function: Any, argument: Any) -> Any:
    """Call a function; an error's message then starts with the group's name."""
    try:
        return function(argument)
    except ValueError as error:
        raise ValueError(f"Columns, group {name!r}: {error}") from error


def _find(name: str, columns: Any, n_columns: int, names: list[Hashable] | None) -> list[int]:
    """Return the positions that the columns of a group stand for."""
    if isinstance(columns, slice):
        return list(range(n_columns))[columns]
    values: list[Any] = [columns] if isinstance(columns, str | Integral) else list(columns)
    if values and all(isinstance(value, bool | np.bool_) for value in values):
        if len(values) != n_columns:
            raise ValueError(f"Columns, group {name!r}: expected a mask of length {n_columns}, got {len(values)}.")
        return np.flatnonzero(values).tolist()
    positions = []
    for value in values:
        if isinstance(value, int | np.integer) and -n_columns <= value < n_columns:
            positions.append(int(value) % n_columns)
        elif names is not None and value in names:
            positions.append(names.index(value))
        else:
            expected = f"positions below {n_columns}" if names is None else f"columns of the frame, {names[:10]!r}"
            raise ValueError(
                f"Columns, group {name!r}: expected {expected}, got {value!r}; names need a data frame that has them."
            )
    return positions
