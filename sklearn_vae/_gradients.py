"""The evidence lower bound's gradient, written out for the networks that most fits have.

On small data automatic differentiation spends more time on its own records than on arithmetic.
Models that this is not written for are left to it.
"""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_vae._vae import LOG_SCALE_RANGE, VAE
from sklearn_vae.likelihoods.gaussian import ClosedFormGaussian, FixedGaussian, OptimalGaussian
from sklearn_vae.objectives import ELBO
from sklearn_vae.objectives.base import Parts
from sklearn_vae.priors.standard_normal import StandardNormalModule

leaky_relu_backward = torch.ops.aten.leaky_relu_backward.default
hardtanh_backward = torch.ops.aten.hardtanh_backward.default
# A gradient passes `clamp` at the ends of the range, and `hardtanh` between the ends only.
OPEN_LOG_SCALE_RANGE = tuple(
    float(np.nextafter(np.float32(end), np.float32(math.copysign(math.inf, end)))) for end in LOG_SCALE_RANGE
)


class Layer:
    """A linear layer and its gradients, found once: looking them up in modules costs as much as small products.

    Parameters
    ----------
    linear : nn.Linear
        Whose parameters have gradients, which are written to in place.
    slope : float or None
        Of a leaky ReLU after it, 0 for a ReLU; None for nothing.
    """

    def __init__(self, linear: nn.Linear, slope: float | None = None):
        self.weight, self.bias = linear.weight.detach(), linear.bias.detach()
        self.transposed = self.weight.t()
        self.weight_gradient, self.bias_gradient = linear.weight.grad, linear.bias.grad
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return the output."""
        out = torch.addmm(self.bias, x, self.transposed)
        if self.slope is None:
            return out
        return nn.functional.leaky_relu_(out, self.slope) if self.slope else out.relu_()

    def through_activation(self, out: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient before the activation from its output and that after it."""
        return gradient if self.slope is None else leaky_relu_backward(gradient, out, self.slope, True)

    def differentiate(self, x: Tensor, gradient: Tensor) -> None:
        """Set the weights' gradients from the input and the gradient before the activation."""
        torch.mm(gradient.t(), x, out=self.weight_gradient)
        torch.sum(gradient, 0, out=self.bias_gradient)


class Layers:
    """A chain of them.

    Parameters
    ----------
    modules : nn.Sequential
        For which `are_in` is true.
    """

    def __init__(self, modules: nn.Sequential):
        self.layers: list[Layer] = []
        for module in modules:
            if isinstance(module, nn.Linear):
                self.layers.append(Layer(module))
            else:
                self.layers[-1].slope = _slope(module)

    @staticmethod
    def are_in(module: nn.Module) -> TypeGuard[nn.Sequential]:
        """Say whether a module is nothing but linear layers with biases, with a (leaky) ReLU after some of them.

        Hooks, such as those that normalise weights, are not known here.
        """
        if type(module) is not nn.Sequential or _has_hooks(module):
            return False
        is_linear = [type(m) is nn.Linear and m.bias is not None for m in module]
        # Every activation comes after a layer of its own.
        return all(
            a or (b and 0 <= _slope(m) <= 1) for m, a, b in zip(module, is_linear, [False, *is_linear], strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the input and what each layer makes of it."""
        values = [x]
        for layer in self.layers:
            values.append(layer.forward(values[-1]))
        return values

    def backward(self, values: list[Tensor], gradient: Tensor, to_input: bool = True) -> Tensor:
        """Set the weights' gradients from the output's; return the input's."""
        for i, layer in reversed(list(enumerate(self.layers))):
            gradient = layer.through_activation(values[i + 1], gradient)
            layer.differentiate(values[i], gradient)
            if i or to_input:
                gradient = torch.mm(gradient, layer.weight)
        return gradient


def _has_hooks(module: nn.Module) -> bool:
    """Say whether anything is to be called on the way through a module or back, or with a parameter's gradient."""
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in module.parameters()) or any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in module.modules()
    )


def _trains_each_once(model: VAE) -> bool:
    """Say whether all parameters are trained, and none is used in two places: a gradient is set, not added to."""
    parameters = [p for _, p in model.named_parameters(remove_duplicate=False)]
    # Two parameters may also be one piece of memory.
    return all(p.requires_grad for p in parameters) and len({p.data_ptr() for p in parameters}) == len(parameters)


