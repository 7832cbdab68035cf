"""How to train: the rules behind every "auto", and the settings and schedules of each run.

docs/recipe.rst has the evidence for each rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, ClassVar

# Number of rows up to which a last run on all rows follows the choice of the number of steps.
SMALL = 5000
# Number of parts that the rows are split into, to hold one out; and number of rows from which one part is enough.
N_SPLITS = 5
MANY = 1000
# Largest number of held-out rows: more cost time and add no certainty.
MAX_HELD_OUT = 5000
STEPS_BETWEEN_VALIDATIONS = 25


@dataclass(frozen=True)
class SizeRules:
    """The rules that both estimators share. They depend on the number of rows.

    Attributes
    ----------
    n_rows : int
    """

    n_rows: int

    @property
    def is_small(self) -> bool:
        """Whether there are few rows."""
        return self.n_rows <= SMALL

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's hidden layers."""
        return (256, 128) if self.is_small else (512, 256)

    @property
    def batch_size(self) -> int:
        """Rows per step."""
        return min(64 if self.is_small else 256, self.n_rows)


@dataclass(frozen=True)
class TransformerRules(SizeRules):
    """The rules of `VAETransformer`."""

    warmup_steps: ClassVar[int] = 100
    alpha: ClassVar[float] = 1e-4

    @property
    def n_folds(self) -> int:
        """Number of held-out parts, of `N_SPLITS`, that choose the number of steps."""
        return 1 if self.n_rows >= MANY else 3

    @property
    def input_noise(self) -> float:
        """Standard deviation of the encoder's input noise, in units of the data's."""
        return min(0.5, 6 / math.sqrt(self.n_rows))

    def max_epochs(self, batch_size: int) -> int:
        """Return the largest number of epochs."""
        n_steps = 2000 if self.is_small else 2800
        most = 400 if self.is_small else 30
        return min(most, max(1, round(n_steps * batch_size / self.n_rows)))

    def learning_rate(self, batch_size: int) -> float:
        """Return Adam's learning rate, which goes with the root of the batch size."""
        return 2e-3 * math.sqrt(batch_size / 64)


