"""Small data frames of mixed columns."""

import numpy as np
import pandas as pd
import polars as pl

LIBRARIES = {"pandas": pd, "polars": pl}


def mixed_frame(library="pandas", n=150, gaps=False, seed=0):
    """Return rows of floats, integers, booleans, strings and ordered categories that depend on one number."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)

    def codes(n_codes):
        return np.digitize(z + 0.3 * rng.normal(size=n), np.linspace(-0.7, 0.7, n_codes - 1))

    X = pd.DataFrame(
        {
            "income": 1000 * np.exp(0.5 * z + 0.1 * rng.normal(size=n)),
            "age": (40 + 10 * z + rng.normal(size=n)).round().astype(np.int64),
            "member": z + 0.5 * rng.normal(size=n) > 0,
            "city": np.array(["Bonn", "Oslo", "Rome"])[codes(3)],
            "grade": pd.Categorical.from_codes(codes(3), ["low", "mid", "high", "top"], ordered=True),
        }
    )
    if gaps:
        for i, name in enumerate(["income", "city", "grade"]):
            X.loc[X.index % 10 == i, name] = None
    if library == "pandas":
        return X
    # polars 1.0 does not take objects that are NaN.
    grade = X["grade"].astype(object).where(X["grade"].notna(), None)
    return pl.from_pandas(X.assign(grade=grade)).with_columns(
        pl.col("grade").cast(pl.Enum(["low", "mid", "high", "top"]))
    )


def adult_like(n=2000, seed=0):
    """Return a frame with the columns of a census: long tails, many zeros, rare categories, a column twice."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    years = np.clip(np.round(10 + 2.5 * z[:, 0] + rng.normal(size=n)), 1, 16).astype(int)
    relation = np.array(["Husband", "Own-child", "Unmarried", "Wife"])
    return pd.DataFrame(
        {
            "age": np.clip(np.round(38 + 12 * z[:, 1] + 3 * rng.normal(size=n)), 17, 90).astype(int),
            "weight": np.exp(12 + 0.5 * rng.normal(size=n)).astype(int),
            "education": np.array([f"level {i:02}" for i in range(17)])[years],
            "years": years,
            "relation": relation[np.digitize(z[:, 1] + 0.5 * rng.normal(size=n), [-0.5, 0, 1.5])],
            "gain": np.where(rng.random(n) < 0.08, np.exp(8 + rng.normal(size=n)), 0).astype(int),
            "country": rng.choice(["US", "MX", "DE", "FR"], n, p=[0.9, 0.08, 0.015, 0.005]),
            "rich": z.sum(1) + 0.5 * rng.normal(size=n) > 1,
        }
    )
