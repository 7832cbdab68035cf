"""
Anomaly detection
=================

A detector is fitted to the digits 0 to 4 only and tested on all ten. :class:`~sklearn_vae.VAEOutlierDetector` separates
the unknown digits 5 to 9 from new digits 0 to 4, and shows which pixels are unusual. The log-density of the model alone
and three methods of scikit-learn are shown for comparison. A second detector finds the unusual measurements of tumours.

As a script, this example saves the figures in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# ROC AUC
# -------
# The area under the ROC curve is the probability that an unknown digit gets a lower score than a known one.

# sphinx_gallery_dummy_images=3

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEOutlierDetector, VAETransformer
from sklearn_vae.displays import ExplanationDisplay

X, y = load_digits(return_X_y=True)
X_train, X_usual = train_test_split(X[y < 5], test_size=0.3, random_state=0)
X_strange, y_strange = X[y >= 5], y[y >= 5]
rows = np.vstack([X_usual, X_strange])
is_usual = np.r_[np.ones(len(X_usual)), np.zeros(len(X_strange))]

models = {
    "VAEOutlierDetector": VAEOutlierDetector(random_state=0),
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
# The threshold is the 1% quantile of the scores of training rows by models that have not seen them. About one in a
# hundred usual digits falls below it. For each unknown digit, the share below the threshold shows how well it is
# detected.

detector = models["VAEOutlierDetector"]
usual, strange = detector.score_samples(X_usual), detector.score_samples(X_strange)
print(f"usual digits below the threshold: {np.mean(usual < detector.offset_):.3f}")
for digit in range(5, 10):
    print(f"digit {digit} below the threshold: {np.mean(strange[y_strange == digit] < detector.offset_):.3f}")


def show(ax, images, title, **style):
    """Draw ten images in a row."""
    tiles = np.pad(images.reshape(-1, 8, 8), [(0, 0), (1, 1), (1, 1)])
    ax.imshow(np.hstack(tiles), **{"cmap": "gray_r", "vmin": 0, "vmax": 16, **style})
    ax.set(title=title, xticks=[], yticks=[])


figure, axes = plt.subplot_mosaic(
    [["scores"], ["usual"], ["strange"]], figsize=(8, 6), height_ratios=[3, 1, 1], layout="constrained"
)
lowest = np.quantile(strange, 0.02)
bins = np.linspace(lowest, max(usual.max(), strange.max()), 60)
axes["scores"].hist([usual, strange.clip(lowest)], bins, density=True, histtype="stepfilled", alpha=0.6)
axes["scores"].axvline(detector.offset_, color="0.3", linestyle="--")
axes["scores"].set(
    xlabel="score: mean log share of training rows that are at least as unusual",
    yticks=[],
    title="new digits 0 to 4 (blue), digits 5 to 9 (orange), threshold",
)
show(axes["usual"], X_usual[usual.argsort()[:10]], "the most unusual digits of 0 to 4")
show(axes["strange"], X_strange[strange.argsort()[-10:]], "the least unusual digits of 5 to 9")

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "anomalies.png", dpi=110)

# %%
# Which pixels are unusual
# ------------------------
# :meth:`~sklearn_vae.VAEOutlierDetector.explain` divides the score of a digit among its pixels. The pixels in which an
# unknown digit differs from the known ones have large parts.

chosen = np.concatenate([np.flatnonzero(y_strange == digit)[:2] for digit in range(5, 10)])
parts = -detector.explain(X_strange[chosen])
figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 2.4), layout="constrained")
show(top, X_strange[chosen], "two of each unknown digit")
show(bottom, parts / parts.max(axis=1, keepdims=True), "parts of the pixels in the score", cmap="Reds", vmax=1)
figure.savefig(output / "anomalies_pixels.png", dpi=110)

# %%
# Which columns are unusual
# -------------------------
# In a table, the columns have names. This detector has seen benign tumours only.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
scaler = StandardScaler().set_output(transform="pandas")
pipeline = make_pipeline(scaler, VAEOutlierDetector(random_state=0)).fit(X[y == 1])
print(f"malignant tumours below the threshold: {np.mean(pipeline.predict(X[y == 0]) == -1):.3f}")
display = ExplanationDisplay.from_estimator(pipeline, X[y == 0], n_rows=12)
display.figure_.savefig(output / "anomalies_columns.png", dpi=110)
