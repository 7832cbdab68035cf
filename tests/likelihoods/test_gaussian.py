"""The Gaussian likelihood: its density, and rows with cells that were not observed."""

import numpy as np
import pytest
import torch
from component_cases import GAUSSIANS, N_FEATURES, N_ROWS, binary_rows, generator, normal
from likelihood_modules import fit_optima, started
from naming import shown
from scipy import stats

from sklearn_vae._data.ppca import fit_moments
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._model.gaps import Gaps
from sklearn_vae.likelihoods import Gaussian

over_gaussians = pytest.mark.parametrize("likelihood", GAUSSIANS, ids=shown)


@over_gaussians
@pytest.mark.parametrize("n_coordinates", [None, 2, N_FEATURES])
def test_gaussian_log_prob_equals_scipy(likelihood, n_coordinates):
    if n_coordinates is not None and not likelihood.isotropic:
        assert likelihood.per_column
        return
    X = 300 + 20 * np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)) * np.arange(1, N_FEATURES + 1)
    module, _ = started(likelihood, X, n_coordinates)
    raw = normal(N_ROWS, module.n_outputs)
    log_prob = module.log_prob(module.observe(torch.from_numpy(X)), raw)
    expected = stats.norm(module.mean(raw).numpy(), module.variance.detach().sqrt().numpy()).logpdf(X).sum(1)
    # The axes are kept in float32.
    np.testing.assert_allclose(log_prob.detach().numpy(), expected, rtol=1e-9 if n_coordinates is None else 1e-3)


@over_gaussians
def test_gaussian_closed_form_parameters_of_rows_with_gaps_are_at_their_optimum(likelihood):
    """The observed cells' weighted mean squares, per scale."""
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    mask, weight = torch.rand(X.shape, generator=generator()) < 0.7, torch.linspace(0, 2, N_ROWS).double()
    observed, raw = module.observe(X)._replace(mask=mask), normal(N_ROWS, module.n_outputs)
    for sums in fit_optima(module, observed, raw, weight):
        square, n_cells = (weight[:, None] * mask * (observed.cells - raw).square()), weight[:, None] * mask
        dim = 0 if sums.shape[1] > 1 else (0, 1)
        torch.testing.assert_close(sums, torch.stack([square.sum(dim), n_cells.sum(dim)]).view_as(sums))


def test_gaussian_scores_columns_of_rows_with_gaps_in_principal_coordinates():
    """Without gaps, the columns' density is that of the coordinates and the dropped norm."""
    X = binary_rows()
    module, start = started(Gaussian(per_column=False), X, 2)
    x, raw, gaps = torch.from_numpy(X), normal(N_ROWS, 2), Gaps(X.shape[1], 2)
    gaps.start_at(start)
    mask = torch.ones_like(x, dtype=torch.bool)
    observed = module.observe_incomplete(x, mask, gaps)
    torch.testing.assert_close(module.log_prob(observed, raw), module.log_prob(module.observe(x), raw))
    torch.testing.assert_close(observed.inputs, module.observe(x).inputs)


def test_gaussian_keeps_no_axes_of_an_earlier_start_or_precision():
    """Training converts the principal axes once."""
    X = torch.from_numpy(binary_rows())
    moments, module = fit_moments(DenseRows(X)), Gaussian().build(X.shape[1], 2).train()
    for dtype in (torch.float32, torch.float64):
        module.to(dtype)
        for seed in range(2):
            axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(X.shape[1], 2)))[0]
            module.set_units(moments, axes)
            inputs = module.observe(X).inputs[:, :2]
            torch.testing.assert_close(inputs, ((X - moments.center) / moments.unit @ torch.from_numpy(axes)).to(dtype))
