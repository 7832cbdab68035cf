"""What every objective is: a model and rows in, a loss per row out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.distributions import Normal

from sklearn_vae._capabilities import DeclaresCapabilities


class Terms(NamedTuple):
    """An objective's terms in nats, each of shape (n_rows,)."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


class Parts(NamedTuple):
    """An objective's terms as numbers, sums or means over rows; 0 for what it does not have."""

    loss: float
    reconstruction: float
    kl: float


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
        """Return q(z|x).

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_inputs)
            Rows in the likelihood's space.
        generator : torch.Generator or None
            With one, as in training, the input may get noise.

        Returns
        -------
        q : Normal
            Of shape (n_rows, n_components).
        """

    def untracked(self) -> AbstractContextManager[None]:
        """Return the context in which to encode other rows than the batch's.

        Layers that keep statistics of batches (batch normalisation) do not count these rows.

        Returns
        -------
        context : context manager
            To be entered with ``with``.
        """

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's raw output.

        Parameters
        ----------
        z : Tensor of shape (..., n_components)
            Latent variables.

        Returns
        -------
        raw : Tensor of shape (..., n_outputs)
            What the likelihood takes.
        """

    def kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p) per row and block of components that are independent in p.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            Drawn from `q`: where there is no closed form, it is estimated there.

        Returns
        -------
        kl : Tensor of shape (n_rows, n_blocks)
            In nats.
        """

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z).

        Parameters
        ----------
        z : Tensor of shape (..., n_rows, n_components)
            Latent variables.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows)
            In nats.
        """


class Classifier(Model, Protocol):
    """What an objective needs of a model with classes."""

    training: bool
    input_norm: Tensor

    def encode_and_classify(self, y: Tensor, generator: torch.Generator | None = None) -> tuple[Normal, Tensor]:
        """Return q(z|x) and class logits.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_inputs)
            Rows in the likelihood's space.
        generator : torch.Generator or None
            With one, as in training, the input may get noise.

        Returns
        -------
        q : Normal
            Of shape (n_rows, n_components).
        logits : Tensor of shape (n_rows, n_classes)
            Of p(y|x).
        """

    def classify(self, y: Tensor) -> Tensor:
        """Return class logits.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_inputs)
            Rows in the likelihood's space.

        Returns
        -------
        logits : Tensor of shape (n_rows, n_classes)
            Of p(y|x).
        """


class Objective(DeclaresCapabilities, BaseEstimator, ABC):
    """Specification of what training minimises, given to an estimator as ``objective=``.

    Attributes
    ----------
    generative : bool
        Class attribute. True if training makes p(x, z) a model of the data, so that
        ``sample`` and ``score_samples`` mean something.
    is_elbo : bool
        Class attribute. True if the loss is the evidence lower bound with one draw, so that
        training may use its closed-form gradient. Not inherited: a subclass may override the loss.
    """

    capabilities: ClassVar[tuple[str, ...]] = ("is_elbo",)
    generative: bool = True
    is_elbo: bool = False

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
    """Draw z from q, reparametrised: gradients pass to q.

    Parameters
    ----------
    q : Normal
        The posteriors, of shape (n_rows, n_components).
    shape : tuple of int
        Of the draws in front of rows; () for one.
    generator : torch.Generator
        The only source of randomness.

    Returns
    -------
    z : Tensor of shape (..., n_rows, n_components)
        The draws.
    """
    noise = torch.randn((*shape, *q.loc.shape), generator=generator, dtype=q.loc.dtype, device=q.loc.device)
    return q.loc + q.scale * noise
