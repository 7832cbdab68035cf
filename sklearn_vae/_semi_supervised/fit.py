"""How a classifier is fitted: from its labels, and from what they say of the other rows."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.base import clone

from sklearn_vae._data.labels import MIN_PROBABILITY, UNLABELLED, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._semi_supervised.experts import (
    ALONE,
    TOGETHER,
    Expert,
    fit_exponents,
    out_of_fold,
    pooled_targets,
    predict_log_proba,
)
from sklearn_vae._training.fit import FitProcedure, TrainingResult

# Shares of a row's label that come from its neighbours, of which held-out labels choose one.
ALPHAS = (0.9, 0.99)
# Above this number of labelled rows, all rows labelled, a network's own probabilities are as good.
MAX_CALIBRATED = 5000


class FinalTraining(NamedTuple):
    """What there is to learn of the classes, and how."""

    procedure: FitProcedure
    rows: Rows
    target: np.ndarray | None = None  # of all rows, (n_rows, n_classes), where some are not labelled


@dataclass(frozen=True)
class ClassifierProcedure:
    """Fits a classifier to rows of which some are labelled.

    Attributes
    ----------
    procedure : FitProcedure
        Of the result.
    clustered : FitProcedure
        Of the result where the classes are clusters of many rows.
    expert : FitProcedure
        Of networks that learn from labelled rows alone.
    n_neighbors : int
    spreads : bool
        Whether labels may be spread to the rows that have none.
    """

    procedure: FitProcedure
    clustered: FitProcedure
    expert: FitProcedure
    n_neighbors: int
    spreads: bool

    def fit(
        self, rows: Rows, labels: Labels, validation_fraction: float = 0.0, model: VAE | None = None
    ) -> TrainingResult:
        """Train `model`, or one at its start; keep what is best on a share of the labelled rows, if any."""
        start = self.procedure.start(rows) if model is None else model
        held_out = self._hold_out(labels, validation_fraction)
        judges = labels.of(rows).select(rows.tensor(held_out)) if len(held_out) else None
        rest = rows.tensor(np.setdiff1d(np.arange(len(rows)), held_out))
        labels = labels.without(held_out)
        # Experts must not have seen the labels that they are judged by.
        network = self._network(rows, start if model is None else self.expert.start(rows))
        supervised = len(labels.labelled) == len(rest)
        self._begin(labels, supervised)
        final = (
            FinalTraining(self.procedure, labels.of(rows))
            if supervised
            else self._final_training(rows, labels, network)
        )
        n_epochs = final.procedure.stopping.max_epochs
        run = final.procedure.train(final.rows.select(rest), n_epochs, judges, copy.deepcopy(start))
        if supervised and len(labels.labelled) <= MAX_CALIBRATED:
            # As sure as held-out labels allow.
            predicted = out_of_fold(network, labels, self.procedure.seeds.split)
            self._temper(run.model, predicted, labels.truth(labels.judged(self.procedure.seeds.split)), labels)
        elif final.target is not None and final.procedure is not self.clustered:
            # As sure as what was taught.
            unlabelled = np.flatnonzero(labels.codes == UNLABELLED)
            predicted = predict_log_proba(run.model, rows.select(rows.tensor(unlabelled)))
            self._temper(run.model, predicted, final.target[unlabelled], labels)
        return run

    def _begin(self, labels: Labels, supervised: bool) -> None:
        """Say of how many runs the fit consists, if of several."""
        judged = not supervised or len(labels.labelled) <= MAX_CALIBRATED
        n_experts = (len(labels.folds(self.procedure.seeds.split)) if judged else 0) + (not supervised)
        if n_experts:
            self.procedure.progress.begin(n_experts + 1)

    def _final_training(self, rows: Rows, labels: Labels, network: Expert) -> FinalTraining:
        """Ask experts about the unlabelled rows.

        The network and the neighbours are heard together if that makes held-out labels
        more probable. Otherwise the result learns to predict what the network does.
        """
        seed, log_prior, everywhere = self.procedure.seeds.split, labels.log_prior, np.arange(len(rows))
        truth = labels.truth(labels.judged(seed))
        held_out, said = [out_of_fold(network, labels, seed)], [network(labels, everywhere)]
        alone, loss = fit_exponents(held_out, truth, log_prior, ALONE)
        if self.spreads:
            # As many experts as there are ways to spread; the one that knows most of held-out labels is heard.
            candidates = [(neighbours, out_of_fold(neighbours, labels, seed)) for neighbours in self._neighbours(rows)]
            losses = [fit_exponents([p], truth, log_prior, ALONE)[1] for _, p in candidates]
            loss_of_neighbours, (neighbours, predicted) = losses[np.argmin(losses)], candidates[np.argmin(losses)]
            held_out.append(predicted)
            together, loss_together = fit_exponents(held_out, truth, log_prior, TOGETHER)
            if loss_together <= loss:
                procedure = self.clustered if loss_of_neighbours < loss else self.procedure
                target = pooled_targets([*said, neighbours(labels, everywhere)], together, log_prior)
                # Labelled rows come apart, more often.
                target[labels.labelled] = 0
                labelled = labels.of(rows).select(rows.tensor(labels.labelled))
                return FinalTraining(procedure, rows.with_target(target, labelled), target)
        objective = clone(self.procedure.architecture.objective).set_params(consistency_weight=0.0, entropy_weight=0.0)
        procedure = replace(self.procedure, architecture=replace(self.procedure.architecture, objective=objective))
        target = pooled_targets(said, alone, log_prior)
        return FinalTraining(procedure, rows.with_target(target), target)

    def _temper(self, model: VAE, log_p: np.ndarray, truth: np.ndarray | sparse.csr_array, labels: Labels) -> None:
        """Make predictions as sure as brings `log_p` nearest to the truth."""
        exponents, _ = fit_exponents([log_p], truth, labels.log_prior, ALONE)
        model.temper(float(exponents[0]), torch.from_numpy(labels.log_prior))

    def _network(self, rows: Rows, start: VAE) -> Expert:
        """Return a network that learns from labelled rows alone."""

        def network(labels: Labels, index: np.ndarray) -> np.ndarray:
            training = labels.of(rows).select(rows.tensor(labels.labelled))
            n_epochs = self.expert.stopping.max_epochs
            run = self.expert.train(training, n_epochs, model=copy.deepcopy(start), name="labelled rows")
            return predict_log_proba(run.model, rows.select(rows.tensor(index)))

        return network

    def _neighbours(self, rows: Rows) -> list[Expert]:
        """Return what spreads labels over a graph of the rows, nearer and farther."""
        # With the clusters and graphs of scikit-learn, which take longer to load than all of this package.
        from sklearn_vae._semi_supervised.graph import neighbour_graph, principal_components, spread_labels

        x = principal_components(rows)
        graph = neighbour_graph(x, self.n_neighbors, self.procedure.seeds.neighbors)

        def neighbours(labels: Labels, index: np.ndarray, alpha: float) -> np.ndarray:
            prior = np.exp(labels.log_prior)
            return np.log(spread_labels(graph, labels.codes, prior, alpha)[index] + MIN_PROBABILITY)

        return [partial(neighbours, alpha=alpha) for alpha in ALPHAS]

    def _hold_out(self, labels: Labels, fraction: float) -> np.ndarray:
        """Return the indices of a share of the labelled rows of each class, of which one at least stays."""
        if not fraction:
            return np.zeros(0, dtype=int)
        rng = np.random.RandomState(self.procedure.seeds.split)
        parts = []
        for k in range(labels.n_classes):
            index = rng.permutation(np.flatnonzero(labels.codes == k))
            parts.append(index[: min(math.ceil(fraction * len(index)), len(index) - 1)])
        return np.sort(np.concatenate(parts))
