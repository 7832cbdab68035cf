"""Training of a model on the experts' pseudo-labels, and its calibration."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from sklearn_vae._data.labels import UNLABELLED, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._semi_supervised.experts import (
    Pool,
    cross_entropy,
    disagreement,
    fit_exponents,
    has_strayed,
    mean_loss,
    predict_log_proba,
)
from sklearn_vae._training.fit import FitProcedure, TrainingResult

# A model that is trained on pseudo-labels has about their confidence.
PSEUDO_LABEL_CENTER = (1.0,)
# Cross-entropy of labelled rows, in nats, below which a model fits them in any case.
SMALL_LOSS = 0.1
# Number of folds that are held out, one after another, to calibrate a run in which pseudo-labels fade, and maximum
# number of random rows that are trained on for each.
N_CROSS_FITS, MAX_CROSS_FIT_ROWS = 2, 10_000


@dataclass(frozen=True)
class Distillation:
    """Training on pseudo-labels of unlabelled rows.

    Attributes
    ----------
    rows : Rows
    labels : Labels
    pool : Pool
        The experts.
    start : VAE
        The model before training. Copies of it are trained.
    fresh_start : VAE
        A start that has seen no label; `start` may be a fitted model.
    index : ndarray of shape (n_training_rows,)
        The rows that are not held out for validation.
    validation_rows : Rows or None
    """

    rows: Rows
    labels: Labels
    pool: Pool
    start: VAE
    fresh_start: VAE
    index: np.ndarray
    validation_rows: Rows | None

    def fit(self, procedures: list[FitProcedure]) -> TrainingResult:
        """Train the first procedure whose model fits its labels and pseudo-labels, and calibrate the model.

        Consistency training can make predictions equal for most rows, whatever their labels. If no model fits, the one
        that is nearest to the pseudo-labels is kept.

        Parameters
        ----------
        procedures : list of FitProcedure
            Procedures of decreasing smoothness.
        """
        labels, log_prior = self.labels, self.labels.log_prior
        unlabelled = self.index[labels.codes[self.index] == UNLABELLED]
        target = self.pool(labels, self.index)
        training = self._training_rows(labels, self.index, target)
        target = target[labels.codes[self.index] == UNLABELLED]
        tried = []
        for procedure in procedures:
            n_epochs = procedure.stopping.max_epochs
            run = procedure.train(training, n_epochs, self.validation_rows, copy.deepcopy(self.start))
            log_p = self._predict(run.model, unlabelled)
            tried.append((disagreement(log_p, target), procedure, run, log_p))
            if not has_strayed(log_p, target) and self._fits_labels(run.model):
                break
        else:
            _, procedure, run, log_p = min(tried, key=lambda values: values[0])
        exponent = fit_exponents([log_p], target, log_prior, PSEUDO_LABEL_CENTER)[0]
        if procedure.recipe.targets_fade:
            # The model corrects pseudo-labels, and is surer than they are.
            held_out, truth = self._cross_fit(procedure, max(1, run.n_epochs))
            exponent = fit_exponents([held_out], truth, log_prior, tuple(exponent))[0]
        run.model.temper(float(exponent[0]), torch.from_numpy(log_prior))
        return run

    def _fits_labels(self, model: VAE) -> bool:
        """Return whether a model predicts the labels that it was trained on no worse than experts hidden ones.

        The model is not calibrated yet: to be unsure of its own labels is a sign that it smooths too much.
        """
        labelled = self.labels.labelled
        truth = self.labels.truth(labelled)
        loss = mean_loss(cross_entropy(self._predict(model, labelled), truth), truth)
        return loss <= max(self.pool.held_out_loss, SMALL_LOSS)

    def _cross_fit(self, procedure: FitProcedure, n_epochs: int) -> tuple[np.ndarray, sparse.csr_array]:
        """Return predictions of labels that are hidden from the experts and from the training run, and the labels.

        Up to `MAX_CROSS_FIT_ROWS` random rows are trained on, and all labelled ones, from the fresh start.
        """
        seed = procedure.seeds.split
        folds = self.labels.folds(seed)[:N_CROSS_FITS]
        chosen = np.random.RandomState(seed).permutation(self.index)[:MAX_CROSS_FIT_ROWS]
        index = np.union1d(chosen, self.labels.labelled)
        predictions = [np.zeros((0, self.labels.n_classes))]
        for fold in folds:
            labels = self.labels.without(fold)
            training = self._training_rows(labels, index, self.pool(labels, index))
            model = copy.deepcopy(self.fresh_start)
            run = procedure.train(training, n_epochs, model=model, name="calibration")
            predictions.append(self._predict(run.model, fold))
        return np.concatenate(predictions), self.labels.truth(np.concatenate([np.zeros(0, dtype=int), *folds]))

    def _training_rows(self, labels: Labels, index: np.ndarray, target: np.ndarray) -> Rows:
        """Return the rows at `index` with pseudo-labels, (n_selected, n_classes), which it may change."""
        rows = self.rows.select(self.rows.tensor(index))
        if self.pool.is_single:
            return rows.with_target(target)
        # Labelled rows are added to each batch separately, and more often.
        target[labels.codes[index] != UNLABELLED] = 0
        return rows.with_target(target, labels.of(self.rows).select(self.rows.tensor(labels.labelled)))

    def _predict(self, model: VAE, index: np.ndarray) -> np.ndarray:
        """Return log p(y|x) of the rows at `index`."""
        return predict_log_proba(model, self.rows.select(self.rows.tensor(index)))
