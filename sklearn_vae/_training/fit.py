"""The fit procedure: initialisation, training runs, and early stopping on held-out rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress, islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from sklearn.model_selection import KFold
from torch import Tensor

from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.ppca_missing import fit_observed_cells
from sklearn_vae._data.rows import RowBatch, Rows
from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.column_noise import measure_columns
from sklearn_vae._training.evaluate import choose, evaluate, row_log_likelihoods, row_weights
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import (
    CHOICE_SHARE,
    LONG_WARMUP,
    MIN_START_KL,
    MIN_STEPS_OF_WARMUP,
    NO_WARMUP,
    SHORT_WARMUP,
    Recipe,
)
from sklearn_vae._training.trainer import Trainer
from sklearn_vae.objectives.base import TermSums

T = TypeVar("T")
# Maximum number of held-out rows of each fold whose log-likelihoods choose the number of latent variables.
MAX_COMPARED = 1000


@dataclass(frozen=True)
class Stopping:
    """Early-stopping settings.

    Attributes
    ----------
    max_epochs : int
        Maximum number of epochs.
    warmup_epochs : int
        The same for a degenerate start, which needs more of them.
    interval : int
        Steps between validations, rounded to whole epochs and at least one epoch.
    patience : int
        Training stops after this number of consecutive validations that do not improve the score by `tol`, unless the
        score is rising: the first steps often cost more than later steps have regained by then.
    tol : float
        Minimum improvement of the validation score, in nats per row.
    """

    max_epochs: int
    warmup_epochs: int
    interval: int
    patience: int
    tol: float

    def is_over(self, n_worse: int, scores: Sequence[float]) -> bool:
        """Return whether training stops after `n_worse` validations without an improvement."""
        half = max(self.patience // 2, 1)
        is_rising = len(scores) > half and scores[-1] > scores[-1 - half] + self.tol
        return n_worse >= self.patience and not is_rising


class Seeds(NamedTuple):
    """Seeds of a fit's independent random streams.

    Attributes
    ----------
    start : int
        Initial weights.
    prior : int
        Rows that initialise a prior.
    training : int
        Order of rows, posterior draws and noise.
    split : int
        Choice of held-out rows.
    neighbors : int
        Clusters for the approximate nearest-neighbour search.
    mixtures : int
        Class mixtures, and the posterior draws that they are fitted to.
    """

    start: int
    prior: int
    training: int
    split: int
    neighbors: int
    mixtures: int

    @classmethod
    def spawn(cls, seed: int) -> Seeds:
        """Derive the seeds from a single one (numpy's `SeedSequence`)."""
        return cls(*(int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(len(cls._fields))))


@dataclass
class TrainingResult:
    """The result of one training run.

    Attributes
    ----------
    model : VAE
        The averaged model at the best validation that counts; that at the end if none does.
    n_epochs, n_steps : int
        Epochs and steps after which `model` was kept.
    n_epochs_run : int
        Epochs in total. In cross-validation, those of the longest run.
    curve : list of TermSums
        Mean training loss of each epoch, with its reconstruction and KL terms.
    scores : list of float
        Score of each validation. The first is that of the initial model.
    steps : list of int
        Number of steps before each validation.
    epochs : list of float
        Number of epochs before each validation.
    counts : list of bool
        Whether each validation counts. While `beta` differs from its final value, the score by the final value says
        little about the model to come.
    optima : list of tuple of Tensor
        Sufficient statistics of the likelihood's closed-form parameters on the held-out rows, at each validation.
    architecture : Architecture or None
        That of `model`, which held-out rows may have chosen; None for that of the procedure.
    held_out : list of tuple of VAE and ndarray
        Models, and the indices of the rows that were held out of their training.
    """

    model: VAE
    n_epochs: int = 0
    n_steps: int = 0
    n_epochs_run: int = 0
    curve: list[TermSums] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    counts: list[bool] = field(default_factory=list)
    optima: list[tuple[Tensor, ...]] = field(default_factory=list)
    architecture: Architecture | None = None
    held_out: list[tuple[VAE, np.ndarray]] = field(default_factory=list)

    def measure_columns_of_folds(self, rows: Rows) -> None:
        """Give the models of folds a noise scale per column, as `model` has; their densities are then comparable."""
        for model, index in self.held_out:
            if model is not self.model:
                training = rows.select(rows.tensor(np.delete(np.arange(len(rows)), index)))
                measure_columns(model, training, [(model, training, rows.select(rows.tensor(index)))])

    @property
    def best_score(self) -> float:
        """Largest score of a validation that counts; the last score if none does."""
        return max(compress(self.scores, self.counts), default=self.scores[-1])

    def validate(self, trainer: Trainer, held_out: Rows, n_epochs: int, tol: float) -> bool:
        """Score the averaged model and keep it if it is the best so far.

        Return False if the validation counts, and does not improve the score by `tol`.
        """
        settings = trainer.settings
        score, optima = evaluate(trainer.average, held_out, settings.final_beta)
        best = self.best_score if any(self.counts) else -math.inf
        self.counts.append(settings.beta(max(trainer.step - 1, 0)) == settings.final_beta)
        self.scores.append(score)
        self.steps.append(trainer.step)
        self.epochs.append(n_epochs)
        self.optima.append(optima)
        if score > best if self.counts[-1] else not any(self.counts):
            self.model, self.n_epochs, self.n_steps = copy.deepcopy(trainer.average), n_epochs, trainer.step
        return score > best + tol or not self.counts[-1]


class CrossValidation(NamedTuple):
    """Runs on the folds, the index of the longest run, the folds' mean scores, and the best validation."""

    runs: list[TrainingResult]
    longest: int
    scores: np.ndarray
    best: int


@dataclass(frozen=True)
class FitProcedure:
    """Fit procedure of an architecture, with its recipe, stopping rule and random seeds.

    Attributes
    ----------
    architecture : Architecture
    recipe : Recipe
    stopping : Stopping
    seeds : Seeds
    progress : Progress
        Reports runs and epochs to the user.
    alternatives : tuple of Architecture
        Architectures that held-out rows choose from, besides `architecture`.
    choose : callable
        Chooses between trained models of the candidates on held-out rows, as `evaluate.choose`.
    sizes : tuple of Architecture
        Architectures with increasing numbers of latent variables, of which `with_best_size` chooses one.
    """

    architecture: Architecture
    recipe: Recipe
    stopping: Stopping
    seeds: Seeds
    progress: Progress
    alternatives: tuple[Architecture, ...] = ()
    choose: Callable[[Sequence[Sequence[VAE]], Sequence[Rows]], int] = choose
    sizes: tuple[Architecture, ...] = ()

    def start(self, rows: Rows) -> VAE:
        """Build the initial model for these rows, without training it."""
        model = self.architecture.build(_generator(self.seeds.start))
        moments = fit_moments(rows)
        axes, features = None, model.likelihood.features(rows, moments)
        if self.architecture.linear:
            n_axes = self.architecture.n_coordinates or 0
            feature_moments = moments if features is rows else fit_moments(features)
            ppca = fit_ppca(features, feature_moments, self.architecture.n_components, n_axes)
            per_column = model.likelihood.has_column_scales
            if rows.has_gaps or per_column:
                ppca = fit_observed_cells(features, ppca, per_column)
            moments, axes = ppca.moments if features is rows else moments, ppca.axes[:, :n_axes]
        model.likelihood.set_units(moments, axes)
        model.gaps.center.copy_(moments.center)
        if model.linear is not None:
            start = model.likelihood.linear_start(ppca)
            model.linear.start_at(start)
            model.gaps.start_at(start)
        elif model.likelihood.n_inputs == rows.n_features:
            # Without a linear model, missing cells are seen at the means of their columns.
            model.gaps.mean.copy_(model.likelihood.observe(moments.center.cpu()[None]).inputs[0])
        # In training mode, layers might draw random numbers or update statistics.
        model = model.to(rows.device).eval()
        generator = _generator(self.seeds.prior, rows.device)
        model.prior.start_at(lambda n: _inputs(model, rows.sample(n, generator), generator))
        if self.architecture.n_classes:
            model.input_norm.copy_(_median_norm(model, rows))
        return model

    def with_input_noise(self, value: float) -> FitProcedure:
        """Return the procedure with this input noise, unless the recipe has a value."""
        recipe = self.recipe if self.recipe.input_noise is not None else replace(self.recipe, input_noise=value)
        return replace(self, recipe=recipe)

    def features(self, rows: Rows) -> Rows:
        """Return the rows as the likelihood compares them, by default as they are."""
        likelihood = self.architecture.likelihood.build(rows.n_features, self.architecture.n_coordinates)
        return likelihood.features(rows, fit_moments(rows)) if likelihood.has_features else rows

    def trainer(self, model: VAE, device: torch.device, n_steps: int) -> Trainer:
        """Return a trainer of `model` for a run of at most `n_steps` steps."""
        settings = self.recipe.settings(n_steps)
        model = model.to(device)
        model.objective = self.architecture.objective
        model.input_noise = settings.input_noise
        return Trainer(model, settings, self.seeds.training)

    def n_steps(self, rows: Rows, n_epochs: int) -> int:
        """Return the number of steps in `n_epochs` epochs."""
        return n_epochs * rows.n_batches(self.recipe.batch_size)

    def train(
        self,
        rows: Rows,
        n_epochs: int,
        held_out: Rows | None = None,
        model: VAE | None = None,
        name: str = "fit",
        n_steps: int | None = None,
    ) -> TrainingResult:
        """Train `model`, or a new model, and keep the state with the best score on the held-out rows.

        The schedules end after `n_steps` steps, by default with the last epoch.
        """
        progress = self.progress.begin_run(name, n_epochs)
        model = self.start(rows) if model is None else model
        trainer = self.trainer(model, rows.device, self.n_steps(rows, n_epochs) if n_steps is None else n_steps)
        run = TrainingResult(trainer.average, architecture=self.architecture)
        interval = max(1, round(self.stopping.interval / rows.n_batches(self.recipe.batch_size)))
        n_worse = 0
        if held_out is not None:
            run.validate(trainer, held_out, 0, 0.0)
        for epoch in range(1, n_epochs + 1):
            progress.begin_epoch()
            run.curve.append(trainer.run_epoch(rows))
            run.n_epochs_run, score = epoch, None
            is_due = epoch % interval == 0 or epoch == n_epochs
            if held_out is None:
                run.n_epochs, run.n_steps = epoch, trainer.step
            elif is_due:
                n_worse = 0 if run.validate(trainer, held_out, epoch, self.stopping.tol) else n_worse + 1
                score = run.scores[-1]
            attributes = partial(self._attributes, run, trainer)
            asked_to_stop = progress.end_epoch(epoch, trainer.step, run.curve[-1], score, is_due, attributes)
            if asked_to_stop or self.stopping.is_over(n_worse, run.scores):
                break
        if held_out is not None and run.epochs[-1] < run.n_epochs_run:
            # A callback stopped the run between two validations.
            run.validate(trainer, held_out, run.n_epochs_run, self.stopping.tol)
        progress.end(partial(self._attributes, run, trainer))
        return run

    def candidates(self, start: VAE, rows: Rows) -> list[FitProcedure]:
        """Return the procedures that held-out rows choose from.

        They are those of the alternatives, and this one, or three with KL warm-ups of decreasing length if it needs
        one. A longer warm-up makes more use of the components, with maps that are more curved and overfit more.
        """
        needs_warmup = self._needs_warmup(start, rows)
        own = self._with_warmup(NO_WARMUP) if needs_warmup else self
        others = [replace(own, architecture=architecture, alternatives=()) for architecture in self.alternatives]
        if not needs_warmup:
            return [*others, self]
        return [*others, *(self._with_warmup(warmup) for warmup in (LONG_WARMUP, SHORT_WARMUP, NO_WARMUP))]

    def _start_of(self, start: VAE, candidate: FitProcedure, rows: Rows) -> VAE:
        """Return a copy of this procedure's start for a candidate, or a start of the candidate's own."""
        return copy.deepcopy(start) if candidate.architecture is self.architecture else candidate.start(rows)

    def _needs_warmup(self, start: VAE, rows: Rows) -> bool:
        """Return whether the start is degenerate and training is long.

        If the columns have about equal variances, the components of probabilistic PCA have no use for the bound, and
        the gradients that would change this are near 0: training stays where it is. A weight of the KL that is 0 at
        first leads away from there.
        """
        return (
            start.linear is not None
            and self.n_steps(rows, self.stopping.warmup_epochs) >= MIN_STEPS_OF_WARMUP
            and self.architecture.generative
            # The points lead away from there.
            and not self.architecture.generative_objective.n_neighbors
            and not callable(self.recipe.beta)
            and float(-start.linear.log_scale.detach().min()) < MIN_START_KL
        )

    def _with_warmup(self, warmup: tuple[float, float]) -> FitProcedure:
        stopping = replace(self.stopping, max_epochs=self.stopping.warmup_epochs)
        return replace(self, recipe=replace(self.recipe, kl_warmup=warmup), stopping=stopping)

    def with_best_size(self, rows: Rows, n_splits: int, n_folds: int) -> FitProcedure:
        """Return the procedure with that of `sizes` that has the largest log-likelihood of held-out rows.

        They are tried in their order, until two in a row are no better than an earlier one. Each is trained for
        `CHOICE_SHARE` of the epochs, on `n_folds` of `n_splits` folds.
        """
        parts = self._parts(rows, n_splits, n_folds)
        # The runs of the fit itself: at most three candidates, and one on all rows.
        self.progress.begin((len(self.sizes) + 3) * n_folds + 1)
        best, best_score, n_worse = self, -math.inf, 0
        for architecture in self.sizes:
            candidate = replace(self, architecture=architecture, sizes=())
            score = candidate._short_score(parts)
            if score > best_score:
                best, best_score, n_worse = candidate, score, 0
            elif (n_worse := n_worse + 1) == 2:
                break
        return best

    def _short_score(self, parts: Sequence[tuple[Rows, Rows]]) -> float:
        """Return the mean log-likelihood of held-out rows after short runs."""
        values, weights = [], []
        for training, held_out in parts:
            start, compared = self.start(training), held_out.evenly_spaced(MAX_COMPARED)
            procedure = self._with_warmup(SHORT_WARMUP) if self._needs_warmup(start, training) else self
            n_epochs = math.ceil(CHOICE_SHARE * procedure.stopping.max_epochs)
            name = f"{self.architecture.n_components} components"
            run = procedure.train(training, n_epochs, held_out, start, name)
            values.append(row_log_likelihoods(run.model, compared))
            weights.append(row_weights(compared).to(values[-1]))
        weight = torch.cat(weights)
        return float(weight @ torch.cat(values) / weight.sum())

    def _parts(self, rows: Rows, n_splits: int, n_folds: int) -> list[tuple[Rows, Rows]]:
        """Return training and held-out rows of the first `n_folds` of `n_splits` folds."""
        folds = self._folds(len(rows), n_splits, n_folds)
        return [(rows.select(rows.tensor(a)), rows.select(rows.tensor(b))) for a, b in folds]

    def _folds(self, n_rows: int, n_splits: int, n_folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the indices of training and held-out rows of the first `n_folds` of `n_splits` folds."""
        folds = KFold(n_splits, shuffle=True, random_state=self.seeds.split).split(np.arange(n_rows))
        return islice(folds, n_folds)

    def fit(self, rows: Rows, model: VAE | None = None, name: str = "fit") -> TrainingResult:
        """Train on all rows for the maximum number of epochs."""
        start = self.start(rows) if model is None else model
        procedure = self._with_warmup(SHORT_WARMUP) if model is None and self._needs_warmup(start, rows) else self
        return procedure.train(rows, procedure.stopping.max_epochs, None, start, name=name)

    def fit_held_out(self, rows: Rows, n_held_out: int, model: VAE | None = None) -> TrainingResult:
        """Hold out `n_held_out` random rows for early stopping, and train on the others.

        They also choose between candidates, after short runs.
        """
        order = torch.randperm(len(rows), generator=_generator(self.seeds.split)).to(rows.device)
        # Sorted indices make memory access sequential.
        index, others = (part.sort().values for part in (order[:n_held_out], order[n_held_out:]))
        held_out, training = rows.select(index), rows.select(others)
        start = self.start(training) if model is None else model
        procedures = self.candidates(start, training) if model is None else [self]
        procedure = procedures[0]
        if len(procedures) > 1:
            self.progress.begin(len(procedures) + 1)
            runs = [
                p.train(
                    training,
                    max(1, round(CHOICE_SHARE * p.stopping.max_epochs)),
                    held_out,
                    self._start_of(start, p, training),
                    f"candidate {i}",
                )
                for i, p in enumerate(procedures, start=1)
            ]
            procedure = procedures[self._best([[run] for run in runs], [(training, held_out)])]
        start = self._start_of(start, procedure, training)
        run = procedure.train(training, procedure.stopping.max_epochs, held_out, start)
        measure_columns(run.model, training, [(run.model, training, held_out)])
        run.held_out = [(run.model, index.cpu().numpy())]
        return run

    def fit_cross_validated(self, rows: Rows, n_splits: int, n_folds: int) -> TrainingResult:
        """Choose the number of steps by cross-validation, then train on all rows for that number.

        Only the first `n_folds` of `n_splits` folds are used. Closed-form parameters of the likelihood (the
        Gaussian's scale) are set to their optimum on the held-out rows of all folds, because overfitting makes
        training errors too small. The optimum on the training rows replaces it where that is larger.
        """
        parts = self._parts(rows, n_splits, n_folds)
        start = self.start(rows)
        procedures = self.candidates(start, rows)
        self.progress.begin(len(procedures) * n_folds + 1)
        starts = [self.start(training) for training, _ in parts]
        validations = []
        for candidate in procedures:
            own = [self._start_of(given, candidate, part[0]) for given, part in zip(starts, parts, strict=True)]
            validations.append(candidate._cross_validate(parts, own))
        chosen = self._best([v.runs for v in validations], parts)
        procedure, (runs, longest, scores, best) = procedures[chosen], validations[chosen]
        # The final run uses the schedules under which its number of steps was chosen.
        training, _ = parts[longest]
        n_steps, n_batches = self.n_steps(training, procedure.stopping.max_epochs), self.n_steps(rows, 1)
        steps = runs[longest].steps
        start = self._start_of(start, procedure, rows)
        final = procedure.train(rows, round(steps[best] / n_batches), None, start, "all rows", n_steps)
        optima = zip(*(_extend(run.optima, len(scores))[best] for run in runs), strict=True)
        _, final_optima = evaluate(final.model, rows, self.recipe.settings(n_steps).final_beta)
        for target, values, trained in zip(final.model.likelihood.optima(), optima, final_optima, strict=True):
            # The final run's training error is the larger one if it ends in a worse optimum than the folds.
            held_out = torch.stack(values).sum(0)
            is_scored = held_out[1] + trained[1] > 0
            target.copy_(torch.where(is_scored, _normalised(held_out).maximum(_normalised(trained)), target))
        measured = [(run.model, *part) for run, part in zip(runs, parts, strict=True)]
        measure_columns(final.model, rows, measured)
        indices = [b for _, b in self._folds(len(rows), n_splits, n_folds)]
        final.held_out = [(run.model, b) for run, b in zip(runs, indices, strict=True)]
        final.scores, final.counts = scores.tolist(), runs[longest].counts
        final.epochs = [step / n_batches for step in steps]
        final.n_epochs_run = max(run.n_epochs_run for run in runs)
        return final

    def _best(self, runs: Sequence[Sequence[TrainingResult]], parts: Sequence[tuple[Rows, Rows]]) -> int:
        """Return the index of the candidate whose models are best on the held-out rows of each part."""
        if self.alternatives:
            # Candidates with a common noise scale get that of each column, as the model that is kept does.
            for run, part in ((run, part) for own in runs for run, part in zip(own, parts, strict=True)):
                measure_columns(run.model, part[0], [(run.model, *part)])
        return self.choose([[run.model for run in own] for own in runs], [held_out for _, held_out in parts])

    def _cross_validate(self, parts: Sequence[tuple[Rows, Rows]], starts: Sequence[VAE]) -> CrossValidation:
        """Train on the first of each pair of rows, and choose the number of steps by the scores of the second."""
        runs = [
            self.train(training, self.stopping.max_epochs, held_out, start, f"fold {i} of {len(parts)}")
            for i, ((training, held_out), start) in enumerate(zip(parts, starts, strict=True), start=1)
        ]
        longest = max(range(len(runs)), key=lambda i: len(runs[i].scores))
        n = len(runs[longest].scores)
        weights = [held_out.total_weight for _, held_out in parts]
        scores = np.average([_extend(run.scores, n) for run in runs], axis=0, weights=weights)
        counts = runs[longest].counts if any(runs[longest].counts) else [False] * (n - 1) + [True]
        best = int(np.where(counts, scores, -math.inf).argmax())
        return CrossValidation(runs, longest, scores, best)

    def _attributes(self, run: TrainingResult, trainer: Trainer) -> dict[str, Any]:
        """Return the estimator's fitted attributes for the current averaged model."""
        model = copy.deepcopy(trainer.average)
        return self.progress.attributes(
            self, replace(run, model=model, n_epochs=run.n_epochs_run, n_steps=trainer.step)
        )


def _generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def _inputs(model: VAE, batch: RowBatch, generator: torch.Generator | None = None) -> Tensor:
    """Return the encoder's inputs for a batch of rows."""
    return model.observe(batch["x"], batch.get("mask"), generator).inputs


@torch.no_grad()
def _median_norm(model: VAE, rows: Rows) -> Tensor:
    """Return the median norm of the centred encoder inputs."""

    def batches() -> Iterator[Tensor]:
        """Yield the inputs of all rows."""
        return (_inputs(model, batch) for batch in rows.chunks())

    center = torch.stack([y.sum(0) for y in batches()]).sum(0) / len(rows)
    return torch.cat([(y - center).norm(dim=1) for y in batches()]).median()


def _normalised(sums: Tensor) -> Tensor:
    """Return statistics divided by their weight; 0 where the weight is 0."""
    return torch.where(sums[1] > 0, sums / sums[1], 0.0)


def _extend(values: Sequence[T], length: int) -> list[T]:
    """Repeat the last value up to `length`, for a run that stopped before the longest one."""
    return [*values, *[values[-1]] * (length - len(values))]
