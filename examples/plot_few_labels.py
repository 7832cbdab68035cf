"""
Few labels
==========

:class:`~sklearn_vae.VAEClassifier` also learns from rows with the label -1, like scikit-learn's semi-supervised
estimators. The example compares its accuracy on held-out digits with theirs, and with two classifiers that use the
labelled rows only. The number of labels goes from 10 to all.

As a script, this example saves the figure in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Rows and labels
# ---------------
# Half of the 1797 digits are training rows, half are test rows. The training rows are put in a random order that begins
# with one row of each digit. The first rows keep their label, so every digit has one. The label of the other rows
# becomes -1.

# sphinx_gallery_dummy_images=1

import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from sklearn_vae import VAEClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)


def hide_labels(y, n_labels, seed):
    """Replace all but `n_labels` labels by -1; each class keeps one at least."""
    order = np.random.RandomState(seed).permutation(len(y))
    first = np.unique(y[order], return_index=True)[1]
    order = np.concatenate([order[first], np.delete(order, first)])
    hidden = np.full_like(y, -1)
    hidden[order[:n_labels]] = y[order[:n_labels]]
    return hidden


# %%
# Estimators
# ----------
# `SVC` and `MLPClassifier` accept no unlabelled rows and get the labelled ones. All estimators have their default
# parameters, except that `MLPClassifier` uses an optimiser for small data. `SelfTrainingClassifier` needs probabilities
# and wraps logistic regression.

semi_supervised = {
    "VAEClassifier": lambda: VAEClassifier(random_state=0),
    "LabelSpreading": lambda: LabelSpreading(),
    "SelfTraining(LogisticRegression)": lambda: SelfTrainingClassifier(LogisticRegression(max_iter=1000)),
}
supervised = {
    "SVC": lambda: SVC(),
    "MLPClassifier": lambda: MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0),
}
# With all labels, self-training is plain logistic regression, and scikit-learn warns about it.
warnings.filterwarnings("ignore", message="y contains no unlabeled samples")
sizes = [10, 30, 100, len(y_train)]
n_draws = 2
accuracy = {name: np.zeros((len(sizes), n_draws)) for name in (*semi_supervised, *supervised)}
for i, n_labels in enumerate(sizes):
    for draw in range(n_draws):
        hidden = hide_labels(y_train, n_labels, draw)
        labelled = hidden != -1
        if n_labels == len(y_train) and draw:  # With all labels there is only one draw.
            for values in accuracy.values():
                values[i, draw] = values[i, 0]
            continue
        for name, make in semi_supervised.items():
            accuracy[name][i, draw] = make().fit(X_train, hidden).score(X_test, y_test)
        for name, make in supervised.items():
            accuracy[name][i, draw] = make().fit(X_train[labelled], hidden[labelled]).score(X_test, y_test)

print(f"accuracy on {len(y_test)} test rows: mean (and standard deviation) over {n_draws} draws of labels")
print(f"{'labels':34}" + "".join(f"{n:>14}" for n in sizes))
for name, values in accuracy.items():
    cells = "".join(f"{m:8.3f} ({s:.3f})"[-14:].rjust(14) for m, s in zip(values.mean(1), values.std(1), strict=True))
    print(f"{name:34}" + cells)

# %%
# With 10 labels each digit has one. With 30 labels some digits have several times as many as others. Classifiers with
# strong default regularisation then favour these digits, which can cost more accuracy than the labels add. Lines are
# means; bands reach from the lowest to the highest draw. Two draws give an impression only; for a benchmark see
# :doc:`/benchmarks`.

figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
for (name, values), marker in zip(accuracy.items(), "os^Dv", strict=True):
    (line,) = ax.plot(
        sizes, values.mean(1), marker=marker, label=name, linestyle="-" if name in semi_supervised else "--"
    )
    ax.fill_between(sizes, values.min(1), values.max(1), color=line.get_color(), alpha=0.12, linewidth=0)
ax.set_xscale("log")
ax.set_xticks(sizes, [*map(str, sizes[:-1]), f"all {sizes[-1]}"])
ax.minorticks_off()
ax.set(
    xlabel="labelled training rows",
    ylabel="accuracy on test rows",
    title="digits (solid: semi-supervised; dashed: labelled rows only)",
)
ax.grid(alpha=0.3)
ax.legend(loc="lower right")

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "few_labels.png", dpi=110)
