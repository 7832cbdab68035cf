"""Components of documents: held-out perplexity per word, and the accuracy of a linear classifier on the components.

Rows are word counts. Perplexity is that of document completion: each word of a test document is put into one of two
halves at random. The components are inferred from the first half, and the shares that the decoder gives them score the
second half. Shares of 0 have no logarithm, so the shares of each method are mixed with those of all training words, in
the proportion that suits the method best on the test documents. Accuracy is that of logistic regression on standardised
components, with C chosen by cross-validation. `TruncatedSVD` and one of the two NMFs see other scalings of the counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import common
import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import NMF, LatentDirichletAllocation, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_vae import VAETransformer

N_TOPICS = 20  # number of components for the perplexity
C_GRID = [0.01, 0.1, 1.0, 10.0]  # candidates of the classifier's C
MIXED = [0.0, 0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5]  # candidates of the proportion of all training words' shares

Method = Callable[[int, int, dict], Pipeline]


def lda(n_components: int, seed: int, params: dict) -> Pipeline:
    """Return latent Dirichlet allocation."""
    return make_pipeline(LatentDirichletAllocation(n_components, max_iter=50, random_state=seed))


def nmf_counts(n_components: int, seed: int, params: dict) -> Pipeline:
    """Return NMF with the Kullback-Leibler divergence, the log-likelihood of Poisson counts."""
    return make_pipeline(
        NMF(n_components, beta_loss="kullback-leibler", solver="mu", init="nndsvda", max_iter=400, random_state=seed)
    )


def vae(n_components: int, seed: int, params: dict) -> Pipeline:
    """Return `VAETransformer` with a multinomial likelihood, on dense rows."""
    dense = FunctionTransformer(lambda X: X.toarray(), accept_sparse=True)
    estimator = VAETransformer(n_components, likelihood="multinomial", random_state=seed)
    return make_pipeline(dense, estimator.set_params(**params))


METHODS: dict[str, Method] = {
    "VAE multinomial": vae,
    "LDA": lda,
    "NMF counts": nmf_counts,
    "NMF tf-idf": lambda k, seed, params: make_pipeline(TfidfTransformer(), NMF(k, max_iter=400, random_state=seed)),
    "SVD tf-idf": lambda k, seed, params: make_pipeline(TfidfTransformer(), TruncatedSVD(k, random_state=seed)),
    "SVD log1p": lambda k, seed, params: make_pipeline(
        FunctionTransformer(lambda X: X.log1p(), accept_sparse=True), TruncatedSVD(k, random_state=seed)
    ),
}
# Methods whose decoder gives shares of words.
WITH_SHARES = ["VAE multinomial", "LDA", "NMF counts"]


def load(path: Path) -> tuple[csr_matrix, np.ndarray]:
    """Return the counts (n_documents, n_words) as float32, and the documents' topics."""
    with np.load(path) as file:
        parts = (file["data"].astype(np.float32), file["indices"], file["indptr"])
        return csr_matrix(parts, shape=tuple(file["shape"])), file["y"]


def perplexity(model: Pipeline, train: csr_matrix, test: csr_matrix, seed: int) -> tuple[float, float]:
    """Return the perplexity per word of the second halves, and the proportion of all training words' shares."""
    halves = [csr_matrix(test, copy=True) for _ in range(2)]
    halves[0].data = np.random.RandomState(seed).binomial(test.data.astype(int), 0.5).astype(np.float32)
    halves[1].data = test.data - halves[0].data
    for half in halves:
        half.eliminate_zeros()
    Z, last = model.transform(halves[0]), model[-1]
    means = Z @ last.components_ if hasattr(last, "components_") else last.inverse_transform(Z)
    # Documents whose first half is empty have no components in NMF.
    shares = means / np.maximum(means.sum(1, keepdims=True), np.finfo(float).tiny)
    counts = np.asarray(train.sum(0), dtype=float).ravel()
    rows, words = halves[1].nonzero()
    n, p, common_share = halves[1].data, shares[rows, words], (counts / counts.sum())[words]
    with np.errstate(divide="ignore"):
        found = {share: -(n @ np.log((1 - share) * p + share * common_share)) / n.sum() for share in MIXED}
    best = min(found, key=found.get)
    return float(np.exp(found[best])), best


def accuracy(model: Pipeline, data: common.Split) -> float:
    """Return the accuracy on test documents."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    search = GridSearchCV(classifier, {"logisticregression__C": C_GRID})
    search.fit(model.transform(data.X_train), data.y_train)
    return float(search.score(model.transform(data.X_test), data.y_test))


def main() -> None:
    """Run all methods, sizes and seeds, and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--data", type=Path, required=True, help=".npz file of a CSR matrix of counts and topics y")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--components", nargs="+", type=int, default=[2, 4, 8, 32])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = common.parse(parser)
    if args.quick:
        args.components, args.seeds, args.params = [2], [0], {"max_iter": 1, **args.params}
    common.one_thread()
    warnings.filterwarnings("ignore")
    X, y = load(args.data)
    results = common.Results(args.output, args.resume)
    for seed in args.seeds:
        data = common.Split(*train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed))
        for name in args.methods:
            for n_components in [*args.components, *([N_TOPICS] if name in WITH_SHARES else [])]:
                cell = {"method": name, "n_components": n_components, "seed": seed}
                if not results.lacks(cell):
                    continue
                clock = common.Clock()
                model = METHODS[name](n_components, seed, args.params)
                with clock.running():
                    model.fit(data.X_train)
                measures = {"accuracy": np.nan, "perplexity": np.nan, "mixed": np.nan}
                if n_components == N_TOPICS:
                    measures["perplexity"], measures["mixed"] = perplexity(model, data.X_train, data.X_test, seed)
                else:
                    measures["accuracy"] = accuracy(model, data)
                results.add({**cell, **measures, "fit_cpu_s": clock.seconds})
    frame = results.frame()
    common.show(
        f"Perplexity per word with {N_TOPICS} components, means over seeds",
        frame[frame.n_components == N_TOPICS].pivot_table(["perplexity", "mixed"], "method", sort=False),
        1,
    )
    table = frame.pivot_table("accuracy", "method", "n_components", sort=False)
    common.show("Accuracy, means over seeds", table)
    common.show("CPU seconds of fit", frame.pivot_table("fit_cpu_s", "method", "n_components"), 1)


if __name__ == "__main__":
    main()
