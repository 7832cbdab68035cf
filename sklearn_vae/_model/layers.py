"""Chains of linear layers, for the closed-form training step and for inference in numpy."""

from __future__ import annotations

import math
from typing import TypeGuard

import torch
from torch import Tensor, nn

leaky_relu_backward = torch.ops.aten.leaky_relu_backward.default


class Layer:
    """A linear layer's weights and gradients, looked up once: a look-up costs as much as a small matrix product.

    Parameters
    ----------
    linear : nn.Linear
        The layer. For training, its parameters have gradients, which are written in place.
    slope : float or None
        Negative slope of the leaky ReLU that follows, 0 for a ReLU; None without activation.
    """

    def __init__(self, linear: nn.Linear, slope: float | None = None):
        self.weight, self.bias = linear.weight.detach(), linear.bias.detach()
        self.transposed = self.weight.t()
        self.weight_gradient, self.bias_gradient = linear.weight.grad, linear.bias.grad
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, after the activation."""
        out = torch.addmm(self.bias, x, self.transposed)
        if self.slope is None:
            return out
        return nn.functional.leaky_relu_(out, self.slope) if self.slope else out.relu_()

    def through_activation(self, out: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient before the activation, given the activation's output and the gradient after it."""
        return gradient if self.slope is None else leaky_relu_backward(gradient, out, self.slope, True)

    def differentiate(self, x: Tensor, gradient: Tensor) -> None:
        """Set the gradients of weight and bias, given the input and the gradient before the activation."""
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
            else:
                self.layers[-1].slope = _slope(module)

    @staticmethod
    def supports(module: nn.Module) -> TypeGuard[nn.Sequential]:
        """Return whether a module consists of linear layers with biases, some followed by a (leaky) ReLU.

        Modules with hooks, such as weight normalisation, are not supported.
        """
        if type(module) is not nn.Sequential or _has_hooks(module):
            return False
        is_linear = [type(m) is nn.Linear and m.bias is not None for m in module]
        # Every activation directly follows a linear layer.
        return all(
            a or (b and 0 <= _slope(m) <= 1) for m, a, b in zip(module, is_linear, [False, *is_linear], strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the input, then the output of each layer."""
        values = [x]
        for layer in self.layers:
            values.append(layer.forward(values[-1]))
        return values

    def backward(self, values: list[Tensor], gradient: Tensor, to_input: bool = True) -> Tensor:
        """Set the weights' gradients, given that of the output; return that of the input if `to_input`."""
        for i, layer in reversed(list(enumerate(self.layers))):
            gradient = layer.through_activation(values[i + 1], gradient)
            layer.differentiate(values[i], gradient)
            if i or to_input:
                gradient = torch.mm(gradient, layer.weight)
        return gradient


def _has_hooks(module: nn.Module) -> bool:
    """Return whether a module or a parameter has hooks of the forward pass, the backward pass or a gradient."""
    return any(p._backward_hooks or p._post_accumulate_grad_hooks for p in module.parameters()) or any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in module.modules()
    )


def _slope(module: nn.Module) -> float:
    """Return the negative slope of a (leaky) ReLU, NaN for other modules."""
    return 0.0 if type(module) is nn.ReLU else module.negative_slope if type(module) is nn.LeakyReLU else math.nan
