"""What is measured on a fitted model."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_vae._engine import EVALUATION_BATCH, Rows
from sklearn_vae._vae import VAE

# Rows for the latent scale: a mean over this many is known to a few per cent.
MAX_ROWS = 1024
# Components whose posterior means spread less are not used; their scale must not grow without bound.
MIN_STD = 0.1


@torch.inference_mode()
def kl_per_component(model: VAE, rows: Rows) -> np.ndarray:
    """Return the rows' weighted mean KL(q(z_j|x) || p(z_j)) in nats, (n_components,)."""
    total = torch.zeros((), dtype=torch.float64)
    for batch in rows.batches(EVALUATION_BATCH):
        kl = model.prior.kl(model.posterior(batch["x"])).double()
        total = total + (kl * batch["weight"][:, None] if "weight" in batch else kl).sum(0).cpu()
    return (total / len(rows)).numpy()


def latent_scale(model: VAE, rows: Rows) -> np.ndarray:
    r"""Return the factor that puts each posterior mean on the scale of its effect on the data.

    :math:`\sqrt{g_j^2 + \sigma^2} / \mathrm{std}(\mu_j)`, (n_components,), with the decoder's
    gain :math:`g_j^2 = E_x \| \partial f / \partial z_j \|^2` and the noise variance, in the
    data's units. At the probabilistic-PCA start the scaled means are PCA's scores.
    """
    last = len(rows) - 1
    index = torch.linspace(0, last, min(len(rows), MAX_ROWS), dtype=torch.float64, device=rows.x.device).long()
    batch = rows[index]
    with torch.no_grad():
        z = model.posterior(batch["x"]).loc
    weight = batch.get("weight", torch.ones_like(z[:, 0])).double().cpu().numpy()
    gains = []
    for tangent in torch.eye(z.shape[1], dtype=z.dtype, device=z.device):
        column = torch.autograd.functional.jvp(model.reconstruct, z, tangent.expand_as(z))[1].detach()
        gains.append(np.average(column.square().sum(-1).cpu().numpy(), weights=weight))
    variance = model.likelihood.variance
    noise = 0.0 if variance is None else float(variance.mean())
    means = z.double().cpu().numpy()
    spread = np.sqrt(np.average(np.square(means - np.average(means, axis=0, weights=weight)), axis=0, weights=weight))
    return np.sqrt(np.array(gains) + noise) / spread.clip(MIN_STD)
