"""One noise scale per column, estimated after training with a common scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae.objectives import draw

# Maximum numbers of rows and of cells, and minimum number of posterior draws, that the columns' squared errors are
# averaged over.
MAX_ROWS, MAX_CELLS = 8192, 2**20
MIN_DRAWS = 512
# Number of candidate shrinkage weights towards the common variance, and the smallest of them (the largest is 1).
N_SHARES = 31
MIN_SHARE = 1e-3


def measure_columns(model: VAE, rows: Rows, runs: Sequence[tuple[VAE, Rows, Rows]]) -> None:
    """Set the noise scale of each column, if the likelihood has such scales and the model is generative.

    Parameters
    ----------
    model : VAE
        Trained on `rows`, changed in place.
    rows : Rows
    runs : sequence of (VAE, Rows, Rows)
        Trained models, each with its training and held-out rows.
    """
    groups = model.likelihood.measured_columns()
    if groups and model.objective.generative:
        pairs = [(squared_errors(m, training), squared_errors(m, held_out)) for m, training, held_out in runs]
        # `model` may be the model of the only run.
        squares = pairs[0][0] if runs[0][0] is model else squared_errors(model, rows)
        for log_scale, columns, units in groups:

            def select(errors: Tensor, columns=columns, units=units) -> Tensor:
                """Return the errors of the group's columns in its units."""
                return errors[:, columns] if units is None else errors[:, columns] / units.square()

            log_scale.copy_(fit_column_scales(select(squares), [(select(a), select(b)) for a, b in pairs]))


@torch.inference_mode()
def squared_errors(model: VAE, rows: Rows) -> Tensor:
    """Return squared reconstruction errors times row weights, averaged over posterior draws, (n_rows, n_features).

    They are NaN for missing cells.
    """
    generator = torch.Generator(rows.device).manual_seed(0)
    rows = rows.evenly_spaced(max(1, min(MAX_ROWS, MAX_CELLS // rows.n_features)))
    n_draws = math.ceil(MIN_DRAWS / len(rows))
    squares = []
    for batch in rows.chunks():
        observed = model.observe(batch["x"], batch.get("mask"))
        raw = model.decode(draw(model.encode(observed), (n_draws,), generator))
        square = (batch["x"].double() - model.likelihood.mean(raw)).square().mean(0)
        squares.append(square * batch["weight"][:, None] if "weight" in batch else square)
    return torch.cat(squares)


def fit_column_scales(squares: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    r"""Return the logarithm of each column's scale relative to the common scale, (n_features,).

    The variances are :math:`c u_j \sigma^2`, with :math:`u_j = (1 - \lambda) e_j / \bar e + \lambda` and the
    training rows' mean squared errors :math:`e_j`. With :math:`\lambda = 1`, all columns have the common scale. The
    factor c maximises the likelihood of held-out rows. The shrinkage :math:`\lambda` is the largest within one
    standard error of the best (one-SE rule; Breiman et al. 1984, section 3.4.3), because heavy-tailed errors
    determine their scale poorly.

    Parameters
    ----------
    squares : Tensor of shape (n_rows, n_features)
        Squared errors of the training rows under the final model.
    pairs : sequence of pairs of Tensor
        Squared errors of the training rows and of the held-out rows of each run.
    """
    shares = torch.logspace(0, math.log10(MIN_SHARE), N_SHARES, dtype=squares.dtype, device=squares.device)[:, None]
    losses, factors = [], []
    for training, held_out in pairs:
        u = shares + (1 - shares) * _column_means(_relative(training))
        mask, held_out = ~held_out.isnan(), _relative(held_out)
        # The floor avoids a factor of 0 if no column has an error.
        factors.append((_column_means(held_out) / u).mean(1, keepdim=True).clamp_min(MIN_SHARE))
        scaled = factors[-1] * u
        losses.append(mask.to(u.dtype) @ scaled.log().T + held_out.nan_to_num(0.0) @ scaled.reciprocal().T)
    loss = torch.cat(losses)
    excess = loss - loss[:, loss.mean(0).argmin(), None]
    # The standard error of a single row is unknown.
    standard_error = excess.std(0) / math.sqrt(len(excess)) if len(excess) > 1 else math.inf
    chosen = int((excess.mean(0) <= standard_error).nonzero()[0])
    u = shares + (1 - shares) * _column_means(_relative(squares))
    variance = u[chosen] * torch.stack(factors).mean(0)[chosen]
    return 0.5 * variance.log()


def _relative(squares: Tensor) -> Tensor:
    return squares / squares.nanmean().clamp_min(torch.finfo(squares.dtype).tiny)


def _column_means(relative: Tensor) -> Tensor:
    """Return the mean of each column's observed cells; the mean of all cells, 1, if there are none."""
    return relative.nanmean(0).nan_to_num(1.0)
