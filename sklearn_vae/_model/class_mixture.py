"""A mixture of Gaussians for each class, fitted to draws from posteriors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count, takewhile
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT32

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

# Covariance floors: an absolute one, where the prior's variance is 1, and one relative to the variance of all draws,
# against rounding errors.
MIN_VARIANCE, MIN_SHARE = 1e-4, 1e-9

# Largest number of array elements in the whitening matrices of a chunk of draws.
CHUNK_SIZE = 2**20


class ClassMixture(nn.Module):
    r"""Distributions p(y) and p(z|y), a mixture of Gaussians with full covariances for each class.

    The mixtures are fitted after training, to draws from the posteriors of each class's rows
    (ex-post density estimation, Ghosh et al. 2020). Samples of z then resemble the latents that the
    decoder was trained on. The model's density becomes :math:`p(x) = \sum_y p(y) \int p(z|y) p(x|z) dz`.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_mixture_components : int
        Largest number of Gaussians per class.
    n_components : int
        Number of latent variables.
    """

    log_class: Tensor
    log_weight: Tensor
    offset: Tensor
    whitening: Tensor
    n_rows: Tensor

    def __init__(self, n_classes: int, n_mixture_components: int, n_components: int):
        super().__init__()
        self.n_classes, self.n_mixture_components, self.n_components = n_classes, n_mixture_components, n_components
        n = n_classes * n_mixture_components
        self.register_buffer("log_class", torch.full((n_classes,), -math.log(n_classes), **FLOAT32))
        # log p(component|class); -inf for components that a class does not use.
        self.register_buffer(
            "log_weight", torch.full((n_classes, n_mixture_components), -math.log(n_mixture_components), **FLOAT32)
        )
        # Component j of z is whitened as z P_j - offset_j, with P_j P_j' its precision.
        self.register_buffer("offset", torch.zeros(n * n_components, **FLOAT32))
        self.register_buffer("whitening", torch.zeros(n * n_components, n_components, **FLOAT32))
        self.whitening.view(n, n_components, n_components).diagonal(dim1=1, dim2=2).fill_(1.0)
        # Weight of the rows that each class's distribution stands for; 0 for the standard normal one of the start.
        self.register_buffer("n_rows", torch.zeros(n_classes, **FLOAT32))

    def fit(self, z: list[np.ndarray], class_prior: np.ndarray, seed: int) -> ClassMixture:
        """Fit each class's mixture, with as many Gaussians as `best_mixture` chooses.

        Parameters
        ----------
        z : list of ndarray of shape (n_draws, n_components)
            Draws from the posteriors of each class's rows.
        class_prior : ndarray of shape (n_classes,)
            Values of p(y).
        seed : int
            Seed of the mixtures' initialisation.

        Returns
        -------
        self : ClassMixture
            The fitted module.
        """
        shape = (self.n_classes, self.n_mixture_components, self.n_components)
        offset, whitening = self.offset.view(shape), self.whitening.view(*shape, self.n_components)
        self.log_class.copy_(torch.from_numpy(class_prior).log())
        self.log_weight.fill_(-math.inf)
        for k, draws in enumerate(z):
            mixture = best_mixture(draws.astype(np.float64), self.n_mixture_components, seed)
            n = mixture.n_components
            precision = mixture.precisions_cholesky_
            self.log_weight[k, :n] = torch.from_numpy(np.log(mixture.weights_))
            whitening[k, :n] = torch.from_numpy(precision.transpose(0, 2, 1))
            offset[k, :n] = torch.from_numpy(np.einsum("ji,jik->jk", mixture.means_, precision))
        return self

    def set_gaussians(self, means: np.ndarray, covariances: np.ndarray) -> None:
        """Set p(z|y) to a Gaussian for each class.

        Parameters
        ----------
        means : ndarray of shape (n_classes, n_components)
        covariances : ndarray of shape (n_classes, n_components, n_components)
        """
        whitening = torch.from_numpy(np.linalg.inv(np.linalg.cholesky(covariances)))
        self.log_weight.fill_(-math.inf)[:, 0] = 0.0
        shape = (self.n_classes, self.n_mixture_components, self.n_components)
        self.whitening.view(*shape, self.n_components)[:, 0] = whitening
        self.offset.view(shape)[:, 0] = (whitening @ torch.from_numpy(means)[..., None])[..., 0]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the covariance of p(z|y) for each class, in float64."""
        shape = (self.n_classes, self.n_mixture_components, self.n_components)
        inverse = torch.linalg.inv(self.whitening.double().view(*shape, self.n_components))
        means = (inverse @ self.offset.double().view(*shape, 1))[..., 0]
        weight = self.log_weight.double().exp()
        mean = torch.einsum("km,kmi->ki", weight, means)
        square = torch.einsum("km,kmij->kij", weight, inverse @ inverse.mT + means[..., None] * means[..., None, :])
        return mean.cpu().numpy(), (square - mean[..., None] * mean[:, None]).cpu().numpy()

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (..., n_rows), for latent variables (..., n_rows, n_components)."""
        return (self.log_prob_classes(z) + self.log_class).logsumexp(-1)

    def log_prob_classes(self, z: Tensor) -> Tensor:
        """Return log p(z|y) of each class in nats, (..., n_rows, n_classes)."""
        shape = (self.n_classes, self.n_mixture_components, self.n_components)
        # One matrix product for all components.
        square = (z @ self.whitening.T - self.offset).square().unflatten(-1, shape).sum(-1)
        log_det = self.whitening.view(*shape, -1).diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * self.n_components * math.log(2 * math.pi)
        return (self.log_weight + log_det - constant - 0.5 * square).logsumexp(-1)

    def log_proba(self, z: Tensor) -> Tensor:
        """Return log p(y|z) of each class, (..., n_rows, n_classes)."""
        return (self.log_prob_classes(z) + self.log_class).log_softmax(-1)

    def sample_classes(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw class indices from p(y), (n_samples,)."""
        return torch.multinomial(self.log_class.exp(), n_samples, replacement=True, generator=generator)

    def sample(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Draw z from p(z|y), (n_samples, n_components), for class indices `y`, (n_samples,)."""
        j = torch.multinomial(self.log_weight.exp()[y], 1, generator=generator)[:, 0]
        index = y * self.n_mixture_components + j
        noise = torch.randn(
            (len(y), self.n_components), generator=generator, dtype=self.offset.dtype, device=self.offset.device
        )
        # Each row takes a whole matrix, so draws are made in chunks.
        size = max(1, CHUNK_SIZE // self.n_components**2)
        return torch.cat([self._colour(*part) for part in zip(index.split(size), noise.split(size), strict=True)])

    def _colour(self, index: Tensor, noise: Tensor) -> Tensor:
        """Turn white noise (n_samples, n_components) into draws of z from the components at `index` (n_samples,)."""
        whitening = self.whitening.view(-1, self.n_components, self.n_components)[index]
        offset = self.offset.view(-1, self.n_components)[index]
        return torch.linalg.solve_triangular(whitening, (noise + offset)[..., None], upper=False)[..., 0]


def best_mixture(z: np.ndarray, n_components: int, seed: int) -> GaussianMixture:
    """Fit mixtures of 1, 2, 5, 10, 20, 50, ... Gaussians, up to `n_components`, until the BIC rises.

    Parameters
    ----------
    z : ndarray of shape (n_draws, n_features)
    n_components : int
        Largest number of Gaussians to try.
    seed : int
        Seed of the mixtures' initialisation.

    Returns
    -------
    mixture : GaussianMixture
        The fitted mixture with the smallest BIC.
    """
    # Importing it takes longer than importing the rest of this package.
    from sklearn.mixture import GaussianMixture

    best, best_bic = None, math.inf
    min_variance = max(MIN_VARIANCE, MIN_SHARE * z.var())
    # Draws from narrow posteriors far from 0 may differ by rounding errors only, so they are counted in float32.
    n_different = len(np.unique(z.astype(np.float32), axis=0))
    for n in numbers_of_components(n_components):
        if n > n_different:
            break
        mixture = GaussianMixture(n, reg_covar=min_variance, random_state=seed).fit(z)
        bic = mixture.bic(z)
        if bic >= best_bic:
            break
        best, best_bic = mixture, bic
    return best


def numbers_of_components(largest: int) -> Iterator[int]:
    """Yield 1, 2, 5, 10, 20, 50, ... below `largest`, then `largest`."""
    series = (digit * 10**power for power in count() for digit in (1, 2, 5))
    yield from takewhile(lambda n: n < largest, series)
    yield largest
