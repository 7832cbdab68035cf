"""Inference: a fitted model applied to chunks of rows, in their precision. Few rows are computed in numpy."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import DTypeLike
from scipy import sparse
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT64, to_tensor
from sklearn_vae._data.rows import CHUNK_SIZE
from sklearn_vae._data.sparse_rows import Matrix, to_dense
from sklearn_vae._model.layers import Layer, Layers
from sklearn_vae._model.vae import MAX_DRAWS, VAE

# Largest number of array elements in a chunk with several draws per row, so that successive arrays stay in the cache.
CHUNK_SIZE_OF_DRAWS = 2**18
# Chunks of sampled rows start at multiples of this number and hold at least as many rows, because torch fills tensors
# with random numbers in blocks of this size.
BLOCK = 16
# Largest number of rows for which calling modules costs more than their arithmetic; such rows are computed in numpy.
FEW_ROWS = 64


def map_rows(function: Callable[[Tensor], Tensor], X: Matrix, device: torch.device, chunk: int) -> np.ndarray:
    """Apply `function` to chunks of rows of `X` on the device; return an array of X's precision, float32 for bytes."""
    n_rows = X.shape[0]
    parts = (function(to_tensor(to_dense(X[start : start + chunk])).to(device)) for start in range(0, n_rows, chunk))
    with torch.inference_mode():
        return gather(parts, n_rows, X.dtype if np.issubdtype(X.dtype, np.floating) else np.float32)


def gather(parts: Iterator[Tensor], n_rows: int, dtype: DTypeLike) -> np.ndarray:
    """Copy parts into one array, allocated first: small results between large freed chunks fragment the heap."""
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
        A model that `supports` accepts. The arrays share its memory.
    """

    def __init__(self, model: VAE):
        assert model.encoder_head is not None and isinstance(model.encoder, nn.Sequential)
        linear, d = model.linear, model.n_components
        self.observe = model.likelihood.numpy_observer()
        self.layers = [(*_arrays(layer), _norm(layer), layer.slope) for layer in Layers(model.encoder).layers]
        weight, bias = _arrays(Layer(model.encoder_head))
        self.head = weight[:, :d], bias[:d]
        self.spread = 1.0 if linear is None else linear.spread.numpy()
        self.linear = None if linear is None else _arrays(Layer(linear.encoder))

    @staticmethod
    def supports(model: VAE) -> bool:
        """Return whether a model's posterior means can be computed in numpy."""
        return (
            model.likelihood.observes_in_numpy
            and model.encoder_head is not None
            and not model.gives_posterior
            and Layers.supports(model.encoder)
            and model.encoder_head.weight.device.type == "cpu"
        )

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return the posterior means (n_rows, n_components) of rows in the model's precision."""
        y = self.observe(X)
        h = y / self.spread
        for weight, bias, norm, slope in self.layers:
            h = h @ weight
            h += bias
            if norm is not None:
                gain, shift, eps = norm
                h -= h.mean(1, keepdims=True)
                h /= np.sqrt(np.square(h).mean(1, keepdims=True) + eps)
                h = h * gain + shift
            if slope is not None:
                h = np.maximum(h, slope * h if slope else 0)
        z = h @ self.head[0] + self.head[1]
        return z if self.linear is None else z + (y @ self.linear[0] + self.linear[1])


