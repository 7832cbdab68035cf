"""Importance-weighted bound."""

from __future__ import annotations

import math
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch.distributions import Normal

from sklearn_vae.objectives.base import Batch, Objective, Terms, draw

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE


class IWAE(Objective):
    r"""Negative importance-weighted bound, tighter than the ELBO.

    .. math:: -\log \frac{1}{K} \sum_k w_k, \qquad
        w_k = p(x|z_k) \left( \frac{p(z_k)}{q(z_k|x)} \right)^\beta

    (Burda, Grosse & Salakhutdinov 2016, eq. 8). It improves the density p(x). Posteriors are
    wider than with the ELBO, so the latent variables are no better as features. A training step
    decodes K draws per row.

    Parameters
    ----------
    n_draws : int, default=5
        Number K of draws per row.
    gradient : {"dreg", "plain"}, default="dreg"
        Estimator of the encoder's gradient. "dreg": the doubly reparametrised gradient (Tucker
        et al. 2019, eq. 8), whose signal-to-noise ratio does not decrease as K grows. "plain":
        the gradient of the bound by automatic differentiation.

    See Also
    --------
    ELBO : The bound with one draw.

    Notes
    -----
    An optimal noise scale is computed as for the ELBO, with equal weights for all draws.

    Examples
    --------
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.objectives import IWAE
    >>> vae = VAETransformer(objective=IWAE(n_draws=10))
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "gradient": [StrOptions({"dreg", "plain"})],
    }

    def __init__(self, n_draws=5, gradient="dreg"):
        self.n_draws = n_draws
        self.gradient = gradient

    def __call__(self, model: VAE, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row."""
        q = model.encode(batch.observed, generator)
        z = draw(q, (int(self.n_draws),), generator)
        log_p = model.likelihood.log_prob(batch.observed, model.decode(z), batch.weight)
        is_dreg = self.gradient == "dreg" and z.requires_grad
        # The gradient of log q with respect to its parameters is left out; gradients reach q through z only.
        log_q = (Normal(q.loc.detach(), q.scale.detach(), validate_args=False) if is_dreg else q).log_prob(z).sum(-1)
        kl = log_q - model.log_prior(z)
        log_w = log_p - beta * kl
        if is_dreg:
            # The gradient at z already contains the normalised importance weight w. The omitted score term, which
            # enters beta times, contributes -(w - w^2): beta = 1 leaves w^2, and beta = 0 leaves w. Divided by w:
            share = 1 - beta + beta * log_w.detach().softmax(0)[..., None]
            z.register_hook(lambda gradient: share * gradient)
        bound = log_w.logsumexp(0) - math.log(self.n_draws)
        return Terms(-bound, -log_p.mean(0), kl.mean(0))
