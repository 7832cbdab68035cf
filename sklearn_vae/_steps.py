"""The VAE step of a fitted pipeline or search, the steps before it, and samples of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from sklearn import get_config
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._base import BaseVAE
from sklearn_vae._classifier import VAEClassifier
from sklearn_vae._data.table import is_frame
from sklearn_vae._imputer import VAEImputer


@dataclass(frozen=True)
class PipelineSteps:
    """A fitted VAE and the steps before it, split at the last step without a valid inverse.

    Attributes
    ----------
    vae : BaseVAE
        Fitted estimator.
    kept : list of transformers
        First steps, up to the last one without a valid inverse.
    undone : list of transformers
        Remaining steps before the VAE. Their `inverse_transform` is valid for decoded rows.
    """

    vae: BaseVAE
    kept: list[Any]
    undone: list[Any]

    @classmethod
    def of(cls, estimator) -> Self:
        """Return the VAE step of a fitted estimator, pipeline or search, and the steps before it.

        Of a pipeline that imputes before it encodes, the VAE is that of the encoding.

        Raises
        ------
        ValueError
            If there is no VAE step.
        NotFittedError
            If the estimator is not fitted.
        """
        steps = list(_flat(estimator))
        positions = [i for i, step in enumerate(steps) if isinstance(step, BaseVAE)]
        position = next((i for i in positions if not isinstance(steps[i], VAEImputer)), next(iter(positions), None))
        if position is None:
            came = f"data, a {type(estimator).__name__}" if hasattr(estimator, "shape") else repr(estimator)
            raise ValueError(
                "expected a VAETransformer, VAEClassifier or VAEImputer, or a pipeline or search with one of them as a "
                f"step, got {came}; the estimator is the first argument."
            )
        vae, before = steps[position], steps[:position]
        check_is_fitted(vae)
        n_kept = max((i + 1 for i, step in enumerate(before) if not _is_invertible(step)), default=0)
        return cls(vae, before[:n_kept], before[n_kept:])

    def undo(self, rows) -> Any:
        """Apply the inverses of the undone steps, the last one first."""
        for step in reversed(self.undone):
            rows = step.inverse_transform(rows)
        return rows


def sample(estimator, n_samples=1, *, y=None, random_state=None, noise=True):
    """Draw samples from a fitted pipeline or search, in the units of its input.

    The VAE step draws samples, and the inverses of the steps before it are applied to them.

    Parameters
    ----------
    estimator : VAETransformer, VAEClassifier, VAEImputer, Pipeline or search
        Fitted estimator. A pipeline or search must have one of the first three as a step.
    n_samples : int, default=1
        Number of samples.
    y : label, array-like of shape (n_samples,) or None, default=None
        Classes of the samples of a `VAEClassifier`, as in its ``sample``.
    random_state : int, RandomState instance or None, default=None
        Seed of the samples. None uses the `random_state` of the VAE.
    noise : bool, default=True
        Whether rows are drawn from p(x|z). If False, they are the means of p(x|z).

    Returns
    -------
    X : ndarray of shape (n_samples, ...), or data frame
        Samples, as the first step takes them; columns that a selector has dropped are 0, as in its
        ``inverse_transform``. If the first step was fitted to a data frame with names that are strings, a data frame:
        of the same library if the VAE took mixed columns, otherwise of pandas, or of polars if that is scikit-learn's
        `transform_output`.
    y : ndarray of shape (n_samples,)
        Labels. Only if the VAE is a `VAEClassifier`.

    Raises
    ------
    ValueError
        If the estimator has no VAE step, or a step before it has no inverse, or the VAE has no generative model.
    NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    VAETransformer.sample : Samples of the estimator alone.
    sklearn_vae.displays.SamplesDisplay : Plot of samples.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_vae import VAETransformer, sample
    >>> X = load_wine(as_frame=True).data
    >>> pipeline = make_pipeline(StandardScaler(), VAETransformer(max_iter=10, random_state=0)).fit(X)
    >>> drawn = sample(pipeline, 100, random_state=0)
    >>> drawn.shape, bool(drawn["proline"].mean() > 500)
    ((100, 13), True)
    """
    steps = PipelineSteps.of(estimator)
    check_draws_samples(steps.vae)
    if steps.kept:
        raise ValueError(
            f"expected steps with an inverse before the {type(steps.vae).__name__}, got {steps.kept[-1]!r}; draw from "
            "the later steps, pipeline[n:], or fit the VAE to a data frame, which may have categories and gaps."
        )
    given = {} if y is None else {"y": y}
    if given and not isinstance(steps.vae, VAEClassifier):
        raise ValueError(f"expected y=None for a {type(steps.vae).__name__}, which has no classes, got {y!r}.")
    drawn = steps.vae.sample(n_samples, random_state=random_state, noise=noise, **given)
    rows, *labels = drawn if isinstance(steps.vae, VAEClassifier) else (drawn,)
    rows = _as_frame(steps.undo(rows), [*steps.undone, steps.vae][0])
    return (rows, *labels) if labels else rows


def check_draws_samples(vae: BaseVAE) -> None:
    """Raise ValueError if a fitted VAE has no generative model."""
    if not hasattr(vae, "sample"):
        raise ValueError(
            f"expected a model that draws samples, got objective={vae.objective!r} without a generative model; "
            "use objective='elbo', and for VAEClassifier generative_weight above 0."
        )


def _as_frame(rows, first) -> Any:
    """Return rows as a data frame, if the first step was fitted to one; polars if scikit-learn is set to it."""
    names = getattr(first, "feature_names_in_", None)
    if names is None or is_frame(rows):
        return rows
    wants_polars = get_config()["transform_output"] == "polars" or find_spec("pandas") is None
    columns = dict(zip(names.tolist(), np.asarray(rows).T, strict=True))
    return nw.from_dict(columns, backend="polars" if wants_polars else "pandas").to_native()


def _flat(estimator) -> Iterator[Any]:
    """Yield the steps of an estimator, including those of nested pipelines and of best estimators of searches."""
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _flat(step)
    elif hasattr(estimator, "best_estimator_"):
        yield from _flat(estimator.best_estimator_)
    elif hasattr(estimator, "estimator") and hasattr(estimator, "refit"):
        raise NotFittedError(f"expected a fitted search with refit=True, got {estimator!r}; call fit first.")
    elif estimator is not None and not isinstance(estimator, str) and not hasattr(estimator, "fit_resample"):
        # Samplers of imbalanced-learn change only the rows of a fit.
        yield estimator


def _is_invertible(step) -> bool:
    """Return whether `inverse_transform` of a step is valid for decoded rows."""
    # Imported here, because they take a tenth of a second.
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder

    if isinstance(step, FunctionTransformer):
        # Without an inverse function, its `inverse_transform` returns its input unchanged.
        return step.func is None or step.inverse_func is not None
    # The inverses of these are not defined for means.
    invalid = (SimpleImputer, OneHotEncoder, OrdinalEncoder, KBinsDiscretizer, CountVectorizer, DictVectorizer)
    return hasattr(step, "inverse_transform") and not isinstance(step, invalid)
