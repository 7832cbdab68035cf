"""Torch module of a likelihood for each group of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae._data.rows import MappedRows, Rows
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.linear_start import LinearStart
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.standardised import StandardisedCells, StandardisedInputs
from sklearn_vae.likelihoods.values import MeasuredColumns, Observed


class ColumnsModule(LikelihoodModule):
    """Independent likelihoods of groups of columns, given z.

    Cells and inputs are in the order of the columns, raw outputs in that of the groups.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
    columns : sequence of list of int
        The columns of each group. Each column is in one group.
    """

    sums_cells = True

    order: Tensor

    def __init__(self, likelihoods: Sequence[Likelihood], columns: Sequence[list[int]]):
        order = np.argsort(np.concatenate(columns))
        parts = [_part(likelihood, len(c)) for likelihood, c in zip(likelihoods, columns, strict=True)]
        super().__init__(len(order), sum(part.n_outputs for part in parts))
        self.parts = nn.ModuleList(parts)
        self.n_outputs_of_parts = [part.n_outputs for part in parts]
        for i, indices in enumerate(columns):
            self.register_buffer(f"columns_{i}", torch.tensor(indices, device="cpu"), persistent=False)
        self.register_buffer("order", torch.from_numpy(order).to("cpu"), persistent=False)
        self.is_ordered = bool((order == np.arange(len(order))).all())
        # Slices where columns are neighbours, because these need no copy.
        self.slices = [_as_slice(indices) for indices in columns]

    def _columns(self) -> Iterator[tuple[LikelihoodModule, slice | Tensor]]:
        """Yield each part and its columns."""
        for part, indices, columns in zip(self.parts, self._indices, self.slices, strict=True):
            assert isinstance(part, LikelihoodModule)
            yield part, indices if columns is None else columns

    @property
    def _indices(self) -> list[Tensor]:
        """The columns of each group as tensors."""
        return [getattr(self, f"columns_{i}") for i in range(len(self.parts))]

    def _join(self, values: Sequence[Tensor]) -> Tensor:
        """Return values of the groups' columns in the order of the columns."""
        joined = torch.cat(list(values), -1)
        return joined if self.is_ordered else joined[..., self.order]

    def _scored(self, observed: Observed, raw: Tensor) -> Iterator[tuple[LikelihoodModule, Observed, Tensor]]:
        """Yield each part, with its observed values and its raw outputs."""
        for (part, c), own in zip(self._columns(), raw.split(self.n_outputs_of_parts, -1), strict=True):
            mask = None if observed.mask is None else observed.mask[..., c]
            yield part, Observed(observed.cells[..., c], observed.inputs[..., c], mask), own

    def _decoded(self, raw: Tensor, function: Callable[[LikelihoodModule, Tensor], Tensor]) -> Tensor:
        """Return a function of each part and its raw outputs."""
        own = raw.split(self.n_outputs_of_parts, -1)
        return self._join([function(part, r) for (part, _), r in zip(self._columns(), own, strict=True)])

    @property
    def units(self) -> Tensor:
        """Standard deviations of columns, or roots of the shares of categories."""
        pairs = zip(self._columns(), self._indices, strict=True)
        return self._join(
            [
                torch.ones_like(own, dtype=torch.float64) if part.units is None else part.units
                for (part, _), own in pairs
            ]
        )

    @property
    def variance(self) -> Tensor | None:
        """Noise variance in the data's units, (n_features,). None if a group has no noise scale."""
        variances = [
            None if part.variance is None else part.variance.expand(len(own))
            for (part, _), own in zip(self._columns(), self._indices, strict=True)
        ]
        known = [variance for variance in variances if variance is not None]
        return self._join(known) if len(known) == len(variances) else None

    def measured_columns(self) -> list[MeasuredColumns]:
        """Return the groups of columns whose noise scales are measured after training."""
        return [
            group._replace(columns=own[group.columns])
            for (part, _), own in zip(self._columns(), self._indices, strict=True)
            for group in part.measured_columns()
        ]

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the units of each group; the root mean variance of the inputs is about 1."""
        for part, c in self._columns():
            part.set_units(moments.select(c), None)
        self.input_unit.fill_(1.0)

    def features(self, rows: Rows, moments: Moments) -> Rows:
        """Return rows of the encoder's inputs: standardised numbers, scaled indicators, and so on."""
        self.set_units(moments, None)
        # Some parts learn more from rows than their moments.
        for (part, c), indices in zip(self._columns(), self._indices, strict=True):
            part.features(rows.columns(indices), moments.select(c))
        device = self.order.device

        def inputs(x: Tensor) -> Tensor:
            """Return the encoder's inputs in the precision of the rows."""
            observed = self.observe(x.to(device)).inputs
            return observed.to(x) if x.is_floating_point() else observed.to(x.device)

        return MappedRows(rows, inputs)

    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Return the starts of the groups, which see the same components."""
        square = ppca.moments.unit**2
        ppca = replace(
            ppca,
            moments=replace(ppca.moments, unit=1.0),
            variances=ppca.variances * square,
            noise_variance=ppca.noise_variance * square,
        )
        starts = [part.linear_start(ppca.select(c)) for part, c in self._columns()]
        joined = LinearStart.join(starts, self.order.cpu().numpy())
        return joined._replace(
            decoder_weight=np.vstack([start.decoder_weight for start in starts]),
            decoder_bias=np.hstack([start.decoder_bias for start in starts]),
        )

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return what each part observes of its columns."""
        observed = [part.observe(x[..., c], generator) for part, c in self._columns()]
        return Observed(self._join([o.cells for o in observed]), self._join([o.inputs for o in observed]))

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell."""
        return self._join([part.log_prob_cells(o, r) for part, o, r in self._scored(observed, raw)])

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log p(x|z) per row, the sum of the groups' log-probabilities."""
        log_prob = [part.log_prob(o, r, weight) for part, o, r in self._scored(observed, raw)]
        return torch.stack(log_prob).sum(0)

    def optima(self) -> Iterator[Tensor]:
        """Yield the statistics of the parts."""
        return chain.from_iterable(part.optima() for part, _ in self._columns())

    def update_optima(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> None:
        """Add rows to the statistics of the parts."""
        for part, o, r in self._scored(observed, raw):
            part.update_optima(o, r, weight)

    def mean(self, raw: Tensor) -> Tensor:
        """Return E[x|z], float64."""
        return self._decoded(raw, lambda part, r: part.mean(r))

    def mean_given(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return E[x|z] of observed rows, float64; a total is that of the row's columns in the group."""
        return self._join([part.mean_given(o, r) for part, o, r in self._scored(observed, raw)])

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x, float64."""
        return self._decoded(raw, lambda part, r: part.sample(r, generator))


def _part(likelihood: Likelihood, n_columns: int) -> LikelihoodModule:
    """Build the module of a group, whose inputs have variances of about 1."""
    part = likelihood.build(n_columns, None)
    if part.n_inputs != n_columns:
        raise ValueError(
            f"Columns: expected likelihoods with one input per column, got {part.n_inputs} for {n_columns} columns of "
            f"{likelihood!r}; use it for all columns, without Columns."
        )
    if likelihood.has_free_scale:
        return StandardisedCells(part, n_columns)
    return part if part.has_features else StandardisedInputs(part, n_columns)


def _as_slice(indices: list[int]) -> slice | None:
    """Return consecutive indices as a slice, others as None."""
    first = indices[0]
    return slice(first, first + len(indices)) if indices == list(range(first, first + len(indices))) else None
