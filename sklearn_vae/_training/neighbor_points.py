"""Points that keep the neighbours of rows: a map without an encoder, by stochastic gradient descent."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_vae._data.rows import MappedRows, Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.evaluate import row_weights

if TYPE_CHECKING:
    from sklearn_vae._training.fit import FitProcedure

# Number of updates of new points, in units of the number of rows: bounds, and total for numbers of rows between them.
MIN_EPOCHS, MAX_EPOCHS, N_UPDATES = 75, 300, 2_000_000
# Number of updates of the points of a model that is trained further, in units of that of new ones.
REFINING_SHARE = 0.25
# Step size, which falls linearly to 0: for new points, and for those of a model that is trained further.
NEW_RATE, REFINING_RATE = 3.0, 1.0
# Factor of the attraction of new points in the first third of the epochs ("early exaggeration", van der Maaten & Hinton
# 2008).
EXAGGERATION = 6.0
# Maximum number of principal coordinates in which rows are compared.
N_COORDINATES = 50
# Minimum number of clusters that the approximate search of neighbours looks into. A map suffers more than label
# spreading from neighbours that are not found, because these are mostly in another cluster.
N_PROBES = 64
# Floor for the norm of a row, for the cosine distance.
MIN_NORM = 1e-30
# Norm of the encoder's input noise, relative to the distance of the last neighbours: rows are moved within their
# neighbourhoods. Largest standard deviation of the noise, relative to that of the rows.
NOISE_PER_DISTANCE, MAX_NOISE = 0.85, 0.7
# Maximum number of points that are updated at a time, and number of points that repel them.
BATCH_SIZE, N_NEGATIVES = 2000, 500


def find_neighbors(procedure: FitProcedure, rows: Rows) -> tuple[FitProcedure, Tensor | None]:
    """Return the procedure with input noise, and the neighbours of each row, for a map; None for other objectives.

    The procedure keeps the input noise that it has.
    """
    objective = procedure.architecture.generative_objective
    if not objective.n_neighbors:
        return procedure, None
    if len(rows) < 2:
        return procedure.with_input_noise(MAX_NOISE), None
    features, seed = procedure.features(rows), procedure.seeds.neighbors
    neighbors, distance = nearest_rows(features, objective.n_neighbors, objective.metric, seed)
    return procedure.with_input_noise(min(MAX_NOISE, NOISE_PER_DISTANCE * distance)), neighbors


def with_points(procedure: FitProcedure, rows: Rows, neighbors: Tensor | None, model: VAE | None = None) -> Rows:
    """Return the rows with points in latent space that keep these neighbours; as they are without neighbours.

    New points start at the posterior means of the initial model, and are standardised. The points of a `model` that is
    trained further start at its posterior means.
    """
    if neighbors is None:
        return rows
    generator = torch.Generator(rows.device).manual_seed(procedure.seeds.neighbors)
    move = partial(neighbor_points, neighbors=neighbors, weight=row_weights(rows), generator=generator)
    n_epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, N_UPDATES // len(rows)))
    if model is None:
        means = _standardised(latent_means(procedure.start(rows), rows))
        points = move(means, n_epochs=n_epochs, rate=NEW_RATE, exaggeration=EXAGGERATION)
        return rows.with_points(_standardised(points))
    scale = procedure.architecture.generative_objective.map_scale
    points = move(scale * latent_means(model, rows), n_epochs=round(REFINING_SHARE * n_epochs), rate=REFINING_RATE)
    return rows.with_points(points / scale)


def nearest_rows(rows: Rows, n_neighbors: int, metric: str, seed: int) -> tuple[Tensor, float]:
    """Return the indices of each row's nearest other rows, int32, (n_rows, n_neighbors), and their distance.

    The distance is the median to the last of them, relative to the root mean square of that to the mean of the rows.
    """
    # Imported here, because scikit-learn's clustering takes longer to import than this package.
    from sklearn_vae._data.neighbors import in_unit_range, nearest_neighbors, principal_components

    if metric == "cosine":
        rows = MappedRows(rows, partial(nn.functional.normalize, eps=MIN_NORM))
    coordinates = in_unit_range(principal_components(rows, N_COORDINATES))
    distances, index = nearest_neighbors(coordinates, n_neighbors, seed, N_PROBES)
    spread = math.sqrt(np.square(coordinates).sum(1).mean())
    return rows.tensor(index.astype(np.int32)), float(np.median(distances[:, -1])) / spread if spread else 0.0


@torch.no_grad()
def latent_means(model: VAE, rows: Rows) -> Tensor:
    """Return the posterior means of the rows, (n_rows, n_components)."""
    return torch.cat([model.embed(batch["x"]) for batch in rows.chunks()])


def _standardised(points: Tensor) -> Tensor:
    """Return points whose coordinates have mean 0 and mean square 1."""
    points = points - points.mean(0)
    return points / points.square().mean().sqrt().clamp_min(torch.finfo(points.dtype).tiny)


def neighbor_points(
    points: Tensor,
    neighbors: Tensor,
    weight: Tensor,
    generator: torch.Generator,
    n_epochs: int,
    rate: float,
    exaggeration: float = 1.0,
) -> Tensor:
    r"""Move points so that neighbours are near each other and other points are apart, (n_rows, n_components).

    It minimises the mean over rows of

    .. math:: -\frac{1}{k} \sum_t \log q_{it} + \log \sum_j w_j q_{ij}, \qquad q_{ij} = \frac{1}{1 + \|u_i - u_j\|^2},

    the loss of stochastic neighbour embedding with a Cauchy kernel. The second sum is over `N_NEGATIVES` points, drawn
    at random in each step, as in contrastive estimators of this loss (Damrich et al. 2023). Neighbours are attracted
    too, so that attraction is symmetric.

    Parameters
    ----------
    points : Tensor of shape (n_rows, n_components)
        Initial points.
    neighbors : Tensor of shape (n_rows, n_neighbors)
        Indices of each row's neighbours.
    weight : Tensor of shape (n_rows,)
        Weights of the rows. Points repel in proportion to them.
    generator : torch.Generator
        The only source of randomness.
    n_epochs : int
        Number of updates of each point, apart from those as a neighbour.
    rate : float
        Initial step size, which falls linearly to 0.
    exaggeration : float
        Factor of the attraction in the first third of the epochs.
    """
    points, n = points.clone(), len(points)
    n_batches = max(-(-n // BATCH_SIZE), min(8, n // 64), 1)
    # `torch.multinomial` takes at most 2^24 weights.
    total = weight.double().cumsum(0)
    for epoch in range(n_epochs):
        step = rate * (1 - epoch / n_epochs)
        attraction = step * exaggeration if 3 * epoch < n_epochs else step
        uniform = torch.rand(
            n_batches * min(n, N_NEGATIVES), generator=generator, dtype=total.dtype, device=total.device
        )
        drawn = torch.searchsorted(total, uniform * total[-1], right=True).clamp_max(n - 1)
        order = torch.randperm(n, generator=generator, device=points.device)
        for index, negatives in zip(order.tensor_split(n_batches), drawn.tensor_split(n_batches), strict=True):
            _update(points, index, neighbors[index].long(), points[negatives], step, attraction)
    return points


def _update(
    points: Tensor, index: Tensor, neighbors: Tensor, negatives: Tensor, repulsion: float, attraction: float
) -> None:
    """Make a gradient step for the points at `index`, and for the attraction of their neighbours."""
    heads = points[index]
    differences = heads[:, None] - points[neighbors]
    pull = (2 * attraction / neighbors.shape[1]) * differences / (1 + differences.square().sum(-1, keepdim=True))
    square = 1 + negatives.square().sum(-1)
    q = torch.addmm(square, heads, negatives.T, alpha=-2).add_(heads.square().sum(-1)[:, None])
    # Rounding must not make distances negative.
    q = q.clamp_(min=1).reciprocal_()
    total = q.sum(1, keepdim=True)
    q = q.square_()
    push = (2 * repulsion) * (q.sum(1, keepdim=True) * heads - q @ negatives) / total
    points.index_add_(0, index, push - pull.sum(1))
    points.index_add_(0, neighbors.flatten(), pull.flatten(0, 1))
