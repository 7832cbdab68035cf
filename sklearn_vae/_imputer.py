"""VAEImputer: missing cells filled by a variational autoencoder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import narwhals.stable.v2 as nw
import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from sklearn_vae._data.devices import FLOAT64, isolate
from sklearn_vae._data.rows import Rows
from sklearn_vae._data.table import Table, is_frame
from sklearn_vae._model.impute import draw_missing, impute
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.imputation_error import choose_imputer
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import Rules
from sklearn_vae._unsupervised import UnsupervisedVAE
from sklearn_vae._validation import new_seed
from sklearn_vae.likelihoods import Columns, Gaussian, Likelihood, Multinomial

# Largest number of columns for which a model with a noise scale for each column is trained, too.
MAX_COLUMNS = 128
# Rows are imputed in chunks for at most so many draws: each chunk's posteriors are refined by steps in Python.
MAX_DRAWS = 64


class VAEImputer(TransformerMixin, UnsupervisedVAE):
    r"""Imputation of missing cells by a variational autoencoder.

    The model is that of `VAETransformer`, fitted to the observed cells [1]_. A missing cell gets its mean given the
    observed cells of its row, computed by importance sampling. In a data frame, categories get the most probable
    category (``category_probabilities`` returns the probabilities of all), and integers are rounded. Observed cells are
    returned unchanged. Cells are assumed to be missing at random: whether a cell is missing may depend on observed
    cells only.

    Parameters
    ----------
    n_components : int, float or None, default=16
        Number of latent variables. A float in (0, 1) is a share of the variance: the number is that of the principal
        components that explain more, as in scikit-learn's `PCA`. None is the smaller one of the numbers of rows and
        columns; a category counts as a column. Probabilistic PCA, from which training starts, leaves out those that the
        observed cells do not support.

    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers. By default, the decoder has the same widths in
        reverse order. "auto" is (256, 128) for up to 5000 rows and (512, 256) for more. Used
        by network="mlp"; other networks define their own widths.

    likelihood : str or Likelihood, default="from_dtype"
        Distribution p(x|z) of each column given the latent variables:

        - "from_dtype": "gaussian" for arrays and for data frames of numbers. In a frame that
          has other columns, floats are Gaussian, each standardised, integers Gaussian after a
          map of their quantiles, booleans Bernoulli, and strings and categories Categorical.
          Floats that are whole numbers or rounded count as integers.
        - "gaussian": real values on any scale. With early stopping, two models of at most 128
          columns are trained, with a common noise scale and with one for each column. The one
          that predicts hidden cells of held-out rows better is kept.
        - "bernoulli": zeros and ones, or probabilities of a one.
        - "continuous_bernoulli": real values in [0, 1].
        - "discretized_logistic": 256 equally spaced values in [0, 1].
        - "poisson", "negative_binomial": counts.
        - "quantile_gaussian": integers, or columns with spikes and tails.

        Instances from `sklearn_vae.likelihoods` have options, e.g. ``Gaussian(scale="learned")``.
        Likelihoods for which the rows' totals are given are refused.

    prior : {"standard_normal", "mixture", "vamp"} or Prior, default="standard_normal"
        Distribution p(z) of the latent variables:

        - "standard_normal": independent standard normal variables.
        - "mixture": a mixture of Gaussians with learned parameters.
        - "vamp": the VampPrior, a mixture of the posteriors of learned pseudo-inputs.

        Instances from `sklearn_vae.priors` have options, e.g. ``VampPrior(500)``.

    beta : float or callable, default=1.0
        Weight of the KL term in the loss. A callable takes the number of steps that this
        training run has made and returns the weight, e.g. for KL warm-up. A run begins with
        ``fit``, and with the first ``partial_fit`` after it. The validation score
        uses the value at the last step of the schedule.

    network : {"mlp", "conv"} or Network, default="mlp"
        Architecture of the encoder and the decoder. "mlp": fully connected networks. "conv":
        convolutional networks; each row is a flattened image. Instances of
        `sklearn_vae.networks.MLP` and `Conv` have options. `sklearn_vae.networks.Modules`
        wraps your own torch modules.

    objective : {"elbo", "iwae", "free_bits", "neighbors", "autoencoder"} or Objective, default="elbo"
        Objective that training maximises:

        - "elbo": the evidence lower bound.
        - "iwae": the importance-weighted bound, which is tighter. It suits density estimation.
        - "free_bits": the ELBO without a penalty on a small KL divergence of each component, which
          keeps more components in use.
        - "neighbors": the ELBO beside a map of the rows that keeps their neighbours, as t-SNE and
          UMAP do. It suits two components, for pictures.
        - "autoencoder": a deterministic autoencoder without posterior noise and KL term. It
          is a baseline and has no ``sample``, ``score_samples`` and ``score``.

        Instances from `sklearn_vae.objectives` have options.

    init : {"ppca", "random"}, default="ppca"
        Initialisation of the model. "ppca": the encoder and the decoder are each the sum of a
        linear map and a neural network. The linear maps and the noise scale start at
        probabilistic PCA, and the networks start with output zero. "random": the encoder and
        the decoder are neural networks with random initial weights.

    max_iter : int or "auto", default="auto"
        Maximum number of epochs. With 0, the model keeps its initial weights. "auto" is 400
        epochs, but at most 2000 steps, for up to 5000 rows. For more rows, it is 30 epochs,
        but at most 2800 steps, and about 1500 or more if the components explain hardly more
        than the noise at the start. Steps are rounded to whole epochs; the minimum is one epoch.

    batch_size : int or "auto", default="auto"
        Number of rows per training step. "auto" is 64 for up to 5000 rows and 256 for more.

    learning_rate_init : float or "auto", default="auto"
        Peak learning rate of Adam, reached after `warmup_steps`. "auto" is
        2e-3 * sqrt(batch_size / 64).

    warmup_steps : int or "auto", default="auto"
        Number of steps in which the learning rate increases linearly to its peak. "auto" is
        100.

    learning_rate_decay : float, default=0.5
        Fraction of the training schedule, at its end, in which the learning rate decreases
        linearly to 0. The schedule has `max_iter` epochs.

    alpha : float or "auto", default="auto"
        Decoupled weight decay of the networks. Linear maps have no weight decay. "auto" is
        1e-4.

    input_noise : float or "auto", default="auto"
        Standard deviation of the Gaussian noise added to the encoder's input in training. The
        unit is the square root of the columns' mean variance; with ``Gaussian(per_column=True)``,
        it is each column's noise scale. "auto" is
        min(0.5, 6 / sqrt(n_samples)), and depends on the distances of neighbours for
        objective="neighbors".

    averaging : float, default=0.998
        Maximum decay per step of the moving average of the weights. The fitted model has the
        averaged weights. With 0, it has the weights of the last step.

    early_stopping : bool, default=True
        Whether held-out rows determine the number of epochs.

        - Up to 5000 rows, the rows are split into five folds. The number of steps is chosen on
          one held-out fold, or below 1000 rows on three folds held out in turn. The model is
          then trained on all rows for this number of steps.
        - Above 5000 rows, and when `warm_start` continues training, `validation_fraction` of
          the rows is held out, at most 5000. The fitted model has the weights of the epoch
          with the best validation score.

        With fewer than five rows, the model keeps its initial weights.

    validation_fraction : float, default=0.1
        Fraction of the rows to hold out for early stopping above 5000 rows, and when
        `warm_start` continues training.

    n_iter_no_change : int, default=8
        Maximum number of consecutive validations without an improvement by `tol`. Training
        then stops, unless the score is still rising, above that of half as many validations
        before. Validations do not count while `beta` differs from its final value. The model
        is validated after every epoch, or about every 25 steps if epochs are shorter.

    tol : float, default=0.0
        Minimum improvement of the validation score, in nats per row.

    n_draws : int, default=256
        Number of importance samples per row in ``transform``, ``score_samples`` and ``score``.

    sample_posterior : bool, default=False
        Whether ``transform`` draws missing cells from their distribution given the observed cells, for multiple
        imputation. If False, it returns their means, and the most probable categories. An integer `random_state` gives
        the same draws at each call.

    add_indicator : bool, default=False
        Whether ``transform`` appends a column for each column with missing cells in ``fit``, which is True where a cell
        is missing.

    keep_empty_features : bool, default=False
        Whether ``transform`` keeps columns without an observed cell in ``fit``, filled with 0. Strings and categories
        stay missing. If False, it leaves such columns out.

    warm_start : bool, default=False
        Whether ``fit`` continues training from the weights of the previous call.

    device : str or torch.device, default="auto"
        Device of the model, for training and inference. "auto" is a CUDA device if one is
        available, and the CPU otherwise. A change after `fit` applies to the next `fit`, and
        to a loaded copy.

    n_jobs : int, default=None
        Number of CPU threads. None means 1 unless in a `joblib.parallel_config` context. -1
        means all cores. One thread gives the same results on any number of cores.

    random_state : int, RandomState instance or None, default=None
        Seed of all random numbers: initial weights, order of the rows, noise and held-out
        rows. Pass an int for reproducible results. None takes a new seed from the operating
        system.

    verbose : bool or int, default=False
        If 1 or True, print one line per validation; without early stopping, print lines at the
        same interval. If 2, print one line per epoch. ``partial_fit`` prints nothing.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted model.
    n_components_ : int
        Number of latent variables.
    n_iter_ : int
        Number of epochs run. If folds were held out, the number of epochs of the longest run
        with a held-out fold.
    best_iter_ : int
        Number of training epochs of the fitted model.
    n_steps_ : int
        Number of training steps of the fitted model.
    loss_curve_ : list of float
        Mean training loss of each epoch, in nats per row.
    reconstruction_curve_ : list of float
        Mean reconstruction term, -log p(x|z), of each epoch, in nats per row.
    kl_curve_ : list of float
        Mean KL term of each epoch before multiplication by `beta`, in nats per row. 0 with
        objective="autoencoder".
    validation_scores_ : list of float
        Negative mean loss of the held-out rows at the start and at each validation, in nats per
        row. `beta` has its last value, and an optimal noise scale is computed from the
        held-out rows. Defined only with early stopping.
    validation_iter_ : list of float
        Number of epochs before each validation. If folds were held out, steps are converted to
        epochs over all rows. Defined only with early stopping.
    best_validation_score_ : float
        Maximum of `validation_scores_`, from the step at which `beta` has its last value.
        Defined only with early stopping.
    noise_variance_ : float or ndarray of shape (`n_features_in_`,)
        Variance of the noise in p(x|z), in squared units of the data. By default, an array.
        With early stopping, an optimal scale is estimated on held-out rows. Defined only with a
        Gaussian or discretised logistic likelihood.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL(q(z_j|x) || p(z_j)) over at most 8192 training rows, in nats. Unused components
        have a value near 0. Not defined with objective="autoencoder".
    missing_share_ : ndarray of shape (`n_features_in_`,)
        Share of missing cells in each column of the rows seen: those of ``fit``, and of each ``partial_fit`` since.
        Rows of weight 0 and rows without an observed cell do not count.
    n_samples_seen_ : int
        Number of these rows.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in ``fit``. Defined only if all names are strings.

    See Also
    --------
    VAETransformer : The same model, which returns latent variables and takes rows with missing cells.
    sklearn.impute.IterativeImputer : Imputation by a regression of each column on the others.

    References
    ----------
    .. [1] P.-A. Mattei and J. Frellsen (2019). MIWAE: Deep generative modelling and imputation of
       incomplete data sets. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAEImputer
    >>> X = load_iris().data.copy()
    >>> X[::3, 2] = np.nan
    >>> imputer = VAEImputer(max_iter=50, random_state=0).fit(X)
    >>> error = imputer.transform(X)[::3, 2] - load_iris().data[::3, 2]
    >>> bool(np.abs(error).mean() < 0.3)
    True
    """

    # Absent cells of a sparse matrix are zeros, so nothing is missing.
    _accepts_sparse = False

    _parameter_constraints: ClassVar[dict] = {
        **{name: kinds for name, kinds in UnsupervisedVAE._parameter_constraints.items() if name != "whiten"},
        "sample_posterior": ["boolean"],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
    }

    def __init__(
        self,
        n_components=16,
        *,
        hidden_layer_sizes="auto",
        likelihood="from_dtype",
        prior="standard_normal",
        beta=1.0,
        network="mlp",
        objective="elbo",
        init="ppca",
        max_iter="auto",
        batch_size="auto",
        learning_rate_init="auto",
        warmup_steps="auto",
        learning_rate_decay=0.5,
        alpha="auto",
        input_noise="auto",
        averaging=0.998,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=8,
        tol=0.0,
        n_draws=256,
        sample_posterior=False,
        add_indicator=False,
        keep_empty_features=False,
        warm_start=False,
        device="auto",
        n_jobs=None,
        random_state=None,
        verbose=False,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.likelihood = likelihood
        self.prior = prior
        self.beta = beta
        self.network = network
        self.objective = objective
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.warmup_steps = warmup_steps
        self.learning_rate_decay = learning_rate_decay
        self.alpha = alpha
        self.input_noise = input_noise
        self.averaging = averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.n_draws = n_draws
        self.sample_posterior = sample_posterior
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.warm_start = warm_start
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @isolate
    def transform(self, X):
        """Return rows with their missing cells filled.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        X : ndarray or data frame of shape (n_samples, n_features_out)
            Rows without missing cells. If the estimator was fitted to a data frame, a frame of the library of `X`, with
            its dtypes, categories and index. ``set_output`` can name another library, to whose dtypes these are
            converted. For the model a category that ``fit`` did not see is a missing cell; it is returned as it is. The
            means of a row do not depend on the other rows.
        """
        matrix = self._check_new_rows(X)
        self._validate_params()
        filled, cells = self._fill(matrix, self.sample_posterior), np.isnan(matrix)
        self._reset_empty(filled, cells)
        missing = self._per_column(cells)
        kept = np.flatnonzero(self._is_kept)
        added = np.flatnonzero(self._is_indicated)
        table = self._table_of(X)
        if table is None:
            return np.hstack([filled[:, kept], missing[:, added]]) if self.add_indicator else filled[:, kept]
        frame = nw.from_native(table.fill(X, filled), eager_only=True)
        indicators = [
            nw.new_series(
                f"missingindicator_{frame.columns[j]}", missing[:, j], nw.Boolean(), backend=frame.implementation
            )
            for j in added
        ]
        return self._in_requested_library(frame[:, kept.tolist()].with_columns(*indicators))

    @isolate
    def category_probabilities(self, X):
        """Return the probabilities of the categories in each cell of columns of categories and booleans.

        Those of a missing cell are given the observed cells of its row, computed by importance sampling. ``transform``
        imputes the most probable category, unless `sample_posterior` is True. An observed cell has probability 1 for
        its category.

        Parameters
        ----------
        X : data frame of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw. A category that ``fit`` did not see is a missing cell.

        Returns
        -------
        probabilities : dict of data frames
            For the name of each column, a frame of shape (n_samples, n_categories), of the library and with the index
            of `X`. Its columns are the categories, in polars their names as strings; for booleans, they are False and
            True. Columns without an observed cell in ``fit`` are left out.

        Raises
        ------
        ValueError
            If ``fit`` saw no data frame with columns of categories or booleans.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn_vae import VAEImputer
        >>> X = pd.DataFrame({"city": ["Rome", "Oslo", None, "Rome"] * 10, "warm": [True, False, True, True] * 10})
        >>> imputer = VAEImputer(1, max_iter=5, random_state=0).fit(X)
        >>> probabilities = imputer.category_probabilities(X[:3])
        >>> probabilities["city"].idxmax(axis=1).tolist()
        ['Rome', 'Oslo', 'Rome']
        """
        matrix = self._check_new_rows(X)
        self._validate_params()
        table = self._table_of(X)
        if table is None or not any(column.choices for column in table.columns):
            raise ValueError(
                "VAEImputer: expected a data frame with columns of categories or booleans in fit, got an array or "
                "numbers; use transform with sample_posterior=False, which fills arrays with means. These are the "
                "probabilities if the likelihood is Bernoulli or Categorical."
            )
        probabilities = table.probabilities(X, self._fill(matrix, draws=False))
        names = [column.name for column in table.columns]
        empty = {name for name, share in zip(names, self.missing_share_, strict=True) if share == 1}
        return {name: frame for name, frame in probabilities.items() if name not in empty}

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns that ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`; None for those seen in ``fit``, or "x0", "x1", ... if it saw none.

        Returns
        -------
        names : ndarray of str objects
            Names of the columns, and "missingindicator_<name>" for the columns that `add_indicator` appends.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        indicators = [f"missingindicator_{name}" for name in names[self._is_indicated]]
        return np.array([*names[self._is_kept], *indicators], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _table_of(self, X) -> Table | None:
        """Return the columns of a frame that ``transform`` fills; None if it returns an array."""
        if self._table is None and is_frame(X) and hasattr(self, "feature_names_in_"):
            return Table.learn(X).of_numbers()
        return self._table

    def _in_requested_library(self, frame: nw.DataFrame) -> Any:
        """Return a frame of the library that ``set_output`` names; scikit-learn itself would lose the dtypes."""
        convert = {"pandas": frame.to_pandas, "polars": frame.to_polars}
        return convert.get(_get_output_config("transform", self)["dense"], frame.to_native)()

    @property
    def _is_kept(self) -> np.ndarray:
        """Whether ``transform`` returns each column."""
        return np.full(len(self.missing_share_), True) if self.keep_empty_features else self.missing_share_ < 1

    @property
    def _is_indicated(self) -> np.ndarray:
        """Whether ``transform`` appends an indicator of each column's missing cells."""
        return (self.missing_share_ > 0) & self.add_indicator

    def _fill(self, X: np.ndarray, draws: bool) -> np.ndarray:
        """Return the matrix with its missing cells filled by means or draws; complete rows are not computed."""
        missing = np.isnan(X)
        rows = missing.any(axis=1)
        filled = X.copy()
        if rows.any():
            inference, n_draws = self._fitted_model.inference, int(self.n_draws)
            seed = new_seed(self.random_state) if draws else 0
            generator = torch.Generator(inference.device).manual_seed(seed)
            shape = (n_draws, 1, self._architecture.n_components)
            noise = torch.randn(shape, generator=generator, device=inference.device, **FLOAT64)
            function = partial(impute, noise=noise)
            if draws:
                function = partial(draw_missing, noise=noise, generator=generator)
            values = inference.map(function, X[rows], min(n_draws, MAX_DRAWS))
            filled[rows] = np.where(missing[rows], values, X[rows])
        return filled

    def _reset_empty(self, filled: np.ndarray, missing: np.ndarray) -> None:
        """Set missing cells of columns that were empty in ``fit`` to 0, in place, and to NaN for categories."""
        is_empty, value = self.missing_share_ == 1, np.zeros(filled.shape[1])
        if self._table is not None:
            widths = [column.stop - column.start for column in self._table.columns]
            is_empty = np.repeat(is_empty, widths)
            value[np.repeat([column.kind == "category" for column in self._table.columns], widths)] = np.nan
        empty = np.flatnonzero(is_empty)
        filled[:, empty] = np.where(missing[:, empty], value[empty], filled[:, empty])

    def _likelihood(self) -> Likelihood:
        likelihood = super()._likelihood()
        parts = [part for _, part, _ in likelihood.likelihoods] if isinstance(likelihood, Columns) else [likelihood]
        for part in parts:
            if isinstance(part, Multinomial) or getattr(part, "library_size", False):
                raise ValueError(
                    f"VAEImputer: expected a likelihood that models the rows' totals, got {part!r}, for which they are "
                    "given; use Poisson() or NegativeBinomial() with library_size=False."
                )
        return likelihood

    def _procedure(
        self, rows: Rows, rules: Rules, progress: Progress, continues: bool = False, in_chunks: bool = False
    ) -> FitProcedure:
        """Return the procedure; held-out rows choose between a common noise scale and one for each column."""
        procedure = super()._procedure(rows, rules, progress, continues, in_chunks)
        architecture = procedure.architecture
        likelihood = architecture.likelihood
        has_choice = isinstance(likelihood, Gaussian) and likelihood.per_column == "auto" and likelihood.has_free_scale
        if continues or not has_choice or not architecture.generative or not 1 < rows.n_features <= MAX_COLUMNS:
            return procedure
        own = replace(architecture, n_coordinates=None, likelihood=Gaussian(likelihood.scale, per_column=True))
        return replace(procedure, alternatives=(own,), choose=choose_imputer)

    def _per_column(self, missing: np.ndarray) -> np.ndarray:
        """Return values for the data's columns from values for those of the matrix, (..., n_features_in_).

        Strings without an observed cell have no column of the matrix; all of their cells are missing.
        """
        if self._table is None:
            return missing
        columns = [
            missing[..., c.start] if c.stop > c.start else np.ones_like(missing[..., 0]) for c in self._table.columns
        ]
        return np.stack(columns, axis=-1)

    def _fitted_attributes(
        self, rows: Rows, weight_unit: float, procedure: FitProcedure, run: TrainingResult, n_rows: int | None = None
    ) -> dict[str, Any]:
        attributes = super()._fitted_attributes(rows, weight_unit, procedure, run, n_rows)
        n_missing = torch.zeros(rows.n_features, **FLOAT64)
        if rows.has_gaps:
            for batch in rows.chunks():
                n_missing += (~batch["mask"]).sum(0).cpu()
        share, n_seen = self._per_column(n_missing.numpy() / len(rows)), len(rows)
        if n_rows is not None:
            n_seen += self.n_samples_seen_
            share = self.missing_share_ + (share - self.missing_share_) * (len(rows) / n_seen)
        return attributes | {"missing_share_": share, "n_samples_seen_": n_seen}
