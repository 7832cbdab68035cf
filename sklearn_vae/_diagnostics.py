"""What is measured on a fitted model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from sklearn_vae._engine import Rows
from sklearn_vae._vae import VAE
from sklearn_vae.objectives import draw

# Rows for the latent scale, and for the KL: means over this many are known to a few per cent.
MAX_ROWS = 1024
MAX_KL_ROWS = 8192
# Components whose posterior means spread less are not used; their scale must not grow without bound.
MIN_STD = 0.1


def check_finite(values: Iterable[Tensor], name: str) -> None:
    """Raise ValueError if one of the values is not finite: what the last step did, no loss has shown."""
    if not all(bool(v.isfinite().all()) for v in values):
        raise ValueError(
            f"training diverged: {name} are not finite after the last step; use a smaller learning_rate_init, or "
            "scale the columns."
        )


@torch.inference_mode()
def kl_per_component(model: VAE, rows: Rows) -> np.ndarray:
    """Return the rows' weighted mean KL(q(z_j|x) || p(z_j)) in nats, (n_components,), or that of evenly spaced ones.

    Raises
    ------
    ValueError
        If it is not finite.
    """
    generator = torch.Generator(rows.x.device).manual_seed(0)
    total, total_weight = torch.zeros((), dtype=torch.float64), 0.0
    for batch in evenly_spaced(rows, MAX_KL_ROWS).chunks():
        q = model.posterior(batch["x"])
        kl = model.marginal_kl(q, draw(q, (), generator)).double()
        weight = batch.get("weight", torch.ones_like(kl[:, 0])).double()
        total, total_weight = total + (weight @ kl).cpu(), total_weight + float(weight.sum())
    check_finite([total], "posteriors")
    return (total / total_weight).numpy()


def latent_scale(model: VAE, rows: Rows) -> np.ndarray:
    r"""Return the factor that puts each posterior mean on the scale of its effect on the data.

    :math:`\sqrt{g_j^2 + \sigma^2} / \mathrm{std}(\mu_j)`, (n_components,), with the decoder's
    gain :math:`g_j^2 = E_x \| \partial f / \partial z_j \|^2` and the noise variance, in the
    data's units. At the probabilistic-PCA start the scaled means are PCA's scores.
    """
    rows = evenly_spaced(rows, MAX_ROWS)
    batch = rows[torch.arange(len(rows), device=rows.x.device)]
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


def evenly_spaced(rows: Rows, n_rows: int) -> Rows:
    """Return `n_rows` of the rows, or all where there are fewer."""
    last, n = len(rows) - 1, min(len(rows), n_rows)
    return rows.select(torch.linspace(0, last, n, dtype=torch.float64, device=rows.x.device).long())
