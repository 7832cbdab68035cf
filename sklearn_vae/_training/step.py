"""Training steps compute the gradients of a batch's loss. The autograd step supports every model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext

import torch
from torch import Tensor

from sklearn_vae._data.devices import seeded_global_generator
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.weights import Weights
from sklearn_vae.objectives.base import TermSums


class Step(ABC):
    """Gradient computation for a batch. The trainer uses the first class of step that supports the model.

    Parameters
    ----------
    model : VAE
        In training mode; `supports` must accept it.
    weights : Weights
        The model's weights, with gradients.
    """

    def __init__(self, model: VAE, weights: Weights):
        self.model = model
        self.weights = weights

    @classmethod
    @abstractmethod
    def supports(cls, model: VAE) -> bool:
        """Return whether the step can train the model."""

    @abstractmethod
    def __call__(self, batch: dict[str, Tensor], beta: float, generator: torch.Generator) -> TermSums:
        """Set the gradients of the mean loss; return the terms, summed over rows.

        Parameters
        ----------
        batch : dict of str to Tensor
            Keyword arguments of `VAE.forward`: "x" and optionally "weight", "target" and additional labelled rows.
        beta : float
            Weight of the KL term.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        sums : TermSums
            Each row's terms are multiplied by its weight.
        """


class AutogradStep(Step):
    """Gradients by automatic differentiation, for any model."""

    @classmethod
    def supports(cls, model: VAE) -> bool:
        """Return True."""
        return True

    def __call__(self, batch: dict[str, Tensor], beta: float, generator: torch.Generator) -> TermSums:
        """Set the gradients; return the terms, summed over rows."""
        weight = batch.get("weight")
        self.weights.gradient.zero_()
        with torch.enable_grad():
            with seeded_global_generator(generator) if self.model.uses_global_generator else nullcontext():
                terms = self.model(**batch, beta=beta, generator=generator)
            weighted_mean(terms.loss, weight).backward()
        sums = torch.stack([(t if weight is None else t * weight).detach().sum() for t in terms])
        return TermSums(*sums.tolist())


def weighted_mean(loss: Tensor, weight: Tensor | None) -> Tensor:
    """Return the sum of the weighted losses divided by the number of rows.

    Dividing by the batch's total weight instead would give every batch an equal vote. Weights have mean 1 over all
    rows; another mean only scales the loss, which changes neither Adam's steps nor the weight decay.
    """
    return loss.mean() if weight is None else (loss * weight).mean()
