"""Deterministic autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sklearn_vae.objectives.base import Batch, Objective, Terms

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE


class Autoencoder(Objective):
    """Reconstruction loss of a deterministic autoencoder.

    The decoder gets the posterior mean. There is no noise and no KL, and `beta` is ignored.
    This is the usual baseline for a variational autoencoder. It is not a model of p(x), so
    estimators trained with it have no ``sample``, ``score_samples`` or ``score``.

    See Also
    --------
    ELBO : Variational bound, with noise and a prior.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> ae = VAETransformer(2, objective="autoencoder", max_iter=10, early_stopping=False, random_state=0)
    >>> ae.fit_transform(load_iris().data).shape
    (150, 2)
    >>> hasattr(ae, "sample")
    False
    """

    generative = False

    def __call__(self, model: VAE, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row."""
        reconstruction = -model.likelihood.log_prob(
            batch.observed, model.decode(model.encode(batch.observed).loc), batch.weight
        )
        return Terms(reconstruction, reconstruction, torch.zeros_like(reconstruction))
