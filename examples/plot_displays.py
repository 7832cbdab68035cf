"""
Displays of a fitted model
==========================

``sklearn_vae.displays`` draws the loss curve of a fitted model, its latent space, reconstructions, samples,
traversals and the KL per component. The displays follow scikit-learn's: ``from_estimator`` takes an estimator, a
pipeline or a search, computes the data and draws them, on your axes if you give any. This example draws images and then
a table.

As a script, this example saves the figures in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Images
# ------
# The pipeline starts with images, so the displays know their shape. For rows of pixels, pass ``image_shape=(8, 8)``.
# The first display is the loss.

# sphinx_gallery_dummy_images=12

import os
from pathlib import Path

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
plane = make_pipeline(ImageFlattener(), VAETransformer(n_components=2, random_state=0)).fit(train)
loss = LossCurveDisplay.from_estimator(plane)
loss.figure_.savefig(output / "displays_loss.png", dpi=110)

# %%
# Test images are above their reconstructions from two numbers.

pairs = ReconstructionDisplay.from_estimator(plane, test[:10], image_kwargs=ink)
pairs.figure_.savefig(output / "displays_reconstructions.png", dpi=110)

# %%
# With two components the latent space is a plane. The grid has decoded images at their positions in this plane.

latents = LatentSpaceDisplay.from_estimator(plane, test, y_test)
latents.figure_.savefig(output / "displays_map.png", dpi=110)

# %%

grid = TraversalDisplay.from_estimator(plane, train, n_steps=15, image_kwargs=ink)
grid.figure_.savefig(output / "displays_grid.png", dpi=110)

# %%
# More components, and classes
# ----------------------------
# The classifier gets one label in ten. Its latent space has eight components: the display draws the four most active
# ones in pairs, with unlabelled rows in grey.

y_few = np.where(np.arange(len(y_train)) % 10 == 0, y_train, -1)
vae = VAEClassifier(n_components=8, max_iter=15, random_state=0)
classifier = make_pipeline(ImageFlattener(), vae).fit(train, y_few)
LatentSpaceDisplay.from_estimator(classifier, train, y_few).figure_.savefig(output / "displays_pairs.png", dpi=110)

# %%
# Samples are drawn for each class. The traversal varies one component at a time, the most active one first. The other
# components stay at the values of one image.

samples = SamplesDisplay.from_estimator(classifier, train, random_state=0, image_kwargs=ink)
samples.figure_.savefig(output / "displays_samples.png", dpi=110)
traversal = TraversalDisplay.from_estimator(classifier, train, image_kwargs=ink)
traversal.figure_.savefig(output / "displays_traversal.png", dpi=110)

# %%
# A table
# -------
# Thirteen measurements of wines have different units, so a scaler comes first; the displays invert it. The first figure
# has the KL divergence of each component, in nats.

X, cultivar = load_wine(return_X_y=True, as_frame=True)
wine = make_pipeline(StandardScaler(), VAEClassifier(n_components=4, random_state=0)).fit(X, cultivar)

activity = KLDisplay.from_estimator(wine)
activity.figure_.savefig(output / "displays_activity.png", dpi=110)

# %%
# The reconstruction error of each column is relative to the error of the column's mean.

errors = ReconstructionDisplay.from_estimator(wine, X)
errors.figure_.savefig(output / "displays_table_errors.png", dpi=110)

# %%
# The traversal shows which columns rise (red) and fall (blue) with a component.

traversal = TraversalDisplay.from_estimator(wine, X)
traversal.figure_.savefig(output / "displays_table_traversal.png", dpi=110)

# %%
# Samples of a table are compared with the data by column, here within each class.

samples = SamplesDisplay.from_estimator(wine, X, cultivar, random_state=0)
samples.figure_.savefig(output / "displays_table_samples.png", dpi=110)

# %%
# The parts of the loss have separate panels. A classifier's loss is the cross-entropy and further terms; these parts
# have a small weight in it.

LossCurveDisplay.from_estimator(wine, parts=True).figure_.savefig(output / "displays_loss_parts.png", dpi=110)
