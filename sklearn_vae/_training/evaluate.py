"""A model's scores on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        The sufficient statistics of the closed-form parameters (`LikelihoodModule.optima`) on these rows.

    Raises
    ------
    ValueError
        If the loss is not finite.
    """
    generator = torch.Generator(rows.device).manual_seed(0)
    score, total = 0.0, 0.0
    optima = list(model.likelihood.optima())
    # The statistics stay as they were where no cell is scored.
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
        statistics.copy_(torch.where(new[1] > 0, new, old))
    return score / total, tuple(sums)


def choose(candidates: Sequence[Sequence[VAE]], held_out: Sequence[Rows]) -> int:
    """Return the index of the candidate with the best log-likelihood of held-out rows, or of an earlier one.

    The bound of the loss would prefer models that leave latent variables unused, because it is exact for them. A few
    outlying rows can decide on the mean. An earlier candidate is therefore chosen if its mean is within a standard
    error of the best mean, and if it is better for more than half of the rows.

    Parameters
    ----------
    candidates : sequence of sequences of VAE
        The models of each candidate, one for each of `held_out`.
    held_out : sequence of Rows
        Rows that the models have not seen.
    """
    if len(candidates) == 1:
        return 0
    estimates = [
        torch.cat([row_log_likelihoods(model, rows) for model, rows in zip(models, held_out, strict=True)]).nan_to_num(
            -math.inf, math.inf, -math.inf
        )
        for models in candidates
    ]
    weight = torch.cat([row_weights(rows) for rows in held_out]).to(estimates[0])
    weight /= weight.sum()
    best = max(estimates, key=lambda values: float(weight @ values))
    losses = [best - values for values in estimates]
    return next(i for i, loss in enumerate(losses) if _is_as_good(loss, weight) or estimates[i] is best)


def _is_as_good(loss: Tensor, weight: Tensor) -> bool:
    """Return whether the mean loss is below its standard error, and more than half of the losses below 0."""
    mean = weight @ loss
    error = torch.linalg.vector_norm(weight * (loss - mean))
    return bool(mean <= error) and bool(weight @ (loss < 0).double() > 0.5)


def row_weights(rows: Rows) -> Tensor:
    """Return the weights of the rows, (n_rows,)."""
    return torch.cat([batch.get("weight", torch.ones(len(batch["x"]))) for batch in rows.chunks()])


@torch.no_grad()
def row_log_likelihoods(model: VAE, rows: Rows) -> Tensor:
    """Return importance-sampling estimates of log p(x), (n_rows,), in float64."""
    generator = torch.Generator(rows.device).manual_seed(0)
    noise = torch.randn((N_DRAWS, 1, model.n_components), generator=generator, device=rows.device, dtype=torch.float32)
    batches = rows.batches(max(1, CHUNK_SIZE // (N_DRAWS * rows.n_features)))
    return torch.cat([model.log_likelihood(batch["x"], noise).double() for batch in batches])
