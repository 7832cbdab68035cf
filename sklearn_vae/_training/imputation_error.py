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
    errors = [
        sum((squared_errors(model, rows) for model, rows in zip(models, held_out, strict=True)), start=0.0)
        for models in candidates
    ]
    return int(np.argmin([float(torch.where(variance > 0, error / variance, 0.0).sum()) for error in errors]))


def column_variances(parts: Sequence[Rows]) -> Tensor:
    """Return the variances of the columns' observed cells, (n_features,), in float64."""
    x = torch.cat([batch["x"].double() for rows in parts for batch in rows.chunks()])
    center = x.nanmean(0).nan_to_num(0.0)
    return (x - center).square().nanmean(0).nan_to_num(0.0)


@torch.inference_mode()
def squared_errors(model: VAE, rows: Rows) -> Tensor:
    """Return weighted sums of squared errors in cells that are hidden at random, (n_features,), in float64."""
    generator = torch.Generator(rows.device).manual_seed(0)
    noise = torch.randn((N_DRAWS, 1, model.n_components), generator=generator, device=rows.device, **FLOAT32)
    total = torch.zeros(rows.n_features, dtype=torch.float64, device=rows.device)
    for batch in rows.batches(max(1, CHUNK_SIZE // (N_DRAWS * rows.n_features))):
        x = batch["x"].to(torch.float32)
        hidden = torch.rand(x.shape, generator=generator, device=x.device) < HIDDEN_SHARE
        square = (impute(model, x.masked_fill(hidden, torch.nan), noise) - x).square()
        scored = square.where(hidden & observed_cells(x), 0.0)
        total += scored.sum(0) if "weight" not in batch else batch["weight"].double() @ scored
    return total
