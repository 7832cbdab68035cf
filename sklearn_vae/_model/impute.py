"""Values of missing cells: their means given the observed cells, or draws."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_vae._model.vae import VAE


def impute(model: VAE, x: Tensor, noise: Tensor) -> Tensor:
    r"""Return the means of rows given their observed cells, (n_rows, n_features), in the data's units, float64.

    .. math:: E[x|x_o] \approx \sum_k \tilde w_k E[x|z_k]

    The draws z and their weights, here normalised, are those of `VAE.log_likelihood` (Mattei and Frellsen 2019,
    eq. 12).

    Parameters
    ----------
    model : VAE
    x : Tensor of shape (n_rows, n_features)
        Rows with NaN in missing cells.
    noise : Tensor of shape (n_draws, 1, n_components)
        Standard normal draws, shared by all rows.
    """
    totals, means = [], []
    for _, raw, log_w in model.weighted_draws(model.observe_rows(x), noise):
        totals.append(log_w.logsumexp(0))
        means.append((log_w.softmax(0).double()[..., None] * model.likelihood.mean(raw)).sum(0))
    shares = torch.stack(totals).double().softmax(0)
    return (shares[..., None] * torch.stack(means)).sum(0)


def draw_missing(model: VAE, x: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Draw rows given their observed cells, (n_rows, n_features), in the data's units, float64.

    One draw of z per row is chosen by its weight (sampling importance resampling), and decoded with noise.

    Parameters
    ----------
    model : VAE
    x, noise : Tensor
        As in `impute`.
    generator : torch.Generator
        Source of the choices and of the noise.
    """
    draws, log_w = [], []
    for z, _, weight in model.weighted_draws(model.observe_rows(x), noise):
        draws.append(z)
        log_w.append(weight)
    index = torch.multinomial(torch.cat(log_w).double().softmax(0).T, 1, generator=generator)[:, 0]
    z = torch.cat(draws)[index, torch.arange(len(x), device=x.device)]
    return model.sample(z, generator)