@dataclass(frozen=True)
class ClassifierRules(SizeRules):
    """The rules of `VAEClassifier`.

    Attributes
    ----------
    n_rows, n_labelled : int
    clustered : bool, default=False
        Whether the classes are clusters of many rows, so that a long training on unlabelled
        rows corrects what was guessed of them first.
    """

    n_labelled: int
    clustered: bool = False

    def n_components(self, n_features: int) -> int:
        """Return the number of latent variables: noise has to be left, or reconstruction outweighs the classes."""
        return max(1, min(16, n_features // 2, self.n_rows // 4))

    @property
    def input_noise(self) -> float:
        """Standard deviation of the encoder's input noise: consistency does better what it is for."""
        return 0.0

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises."""
        return 10 if self.is_small else 100

    @property
    def is_certain(self) -> bool:
        """Whether labels, or what is guessed of them, say enough for a long training with little weight decay."""
        return self.clustered or (self.n_labelled == self.n_rows and self.n_rows >= MANY)

    @property
    def alpha(self) -> float:
        """Weight decay."""
        if self.is_small and self.is_certain:
            return 0.1
        if self.is_small and self.n_labelled == self.n_rows:
            return min(3.0, 500 / self.n_rows)
        return min(3.0, 3e6 / self.n_rows**2)

    @property
    def consistency_weight(self) -> float:
        """Weight of virtual adversarial training."""
        return 1.0 if self.n_labelled == self.n_rows and not self.is_certain else 2.0

    @property
    def consistency_radius(self) -> float:
        """Length of its perturbations, as a share of the rows' norm."""
        return 0.2 if self.is_certain else 0.15

    @property
    def entropy_weight(self) -> float:
        """Weight of the predictions' entropy, which moves boundaries away from unlabelled rows."""
        return 0.3 if self.clustered else 0.0

    def target_weight(self, n_steps: int) -> Callable[[int], float]:
        """Return the weight of what is guessed of unlabelled rows, as a function of the step."""
        if self.clustered and not self.is_small:
            return lambda step: max(0.0, 1 - step / (0.1 * n_steps))
        return lambda step: 1.0

    def max_epochs(self, batch_size: int) -> int:
        """Return the number of epochs."""
        per_step = batch_size / self.n_rows
        if not self.is_small:
            return max(1, min(30, round(7000 * per_step)))
        if self.is_certain:
            return max(40, round(300 * per_step))
        n_steps = 300 if self.n_labelled < self.n_rows else 200 if self.n_rows < 500 else 400
        return max(15, round(n_steps * per_step))

    def learning_rate(self, batch_size: int) -> float:
        """Return Adam's learning rate, which goes with the root of the batch size, where that was chosen."""
        return 2e-3 * math.sqrt(max(batch_size, 64) / 64)


Rules = TransformerRules | ClassifierRules


@dataclass(frozen=True)
class Schedule:
    """A learning rate that rises linearly, stays, and falls linearly to 0.

    Attributes
    ----------
    peak : float
    warmup_steps : int
    n_steps : int
        Where it ends.
    decay : float
        Share of `n_steps` over which it falls; 0 to stay for ever.
    """

    peak: float
    warmup_steps: int
    n_steps: int
    decay: float

    def __call__(self, step: int) -> float:
        """Return the learning rate at `step`, counted from 0."""
        rise = (step + 1) / (self.warmup_steps + 1)
        fall = (self.n_steps - step) / (self.decay * self.n_steps) if self.decay else 1.0
        return self.peak * max(0.0, min(1.0, rise, fall))


@dataclass(frozen=True)
class Settings:
    """How to train in one run.

    Attributes
    ----------
    batch_size : int
    learning_rate : callable
        Step, counted from 0, -> learning rate of Adam.
    beta : callable
        Step -> weight of the KL term.
    final_beta : float
        Its value at the last step, by which held-out rows are judged.
    weight_decay : float
        Decoupled; on the networks, not on the linear maps.
    averaging : float
        Largest decay per step of the moving average of the weights, which is what is
        evaluated and kept. The decay is t / (t + 9) at step t before: an average over the
        last ninth of the steps (polynomial-decay averaging, Shamir & Zhang 2013).
    input_noise : float
        Standard deviation of noise on the encoder's input, in units of the data's.
    target_weight : callable
        Step -> weight of the pseudo-labels of unlabelled rows.
    """

    batch_size: int
    learning_rate: Callable[[int], float]
    beta: Callable[[int], float]
    final_beta: float
    weight_decay: float
    averaging: float
    input_noise: float
    target_weight: Callable[[int], float] = lambda step: 1.0


@dataclass(frozen=True)
class Recipe:
    """How to train, with every "auto" resolved; `settings` makes the schedules of one run.

    Attributes
    ----------
    batch_size, warmup_steps : int
    learning_rate : float
        Peak of the schedule.
    learning_rate_decay : float
        Share of a run's steps over which the rate falls; 0 for a run with no end in sight.
    beta : float or callable
        Weight of the KL term, or a function of the step that returns it.
    weight_decay, averaging, input_noise : float
        As in `Settings`.
    target_weight : callable
        Number of steps of a run -> the weight of pseudo-labels as a function of the step.
    """

    batch_size: int
    learning_rate: float
    warmup_steps: int
    learning_rate_decay: float
    beta: Any
    weight_decay: float
    averaging: float
    input_noise: float
    target_weight: Callable[[int], Callable[[int], float]] = lambda n_steps: lambda step: 1.0

    def settings(self, n_steps: int) -> Settings:
        """Return the settings of a run of at most `n_steps` steps."""
        return Settings(
            batch_size=self.batch_size,
            learning_rate=Schedule(self.learning_rate, self.warmup_steps, n_steps, self.learning_rate_decay),
            beta=partial(beta_at, self.beta),
            final_beta=beta_at(self.beta, n_steps),
            weight_decay=self.weight_decay,
            averaging=self.averaging,
            input_noise=self.input_noise,
            target_weight=self.target_weight(n_steps),
        )


def beta_at(beta: Any, step: int) -> float:
    """Return `beta`, or the checked value of a user's function at this step."""
    value: Any = beta(step) if callable(beta) else beta
    if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
        raise ValueError(f"expected beta to be a finite number of at least 0, got {value!r} at step {step}.")
    return float(value)
