"""Draw the figures of the benchmarks page from the CSVs in results/.

python docs/benchmarks/plot_results.py
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
FIGURES = Path(__file__).parents[1] / "_static" / "benchmarks"
OURS = "VAEClassifier"
N_DIGITS = 1257  # Training rows of digits: what "all" labels are.


def read(name: str) -> pd.DataFrame:
    """Read the results of a script."""
    return pd.read_csv(RESULTS / f"{name}.csv", comment="#")


def gain_over_pca() -> plt.Figure:
    """Draw accuracy and log-likelihood less those of PCA, against the number of components."""
    panel = read("panel")
    panel["accuracy"], panel["likelihood"] = panel.vae - panel.pca, panel.vae_score - panel.pca_score
    panel = panel.replace([np.inf, -np.inf], np.nan)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for (name, rows), color in zip(panel.groupby("set"), plt.get_cmap("tab20").colors, strict=False):
        means = rows.groupby("n_components")[["accuracy", "likelihood"]].mean()
        axes[0].plot(means.index, means.accuracy, "o-", color=color, label=name)
        axes[1].plot(means.index, means.likelihood, "o-", color=color)
    for ax in axes:
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.set_xscale("log", base=2)
        ax.set(xlabel="components", xticks=[2, 4, 8, 16, 32], xticklabels=[2, 4, 8, 16, 32])
    axes[0].set(title="accuracy less PCA's")
    axes[1].set(title="held-out log p(x) less PCA's, nats per row", yscale="symlog")
    axes[0].legend(fontsize="small")
    return figure


def few_labels() -> plt.Figure:
    """Draw the error on digits, and the accuracy on nine tables, against the share of labels."""
    digits, tables = read("few_labels_digits"), read("tabular")
    digits["n_labels"] = digits["labels"].replace("all", N_DIGITS).astype(int)
    digits["error"] = 100 * (1 - digits.accuracy)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    tables["setting"] = tables.setting.replace("full", "all")
    tables["classifier"] = tables.classifier.replace("labels only", f"{OURS}, labelled rows only")
    names = sorted(set(digits.classifier) | set(tables.classifier), key=lambda name: (name != OURS, name))
    for i, name in enumerate(names):
        style = {"color": f"C{i}", "marker": "o", "linewidth": 2.5 if name == OURS else 1, "label": name}
        axes[0].plot(digits[digits.classifier == name].groupby("n_labels").error.mean(), **style)
        accuracy = tables[tables.classifier == name].groupby("setting").accuracy.mean()
        axes[1].plot(accuracy.reindex(["5%", "10%", "all"]), **style)
    axes[0].set(title="digits, test error in %", xlabel="labels", xscale="log", ylim=(0, None))
    axes[0].set_xticks([50, 100, N_DIGITS], [50, 100, "all"])
    axes[0].minorticks_off()
    axes[1].set(title="nine tables, mean accuracy", xlabel="labels")
    axes[1].legend(fontsize="small")
    return figure


def time_to_quality() -> plt.Figure:
    """Draw how many times as long the textbook start takes to its final test ELBO as the default takes to it."""
    times = pd.concat([read("time_to_quality"), read("time_to_quality_mnist")])
    ratio = times.groupby(["set", "n_components"]).ratio.median().unstack()
    figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    ratio.plot.bar(ax=ax, rot=0, logy=True, xlabel="", width=0.7)
    ax.axhline(1, color="0.5", linewidth=0.8)
    ax.set(title="CPU time of the textbook start over the default's, to the same test ELBO")
    ax.legend(title="components")
    return figure


def main() -> None:
    """Draw and save all."""
    matplotlib.use("agg")
    FIGURES.mkdir(parents=True, exist_ok=True)
    for draw in (gain_over_pca, few_labels, time_to_quality):
        # No date and no version: the same results give the same file.
        draw().savefig(FIGURES / f"{draw.__name__}.png", dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
