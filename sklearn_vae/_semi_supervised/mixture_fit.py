"""Fits class mixtures to the posteriors of the training rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from sklearn_vae._data.labels import UNLABELLED, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE

# Minimum predicted probability for a row to enter its class's mixture.
MIN_CONFIDENCE = 0.99
# Minimum number of these rows relative to the class's labelled rows. With fewer, the labelled rows are added.
MIN_CONFIDENT_SHARE = 0.9
# Maximum number of rows that a class's mixture is fitted to.
MAX_CLASS_ROWS = 6000
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
    weight = labels.weight
    loc, scale, codes, confident, class_prior = assign_classes(model, rows, labels)
    rng = np.random.RandomState(seed)
    draws = []
    for k in range(labels.n_classes):
        index, labelled = np.flatnonzero((codes == k) & confident), np.flatnonzero(labels.codes == k)
        if len(index) <= MIN_CONFIDENT_SHARE * len(labelled):
            index = np.union1d(index, labelled)
        if (weight != 1).any():
            n_draws = max(len(index), MIN_DRAWS_PER_LATENT * loc.shape[1])
            index = rng.choice(index, n_draws, p=weight[index] / weight[index].sum())
        index = rng.permutation(index)[:MAX_CLASS_ROWS]
        # Enough draws per row for covariances of full rank.
        index = np.repeat(index, -(-MIN_DRAWS_PER_LATENT * loc.shape[1] // len(index)))
        draws.append(loc[index] + scale[index] * rng.standard_normal((len(index), loc.shape[1])))
    assert model.class_mixture is not None
    model.class_mixture.fit(draws, class_prior, rng.randint(2**31))
    return class_prior
