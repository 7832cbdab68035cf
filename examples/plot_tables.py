"""
Pictures of a table
===================

A model of a table with numbers, booleans, categories and gaps is compared with its data, column by column and pair by
pair. Other displays show what its components mean and how well each column is reconstructed.

As a script, this example saves the figures in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# The table
# ---------
# The 442 patients of scikit-learn's diabetes data, with units and categories in place of codes. One cell in twenty is
# removed.

# sphinx_gallery_dummy_images=5

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

from sklearn_vae import VAETransformer
from sklearn_vae.displays import ReconstructionDisplay, SamplesDisplay, TableComparisonDisplay, TraversalDisplay

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)

diabetes = load_diabetes(as_frame=True, scaled=False)
raw = diabetes.data
weights = pd.cut(raw["bmi"], [0, 25, 30, 100], labels=["normal", "overweight", "obese"])
X = pd.DataFrame(
    {
        "age": raw["age"].astype("Int64"),
        "sex": raw["sex"].map({1: "A", 2: "B"}),
        "weight": weights,
        "high pressure": (raw["bp"] > 100).astype("boolean"),
        "cholesterol": raw["s1"],
        "HDL": raw["s3"],
        "log triglycerides": raw["s5"],
        "glucose": raw["s6"].astype("Int64"),
        "progression": diabetes.target.astype("Int64"),
    }
)
X = X.mask(np.random.RandomState(0).uniform(size=X.shape) < 0.05)
print(X.head().to_string())

# %%
# A comparison with samples
# -------------------------
# The model draws as many rows as the table has. Grey is the data, blue the samples. The number above a panel is the
# distance of the two distributions, from 0 to 1. The heat maps below show how strongly each pair of columns depends on
# each other, from 0 to 1, in the data and in the samples.

vae = VAETransformer(n_components=4, hidden_layer_sizes=(64,), max_iter=40, random_state=0).fit(X)
comparison = TableComparisonDisplay.from_estimator(vae, X, random_state=0)
comparison.figure_.savefig(output / "tables_comparison.png", dpi=110)

# %%
# Columns that are shuffled one by one have the same distributions, and no dependence. Only the heat maps show
# the difference.

rng = np.random.RandomState(0)
shuffled = X.apply(lambda column: column.sample(frac=1, random_state=rng).reset_index(drop=True))
independent = TableComparisonDisplay.from_frames(X, shuffled, kind="pairs")
independent.figure_.savefig(output / "tables_shuffled.png", dpi=110)

below = np.tril_indices(len(X.columns), -1)
for name, display in {"samples": comparison, "shuffled columns": independent}.items():
    distance = np.mean([column.distance for column in display.columns])
    change = np.abs(display.associations_sampled - display.associations)[below].mean()
    print(f"{name:16}  mean distance of columns {distance:.2f}, mean change of associations {change:.2f}")

# %%
# What the components mean
# ------------------------
# Each component goes from its 1st to its 99th percentile. Numbers become larger (red) or smaller (blue). Booleans and
# categories have probabilities.

traversal = TraversalDisplay.from_estimator(vae, X)
traversal.figure_.savefig(output / "tables_traversal.png", dpi=110)

# %%
# What is reconstructed
# ---------------------
# Four numbers cannot hold nine columns. At 1 the reconstruction is no better than the mean of a column, or the shares
# of its categories.

reconstruction = ReconstructionDisplay.from_estimator(vae, X)
reconstruction.figure_.savefig(output / "tables_reconstruction.png", dpi=110)

# %%
# All columns in one picture
# --------------------------
# Boxes of numbers and shares of categories:

samples = SamplesDisplay.from_estimator(vae, X, random_state=0)
samples.figure_.savefig(output / "tables_samples.png", dpi=110)

plt.show()
