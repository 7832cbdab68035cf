"""Training steps: what sets the gradients of a batch's loss, and the step by autograd, which every model has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext

import torch
from torch import Tensor

from sklearn_vae._data.devices import seeded_global_generator
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.weights import Weights
from sklearn_vae.objectives.base import Parts


class Step(ABC):
    """Sets the gradients of a batch's loss; the trainer takes the first kind of step that supports the model.

    Parameters
    ----------
    model : VAE
        That `supports` accepts; in training mode.
    weights : Weights
        The model's, with gradients.
    """

    def __init__(self, model: VAE, weights: Weights):
        self.model = model
        self.weights = weights

    @classmethod
    @abstractmethod
    def supports(cls, model: VAE) -> bool:
        """Say whether the step is right for a model."""

    @abstractmethod
    def __call__(self, batch: dict[str, Tensor], beta: float, generator: torch.Generator) -> Parts:
        """Set the gradients of the mean loss; return sums of the terms over rows.

        Parameters
        ----------
        batch : dict of str to Tensor
            The rows, as `VAE.forward` takes them: "x", and perhaps "weight", "target" and more labelled rows.
        beta : float
            Weight of the KL term.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        sums : Parts
            Times the rows' weights.
        """


class AutogradStep(Step):
    """The gradients of any model, by automatic differentiation."""

    @classmethod
    def supports(cls, model: VAE) -> bool:
        """Say yes."""
        return True

    def __call__(self, batch: dict[str, Tensor], beta: float, generator: torch.Generator) -> Parts:
        """Set the gradients; return sums of the terms."""
        weight = batch.get("weight")
        self.weights.gradient.zero_()
        with torch.enable_grad():
            with seeded_global_generator(generator) if self.model.uses_global_generator else nullcontext():
                terms = self.model(**batch, beta=beta, generator=generator)
            weighted_mean(terms.loss, weight).backward()
        sums = torch.stack([(t if weight is None else t * weight).detach().sum() for t in terms])
        return Parts(*sums.tolist())


def weighted_mean(loss: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of weighted losses over a batch's rows, not over their weights: its gradient is unbiased.

    Weights have mean 1 over all rows. Where those that are trained on have another mean, the loss has this factor,
    which neither Adam's steps nor its decoupled weight decay depend on.
    """
    return loss.mean() if weight is None else (loss * weight).mean()
