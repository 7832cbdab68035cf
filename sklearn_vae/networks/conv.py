"""Convolutional networks for images and series as encoder and decoder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import torch
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from sklearn_vae.networks.base import Network, empty, linear
from sklearn_vae.networks.mlp import ACTIVATIONS, check_sizes, hidden_layers

Shape = tuple[int, int, int]  # channels, height, width

# Largest number of positions (height times width) after the last halving, with channels="auto".
MAX_POSITIONS = 64


class Conv(Network):
    """Convolutional networks: each encoder stage halves height and width, and each decoder stage doubles them.

    Each row is a flattened image. ``images.reshape(len(images), -1)`` makes such rows from images
    of shape (n_images, height, width) or (n_images, channels, height, width). Any height and
    width is possible: the encoder pads images with zeros to a multiple of its total stride, and
    the decoder crops its output. An axis of length 1 is left as it is, so that a series has
    convolutions in one dimension.

    Parameters
    ----------
    image_shape : "auto", (length,), (height, width) or (channels, height, width), default="auto"
        Shape of an image, or the length of a series; (channels, 1, length) for a series of several
        channels. "auto": the shape that an `ImageFlattener` right before the estimator saw.
        Without it, a square grey image if the number of columns is a square number, otherwise
        a square image with three channels.
    channels : sequence of int or "auto", default="auto"
        Numbers of channels of the encoder's stages, starting at the image. "auto": 16 channels
        in the first stage, and twice as many in each further stage. Stages are added until at
        most 64 positions remain.
    decoder_channels : sequence of int or "auto", default="auto"
        Numbers of input channels of the decoder's stages, starting at the latent variables.
        "auto": twice the automatic numbers of the encoder, in reverse order.
    hidden_layer_sizes : int or sequence of int, default=(256,)
        Widths of the dense layers between the coarsest stage and the latent variables. The
        decoder has them in reverse order. The estimator's parameter of this name is ignored.
    kernel_size : int, default=4
        Height and width of the kernels, 1 along an axis of length 1. An even number, so that every pixel is covered by
        equally many kernel positions.
    activation : {"relu", "elu", "gelu", "leaky_relu", "logistic", "silu", "tanh"}, default="leaky_relu"
        Activation in the encoder.
    decoder_activation : same as `activation`, default="relu"
        Activation in the decoder.

    See Also
    --------
    MLP : Fully connected networks, which ignore the positions of pixels.
    Modules : Your own networks.
    sklearn_vae.ImageFlattener : Transformer that turns images into rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.networks import Conv
    >>> X = load_digits().data[:200]
    >>> vae = VAETransformer(2, network=Conv(image_shape=(8, 8)), max_iter=5, random_state=0)
    >>> vae.fit_transform(X).shape
    (200, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        "image_shape": [StrOptions({"auto"}), "array-like"],
        "channels": [StrOptions({"auto"}), "array-like"],
        "decoder_channels": [StrOptions({"auto"}), "array-like"],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "kernel_size": [Interval(Integral, 2, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_activation": [StrOptions(set(ACTIVATIONS))],
    }

    def __init__(
        self,
        image_shape="auto",
        channels="auto",
        decoder_channels="auto",
        hidden_layer_sizes=(256,),
        kernel_size=4,
        activation="leaky_relu",
        decoder_activation="relu",
    ):
        self.image_shape = image_shape
        self.channels = channels
        self.decoder_channels = decoder_channels
        self.hidden_layer_sizes = hidden_layer_sizes
        self.kernel_size = kernel_size
        self.activation = activation
        self.decoder_activation = decoder_activation

    def for_images(self, image_shape: tuple[int, ...]) -> Conv:
        """Return a copy with this shape, or the network itself if its shape is given."""
        return clone(self).set_params(image_shape=image_shape) if isinstance(self.image_shape, str) else self

    def build(
        self,
        n_inputs: int,
        n_components: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int],
        zero_output: bool,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Make the encoder and the decoder."""
        if self.kernel_size % 2:
            raise ValueError(f"network Conv: expected kernel_size to be even, got {self.kernel_size!r}.")
        shape = check_image_shape(self.image_shape, n_inputs)
        stages = range(automatic_depth(shape))
        widths = check_widths("channels", self.channels, [16 * 2**i for i in stages])
        decoder_widths = check_widths("decoder_channels", self.decoder_channels, [32 * 2**i for i in stages][::-1])
        sizes = check_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        encoder = self._encoder(shape, widths, sizes, generator)
        sizes = (n_components, *sizes[::-1])
        return encoder, self._decoder(shape, decoder_widths, sizes, zero_output, generator)

    def _encoder(
        self, shape: Shape, widths: Sequence[int], sizes: Sequence[int], generator: torch.Generator
    ) -> nn.Sequential:
        activation, layer = ACTIVATIONS[self.activation], partial(linear, generator=generator)
        layers: list[nn.Module] = [ToImages(shape, len(widths))]
        kernel = self._kernel(shape)
        for n_in, n_out in itertools.pairwise((shape[0], *widths)):
            layers += [convolution(nn.Conv2d, n_in, n_out, kernel, generator), activation()]
        n_features = widths[-1] * math.prod(coarsest(shape, len(widths)))
        return nn.Sequential(*layers, ToFeatures(), *hidden_layers((n_features, *sizes), activation, layer))

    def _decoder(
        self, shape: Shape, widths: Sequence[int], sizes: Sequence[int], zero_output: bool, generator: torch.Generator
    ) -> nn.Sequential:
        activation, grid = ACTIVATIONS[self.decoder_activation], coarsest(shape, len(widths))
        dense = hidden_layers((*sizes, widths[0] * math.prod(grid)), activation, partial(linear, generator=generator))
        layers, kernel = [*dense, FromFeatures((widths[0], *grid))], self._kernel(shape)
        for n_in, n_out in itertools.pairwise(widths):
            layers += [convolution(nn.ConvTranspose2d, n_in, n_out, kernel, generator), activation()]
        output = convolution(nn.ConvTranspose2d, widths[-1], shape[0], kernel, generator, zero_output)
        return nn.Sequential(*layers, output, ToRows(shape))

    def _kernel(self, shape: Shape) -> tuple[int, int]:
        """Return the height and width of the kernels."""
        height, width = (self.kernel_size if size > 1 else 1 for size in shape[1:])
        return height, width


class ToImages(nn.Module):
    """Reshape rows to images, padded with zeros for `n_stages` halvings, in channels-last memory format."""

    def __init__(self, shape: Shape, n_stages: int):
        super().__init__()
        self.shape = shape
        height, width = (-size % factor for size, factor in zip(shape[1:], factors(shape, n_stages), strict=True))
        self.padding = (0, width, 0, height)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_rows, n_columns) to (n_rows, channels, height, width)."""
        images = x.reshape(-1, *self.shape)
        if any(self.padding):
            images = nn.functional.pad(images, self.padding)
        return images.contiguous(memory_format=torch.channels_last)


class ToFeatures(nn.Module):
    """Flatten images to rows in channels-last order, the order in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_rows, channels, height, width) to (n_rows, n_features)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class FromFeatures(nn.Module):
    """Reshape rows to images; the inverse of `ToFeatures`."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Map (n_rows, n_features) to (n_rows, channels, height, width)."""
        channels, height, width = self.shape
        return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


class ToRows(nn.Module):
    """Crop images and flatten them to rows; the inverse of `ToImages`."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n_rows, channels, ...) of the shape or larger to rows (n_rows, n_columns)."""
        return x[:, :, : self.shape[1], : self.shape[2]].flatten(1)


def convolution(
    cls: type[nn.Conv2d] | type[nn.ConvTranspose2d],
    n_in: int,
    n_out: int,
    kernel: tuple[int, int],
    generator: torch.Generator,
    zero: bool = False,
) -> nn.Conv2d | nn.ConvTranspose2d:
    """Make a convolution that halves height and width, or a transposed convolution that doubles them.

    An axis along which the kernel has size 1 is left as it is. Weights are drawn from `generator`, or are zero. The
    distribution is torch's default, with the number of inputs that each output position has as fan-in.
    """
    stride = tuple(min(size, 2) for size in kernel)
    padding = tuple(max(size // 2 - 1, 0) for size in kernel)
    layer = empty(cls, n_in, n_out, kernel, stride=stride, padding=padding)
    n_positions = math.prod(kernel) // (1 if cls is nn.Conv2d else math.prod(stride))
    bound = 0.0 if zero else 1 / math.sqrt(n_in * n_positions)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def check_image_shape(image_shape: Any, n_columns: int) -> Shape:
    """Return (channels, height, width); raise ValueError for shapes that do not have `n_columns` pixels."""
    if isinstance(image_shape, str):
        for channels in (1, 3):
            side = math.isqrt(n_columns // channels)
            if channels * side**2 == n_columns:
                return channels, side, side
        raise ValueError(
            f"network Conv: expected a number of columns that makes square images, grey or with three channels, got "
            f"{n_columns}; give image_shape=(height, width) or (channels, height, width), or use network='mlp'."
        )
    try:
        sizes = check_sizes(image_shape, "image_shape")
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 2, 3):
        raise ValueError(
            f"network Conv: expected image_shape to be (length,), (height, width) or (channels, height, width), "
            f"integers of at least 1, got {image_shape!r}."
        )
    if math.prod(sizes) != n_columns:
        raise ValueError(
            f"network Conv: image_shape={sizes} makes {math.prod(sizes)} columns, got {n_columns}; expected rows to be "
            "flattened images of this shape, as images.reshape(len(images), -1) makes them."
        )
    channels, height, width = (1, 1, *sizes)[-3:]
    return channels, height, width


def check_widths(name: str, widths: Any, automatic: Sequence[int]) -> Sequence[int]:
    """Return the widths of one or more stages; raise ValueError for anything else."""
    if isinstance(widths, str):
        return automatic
    checked = check_sizes(widths, name)
    if not checked:
        raise ValueError(f"network Conv: expected {name} to have at least one width, got {widths!r}.")
    return checked


def automatic_depth(shape: Shape) -> int:
    """Return the number of halvings, at least one, after which `MAX_POSITIONS` positions or fewer remain."""
    depth = 1
    while math.prod(coarsest(shape, depth)) > MAX_POSITIONS:
        depth += 1
    return depth


def coarsest(shape: Shape, n_stages: int) -> tuple[int, int]:
    """Return height and width after this number of halvings, rounded up."""
    height, width = (-(-size // factor) for size, factor in zip(shape[1:], factors(shape, n_stages), strict=True))
    return height, width


def factors(shape: Shape, n_stages: int) -> tuple[int, int]:
    """Return the factors by which this number of halvings divides height and width; an axis of length 1 stays."""
    height, width = (2**n_stages if size > 1 else 1 for size in shape[1:])
    return height, width
