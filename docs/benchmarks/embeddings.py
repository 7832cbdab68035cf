"""Components of sentence embeddings: how well they keep neighbours, beside PCA, t-SNE and UMAP.

The sentences are the summaries of the docstrings of scipy and scikit-learn, one for each public function and class, and
their classes are the subpackages. A sentence transformer embeds them. Each method is fitted to a random half of the
embeddings and transforms the other half, except t-SNE, which cannot transform new rows and makes two components only.

There are three measures of each half. Trustworthiness (Venna and Kaski 2001, scikit-learn's `trustworthiness`) falls
with neighbours among the components that are far apart among the embeddings. `kept` is the share of the 15 nearest
neighbours of an embedding that are among the 15 nearest by the components. `accuracy` is that of 15 neighbours, which
predict the class by the components, in cross-validation.
"""

from __future__ import annotations

import inspect
import itertools
import pkgutil
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import import_module

import common
import numpy as np
import scipy
import sklearn
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from sklearn_vae import VAETransformer

N_NEIGHBORS = 15
MIN_CLASS_SIZE = 20  # smallest number of sentences of a subpackage
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def umap(n_components: int, seed: int, params: dict):
    """Return UMAP with its default parameters."""
    return import_module("umap").UMAP(n_components=n_components, random_state=seed)


METHODS = {
    "VAETransformer": lambda k, seed, params: VAETransformer(k, random_state=seed, **params),
    "PCA": lambda k, seed, params: PCA(k, random_state=seed),
    "t-SNE": lambda k, seed, params: TSNE(k, random_state=seed),
    "UMAP": umap,
}


def summary(docstring: str) -> str:
    """Return the first paragraph in one line. Functions that are written in C begin with their signature."""
    paragraphs = (" ".join(part.split()) for part in docstring.split("\n\n"))
    return next((part for part in paragraphs if part and not re.match(r"\w+\(", part)), "")


def summaries(package) -> dict[str, str]:
    """Return the subpackage of each summary of a public function or class of a package."""
    found = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if module.ispkg and not module.name.rpartition(".")[2].startswith("_"):
            public = vars(import_module(module.name))
            values = [public.get(name) for name in public.get("__all__", ())]
            texts = [summary(inspect.getdoc(value) or "") for value in values if callable(value)]
            found |= {text: module.name for text in texts if text}
    return found


def sentences() -> tuple[list[str], np.ndarray]:
    """Return distinct summaries, and their classes; small classes are left out."""
    found = summaries(scipy) | summaries(sklearn)
    sizes = Counter(found.values())
    kept = {text: name for text, name in found.items() if sizes[name] >= MIN_CLASS_SIZE}
    return list(kept), np.array(list(kept.values()))


def measures(X: np.ndarray, Z: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the measures of the components Z of the embeddings X."""
    near = [NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(rows).kneighbors(return_distance=False) for rows in (X, Z)]
    kept = [len(np.intersect1d(a, b)) / N_NEIGHBORS for a, b in zip(*near, strict=True)]
    return {
        "trustworthiness": trustworthiness(X, Z, n_neighbors=N_NEIGHBORS),
        "kept": float(np.mean(kept)),
        "accuracy": float(cross_val_score(KNeighborsClassifier(N_NEIGHBORS), Z, y).mean()),
    }


def embeddings(model: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the embeddings of the sentences (n_sentences, n_columns), and their classes."""
    texts, y = sentences()
    X = import_module("sentence_transformers").SentenceTransformer(model, device="cpu").encode(texts)
    print(f"{len(texts)} sentences of {len(set(y))} classes, {X.shape[1]} columns")
    return X, y


def run(name: str, n_components: int, seed: int, data: common.Split, params: dict) -> Iterator[dict]:
    """Fit one method; yield the measures of the training rows and of the new rows."""
    method, clock = METHODS[name](n_components, seed, params), common.Clock()
    with clock.running():
        Z_train = method.fit_transform(data.X_train)
    row = {"method": name, "n_components": n_components, "seed": seed, "fit_cpu_s": clock.seconds}
    yield {**row, "rows": "training", **measures(data.X_train, Z_train, data.y_train)}
    if hasattr(method, "transform"):
        yield {**row, "rows": "new", **measures(data.X_test, method.transform(data.X_test), data.y_test)}


def main() -> None:
    """Embed the sentences, run all methods and seeds, and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--model", default=MODEL, help="name or folder of the sentence transformer")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--components", nargs="+", type=int, default=[2, 8, 32])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = common.parse(parser)
    if args.quick:
        args.methods, args.components, args.seeds = ["VAETransformer", "PCA"], [2], [0]
        args.params = {"max_iter": 1, **args.params}
    common.one_thread()
    warnings.filterwarnings("ignore")
    X, y = embeddings(args.model)
    results = common.Results(args.output, resume=False)
    for seed in args.seeds:
        data = common.Split(*train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed))
        for name, n_components in itertools.product(args.methods, args.components):
            if name != "t-SNE" or n_components == 2:
                for row in run(name, n_components, seed, data, args.params):
                    results.add(row)
    keys = ["n_components", "rows", "method"]
    means = results.frame().groupby(keys, sort=False).mean().drop(columns="seed")
    common.show("Means over seeds", means.sort_values(keys[:2]))


if __name__ == "__main__":
    main()
