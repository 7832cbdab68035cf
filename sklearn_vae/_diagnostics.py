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
    index = torch.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS), device=rows.x.device).long()
    with torch.no_grad():
        z = model.posterior(rows[index]["x"]).loc
    gains = []
    for tangent in torch.eye(z.shape[1], dtype=z.dtype, device=z.device):
        column = torch.autograd.functional.jvp(model.reconstruct, z, tangent.expand_as(z))[1].detach()
        gains.append(float(column.square().sum(-1).mean()))
    variance = model.likelihood.variance
    noise = 0.0 if variance is None else float(variance.mean())
    return np.sqrt(np.array(gains) + noise) / z.std(0).clamp_min(MIN_STD).cpu().numpy()
