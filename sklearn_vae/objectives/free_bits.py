"""Evidence lower bound with free bits."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import torch
from sklearn.utils._param_validation import Interval

from sklearn_vae.objectives.base import Batch, Objective, Terms, draw

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE


class FreeBits(Objective):
    r"""Negative evidence lower bound with a minimum KL charge per component.

    .. math:: -\mathbb{E}_{q(z|x)} \log p(x|z)
        + \beta \sum_j \max(\lambda, \mathrm{mean}_x \mathrm{KL}(q(z_j|x) \| p(z_j)))

    The mean is over a batch (Kingma et al. 2016, eq. 15). A component gains nothing from a KL
    below :math:`\lambda`, so components that are not needed yet do not collapse. If the prior does
    not make the components independent, they share the sum of their allowances.

    Parameters
    ----------
    free_bits : float, default=0.1
        The allowance :math:`\lambda`, in nats per component.

    See Also
    --------
    ELBO : The bound without free bits.

    Examples
    --------
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.objectives import FreeBits
    >>> vae = VAETransformer(objective=FreeBits(0.25))
    """

    _parameter_constraints: ClassVar[dict] = {"free_bits": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, free_bits=0.1):
        self.free_bits = free_bits

    def __call__(self, model: VAE, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row."""
        q = model.encode(batch.observed, generator)
        z = draw(q, (), generator)
        reconstruction = -model.likelihood.log_prob(batch.observed, model.decode(z), batch.weight)
        kl = model.kl(q, z)
        free = self.free_bits * z.shape[-1] / kl.shape[-1]
        mean = kl.mean(0) if batch.weight is None else batch.weight @ kl / batch.weight.sum()
        charged = torch.where(mean > free, kl, free).sum(-1)
        return Terms(reconstruction + beta * charged, reconstruction, kl.sum(-1))