def _slope(module: nn.Module) -> float:
    """Return a (leaky) ReLU's slope below 0, NaN for other modules."""
    return 0.0 if type(module) is nn.ReLU else module.negative_slope if type(module) is nn.LeakyReLU else math.nan


class WrittenOut:
    """The objective of a model and its gradient.

    Parameters
    ----------
    model : VAE
        For which `exists` is true; in training mode.
    """

    def __init__(self, model: VAE):
        assert model.encoder_head is not None and isinstance(model.likelihood, ClosedFormGaussian)
        self.model = model
        self.likelihood = model.likelihood
        assert isinstance(model.encoder, nn.Sequential) and isinstance(model.decoder, nn.Sequential)
        self.encoder, self.decoder = Layers(model.encoder), Layers(model.decoder)
        self.head = Layer(model.encoder_head)
        self.linear = model.linear
        if self.linear is not None:
            self.linear_encoder, self.linear_decoder = Layer(self.linear.encoder), Layer(self.linear.decoder)

    @staticmethod
    def exists(model: VAE) -> bool:
        """Say whether it is written for this model: ELBO, one-scale Gaussian, standard normal prior, (leaky) ReLUs."""
        return (
            type(model.objective) is ELBO
            and type(model.prior) is StandardNormalModule
            and (type(model.likelihood) is OptimalGaussian or type(model.likelihood) is FixedGaussian)
            and model.likelihood.n_scales == 1
            and model.encoder_head is not None
            and model.encoder_head.out_features == 2 * model.n_components
            and Layers.are_in(model.encoder)
            and Layers.are_in(model.decoder)
            and _trains_each_once(model)
        )

    @torch.no_grad()
    def __call__(self, x: Tensor, beta: float, generator: torch.Generator, weight: Tensor | None = None) -> Parts:
        """Return the weighted sums of the terms over rows, and set the gradients of the mean loss."""
        model, likelihood, linear = self.model, self.likelihood, self.linear
        y = likelihood.observe(x, generator)
        noisy = model.with_noise(y, generator)
        encoded = self.encoder.forward(noisy if linear is None else noisy / linear.spread)
        loc, log_scale = self.head.forward(encoded[-1]).chunk(2, -1)
        if linear is not None:
            loc, log_scale = self.linear_encoder.forward(noisy).add_(loc), log_scale + linear.log_scale
        clamped = log_scale.clamp(*LOG_SCALE_RANGE)
        scale = clamped.exp()
        noise = torch.randn(loc.shape, generator=generator, dtype=loc.dtype, device=loc.device)
        decoded = self.decoder.forward(torch.addcmul(loc, scale, noise))
        z, raw = decoded[0], decoded[-1]
        if linear is not None:
            raw = self.linear_decoder.forward(z).add_(raw)
        log_prob, d_raw = likelihood.log_prob_and_gradient(y, raw, weight)
        excess = (scale * scale).sub_(1)
        kl = torch.addcmul(excess, loc, loc).sub_(clamped, alpha=2)
        if weight is not None:
            kl, excess, loc = (part * weight[:, None] for part in (kl, excess, loc))
        reconstruction, kl_sum = -log_prob, 0.5 * kl.sum().item()

        # From here on gradients of the mean loss, by the chain rule.
        n_rows = len(y)
        d_raw.div_(-n_rows)
        d_z = self.decoder.backward(decoded, d_raw)
        if linear is not None:
            self.linear_decoder.differentiate(z, d_raw)
            d_z.addmm_(d_raw, self.linear_decoder.weight)
        d_log_scale = (d_z * noise).mul_(scale).add_(excess, alpha=beta / n_rows)
        d_log_scale = hardtanh_backward(d_log_scale, log_scale, *OPEN_LOG_SCALE_RANGE)
        d_loc = d_z.add_(loc, alpha=beta / n_rows)
        d_head = torch.cat([d_loc, d_log_scale], -1)
        self.head.differentiate(encoded[-1], d_head)
        if linear is not None:
            self.linear_encoder.differentiate(noisy, d_loc)
            torch.sum(d_log_scale, 0, out=linear.log_scale.grad)
        self.encoder.backward(encoded, torch.mm(d_head, self.head.weight), to_input=False)
        return Parts(reconstruction + beta * kl_sum, reconstruction, kl_sum)
