"""How a classifier is fitted: from its labels, and from what they say of the other rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from sklearn_vae._engine import EVALUATION_BATCH, Rows
from sklearn_vae._fit import Fitter, Run
from sklearn_vae._labels import UNLABELLED
from sklearn_vae._propagation import neighbour_graph, spread_labels
from sklearn_vae._vae import VAE

# Columns beyond which neighbours are searched among as many principal components.
GRAPH_COMPONENTS = 32
# Share of a row's label that comes from its neighbours.
ALPHA = 0.9
# Labelled rows that experts learn from, summed over the held-out parts; and the largest number of parts.
MAX_TRAINED, MAX_SPLITS = 2000, 5
# What the exponents of a network and of a graph are shrunk to.
EXPONENTS = np.log([0.5, 1.5])
# Smallest probability that an expert gives.
MIN_PROBABILITY = 1e-6
# Predictions of more than this probability are as good as labels.
CONFIDENT = 0.9
# Rows that a class's mixture is fitted to, at most; and draws from their posteriors, at least, per latent variable.
MAX_MIXED, MIN_DRAWS = 6000, 5


@dataclass(frozen=True)
class Labels:
    """The labels of rows.

    Attributes
    ----------
    codes : ndarray of shape (n_rows,)
        Class indices; -1 for unlabelled rows.
    weight : ndarray of shape (n_rows,)
        Of each row's cross-entropy.
    n_classes : int
    """

    codes: np.ndarray
    weight: np.ndarray
    n_classes: int

    @property
    def labelled(self) -> np.ndarray:
        """Indices of the labelled rows."""
        return np.flatnonzero(self.codes != UNLABELLED)

    def one_hot(self) -> np.ndarray:
        """Return indicators of the classes times the weights, (n_rows, n_classes); 0 for unlabelled rows."""
        target = np.zeros((len(self.codes), self.n_classes))
        target[self.labelled, self.codes[self.labelled]] = self.weight[self.labelled]
        return target

    def prior(self) -> np.ndarray:
        """Return the shares of the classes among the labelled rows, (n_classes,)."""
        count = np.bincount(self.codes[self.labelled], minlength=self.n_classes)
        return count / count.sum()

    def folds(self, seed: int) -> list[np.ndarray]:
        """Return parts of the labelled rows, as indices, to judge by; a class's only row is in none.

        The classes are spread evenly over the parts.
        """
        codes = self.codes[self.labelled]
        several = np.bincount(codes, minlength=self.n_classes)[codes] > 1
        judges = np.random.RandomState(seed).permutation(self.labelled[several])
        judges = judges[np.argsort(self.codes[judges], kind="stable")]
        n_splits = min(len(judges), int(np.clip(MAX_TRAINED // max(len(judges), 1), 2, MAX_SPLITS)))
        return [judges[i::n_splits] for i in range(n_splits)]

    def without(self, index: np.ndarray) -> Labels:
        """Return these labels with those of the rows at `index` hidden."""
        codes = self.codes.copy()
        codes[index] = UNLABELLED
        return replace(self, codes=codes)


# An expert returns log-probabilities of the classes, (n_asked, n_classes), from labels, for the rows at given indices.
Expert = Callable[[Labels, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ClassifierFitter:
    """Fits a classifier to rows of which some are labelled.

    Attributes
    ----------
    fitter : Fitter
        Of the result.
    expert : Fitter
        Of networks that learn from labelled rows alone.
    n_neighbors : int
    spreads : bool
        Whether labels are spread to the rows that have none.
    """

    fitter: Fitter
    expert: Fitter
    n_neighbors: int
    spreads: bool

    def fit(self, rows: Rows, labels: Labels, validation_fraction: float = 0.0, model: VAE | None = None) -> Run:
        """Train `model`, or one at its start; keep what is best on a share of the labelled rows, if any."""
        n_epochs = self.fitter.stopping.max_epochs
        start = self.fitter.start(rows) if model is None else model
        if not validation_fraction:
            return self.fitter.train(self._taught(rows, labels, start), n_epochs, model=start)
        held_out = self._hold_out(labels, validation_fraction)
        rest = np.setdiff1d(np.arange(len(rows)), held_out)
        judges = rows.with_target(labels.one_hot()).select(rows.tensor(held_out))
        training = self._taught(rows, labels.without(held_out), start).select(rows.tensor(rest))
        return self.fitter.train(training, n_epochs, judges, start)

    def _taught(self, rows: Rows, labels: Labels, start: VAE) -> Rows:
        """Add what is known of the classes."""
        labelled = rows.with_target(labels.one_hot())
        if len(labels.labelled) == len(rows):
            return labelled
        target = self._guess(rows, labels, start) if self.spreads else np.zeros((len(rows), labels.n_classes))
        target[labels.labelled] = 0
        return rows.with_target(target, labelled.select(rows.tensor(labels.labelled)))

    def _guess(self, rows: Rows, labels: Labels, start: VAE) -> np.ndarray:
        """Return probabilities of the classes from two experts, (n_rows, n_classes).

        One is a network that learns from the labelled rows; the other spreads their labels
        over a graph of neighbours. Their predictions are multiplied, raised to exponents
        for which held-out labels are most probable: an expert that knows nothing gets none.
        """
        x = principal_components(rows.x.cpu().numpy(), self.fitter.seed)
        graph = neighbour_graph(x, self.n_neighbors, self.fitter.seed)

        def neighbours(labels: Labels, index: np.ndarray) -> np.ndarray:
            p = spread_labels(graph, labels.codes, labels.prior(), ALPHA)[index]
            return np.log(p.clip(MIN_PROBABILITY))

        def network(labels: Labels, index: np.ndarray) -> np.ndarray:
            learning = rows.with_target(labels.one_hot()).select(rows.tensor(labels.labelled))
            run = self.expert.train(
                learning, self.expert.stopping.max_epochs, model=copy.deepcopy(start), name="expert"
            )
            return predict_log_proba(run.model, rows.select(rows.tensor(index)))

        experts: list[Expert] = [network, neighbours]
        log_prior = np.log(labels.prior())
        folds = labels.folds(self.fitter.seed)
        exponents = np.exp(EXPONENTS)
        if folds:
            out_of_fold = [np.concatenate([expert(labels.without(fold), fold) for fold in folds]) for expert in experts]
            exponents = fit_exponents(out_of_fold, labels.codes[np.concatenate(folds)], log_prior)
        everywhere = [expert(labels, np.arange(len(rows))) for expert in experts]
        return np.exp(pool(everywhere, exponents, log_prior))

    def _hold_out(self, labels: Labels, fraction: float) -> np.ndarray:
        """Return the indices of a stratified share of the labelled rows."""
        codes = labels.codes[labels.labelled]
        return train_test_split(labels.labelled, test_size=fraction, stratify=codes, random_state=self.fitter.seed)[1]


def pool(log_p: list[np.ndarray], exponents: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    r"""Return the log of :math:`\pi_k \prod_e (p_e(k) / \pi_k)^{a_e}`, normalised, (n_rows, n_classes).

    A logarithmic opinion pool (Genest and Zidek 1986): with exponents 1 the posterior of
    independent evidence.
    """
    return log_softmax(log_prior + sum(a * (lp - log_prior) for a, lp in zip(exponents, log_p, strict=True)), axis=-1)


def fit_exponents(log_p: list[np.ndarray], codes: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    """Return the exponents for which the classes `codes` are most probable, shrunk to `EXPONENTS` on a log scale."""

    def loss(log_exponents: np.ndarray) -> float:
        likelihood = pool(log_p, np.exp(log_exponents), log_prior)[np.arange(len(codes)), codes].sum()
        return np.square(log_exponents - EXPONENTS).sum() - likelihood

    return np.exp(minimize(loss, EXPONENTS, method="L-BFGS-B", bounds=[(-5, 2.5)] * len(log_p)).x)


def principal_components(X: np.ndarray, seed: int) -> np.ndarray:
    """Return the columns, or their leading principal components where there are many."""
    if X.shape[1] <= GRAPH_COMPONENTS:
        return X
    return PCA(min(GRAPH_COMPONENTS, len(X)), random_state=seed).fit_transform(X)


@torch.inference_mode()
def predict_log_proba(model: VAE, rows: Rows) -> np.ndarray:
    """Return log p(y|x) of rows, (n_rows, n_classes), float64."""
    parts = [model.log_proba(batch["x"]) for batch in rows.batches(EVALUATION_BATCH)]
    return torch.cat(parts).double().cpu().numpy()


def fit_class_mixture(model: VAE, rows: Rows, labels: Labels, seed: int) -> None:
    """Fit p(y) and p(z|y) to the posteriors of the rows that have a class, or predict one with confidence."""
    with torch.inference_mode():
        posteriors = [model.posterior(batch["x"]) for batch in rows.batches(EVALUATION_BATCH)]
        loc, scale = (
            torch.cat([getattr(q, name) for q in posteriors]).double().cpu().numpy() for name in ("loc", "scale")
        )
    p = np.exp(predict_log_proba(model, rows))
    known = labels.labelled
    p[known] = np.eye(labels.n_classes)[labels.codes[known]]
    weight = np.ones(len(p)) if rows.weight is None else rows.weight.double().cpu().numpy()
    rng = np.random.RandomState(seed)
    draws = []
    for k in range(labels.n_classes):
        index = np.flatnonzero((p.argmax(1) == k) & (p[:, k] > CONFIDENT))
        index = rng.permutation(index)[:MAX_MIXED]
        # So many draws of each row that covariances have full rank.
        index = np.repeat(index, -(-MIN_DRAWS * loc.shape[1] // len(index)))
        draws.append(loc[index] + scale[index] * rng.standard_normal((len(index), loc.shape[1])))
    assert model.class_mixture is not None
    model.class_mixture.fit(draws, np.average(p, axis=0, weights=weight), seed)
