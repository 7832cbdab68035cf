"""Draw the figures of the benchmarks page from the CSV files in results/.

Usage: python docs/benchmarks/plot_results.py
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
FIGURES = Path(__file__).parents[1] / "_static" / "benchmarks"
OURS = "VAEClassifier"
MAX_NATS = 1000  # differences in nats are clipped to this value in the plots
N_DIGITS = 1257  # number of training rows of digits, which is the number of labels for "all"


def read(name: str) -> pd.DataFrame:
    """Return the results of a script."""
    return pd.read_csv(RESULTS / f"{name}.csv", comment="#")


def pivoted(name: str) -> pd.DataFrame:
    """Return a panel's accuracies and scores, with a column for each method."""
    panel = read(name).replace([np.inf, -np.inf], np.nan)
    return panel.pivot(index=["set", "n_components", "split"], columns="method", values=["accuracy", "score"])


def gain_over_pca() -> plt.Figure:
    """Plot the gains in accuracy and log-likelihood over PCA on synthetic sets, by number of components."""
    cells = pivoted("synthetic").swaplevel(axis=1)
    panel = (cells["VAETransformer"] - cells["PCA"]).reset_index()
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for (name, rows), color in zip(panel.groupby("set"), plt.get_cmap("tab20").colors, strict=False):
        means = rows.groupby("n_components")[["accuracy", "score"]].mean()
        axes[0].plot(means.index, means.accuracy, "o-", color=color, label=name)
        axes[1].plot(means.index, means.score, "o-", color=color)
    for ax in axes:
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.set_xscale("log", base=2)
        ax.set(xlabel="components", xticks=[2, 4, 8, 16, 32], xticklabels=[2, 4, 8, 16, 32])
    axes[0].set(title="accuracy less PCA's")
    axes[1].set(title="held-out log p(x) less PCA's, nats per row", yscale="symlog")
    axes[0].legend(fontsize="small")
    return figure


def panel() -> plt.Figure:
    """Plot the gains on each real set: accuracy over PCA, log-likelihood over PCA and FactorAnalysis."""
    cells = pivoted("panel")
    few = cells.index.get_level_values("n_components") <= 4
    accuracy = cells["accuracy"]["VAETransformer"] - cells["accuracy"]["PCA"]
    gains = {"2 and 4 components": accuracy[few], "8 to 32": accuracy[~few]}
    nats = {other: cells["score"]["VAETransformer"] - cells["score"][other] for other in ("PCA", "FactorAnalysis")}
    order = gains["2 and 4 components"].groupby("set").mean().sort_values().index
    figure, axes = plt.subplots(1, 2, figsize=(10, 9), layout="constrained", sharey=True)
    for ax, parts, corner in zip(axes, (gains, nats), ("lower right", "lower left"), strict=True):
        for name, gain in parts.items():
            # Clipped values, such as those of FactorAnalysis on pixels, are drawn at the edge.
            means = gain.groupby("set").mean().reindex(order).clip(-MAX_NATS, MAX_NATS)
            ax.plot(means, range(len(order)), "o", label=name, alpha=0.7)
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.legend(loc=corner)
        ax.grid(axis="y", linewidth=0.3)
    axes[0].set_yticks(range(len(order)), order, fontsize="small")
    axes[0].set(title="accuracy less PCA's")
    axes[1].set(title="held-out log p(x) less theirs, nats per row")
    axes[1].set_xscale("symlog", linthresh=1)
    ticks = [-MAX_NATS, -100, -10, 0, 10, 100, MAX_NATS]
    axes[1].set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    return figure


def few_labels() -> plt.Figure:
    """Plot the error on digits and the accuracy on nine tables, by number of labels."""
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


def quality_seconds() -> plt.Figure:
    """Plot a peer's CPU seconds divided by those in which VAETransformer reaches the peer's final quality."""
    cells = ["measure", "peer", "set", "n_components"]
    ratio = read("quality_seconds").groupby(cells, sort=False).ratio.median()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    for ax, measure in zip(axes, ["elbo", "accuracy"], strict=True):
        for y, (_, ratios) in enumerate(ratio[measure].groupby("peer", sort=False)):
            # A quality that is never reached has ratio 0 and is drawn at the left edge.
            ax.plot(ratios.clip(0.1, 3e4), np.full(len(ratios), y), "o", alpha=0.4)
            ax.plot(ratios.median(), y, "k|", markersize=16)
        ax.axvline(5, color="0.5", linewidth=0.8)
        ax.set(xscale="log", title=f"to the peer's final {'test ELBO' if measure == 'elbo' else measure}")
        ax.set_xlabel("its CPU seconds over the default's")
    peers = ratio.index.unique("peer")
    axes[0].set_yticks(range(len(peers)), peers)
    axes[0].invert_yaxis()
    return figure


def main() -> None:
    """Draw and save all figures."""
    matplotlib.use("agg")
    FIGURES.mkdir(parents=True, exist_ok=True)
    for draw in (gain_over_pca, panel, few_labels, quality_seconds):
        # Without date and version, the same results give the same file.
        draw().savefig(FIGURES / f"{draw.__name__}.png", dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
