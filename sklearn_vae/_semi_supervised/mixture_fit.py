"""Fits class mixtures to the posteriors of the training rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from sklearn_vae._data.labels import MIN_PROBABILITY, UNLABELLED, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.class_mixture import MIN_VARIANCE
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.diagnostics import Statistics

# Minimum predicted probability for a row to enter its class's mixture.
MIN_CONFIDENCE = 0.99
# Minimum number of these rows relative to the class's labelled rows. With fewer, the labelled rows are added.
MIN_CONFIDENT_SHARE = 0.9
# Maximum number of rows that a class's mixture is fitted to.
MAX_CLASS_ROWS = 6000
# Number of rows of a class that a mixture is fitted to in ``partial_fit``, if a chunk has fewer: earlier rows count for
# the others.
MIN_CLASS_ROWS = 1000
# Minimum number of posterior draws per class, for each latent variable.
MIN_DRAWS_PER_LATENT = 5


class Assigned(NamedTuple):
    """Posteriors and classes of all rows."""

    loc: np.ndarray  # (n_rows, n_components)
    scale: np.ndarray  # (n_rows, n_components)
    codes: np.ndarray  # (n_rows,): the label, or the most probable class
    confident: np.ndarray  # (n_rows,): whether the class is predicted with more than the minimum confidence
    class_prior: np.ndarray  # (n_classes,): weighted mean of the class probabilities


@torch.inference_mode()
def assign_classes(model: VAE, rows: Rows, labels: Labels) -> Assigned:
    """Encode and classify all rows, in chunks. Labelled rows keep the class of their label."""
    parts, share, start = [], np.zeros(labels.n_classes), 0
    for batch in rows.chunks():
        part = slice(start, start + len(batch["x"]))
        q, p = model.posterior(batch["x"]), np.exp(model.log_proba(batch["x"]).double().cpu().numpy())
        likeliest, confident, known = p.argmax(1), p.max(1) > MIN_CONFIDENCE, labels.codes[part] != UNLABELLED
        codes = np.where(known, labels.codes[part], likeliest)
        # Rows whose label differs from the prediction would blur the classes.
        confident &= likeliest == codes
        p[known] = 0
        p[known, codes[known]] = 1
        share += (p * labels.weight[part, None]).sum(0)
        parts.append((q.loc.double().cpu().numpy(), q.scale.double().cpu().numpy(), codes, confident))
        start = part.stop
    loc, scale, codes, confident = map(np.concatenate, zip(*parts, strict=True))
    return Assigned(loc, scale, codes, confident, share / labels.weight.sum())


def fit_class_mixture(model: VAE, rows: Rows, labels: Labels, seed: int) -> np.ndarray:
    """Fit p(y) and p(z|y) to posteriors.

    A class's mixture is fitted to the rows that are confidently predicted to be of this class and have no other
    label. If there are few of them, all labelled rows of the class are added.

    Returns
    -------
    class_prior : ndarray of shape (n_classes,)
    """
    weight, mixture = labels.weight, model.class_mixture
    assert mixture is not None
    loc, scale, codes, confident, class_prior = assign_classes(model, rows, labels)
    rng = np.random.RandomState(seed)
    draws = []
    for k in range(labels.n_classes):
        index = _rows_of_class(k, codes, confident, labels)
        mixture.n_rows[k] = float(weight[index].sum())
        if (weight != 1).any():
            n_draws = max(len(index), MIN_DRAWS_PER_LATENT * loc.shape[1])
            index = rng.choice(index, n_draws, p=weight[index] / weight[index].sum())
        index = rng.permutation(index)[:MAX_CLASS_ROWS]
        # Enough draws per row for covariances of full rank.
        index = np.repeat(index, -(-MIN_DRAWS_PER_LATENT * loc.shape[1] // len(index)))
        draws.append(loc[index] + scale[index] * rng.standard_normal((len(index), loc.shape[1])))
    mixture.fit(draws, class_prior, rng.randint(2**31))
    return class_prior


def update_class_mixture(
    model: VAE, rows: Rows, labels: Labels, earlier: Statistics | None
) -> tuple[Statistics, np.ndarray]:
    """Update p(y) and p(z|y), a Gaussian for each class, by the moments of these rows' posteriors.

    If a class has fewer than `MIN_CLASS_ROWS` rows, its earlier distribution counts for the others, at most for as many
    as it was fitted to. A class without rows keeps the mean and covariance of its distribution; at first, this is the
    standard normal one.

    Parameters
    ----------
    model : VAE
    rows : Rows
    labels : Labels
    earlier : tuple of float and ndarray of shape (n_classes,), or None
        Total weight of the rows of earlier calls, and the shares of the classes.

    Returns
    -------
    total : tuple of float and ndarray of shape (n_classes,)
        The same with these rows.
    class_prior : ndarray of shape (n_classes,)
    """
    mixture, n_classes = model.class_mixture, labels.n_classes
    assert mixture is not None
    assigned = assign_classes(model, rows, labels)
    old_weight, old_share = earlier or (0.0, np.zeros(n_classes))
    means, covariances = mixture.moments()
    for k in range(n_classes):
        index = _rows_of_class(k, assigned.codes, assigned.confident, labels)
        weight = float(labels.weight[index].sum())
        if weight > 0:
            mean, covariance = _moments(assigned.loc[index], assigned.scale[index], labels.weight[index] / weight)
            old = min(float(mixture.n_rows[k]), max(MIN_CLASS_ROWS - weight, 0.0))
            mixture.n_rows[k] = old + weight
            part, shift = weight / (weight + old), mean - means[k]
            means[k] += part * shift
            covariances[k] += part * (covariance - covariances[k] + (1 - part) * np.outer(shift, shift))
    mixture.set_gaussians(means, covariances)
    new_weight = float(labels.weight.sum())
    total = old_weight + new_weight
    share = (old_weight * old_share + new_weight * assigned.class_prior) / total
    # A class without rows so far stays possible.
    class_prior = share.clip(MIN_PROBABILITY / n_classes)
    class_prior /= class_prior.sum()
    mixture.log_class.copy_(torch.from_numpy(class_prior).log())
    return (total, share), class_prior


def _moments(loc: np.ndarray, scale: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the covariance of draws from Gaussians with these shares, means and standard deviations."""
    mean = share @ loc
    noise = np.diag(share @ np.square(scale) + MIN_VARIANCE)
    return mean, (share * (loc - mean).T) @ (loc - mean) + noise


def _rows_of_class(k: int, codes: np.ndarray, confident: np.ndarray, labels: Labels) -> np.ndarray:
    """Return the indices of the rows that a class's mixture is fitted to."""
    index, labelled = np.flatnonzero((codes == k) & confident), np.flatnonzero(labels.codes == k)
    return np.union1d(index, labelled) if len(index) <= MIN_CONFIDENT_SHARE * len(labelled) else index
