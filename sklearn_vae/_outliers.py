"""VAEOutlierDetector: rows that differ from the others, with the interface of scikit-learn's outlier detectors."""

from __future__ import annotations

import math
from hashlib import blake2b
from numbers import Integral, Real
from typing import ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _num_features,
    _num_samples,
    check_is_fitted,
)

from sklearn_vae._data.devices import isolated
from sklearn_vae._data.sparse_rows import Matrix, to_dense
from sklearn_vae._model.inference import Inference
from sklearn_vae._model.outlier_scores import MAX_REFERENCES, OF_MODEL, References, TailProbabilities
from sklearn_vae._training.recipe import N_SPLITS
from sklearn_vae._transformer import VAETransformer
from sklearn_vae._validation import is_unobserved, new_seed

# Share of the rows without outliers that are below the threshold with contamination="auto".
AUTO_SHARE = 0.01
# Expected number of rows as unusual, among all, below which a row is left out with contamination="auto".
MAX_EXPECTED = 0.01
# Number of rows whose digests are computed at a time.
BLOCK = 1024
# Largest number of components of the default model.
MAX_COMPONENTS = 8


class Comparison(NamedTuple):
    """A fitted model, the training rows as it compares them, and their scores.

    Attributes
    ----------
    vae : VAETransformer
    references : References
    tails : TailProbabilities
    keys : ndarray of uint64 of shape (n_rows,)
        Digests of the training rows.
    scores : ndarray of shape (n_rows,)
    is_reference, is_held_out : ndarray of bool of shape (n_rows,)
        Rows among `references`, and rows that were scored by a model that had not seen them.
    """

    vae: VAETransformer
    references: References
    tails: TailProbabilities
    keys: np.ndarray
    scores: np.ndarray
    is_reference: np.ndarray
    is_held_out: np.ndarray


