"""One noise scale per column, measured when training with one for all is over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sklearn_vae._diagnostics import evenly_spaced
from sklearn_vae._engine import Rows
from sklearn_vae._vae import VAE
from sklearn_vae.likelihoods.gaussian import GaussianModule
from sklearn_vae.objectives import draw

# Rows that say how large the columns' errors are, at most, and of draws for them at least.
MAX_ROWS = 8192
MIN_DRAWS = 512
# Shares of the common variance in a column's that are tried, from all of it to next to nothing.
N_SHARES = 31
MIN_SHARE = 1e-3


def forget_columns(model: VAE) -> None:
    """Give a model one scale again, because training goes on."""
    if (log_scale := _column_log_scale(model)) is not None:
        log_scale.zero_()


def measure_columns(model: VAE, rows: Rows, runs: Iterable[tuple[VAE, Rows, Rows]]) -> None:
    """Give a generative model that was trained on `rows` a scale per column, if its likelihood has one.

    `runs` are models with their training and held-out rows.
    """
    log_scale = _column_log_scale(model)
    if log_scale is not None and model.objective.generative:
        pairs = [(column_errors(m, training), column_errors(m, held_out)) for m, training, held_out in runs]
        log_scale.copy_(fit_column_scales(column_errors(model, rows), pairs))


def _column_log_scale(model: VAE) -> Tensor | None:
    return model.likelihood.column_log_scale if isinstance(model.likelihood, GaussianModule) else None


@torch.inference_mode()
def column_errors(model: VAE, rows: Rows) -> Tensor:
    """Return the mean squared error of each column, (n_features,), of rows decoded from draws of their posteriors."""
    generator = torch.Generator(rows.x.device).manual_seed(0)
    rows = evenly_spaced(rows, MAX_ROWS)
    total, total_weight = torch.zeros(rows.x.shape[1], dtype=torch.float64, device=rows.x.device), 0.0
    for _ in range(math.ceil(MIN_DRAWS / len(rows))):
        for batch in rows.chunks():
            y = model.likelihood.observe(batch["x"])
            residual = y - model.decode(draw(model.encode(y), (), generator))
            weight = batch.get("weight", torch.ones_like(y[:, 0])).double()
            total, total_weight = total + weight @ residual.double().square(), total_weight + float(weight.sum())
    return total / total_weight


def fit_column_scales(errors: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    r"""Return the logarithms of what multiplies the common scale, (n_features,).

    The variances are :math:`c u_j \sigma^2`, with :math:`u_j = (1 - \lambda) e_j / \bar e + \lambda` of the
    training rows' errors. The two numbers are those that make held-out rows most probable:

    .. math:: \min_{\lambda, c} \sum_j \log(c u_j) + s_j / (c u_j \bar s)

    with the held-out rows' errors :math:`s_j`. With :math:`\lambda = 1` columns have the common scale.

    Parameters
    ----------
    errors : Tensor of shape (n_features,)
        Of the training rows, under the model that is kept.
    pairs : sequence of pairs of Tensor
        Of training rows and of rows that were held out, for each time that this was done.
    """
    shares = torch.logspace(0, math.log10(MIN_SHARE), N_SHARES, dtype=errors.dtype, device=errors.device)[:, None]
    u = [shares + (1 - shares) * _relative(training) for training, _ in pairs]
    c = [(_relative(held_out) / v).mean(1, keepdim=True) for (_, held_out), v in zip(pairs, u, strict=True)]
    # Where no column has an error, the common scale's floor is all there is.
    c = [factor.clamp_min(MIN_SHARE) for factor in c]
    loss = torch.stack([(factor * v).log().sum(1) for factor, v in zip(c, u, strict=True)]).mean(0)
    best = int(loss.argmin())
    variance = (shares + (1 - shares) * _relative(errors))[best] * torch.stack(c).mean(0)[best]
    return 0.5 * variance.log()


def _relative(errors: Tensor) -> Tensor:
    return errors / errors.mean().clamp_min(torch.finfo(errors.dtype).tiny)
