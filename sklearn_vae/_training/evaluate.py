"""A model's scores on held-out rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sklearn_vae._data.rows import CHUNK_SIZE, Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.step import weighted_mean

# Minimum number of evaluated rows. Fewer held-out rows are repeated, each time with new noise.
MIN_EVALUATED = 512
# Number of importance samples for the log-likelihood that candidates are compared by.
N_DRAWS = 64


@torch.no_grad()
def evaluate(model: VAE, rows: Rows, beta: float) -> tuple[float, tuple[Tensor, ...]]:
    """Score a model on held-out rows, with the same noise at each call.

    The likelihood's closed-form parameters are set to their optimum on all of these rows, after each
    chunk of rows was scored with its own optimum.

    Returns
    -------
    score : float
        Negative weighted mean loss per row.
    optima : tuple of Tensor
        The sufficient statistics of the closed-form parameters (`LikelihoodModule.optima`).

    Raises
    ------
    ValueError
        If the loss is not finite.
    """
    generator = torch.Generator(rows.device).manual_seed(0)
    score, total = 0.0, 0.0
    optima = list(model.likelihood.optima())
    # The statistics stay as they were if the objective does not score the reconstruction.
    before, sums = [t.clone() for t in optima], [torch.zeros_like(t) for t in optima]
    # Few rows are repeated, each time with new noise.
    repeated = torch.arange(len(rows), device=rows.device).repeat(math.ceil(MIN_EVALUATED / len(rows)))
    rows = rows.select(repeated) if len(repeated) > len(rows) else rows
    model.likelihood.train()
    for batch in rows.chunks():
        weight = batch.get("weight")
        for statistics in optima:
            statistics.zero_()
        score -= float(weighted_mean(model(**batch, beta=beta, generator=generator).loss, weight)) * len(batch["x"])
        total += len(batch["x"]) if weight is None else float(weight.sum())
        for total_sums, statistics in zip(sums, optima, strict=True):
            total_sums += statistics
    model.likelihood.eval()
    if not math.isfinite(score):
        raise ValueError(
            f"training diverged: the mean loss of held-out rows is {-score / total}; use a smaller learning_rate_init, "
            "scale the columns, or leave outliers out."
        )
    for statistics, old, new in zip(optima, before, sums, strict=True):
        statistics.copy_(new if new.any() else old)
    return score / total, tuple(t.clone() for t in optima)


def mean_log_likelihood(model: VAE, rows: Rows) -> float:
    """Return the weighted mean of importance-sampling estimates of log p(x).

    The bound of the loss would prefer models that leave latent variables unused, because it is exact for them.
    """
    estimates = row_log_likelihoods(model, rows)
    parts = [batch.get("weight", torch.ones(len(batch["x"]))) for batch in rows.chunks()]
    weight = torch.cat(parts).double().to(estimates)
    return float(weight @ estimates / weight.sum())


@torch.no_grad()
def row_log_likelihoods(model: VAE, rows: Rows) -> Tensor:
    """Return importance-sampling estimates of log p(x), (n_rows,), in float64."""
    generator = torch.Generator(rows.device).manual_seed(0)
    noise = torch.randn((N_DRAWS, 1, model.n_components), generator=generator, device=rows.device, dtype=torch.float32)
    batches = rows.batches(max(1, CHUNK_SIZE // (N_DRAWS * rows.n_features)))
    return torch.cat([model.log_likelihood(batch["x"], noise).double() for batch in batches])
