"""What every objective is: a model and rows in, a loss per row out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.distributions import Normal

from sklearn_vae._capabilities import DeclaresCapabilities

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE
    from sklearn_vae.likelihoods import Observed


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
    observed : Observed
        The rows' cells, which the likelihood scores, and `observed.inputs`, which the encoder sees.
    weight : Tensor of shape (n_rows,) or None
        Weights of the rows, for likelihood parameters with a closed form only: the loss is
        weighted by the caller.
    target : Tensor of shape (n_rows, n_classes) or None
        Probabilities of the classes times the weight that they have; 0 where nothing is
        known. None where there are no classes.
    labelled : Observed or None
        More rows with labels, which only classification learns from.
    labelled_target : Tensor of shape (n_labelled_rows, n_classes) or None
        Their `target`.
    """

    observed: Observed
    weight: Tensor | None = None
    target: Tensor | None = None
    labelled: Observed | None = None
    labelled_target: Tensor | None = None


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
    def __call__(self, model: VAE, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row.

        Parameters
        ----------
        model : VAE
            A module with `training`, and with these methods. Rows come before components, and draws before rows.

            - `encode(inputs, generator)` returns q(z|x), a `Normal` of shape (n_rows, n_components). In training the
              encoder's inputs get noise from the generator; without one, none.
            - `decode(z)` returns the likelihood's raw output, (..., n_rows, n_outputs).
            - `likelihood.log_prob(observed, raw, weight)` returns log p(x|z), (..., n_rows).
            - `kl(q, z)` returns KL(q || p) per row and block of components that are independent in p,
              (n_rows, n_blocks). Where there is no closed form, it is estimated at `z`, which is drawn from `q`.
            - `log_prior(z)` returns log p(z), (..., n_rows).
            - `untracked()` is the context in which to encode other rows than the batch's: layers that keep
              statistics of batches (batch normalisation) do not count these rows.
            - With classes, `classify(inputs)` returns their logits, (n_rows, n_classes), and
              `encode_and_classify(inputs, generator)` both.
        batch : Batch
            The rows.
        beta : float
            Weight of the KL term at this step.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        terms : Terms
            In nats; the mean over rows is taken by the caller.
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
