"""
Anomaly detection by log-density
================================

The model is trained on the digits 0 to 4 only and tested on all ten. :meth:`~sklearn_vae.VAETransformer.score_samples`,
the log-density of a row, separates the unknown digits 5 to 9 from new digits 0 to 4. Three methods of scikit-learn are
shown for comparison.

As a script, this example saves the figure in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# ROC AUC
# -------
# The area under the ROC curve is the probability that an unknown digit gets a lower score than a known one.

# sphinx_gallery_dummy_images=1

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor

from sklearn_vae import VAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_usual = train_test_split(X[y < 5], test_size=0.3, random_state=0)
X_train, X_threshold = train_test_split(X_train, test_size=0.2, random_state=0)
X_strange, y_strange = X[y >= 5], y[y >= 5]
rows = np.vstack([X_usual, X_strange])
is_usual = np.r_[np.ones(len(X_usual)), np.zeros(len(X_strange))]

models = {
    "VAETransformer": VAETransformer(8, random_state=0),
    "PCA": PCA(8),
    "IsolationForest": IsolationForest(random_state=0),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
}
for name, model in models.items():
    print(f"{name:20} {roc_auc_score(is_usual, model.fit(X_train).score_samples(rows)):.3f}")

# %%
# Threshold
# ---------
# The threshold comes from usual rows that are not in the training set. About one in a hundred of them falls below it.
# For each unknown digit, the share below the threshold shows how well the model detects it.

vae = models["VAETransformer"]
threshold = np.quantile(vae.score_samples(X_threshold), 0.01)
usual, strange = vae.score_samples(X_usual), vae.score_samples(X_strange)
print(f"usual digits below the threshold: {np.mean(usual < threshold):.3f}")
for digit in range(5, 10):
    print(f"digit {digit} below the threshold: {np.mean(strange[y_strange == digit] < threshold):.3f}")


def show(ax, images, title):
    """Draw ten images in a row."""
    tiles = np.pad(images.reshape(-1, 8, 8), [(0, 0), (1, 1), (1, 1)])
    ax.imshow(np.hstack(tiles), cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=[])


figure, axes = plt.subplot_mosaic(
    [["scores"], ["usual"], ["strange"]], figsize=(8, 6), height_ratios=[3, 1, 1], layout="constrained"
)
lowest = np.quantile(strange, 0.02)
bins = np.linspace(lowest, max(usual.max(), strange.max()), 60)
axes["scores"].hist([usual, strange.clip(lowest)], bins, density=True, histtype="stepfilled", alpha=0.6)
axes["scores"].axvline(threshold, color="0.3", linestyle="--")
axes["scores"].set(
    xlabel="log p(x), nats", yticks=[], title="new digits 0 to 4 (blue), digits 5 to 9 (orange), threshold"
)
show(axes["usual"], X_usual[usual.argsort()[:10]], "the least probable digits of 0 to 4")
show(axes["strange"], X_strange[strange.argsort()[-10:]], "the most probable digits of 5 to 9")

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "anomalies.png", dpi=110)
