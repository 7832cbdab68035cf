"""
Missing pixels and missing cells
================================

A third of the pixels of digits are removed. :class:`~sklearn_vae.VAEImputer` fills them with their means given the
remaining pixels. A data frame with missing cells of several kinds is filled in the same way.

As a script, this example saves the figures in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Error of the missing pixels
# ---------------------------
# The root mean squared error, in grey levels from 0 to 16, beside two imputers of scikit-learn.

# sphinx_gallery_dummy_images=2

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, load_wine
from sklearn.impute import KNNImputer, SimpleImputer

from sklearn_vae import VAEImputer

X = load_digits().data
missing = np.random.RandomState(0).uniform(size=X.shape) < 1 / 3
X_missing = np.where(missing, np.nan, X)
imputers = {
    "VAEImputer": VAEImputer(random_state=0),
    "KNNImputer": KNNImputer(),
    "SimpleImputer": SimpleImputer(keep_empty_features=True),
}
filled = {name: imputer.fit_transform(X_missing) for name, imputer in imputers.items()}
for name, rows in filled.items():
    print(f"{name:14} {np.sqrt(np.square(rows - X)[missing].mean()):.2f}")

# %%
# Pictures
# --------
# Missing pixels are red.

shown = {"original": X, "a third missing": X_missing} | filled
colors = plt.get_cmap("gray_r").with_extremes(bad="tab:red")
fig, axes = plt.subplots(len(shown), 10, figsize=(8, 4.4), layout="constrained")
for line, (name, rows) in zip(axes, shown.items(), strict=True):
    for ax, row in zip(line, rows, strict=False):
        ax.imshow(np.ma.masked_invalid(row.reshape(8, 8)), cmap=colors, vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")

folder = Path(os.environ.get("OUTPUT_DIR", "outputs"))
folder.mkdir(parents=True, exist_ok=True)
fig.savefig(folder / "missing_cells.png", dpi=150)

# %%
# A table
# -------
# The frame has numbers, integers and categories. It comes back with the same dtypes.

wine = load_wine(as_frame=True)
table = wine.data[["alcohol", "color_intensity", "flavanoids"]].assign(
    proline=wine.data["proline"].astype("Int64"),
    cultivar=pd.Categorical.from_codes(wine.target, ["barolo", "grignolino", "barbera"]),
)
gaps = np.random.RandomState(0).uniform(size=table.shape) < 0.2
table_filled = VAEImputer(random_state=0).fit_transform(table.mask(gaps))
print(table_filled.dtypes.to_string())
correct = (table_filled["cultivar"] == table["cultivar"])[gaps[:, 4]]
print(f"cultivars imputed correctly: {correct.mean():.2f}")

# %%
# Imputed cells are blue, with the true value in brackets.

rows = np.random.RandomState(1).permutation(len(table))[:9]


def texts(frame):
    """Return the cells of some rows as strings."""
    return frame.iloc[rows].map(lambda cell: f"{cell:.2f}" if isinstance(cell, float) else str(cell)).to_numpy(object)


imputed, true = texts(table_filled), texts(table)
fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.axis("off")
drawn = ax.table(
    np.where(gaps[rows], imputed + " (" + true + ")", imputed),
    np.where(gaps[rows], "lightblue", "white"),
    cellLoc="center",
    colLabels=table.columns,
    bbox=(0, 0, 1, 1),
)
for cell in drawn.get_celld().values():
    cell.set(edgecolor="0.8", fontsize=10)
fig.savefig(folder / "missing_cells_table.png", dpi=110)
