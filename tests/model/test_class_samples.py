"""Rows of given classes: their densities, known limits, and what the weights are for."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from small_estimators import small_classifier

from sklearn_vae._model.class_samples import sample_of_classes


class Toy:
    """Stands for a model and its inference: z|y is N(-1, 1) or N(1, 1), x is z, and p(y = 1|x) is sigmoid(slope x)."""

    class_mixture = None
    width = 1024

    def __init__(self, slope):
        self.slope, self.model = slope, self
        self.class_mixture = self

    def sample(self, y_or_z, generator):
        if y_or_z.ndim == 2:
            return y_or_z.numpy()
        noise = torch.randn(len(y_or_z), 1, generator=generator, dtype=torch.float64)
        return 2.0 * y_or_z[:, None] - 1 + noise

    def log_proba(self, z):
        return self.of_logit(2 * z)

    def map(self, function, X):
        return self.of_logit(torch.from_numpy(self.slope * X)).numpy()

    @staticmethod
    def of_logit(logit):
        return torch.cat([torch.zeros_like(logit), logit], dim=1).log_softmax(-1)


def drawn(slope, n, n_samples=20_000):
    return sample_of_classes(Toy(slope), torch.ones(n_samples).long(), torch.Generator().manual_seed(0), n)[:, 0]


@pytest.mark.parametrize("n", [1, 8])
def test_classifier_that_equals_the_mixture_changes_nothing(n):
    x = drawn(2.0, n)
    assert x.mean() == pytest.approx(1, abs=0.03) and x.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("slope", [0.7, 6.0])
def test_rows_have_the_density_of_the_mixture_and_the_classifier(slope):
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * (grid - 1) ** 2) + np.exp(-0.5 * (grid + 1) ** 2)
    density /= 1 + np.exp(-slope * grid)
    expected = np.average(np.c_[grid, grid**2], axis=0, weights=density)
    x = drawn(slope, 200, 4000)
    np.testing.assert_allclose([x.mean(), np.square(x).mean()], expected, atol=0.1)


def test_classes_of_drawn_rows_are_as_sure_as_those_of_real_rows():
    X, y = make_classification(600, 10, n_informative=6, class_sep=1.0, random_state=0)
    vae = small_classifier(2, max_iter=40).fit(X, y)
    model = vae._fitted_model
    logistic = LogisticRegression().fit(X, y)
    index = torch.from_numpy(y)
    with torch.inference_mode():
        rows = [sample_of_classes(model.inference, index, torch.Generator().manual_seed(0), n) for n in (1, 8)]
    before, after, real = (log_loss(y, logistic.predict_proba(x)) for x in (*rows, X))
    assert abs(after - real) < 0.5 * abs(before - real)
