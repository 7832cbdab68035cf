"""Experts predict class probabilities of unlabelled rows. A logarithmic opinion pool combines them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.utils import gen_batches

from sklearn_vae._data.labels import Labels
from sklearn_vae._data.rows import CHUNK_SIZE, Rows
from sklearn_vae._model.inference import gather
from sklearn_vae._model.vae import VAE

# Centres that the experts' exponents are shrunk to: of a single expert, and of the network and label spreading. Experts
# of few labels are too sure.
SINGLE_CENTER, PAIR_CENTER = (0.5,), (0.25, 0.75)
# A gain on held-out labels has to be above its standard error times a hundredth of their number, and at most times 2.
N_PER_ERROR, MAX_ERRORS = 100, 2.0
# Bounds of the logarithm of an exponent.
MIN_LOG_EXPONENT, MAX_LOG_EXPONENT = -5, 2.5


# (labels, index) -> log-probabilities of the classes for the rows at `index`, (n_selected, n_classes).
Expert = Callable[[Labels, np.ndarray], np.ndarray]


def out_of_fold(expert: Expert, labels: Labels, seed: int, n_folds: int | None = None) -> np.ndarray:
    """Return the expert's cross-validated predictions: the labels of each fold are hidden when it is predicted.

    With `n_folds`, only the rows of the first folds are predicted.
    """
    parts = [expert(labels.without(fold), fold) for fold in labels.folds(seed)[:n_folds]]
    return np.concatenate(parts) if parts else np.zeros((0, labels.n_classes))


def pool(log_p: list[np.ndarray], exponents: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    r"""Return the log of :math:`\pi_k \prod_e (p_e(k) / \pi_k)^{a_e}`, normalised, (n_rows, n_classes).

    This is a logarithmic opinion pool (Genest and Zidek 1986). With exponents 1, it is the posterior given
    conditionally independent evidence.
    """
    return log_softmax(log_prior + sum(a * (lp - log_prior) for a, lp in zip(exponents, log_p, strict=True)), axis=-1)


class Pool(NamedTuple):
    """Experts with their exponents.

    Attributes
    ----------
    experts : list of Expert
    exponents : ndarray of shape (n_experts,)
    held_out_loss : float
        Mean cross-entropy of the pool on held-out labels, in nats; infinity if there are none.
    """

    experts: list[Expert]
    exponents: np.ndarray
    held_out_loss: float

    @property
    def is_single(self) -> bool:
        """Whether there is only one expert."""
        return len(self.experts) == 1

    def __call__(self, labels: Labels, index: np.ndarray) -> np.ndarray:
        """Return probabilities of the rows at `index` in float32, (n_selected, n_classes), computed in chunks."""
        log_p = [expert(labels, index) for expert in self.experts]
        target = np.empty(log_p[0].shape, dtype=np.float32)
        for part in chunks(target.shape):
            target[part] = np.exp(pool([p[part] for p in log_p], self.exponents, labels.log_prior))
        return target


def chunks(shape: tuple[int, ...]) -> list[slice]:
    """Split an array's rows into slices of at most `CHUNK_SIZE` numbers."""
    return list(gen_batches(shape[0], max(1, CHUNK_SIZE // shape[1]))) if shape[0] else []


def fit_exponents(
    log_p: list[np.ndarray], truth: np.ndarray | sparse.csr_array, log_prior: np.ndarray, center: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the exponents that minimise the pool's cross-entropy, shrunk to `center` on a log scale.

    Parameters
    ----------
    log_p : list of ndarray of shape (n_rows, n_classes)
        Log-probabilities of each expert.
    truth : array or sparse array of shape (n_rows, n_classes)
        Probabilities of the classes, which may be multiplied by row weights.
    log_prior : ndarray of shape (n_classes,)
    center : tuple of float
        One exponent per expert.

    Returns
    -------
    exponents : ndarray of shape (n_experts,)
    losses : ndarray of shape (n_rows,)
        Cross-entropy of the pool with respect to `truth` in each row, in nats.
    """
    log_center = np.log(center)

    def losses(log_exponents: np.ndarray) -> np.ndarray:
        """Return the cross-entropy of each row, (n_rows,)."""
        exponents = np.exp(log_exponents)
        parts = [
            cross_entropy(pool([p[part] for p in log_p], exponents, log_prior), truth[part])
            for part in chunks(truth.shape)
        ]
        return np.concatenate([np.zeros(0), *parts])

    best = minimize(
        lambda e: losses(e).sum() + np.square(e - log_center).sum(),
        log_center,
        method="L-BFGS-B",
        bounds=[(MIN_LOG_EXPONENT, MAX_LOG_EXPONENT)] * len(log_p),
    ).x
    return np.exp(best), losses(best)


def cross_entropy(log_p: np.ndarray, truth: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Return the cross-entropy of predictions with respect to `truth` in each row, (n_rows,)."""
    return -np.asarray((truth * log_p).sum(axis=1))


def mean_loss(losses: np.ndarray, truth: sparse.csr_array) -> float:
    """Return the mean of losses, weighted as the truth is; infinity if there are none."""
    total = float(truth.sum())
    return float(losses.sum()) / total if total > 0 else math.inf


def is_better(losses: np.ndarray, others: np.ndarray) -> bool:
    """Return whether losses have a smaller mean than those of another expert, beyond chance.

    Chance is `MAX_ERRORS` standard errors of the mean difference. With few rows it is n / `N_PER_ERROR` of them,
    because few rows seldom show a gain that is there.

    Parameters
    ----------
    losses, others : ndarray of shape (n_rows,)
        Losses of the same held-out rows.
    """
    gains = others - losses
    n_errors = min(MAX_ERRORS, len(gains) / N_PER_ERROR)
    return len(gains) > 1 and bool(gains.mean() > n_errors * gains.std(ddof=1) / np.sqrt(len(gains)))


def has_strayed(log_p: np.ndarray, target: np.ndarray) -> bool:
    """Return whether predictions have more errors than the pseudo-labels that they were trained on.

    The expected error of the pseudo-labels is 1 less the mean probability of their classes, which is calibrated on
    held-out labels if there are any. Predictions that differ from them on more than twice this fraction of the rows
    have a larger error.

    Parameters
    ----------
    log_p : ndarray of shape (n_rows, n_classes)
        Predicted log-probabilities.
    target : ndarray of shape (n_rows, n_classes)
        Pseudo-labels.
    """
    return disagreement(log_p, target) > 2 * float(1 - target.max(1).mean())


def disagreement(log_p: np.ndarray, target: np.ndarray) -> float:
    """Return the fraction of rows in which the most probable classes differ."""
    return float(np.mean(log_p.argmax(1) != target.argmax(1)))


@torch.inference_mode()
def predict_log_proba(model: VAE, rows: Rows) -> np.ndarray:
    """Return log p(y|x) of the rows in float32, (n_rows, n_classes)."""
    return gather((model.log_proba(batch["x"]) for batch in rows.chunks()), len(rows), np.float32)
