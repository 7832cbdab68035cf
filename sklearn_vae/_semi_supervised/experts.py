"""Experts on the classes of unlabelled rows, and how their opinions are pooled."""

from __future__ import annotations

from collections.abc import Callable

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

# What the exponents of a network, and of a network and neighbours, are shrunk to.
ALONE, TOGETHER = (1.0,), (0.5, 1.5)


# Returns log-probabilities of the classes, (n_asked, n_classes), from labels, for the rows at given indices.
Expert = Callable[[Labels, np.ndarray], np.ndarray]


def out_of_fold(expert: Expert, labels: Labels, seed: int) -> np.ndarray:
    """Return an expert's predictions for the labelled rows that `folds` judges by, each made without its label."""
    parts = [expert(labels.without(fold), fold) for fold in labels.folds(seed)]
    return np.concatenate(parts) if parts else np.zeros((0, labels.n_classes))


def pool(log_p: list[np.ndarray], exponents: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    r"""Return the log of :math:`\pi_k \prod_e (p_e(k) / \pi_k)^{a_e}`, normalised, (n_rows, n_classes).

    A logarithmic opinion pool (Genest and Zidek 1986): with exponents 1 the posterior of
    independent evidence.
    """
    return log_softmax(log_prior + sum(a * (lp - log_prior) for a, lp in zip(exponents, log_p, strict=True)), axis=-1)


def pooled_targets(log_p: list[np.ndarray], exponents: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    """Return the pool's probabilities, float32, made by the chunk."""
    target = np.empty(log_p[0].shape, dtype=np.float32)
    for part in chunks(target.shape):
        target[part] = np.exp(pool([p[part] for p in log_p], exponents, log_prior))
    return target


def chunks(shape: tuple[int, ...]) -> list[slice]:
    """Return slices of rows, each with no more than `CHUNK_SIZE` numbers, that make up all of an array's."""
    return list(gen_batches(shape[0], max(1, CHUNK_SIZE // shape[1]))) if shape[0] else []


def fit_exponents(
    log_p: list[np.ndarray], truth: np.ndarray | sparse.csr_array, log_prior: np.ndarray, center: tuple[float, ...]
) -> tuple[np.ndarray, float]:
    """Find the exponents that make the pool nearest to the truth, shrunk to `center` on a log scale.

    Parameters
    ----------
    log_p : list of ndarray of shape (n_rows, n_classes)
        Of each expert.
    truth : array or sparse array of shape (n_rows, n_classes)
        Probabilities of the classes.
    log_prior : ndarray of shape (n_classes,)
    center : tuple of float
        One for each expert.

    Returns
    -------
    exponents : ndarray of shape (n_experts,)
    loss : float
        Cross-entropy of the truth and the pool in nats, summed over rows.
    """
    middle = np.log(center)

    def surprise(log_exponents: np.ndarray) -> float:
        return float(sum(surprise_of(part, np.exp(log_exponents)) for part in chunks(truth.shape)))

    def surprise_of(part: slice, exponents: np.ndarray) -> float:
        pooled = pool([p[part] for p in log_p], exponents, log_prior)
        return -(truth[part] * pooled).sum()

    best = minimize(
        lambda e: surprise(e) + np.square(e - middle).sum(), middle, method="L-BFGS-B", bounds=[(-5, 2.5)] * len(log_p)
    ).x
    return np.exp(best), surprise(best)


@torch.inference_mode()
def predict_log_proba(model: VAE, rows: Rows) -> np.ndarray:
    """Return log p(y|x) of rows, (n_rows, n_classes), float32."""
    return gather((model.log_proba(batch["x"]) for batch in rows.chunks()), len(rows), np.float32)
