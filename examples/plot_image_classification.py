"""
Image classification with a VAE
===============================

This example classifies digits in two ways. The first has two steps: logistic regression on the latent variables of a
VAE that is trained without labels. The second is :class:`~sklearn_vae.VAEClassifier`, whose encoder learns to classify
and to model the images together. The comparison is repeated with few labels. Finally both models reconstruct images,
and the classifier draws new ones.

As a script, this example saves the figure in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Unsupervised components, then a classifier
# ------------------------------------------
# :class:`~sklearn_vae.VAETransformer` is a transformer like `PCA`. It uses the images only.

# sphinx_gallery_dummy_images=1

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier, VAETransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)


def two_steps(reduce):
    """Return a pipeline that reduces the images and classifies what is left."""
    return make_pipeline(reduce, StandardScaler(), LogisticRegression(max_iter=1000))


latents = two_steps(VAETransformer(n_components=16, random_state=0)).fit(X_train, y_train)
components = two_steps(PCA(n_components=16, random_state=0)).fit(X_train, y_train)

# %%
# The joint model
# ---------------
# The classifier and the decoder share one encoder. The labels influence the components that `transform` returns.

joint = VAEClassifier(n_components=16, random_state=0).fit(X_train, y_train)

# %%
# Few labels
# ----------
# Five training rows of each digit keep their label; the label of the others becomes -1. In the two-step method the VAE
# uses all rows, and logistic regression the 50 labelled rows. The joint model also uses pseudo-labels of the other
# rows.

labelled = np.concatenate([np.flatnonzero(y_train == digit)[:5] for digit in range(10)])
y_few = np.full_like(y_train, -1)
y_few[labelled] = y_train[labelled]

few_raw = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X_train[labelled], y_train[labelled])
Z_train = latents[0].transform(X_train[labelled])
few_latents = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(Z_train, y_train[labelled])
few_joint = VAEClassifier(n_components=16, random_state=0).fit(X_train, y_few)

Z_test = latents[0].transform(X_test)
results = {
    "all labels": {
        "PCA, logistic regression": components.predict_proba(X_test),
        "VAE latents, logistic regression": latents.predict_proba(X_test),
        "VAEClassifier": joint.predict_proba(X_test),
    },
    "50 labels": {
        "logistic regression on pixels": few_raw.predict_proba(X_test),
        "VAE latents, logistic regression": few_latents.predict_proba(Z_test),
        "VAEClassifier": few_joint.predict_proba(X_test),
    },
}
print(f"{'':10} {'':34} accuracy  log loss, on {len(y_test)} test images")
for labels, rows in results.items():
    for name, p in rows.items():
        print(f"{labels:10} {name:34} {np.mean(p.argmax(1) == y_test):8.3f} {log_loss(y_test, p):9.3f}")

# %%
# Images
# ------
# `inverse_transform` decodes latent variables to images. `sample` draws new images, here without the noise of pixels;
# with ``y`` they are images of the given digit. The reconstructions of the joint model show the information in its
# components beyond the class. `score_samples` separates digits from other images.

originals = X_test[[np.flatnonzero(y_test == digit)[0] for digit in range(10)]]
of_transformer = latents[0].inverse_transform(latents[0].transform(originals))
of_joint = joint.inverse_transform(joint.transform(originals))
X_drawn, _ = joint.sample(y=np.tile(np.arange(10), 3), random_state=0, noise=False)

shuffled = np.random.default_rng(0).permuted(X_test, axis=1)
margin = np.median(joint.score_samples(X_test)) - np.median(joint.score_samples(shuffled))
print(f"median log-likelihood of test images: {margin:.0f} nats above that of the same images with pixels shuffled")


def show(ax, rows, title, labels=()):
    """Draw images in rows of ten."""
    tiles = np.pad(rows.reshape(-1, 10, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
    ax.imshow(tiles.transpose(0, 2, 1, 3).reshape(-1, 100), cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=title, xticks=[], yticks=np.arange(len(labels)) * 10 + 4.5, yticklabels=labels)
    ax.tick_params(length=0)


figure, axes = plt.subplot_mosaic(
    [["bars", "pairs"], ["bars", "samples"]], figsize=(12, 4.2), width_ratios=[1, 1.3], layout="constrained"
)
names = [(labels, name) for labels, rows in results.items() for name in rows]
values = [np.mean(results[labels][name].argmax(1) == y_test) for labels, name in names]
position = np.array([0, 1, 2, 3.6, 4.6, 5.6])
colors = ["C1" if name == "VAEClassifier" else "C0" if name.startswith("VAE") else "C7" for _, name in names]
bars = axes["bars"].barh(position, values, color=colors)
axes["bars"].bar_label(bars, fmt="%.3f", padding=3)
axes["bars"].set(
    title="accuracy on test images", xlim=(0, 1.18), yticks=position, yticklabels=[f"{n}\n{k}" for k, n in names]
)
axes["bars"].invert_yaxis()
show(
    axes["pairs"],
    np.vstack([originals, of_transformer, of_joint]),
    "test images and reconstructions from 16 components",
    ["image", "VAETransformer", "VAEClassifier"],
)
show(axes["samples"], X_drawn, "samples of VAEClassifier, one column for each digit")

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "image_classification.png", dpi=110)
