"""Share of new normal rows that outlier detectors flag, on the sets of `anomalies.py`.

The training rows are normal, and every detector is told a contamination of 5%. About 5% of new normal rows should
then be flagged. The standard error is that of two binomial shares: the threshold's, from the training rows, and that
of the new rows.
"""

from __future__ import annotations

from itertools import product

import common
import numpy as np
import pandas as pd
from anomaly_sets import SETS, anomaly_split
from detectors import N_COMPONENTS
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from sklearn_vae import VAEOutlierDetector, VAETransformer

SHARE = 0.05


class QuantileOfTrainingScores:
    """The usual wrapper of a density: a threshold at the quantile of the training rows' scores."""

    def __init__(self, model):
        self.model = model

    def fit(self, X: np.ndarray):
        """Fit the model and the threshold."""
        self.offset_ = np.quantile(self.model.fit(X).score_samples(X), SHARE)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return -1 below the threshold, else 1."""
        return np.where(self.model.score_samples(X) < self.offset_, -1, 1)


def detectors(X: np.ndarray, seed: int) -> dict:
    """Return the detectors for these training rows."""
    n_components = min(N_COMPONENTS, X.shape[1] - 1)
    return {
        "VAEOutlierDetector": VAEOutlierDetector(contamination=SHARE, random_state=seed),
        "VAETransformer, training quantile": QuantileOfTrainingScores(VAETransformer(n_components, random_state=seed)),
        "IsolationForest": IsolationForest(contamination=SHARE, random_state=seed),
        "LocalOutlierFactor": LocalOutlierFactor(novelty=True, contamination=SHARE),
    }


def run(args) -> pd.DataFrame:
    """Return the shares for each set, split and detector."""
    rows = []
    for name, split in product(args.sets, range(args.splits)):
        data = anomaly_split(name, split)
        X_new = data.X_test[data.y_test == 0]
        error = np.sqrt(SHARE * (1 - SHARE) * (1 / len(data.X_train) + 1 / len(X_new)))
        for detector, model in detectors(data.X_train, split).items():
            flagged = float(np.mean(model.fit(data.X_train).predict(X_new) == -1))
            rows.append({"set": name, "split": split, "detector": detector, "flagged": flagged, "error": error})
            print(*rows[-1].values(), flush=True)
    return pd.DataFrame(rows)


def report(frame: pd.DataFrame) -> None:
    """Print the mean share, and its deviations in standard errors."""
    frame = frame.assign(deviation=(frame["flagged"] - SHARE) / frame["error"])
    frame["is_beyond"] = frame["deviation"].abs() > 2
    groups = frame.groupby("detector", sort=False)
    table = groups[["flagged", "deviation"]].mean().join(groups["flagged"].max().rename("largest"))
    table["root mean square deviation"] = groups["deviation"].apply(lambda d: float(np.sqrt(np.square(d).mean())))
    table["beyond 2 errors"] = groups["is_beyond"].mean()
    common.show(f"New normal rows that are flagged; nominal {SHARE:g}", table)
    sets = frame.pivot_table(index="set", columns="detector", values="flagged", sort=False)
    common.show("Means over splits", sets)


def main() -> None:
    """Run the detectors and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, metavar="SET")
    parser.add_argument("--splits", type=int, default=5)
    args = common.parse(parser)
    if args.quick:
        args.sets, args.splits = ["thyroid", "glass"], 1
    common.one_thread()
    frame = run(args)
    common.save(frame, args.output)
    report(frame)


if __name__ == "__main__":
    main()
