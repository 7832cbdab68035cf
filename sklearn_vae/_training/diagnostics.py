"""Diagnostics of a fitted model: KL divergences and latent scales."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sklearn_vae._data.devices import FLOAT64
from sklearn_vae._data.rows import Rows
from sklearn_vae._data.stacklevel import stacklevel_of_user
from sklearn_vae._model.vae import VAE
from sklearn_vae.objectives import draw

# Maximum numbers of rows for the latent scale and for the KL. Means over this many rows are accurate to a few per cent.
MAX_LATENT_ROWS = 1024
MAX_KL_ROWS = 8192
# Number of rows below which the statistics of a chunk are combined with those of earlier chunks.
MIN_ROWS = 100
# Floor for the standard deviation of a component's posterior means, in units of the prior's. It bounds the scale of
# unused components, whose posterior means hardly vary.
MIN_STD = 0.1
# KL, in nats, below which a latent variable counts as unused whatever the size of the data.
UNUSED_KL = 0.1
# Floor for the noise variance that independent columns leave beyond the components, relative to their variance.
MIN_NOISE_VARIANCE = 0.1

# A run was still improving at its end if its second half has more than this share of the whole gain in the validation
# score, and more than so many nats per row.
LATE_SHARE, LATE_GAIN = 0.1, 0.1


def check_finite(values: Iterable[Tensor], name: str) -> None:
    """Raise ValueError if a value is not finite. No loss is computed after the last step, so divergence shows here."""
    if not all(bool(v.isfinite().all()) for v in values):
        raise ValueError(
            f"training diverged: {name} are not finite after the last step; use a smaller learning_rate_init, or "
            "scale the columns."
        )


def kl_of_noise(n_rows: int, n_features: int, n_components: int) -> float:
    r"""Return the largest KL that probabilistic PCA finds in independent columns of equal variance, in nats.

    The largest eigenvalue of their covariance is about :math:`(1 + \sqrt{d/n})^2`, and the smallest
    :math:`(1 - \sqrt{d/n})^2` (Marchenko & Pastur 1967). The noise variance is the mean of the eigenvalues beyond the
    components. The KL is half the logarithm of the ratio of the largest eigenvalue to the noise variance.
    """
    root = math.sqrt(n_features / n_rows)
    largest, smallest = (1 + root) ** 2, max(1 - root, 0.0) ** 2
    rest = (n_features - n_components * largest) / max(n_features - n_components, 1)
    return 0.5 * math.log(largest / max(rest, smallest, MIN_NOISE_VARIANCE))


def warn_if_unused(kl: np.ndarray, rows: Rows) -> None:
    """Warn the caller of `fit` if no component has a larger KL than it would have in noise."""
    limit = max(UNUSED_KL, kl_of_noise(len(rows), rows.n_features, len(kl)))
    if kl.max() < limit:
        warnings.warn(
            f"no latent variable is used: all of kl_per_component_ are below {limit:.2g} nats, as they would be if the "
            f"{rows.n_features} columns were independent, so transform returns next to no information about the rows. "
            "If you expect structure, try objective='free_bits', other columns or scales, more rows, or another "
            "n_components; or init='ppca' with a constant beta, which tries KL warm-ups if the fit is long enough.",
            UserWarning,
            stacklevel=stacklevel_of_user(),
        )


def warn_if_improving(scores: Sequence[float], max_iter: int) -> None:
    """Warn the caller of `fit` if the scores of held-out rows were still rising when `max_iter` ended training."""
    late = scores[-1] - scores[(len(scores) - 1) // 2]
    if scores[-1] == max(scores) and late > max(LATE_GAIN, LATE_SHARE * (scores[-1] - scores[0])):
        warnings.warn(
            f"max_iter={max_iter} ended training while the score of held-out rows was still rising, by {late:.2g} nats "
            "per row in the second half of the epochs; use a larger max_iter, or max_iter='auto'.",
            ConvergenceWarning,
            stacklevel=stacklevel_of_user(),
        )


# Total weight of the rows, and weighted means over them.
Statistics = tuple[float, np.ndarray]


@torch.inference_mode()
def kl_statistics(model: VAE, rows: Rows) -> Statistics:
    """Return the mean KL(q(z_j|x) || p(z_j)) in nats, (n_components,), over at most `MAX_KL_ROWS` evenly spaced rows.

    Raises
    ------
    ValueError
        If the KL is not finite.
    """
    generator = torch.Generator(rows.device).manual_seed(0)
    total, total_weight = torch.zeros((), **FLOAT64), 0.0
    for batch in rows.evenly_spaced(MAX_KL_ROWS).chunks():
        q = model.posterior(batch["x"])
        kl = model.marginal_kl(q, draw(q, (), generator)).double()
        weight = batch.get("weight", torch.ones_like(kl[:, 0])).double()
        total, total_weight = total + (weight @ kl).cpu(), total_weight + float(weight.sum())
    check_finite([total], "posteriors")
    return total_weight, (total / total_weight).numpy()


def latent_statistics(model: VAE, rows: Rows) -> Statistics:
    r"""Return the statistics that `latent_scale` needs, (3, n_components).

    They are the means and mean squares of the posterior means, and the decoder's squared gain
    :math:`g_j^2 = E_x \| \partial f / \partial z_j \|^2` in the data's units. All are averages over evenly
    spaced rows.
    """
    parts = []
    for batch in rows.evenly_spaced(MAX_LATENT_ROWS).chunks():
        with torch.no_grad():
            z = model.posterior(batch["x"]).loc
        weight = batch.get("weight", torch.ones_like(z[:, 0]))
        parts.append((weight.double().cpu().numpy(), z.double().cpu().numpy(), squared_gains(model, z)))
    weights, means, gains = map(np.concatenate, zip(*parts, strict=True))
    averages = [np.average(values, axis=0, weights=weights) for values in (means, np.square(means), gains)]
    return float(weights.sum()), np.array(averages)


def squared_gains(model: VAE, z: Tensor) -> np.ndarray:
    """Return the square norms of the derivatives of the reconstructions, (n_rows, n_components)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        # The zeros keep the graph whole if a user's decoder has no derivative.
        output = model.reconstruct(z) + 0 * z.sum()
        if model.likelihood.units is not None:
            output = output / model.likelihood.units
        # The product of the transposed Jacobian with `cotangent` is linear in it, so its derivative is the Jacobian.
        cotangent = torch.zeros_like(output, requires_grad=True)
        (product,) = torch.autograd.grad(output, z, cotangent, create_graph=True)
        product = product + 0 * cotangent.sum()
        columns = (torch.autograd.grad(p.sum(), cotangent, retain_graph=True)[0] for p in product.unbind(1))
        return np.stack([c.square().sum(-1).cpu().numpy() for c in columns], axis=1)


