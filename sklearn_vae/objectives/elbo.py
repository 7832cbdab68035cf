"""Evidence lower bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sklearn_vae.objectives.base import Batch, Objective, Terms, draw

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE


class ELBO(Objective):
    r"""Negative evidence lower bound with one reparametrised draw.

    .. math:: -\mathbb{E}_{q(z|x)} \log p(x|z) + \beta \, \mathrm{KL}(q(z|x) \| p(z))

    With :math:`\beta = 1` this is the bound of Kingma and Welling (2014, eq. 3). Other values
    give the beta-VAE of Higgins et al. (2017). The estimator's parameter `beta` sets the weight.

    See Also
    --------
    IWAE : A tighter bound.
    FreeBits : The bound with a minimum KL per component.

    Examples
    --------
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.objectives import ELBO
    >>> vae = VAETransformer(objective=ELBO(), beta=0.5)
    """

    is_elbo = True

    def __call__(self, model: VAE, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row."""
        q = model.encode(batch.observed, generator)
        z = draw(q, (), generator)
        reconstruction = -model.likelihood.log_prob(batch.observed, model.decode(z), batch.weight)
        kl = model.kl(q, z).sum(-1)
        return Terms(reconstruction + beta * kl, reconstruction, kl)
