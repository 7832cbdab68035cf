"""Base class of the estimators that are fitted without labels."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._base import BaseVAE, check_generative
from sklearn_vae._data.devices import isolate
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.inference import Inference
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.diagnostics import warn_if_improving, warn_if_unused
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.neighbor_points import find_neighbors, with_points
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import MAX_HELD_OUT, N_SPLITS, MapRules, TransformerRules
from sklearn_vae._training.restart import new_start, seen_in
from sklearn_vae._validation import check_n_samples, check_noise, check_sample_weight


class UnsupervisedVAE(BaseVAE):
    """Base class of the estimators that are fitted without labels, which define the constructors."""

    @_fit_context(prefer_skip_nested_validation=True)
    @isolate
    def fit(self, X, y=None, sample_weight=None):
        """Fit the model to the rows of `X`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows; at least two. float32, float64 and uint8 arrays in C order are
            not copied; uint8 values are converted to float32 batch by batch. Sparse matrices
            are converted to CSR, and their rows become dense batch by batch. `VAEImputer` refuses sparse matrices,
            because their absent cells are zeros.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1. Rows with weight 0 are ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid, or the loss becomes non-finite.

        Warns
        -----
        UserWarning
            If no component has a larger KL than it would have in noise, or if a new start
            replaces the model of a warm start.
        ConvergenceWarning
            If a `max_iter` other than "auto" ended training while the score of held-out rows was
            still rising.
        """
        run, rows = self._fit(X, y, sample_weight)
        if run.n_epochs_run and hasattr(self, "kl_per_component_"):
            warn_if_unused(self.kl_per_component_, rows)
        if run.scores and self.max_iter == run.n_epochs_run:
            warn_if_improving(run.scores, run.n_epochs_run)
        return self

    def _fit(self, X, y=None, sample_weight=None, n_folds: int | None = None) -> tuple[TrainingResult, Rows]:
        """Fit the model, and return the result of its training, and the rows; `n_folds` is as in `_run`."""
        continues = self.warm_start and self.__sklearn_is_fitted__()
        with self._fitting(continues):
            checked = self._check_rows(X, reset=not continues)
            weight, unit = check_sample_weight(sample_weight, checked)
            rows = self._rows(checked, weight)
            progress = Progress(self, X, y, sample_weight, partial(self._fitted_attributes, rows, unit))
            procedure = self._procedure(rows, self._rules(len(rows)), progress, continues)
            seen = seen_in(rows)
            previous = copy.deepcopy(self._fitted_model.model) if continues else None
            if previous is not None and new_start(procedure, previous, rows, seen) is not None:
                previous = None
            run = self._run(procedure, rows, previous, n_folds)
            attributes = self._fitted_attributes(rows, unit, procedure, run)
            attributes["_training_state"]["seen"] = seen._asdict()
            self._set_fitted(attributes)
            progress.end(dict)
        return run, rows

    @_fit_context(prefer_skip_nested_validation=True)
    @isolate
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch on the rows of `X`, continuing from the previous call.

        The first call initialises the model from its rows, and resolves every "auto" from their
        number. No rows are held out; `max_iter` and `early_stopping` are ignored, and the
        learning rate does not decay. `kl_per_component_` and `latent_scale_` are computed over
        `X`. If `X` has n < 100 rows, they are weighted means: the values for `X` have weight n,
        and those of earlier calls at most 100 - n.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows: at least two in the first call, at least one in later calls.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1. In every call, weights are
            divided by the mean weight of the first call's rows. Doubling the weights of a
            later call therefore doubles its gradients.

        Returns
        -------
        self : object
            The estimator after one more epoch.

        Warns
        -----
        UserWarning
            If the rows differ in means or scales from those that the model started from, and a new start replaces
            the model, or will do so in a later call.
        """
        first = not self.__sklearn_is_fitted__()
        with self._fitting(continues=not first):
            min_rows = 2 if first else 1
            X = self._check_rows(X, reset=first, min_rows=min_rows)
            state = {} if first else self._training_state
            weight, unit = check_sample_weight(sample_weight, X, state.get("weight_unit"), min_rows)
            self._set_fitted(self._train_chunk(self._rows(X, weight), unit, self._rules, state))
        return self

    @available_if(check_generative)
    @isolate
    def sample(self, n_samples=1, random_state=None, *, noise=True):
        """Draw samples from the generative model p(z) p(x|z).

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the `random_state` of the estimator.
        noise : bool, default=True
            Whether rows are drawn from p(x|z). If False, they are the means of p(x|z), which look like
            ``inverse_transform``: images without static, but rows that vary less than the data.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or data frame
            Samples, in the units of the training data. If the estimator was fitted to a data
            frame with other columns than numbers, a frame with the same columns and dtypes.
        """
        check_is_fitted(self)
        self._validate_params()
        n_samples, noise = check_n_samples(n_samples), check_noise(noise)

        def draw(inference: Inference, generator: torch.Generator) -> np.ndarray:
            """Draw latent variables from p(z), and their rows."""
            z = inference.model.sample_latents(n_samples, generator)
            return inference.sample(z, generator) if noise else inference.reconstruct(z)

        return self._sample(draw, random_state)

    @available_if(check_generative)
    def score(self, X, y=None):
        """Return the mean log-likelihood of the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Mean of ``score_samples``, in nats per row.
        """
        return float(np.mean(self.score_samples(X)))

    def _rules(self, n_rows: int) -> TransformerRules:
        """Return the rules for the values of "auto"."""
        return (MapRules if self._component("objective").n_neighbors else TransformerRules)(n_rows)

    def _run(
        self, procedure: FitProcedure, rows: Rows, previous: VAE | None, n_folds: int | None = None
    ) -> TrainingResult:
        """Train the model with the stopping rule for this number of rows.

        With `n_folds`, so many folds of a small data set are held out in turn, instead of the number for stopping.
        """
        n_rows = len(rows)
        procedure, neighbors = find_neighbors(procedure, rows)
        if procedure.sizes and n_rows >= N_SPLITS:
            procedure = procedure.with_best_size(rows, N_SPLITS, self._rules(n_rows).n_folds)
        rows = with_points(procedure, rows, neighbors, previous)
        if not self.early_stopping or procedure.stopping.max_epochs == 0:
            return procedure.fit(rows, previous)
        rules = self._rules(n_rows)
        if previous is None and n_rows < N_SPLITS:
            return procedure.train(rows, 0)
        if previous is None and rules.is_small:
            return procedure.fit_cross_validated(rows, N_SPLITS, n_folds or rules.n_folds)
        n_held_out = min(max(round(self.validation_fraction * n_rows), 1), MAX_HELD_OUT, n_rows - 1)
        return procedure.fit_held_out(rows, n_held_out, previous)
