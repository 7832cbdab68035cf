"""Out-of-distribution detection on MNIST: AUROC of log p(x) and of the largest class probability.

MNIST's test rows are compared with several kinds of other rows. The peer is the log-likelihood of a Gaussian mixture
on 32 principal components.
"""

from __future__ import annotations

import common
import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from sklearn_vae import VAEClassifier

N_COMPONENTS = 10  # number of Gaussians in the mixture


def upscaled_digits() -> np.ndarray:
    """Return scikit-learn's digits in MNIST's format: 20 x 20 pixels, centred by mass in an image of 28 x 28."""
    images = ndimage.zoom(load_digits().images / 16, (1, 2.5, 2.5), order=1)
    centred = []
    for image in np.pad(images, ((0, 0), (4, 4), (4, 4))):
        offset = 13.5 - np.array(ndimage.center_of_mass(image))
        centred.append(ndimage.shift(image, np.round(offset), order=0))
    return np.stack(centred).reshape(-1, 784).astype(np.float32)


def other_rows(X: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the out-of-distribution rows by kind. The shuffled kinds permute the pixels of `X`."""
    rng = np.random.default_rng(seed)
    return {
        "inverted": 1 - X,
        "shuffled, one order": X[:, rng.permutation(X.shape[1])],
        "shuffled, each row": rng.permuted(X, axis=1),
        "uniform noise": rng.uniform(size=X.shape).astype(X.dtype),
        "upscaled digits": upscaled_digits()[: len(X)],
    }


def run_seed(seed: int, args) -> list[dict]:
    """Fit with one seed; return the AUROC of each score for each kind of rows."""
    data = common.split("mnist", seed, args.rows, args.test_rows)
    vae = common.kept_model(args.models, "all", seed)
    if vae is None:
        vae = VAEClassifier(**{"random_state": seed, **args.params}).fit(data.X_train, data.y_train)
    mixture = GaussianMixture(N_COMPONENTS, reg_covar=1e-4, random_state=seed)
    peer = make_pipeline(PCA(32, random_state=seed), mixture).fit(data.X_train)
    scores = {
        "log p(x)": vae.score_samples,
        "max p(y|x)": lambda X: vae.predict_proba(X).max(1),
        "Gaussian mixture": peer.score_samples,
    }
    others = other_rows(data.X_test, seed)
    rows = []
    for name, score in scores.items():
        real = score(data.X_test)
        for key, X in others.items():
            rows.append({"seed": seed, "score": name, "against": key, "auroc": auroc(real, score(X))})
    return rows


def auroc(real: np.ndarray, other: np.ndarray) -> float:
    """Return the AUROC: the probability that a real row scores higher than another row."""
    values = np.nan_to_num(np.concatenate([real, other]))
    return float(roc_auc_score(np.repeat([1, 0], [len(real), len(other)]), values))


def main() -> None:
    """Run the fits and print the table."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    common.add_models_option(parser)
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows")
    parser.add_argument("--test-rows", type=int, default=2000)
    args = common.parse(parser)
    if args.quick:
        args.rows, args.test_rows, args.seeds = 1000, 100, args.seeds[:1]
        args.params = {"max_iter": 2, **args.params}
    common.one_thread()
    results = common.Results(args.output, args.resume)
    for seed in args.seeds:
        if results.lacks({"seed": seed}):
            for row in run_seed(seed, args):
                results.add(row)
    cells = results.frame().groupby(["against", "score"], sort=False)["auroc"]
    common.show("AUROC of MNIST's test rows against others, mean over seeds", cells.mean().unstack(), 4)
    common.show("Worst seed", cells.min().unstack(), 4)


if __name__ == "__main__":
    main()
