"""Imputers that `imputation.py` compares. miceforest is optional: `pip install --no-deps miceforest lightgbm==4.4.0`.

Each has `fit_transform` and `transform`, as scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from sklearn_vae import VAEImputer

OURS = "VAEImputer"
N_TREES = 20
N_ROUNDS = 5  # rounds over the columns of the imputers with trees
N_IMPUTATIONS, N_MICE_ROUNDS = 5, 2  # miceforest's imputations, of which the mean is taken, and its rounds


class MiceForest:
    """Means of several imputations by miceforest: draws by chained equations with gradient boosting."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit_transform(self, X: np.ndarray) -> np.ndarray:
        """Fit and fill the training rows."""
        from miceforest import ImputationKernel

        self._kernel = ImputationKernel(
            self._frame(X), num_datasets=N_IMPUTATIONS, random_state=self.seed, save_all_iterations_data=True
        )
        self._kernel.mice(N_MICE_ROUNDS, num_threads=1)
        return self._mean(self._kernel)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Fill other rows."""
        return self._mean(self._kernel.impute_new_data(self._frame(X), random_state=self.seed))

    def _frame(self, X: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])

    def _mean(self, imputed: Any) -> np.ndarray:
        return np.mean([imputed.complete_data(i).to_numpy() for i in range(N_IMPUTATIONS)], axis=0)


def forests(forest: Any, seed: int) -> IterativeImputer:
    """Return an imputer that predicts each column by a forest, as missForest does (Stekhoven and Buehlmann 2012)."""
    return IterativeImputer(forest, max_iter=N_ROUNDS, random_state=seed)


# Functions of the seed and of parameters for VAEImputer. Random forests try the square root of the number of columns
# at each split, as missForest does.
IMPUTERS: dict[str, Callable[[int, dict], Any]] = {
    OURS: lambda seed, params: VAEImputer(random_state=seed, **params),
    "mean": lambda seed, params: SimpleImputer(),
    "median": lambda seed, params: SimpleImputer(strategy="median"),
    "kNN": lambda seed, params: KNNImputer(),
    "ridge": lambda seed, params: IterativeImputer(max_iter=20, random_state=seed),
    "missForest": lambda seed, params: forests(
        RandomForestRegressor(N_TREES, max_features="sqrt", random_state=seed), seed
    ),
    "extra trees": lambda seed, params: forests(ExtraTreesRegressor(N_TREES, random_state=seed), seed),
}
if find_spec("miceforest"):
    IMPUTERS["miceforest"] = lambda seed, params: MiceForest(seed)
