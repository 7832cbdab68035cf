"""
A VAE in a pipeline, compared with PCA
======================================

:class:`~sklearn_vae.VAETransformer` reduces handwritten digits to a few components, and logistic regression classifies
them. A grid search chooses the number of components and ``beta``, as for any other transformer. The same pipeline with
PCA is the baseline. The figure shows reconstructions, samples, and a plane of two components with the classes.

As a script, this example saves the figure in the folder ``outputs``, or in the folder that the
environment variable ``OUTPUT_DIR`` names.
"""

# %%
# Search
# ------
# scikit-learn has 1797 images of 8 x 8 pixels; a quarter is held out for the test. The two pipelines differ in one
# step. Pixels share one scale and are not standardised; the components are standardised before the classifier. One
# split of the training rows keeps the search short; ``cv=5`` takes five times as long.

# sphinx_gallery_dummy_images=1

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae.displays import LatentSpaceDisplay, LossCurveDisplay, ReconstructionDisplay, SamplesDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

n_components = [2, 4, 8]
cv = StratifiedShuffleSplit(n_splits=1, test_size=0.25, random_state=0)
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

pca_search = GridSearchCV(
    make_pipeline(PCA(random_state=0), classifier),
    {"pca__n_components": n_components},
    cv=cv,
    n_jobs=2,
    refit=False,
).fit(X_train, y_train)

vae_search = GridSearchCV(
    make_pipeline(VAETransformer(random_state=0), classifier),
    {"vaetransformer__n_components": n_components, "vaetransformer__beta": [0.5, 1.0]},
    cv=cv,
    n_jobs=2,
    refit=False,
).fit(X_train, y_train)

# %%
# For each number of components, the search chooses ``beta`` on rows that it holds out. The best pipeline is fitted
# again on all training rows. The table shows accuracies on the test rows.


def best_pipeline(search, step, size):
    """Fit the pipeline with the highest accuracy in the search of those with `size` components."""
    scores = zip(search.cv_results_["mean_test_score"], search.cv_results_["params"], strict=True)
    _, params = max((s for s in scores if s[1][f"{step}__n_components"] == size), key=lambda s: s[0])
    return clone(search.estimator).set_params(**params).fit(X_train, y_train)


vaes = {}
print("accuracy on the digits' test rows")
print(" n_components      PCA      VAE   best beta     gain")
for size in n_components:
    pca_pipeline = best_pipeline(pca_search, "pca", size)
    vae_pipeline = best_pipeline(vae_search, "vaetransformer", size)
    vaes[size] = vae_pipeline["vaetransformer"]
    pca_accuracy, vae_accuracy = pca_pipeline.score(X_test, y_test), vae_pipeline.score(X_test, y_test)
    print(f"{size:13} {pca_accuracy:8.3f} {vae_accuracy:8.3f} {vaes[size].beta:11} {vae_accuracy - pca_accuracy:+8.3f}")

# %%
# Reconstructions, samples and components
# ---------------------------------------
# Reconstructions, samples and the loss curve are those of the largest model; the plane is that of the model with two
# components. The loss is the negative ELBO, and it starts at probabilistic PCA. Held-out rows choose the number of
# steps, and the model is then trained on all training rows for this number of steps.

vae = vaes[n_components[-1]]
originals = X_test[[np.flatnonzero(y_test == digit)[0] for digit in range(10)]]
style = {"image_shape": (8, 8), "image_kwargs": {"cmap": "gray_r"}}

figure, axes = plt.subplot_mosaic(
    [["pairs", "samples"], ["plane", "loss"]], figsize=(11, 6.6), height_ratios=[1, 2.9], layout="constrained"
)
ReconstructionDisplay.from_estimator(vae, originals, ax=axes["pairs"], **style)
axes["pairs"].set_title(f"test images, and from {vae.n_components} components")
SamplesDisplay.from_estimator(vae, X_train, n_samples=20, random_state=0, ax=axes["samples"], **style)
axes["samples"].set_title(f"samples of the model with {vae.n_components} components")
LatentSpaceDisplay.from_estimator(vaes[2], X_test, y_test, components=[0, 1], ax=axes["plane"])
axes["plane"].set_title("test images on two components")
LossCurveDisplay.from_estimator(vae, ax=axes["loss"])
axes["loss"].set(title="loss", ylabel="nats per row")

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "digits_pipeline.png", dpi=110)
