"""
Images: a search over networks, and what the model draws
========================================================

Images go into a pipeline as they are: :class:`~sklearn_vae.ImageFlattener` makes rows of them, and images of rows on
the way back. A grid search chooses between fully connected and convolutional networks by what a classifier makes of
the latent variables. The model that it chose then shows images: reconstructions, samples, the way from one image to
another, and what each latent variable does.

Run as a script, it saves the figures in the folder ``outputs``, or in the one that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# A search over networks
# ----------------------
# The images have 8 x 8 pixels. :class:`~sklearn_vae.networks.Conv` sees rows, and gets their shape (of square images
# "conv" finds it); networks are parameters as others are, and a name or an instance will do. One split keeps the
# search short; ``cv=5`` would take five times as long. The prior "vamp" is a mixture of posteriors; its
# samples look more like digits than those of one normal distribution do.

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
print(f"on the test images, with the better one: {search.score(test, y_test):.3f}")

# %%
# Reconstructions
# ---------------
# Without its last step the pipeline goes from images to latent variables, and back to images.

autoencoder = search.best_estimator_[:-1]
flatten, vae = autoencoder["flatten"], autoencoder["vae"]

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)


def draw(rows, title, name, labels=()):
    """Draw rows of images, one beside the other, and save the figure."""
    n_rows, n_columns = rows.shape[:2]
    tiles = np.pad(rows, [(0, 0), (0, 0), (1, 1), (1, 1)]).transpose(0, 2, 1, 3)
    figure, ax = plt.subplots(figsize=(0.62 * n_columns + 1.4, 0.62 * n_rows + 0.5), layout="constrained")
    ax.imshow(tiles.reshape(10 * n_rows, -1), cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=10 * np.arange(len(labels)) + 4.5, yticklabels=labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    figure.savefig(output / f"{name}.png", dpi=110)


originals = test[[np.flatnonzero(y_test == digit)[1] for digit in range(10)]]
reconstructions = autoencoder.inverse_transform(autoencoder.transform(originals))
draw(
    np.stack([originals, reconstructions]),
    f"test images, and from {vae.n_components} components",
    "images_reconstructions",
    ["image", "reconstruction"],
)

# %%
# Samples
# -------
# Latent variables from the prior decode to new images; `sample` adds the likelihood's noise.

samples = flatten.inverse_transform(vae.sample(40, random_state=0))
draw(samples.reshape(4, 10, 8, 8), "samples", "images_samples")

# %%
# From one image to another
# -------------------------
# On the straight line between two images' latent variables, every point decodes to an image.

pairs = [(originals[0], originals[6]), (originals[4], originals[9]), (originals[3], originals[5])]
share = np.linspace(0, 1, 10)[:, None]
rows = []
for pair in pairs:
    z_start, z_end = autoencoder.transform(np.stack(pair))
    rows.append(autoencoder.inverse_transform((1 - share) * z_start + share * z_end))
draw(
    np.stack(rows),
    "from one image to another",
    "images_interpolation",
    ["0 to 6", "4 to 9", "3 to 5"],
)

# %%
# What each component does
# ------------------------
# One latent variable at a time goes through the middle 98% of its values, and the others stay those of one image.
# `kl_per_component_` says how much each carries; the six that carry most are shown.

z, latents = autoencoder.transform(originals[3:4]), autoencoder.transform(train)
most = np.argsort(-vae.kl_per_component_)[:6]
codes = np.repeat(z, len(most) * 11, axis=0).reshape(len(most), 11, -1)
for row, component in zip(codes, most, strict=True):
    row[:, component] = np.linspace(*np.percentile(latents[:, component], [1, 99]), 11)
traversals = autoencoder.inverse_transform(codes.reshape(-1, vae.n_components)).reshape(len(most), -1, 8, 8)
draw(
    traversals,
    "one component over its range",
    "images_traversals",
    [f"component {component}, {vae.kl_per_component_[component]:.1f} nats" for component in most],
)
