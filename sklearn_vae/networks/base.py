"""Base class of networks, specifications that build an encoder and a decoder, and checks of their outputs."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT32

# End of error messages for an encoder that returns a scale of 0 or below.
POSITIVE_SCALE_HINT = "end it with softplus, or with exp (a log-variance v gives (0.5 * v).exp())"


class Network(BaseEstimator, ABC):
    """Specification of the encoder and decoder networks, given to an estimator as ``network=``.

    The encoder maps rows to features. One linear layer of the model maps these features to
    posterior means, log-scales and class logits.

    Attributes
    ----------
    principal_coordinates : int or None
        Number of principal coordinates that the networks may work in if the likelihood is
        isotropic. None: the networks need the columns themselves.
    uses_global_generator : bool
        True if the networks draw from torch's global generator in training. This generator is
        then seeded before each training step and restored afterwards.
    """

    principal_coordinates: int | None = None
    uses_global_generator: bool = False

    def for_images(self, image_shape: tuple[int, ...]) -> Network:
        """Return the network for rows that are images of a known shape.

        Parameters
        ----------
        image_shape : tuple of int
            (height, width) or (channels, height, width), as an `ImageFlattener` saw it.

        Returns
        -------
        network : Network
            By default, the network itself.
        """
        return self

    def for_maps(self) -> Network:
        """Return the network for an objective that keeps neighbours.

        Returns
        -------
        network : Network
            By default, the network itself.
        """
        return self

    @abstractmethod
    def build(
        self,
        n_inputs: int,
        n_components: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int],
        zero_output: bool,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Make the encoder and the decoder.

        Parameters
        ----------
        n_inputs : int
            Width of the encoder's input.
        n_components : int
            Number of latent variables, the width of the decoder's input.
        n_outputs : int
            Width of the decoder's output.
        hidden_layer_sizes : sequence of int
            The estimator's parameter of this name. Networks with their own widths ignore it.
        zero_output : bool
            If True, the decoder must return zeros before training. Its output is then added to
            a linear map that starts at probabilistic PCA.
        generator : torch.Generator
            The only source of randomness for initial weights.

        Returns
        -------
        encoder : nn.Module
            Maps inputs (n_rows, n_inputs) to features (n_rows, any width), or is a `PosteriorEncoder`.
        decoder : nn.Module
            Maps latents (n_rows, n_components) to the likelihood's raw outputs (n_rows, n_outputs).
        """


class PosteriorEncoder(nn.Module):
    """Encoder that returns the posterior's parameters instead of features.

    Parameters
    ----------
    module : nn.Module
        Maps inputs (n_rows, n_inputs) to a pair (loc, scale), each of shape (n_rows, n_components),
        with scale above 0.
    zero_output : bool
        Whether `posterior` multiplies loc and log(scale) by a trained number that starts at 0.
    """

    def __init__(self, module: nn.Module, zero_output: bool):
        super().__init__()
        self.module = module
        self.gate = nn.Parameter(torch.zeros((), **FLOAT32)) if zero_output else None

    def forward(self, y: Tensor) -> Tensor:
        """Return posterior means and log-scales, concatenated; a classifier also uses them as features.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_inputs)
            Inputs of the encoder.

        Returns
        -------
        out : Tensor of shape (n_rows, 2 * n_components)
            Means, followed by log-scales.

        Raises
        ------
        ValueError
            If the module returns a scale below 0 in training.
        """
        loc, scale = self.module(y)
        # The dry run covered only two rows, and the NaN that follows would not name its cause.
        if self.training and bool((scale < 0).any()):
            raise ValueError(
                f"network: expected the encoder to return scale above 0, got {scale.min().item():.3g} in training; "
                f"{POSITIVE_SCALE_HINT}."
            )
        # The smallest positive number is added, because a scale may underflow to 0.
        return torch.cat([loc, (scale + torch.finfo(scale.dtype).tiny).log()], -1)

    def posterior(self, out: Tensor) -> Tensor:
        """Return the posterior's parameters, or with a gate the terms that are added to those of the linear map.

        Parameters
        ----------
        out : Tensor of shape (n_rows, 2 * n_components)
            Output of `forward`.

        Returns
        -------
        gated : Tensor of shape (n_rows, 2 * n_components)
            `out`, multiplied by the trained number if `zero_output` is True.
        """
        return out if self.gate is None else self.gate * out