class VAEOutlierDetector(OutlierMixin, BaseEstimator):
    r"""Outlier and novelty detection by a variational autoencoder.

    A row is compared with the training rows in three ways: by log p(x) of a `VAETransformer`, by the distances to the
    nearest training rows, and by the distance to the nearest one in the latent variables and residuals of the model.
    The score is a mean of the logarithms of three shares of training rows, those that are at least as unusual. The
    density has half the weight of a distance.

    Training rows are scored by models that have not seen them. The threshold is a quantile of these scores, so that
    the same share of new rows falls below it. Rows that are unusual themselves are left out, and the model is trained
    again.

    Parameters
    ----------
    contamination : "auto" or float, default="auto"
        Share of outliers among the training rows, in (0, 0.5]. So many training rows are left out of the model, and so
        many have a negative ``decision_function``. So many of the nearest rows do not count as neighbours, because
        outliers may be similar to each other. With "auto", rows are left out if fewer than 0.01 such rows are
        expected among all, by the estimated tail of the scores. One percent of the others have a negative
        ``decision_function``.

    vae_estimator : VAETransformer or None, default=None
        Model, which is cloned. None is a `VAETransformer` with 8 components, or one less than columns if there are
        fewer. The parameters of an instance can be searched as ``vae_estimator__n_components``. Its `random_state` is
        replaced.

    n_neighbors : int, default=5
        Number of nearest training rows whose distances count.

    random_state : int, RandomState instance or None, default=None
        Seed of all random numbers. Pass an int for reproducible results. None takes a new seed from the operating
        system.

    Attributes
    ----------
    offset_ : float
        Threshold: ``decision_function`` is ``score_samples`` minus `offset_`.
    contamination_ : float
        Share of the training rows that were left out of the model.
    vae_ : VAETransformer
        The fitted model.
    n_features_in_ : int
        Number of columns seen in ``fit``; a column of categories counts as one.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in ``fit``. Defined only if all names are strings.

    See Also
    --------
    VAETransformer : The model, whose ``score_samples`` is log p(x).
    sklearn.ensemble.IsolationForest : Outlier detection by random trees.
    sklearn.neighbors.LocalOutlierFactor : Outlier detection by local densities.

    Notes
    -----
    Up to 5000 rows, the rows are split into five folds. The scores of a fold's rows are those of a model trained on the
    other folds. Above that, the threshold is estimated on the rows that were held out for early stopping, a tenth of
    all and at most 5000. The model has seen the other training rows. Neighbours are searched among at most 10,000
    evenly spaced training rows. In ``score_samples`` and the methods based on it, rows that are equal to a training row
    get the score of ``fit``. A fitted detector contains these training rows.

    Let :math:`s_k` be the negative log-density or one of the mean logarithms of distances. The tail probability
    :math:`P(S_k \geq s_k)` is the share of training rows up to their 0.9 quantile. Above it, it falls exponentially, at
    the rate between the median and this quantile, which outliers do not change. The mean of logarithms over k is
    Fisher's combination of tests [1]_, here with the weights .2 for the density and .4 for each distance.

    References
    ----------
    .. [1] R. A. Fisher (1925). Statistical methods for research workers. Oliver and Boyd.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_vae import VAEOutlierDetector
    >>> X = load_wine().data / load_wine().data.std(0)
    >>> detector = VAEOutlierDetector(random_state=0).fit(X)
    >>> strange = X[:1] + np.array([0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0])
    >>> detector.predict(strange)
    array([-1])
    >>> int(detector.explain(strange).argmin())
    4
    """

    _parameter_constraints: ClassVar[dict] = {
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "vae_estimator": [VAETransformer, None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, *, contamination="auto", vae_estimator=None, n_neighbors=5, random_state=None):
        self.contamination = contamination
        self.vae_estimator = vae_estimator
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the model, and determine the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows; at least five. Data frames may have categories, booleans, integers and missing cells.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        ValueError
            If parameters or data are invalid, or the model has no held-out rows or no log p(x).
        """
        vae = self._new_vae(X)
        with isolated(vae.n_jobs):
            fitted = self._compare(vae, X, np.array([], int))
            if len(left_out := self._left_out(fitted)):
                fitted = self._compare(clone(vae), X, left_out)
        _check_feature_names(self, X, reset=True)
        _check_n_features(self, X, reset=True)
        self.vae_ = fitted.vae
        self.contamination_ = len(left_out) / len(fitted.scores)
        self.offset_ = self._threshold(fitted, left_out)
        self._references, self._tails = fitted.references, fitted.tails
        order = np.argsort(fitted.keys)
        self._keys, self._scores, self._is_reference = (
            values[order] for values in (fitted.keys, fitted.scores, fitted.is_reference)
        )
        return self

    def _new_vae(self, X) -> VAETransformer:
        """Return the unfitted model."""
        if self.vae_estimator is None:
            try:
                n_components = min(MAX_COMPONENTS, max(1, _num_features(X) - 1))
            except (TypeError, IndexError):
                # The model's own checks say what is wrong with X.
                n_components = MAX_COMPONENTS
            vae = VAETransformer(n_components)
        else:
            vae = clone(self.vae_estimator)
            vae._validate_params()
        if not vae.early_stopping:
            raise ValueError(
                "expected vae_estimator with early_stopping=True, got False; the threshold is estimated on the rows "
                "that early stopping holds out."
            )
        if not hasattr(vae, "score_samples"):
            raise ValueError(
                f"expected vae_estimator with a generative model, got objective={vae.objective!r} without log p(x); "
                "use objective='elbo'."
            )
        return vae.set_params(random_state=new_seed(self.random_state))

    def _compare(self, vae: VAETransformer, X, left_out: np.ndarray) -> Comparison:
        """Fit the model to all rows but some, and score all of them."""
        n_rows = _num_samples(X)
        weight = np.ones(n_rows)
        weight[left_out] = 0
        run, rows = with_callbacks(VAETransformer._fit)(vae, X, sample_weight=weight, n_folds=N_SPLITS)
        if not run.held_out:
            raise ValueError(
                f"expected at least {N_SPLITS} rows and max_iter above 0, got {n_rows} rows and "
                f"max_iter={vae.max_iter!r}; the threshold is estimated on held-out rows."
            )
        run.measure_columns_of_folds(rows)
        matrix = vae._check_new_rows(X)
        # Training ignores rows without an observed cell.
        kept = np.flatnonzero((weight > 0) & ~is_unobserved(matrix))
        # Evenly spaced, because rows may be sorted.
        reference = kept[np.linspace(0, len(kept) - 1, min(len(kept), MAX_REFERENCES)).astype(int)]
        is_reference = np.isin(np.arange(n_rows), reference)
        share = 0.0 if self.contamination == "auto" else self.contamination
        sizes = self.n_neighbors, math.ceil(share * len(reference))
        references = References(vae._fitted_model.inference, matrix[reference], *sizes)
        statistics = references.statistics(matrix, is_reference, vae.n_draws)
        is_held_out = np.zeros(n_rows, bool)
        for model, index in run.held_out:
            held_out = kept[index]
            is_held_out[held_out] = True
            if model is not run.model:
                # A new row has no neighbours that are as new to the model: the rows of its fold are left out.
                others = References(Inference(model.eval()), matrix[np.setdiff1d(reference, held_out)], *sizes)
                new = others.statistics(matrix[held_out], np.zeros(len(held_out), bool), vae.n_draws)
                statistics[np.ix_(held_out, OF_MODEL)] = new[:, OF_MODEL]
        tails = TailProbabilities.of(statistics[is_held_out])
        scores = tails.score_parts(statistics).sum(1)
        return Comparison(vae, references, tails, _keys(matrix), scores, is_reference, is_held_out)

    def _left_out(self, fitted: Comparison) -> np.ndarray:
        """Return the indices of the training rows that count as outliers."""
        n_rows = len(fitted.scores)
        if self.contamination == "auto":
            n_outliers = int(np.count_nonzero(fitted.scores < np.log(MAX_EXPECTED / n_rows)))
        else:
            # In floating point, 0.29 * 100 is less than 29.
            n_outliers = math.floor(round(self.contamination * n_rows, 6))
        n_outliers = max(min(n_outliers, n_rows - N_SPLITS), 0)
        return np.sort(np.argsort(fitted.scores, kind="stable")[:n_outliers])

    def _threshold(self, fitted: Comparison, left_out: np.ndarray) -> float:
        """Return the quantile of the scores of rows that the model has not seen."""
        held_out = fitted.scores[fitted.is_held_out]
        if self.contamination == "auto":
            return float(np.quantile(held_out, AUTO_SHARE))
        # Of the rows that were left out, the same share counts as of the others.
        step = max(1, round((len(fitted.scores) - len(left_out)) / len(held_out)))
        return float(np.quantile(np.r_[held_out, fitted.scores[left_out[::step]]], self.contamination))

    def score_samples(self, X):
        """Return the score of each row; lower scores are more unusual.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Weighted means of the logarithms of three shares of training rows, those that are at least as unusual. They
            are at most 0.
        """
        matrix = self._check_new_rows(X)
        place, is_known = self._find(matrix)
        scores = self._scores[place]
        if not is_known.all():
            new = matrix[~is_known]
            scores[~is_known] = self._score_parts(new, np.zeros(new.shape[0], bool)).sum(1)
        return scores

    def decision_function(self, X):
        """Return the score of each row above the threshold; it is negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``score_samples`` minus `offset_`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Return whether each row is an outlier.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        is_inlier : ndarray of int of shape (n_samples,)
            -1 for outliers, 1 for other rows.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def explain(self, X):
        """Return each column's part in the scores.

        The log-density's part is divided in proportion to the columns' squared residuals, as far as they exceed their
        means; those of the distances in proportion to the columns' squared differences.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        parts : ndarray of shape (n_samples, n_features)
            Parts, at most 0, whose sums over the columns are ``score_samples``. The lowest part is that of the most
            unusual column.
        """
        matrix = self._check_new_rows(X)
        place, is_known = self._find(matrix)
        is_member = is_known & self._is_reference[place]
        parts = self._score_parts(matrix, is_member)
        scores = np.where(is_known, self._scores[place], parts.sum(1))
        with isolated(self.vae_.n_jobs):
            shares = self._references.shares(matrix, is_member)
        columns = (parts[:, :, None] * shares).sum(1) * (scores / parts.sum(1))[:, None]
        table = self.vae_._table
        # A category is one column, and a block of columns of the matrix.
        return columns if table is None else np.add.reduceat(columns, [c.start for c in table.columns], axis=1)

    def _check_new_rows(self, X) -> Matrix:
        """Validate rows for a fitted detector."""
        check_is_fitted(self)
        return self.vae_._check_new_rows(X)

    def _score_parts(self, X: Matrix, is_member: np.ndarray) -> np.ndarray:
        """Return the parts of the three comparisons in the scores of validated rows, (n_rows, 3)."""
        with isolated(self.vae_.n_jobs):
            return self._tails.score_parts(self._references.statistics(X, is_member, self.vae_.n_draws))

    def _find(self, X: Matrix) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of rows among the training rows, and whether they are there."""
        keys = _keys(X)
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return place, self._keys[place] == keys

    def __getstate__(self):
        """Return the state without torch objects; the training rows take the place of the model's copies."""
        state = dict(super().__getstate__())
        if "_references" in state:
            state["_references"] = state["_references"].parameters
        return state

    def __setstate__(self, state):
        """Compute the training rows' coordinates again, by the model that was restored."""
        state = dict(state)
        parameters = state.pop("_references", None)
        super().__setstate__(state)
        if parameters is not None:
            with isolated(self.vae_.n_jobs):
                self._references = References(self.vae_._fitted_model.inference, *parameters)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = VAETransformer().__sklearn_tags__().input_tags
        return tags


def _keys(X: Matrix) -> np.ndarray:
    """Return a digest of each row, (n_rows,), which does not depend on its dtype."""
    digests = []
    for start in range(0, X.shape[0], BLOCK):
        rows = to_dense(X[start : start + BLOCK]).astype(np.float64)
        # -0.0 equals 0.0, and the bits of NaN differ.
        rows = np.where(np.isnan(rows), np.nan, rows + 0.0)
        digests += [blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), np.uint64)
