"""VAEOverSampler: new rows of rare classes, with the interface of imbalanced-learn's samplers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, _fit_context, clone
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_feature_names, _check_n_features

from sklearn_vae._classifier import VAEClassifier
from sklearn_vae._data.append import append
from sklearn_vae._data.devices import isolated
from sklearn_vae._data.sparse_rows import Matrix, to_dense
from sklearn_vae._model.posterior_samples import RowsOfClass
from sklearn_vae._validation import new_seed


class VAEOverSampler(OneToOneFeatureMixin, BaseEstimator):
    r"""Over-sampling of rare classes by a variational autoencoder.

    The sampler has the interface of imbalanced-learn's, and works in its `Pipeline`. A `VAEClassifier` is fitted to the
    rows of all classes. As in SMOTE [1]_, a new row lies between a row of the class and one of its neighbours in the
    class. Here rows are mixed in the latent space, and drawn from their posteriors. Of 32 such candidates one is kept,
    with probabilities proportional to the model's p(y|x).

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        Classes to over-sample, and their numbers of rows, as in imbalanced-learn:

        - float: number of rows of the rare class after resampling, divided by that of the other class. For two classes
          only.
        - "minority", "not minority", "not majority", "all" or "auto": these classes get as many rows as the largest
          one. "auto" is "not majority".
        - dict: number of rows of each class after resampling.
        - callable: a function that takes `y` and returns such a dict.

    vae_estimator : VAEClassifier or None, default=None
        Model, which is cloned. None is a `VAEClassifier` with its default parameters. Those of an instance can be
        searched as ``vae_estimator__n_components``. Its `random_state` is replaced.

    k_neighbors : int, default=5
        Number of neighbours of a row within its class. Smaller classes have fewer.

    random_state : int, RandomState instance or None, default=None
        Seed of all random numbers, those of the model included. Pass an int for reproducible results. None takes a new
        seed from the operating system.

    Attributes
    ----------
    sampling_strategy_ : dict
        Number of new rows of each class.
    vae_ : VAEClassifier
        The fitted model. Its classes are the indices of the sorted labels.
    n_features_in_ : int
        Number of columns seen in ``fit``; a column of categories counts as one.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in ``fit``. Defined only if all names are strings.

    See Also
    --------
    VAEClassifier : The model, whose ``sample`` draws rows of a class with noise.
    imblearn.over_sampling.SMOTE : Interpolation between rows of a class.

    Notes
    -----
    Requires imbalanced-learn: ``pip install "sklearn_vae[imbalance]"``.

    Let :math:`q(z|x_i) = N(\mu_i, \sigma_i^2)` be the posterior of row i, :math:`m(z)` the mean of p(x|z), and
    :math:`r_i = x_i - m(\mu_i)` the residual. For a random row i of the class, one of its neighbours j and a uniform t,
    a candidate is

    .. math:: x = m(z) + r_t, \qquad z \sim N(\mu_t, \sigma_t^2),

    where :math:`\mu_t`, :math:`\sigma_t` and :math:`r_t` are those of the two rows with weights 1 - t and t. It keeps
    what the model does not explain of them, instead of noise at full scale. Neighbours are those in the latent space
    of ``transform``. Cells that are missing in row i stay missing. Values stay within the range of their column.
    Integers are rounded. A category is that of the nearer row, unless the model's probabilities change more.

    One candidate is kept by sampling importance resampling [2]_, so that rows which the model gives to another class
    are rare.

    References
    ----------
    .. [1] N. V. Chawla, K. W. Bowyer, L. O. Hall and W. P. Kegelmeyer (2002). SMOTE: Synthetic minority over-sampling
       technique. Journal of Artificial Intelligence Research 16.
    .. [2] A. F. M. Smith and A. E. Gelfand (1992). Bayesian statistics without tears: a sampling-resampling
       perspective. The American Statistician 46(2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_classification
    >>> from sklearn_vae import VAEOverSampler
    >>> X, y = make_classification(200, weights=[0.9], random_state=0)
    >>> X_resampled, y_resampled = VAEOverSampler(random_state=0).fit_resample(X, y)
    >>> np.bincount(y), np.bincount(y_resampled)
    (array([180,  20]), array([180, 180]))
    >>> bool((X_resampled[:200] == X).all())
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "sampling_strategy": [
            Interval(Real, 0, 1, closed="right"),
            StrOptions({"auto", "minority", "not minority", "not majority", "all"}),
            Mapping,
            callable,
        ],
        "vae_estimator": [VAEClassifier, None],
        "k_neighbors": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, *, sampling_strategy="auto", vae_estimator=None, k_neighbors=5, random_state=None):
        self.sampling_strategy = sampling_strategy
        self.vae_estimator = vae_estimator
        self.k_neighbors = k_neighbors
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Fit the model, and determine the numbers of new rows; ``fit_resample`` returns the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all classes.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        self : object
            The fitted sampler.
        """
        self._fit(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_resample(self, X, y):
        """Fit the model, and append new rows of the rare classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all classes. Data frames may have categories, booleans, integers and missing cells.
        y : array-like of shape (n_samples,)
            Labels, or a matrix of zeros and ones with a column for each class.

        Returns
        -------
        X_resampled : {ndarray, sparse matrix, data frame or list} of shape (n_samples_new, n_features)
            The rows of `X`, and below them the new ones, in the form of `X`. The index of a pandas frame is 0, 1, ...
        y_resampled : array-like of shape (n_samples_new,)
            Their labels, in the form of `y`.

        Raises
        ------
        ImportError
            If imbalanced-learn is not installed.
        ValueError
            If there is only one class, or the model has no p(x), or `sampling_strategy` does not fit the classes.
        """
        labels, rng = self._fit(X, y)
        with isolated(self.vae_.n_jobs):
            matrix = self.vae_._check_new_rows(X)
            limits = _limits(matrix)
            rows, values = [np.arange(len(labels))], [np.empty((0, matrix.shape[1]))]
            for code, label in enumerate(np.unique(labels)):
                if n_samples := self.sampling_strategy_.get(label, 0):
                    members = np.flatnonzero(labels == label)
                    values.append(self._rows_of_class(to_dense(matrix[members]), code).sample(n_samples, limits, rng))
                    rows.append(np.repeat(members[0], n_samples))
        return append(X, np.vstack(values), self.vae_._table), _take(y, np.concatenate(rows))

    def __sklearn_tags__(self):
        if find_spec("imblearn") is None:
            return super().__sklearn_tags__()
        # Not a base class: its import takes a second.
        from imblearn.over_sampling.base import BaseOverSampler

        tags = BaseOverSampler.__sklearn_tags__(self)
        tags.input_tags.allow_nan = True
        return tags

    def _rows_of_class(self, X: np.ndarray, code: int) -> RowsOfClass:
        """Encode the rows of a class."""
        vae = self.vae_
        return RowsOfClass.of(vae._fitted_model.inference, X, code, vae._encode(X), self.k_neighbors)

    def _fit(self, X, y) -> tuple[np.ndarray, np.random.Generator]:
        """Set the fitted attributes; return the labels as an array, and the source of further random numbers."""
        check_sampling_strategy, check_target_type = _imbalanced_learn()
        check_classification_targets(y)
        labels = check_target_type(y)
        strategy = check_sampling_strategy(self.sampling_strategy, labels, "over-sampling")
        vae = VAEClassifier() if self.vae_estimator is None else clone(self.vae_estimator)
        vae._validate_params()
        if not hasattr(vae, "sample"):
            raise ValueError(
                f"expected a vae_estimator with a model p(x), got {vae!r}; use objective='elbo', and generative_weight "
                "above 0."
            )
        rng = np.random.default_rng(new_seed(self.random_state))
        vae.set_params(random_state=int(rng.integers(2**32)))
        self.vae_ = vae.fit(X, np.unique(labels, return_inverse=True)[1])
        self.sampling_strategy_ = strategy
        _check_feature_names(self, X, reset=True)
        _check_n_features(self, X, reset=True)
        return labels, rng


def _imbalanced_learn():
    """Return imbalanced-learn's checks of `sampling_strategy` and of labels."""
    try:
        from imblearn.utils import check_sampling_strategy, check_target_type
    except ImportError as error:
        raise ImportError(
            'VAEOverSampler needs imbalanced-learn; install it with pip install "sklearn_vae[imbalance]".'
        ) from error
    return check_sampling_strategy, check_target_type


def _limits(X: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest observed value of each column."""
    if sparse.issparse(X):
        return to_dense(X.nanmin(axis=0)).ravel(), to_dense(X.nanmax(axis=0)).ravel()
    return np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)


def _take(y, rows: np.ndarray):
    """Return the labels of rows in the form of `y`; a pandas index becomes 0, 1, ..."""
    taken = _safe_indexing(y, rows)
    return taken.reset_index(drop=True) if hasattr(taken, "reset_index") else taken
