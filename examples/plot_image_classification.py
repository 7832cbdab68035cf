"""
Image classification with a VAE
===============================

The textbook task in one place. Digits are classified in two ways: in two steps, by logistic regression on the latent
variables of a VAE that has seen no label, and in one step, by :class:`~sklearn_vae.VAEClassifier`, whose encoder
learns to classify and to describe the images at once. Then all but a few labels are taken away. At last both models
show images: reconstructions, and new ones.

Run as a script, it saves the figure in the folder ``outputs``, or in the one that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Unsupervised latents, then a classifier
# ---------------------------------------
# :class:`~sklearn_vae.VAETransformer` is a transformer like `PCA`. It sees the images only.

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
# One encoder feeds a classifier and a decoder. The columns of `transform` are chosen with the labels in view.

joint = VAEClassifier(n_components=16, random_state=0).fit(X_train, y_train)

# %%
# Few labels
# ----------
# Of each digit five training rows keep their label; that of the others becomes -1. In two steps the classifier learns
# from 50 rows, though the VAE has seen all. The joint model also uses what it can guess of the others' labels.

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
# `inverse_transform` decodes latent variables to images; `sample` draws new ones, with the likelihood's noise; with
# ``y`` they are of the digit asked for. The reconstructions of the joint model show what the encoder has kept beside
# the classes. `score_samples` tells images that are not digits from those that are.

originals = X_test[[np.flatnonzero(y_test == digit)[0] for digit in range(10)]]
of_transformer = latents[0].inverse_transform(latents[0].transform(originals))
of_joint = joint.inverse_transform(joint.transform(originals))
X_drawn, _ = joint.sample(y=np.tile(np.arange(10), 3), random_state=0)

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
