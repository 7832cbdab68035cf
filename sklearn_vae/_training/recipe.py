"""Training recipes: the rules behind every "auto", and the settings and schedules of each run.

docs/recipe.rst gives the evidence for each rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, ClassVar

# Maximum number of rows of a small data set. On small data, cross-validation chooses the number of steps and a final
# run trains on all rows.
MAX_SMALL_ROWS = 5000
# Number of cross-validation folds that the rows are split into.
N_SPLITS = 5
# Minimum number of rows for which one held-out fold suffices, and for which full labels allow long training.
MANY_ROWS = 1000
# Maximum number of held-out rows. More rows cost time and hardly improve the estimate.
MAX_HELD_OUT = 5000
# Number of training steps between two validations.
STEPS_BETWEEN_VALIDATIONS = 25
# Candidate warm-ups of the KL for a degenerate start: fraction of a run's steps in which its weight is 0, and fraction
# in which the weight then rises linearly. Held-out rows choose; without them, the short one is used.
NO_WARMUP, SHORT_WARMUP, LONG_WARMUP = (0.0, 0.0), (0.0, 0.3), (0.3, 0.3)
# Maximum product of the learning rate and the number of steps in which the weight of the KL is 0. Posteriors that are
# free for longer move so far apart, and become so narrow, that later training does not recover.
MAX_FREE_TRAINING = 1.2
# Part of the epochs after which held-out rows choose between candidates, above `MAX_SMALL_ROWS` rows.
CHOICE_SHARE = 1 / 3
# Minimum number of steps on all rows for which warm-ups are tried, and number of steps that a degenerate start has at
# least above `MAX_SMALL_ROWS` rows.
MIN_STEPS_OF_WARMUP, STEPS_OF_WARMUP = 1000, 1500
# A start is degenerate if no component has a larger KL, in nats. The gradients that lead to a use of the components are
# then near 0.
MIN_START_KL = 1.0
# Maximum number of columns for which the columns themselves are compared to find neighbours for label spreading.
MAX_COMPARED_COLUMNS = 32


@dataclass(frozen=True)
class SizeRules:
    """Rules that all estimators share. They depend on the number of rows.

    Attributes
    ----------
    n_rows : int
    """

    n_rows: int

    @property
    def is_small(self) -> bool:
        """Whether the data set is small."""
        return self.n_rows <= MAX_SMALL_ROWS

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's hidden layers."""
        return (256, 128) if self.is_small else (512, 256)

    @property
    def batch_size(self) -> int:
        """Number of rows per training step."""
        return 64 if self.is_small else 256

    def max_epochs(self, batch_size: int) -> int:
        """Return the maximum number of epochs."""
        raise NotImplementedError

    def warmup_epochs(self, batch_size: int) -> int:
        """Return the maximum number of epochs after a degenerate start."""
        n_epochs = self.max_epochs(batch_size)
        n_rows = STEPS_OF_WARMUP * min(batch_size, self.batch_size)
        return n_epochs if self.is_small else max(n_epochs, math.ceil(n_rows / self.n_rows))

    def target_weight(self, n_steps: int) -> Callable[[int], float]:
        """Return the weight of the pseudo-labels as a function of the step."""
        return lambda step: 1.0


@dataclass(frozen=True)
class TransformerRules(SizeRules):
    """Rules of `VAETransformer`."""

    warmup_steps: ClassVar[int] = 100
    alpha: ClassVar[float] = 1e-4

    @property
    def n_folds(self) -> int:
        """Number of folds, out of `N_SPLITS`, that are held out to choose the number of steps."""
        return 1 if self.n_rows >= MANY_ROWS else 3

    @property
    def input_noise(self) -> float:
        """Standard deviation of the encoder's input noise, relative to that of the data."""
        return min(0.5, 6 / math.sqrt(self.n_rows))

    def max_epochs(self, batch_size: int) -> int:
        """Return the maximum number of epochs."""
        n_steps = 2000 if self.is_small else 2800
        most = 400 if self.is_small else 30
        return min(most, max(1, round(n_steps * batch_size / self.n_rows)))

    def learning_rate(self, batch_size: int) -> float:
        """Return Adam's learning rate, proportional to the square root of the batch size."""
        return 2e-3 * math.sqrt(batch_size / 64)


