"""
Displays of a fitted model
==========================

:mod:`sklearn_vae.displays` draws what a fitted model does: how its loss went, where rows are in the latent space, what
comes back of them, what the model draws, and what each component does and carries. The displays are those of
scikit-learn in style: ``from_estimator`` computes and draws, on axes of yours if you give any, and takes an estimator,
a pipeline or a search. Here they draw images, and then a table.

Run as a script, it saves the figures in the folder ``outputs``, or in the one that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Images
# ------
# The pipeline starts from images, so displays know their shape; for rows of pixels give it: ``image_shape=(8, 8)``.
# With two components the latent space is a plane. Below on the right, each image is drawn where its code is: the same
# place as in the plane of points beside it.

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import ImageFlattener, VAEClassifier, VAETransformer
from sklearn_vae.displays import (
    KLDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    TraversalDisplay,
)

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
ink = {"cmap": "gray_r"}

digits = load_digits()
train, test, y_train, y_test = train_test_split(
    digits.images, digits.target, train_size=1000, stratify=digits.target, random_state=0
)
plane = make_pipeline(ImageFlattener(), VAETransformer(n_components=2, max_iter=50, random_state=0)).fit(train)

figure, axes = plt.subplots(2, 2, figsize=(11, 9), height_ratios=[1, 2], layout="constrained")
LossCurveDisplay.from_estimator(plane, ax=axes[0, 0])
ReconstructionDisplay.from_estimator(plane, test[:10], ax=axes[0, 1], image_kwargs=ink)
LatentSpaceDisplay.from_estimator(plane, test, y_test, ax=axes[1, 0])
TraversalDisplay.from_estimator(plane, train, n_steps=15, ax=axes[1, 1], image_kwargs=ink)
titles = ["loss", "test images, and what comes back of them", "codes of test images", "images of codes"]
for ax, title in zip(axes.flat, titles, strict=True):
    ax.set_title(title)
figure.savefig(output / "displays_images.png", dpi=110)

# %%
# More components, and classes
# ----------------------------
# The classifier is told one label in ten. Its latent space has too many components for one plane: the pairs of the four
# most active ones are drawn, with unlabelled rows in grey.

y_few = np.where(np.arange(len(y_train)) % 10 == 0, y_train, -1)
vae = VAEClassifier(n_components=8, max_iter=15, random_state=0)
classifier = make_pipeline(ImageFlattener(), vae).fit(train, y_few)
LatentSpaceDisplay.from_estimator(classifier, train, y_few).figure_.savefig(output / "displays_pairs.png", dpi=110)

# %%
# Samples are drawn class by class. What components do is shown one at a time, from the most active one on: the others
# stay at the code of one image.

samples = SamplesDisplay.from_estimator(classifier, train, random_state=0, image_kwargs=ink)
samples.figure_.savefig(output / "displays_samples.png", dpi=110)
traversal = TraversalDisplay.from_estimator(classifier, train, image_kwargs=ink)
traversal.figure_.savefig(output / "displays_traversal.png", dpi=110)

# %%
# A table
# -------
# Thirteen measurements of wines have different units, so a scaler comes first; displays undo it. Errors of columns
# stand beside that of saying each column's mean for all rows. The traversal shows what a component means: the columns
# that rise (red) and fall (blue) with it.

X, cultivar = load_wine(return_X_y=True, as_frame=True)
wine = make_pipeline(StandardScaler(), VAEClassifier(n_components=4, random_state=0)).fit(X, cultivar)

figure, axes = plt.subplots(2, 2, figsize=(13, 9), width_ratios=[1, 1.2], layout="constrained")
KLDisplay.from_estimator(wine, ax=axes[0, 0])
LatentSpaceDisplay.from_estimator(wine, X, cultivar, components=[0, 1], ax=axes[0, 1])
ReconstructionDisplay.from_estimator(wine, X, ax=axes[1, 0])
TraversalDisplay.from_estimator(wine, X, ax=axes[1, 1])
figure.savefig(output / "displays_table.png", dpi=110)

# %%
# Samples of a table are compared with the data column by column, here within each class.

samples = SamplesDisplay.from_estimator(wine, X, cultivar, random_state=0)
samples.figure_.savefig(output / "displays_table_samples.png", dpi=110)

# %%
# The parts of the loss go their own ways. A classifier's loss is the cross-entropy and more, with a small weight on
# them.

LossCurveDisplay.from_estimator(wine, parts=True).figure_.savefig(output / "displays_loss_parts.png", dpi=110)
