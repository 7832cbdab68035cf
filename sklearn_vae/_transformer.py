"""VAETransformer: nonlinear dimensionality reduction with a variational autoencoder."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._base import BaseVAE, check_generative
from sklearn_vae._data.devices import isolate
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.diagnostics import warn_if_unused
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import MAX_HELD_OUT, N_SPLITS, TransformerRules
from sklearn_vae._training.restart import SeenRows, new_start, seen_in
from sklearn_vae._validation import check_n_samples, check_sample_weight
from sklearn_vae.objectives.base import TermSums


class VAETransformer(BaseVAE):
    r"""Variational autoencoder for nonlinear dimensionality reduction.

    A variational autoencoder [1]_ consists of a generative model :math:`p(z)\,p(x|z)` and an
    approximate posterior :math:`q(z|x)`. The decoder network parametrises :math:`p(x|z)` and
    the encoder network :math:`q(z|x)`. Both are trained together to maximise the evidence
    lower bound (ELBO). ``transform`` returns posterior means.

    By default, training starts at the closed-form solution of probabilistic PCA [2]_, and
    held-out rows determine how long it continues. The default parameters need no tuning.

    Parameters
    ----------
    n_components : int, default=8
        Number of latent variables.

    hidden_layer_sizes : int, array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers. By default, the decoder has the same widths in
        reverse order. "auto" is (256, 128) for up to 5000 rows and (512, 256) for more. Used
        by network="mlp"; other networks define their own widths.

    likelihood : str or Likelihood, default="gaussian"
        Distribution p(x|z) of each column given the latent variables:

        - "gaussian": real values on any scale.
        - "bernoulli": zeros and ones, or probabilities of a one.
        - "continuous_bernoulli": real values in [0, 1].
        - "discretized_logistic": 256 equally spaced values in [0, 1].
        - "poisson", "negative_binomial": counts.
        - "multinomial": counts, given the row's total.

        If the values are in [0, 1], uint8 data with values above 1 have the range 0 to 255
        instead. Instances from `sklearn_vae.likelihoods` have options, e.g.
        ``Gaussian(scale="learned")``.

    prior : {"standard_normal", "mixture", "vamp"} or Prior, default="standard_normal"
        Distribution p(z) of the latent variables:

        - "standard_normal": independent standard normal variables.
        - "mixture": a mixture of Gaussians with learned parameters.
        - "vamp": the VampPrior, a mixture of the posteriors of learned pseudo-inputs.

        Instances from `sklearn_vae.priors` have options, e.g. ``VampPrior(500)``.

    beta : float or callable, default=1.0
        Weight of the KL term in the loss [3]_. A callable takes the number of steps that this
        training run has made and returns the weight, e.g. for KL warm-up. A run begins with
        ``fit``, and with the first ``partial_fit`` after it. The validation score
        uses the value at the last step of the schedule.

    network : {"mlp", "conv"} or Network, default="mlp"
        Architecture of the encoder and the decoder. "mlp": fully connected networks. "conv":
        convolutional networks; each row is a flattened image. Instances of
        `sklearn_vae.networks.MLP` and `Conv` have options. `sklearn_vae.networks.Modules`
        wraps your own torch modules.

    objective : {"elbo", "iwae", "free_bits", "autoencoder"} or Objective, default="elbo"
        Objective that training maximises:

        - "elbo": the evidence lower bound.
        - "iwae": the importance-weighted bound, which is tighter. It suits density estimation.
        - "free_bits": the ELBO without a penalty on a small KL divergence of each component, which
          keeps more components in use.
        - "autoencoder": a deterministic autoencoder without posterior noise and KL term. It
          is a baseline and has no ``sample``, ``score_samples`` and ``score``.

        Instances from `sklearn_vae.objectives` have options.

    init : {"ppca", "random"}, default="ppca"
        Initialisation of the model. "ppca": the encoder and the decoder are each the sum of a
        linear map and a neural network. The linear maps and the noise scale start at
        probabilistic PCA, and the networks start with output zero. "random": the encoder and
        the decoder are neural networks with random initial weights.

    whiten : bool, default=False
        Scale of the columns that ``transform`` returns. If False, each column is scaled by the
        component's effect on the data (see `latent_scale_`), like a PCA score. If True,
        columns are posterior means on the unit scale of the prior. Components with little
        effect on the data then count as much as the others in distances (kNN, RBF kernels).

    max_iter : int or "auto", default="auto"
        Maximum number of epochs. With 0, the model keeps its initial weights. "auto" is 400
        epochs, but at most 2000 steps, for up to 5000 rows. For more rows, it is 30 epochs,
        but at most 2800 steps. Steps are rounded to whole epochs; the minimum is one epoch.

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
        unit is the square root of the columns' mean variance. "auto" is
        min(0.5, 6 / sqrt(n_samples)).

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

    n_draws : int, default=64
        Number of importance samples per row in ``score_samples`` and ``score``.

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
    latent_scale_ : ndarray of shape (n_components,)
        Factors by which ``transform`` multiplies the posterior means,
        :math:`\sqrt{g_j^2 + \sigma^2} / s_j`. Here :math:`g_j` is the root mean square norm of
        the decoder's derivative with respect to :math:`z_j`, :math:`\sigma^2` is the mean noise
        variance of the columns, and :math:`s_j` is the standard deviation of the posterior
        means (at least 0.1). At the "ppca" start, the scaled means are the PCA scores. Defined
        only with whiten=False.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in ``fit``. Defined only if all names are strings.

    See Also
    --------
    VAEClassifier : Variational autoencoder that also learns from class labels.
    sklearn.decomposition.PCA : Linear dimensionality reduction.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling (2014). Auto-encoding variational Bayes. ICLR.
    .. [2] M. E. Tipping and C. M. Bishop (1999). Probabilistic principal component
       analysis. Journal of the Royal Statistical Society B 61(3).
    .. [3] I. Higgins et al. (2017). beta-VAE: Learning basic visual concepts with a
       constrained variational framework. ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> X = load_iris().data
    >>> vae = VAETransformer(n_components=2, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> vae.sample(3, random_state=0).shape
    (3, 4)
    """

    def __init__(
        self,
        n_components=8,
        *,
        hidden_layer_sizes="auto",
        likelihood="gaussian",
        prior="standard_normal",
        beta=1.0,
        network="mlp",
        objective="elbo",
        init="ppca",
        whiten=False,
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
        n_draws=64,
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
        self.whiten = whiten
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
        self.warm_start = warm_start
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @isolate
    def fit(self, X, y=None, sample_weight=None):
        """Fit the model to the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; at least two. float32, float64 and uint8 arrays in C order are
            not copied; uint8 values are converted to float32 batch by batch.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1. Rows with weight 0 are ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid, or the loss becomes non-finite.

        Warns
        -----
        UserWarning
            If no component has a larger KL than it would have in noise, or if a new start
            replaces the model of a warm start.
        """
        continues = self.warm_start and self.__sklearn_is_fitted__()
        with self._fitting(continues):
            checked = self._check_rows(X, reset=not continues)
            weight, unit = check_sample_weight(sample_weight, checked)
            rows = self._rows(checked, weight)
            progress = Progress(self, X, y, sample_weight, partial(self._fitted_attributes, rows, unit))
            procedure = self._procedure(rows, TransformerRules(len(rows)), progress, continues)
            seen = seen_in(rows)
            previous = copy.deepcopy(self._fitted_model.model) if continues else None
            if previous is not None and new_start(procedure, previous, rows, seen) is not None:
                previous = None
            run = self._run(procedure, rows, previous)
            attributes = self._fitted_attributes(rows, unit, procedure, run)
            attributes["_training_state"]["seen"] = seen._asdict()
            self._set_fitted(attributes)
            progress.end(dict)
        if run.n_epochs_run and hasattr(self, "kl_per_component_"):
            warn_if_unused(self.kl_per_component_, rows)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @isolate
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one epoch on the rows of `X`, continuing from the previous call.

        The first call initialises the model from its rows, and resolves every "auto" from their
        number. No rows are held out; `max_iter` and `early_stopping` are ignored, and the
        learning rate does not decay. `kl_per_component_` and `latent_scale_` are computed over
        `X`. If `X` has n < 100 rows, they are weighted means: the values for `X` have weight n,
        and those of earlier calls at most 100 - n.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: at least two in the first call, at least one in later calls.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1. In every call, weights are
            divided by the mean weight of the first call's rows. Doubling the weights of a
            later call therefore doubles its gradients.

        Returns
        -------
        self : object
            The estimator after one more epoch.

        Warns
        -----
        UserWarning
            If the rows differ in means or scales from those that the model started from, and a new start replaces
            the model, or will do so in a later call.
        """
        first = not self.__sklearn_is_fitted__()
        with self._fitting(continues=not first):
            min_rows = 2 if first else 1
            X = self._check_rows(X, reset=first, min_rows=min_rows)
            state = {} if first else self._training_state
            weight, unit = check_sample_weight(sample_weight, X, state.get("weight_unit"), min_rows)
            rows = self._rows(X, weight)
            n_rows = state.get("n_rows", len(rows))
            procedure = self._procedure(
                rows, TransformerRules(n_rows), Progress(self), continues=not first, in_chunks=True
            )
            before = TrainingResult(procedure.start(rows)) if first else self._past_run()
            seen = seen_in(rows, state.get("seen") and SeenRows(**state["seen"]))
            restart = None if first else new_start(procedure, before.model, rows, seen, seen.is_due)
            model, seen = restart or (before.model, seen)
            trainer = procedure.trainer(model, rows.device, procedure.n_steps(rows, 1))
            if state.get("trainer") is not None:
                trainer.load_state_dict(state["trainer"])
            n_steps_before, parts = trainer.step, trainer.run_epoch(rows)
            run = TrainingResult(
                trainer.average,
                before.n_epochs + 1,
                before.n_steps + trainer.step - n_steps_before,
                before.n_epochs_run + 1,
                [*before.curve, parts],
            )
            attributes = self._fitted_attributes(rows, unit, procedure, run, None if first else n_rows)
            attributes["_training_state"] |= {"trainer": trainer.state_dict(), "seen": seen._asdict()}
            self._set_fitted(attributes)
        return self

    @available_if(check_generative)
    @isolate
    def sample(self, n_samples=1, random_state=None):
        """Draw samples from the generative model p(z) p(x|z).

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the `random_state` of the estimator.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Samples, in the units of the training data.
        """
        check_is_fitted(self)
        self._validate_params()
        n_samples = check_n_samples(n_samples)
        return self._sample(partial(self._fitted_model.model.sample_latents, n_samples), random_state)

    @available_if(check_generative)
    def score(self, X, y=None):
        """Return the mean log-likelihood of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Mean of ``score_samples``, in nats per row.
        """
        return float(np.mean(self.score_samples(X)))

    def _past_run(self) -> TrainingResult:
        """Return the result of the training so far, with a copy of the model."""
        curves = zip(self.loss_curve_, self.reconstruction_curve_, self.kl_curve_, strict=True)
        model = copy.deepcopy(self._fitted_model.model)
        return TrainingResult(
            model, self.best_iter_, self.n_steps_, self.n_iter_, [TermSums(*parts) for parts in curves]
        )

    def _run(self, procedure: FitProcedure, rows: Rows, previous: VAE | None) -> TrainingResult:
        """Train the model with the stopping rule for this number of rows."""
        n_rows = len(rows)
        if not self.early_stopping or procedure.stopping.max_epochs == 0:
            return procedure.fit(rows, previous)
        rules = TransformerRules(n_rows)
        if previous is None and n_rows < N_SPLITS:
            return procedure.train(rows, 0)
        if previous is None and rules.is_small:
            return procedure.fit_cross_validated(rows, N_SPLITS, rules.n_folds)
        n_held_out = min(max(round(self.validation_fraction * n_rows), 1), MAX_HELD_OUT, n_rows - 1)
        return procedure.fit_held_out(rows, n_held_out, previous)
