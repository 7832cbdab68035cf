"""
Images: a search over networks, reconstructions and samples
===========================================================

:class:`~sklearn_vae.ImageFlattener` converts images to rows at the start of a pipeline, and rows to images on the way
back. A grid search chooses between fully connected and convolutional networks by the accuracy of a classifier on the
latent variables. The figures show reconstructions and samples of the chosen model, interpolations between images, and
the effect of each latent variable.

As a script, this example saves the figures in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# A search over networks
# ----------------------
# The images have 8 x 8 pixels. :class:`~sklearn_vae.networks.Conv` gets rows and needs the image shape; the name "conv"
# infers it for square images. A search can combine names and instances of networks. One split keeps the search short;
# ``cv=5`` takes five times as long. The prior "vamp" is a mixture of posteriors; its samples resemble digits more than
# those of one normal distribution.

# sphinx_gallery_dummy_images=4

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import ImageFlattener, VAETransformer
from sklearn_vae.displays import ReconstructionDisplay, SamplesDisplay, TraversalDisplay
from sklearn_vae.networks import Conv

images, y = load_digits().images, load_digits().target
train, test, y_train, y_test = train_test_split(images, y, test_size=0.25, stratify=y, random_state=0)
print(f"training images: {train.shape}")

pipeline = Pipeline(
    [
        ("flatten", ImageFlattener()),
        ("vae", VAETransformer(n_components=8, prior="vamp", random_state=0)),
        ("classify", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
    ]
)
search = GridSearchCV(
    pipeline,
    {"vae__network": ["mlp", Conv(image_shape=(8, 8))]},
    cv=StratifiedShuffleSplit(n_splits=1, test_size=0.25, random_state=0),
).fit(train, y_train)

print("network                      accuracy on the split's held-out images")
for network, accuracy in zip(
    search.cv_results_["param_vae__network"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"{network!s:28} {accuracy:.3f}")
print(f"accuracy on the test images, with the better network: {search.score(test, y_test):.3f}")

# %%
# Reconstructions
# ---------------
# Displays find the model in the pipeline and convert its output to images.

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
ink = {"cmap": "gray_r"}

originals = test[[np.flatnonzero(y_test == digit)[1] for digit in range(10)]]
display = ReconstructionDisplay.from_estimator(search, originals, image_kwargs=ink)
display.figure_.savefig(output / "images_reconstructions.png", dpi=110)

# %%
# Samples
# -------
# `SamplesDisplay` draws latent variables from the prior, and decodes them without the noise of the likelihood.

display = SamplesDisplay.from_estimator(search, train, n_samples=40, random_state=0, image_kwargs=ink)
display.figure_.savefig(output / "images_samples.png", dpi=110)

# %%
# Interpolation between images
# ----------------------------
# Without its last step the pipeline transforms images to latent variables and back. Each point on the straight line
# between the latent variables of two images decodes to an image.

autoencoder = search.best_estimator_[:-1]
pairs = [(0, 6), (4, 9), (3, 5)]
share = np.linspace(0, 1, 10)[:, None]
figure, axes = plt.subplots(len(pairs), 1, figsize=(7, 2.5), layout="constrained")
for ax, (start, end) in zip(axes, pairs, strict=True):
    z_start, z_end = autoencoder.transform(originals[[start, end]])
    between = autoencoder.inverse_transform((1 - share) * z_start + share * z_end)
    ax.imshow(np.hstack(list(between)), cmap="gray_r", vmin=0, vmax=16)
    ax.set(yticks=[3.5], yticklabels=[f"{start} to {end}"], xticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
figure.savefig(output / "images_interpolation.png", dpi=110)

# %%
# The effect of each component
# ----------------------------
# One latent variable at a time varies over the middle 98% of its values. The others stay at those of the first digit 3
# in the training images. The component with the largest `kl_per_component_` comes first.

display = TraversalDisplay.from_estimator(search, train, index=np.argmax(y_train == 3), image_kwargs=ink)
display.figure_.savefig(output / "images_traversals.png", dpi=110)
