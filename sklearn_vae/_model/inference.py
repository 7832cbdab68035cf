"""A fitted model applied to rows: in chunks, in their own precision, and few of them in numpy."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from sklearn_vae._data.devices import to_tensor
from sklearn_vae._data.rows import CHUNK_SIZE
from sklearn_vae._model.layers import Layer, Layers
from sklearn_vae._model.vae import VAE

# Numbers that a chunk of draws may hold at a time: arrays follow each other fast, and should stay in the cache.
CHUNK_SIZE_OF_DRAWS = 2**18
# Rows of a chunk of draws are a multiple of this, and at least as many.
BLOCK = 16
# Rows up to which calls of modules cost more than their arithmetic.
FEW_ROWS = 64


def map_rows(function: Callable[[Tensor], Tensor], X: np.ndarray, device: torch.device, chunk: int) -> np.ndarray:
    """Apply `function` to chunks of rows of `X` on the device; return an array of X's precision, float32 for bytes."""
    parts = (function(to_tensor(X[start : start + chunk]).to(device)) for start in range(0, len(X), chunk))
    with torch.inference_mode():
        return gather(parts, len(X), X.dtype if np.issubdtype(X.dtype, np.floating) else np.float32)


def gather(parts: Iterator[Tensor], n_rows: int, dtype: DTypeLike) -> np.ndarray:
    """Return the parts in one array, made at once: small results between large freed chunks fragment the heap."""
    first = next(parts)
    out = np.empty((n_rows, *first.shape[1:]), dtype=dtype)
    start = 0
    for part in itertools.chain([first], parts):
        out[start : start + len(part)] = part.cpu().numpy()
        start += len(part)
    return out


class MeansOfFewRows:
    """The mean of q(z|x) in numpy, for a likelihood that observes in numpy and an encoder of `Layers`.

    Parameters
    ----------
    model : VAE
        That `supports` accepts. Its memory is shared.
    """

    def __init__(self, model: VAE):
        assert model.encoder_head is not None and isinstance(model.encoder, nn.Sequential)
        linear, d = model.linear, model.n_components
        self.observe = model.likelihood.numpy_observer()
        self.layers = [_arrays(layer) for layer in Layers(model.encoder).layers]
        weight, bias, _ = _arrays(Layer(model.encoder_head))
        self.head = weight[:, :d], bias[:d]
        self.spread = 1.0 if linear is None else linear.spread.numpy()
        self.linear = None if linear is None else _arrays(Layer(linear.encoder))[:2]

    @staticmethod
    def supports(model: VAE) -> bool:
        """Say whether the means of a model can be computed in numpy."""
        return (
            model.likelihood.observes_in_numpy
            and model.encoder_head is not None
            and not model.gives_posterior
            and Layers.supports(model.encoder)
            and model.encoder_head.weight.device.type == "cpu"
        )

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return the means (n_rows, n_components) of rows in the model's precision."""
        y = self.observe(X)
        h = y / self.spread
        for weight, bias, slope in self.layers:
            h = h @ weight
            h += bias
            if slope is not None:
                h = np.maximum(h, slope * h if slope else 0)
        z = h @ self.head[0] + self.head[1]
        return z if self.linear is None else z + (y @ self.linear[0] + self.linear[1])


class Inference:
    """A model in the precision of the rows, which is float32 for bytes.

    float64 rows are computed in float64, so that a row's result does not depend on the
    rows that happen to be computed with it.

    Parameters
    ----------
    model : VAE
        In float32.
    """

    def __init__(self, model: VAE):
        self.model = model
        # Found here once: a walk over the modules costs as much as embedding a row.
        self.device = next(model.parameters()).device
        self.width = max(len(t) for t in (*model.parameters(), *model.buffers()) if t.ndim)
        self.means_in_numpy = MeansOfFewRows.supports(model)
        self._of_few_rows: dict[np.dtype, MeansOfFewRows] = {}

    @cached_property
    def double(self) -> VAE:
        """The model in float64, made when first needed."""
        return copy.deepcopy(self.model).double()

    def means(self, X: np.ndarray) -> np.ndarray:
        """Return the means of q(z|x), (n_rows, n_components), in X's precision."""
        if not self.means_in_numpy or len(X) > FEW_ROWS:
            return self.map(VAE.embed, X)
        if X.dtype not in self._of_few_rows:
            self._of_few_rows[X.dtype] = MeansOfFewRows(self.double if X.dtype == np.float64 else self.model)
        # Rows that are too large to be computed give inf or NaN, as in torch, without a warning.
        with np.errstate(all="ignore"):
            return self._of_few_rows[X.dtype](X)

    def map(self, function: Callable[[VAE, Tensor], Tensor], X: np.ndarray, n_draws: int = 1) -> np.ndarray:
        """Apply `function` of the model and chunks of rows; return an array of X's precision.

        A chunk holds as many rows as make `CHUNK_SIZE` numbers of the widest layer, or
        `CHUNK_SIZE_OF_DRAWS` with `n_draws` of them per row.
        """
        model = self.double if X.dtype == np.float64 else self.model
        chunk = max(1, (CHUNK_SIZE if n_draws == 1 else CHUNK_SIZE_OF_DRAWS) // (n_draws * max(self.width, X.shape[1])))
        return map_rows(partial(function, model), X, self.device, chunk)

    def sample(self, z: Tensor, generator: torch.Generator) -> np.ndarray:
        """Draw a row from p(x|z) for each row of `z`, float64, by the chunk.

        On the CPU the draws are those of one chunk for all: torch fills tensors of 16 numbers or more in blocks of 16.
        """
        chunk = max(1, CHUNK_SIZE // (BLOCK * self.width)) * BLOCK
        starts = [*range(0, max(1, len(z) - BLOCK + 1), chunk), len(z)]
        parts = (self.model.sample(z[start:stop], generator) for start, stop in itertools.pairwise(starts))
        return gather(parts, len(z), np.float64)


def _arrays(layer: Layer) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Return the transposed weight, the bias and the slope."""
    return layer.transposed.numpy(), layer.bias.numpy(), layer.slope


class FittedModel:
    """The one holder of a fitted model; what is derived from it for inference cannot be stale.

    Parameters
    ----------
    model : VAE
        In float32. `Inference` holds its twins in other precisions and in numpy.
    """

    def __init__(self, model: VAE):
        self.model = model
        self._inference: Inference | None = None
        self._is_handed_out = False

    def hand_out(self) -> VAE:
        """Return the model to a user, who may change it at any time from now on."""
        self._is_handed_out = True
        return self.model

    @property
    def inference(self) -> Inference:
        """The model applied to rows: kept between calls, but derived anew each time once a user has the model."""
        if self._inference is None or self._is_handed_out:
            self._inference = Inference(self.model.eval())
        return self._inference