@dataclass(frozen=True)
class MapRules(TransformerRules):
    """Rules of an objective that keeps neighbours. Such a map needs deeper networks."""

    n_folds: ClassVar[int] = 1
    # `find_neighbors` measures how much noise leaves neighbours neighbours.
    input_noise: ClassVar[None] = None  # type: ignore[assignment]

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's hidden layers."""
        return (256, 256, 128) if self.n_rows <= 20_000 else (512, 512, 256)

    @property
    def batch_size(self) -> int:
        """Number of rows per training step."""
        return 128

    def max_epochs(self, batch_size: int) -> int:
        """Return the maximum number of epochs."""
        n_steps = 2000 if self.is_small else 8000
        return min(400, max(20, round(n_steps * batch_size / self.n_rows)))


@dataclass(frozen=True)
class CodeRules(TransformerRules):
    """Rules of a model without labels, whose codes are compared to find neighbours. Noise hides small differences."""

    n_components: ClassVar[int] = 20

    @property
    def input_noise(self) -> float:
        """Standard deviation of the encoder's input noise, relative to that of the data."""
        return 0.5

    def are_used(self, n_features: int) -> bool:
        """Return whether codes are compared, instead of columns: if there are many rows and columns."""
        return not self.is_small and n_features > MAX_COMPARED_COLUMNS

    def recipe(self) -> Recipe:
        """Return the recipe, with the defaults of `VAETransformer`."""
        return Recipe(
            batch_size=self.batch_size,
            learning_rate=self.learning_rate(self.batch_size),
            warmup_steps=self.warmup_steps,
            learning_rate_decay=0.5,
            beta=1.0,
            weight_decay=self.alpha,
            averaging=0.998,
            input_noise=self.input_noise,
            target_weight=self.target_weight,
        )


