"""Codes of a model that is trained without labels, in which neighbours are searched for label spreading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sklearn_vae._data.rows import Rows
from sklearn_vae._training.diagnostics import latent_scale, latent_statistics
from sklearn_vae._training.fit import FitProcedure
from sklearn_vae._training.neighbor_points import latent_means
from sklearn_vae._training.recipe import CodeRules
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import ELBO
from sklearn_vae.priors import StandardNormal


def are_compared(rows: Rows) -> bool:
    """Return whether codes are compared to find neighbours, instead of columns."""
    return CodeRules(len(rows)).are_used(rows.n_features)


def codes(classifier: FitProcedure, rows: Rows) -> np.ndarray:
    """Train a model without labels; return the rows' posterior means in units of the data, (n_rows, n_components).

    Of the classifier's procedure it takes the likelihood, the seeds and the largest number of epochs. All else has its
    default, because a model of p(x) needs other values than a classifier.
    """
    rules = CodeRules(len(rows))
    architecture = replace(
        classifier.architecture,
        n_components=rules.n_components,
        hidden_layer_sizes=rules.hidden_layer_sizes,
        linear=True,
        prior=StandardNormal(),
        network=MLP(layer_norm=True),
        objective=ELBO(),
        n_classes=0,
    )
    max_epochs = min(rules.max_epochs(rules.batch_size), classifier.stopping.max_epochs)
    stopping = replace(classifier.stopping, max_epochs=max_epochs, warmup_epochs=max_epochs)
    progress = classifier.progress.without_callbacks()
    coder = FitProcedure(architecture, rules.recipe(), stopping, classifier.seeds, progress)
    model = coder.fit(rows, name="codes").model
    scale = torch.from_numpy(latent_scale(model, latent_statistics(model, rows)))
    means = latent_means(model, rows)
    return (means * scale.to(means)).numpy(force=True)
