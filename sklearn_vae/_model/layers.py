"""Chains of linear layers, for the closed-form training step and for inference in numpy."""

from __future__ import annotations

import math
import re
from typing import TypeGuard

import torch
from torch import Tensor, nn

leaky_relu_backward = torch.ops.aten.leaky_relu_backward.default
layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default


class Norm:
    """Layer normalisation: its weights and gradients, and what the gradient needs of the last forward pass.

    Parameters
    ----------
    norm : nn.LayerNorm
        The layer. For training, its parameters have gradients, which are written in place.
    """

    def __init__(self, norm: nn.LayerNorm):
        self.weight, self.bias = norm.weight.detach(), norm.bias.detach()
        self.weight_gradient, self.bias_gradient = norm.weight.grad, norm.bias.grad
        self.shape, self.eps = norm.normalized_shape, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows, standardised, times weights plus biases."""
        out, *statistics = torch.native_layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        self.passed = x, statistics
        return out

    def backward(self, gradient: Tensor) -> Tensor:
        """Set the gradients of weight and bias, given that of the output; return that of the input."""
        assert self.weight_gradient is not None and self.bias_gradient is not None
        x, (mean, scale) = self.passed
        gradient, d_weight, d_bias = layer_norm_backward(
            gradient, x, self.shape, mean, scale, self.weight, self.bias, [True, True, True]
        )
        self.weight_gradient.copy_(d_weight)
        self.bias_gradient.copy_(d_bias)
        return gradient


class Layer:
    """A linear layer's weights and gradients, looked up once: a look-up costs as much as a small matrix product.

    Parameters
    ----------
    linear : nn.Linear
        The layer. For training, its parameters have gradients, which are written in place.
    slope : float or None
        Negative slope of the leaky ReLU that follows, 0 for a ReLU; None without activation.
    norm : Norm or None
        Layer normalisation before the activation.
    """

    def __init__(self, linear: nn.Linear, slope: float | None = None, norm: Norm | None = None):
        self.weight, self.bias = linear.weight.detach(), linear.bias.detach()
        self.transposed = self.weight.t()
        self.weight_gradient, self.bias_gradient = linear.weight.grad, linear.bias.grad
        self.slope = slope
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, after the activation."""
        out = torch.addmm(self.bias, x, self.transposed)
        if self.norm is not None:
            out = self.norm.forward(out)
        if self.slope is None:
            return out
        return nn.functional.leaky_relu_(out, self.slope) if self.slope else out.relu_()

    def to_linear(self, out: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient before normalisation and activation, given the layer's output and the gradient of it."""
        if self.slope is not None:
            gradient = leaky_relu_backward(gradient, out, self.slope, True)
        return gradient if self.norm is None else self.norm.backward(gradient)

    def differentiate(self, x: Tensor, gradient: Tensor) -> None:
        """Set the gradients of weight and bias, given the input and the gradient before normalisation."""
        torch.mm(gradient.t(), x, out=self.weight_gradient)
        torch.sum(gradient, 0, out=self.bias_gradient)


class Layers:
    """A chain of linear layers.

    Parameters
    ----------
    modules : nn.Sequential
        A module that `supports` accepts.
    """

    def __init__(self, modules: nn.Sequential):
        self.layers: list[Layer] = []
        for module in modules:
            if isinstance(module, nn.Linear):
                self.layers.append(Layer(module))
            elif isinstance(module, nn.LayerNorm):
                self.layers[-1].norm = Norm(module)
            else:
                self.layers[-1].slope = _slope(module)

    @staticmethod
    def supports(module: nn.Module) -> TypeGuard[nn.Sequential]:
        """Return whether a module consists of linear layers with biases.

        A layer normalisation may follow each of them, and a (leaky) ReLU may follow that. Modules with hooks, such as
        weight normalisation, are not supported.
        """
        if type(module) is not nn.Sequential or _has_hooks(module):
            return False
        kinds = "".join(map(_kind, module))
        return re.fullmatch("(linear (norm )?(activation )?)*", kinds) is not None

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the input, then the output of each layer."""
        values = [x]
        for layer in self.layers:
            values.append(layer.forward(values[-1]))
        return values

    def backward(self, values: list[Tensor], gradient: Tensor, to_input: bool = True) -> Tensor:
        """Set the weights' gradients, given that of the output; return that of the input if `to_input`."""
        for i, layer in reversed(list(enumerate(self.layers))):
            gradient = layer.to_linear(values[i + 1], gradient)
            layer.differentiate(values[i], gradient)
            if i or to_input:
                gradient = torch.mm(gradient, layer.weight)
        return gradient


def _has_hooks(module: nn.Module) -> bool:
    """Return whether a module or a parameter has hooks of the forward pass, the backward pass or a gradient."""
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in module.parameters()) or any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in module.modules()
    )


def _kind(module: nn.Module) -> str:
    """Return the kind of a supported layer and a space; "other" if it is not supported."""
    if type(module) is nn.Linear and module.bias is not None:
        return "linear "
    # Without weights or biases, and over several dimensions, the layer would need other gradients.
    if type(module) is nn.LayerNorm and module.bias is not None and len(module.normalized_shape) == 1:
        return "norm "
    return "activation " if 0 <= _slope(module) <= 1 else "other"


def _slope(module: nn.Module) -> float:
    """Return the negative slope of a (leaky) ReLU, NaN for other modules."""
    return 0.0 if type(module) is nn.ReLU else module.negative_slope if type(module) is nn.LeakyReLU else math.nan