@dataclass(frozen=True)
class ClassifierRules(SizeRules):
    """Rules of `VAEClassifier`.

    Attributes
    ----------
    n_rows, n_labelled : int
    clustered : bool, default=False
        Whether label spreading alone predicts held-out labels better than the network does, or codes are compared and
        no label can be held out. Long training on unlabelled rows then corrects wrong pseudo-labels.
    n_rare : int, default=0
        If above 0, the rules are those for a rare class. It is the number of classes times the number of rows of the
        rarest class: balanced labels of this number would determine the classes about as well.
    """

    n_labelled: int
    clustered: bool = False
    n_rare: int = 0

    def n_components(self, n_features: int) -> int:
        """Return the number of latent variables.

        With too many, little noise is left, and reconstruction outweighs classification.
        """
        return max(1, min(16, n_features // 2, self.n_rows // 4))

    @property
    def input_noise(self) -> float:
        """Standard deviation of the encoder's input noise. It is 0: consistency training regularises better."""
        return 0.0

    @property
    def warmup_steps(self) -> int:
        """Number of steps over which the learning rate rises."""
        return 10 if self.is_small else 100

    @property
    def is_certain(self) -> bool:
        """Whether labels or pseudo-labels are reliable enough for long training with little weight decay."""
        return self.clustered or (self.n_labelled == self.n_rows and self.n_rows >= MANY_ROWS)

    @property
    def alpha(self) -> float:
        """Decoupled weight decay of the networks."""
        if self.n_rare:
            return min(3.0, 500 / self.n_rare)
        if self.is_small and self.is_certain:
            return 0.1
        if self.is_small and self.n_labelled == self.n_rows:
            return min(3.0, 500 / self.n_rows)
        return min(3.0, 3e6 / self.n_rows**2)

    @property
    def consistency_weight(self) -> float:
        """Weight of the consistency loss (virtual adversarial training).

        The loss makes predictions equal in the surroundings of each row. This can leave a rare class, whose rows are
        surrounded by others, without any region of its own.
        """
        if self.n_rare:
            return 0.0
        return 1.0 if self.n_labelled == self.n_rows and not self.is_certain else 2.0

    @property
    def consistency_radius(self) -> float:
        """Length of the adversarial perturbations, relative to the rows' median norm."""
        return 0.2 if self.is_certain else 0.15

    @property
    def entropy_weight(self) -> float:
        """Weight of the predictions' entropy, which keeps decision boundaries away from unlabelled rows."""
        return 0.3 if self.clustered else 0.0

    def target_weight(self, n_steps: int) -> Callable[[int], float]:
        """Return the weight of the pseudo-labels as a function of the step."""
        if self.clustered and not self.is_small:
            return lambda step: max(0.0, 1 - step / (0.1 * n_steps))
        return super().target_weight(n_steps)

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
        """Return Adam's learning rate, proportional to the square root of batch sizes above 64."""
        return 2e-3 * math.sqrt(max(batch_size, 64) / 64)


Rules = TransformerRules | ClassifierRules


@dataclass(frozen=True)
class Schedule:
    """A learning rate that rises linearly, stays constant, and falls linearly to 0.

    Attributes
    ----------
    peak : float
        Maximum learning rate.
    warmup_steps : int
        Number of steps over which it rises.
    n_steps : int
        Step at which it reaches 0.
    decay : float
        Fraction of `n_steps` over which it falls; 0 for a rate that stays constant.
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
    """Hyper-parameters and schedules of one training run.

    Attributes
    ----------
    n_steps : int
        Maximum number of steps.
    batch_size : int
    learning_rate : callable
        Step (from 0) -> learning rate of Adam.
    beta : callable
        Step -> weight of the KL term.
    weight_decay : float
        Decoupled weight decay of the networks. The linear maps have none.
    averaging : float
        Maximum decay per step of the moving average of the weights. The averaged model is evaluated and kept.
        The decay at step t is t / (t + 9) until it reaches this maximum: the average covers about the last
        ninth of the steps (polynomial-decay averaging, Shamir & Zhang 2013).
    input_noise : float
        Standard deviation of the noise on the encoder's input, relative to that of the data.
    target_weight : callable
        Step -> weight of the pseudo-labels of unlabelled rows.
    """

    n_steps: int
    batch_size: int
    learning_rate: Callable[[int], float]
    beta: Callable[[int], float]
    weight_decay: float
    averaging: float
    input_noise: float
    target_weight: Callable[[int], float]

    @property
    def final_beta(self) -> float:
        """Value of `beta` at the last step, with which held-out rows are scored."""
        return self.beta(max(self.n_steps - 1, 0))


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters with every "auto" resolved. `settings` returns the schedules of one run.

    Attributes
    ----------
    batch_size, warmup_steps : int
        Rows per step; steps over which the learning rate rises.
    learning_rate : float
        Peak of the schedule.
    learning_rate_decay : float
        Fraction of a run's steps over which the rate falls; 0 for runs of unknown length.
    beta : float or callable
        Weight of the KL term, or a function of the step that returns it.
    weight_decay, averaging : float
        As in `Settings`.
    input_noise : float or None
        As in `Settings`. None: not yet measured, for a map.
    target_weight : callable
        Number of steps of a run -> weight of the pseudo-labels as a function of the step.
    kl_warmup : tuple of two floats
        Fraction of a run's steps in which the weight of the KL term is 0, of at most `MAX_FREE_TRAINING` /
        `learning_rate` steps, and fraction in which it then rises linearly to `beta`.
    """

    batch_size: int
    learning_rate: float
    warmup_steps: int
    learning_rate_decay: float
    beta: Any
    weight_decay: float
    averaging: float
    input_noise: float | None
    target_weight: Callable[[int], Callable[[int], float]]
    kl_warmup: tuple[float, float] = NO_WARMUP

    @property
    def targets_fade(self) -> bool:
        """Whether pseudo-labels weigh less at the end of a run."""
        n_steps = 100
        return self.target_weight(n_steps)(n_steps - 1) < 1

    def settings(self, n_steps: int) -> Settings:
        """Return the settings of a run of at most `n_steps` steps."""
        assert self.input_noise is not None
        return Settings(
            n_steps=n_steps,
            batch_size=self.batch_size,
            learning_rate=Schedule(self.learning_rate, self.warmup_steps, n_steps, self.learning_rate_decay),
            beta=partial(self.beta_at, n_steps=n_steps),
            weight_decay=self.weight_decay,
            averaging=self.averaging,
            input_noise=self.input_noise,
            target_weight=self.target_weight(n_steps),
        )

    def beta_at(self, step: int, n_steps: int) -> float:
        """Return the validated weight of the KL term at this step of a run of at most `n_steps` steps."""
        value: Any = self.beta(step) if callable(self.beta) else self.beta
        if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
            raise ValueError(f"expected beta to be a finite number of at least 0, got {value!r} at step {step}.")
        start, rise = (fraction * n_steps for fraction in self.kl_warmup)
        start = min(start, MAX_FREE_TRAINING / self.learning_rate)
        return float(value) * min(1.0, max(0.0, step - start) / rise) if rise else float(value)
