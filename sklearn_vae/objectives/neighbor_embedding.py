"""A map that keeps neighbours, beside a generative objective."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_vae.objectives.base import Batch, Encoded, Objective, Terms

# "auto": weight of a map of two components, per square root of the number of columns, and the power of the number of
# components by which it falls. With more components the bound itself keeps neighbours, better than a map for new rows.
WEIGHT_PER_ROOT, POWER = 10.0, 5


class NeighborEmbedding(Objective):
    r"""Generative objective beside a map of the training rows that keeps neighbours.

    .. math:: \mathcal{L}(x_i) + w \log \left(1 + s^2 \| \mu_i - m_i \|^2 \right)

    Here :math:`\mathcal{L}` is a generative loss, such as the negative evidence lower bound,
    :math:`\mu_i` the posterior mean of row i, and :math:`m_i` its point on a map. The map is computed
    first, from the nearest neighbours N(i) of each row. Stochastic gradient descent moves points
    :math:`u_i` by the loss of stochastic neighbour embedding with a Cauchy kernel,

    .. math:: -\frac{1}{k} \sum_{j \in N(i)} \log q_{ij} + \log \sum_j q_{ij}, \qquad
        q_{ij} = \frac{1}{1 + \| u_i - u_j \|^2},

    where random points stand for the second sum (van der Maaten and Hinton 2008; Damrich et al. 2023).
    Standardised, they are :math:`m_i`. The second term of the objective has the same kernel: the encoder
    learns to place rows on the map, new rows too. Two components are then like a map of t-SNE or UMAP,
    with a decoder and a density. ``transform`` returns :math:`s \mu`.

    Parameters
    ----------
    objective : {"elbo", "autoencoder", "free_bits", "iwae"} or Objective, default="elbo"
        The generative loss.
    n_neighbors : int, default=15
        Number of nearest neighbours of each row.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance of rows. "euclidean": that of the columns as the likelihood compares them. "cosine":
        the Euclidean distance of rows that are divided by their norms, which suits text and embeddings.
        Both compare at most 50 principal components.
    weight : float or "auto", default="auto"
        Weight w of the map. "auto" is 10 times the square root of the number of columns, times
        (2 / n_components)^5 with more than two components: the bound then keeps neighbours too.
    scale : float, default=7.0
        Factor s from latent variables, in which the map has standard deviation 1, to its units.

    See Also
    --------
    ELBO : The usual generative loss.
    sklearn_vae.displays.LatentSpaceDisplay : Plot of a map.

    References
    ----------
    .. [1] S. Damrich, J. N. Boehm, F. A. Hamprecht and D. Kobak (2023). From t-SNE to UMAP with
       contrastive learning. ICLR.
    .. [2] L. van der Maaten and G. Hinton (2008). Visualizing data using t-SNE. Journal of Machine
       Learning Research 9.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.objectives import NeighborEmbedding
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, objective=NeighborEmbedding(n_neighbors=10), max_iter=10, random_state=0)
    >>> vae.fit_transform(X).shape
    (150, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        "objective": [StrOptions({"autoencoder", "elbo", "free_bits", "iwae"}), Objective],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions({"euclidean", "cosine"})],
        "weight": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, objective="elbo", n_neighbors=15, metric="euclidean", weight="auto", scale=7.0):
        self.objective = objective
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weight = weight
        self.scale = scale

    @property
    def _inner(self) -> Objective:
        """The generative objective."""
        # Imported here, because the registry contains this class.
        from sklearn_vae.objectives import OBJECTIVES

        return OBJECTIVES[self.objective]() if isinstance(self.objective, str) else self.objective

    @property
    def is_elbo(self) -> bool:  # type: ignore[override]
        """True if the generative loss is the evidence lower bound with one draw."""
        return self._inner.is_elbo

    @property
    def generative(self) -> bool:  # type: ignore[override]
        """True if the generative loss fits p(x, z) to the data."""
        return self._inner.generative

    @property
    def map_scale(self) -> float:  # type: ignore[override]
        """Factor from latent variables to the units of the map."""
        return self.scale

    def for_data(self, n_features: int, n_components: int) -> NeighborEmbedding:
        """Return the objective with the weight for these numbers of columns and components."""
        inner = clone(self._inner)
        if inner.n_neighbors:
            raise ValueError(
                "expected objective of NeighborEmbedding to have no neighbours of its own, because a model has one "
                f"map, got {inner!r}; use e.g. ELBO()."
            )
        if hasattr(inner, "_parameter_constraints"):
            inner._validate_params()
        weight = self.weight
        if isinstance(weight, str):
            weight = WEIGHT_PER_ROOT * math.sqrt(n_features) * min(1.0, 2 / n_components) ** POWER
        return clone(self).set_params(objective=inner, weight=weight)

    def __call__(self, model: Any, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row."""
        q = model.encode(batch.observed, generator)
        encoded: Any = Encoded(model, batch.observed, generator, q)
        terms = self._inner(encoded, batch, beta, generator)
        return terms if batch.point is None else terms._replace(loss=terms.loss + self.pull(q.loc, batch.point)[0])

    def pull(self, loc: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second term of the loss, (n_rows,), and its gradient, (n_rows, n_components).

        Parameters
        ----------
        loc, point : Tensor of shape (n_rows, n_components)
            Posterior means, and points of the map.
        """
        difference = loc - point
        squared = self.scale**2 * difference.square().sum(-1, keepdim=True)
        gradient = (2 * self.weight * self.scale**2) * difference / (1 + squared)
        return self.weight * squared[:, 0].log1p(), gradient
