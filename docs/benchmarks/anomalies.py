"""Anomaly detection: `VAEOutlierDetector` and negative `score_samples` of `VAETransformer` against other detectors.

The training rows are normal, or `--contamination` of them are anomalies. The measures are AUROC and average precision
on held-out normal rows and all anomalies. Some PyOD detectors score low because of their implementation. PCA divides by
variances, which are 0 for constant columns: all its scores are then infinite (AUROC .5). ECOD and COPOD estimate tails
from training and test rows together, and the test rows contain many anomalies.
"""

from __future__ import annotations

from itertools import product

import common
import pandas as pd
from anomaly_sets import SETS, anomaly_split
from detectors import DETECTOR, DETECTORS, OURS, SLOW, load
from joblib import delayed
from sklearn.metrics import average_precision_score, roc_auc_score

MAX_LOSS = 0.02  # loss of AUROC above which a set is listed


def run_cell(data: common.Split, detector: str, seed: int, params: dict) -> dict[str, float]:
    """Fit a detector and score the test rows; `params` apply to `VAETransformer` only."""
    params = params if detector.startswith(OURS) else {}
    if detector == DETECTOR and data.y_train.any():
        params = {"contamination": data.y_train.mean()}
    fit_clock, score_clock = common.Clock(), common.Clock()
    model = DETECTORS[detector](data.X_train, seed, **params)
    with fit_clock.running():
        model.fit(data.X_train)
    with score_clock.running():
        scores = model.score(data.X_test)
    row = {
        "auroc": float(roc_auc_score(data.y_test, scores)),
        "ap": float(average_precision_score(data.y_test, scores)),
    }
    return row | {"fit_cpu_s": fit_clock.seconds, "score_cpu_s": score_clock.seconds}


def run_split(split: dict, detectors: list[str], params: dict, contamination: float) -> list[dict]:
    """Run the detectors on one split of a set."""
    common.one_thread()
    for detector in detectors:
        load(detector)
    data = anomaly_split(split["set"], split["split"], contamination)
    return [
        {**split, "detector": detector} | run_cell(data, detector, split["split"], params) for detector in detectors
    ]


def run(args) -> pd.DataFrame:
    """Run all cells that are missing from the results."""
    results = common.Results(args.output, args.resume)
    tasks = []
    for name, seed in product(args.sets, range(args.splits)):
        split = {"set": name, "split": seed}
        detectors = [detector for detector in args.detectors if results.lacks({**split, "detector": detector})]
        if detectors:
            tasks.append(delayed(run_split)(split, detectors, args.params, args.contamination))
    results.add_all(tasks, args.jobs)
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print means, ranks, differences between `VAEOutlierDetector` and each detector, and the sets where it loses."""
    auroc, ap = (frame.pivot_table(index="set", columns="detector", values=key, sort=False) for key in ("auroc", "ap"))
    costs = frame.groupby("detector", sort=False)[["fit_cpu_s", "score_cpu_s"]].mean()
    columns = {"auroc": auroc.mean(), "rank": auroc.rank(axis=1, ascending=False).mean(), "ap": ap.mean()}
    table = pd.DataFrame(columns).join(costs).sort_values("auroc", ascending=False)
    common.show(f"Means over {len(auroc)} sets (rank: by AUROC; CPU seconds)", table)
    common.show("AUROC per set, mean over splits", auroc[table.index].T.rename_axis(None).T)
    if DETECTOR in auroc:
        others = [name for name in table.index if name != DETECTOR]
        rows = {name: against(auroc[DETECTOR] - auroc[name]) for name in others}
        common.show("AUROC of ours less theirs, with a bootstrap's 95% interval over sets", pd.DataFrame(rows).T)
        gain = auroc[others].rsub(auroc[DETECTOR], axis=0).stack().rename("gain")
        common.show(f"Sets more than {MAX_LOSS} below", gain[gain < -MAX_LOSS].sort_values().to_frame())


def against(gain: pd.Series) -> dict[str, float]:
    """Return the number of sets, the sets won, and the mean difference with its interval."""
    mean, low, high = common.mean_interval(gain)
    return {"sets": gain.count(), "won": int((gain > 0).sum()), "mean": mean, "low": low, "high": high}


def main() -> None:
    """Run the cells and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, metavar="SET")
    parser.add_argument("--detectors", nargs="+", default=list(DETECTORS), choices=list(DETECTORS), metavar="DETECTOR")
    parser.add_argument("--contamination", type=float, default=0.0, help="share of anomalies among the training rows")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="number of processes, with one thread each")
    parser.add_argument("--cheap", action="store_true", help="omit the slowest detectors")
    args = common.parse(parser)
    if args.quick:
        args.sets, args.splits = ["thyroid", "glass"] if args.sets == SETS else args.sets, 1
        args.params = {"max_iter": 5, **args.params}
    if args.cheap:
        args.detectors = [name for name in args.detectors if name not in SLOW]
    report(run(args))


if __name__ == "__main__":
    main()
