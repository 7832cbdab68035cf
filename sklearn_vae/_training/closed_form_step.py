"""A training step with hand-written gradients, for the most common models.

On small batches, autograd spends more time on bookkeeping than on arithmetic.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_vae._data.masks import any_in_row
from sklearn_vae._model.layers import Layer, Layers
from sklearn_vae._model.linear_maps import LOG_SCALE_RANGE
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.step import Step
from sklearn_vae._training.weights import Weights
from sklearn_vae.objectives.base import TermSums

hardtanh_backward = torch.ops.aten.hardtanh_backward.default
# The gradient of `clamp` is 1 at the ends of the range, that of `hardtanh` only strictly inside. The range for
# `hardtanh_backward` is therefore wider by one float32 on each side.
OPEN_LOG_SCALE_RANGE = tuple(
    float(np.nextafter(np.float32(end), np.float32(math.copysign(math.inf, end)))) for end in LOG_SCALE_RANGE
)


class ClosedFormStep(Step):
    """The ELBO's gradient by the chain rule, without autograd.

    It requires a standard normal prior, a likelihood with a closed-form gradient, and networks of linear layers,
    layer normalisations and (leaky) ReLUs.
    """

    def __init__(self, model: VAE, weights: Weights):
        super().__init__(model, weights)
        assert model.encoder_head is not None
        assert isinstance(model.encoder, nn.Sequential) and isinstance(model.decoder, nn.Sequential)
        self.encoder, self.decoder = Layers(model.encoder), Layers(model.decoder)
        self.head = Layer(model.encoder_head)
        self.linear = model.linear
        if self.linear is not None:
            self.linear_encoder, self.linear_decoder = Layer(self.linear.encoder), Layer(self.linear.decoder)

    @classmethod
    def supports(cls, model: VAE) -> bool:
        """Return whether the closed form covers all components of the model."""
        return (
            model.objective.is_elbo
            and model.prior.is_standard_normal
            and model.likelihood.has_gradient
            and model.encoder_head is not None
            and model.encoder_head.out_features == 2 * model.n_components
            and Layers.supports(model.encoder)
            and Layers.supports(model.decoder)
            and _trains_each_once(model)
        )

    @torch.no_grad()
    def __call__(self, batch: dict[str, Tensor], beta: float, generator: torch.Generator) -> TermSums:
        """Set the gradients; return the terms, summed over rows."""
        x, weight = batch["x"], batch.get("weight")
        model, likelihood, linear = self.model, self.model.likelihood, self.linear
        observed = model.observe(x, batch.get("mask"), generator)
        noisy = model.with_noise(observed.inputs, generator)
        encoded = self.encoder.forward(noisy if linear is None else noisy / linear.spread)
        loc, log_scale = self.head.forward(encoded[-1]).chunk(2, -1)
        if linear is not None:
            loc, log_scale = self.linear_encoder.forward(noisy).add_(loc), log_scale + linear.log_scale
        if observed.mask is not None:
            loc, log_scale = model.gaps.widen(loc, log_scale, observed.mask)
        clamped = log_scale.clamp(*LOG_SCALE_RANGE)
        scale = clamped.exp()
        noise = torch.randn(loc.shape, generator=generator, dtype=loc.dtype, device=loc.device)
        decoded = self.decoder.forward(torch.addcmul(loc, scale, noise))
        z, raw = decoded[0], decoded[-1]
        if linear is not None:
            raw = self.linear_decoder.forward(z).add_(raw)
        log_prob, d_raw = likelihood.log_prob_and_gradient(observed, raw, weight)
        excess = (scale * scale).sub_(1)
        kl = torch.addcmul(excess, loc, loc).sub_(clamped, alpha=2)
        pull, d_pull = self._pull(loc, batch.get("point"), weight)
        if weight is not None:
            kl, excess, loc = (part * weight[:, None] for part in (kl, excess, loc))
        reconstruction, kl_sum = -log_prob, 0.5 * kl.sum().item()

        # The rest is the chain rule: gradients of the mean loss.
        n_rows = len(x)
        d_raw.div_(-n_rows)
        d_z = self.decoder.backward(decoded, d_raw)
        if linear is not None:
            self.linear_decoder.differentiate(z, d_raw)
            d_z.addmm_(d_raw, self.linear_decoder.weight)
        d_log_scale = (d_z * noise).mul_(scale).add_(excess, alpha=beta / n_rows)
        d_log_scale = hardtanh_backward(d_log_scale, log_scale, *OPEN_LOG_SCALE_RANGE)
        d_loc = d_z.add_(loc, alpha=beta / n_rows)
        if d_pull is not None:
            d_loc.add_(d_pull, alpha=1 / n_rows)
        if observed.mask is not None:
            # The posterior of a row without observed cells does not depend on the weights.
            any_observed = any_in_row(observed.mask)
            d_loc, d_log_scale = d_loc.mul_(any_observed), d_log_scale.mul_(any_observed)
        d_head = torch.cat([d_loc, d_log_scale], -1)
        self.head.differentiate(encoded[-1], d_head)
        if linear is not None:
            self.linear_encoder.differentiate(noisy, d_loc)
            torch.sum(d_log_scale, 0, out=linear.log_scale.grad)
        self.encoder.backward(encoded, torch.mm(d_head, self.head.weight), to_input=False)
        return TermSums(reconstruction + beta * kl_sum + pull, reconstruction, kl_sum)

    def _pull(self, loc: Tensor, point: Tensor | None, weight: Tensor | None) -> tuple[float, Tensor | None]:
        """Return the loss that pulls means to points, summed over rows, and its gradient; 0 and None if none does."""
        if point is None or not self.model.objective.n_neighbors:
            return 0.0, None
        loss, gradient = self.model.objective.pull(loc, point)
        if weight is None:
            return float(loss.sum()), gradient
        return float(loss @ weight), gradient * weight[:, None]


def _trains_each_once(model: VAE) -> bool:
    """Return whether every parameter is trained and used once, because the step overwrites gradients."""
    parameters = [p for _, p in model.named_parameters(remove_duplicate=False)]
    # Two parameters may share memory.
    return all(p.requires_grad for p in parameters) and len({p.data_ptr() for p in parameters}) == len(parameters)
