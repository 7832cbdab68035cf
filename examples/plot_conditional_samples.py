"""
Samples of a given class
========================

:class:`~sklearn_vae.VAEClassifier` draws rows of a given class. The first part draws digits of each class. The second
part adds samples to a training set in which one class is rare. Two other classifiers are trained on the extended set
and, for comparison, on the original set with and without ``class_weight="balanced"``.

As a script, this example saves the figure in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Samples of each class
# ---------------------
# ``sample`` takes a class, an array of classes, or nothing, and returns rows and their classes. After training, a
# mixture of Gaussians is fitted to the latent variables of each class. A sample decodes a draw from this mixture and
# adds the noise of the likelihood. ``inverse_transform`` returns images without noise.

# sphinx_gallery_dummy_images=1

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier
from sklearn_vae.displays import SamplesDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

vae = VAEClassifier(random_state=0).fit(X_train, y_train)

judge = RandomForestClassifier(random_state=0).fit(X_test, y_test)
X_many, y_many = vae.sample(2000, random_state=1)
print(
    f"a random forest trained on the other half of the real rows agrees with the requested class of "
    f"{judge.score(X_many, y_many):.3f} of 2000 samples, and with the label of {judge.score(X_train, y_train):.3f} "
    "of the real training rows"
)

# %%
# A rare class
# ------------
# The training set keeps eight rows of one digit and all rows of the others. :class:`~sklearn_vae.VAEClassifier` is
# fitted to these rows and draws as many rows of the rare digit as were removed. The test rows do not change. Two digits
# are rare in turn, each with two random choices of the eight rows.

N_KEPT = 8
classifiers = {
    "logistic regression": lambda **kw: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, **kw)),
    "random forest": lambda **kw: RandomForestClassifier(random_state=0, **kw),
}
scores = {(name, way): [] for name in classifiers for way in ("plain", "class_weight", "with samples")}
for rare in (3, 8):
    for seed in range(2):
        of_rare = np.random.RandomState(seed).permutation(np.flatnonzero(y_train == rare))
        kept = np.setdiff1d(np.arange(len(y_train)), of_rare[N_KEPT:])
        X_few, y_few = X_train[kept], y_train[kept]
        model = VAEClassifier(random_state=seed).fit(X_few, y_few)
        X_new, y_new = model.sample(len(of_rare) - N_KEPT, y=rare, random_state=seed)
        for name, make in classifiers.items():
            fitted = {
                "plain": make().fit(X_few, y_few),
                "class_weight": make(class_weight="balanced").fit(X_few, y_few),
                "with samples": make().fit(np.vstack([X_few, X_new]), np.concatenate([y_few, y_new])),
            }
            for way, classifier in fitted.items():
                predicted = classifier.predict(X_test)
                recall = recall_score(y_test, predicted, labels=[rare], average="macro")
                scores[name, way].append((balanced_accuracy_score(y_test, predicted), recall))

print(f"\n{N_KEPT} rows of a rare digit: means over {len(scores['random forest', 'plain'])} runs")
print(f"{'':20} {'':13} balanced accuracy   recall of the rare digit")
for (name, way), values in scores.items():
    accuracy, recall = np.mean(values, axis=0)
    print(f"{name:20} {way:13} {accuracy:17.3f} {recall:26.3f}")

# %%
# Samples contain no more information about a class than the model has learnt from its few rows and from the other
# classes. Where samples gain little over ``class_weight="balanced"``, prefer the weights, because they need no second
# model. The result depends on the classifier, so compare both on your data.

figure, axes = plt.subplot_mosaic([["grid", "recall"]], figsize=(11, 4.6), width_ratios=[1, 1.25], layout="constrained")
SamplesDisplay.from_estimator(
    vae, X, image_shape=(8, 8), random_state=0, ax=axes["grid"], image_kwargs={"cmap": "gray_r"}
)
axes["grid"].set_title("samples of each class")

ways = {"plain": "C7", "class_weight": "C0", "with samples": "C1"}
for i, name in enumerate(classifiers):
    for j, (way, color) in enumerate(ways.items()):
        recalls = np.array(scores[name, way])[:, 1]
        at = i + 0.27 * (j - 1)
        axes["recall"].bar(at, recalls.mean(), width=0.24, color=color, alpha=0.6, label=way if i == 0 else None)
        axes["recall"].plot(np.full(len(recalls), at), recalls, "o", color=color, markersize=4)
axes["recall"].set(
    title=f"recall of a digit with {N_KEPT} training rows",
    xticks=range(len(classifiers)),
    xticklabels=list(classifiers),
    ylabel="recall on test rows (bars: means; dots: runs)",
    ylim=(0, 1),
)
axes["recall"].legend(loc="upper right")

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "conditional_samples.png", dpi=110)
