"""The training loop, the only module that uses skorch."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from operator import add
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import Tensor, nn
from torch.optim.adam import adam

from sklearn_vae._data.devices import to_tensor
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.closed_form_step import ClosedFormStep
from sklearn_vae._training.recipe import Settings
from sklearn_vae._training.step import AutogradStep, Step
from sklearn_vae._training.weights import Weights
from sklearn_vae.objectives.base import TermSums

# Minimum number of labelled rows added to each semi-supervised batch.
MIN_LABELLED = 64
# The moving average of the weights covers about the last (AVERAGING_POWER + 1)-th of the steps: eta of polynomial-decay
# averaging (Shamir & Zhang 2013).
AVERAGING_POWER = 8
# Classes of training step, fastest first. A model uses the first one that supports it.
STEPS: tuple[type[Step], ...] = (ClosedFormStep, AutogradStep)


class _Batches:
    """Batch iterator of one epoch, with the interface that skorch expects."""

    def __init__(self, dataset: Rows, batch_size: int, generator: torch.Generator):
        self.dataset, self.batch_size, self.generator = dataset, batch_size, generator

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self.dataset.batches(self.batch_size, self.generator)


class _Adam(torch.optim.Adam):
    """Adam for one flat tensor. It skips `Optimizer.step`'s bookkeeping, which costs as much as a small step."""

    @torch.no_grad()
    def update(self, learning_rate: float) -> None:
        """Make one step of Adam."""
        group = self.param_groups[0]
        group["lr"] = learning_rate
        (weights,) = group["params"]
        state = self.state[weights]
        if not state:
            self.step()
            return
        beta1, beta2 = group["betas"]
        adam(
            [weights],
            [weights.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )


class _Net(NeuralNet):
    """skorch's net around the model's flat tensor of weights.

    It validates and constructs the optimizer, and its fit loop makes the iterator over batches of each epoch.
    """

    trainer: Trainer

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Make a step per batch, without skorch's history of batches, which takes 15 us or more per step."""
        if training:
            for batch in iterator:
                self.trainer.make_step(batch)


class Trainer:
    """One training run, which starts from the model's current weights.

    Parameters
    ----------
    model : VAE
        Trained in place.
    settings : Settings
    seed : int
        Seed of the orders of rows, posterior draws and noise. Each epoch has a random stream of its own, so that
        training resumes from a seed and a number of steps.

    Attributes
    ----------
    average : VAE
        The moving average of the model, in eval mode.
    step : int
        Number of steps made.
    """

    def __init__(self, model: VAE, settings: Settings, seed: int):
        self.model = model
        self.settings = settings
        self.seed = seed
        self.step = 0
        # Sums of the objective's terms over the epoch.
        self._sums = TermSums(0.0, 0.0, 0.0)
        # Labelled rows of a semi-supervised fit, and their number in each batch.
        self._labelled: Rows | None = None
        self._n_labelled = 0
        self.average = copy.deepcopy(model).eval()
        model.train()
        self.generator = torch.Generator(next(model.parameters()).device)
        self.weights, self._averages = Weights(model), Weights(self.average, trains=False).values
        self._optima = list(zip(self.average.likelihood.optima(), model.likelihood.optima(), strict=True))
        # Buffers, such as the running means of batch normalisation. They are looked up by name, because a layer may
        # replace the tensor.
        self._statistics = [
            (average, module, name)
            for average, module in zip(self.average.modules(), model.modules(), strict=True)
            for name, buffer in module.named_buffers(recurse=False)
            if not any(buffer is optimum for _, optimum in self._optima)
        ]
        self._step = next(step for step in STEPS if step.supports(model))(model, self.weights)
        self._net = _Net(
            nn.ParameterList([self.weights.trained]),
            criterion=nn.Identity,
            optimizer=_Adam,
            optimizer__fused=True,
            batch_size=settings.batch_size,
            iterator_train=_Batches,
            iterator_train__generator=self.generator,
            train_split=None,
            callbacks="disable",
            verbose=0,
            device=None,
        )
        self._net.trainer = self
        self._net.initialize()

    def run_epoch(self, rows: Rows) -> TermSums:
        """Pass over the rows once, in random order; return the terms' weighted means over them."""
        epoch_seed = np.random.SeedSequence((self.seed, self.step)).generate_state(1, np.uint64)
        self.generator.manual_seed(int(epoch_seed[0]) >> 1)
        self._net.history.clear()
        self._sums = TermSums(0.0, 0.0, 0.0)
        self._labelled = rows.labelled
        if rows.labelled is not None:
            share = round(self.settings.batch_size * len(rows.labelled) / len(rows))
            self._n_labelled = min(len(rows.labelled), max(MIN_LABELLED, share))
        self._net.fit_loop(rows, epochs=1)
        # Buffers are copied, not averaged: they are running means or counts.
        for average, module, name in self._statistics:
            getattr(average, name).copy_(getattr(module, name))
        weight = rows.total_weight
        return TermSums(*(total / weight for total in self._sums))

    def make_step(self, batch: dict[str, Tensor]) -> None:
        """Update the weights and their average."""
        loss = self.differentiate(batch)
        learning_rate = self.settings.learning_rate(self.step)
        self._decay_weights(learning_rate)
        self._net.optimizer_.update(learning_rate)
        self.step += 1
        if not math.isfinite(loss):
            raise ValueError(
                f"training diverged: the loss is {loss} at step {self.step}; "
                "use a smaller learning_rate_init, or scale the columns."
            )
        self._update_average()

    def differentiate(self, batch: dict[str, Tensor]) -> float:
        """Set the gradients for a batch; return its mean loss."""
        if self._labelled is not None:
            batch = {**batch, "target": batch["target"] * self.settings.target_weight(self.step)}
            batch |= self._labelled.sample_labelled(self._n_labelled, self.generator)
        try:
            parts = self._step(batch, self.settings.beta(self.step), self.generator)
        except ValueError as error:
            # torch's message if a layer that normalises over rows gets a single row.
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "network: expected at least two rows at a time, because it has batch normalisation, got one with "
                f"batch_size={self.settings.batch_size}; use a larger batch_size, more rows, more than one "
                "pseudo-input of a VampPrior, or nn.LayerNorm instead."
            ) from error
        self._sums = TermSums(*map(add, self._sums, parts))
        return parts.loss / len(batch["x"])

    @torch.no_grad()
    def _decay_weights(self, learning_rate: float) -> None:
        """Apply decoupled weight decay to the networks, as in AdamW (Loshchilov & Hutter 2019)."""
        if self.settings.weight_decay:
            self.weights.networks.mul_(1 - learning_rate * self.settings.weight_decay)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights."""
        decay = min(self.settings.averaging, self.step / (self.step + AVERAGING_POWER + 1))
        self._averages.lerp_(self.weights.values, 1 - decay)
        for average, optimum in self._optima:
            average.lerp_(optimum, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that training resumes from, as arrays and numbers.

        It includes a digest of the averaged model, the only part that users can change.
        `sklearn_vae._training.resume_checks.check_trainer` validates it.
        """
        moments = self._net.optimizer_.state[self.weights.trained]
        return {
            "step": self.step,
            "weights": _array(self.weights.values),
            "optima": [_array(optimum) for _, optimum in self._optima],
            "moments": {name: _array(value) for name, value in moments.items()},
            "seed": self.seed,
            "digest": _digest(self.average),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from `state`, unless it belongs to another model than that given to the constructor."""
        if state["digest"] != _digest(self.average):
            return
        self.step = state["step"]
        self.weights.values.copy_(to_tensor(state["weights"]))
        for (_, optimum), value in zip(self._optima, state["optima"], strict=True):
            optimum.copy_(to_tensor(value))
        device = self.weights.values.device
        moments = {name: torch.tensor(value, device=device) for name, value in state["moments"].items()}
        self._net.optimizer_.state[self.weights.trained] = moments
        self.seed = state["seed"]


def _digest(model: nn.Module) -> str:
    """Return a digest of the model, without the class mixture, which has no part in training."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        if not name.startswith("class_mixture."):
            digest.update(_array(tensor).tobytes())
    return digest.hexdigest()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()
