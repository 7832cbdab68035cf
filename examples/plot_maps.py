"""
Maps: two components that keep neighbourhoods
=============================================

``objective="neighbors"`` makes a map of the data, like t-SNE and UMAP: rows that are neighbours stay neighbours. The
map is still that of a variational autoencoder. Its points decode to images, and new rows are placed on it by one pass
through the encoder.

As a script, this example saves the figures in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Maps of handwritten digits
# --------------------------
# All methods get the same images without their labels. Colours and names show the labels afterwards. The number above a
# map is the accuracy of five nearest neighbours: test images that the method places on the map get the majority label
# of the five nearest training images. t-SNE has no place for new images. UMAP is drawn if the package umap-learn is
# installed.

# sphinx_gallery_dummy_images=4

import os
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_vae import ImageFlattener, VAETransformer
from sklearn_vae.displays import LatentSpaceDisplay, TraversalDisplay

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)

digits = load_digits()
train, test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
)

methods = {"PCA": PCA(2), "VAETransformer, default": VAETransformer(2, random_state=0), "t-SNE": TSNE(random_state=0)}
if find_spec("umap"):
    with warnings.catch_warnings(action="ignore"):  # That it has no TensorFlow.
        umap = import_module("umap")
    methods["UMAP"] = umap.UMAP(random_state=0, n_jobs=1)
methods['objective="neighbors"'] = VAETransformer(2, objective="neighbors", random_state=0)

figure, axes = plt.subplots(1, len(methods), figsize=(2.6 * len(methods), 3.2), layout="compressed")
for ax, (name, method) in zip(axes, methods.items(), strict=True):
    pipeline = make_pipeline(ImageFlattener(), method)
    Z = pipeline.fit_transform(train)
    accuracy = "no new images"
    if hasattr(method, "transform"):
        vote = KNeighborsClassifier(5).fit(Z, y_train)
        accuracy = f"5-NN of new images: {vote.score(pipeline.transform(test), y_test):.1%}"
    LatentSpaceDisplay.from_predictions(Z, y_train, ax=ax, label_classes=True, equal_aspect=True)
    ax.set_title(f"{name}\n{accuracy}", fontsize="medium")
    ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    print(f"{name:24} {accuracy}")
figure.savefig(output / "maps_methods.png", dpi=110)

# %%
# From one class to another
# -------------------------
# Contours behind the points show the density of the training images. The path goes straight from the middle of one
# class to that of another; decoded images beside it show what the model expects in between.

maps = pipeline  # The last one, with objective="neighbors".
ink = {"cmap": "gray_r"}
small = {"s": 6}
display = LatentSpaceDisplay.from_estimator(
    maps, train, y_train, density=True, label_classes=True, scatter_kwargs=small
)
ends = [np.median(Z[y_train == digit], axis=0) for digit in (0, 4)]
TraversalDisplay.from_estimator(maps, train, path=ends, n_steps=10, ax=display.ax_, image_kwargs=ink)
display.figure_.savefig(output / "maps_path.png", dpi=110)

# %%
# The whole map, decoded
# ----------------------
# Each image is at the position of its code, also where there are no training images.

grid = TraversalDisplay.from_estimator(maps, train, n_steps=16, image_kwargs=ink)
grid.figure_.savefig(output / "maps_grid.png", dpi=110)

# %%
# New images
# ----------
# Test images are placed on the map of the training images, which are grey.

start = perf_counter()
Z_test = maps.transform(test)
seconds = perf_counter() - start
print(f"{len(test)} new images in {1000 * seconds:.1f} ms: {1e6 * seconds / len(test):.0f} microseconds per image")

display = LatentSpaceDisplay.from_estimator(maps, train, scatter_kwargs={"color": "0.85"})
new = {"edgecolors": "black", "linewidths": 0.4, "s": 16}
LatentSpaceDisplay.from_estimator(maps, test, y_test, ax=display.ax_, label_classes=True, scatter_kwargs=new)
display.figure_.savefig(output / "maps_new_rows.png", dpi=110)
