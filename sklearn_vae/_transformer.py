"""VAETransformer: nonlinear dimensionality reduction with a variational autoencoder."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, takewhile
from typing import ClassVar

from sklearn.utils._param_validation import StrOptions

from sklearn_vae._data.rows import Rows
from sklearn_vae._latent import LatentTransformerMixin
from sklearn_vae._training.fit import FitProcedure
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import Rules
from sklearn_vae._unsupervised import UnsupervisedVAE


class VAETransformer(LatentTransformerMixin, UnsupervisedVAE):
    r"""Variational autoencoder for nonlinear dimensionality reduction.

    A variational autoencoder [1]_ consists of a generative model :math:`p(z)\,p(x|z)` and an
    approximate posterior :math:`q(z|x)`. The decoder network parametrises :math:`p(x|z)` and
    the encoder network :math:`q(z|x)`. Both are trained together to maximise the evidence
    lower bound (ELBO). ``transform`` returns posterior means.

    By default, training starts at the closed-form solution of probabilistic PCA [2]_, and
    held-out rows determine how long it continues. The default parameters need no tuning.

    Parameters
    ----------
    n_components : int, float, None or "auto", default=8
        Number of latent variables. A float in (0, 1) is a share of the variance: the number is that of the principal
        components that explain more, as in scikit-learn's `PCA`. None is the smaller one of the numbers of rows and
        columns; a category counts as a column. With "auto", the numbers 1, 2, 4, 8, ... are tried in short runs, and
        the one with the largest log-likelihood of held-out rows is used. The search ends after two numbers in a row
        that are no better.

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
        - "gaussian": real values on any scale.
        - "bernoulli": zeros and ones, or probabilities of a one.
        - "continuous_bernoulli": real values in [0, 1].
        - "discretized_logistic": 256 equally spaced values in [0, 1].
        - "poisson", "negative_binomial": counts.
        - "multinomial": counts, given the row's total.
        - "quantile_gaussian": integers, or columns with spikes and tails.

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

    whiten : bool, default=False
        Scale of the columns that ``transform`` returns. If False, each column is scaled by the
        component's effect on the data (see `latent_scale_`), like a PCA score. If True,
        columns are posterior means on the unit scale of the prior. Components with little
        effect on the data then count as much as the others in distances (kNN, RBF kernels).

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
        unit is the square root of the columns' mean variance. "auto" is
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
    latent_scale_ : ndarray of shape (n_components,)
        Factors by which ``transform`` multiplies the posterior means,
        :math:`\sqrt{g_j^2 + \sigma^2} / s_j`. Here :math:`g_j` is the root mean square norm of
        the decoder's derivative with respect to :math:`z_j`, :math:`\sigma^2` is the mean noise
        variance of the columns, and :math:`s_j` is the standard deviation of the posterior
        means (at least 0.1). At the "ppca" start, the scaled means are the PCA scores. In a
        data frame of mixed columns, all of these refer to standardised columns. With
        objective="neighbors", all factors are the `scale` of the map. Defined only with
        whiten=False.
    n_features_in_ : int
        Number of columns seen in ``fit``; a column of categories counts as one.
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

    _parameter_constraints: ClassVar[dict] = {
        **UnsupervisedVAE._parameter_constraints,
        "n_components": [*UnsupervisedVAE._parameter_constraints["n_components"], StrOptions({"auto"})],
    }

    def __init__(
        self,
        n_components=8,
        *,
        hidden_layer_sizes="auto",
        likelihood="from_dtype",
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

    def _n_components(self, rows: Rows, rules: Rules) -> int:
        return 1 if isinstance(self.n_components, str) else super()._n_components(rows, rules)

    def _procedure(
        self, rows: Rows, rules: Rules, progress: Progress, continues: bool = False, in_chunks: bool = False
    ) -> FitProcedure:
        procedure = super()._procedure(rows, rules, progress, continues, in_chunks)
        if continues or not isinstance(self.n_components, str):
            return procedure
        if in_chunks or not procedure.architecture.generative:
            raise ValueError(
                "expected n_components to be a number in partial_fit and with objective='autoencoder', got 'auto', "
                "which compares log-likelihoods of held-out rows; use fit and another objective, or a number."
            )
        n_most = max(2, min(len(rows), rows.n_features))
        likelihood = procedure.architecture.likelihood
        architectures = [
            replace(self._new_architecture(len(rows), rows.n_features, n, True, rules), likelihood=likelihood)
            for n in takewhile(lambda n: n < n_most, (2**i for i in count()))
        ]
        return replace(procedure, sizes=tuple(architectures))
