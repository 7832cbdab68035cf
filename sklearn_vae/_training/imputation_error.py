"""The choice between models by their errors in hidden cells of held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae._data.masks import observed_cells
from sklearn_vae._data.rows import CHUNK_SIZE, Rows
from sklearn_vae._model.impute import impute
from sklearn_vae._model.vae import VAE

# Share of the observed cells of held-out rows that are hidden, and number of draws that impute them.
HIDDEN_SHARE, N_DRAWS = 0.2, 64
# Columns whose variance is below the square of this multiple of their mean are constant but for rounding errors.
ROUNDING = 8 * np.finfo(np.float64).eps


def choose_imputer(candidates: Sequence[Sequence[VAE]], held_out: Sequence[Rows]) -> int:
    """Return the index of the candidate with the smallest mean squared error in hidden cells, of standardised columns.

    Parameters
    ----------
    candidates : sequence of sequences of VAE
        The models of each candidate, one for each of `held_out`.
    held_out : sequence of Rows
        Rows that the models have not seen.
    """
    if len(candidates) == 1:
        return 0
    variance = column_variances(held_out)
    errors = []
    for models in candidates:
        parts = [hidden_errors(model, rows) for model, rows in zip(models, held_out, strict=True)]
        error = torch.where(variance > 0, torch.stack(parts).sum(0) / variance, 0.0).sum()
        errors.append(float(error.nan_to_num(torch.inf)))
    return int(np.argmin(errors))


def column_variances(parts: Sequence[Rows]) -> Tensor:
    """Return the variances of the columns' observed cells, (n_features,), in float64; 0 for constant columns."""
    x = torch.cat([batch["x"].double() for rows in parts for batch in rows.chunks()])
    center = x.nanmean(0).nan_to_num(0.0)
    variance = (x - center).square().nanmean(0).nan_to_num(0.0)
    return variance.where(variance > (ROUNDING * center).square(), 0.0)


@torch.inference_mode()
def hidden_errors(model: VAE, rows: Rows) -> Tensor:
    """Return weighted sums of squared errors in cells that are hidden at random, (n_features,), in float64."""
    generator = torch.Generator(rows.device).manual_seed(0)
    noise = torch.randn((N_DRAWS, 1, model.n_components), generator=generator, device=rows.device, **FLOAT32)
    total = torch.zeros(rows.n_features, dtype=torch.float64, device=rows.device)
    for batch in rows.batches(max(1, CHUNK_SIZE // (N_DRAWS * rows.n_features))):
        x = batch["x"].to(rows.precision)
        hidden = torch.rand(x.shape, generator=generator, device=x.device) < HIDDEN_SHARE
        square = (impute(model, x.masked_fill(hidden, torch.nan), noise) - x).square()
        scored = square.where(hidden & observed_cells(x), 0.0)
        total += scored.sum(0) if "weight" not in batch else batch["weight"].double() @ scored
    return total
