"""Categorical likelihood of one-hot blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from sklearn_vae._data.devices import FLOAT64
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae._data.rows import MappedRows, Rows
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.linear_start import LinearStart, maps_of_inputs
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed

if TYPE_CHECKING:
    from sklearn_vae._data.table_column import Column

# Number of rows, of all training rows, that a category without any is given: its logarithm is finite.
MIN_COUNT = 0.5
# Smallest share in the scale of an input, and in a Newton step: those of rarer categories would be outliers.
MIN_INPUT_SHARE, MIN_STEP_SHARE = 1e-3, 0.02


class Categorical(Likelihood):
    r"""Categorical distributions, :math:`p(x|z) = \prod_b \prod_k \pi_{bk}^{x_{bk}}`, of one-hot blocks b.

    A data frame with columns of strings or categories is encoded so that each column is one block. In an array, a block
    is a group of columns of which exactly one is 1 and the others are 0, as `OneHotEncoder` returns them. A missing
    category is NaN in all columns of its block.

    The probabilities of a block are the softmax of its raw outputs. The encoder's inputs are those of multiple
    correspondence analysis [1]_: each column is centred and divided by the root of its mean, or of 0.001 if that is
    larger, because rarer categories would be outliers. ``sample`` draws categories, and ``inverse_transform`` returns
    probabilities for arrays and the most probable categories for frames.

    Parameters
    ----------
    n_categories : "auto" or sequence of int, default="auto"
        Sizes of the blocks, in order. "auto": the categories of each column of a frame; for arrays, one block.

    See Also
    --------
    Bernoulli : Columns of zeros and ones.
    Columns : A likelihood for each group of columns.

    References
    ----------
    .. [1] M. Greenacre (2017). Correspondence Analysis in Practice. Chapman and Hall/CRC.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.likelihoods import Categorical
    >>> X = pd.DataFrame({"size": ["S", "M", "L", "L"] * 10, "fit": ["slim", "wide", "wide", "wide"] * 10})
    >>> vae = VAETransformer(1, likelihood=Categorical(), max_iter=5, random_state=0).fit(X)
    >>> list(vae.sample(2, random_state=0).columns)
    ['size', 'fit']
    """

    _parameter_constraints: ClassVar[dict] = {"n_categories": [StrOptions({"auto"}), "array-like"]}

    takes_frames = True

    def __init__(self, n_categories="auto"):
        self.n_categories = n_categories

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return CategoricalModule(self._sizes(n_features))

    def kinds_of_means(self, n_features: int) -> list[str]:
        """Return "probability" for each column of the blocks."""
        return ["probability"] * n_features

    def for_table(self, columns: Sequence[Column]) -> Likelihood:
        """Return the specification with the numbers of categories of a frame's columns."""
        others = [column for column in columns if column.kind != "category"]
        if others:
            raise ValueError(
                f"likelihood Categorical: expected columns of strings or categories, got {others[0].kind}s in column "
                f"{others[0].name!r}; convert it, e.g. with X.astype({{{others[0].name!r}: 'category'}})."
            )
        sizes = [column.stop - column.start for column in columns]
        return Categorical([size for size in sizes if size])

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError unless each block has a single one and zeros, or is missing."""
        sizes = np.array(self._sizes(X.shape[1]))
        starts = np.cumsum(sizes) - sizes
        missing = np.add.reduceat(np.isnan(X), starts, axis=1, dtype=np.int64)
        ones = np.add.reduceat(X == 1, starts, axis=1, dtype=np.int64)
        zeros = np.add.reduceat(X == 0, starts, axis=1, dtype=np.int64)
        wrong = np.argwhere(((ones != 1) | (zeros != sizes - 1)) & (missing != sizes))
        if len(wrong):
            row, block = wrong[0]
            first, last = starts[block], starts[block] + sizes[block] - 1
            raise ValueError(
                f"likelihood Categorical: expected a single 1 and zeros, or only NaN, in columns {first} to {last}, "
                f"got {X[row, first : last + 1].tolist()} in row {row}; encode categories with OneHotEncoder, give "
                "the sizes of its blocks as n_categories, or pass a data frame."
            )

    def resolved_as(self, fitted: Likelihood) -> Likelihood:
        """Return the specification with the `n_categories` of `fitted` for "auto"."""
        is_auto = isinstance(self.n_categories, str)
        return Categorical(fitted.get_params(deep=False)["n_categories"]) if is_auto else self

    def _sizes(self, n_features: int) -> list[int]:
        """Return the sizes of the blocks; raise ValueError if they are not those of `n_features` columns."""
        sizes = [n_features] if isinstance(self.n_categories, str) else [int(size) for size in self.n_categories]
        if sum(sizes) != n_features or min(sizes, default=0) < 1:
            raise ValueError(
                f"likelihood Categorical: expected n_categories to be sizes of at least 1 whose sum is the number of "
                f"columns, {n_features}, got {self.n_categories!r}."
            )
        return sizes


class CategoricalModule(LikelihoodModule):
    """Categorical distributions whose raw outputs are logarithms of shares, up to a constant per block.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of categories, of at least 1.
    """

    sums_cells = True

    share: Tensor
    min_share: Tensor
    block: Tensor
    position: Tensor

    def __init__(self, sizes: Sequence[int]):
        n_features = sum(sizes)
        super().__init__(n_features, n_features)
        # Shares of the categories in the training rows.
        self.register_buffer("share", torch.ones(n_features, **FLOAT64))
        # Share that a category without any row is given.
        self.register_buffer("min_share", torch.ones((), **FLOAT64))
        block = np.repeat(np.arange(len(sizes)), sizes)
        self.register_buffer("block", torch.from_numpy(block).to("cpu"), persistent=False)
        self._add_indices(sizes)

    def _add_indices(self, sizes: Sequence[int]) -> None:
        """Store the columns of blocks of similar sizes as matrices, in which they are computed together.

        A matrix has a row for each block and as many columns as the largest block, at most twice those of any other.
        Its surplus entries point to a column beyond the last.
        """
        starts = np.cumsum([0, *sizes])
        bits = [(size - 1).bit_length() for size in sizes]
        groups = [[b for b, own in enumerate(bits) if own == one] for one in sorted(set(bits))]
        for i, blocks in enumerate(groups):
            index = np.full((len(blocks), max(sizes[b] for b in blocks)), starts[-1])
            for row, b in zip(index, blocks, strict=True):
                row[: sizes[b]] = np.arange(starts[b], starts[b + 1])
            self.register_buffer(f"index_{i}", torch.from_numpy(index).to("cpu"), persistent=False)
        self.n_indices = len(groups)
        position = np.argsort(np.concatenate(groups))
        self.register_buffer("position", torch.from_numpy(position).to("cpu"), persistent=False)

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the shares of the categories."""
        self.share.copy_(moments.center)
        self.min_share.fill_(MIN_COUNT * moments.scale)

    def features(self, rows: Rows, moments: Moments) -> Rows:
        """Return rows of the encoder's inputs."""
        self.set_units(moments, None)
        return MappedRows(rows, self.scale_indicators)

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return the one-hot blocks, and their scaled columns as inputs."""
        cells = x.to(self.dtype)
        return Observed(cells, self.scale_indicators(cells))

    def scale_indicators(self, x: Tensor) -> Tensor:
        """Return one-hot columns, centred and divided by the roots of their shares; 0 for unused categories."""
        share = self.share.to(x)
        return (x - share) * torch.where(share > 0, share.clamp_min(MIN_INPUT_SHARE).rsqrt(), 0.0)

    @property
    def units(self) -> Tensor:
        """Roots of the shares, by which multiple correspondence analysis divides the columns."""
        return self.share.clamp_min(MIN_INPUT_SHARE).sqrt()

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""Translate multiple correspondence analysis into log-linear shares.

        Let :math:`W z` be the principal components' part of the inputs. To first order, a category's share is
        :math:`p_k + \sqrt{p_k} W_k z`. One Newton step from independent columns gives the raw outputs
        :math:`\log p_k + V_k z` with :math:`V_k = W_k / \sqrt{p_k}`. The step of a rare category is shortened, as it
        would leave the region where the softmax is nearly linear. Half of :math:`\|V_k\|^2` is subtracted: the mean
        share over z then stays about the same. The posterior's variance is the Laplace approximation at the mean row.
        """
        self.input_unit.fill_(ppca.moments.unit)
        maps = maps_of_inputs(ppca)
        share = self.share.cpu().numpy().clip(float(self.min_share))
        scale = np.sqrt(share.clip(MIN_INPUT_SHARE))
        decoder = maps["input_weight"] * (scale / share.clip(MIN_STEP_SHARE))[:, None]
        block = self.block.cpu().numpy()
        mean = np.zeros((block[-1] + 1, decoder.shape[1]))
        np.add.at(mean, block, share[:, None] * decoder)
        information = share @ np.square(decoder) - np.square(mean).sum(0)
        return LinearStart(
            posterior_variance=1 / (1 + information.clip(0)),
            decoder_weight=decoder,
            decoder_bias=np.log(share) - 0.5 * np.square(decoder).sum(1),
            **maps,
        )

    def log_totals(self, raw: Tensor) -> Tensor:
        """Return the logarithms of the sums of exp(raw), (..., n_blocks)."""
        return torch.cat([raw[..., index].logsumexp(-1) for raw, index in self._blocks(raw)], -1)[..., self.position]

    def _blocks(self, raw: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the raw outputs with a column of -inf, which surplus entries point to, and each matrix of columns."""
        padded = torch.nn.functional.pad(raw, (0, 1), value=-torch.inf)
        return [(padded, getattr(self, f"index_{i}")) for i in range(self.n_indices)]

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x_j|z) of each cell, 0 for the categories that a row does not have."""
        return observed.cells * (raw - self.log_totals(raw)[..., self.block])

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log P(x|z) per row. A vector product saves passes over the cells."""
        return torch.linalg.vecdot(raw, observed.cells) - self.log_totals(raw).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the probabilities of the categories, float64."""
        raw = raw.double()
        return (raw - self.log_totals(raw)[..., self.block]).exp()

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one-hot blocks: the largest of the raw outputs with Gumbel noise is a draw from the softmax."""
        raw = raw.double()
        uniform = torch.rand(raw.shape, generator=generator, dtype=raw.dtype, device=raw.device)
        noisy = raw - (-uniform.clamp_min(torch.finfo(raw.dtype).tiny).log()).log()
        draws = torch.zeros_like(raw)
        for padded, index in self._blocks(noisy):
            largest = padded[..., index].argmax(-1, keepdim=True)
            chosen = index.expand(*largest.shape[:-1], index.shape[-1]).gather(-1, largest)[..., 0]
            draws.scatter_(-1, chosen, 1.0)
        return draws
