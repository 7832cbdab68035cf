"""Class mixtures fitted to posteriors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from sklearn_vae._data.labels import UNLABELLED, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE

# Rows predicted with more than this probability make a class's mixture, if they are more than such a share of its
# labelled ones.
CONFIDENT, TYPICAL = 0.99, 0.9


# Rows that a class's mixture is fitted to, at most; and draws from their posteriors, at least, per latent variable.
MAX_MIXED, MIN_DRAWS = 6000, 5


class Assigned(NamedTuple):
    """Posteriors of rows, and their classes."""

    loc: np.ndarray  # (n_rows, n_components)
    scale: np.ndarray  # (n_rows, n_components)
    codes: np.ndarray  # (n_rows,): the label, or the most probable class
    sure: np.ndarray  # (n_rows,): whether it is predicted with confidence
    class_prior: np.ndarray  # (n_classes,): mean probabilities, weighted


@torch.inference_mode()
def assign_classes(model: VAE, rows: Rows, labels: Labels) -> Assigned:
    """Encode and classify all rows by the chunk; labelled rows have their label's class."""
    parts, share, start = [], np.zeros(labels.n_classes), 0
    for batch in rows.chunks():
        part = slice(start, start + len(batch["x"]))
        q, p = model.posterior(batch["x"]), np.exp(model.log_proba(batch["x"]).double().cpu().numpy())
        likeliest, sure, known = p.argmax(1), p.max(1) > CONFIDENT, labels.codes[part] != UNLABELLED
        codes = np.where(known, labels.codes[part], likeliest)
        # A label that is predicted otherwise would blur the classes.
        sure &= likeliest == codes
        p[known] = 0
        p[known, codes[known]] = 1
        share += (p * labels.weight[part, None]).sum(0)
        parts.append((q.loc.double().cpu().numpy(), q.scale.double().cpu().numpy(), codes, sure))
        start = part.stop
    loc, scale, codes, sure = map(np.concatenate, zip(*parts, strict=True))
    return Assigned(loc, scale, codes, sure, share / labels.weight.sum())


def fit_class_mixture(model: VAE, rows: Rows, labels: Labels, seed: int) -> np.ndarray:
    """Fit p(y) and p(z|y) to posteriors.

    A class's rows are those that are predicted with confidence and not labelled otherwise;
    where these are few, its labelled rows come in.

    Returns
    -------
    class_prior : ndarray of shape (n_classes,)
    """
    weight = labels.weight
    loc, scale, codes, sure, class_prior = assign_classes(model, rows, labels)
    rng = np.random.RandomState(seed)
    draws = []
    for k in range(labels.n_classes):
        index, own = np.flatnonzero((codes == k) & sure), np.flatnonzero(labels.codes == k)
        if len(index) < len(own):
            index = index if len(index) > TYPICAL * len(own) else np.union1d(index, own)
        if (weight != 1).any():
            n_draws = max(len(index), MIN_DRAWS * loc.shape[1])
            index = rng.choice(index, n_draws, p=weight[index] / weight[index].sum())
        index = rng.permutation(index)[:MAX_MIXED]
        # So many draws of each row that covariances have full rank.
        index = np.repeat(index, -(-MIN_DRAWS * loc.shape[1] // len(index)))
        draws.append(loc[index] + scale[index] * rng.standard_normal((len(index), loc.shape[1])))
    assert model.class_mixture is not None
    model.class_mixture.fit(draws, class_prior, seed)
    return class_prior