def linear(
    n_in: int, n_out: int, generator: torch.Generator, zero: bool = False, initializer: str = "kaiming"
) -> nn.Linear:
    """Make a linear layer with weights drawn from `generator`, or with zeros.

    "kaiming" is torch's default initialisation (He et al. 2015, with a gain of 1 / sqrt(3)). "glorot" is the uniform
    one of Glorot and Bengio (2010, eq. 16), with biases of 0.
    """
    layer = empty(nn.Linear, n_in, n_out)
    if zero:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    elif initializer == "glorot":
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    else:
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        bound = 1 / math.sqrt(n_in)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def empty(layer: Callable[..., nn.Module], *sizes: int | tuple[int, ...], **arguments: int | tuple[int, ...]) -> Any:
    """Make a layer with uninitialised weights, on torch's default device, which may be "meta"."""
    return nn.utils.skip_init(layer, *sizes, **arguments, **FLOAT32, device=torch.empty(0).device)


def check_output(role: str, module: nn.Module, n_in: int, width: int | None) -> int:
    """Return the width of the module's output for two rows; raise ValueError if it is not `width`."""
    expected = f"shape (2, {'any width' if width is None else width})"
    out = try_out(role, module, n_in, expected)
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2 or (width is not None and out.shape[1] != width):
        raise wrong_output(role, n_in, expected, out)
    return out.shape[1]


def try_out(role: str, module: nn.Module, n_in: int, expected: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return the module's output for two rows; raise ValueError if it fails or writes to its input."""
    module.eval()
    x = torch.zeros(2, n_in, dtype=dtype)
    try:
        with torch.no_grad():
            out = module(x)
    except Exception as error:
        raise ValueError(
            f"network, tried on two rows: expected the {role} to return {expected} for an input of shape (2, {n_in}), "
            f"but it failed: {type(error).__name__}: {error}"
        ) from error
    finally:
        module.train()
    # Modules must not change their inputs, because the likelihood and the linear maps read them again.
    if x._version:
        raise ValueError(
            f"network, tried on two rows: expected the {role} to leave its input as it is, but a layer writes to it; "
            "use inplace=False in the first layer."
        )
    return out


def check_precision(role: str, module: nn.Module, n_in: int) -> None:
    """Raise ValueError unless the module computes in its input's precision; float64 rows are transformed in float64."""
    for dtype in (torch.float32, torch.float64):
        name = _name(dtype)
        out = try_out(role, copy.deepcopy(module).to(dtype), n_in, f"{name} for {name}", dtype)
        got = {part.dtype for part in (out if isinstance(out, tuple) else (out,))}
        if got != {dtype}:
            raise ValueError(
                f"network, tried on two rows: expected the {role} to return {name} for {name}, "
                f"got {', '.join(sorted(map(_name, got)))}; keep the precision of the input (x.new_zeros(...))."
            )


def wrong_output(role: str, n_in: int, expected: str, out: Any) -> ValueError:
    """Return the error for an unexpected output."""
    change = f"the {role}'s last layer" if isinstance(out, Tensor) else f"what the {role}'s forward returns"
    return ValueError(
        f"network, tried on two rows: expected the {role} to return {expected} for an input of shape (2, {n_in}), "
        f"got {_described(out)}; change {change}."
    )


def _described(out: Any) -> str:
    if isinstance(out, Tensor):
        return f"shape {tuple(out.shape)}"
    if isinstance(out, tuple | list):
        return f"a {type(out).__name__} of {', '.join(map(_described, out))}"
    return f"a {type(out).__name__}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