def blend(new: Statistics, old: Statistics | None) -> Statistics:
    """Average the statistics of new rows with earlier ones, whose weight is `MIN_ROWS` minus that of the new rows."""
    if old is None:
        return new
    weight = min(old[0], max(MIN_ROWS - new[0], 0.0))
    total = weight + new[0]
    return total, (new[0] * new[1] + weight * old[1]) / total


def latent_scale(model: VAE, statistics: Statistics) -> np.ndarray:
    r"""Return the factor that scales each posterior mean to the size of its effect on the data, (n_components,).

    The factor is :math:`\sqrt{g_j^2 + \sigma^2} / \mathrm{std}(\mu_j)`, with the decoder's gain :math:`g_j` and
    the noise variance :math:`\sigma^2` in the data's units. At the probabilistic-PCA start, the scaled means are
    PCA's scores.
    """
    mean, square, gain = statistics[1]
    variance = model.likelihood.variance
    if variance is not None and model.likelihood.units is not None:
        variance = variance / model.likelihood.units.square()
    noise = 0.0 if variance is None else float(variance.mean())
    spread = np.sqrt((square - np.square(mean)).clip(0))
    scale = np.sqrt(gain + noise) / spread.clip(MIN_STD)
    check_finite([torch.from_numpy(scale)], "the decoder's gains")
    return scale
