"""The choice between a common noise scale and one for each column, by hidden cells of held-out rows."""

import math

import numpy as np
import pytest
import torch

from sklearn_vae import VAEImputer, VAETransformer
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training import imputation_error
from sklearn_vae.likelihoods import Gaussian

QUICK = {"hidden_layer_sizes": (16,), "max_iter": 20, "random_state": 0}


def nearly_determined(n=300, seed=0):
    """Three columns that nearly determine each other, and five columns of noise of the same scale."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1))
    X = np.c_[np.repeat(z, 3, axis=1) + 0.02 * rng.normal(size=(n, 3)), rng.normal(size=(n, 5))]
    return X, np.where(rng.random(X.shape) < 0.2, np.nan, X)


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ([[1.0, 1.0, 0.0], [0.5, 2.0, 0.0]], 0),
        ([[1.0, 1.0, 0.0], [0.5, 1.4, 0.0]], 1),
        # The second column has a hundredfold variance, the third is constant.
        ([[1.0, 1.0, 0.0], [0.9, 10.0, 0.0]], 1),
        ([[1.0, 1.0, 0.0], [0.9, 1.0, 100.0]], 1),
        ([[math.nan, 1.0, 0.0], [2.0, 2.0, 0.0]], 1),
    ],
)
def test_smallest_error_in_standardised_columns_is_chosen(monkeypatch, errors, chosen):
    scale = 10.0 if max(errors[1]) >= 10 else 1.0
    x = [[-1.0, -scale, 0.1], [1.0, scale, 0.1], [0.0, 0.0, 0.1]]
    rows = DenseRows(torch.tensor(x, dtype=torch.float64))
    monkeypatch.setattr(imputation_error, "hidden_errors", lambda values, rows: torch.tensor(values).double())
    assert imputation_error.choose_imputer([[values] for values in errors], [rows]) == chosen


def test_errors_are_those_of_hidden_cells_and_weighted():
    X, gaps = nearly_determined()
    model = VAETransformer(1, max_iter=0, random_state=0).fit(X).module_
    rows = DenseRows(torch.tensor(gaps))
    sums = imputation_error.hidden_errors(model, rows)
    # Columns of noise are imputed with their means. The others are 0.02 off, but for rows that have none of them.
    n_hidden = imputation_error.HIDDEN_SHARE * np.isfinite(gaps).sum(0)
    assert (sums[:3].numpy() / n_hidden[:3] < 0.5).all()
    assert float(sums[3:].sum()) / n_hidden[3:].sum() == pytest.approx(1, abs=0.25)
    gaps[::3] += 1000.0
    far = DenseRows(torch.tensor(gaps), weight=torch.tensor([0.0, 2.0, 2.0] * 100))
    assert (imputation_error.hidden_errors(model, far) < 3 * sums.max()).all()


@pytest.mark.parametrize("most_rows_of_folds", [100, 5000])
def test_imputer_chooses_a_scale_per_column_where_columns_determine_each_other(monkeypatch, most_rows_of_folds):
    monkeypatch.setattr("sklearn_vae._training.recipe.MAX_SMALL_ROWS", most_rows_of_folds)
    X, gaps = nearly_determined()
    imputers = [VAEImputer(2, likelihood=Gaussian(per_column=p), **QUICK).fit(gaps) for p in ("auto", False)]
    error, common = (np.square(imputer.transform(gaps) - X)[np.isnan(gaps)].mean() for imputer in imputers)
    assert imputers[0].module_.likelihood.has_column_scales and error < common
    assert imputers[0].set_params(warm_start=True).fit(gaps).module_.likelihood.has_column_scales


def test_imputer_has_one_scale_where_it_is_asked_for_or_columns_are_many():
    X = np.random.default_rng(0).normal(size=(60, 130))
    for likelihood, columns in ((Gaussian(per_column=False), 5), ("gaussian", 130)):
        imputer = VAEImputer(1, likelihood=likelihood, **QUICK).fit(X[:, :columns])
        assert not imputer.module_.likelihood.has_column_scales
