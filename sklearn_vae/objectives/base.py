"""What every objective is: a model and rows in, a loss per row out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.distributions import Normal


class Terms(NamedTuple):
    """An objective's terms in nats, each of shape (n_rows,)."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


class Batch(NamedTuple):
    """Rows, and what is known of them.

    Attributes
    ----------
    y : Tensor of shape (n_rows, n_features)
        In the likelihood's space.
    weight : Tensor of shape (n_rows,) or None
        Weights of the rows, for likelihood parameters with a closed form only: the loss is
        weighted by the caller.
    target : Tensor of shape (n_rows, n_classes) or None
        Probabilities of the classes times the weight that they have; 0 where nothing is
        known. None where there are no classes.
    labelled_y, labelled_target : Tensor or None
        More rows with labels, which only classification learns from.
    """

    y: Tensor
    weight: Tensor | None = None
    target: Tensor | None = None
    labelled_y: Tensor | None = None
    labelled_target: Tensor | None = None


class Model(Protocol):
    """What an objective needs of the model."""

    likelihood: Any

    def encode(self, y: Tensor, generator: torch.Generator | None = None) -> Normal:
        """Return q(z|x), (n_rows, n_components), for rows in the likelihood's space."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's raw output for latents (..., n_components)."""

    def kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p) per row and block of components, perhaps estimated at draws `z` of `q`."""

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z), (..., n_rows)."""


class Classifier(Model, Protocol):
    """What an objective needs of a model with classes."""

    training: bool
    input_norm: Tensor

    def encode_and_classify(self, y: Tensor, generator: torch.Generator | None = None) -> tuple[Normal, Tensor]:
        """Return q(z|x) and class logits for rows in the likelihood's space."""

    def classify(self, y: Tensor) -> Tensor:
        """Return class logits."""


class Objective(BaseEstimator, ABC):
    """Specification of what training minimises, given to an estimator as ``objective=``.

    Attributes
    ----------
    generative : bool
        Class attribute. True if training makes p(x, z) a model of the data, so that
        ``sample`` and ``score_samples`` mean something.
    """

    generative: bool = True

    @abstractmethod
    def __call__(self, model: Model, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row.

        Parameters
        ----------
        model : Model
            With `encode`, `decode`, `kl`, `log_prior` and `likelihood`.
        batch : Batch
        beta : float
            Weight of the KL term at this step.
        generator : torch.Generator
        """


def draw(q: Normal, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw z of shape ``(*shape, n_rows, n_components)`` from q, reparametrised, from `generator` alone."""
    noise = torch.randn((*shape, *q.loc.shape), generator=generator, dtype=q.loc.dtype, device=q.loc.device)
    return q.loc + q.scale * noise
