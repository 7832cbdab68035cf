"""Values of missing cells: their means given the observed cells, or draws."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.optim import Adam

from sklearn_vae._model.vae import VAE
from sklearn_vae.likelihoods import Observed

# Number of steps of Adam that fit the posterior of each row, and their learning rate, which falls linearly to 0 in the
# second half.
N_STEPS, LEARNING_RATE = 20, 0.05
# Limit of an importance weight, as a multiple of the mean weight. It bounds the variance of means over few draws.
MAX_WEIGHT = 4.0
# Stands for the logarithm of a weight that underflows.
MIN_LOG_WEIGHT = -1e300


def impute(model: VAE, x: Tensor, noise: Tensor) -> Tensor:
    r"""Return the means of rows given their observed cells, (n_rows, n_features), in the data's units, float64.

    .. math:: E[x|x_o] \approx \sum_k \tilde w_k E[x|z_k], \qquad
        w_k = \frac{p(x_o|z_k) p(z_k)}{q(z_k|x_o)}

    (Mattei and Frellsen 2019, eq. 12). The weights are truncated (Ionides 2008) and normalised. The draws come from
    `refined` posteriors.

    Parameters
    ----------
    model : VAE
    x : Tensor of shape (n_rows, n_features)
        Rows with NaN in missing cells.
    noise : Tensor of shape (n_draws, 1, n_components)
        Standard normal draws, shared by all rows, so that a row's result does not depend on other rows.
    """
    _, raw, weight = _weighted_draws(model, x, noise)
    return (weight[..., None] * model.likelihood.mean(raw)).sum(0)


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
    z, _, weight = _weighted_draws(model, x, noise)
    index = torch.multinomial(weight.T, 1, generator=generator)[:, 0]
    return model.sample(z[index, torch.arange(len(x), device=x.device)], generator)


def _weighted_draws(model: VAE, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return draws of z, the decoder's outputs, and normalised weights (n_draws, n_rows) in float64."""
    observed = model.observe_rows(x)
    q = refined(model, observed, model.encode(observed), noise)
    z, raw, log_w = (torch.cat(parts) for parts in zip(*model.weighted_draws(observed, q, noise), strict=True))
    # Densities of rows that are very far away underflow; their draws have equal weights.
    finite = log_w.double().nan_to_num(MIN_LOG_WEIGHT, -MIN_LOG_WEIGHT, MIN_LOG_WEIGHT)
    weight = finite.softmax(0).clamp_max(MAX_WEIGHT / len(noise))
    return z, raw, weight / weight.sum(0)


def refined(model: VAE, observed: Observed, q: Normal, noise: Tensor) -> Normal:
    """Return the posteriors after some steps that maximise each row's own bound (Kim et al. 2018).

    The encoder knows patterns of missing cells only from training. Each step uses one draw of `noise` and its mirror
    image, the same for all rows.
    """
    with torch.inference_mode(False), torch.enable_grad():
        mask = None if observed.mask is None else observed.mask.clone()
        observed = Observed(observed.cells.clone(), observed.inputs.clone(), mask)
        loc, log_scale = (t.clone().requires_grad_() for t in (q.loc, q.scale.log()))
        optimizer = Adam([loc, log_scale])
        for step in range(N_STEPS):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, 2 * (1 - step / N_STEPS))
            posterior = Normal(loc, log_scale.exp(), validate_args=False)
            epsilon = noise[step % len(noise)].to(loc)
            z = loc + posterior.scale * torch.stack([epsilon, -epsilon])
            bound = model.likelihood.log_prob(observed, model.decode(z)).mean(0) - model.kl(posterior, z[0]).sum(-1)
            loc.grad, log_scale.grad = torch.autograd.grad(-bound.sum(), [loc, log_scale])
            optimizer.step()
        loc, scale = loc.detach(), log_scale.detach().exp()
    # The steps diverge for rows that are very far away.
    is_valid = loc.isfinite() & scale.isfinite()
    return Normal(loc.where(is_valid, q.loc), scale.where(is_valid, q.scale), validate_args=False)
