"""One noise scale per column, measured when training with one for all is over."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae.objectives import draw

# Rows that say how large the columns' errors are, at most, and of draws for them at least.
MAX_ROWS = 8192
MIN_DRAWS = 512
# Shares of the common variance in a column's that are tried, from all of it to next to nothing.
N_SHARES = 31
MIN_SHARE = 1e-3


def measure_columns(model: VAE, rows: Rows, runs: Sequence[tuple[VAE, Rows, Rows]]) -> None:
    """Give a generative model that was trained on `rows` a scale per column, if its likelihood has one.

    `runs` are models with their training and held-out rows.
    """
    if model.likelihood.measures_columns and model.objective.generative:
        pairs = [(squared_errors(m, training), squared_errors(m, held_out)) for m, training, held_out in runs]
        # A model may be its own only run.
        squares = pairs[0][0] if runs[0][0] is model else squared_errors(model, rows)
        assert model.likelihood.column_log_scale is not None
        model.likelihood.column_log_scale.copy_(fit_column_scales(squares, pairs))


@torch.inference_mode()
def squared_errors(model: VAE, rows: Rows) -> Tensor:
    """Return the squared errors (n_rows, n_features) of rows decoded from draws of their posteriors, times weights."""
    generator = torch.Generator(rows.device).manual_seed(0)
    rows = rows.evenly_spaced(MAX_ROWS)
    n_draws = math.ceil(MIN_DRAWS / len(rows))
    squares = []
    for batch in rows.chunks():
        observed = model.likelihood.observe(batch["x"])
        raw = model.decode(draw(model.encode(observed.inputs), (n_draws,), generator))
        square = (observed.cells - raw).double().square().mean(0)
        squares.append(square * batch["weight"][:, None] if "weight" in batch else square)
    return torch.cat(squares)


def fit_column_scales(squares: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    r"""Return the logarithms of what multiplies the common scale, (n_features,).

    The variances are :math:`c u_j \sigma^2`, with :math:`u_j = (1 - \lambda) e_j / \bar e + \lambda` of the
    training rows' mean squared errors :math:`e_j`. With :math:`\lambda = 1` columns have the common scale. The
    number c is the one that makes held-out rows most probable; :math:`\lambda` is the largest that does so but for
    one standard error (Breiman et al. 1984, section 3.4.3): errors with heavy tails say little of their scale.

    Parameters
    ----------
    squares : Tensor of shape (n_rows, n_features)
        Squared errors of the training rows, under the model that is kept.
    pairs : sequence of pairs of Tensor
        Squared errors of training rows and of rows that were held out, for each time that this was done.
    """
    shares = torch.logspace(0, math.log10(MIN_SHARE), N_SHARES, dtype=squares.dtype, device=squares.device)[:, None]
    losses, factors = [], []
    for training, held_out in pairs:
        u = shares + (1 - shares) * _relative(training).mean(0)
        held_out = _relative(held_out)
        # Where no column has an error, the common scale's floor is all there is.
        factors.append((held_out.mean(0) / u).mean(1, keepdim=True).clamp_min(MIN_SHARE))
        losses.append((factors[-1] * u).log().sum(1) + held_out @ (factors[-1] * u).reciprocal().T)
    loss = torch.cat(losses)
    excess = loss - loss[:, loss.mean(0).argmin(), None]
    # One row says nothing of its kind's spread.
    standard_error = excess.std(0) / math.sqrt(len(excess)) if len(excess) > 1 else math.inf
    chosen = int((excess.mean(0) <= standard_error).nonzero()[0])
    variance = (shares + (1 - shares) * _relative(squares).mean(0))[chosen] * torch.stack(factors).mean(0)[chosen]
    return 0.5 * variance.log()


def _relative(squares: Tensor) -> Tensor:
    return squares / squares.mean().clamp_min(torch.finfo(squares.dtype).tiny)