class Inference:
    """A model that is applied to rows in their own precision, bytes in float32.

    float64 rows are computed in float64, so that a row's result does not depend on the other
    rows of its chunk.

    Parameters
    ----------
    model : VAE
        The model in float32.
    """

    def __init__(self, model: VAE):
        self.model = model
        # These are found only once, because a walk over the modules costs as much as transforming a row.
        self.device = next(model.parameters()).device
        self.width = max(len(t) for t in (*model.parameters(), *model.buffers()) if t.ndim)
        self.means_in_numpy = MeansOfFewRows.supports(model)
        self._of_few_rows: dict[np.dtype, MeansOfFewRows] = {}

    @cached_property
    def double(self) -> VAE:
        """A float64 copy of the model, made when first needed."""
        with torch.inference_mode(False):
            return copy.deepcopy(self.model).double()

    def means(self, X: Matrix) -> np.ndarray:
        """Return the means of q(z|x), (n_rows, n_components), in X's precision."""
        if not self.means_in_numpy or X.shape[0] > FEW_ROWS:
            return self.map(VAE.embed, X)
        if sparse.issparse(X):
            # Chunks bound the memory of rows with very many columns.
            return self.map(VAE.embed, X) if X.shape[0] * X.shape[1] > CHUNK_SIZE else self.means(X.toarray())
        if np.isnan(X.min()):
            return self.map(VAE.embed, X)
        if X.dtype not in self._of_few_rows:
            self._of_few_rows[X.dtype] = MeansOfFewRows(self.double if X.dtype == np.float64 else self.model)
        # Values that overflow give inf or NaN without a warning, as in torch.
        with np.errstate(all="ignore"):
            return self._of_few_rows[X.dtype](X)

    def map(self, function: Callable[[VAE, Tensor], Tensor], X: Matrix, n_draws: int = 1) -> np.ndarray:
        """Apply `function` to the model and chunks of rows; return an array of X's precision.

        In a chunk, the widest layer's output has at most `CHUNK_SIZE` elements, or at most
        `CHUNK_SIZE_OF_DRAWS` with `n_draws` draws per row.
        """
        model = self.double if X.dtype == np.float64 else self.model
        chunk = max(1, (CHUNK_SIZE if n_draws == 1 else CHUNK_SIZE_OF_DRAWS) // (n_draws * max(self.width, X.shape[1])))
        return map_rows(partial(function, model), X, self.device, chunk)

    def log_likelihoods(self, X: Matrix, n_draws: int) -> np.ndarray:
        """Return estimates of log p(x) in nats, (n_rows,), with `n_draws` draws that are the same for all rows."""
        generator = torch.Generator("cpu").manual_seed(0)
        noise = torch.randn((n_draws, 1, self.model.n_components), generator=generator, **FLOAT64)
        return self.map(partial(VAE.log_likelihood, noise=noise), X, min(n_draws, MAX_DRAWS))

    def sample(self, z: Tensor, generator: torch.Generator) -> np.ndarray:
        """Draw a row from p(x|z) for each row of `z`, in float64 and in chunks.

        On the CPU the draws of the package's likelihoods do not depend on the chunks: torch fills tensors of at least
        16 elements in blocks of 16.
        """
        chunk = max(1, CHUNK_SIZE // (BLOCK * self.width)) * BLOCK
        starts = [*range(0, max(1, len(z) - BLOCK + 1), chunk), len(z)]
        parts = (self.model.sample(z[start:stop], generator) for start, stop in itertools.pairwise(starts))
        return gather(parts, len(z), np.float64)

    def reconstruct(self, z: Tensor) -> np.ndarray:
        """Return the mean of p(x|z) for each row of `z`, in float64."""
        return self.map(VAE.reconstruct, z.double().cpu().numpy())


def _arrays(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer's transposed weight and bias."""
    return layer.transposed.numpy(), layer.bias.numpy()


def _norm(layer: Layer) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return the weight, bias and floor of the variance of a layer's normalisation, or None without one."""
    norm = layer.norm
    return None if norm is None else (norm.weight.numpy(), norm.bias.numpy(), norm.eps)


class FittedModel:
    """The only holder of a fitted model. The copies that inference derives from it cannot become stale.

    Parameters
    ----------
    model : VAE
        The model in float32. `Inference` holds its float64 and numpy copies.
    """

    def __init__(self, model: VAE):
        self.model = model
        self._inference: Inference | None = None
        self.is_handed_out = False

    def hand_out(self) -> VAE:
        """Return the model to a user, who may change it at any later time."""
        self.is_handed_out = True
        return self.model

    @property
    def inference(self) -> Inference:
        """The model's inference: cached, or made anew at each call once a user holds the model."""
        if self._inference is None or self.is_handed_out:
            self._inference = Inference(self.model.eval())
        return self._inference
