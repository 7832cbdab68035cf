"""VAETransformer: a variational autoencoder where scikit-learn users put PCA."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._base import BaseVAE, check_generative, check_n_samples
from sklearn_vae._data.devices import isolate
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import MAX_HELD_OUT, N_SPLITS, TransformerRules
from sklearn_vae.objectives.base import Parts


class VAETransformer(BaseVAE):
    r"""Variational autoencoder for nonlinear dimensionality reduction.

    A generative model :math:`p(z)\,p(x|z)` and an approximate posterior :math:`q(z|x)`,
    both neural networks, trained together on the evidence lower bound of [1]_.
    ``transform`` returns posterior means. By default training starts at the closed-form
    solution of probabilistic PCA [2]_ and decides from held-out rows how far to leave
    it, so that nothing needs tuning.

    Parameters
    ----------
    n_components : int, default=8
        Number of latent variables.

    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them reversed. "auto" is
        (256, 128) up to 5000 rows and (512, 256) above. For network="mlp"; others have widths
        of their own.

    likelihood : str or Likelihood, default="gaussian"
        Distribution p(x|z) of the columns. "gaussian": any real columns, on any scale.
        "bernoulli": zeros and ones, or probabilities of a one.
        "continuous_bernoulli": any values in [0, 1].
        "discretized_logistic": 256 equally spaced values in [0, 1].
        Bytes with values above 1 are divided by 255 for the last three. An instance from
        `sklearn_vae.likelihoods` has options, such as ``Gaussian(scale="learned")``.

    prior : {"standard_normal", "mixture", "vamp"} or Prior, default="standard_normal"
        Distribution p(z) of the latent variables. "mixture": a learned mixture of Gaussians;
        "vamp": a mixture of posteriors. `sklearn_vae.priors` has their options.

    beta : float or callable, default=1.0
        Weight of the KL term [3]_; a callable gets the number of steps made and returns
        the weight (warm-up). Held-out rows are judged with its value at the last step.

    network : {"mlp", "conv"} or Network, default="mlp"
        Encoder and decoder. "conv": convolutions on images, one per row. `sklearn_vae.networks.MLP`
        and `Conv` have options; `Modules` takes your own torch modules.

    objective : {"elbo", "iwae", "free_bits", "autoencoder"} or Objective, default="elbo"
        What training maximises. "iwae": a tighter bound, for densities. "free_bits": the
        ELBO, with some KL that costs nothing, against components that are not used.
        "autoencoder" is the deterministic baseline: no noise, no KL; it has no ``sample``,
        ``score_samples`` and ``score``. `sklearn_vae.objectives` has options.

    init : {"ppca", "random"}, default="ppca"
        "ppca": encoder and decoder are linear maps plus networks; the maps and the noise
        start at probabilistic PCA, the networks at zero. "random": networks alone, with
        random weights, the textbook start.

    whiten : bool, default=False
        False: each column of ``transform`` is scaled to the size of its effect on the data, as
        a PCA score is (see `latent_scale_`). True: columns are posterior means on the prior's
        unit scale, on which components that hardly matter weigh as much as the others in
        distances (kNN, RBF kernels).

    max_iter : int or "auto", default="auto"
        Largest number of epochs. 0 leaves the model at its start. "auto" is 400 epochs but
        no more than 2000 steps up to 5000 rows, and 30 epochs but no more than 2800 steps
        above, rounded to whole epochs, one at least.

    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is 64 up to 5000 rows and 256 above.

    learning_rate_init : float or "auto", default="auto"
        Learning rate of Adam, reached after `warmup_steps`. "auto" is 2e-3 at 64 rows per
        step and goes with the root of `batch_size`.

    warmup_steps : int or "auto", default="auto"
        Steps over which the learning rate rises linearly; "auto" is 100.

    learning_rate_decay : float, default=0.5
        Share of the steps up to `max_iter` over which, at the end, the learning rate falls
        linearly to 0.

    alpha : float or "auto", default="auto"
        Decoupled weight decay of the networks, 1e-4 by "auto"; linear maps have none.

    input_noise : float or "auto", default="auto"
        Standard deviation of the noise that the encoder's input gets in training, in units
        of the columns' root mean variance. "auto" is min(0.5, 6 / sqrt(n_samples)).

    averaging : float, default=0.998
        Largest decay per step of the moving average of the weights, which is what is
        kept. 0 keeps the last weights.

    early_stopping : bool, default=True
        Whether held-out rows decide the number of epochs. Up to 5000 rows, the number is
        chosen on one held-out fifth of the rows (three below 1000 rows), and a last run uses
        all rows; above, `validation_fraction` of the rows is set aside, 5000 at most, and
        the weights of the best epoch are kept. Fewer than five rows stay at their start.

    validation_fraction : float, default=0.1
        Share of rows to set aside for early stopping above 5000 rows.

    n_iter_no_change : int, default=8
        Stop after this number of validations in a row without an improvement by `tol`. A
        validation comes after every epoch, or every 25 steps where epochs are shorter.

    tol : float, default=0.0
        Smallest improvement of the validation score that counts, in nats per row.

    n_draws : int, default=64
        Number of importance samples in ``score_samples`` and ``score``.

    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last call.

    device : str or torch.device, default="auto"
        "auto": a CUDA device where there is one, otherwise the CPU.

    n_jobs : int, default=None
        Number of threads. None is one, unless in a `joblib.parallel_config` context, and
        gives the same result everywhere; -1 is all.

    random_state : int, RandomState instance or None, default=None
        The only source of randomness. None draws a fresh seed from the operating system.

    verbose : bool or int, default=False
        1 or True prints a line per validation, and as often without one; 2 prints one per
        epoch. ``partial_fit`` prints nothing.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted model.
    n_iter_ : int
        Number of epochs run; where the number was chosen on held-out parts, in the longest
        of those runs.
    best_iter_ : int
        Number of epochs that the kept weights were trained for.
    n_steps_ : int
        Number of steps that the kept weights were trained for.
    loss_curve_ : list of float
        Mean training loss of each epoch, in nats per row.
    reconstruction_curve_ : list of float
        The part of it that says how well rows are reconstructed, minus log p(x|z).
    kl_curve_ : list of float
        The KL term, to which `beta` has not been applied; 0 with objective="autoencoder".
    validation_scores_ : list of float
        Minus the mean loss of held-out rows, in nats per row, at the start and at each
        validation, with an optimal noise scale at its optimum on these rows and `beta` as
        at the last step; only with early stopping.
    validation_iter_ : list of float
        Number of epochs before each validation: of epochs over all rows where the number was
        chosen on held-out parts; only with early stopping.
    best_validation_score_ : float
        The largest of them; only with early stopping.
    noise_variance_ : float or ndarray of shape (`n_features_in_`,)
        Noise variance in the data's units, for an optimal scale and with early stopping as
        measured on held-out rows; by default one per column up to 128 columns, one for all
        above. Only with a Gaussian or discretised logistic likelihood.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL(q(z_j|x) || p(z_j)) over training rows, 8192 at most, in nats: about 0 for a
        component that is not used. Not for objective="autoencoder".
    latent_scale_ : ndarray of shape (n_components,)
        What ``transform`` multiplies posterior means by: the root of the decoder's mean
        squared gain plus the noise variance, over the means' spread. At the "ppca" start
        the scaled means are PCA's scores. Only with whiten=False.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where they are all strings.

    See Also
    --------
    sklearn.decomposition.PCA : The linear model, where training starts.

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
            Training rows; at least two. float32, float64 and uint8 arrays are
            not copied; bytes are converted to float32 by the batch.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; rows of weight 0 take no part.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are not valid, or the loss becomes non-finite.
        """
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        with self._fitting(goes_on):
            checked = self._check_rows(X, reset=not goes_on)
            weight, unit = self._check_weight(sample_weight, checked)
            rows = self._rows(checked, weight)
            progress = Progress(self, X, y, sample_weight, partial(self._fitted_attributes, rows, unit))
            procedure = self._procedure(rows, TransformerRules(len(rows)), progress, goes_on)
            run = self._run(procedure, rows, copy.deepcopy(self._fitted_model.model) if goes_on else None)
            self._set_fitted(self._fitted_attributes(rows, unit, procedure, run))
            progress.end(dict)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @isolate
    def partial_fit(self, X, y=None, sample_weight=None):
        """Go on training with one pass over the rows of `X`.

        The first call sets the start from its rows, and every "auto" from their number. Nothing
        is held out, and `max_iter` and `early_stopping` are not used. `kl_per_component_` and
        `latent_scale_` are measured over the last rows, 8192 and 1024 or so.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; at least two in the first call, one in later calls.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; None stands for 1. All calls share one unit, the mean weight
            of the first call's rows: a chunk of rows with twice the weight has gradients
            twice as large.

        Returns
        -------
        self : object
            The estimator after one more pass.
        """
        first = not self.__sklearn_is_fitted__()
        with self._fitting(goes_on=not first):
            X = self._check_rows(X, reset=first)
            state = {} if first else self._training_state
            weight, unit = self._check_weight(sample_weight, X, state.get("weight_unit"))
            rows = self._rows(X, weight)
            n_rows = state.get("n_rows", len(rows))
            procedure = self._procedure(rows, TransformerRules(n_rows), Progress(self), goes_on=not first, passes=True)
            before = TrainingResult(procedure.start(rows)) if first else self._past_run()
            trainer = procedure.trainer(before.model, rows.device, procedure.n_steps(rows, 1))
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
            attributes["_training_state"]["trainer"] = trainer.state_dict()
            self._set_fitted(attributes)
        return self

    @available_if(check_generative)
    @isolate
    def sample(self, n_samples=1, random_state=None):
        """Draw rows from the model, p(z) p(x|z).

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            In the data's units.
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
        """Return the training so far as a run, with a copy of its model."""
        curves = zip(self.loss_curve_, self.reconstruction_curve_, self.kl_curve_, strict=True)
        model = copy.deepcopy(self._fitted_model.model)
        return TrainingResult(model, self.best_iter_, self.n_steps_, self.n_iter_, [Parts(*parts) for parts in curves])

    def _run(self, procedure: FitProcedure, rows: Rows, previous: VAE | None) -> TrainingResult:
        """Choose how to decide when to stop."""
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
