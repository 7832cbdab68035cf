"""VAEClassifier: semi-supervised classification and a generative model in one estimator."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassifierMixin, _fit_context, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from sklearn_vae._base import BaseVAE, check_generative
from sklearn_vae._data.devices import isolate
from sklearn_vae._data.labels import (
    TO_NUMBERS,
    Labels,
    encode_as,
    encode_labels,
    is_unlabelled,
    refuse_missing,
    split_labels,
    warn_of_unlabelled,
)
from sklearn_vae._data.rows import Rows
from sklearn_vae._latent import LatentTransformerMixin
from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.class_samples import sample_of_classes
from sklearn_vae._model.inference import Inference
from sklearn_vae._model.vae import VAE
from sklearn_vae._semi_supervised.classifier_fit import ClassifierProcedure
from sklearn_vae._semi_supervised.mixture_fit import fit_class_mixture, update_class_mixture
from sklearn_vae._training.fit import FitProcedure, Seeds, TrainingResult
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import ClassifierRules
from sklearn_vae._validation import check_n_samples, check_noise, check_sample_weight, unless_auto
from sklearn_vae.objectives.joint import Joint

# Bounds on the largest class weight: outside them, squared gradients underflow or overflow in float32.
CLASS_WEIGHT_RANGE = (1e-15, 1e15)


class VAEClassifier(ClassifierMixin, LatentTransformerMixin, BaseVAE):
    r"""Variational autoencoder for classification with many or few labels.

    The classifier and the generative model share one encoder. Its features determine the class
    logits and the mean and scale of the posterior. Training minimises the sum of the
    cross-entropy, a consistency term (virtual adversarial training [1]_) and, with a small
    weight, the negative evidence lower bound (ELBO) [2]_.

    Rows with ``y == -1`` are unlabelled. Their classes are estimated by label spreading over a
    nearest-neighbour graph [3]_ and by a network trained on the labelled rows. With more than
    5000 rows and 32 columns, the graph is that of the codes of a VAE trained without labels. The
    two estimates are combined with weights fitted on held-out labels, and the classifier learns
    from these pseudo-labels. If label spreading does not improve the predictions of held-out
    labels, the pseudo-labels are those of the network alone.

    Below, the classes are called clustered if some rows are unlabelled and two conditions
    hold: label spreading alone predicts held-out labels better than the network, and the
    combination predicts them at least as well as the network. If no label can be held out,
    classes are called clustered if the graph is that of codes. Several "auto" values depend on
    this. See the user guide.

    Parameters
    ----------
    n_components : int, float, None or "auto", default="auto"
        Number of latent variables. "auto" is 16, but at most half the number of columns and a
        quarter of the number of rows. A float in (0, 1) is a share of the variance, and None the
        smaller one of the numbers of rows and columns, as in scikit-learn's `PCA`; a category
        counts as a column.

    generative_weight : float, default=1e-3
        Weight of the generative loss, the negative ELBO in nats per row. The cross-entropy has
        weight 1. With 0, no generative model is trained: the classifier has no ``sample``
        and ``score_samples``.

    consistency_weight : float or "auto", default="auto"
        Weight of the consistency term. This term is the KL divergence between the predictions
        for a row and for a perturbed row. The perturbation has length `consistency_radius` and
        the direction that changes the predictions most. "auto" is 1 with fewer than 1000 rows
        that are all labelled, and 2 otherwise. If a class is rare it is 0, with another "auto"
        value of `alpha`, unless held-out labels prefer the usual values. With unlabelled rows, a
        run that does not fit its labels or pseudo-labels is replaced by one without this term
        and the entropy term.

    consistency_radius : float or "auto", default="auto"
        Length of the perturbation in the consistency term, as a fraction of the median norm of
        the centred rows. "auto" is 0.2 if the classes are clustered or if there are at least
        1000 rows, all labelled. Otherwise it is 0.15.

    entropy_weight : float or "auto", default="auto"
        Weight of the entropy of the predicted class probabilities in the loss. "auto" is 0.3
        if the classes are clustered, and 0 otherwise.

    unlabelled : {"auto", "ignore"}, default="auto"
        Use of label spreading for unlabelled rows.

        - "auto": label spreading contributes to the pseudo-labels if it improves the
          predictions of held-out labels. With one label per class, no labels can be held
          out, and label spreading always contributes. If it does not contribute, training is
          as with "ignore".
        - "ignore": no label spreading. The pseudo-labels are the predictions of a network
          trained on the labelled rows. The loss then has neither the consistency term nor the
          entropy term.

        Unlabelled rows train the generative model in both cases.

    n_neighbors : int, default=10
        Number of neighbours of each row in the graph for label spreading.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the cross-entropy: a dict ``{label: weight}``, or "balanced"
        for weights inversely proportional to the class frequencies among labelled rows. None
        gives each class weight 1.

    n_mixture_components : int, default=10
        Maximum number of Gaussians in the mixture p(z|y) of each class, which is fitted after
        training. Mixtures of 1, 2, 5, 10, 20, 50, ... Gaussians are fitted, up to this number,
        until the BIC increases. The mixture with the lowest BIC is kept.

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
        After training, one mixture per class replaces the prior in ``sample`` and
        ``score_samples``.

    beta : float or callable, default=1.0
        Weight of the KL term in the loss. A callable takes the number of steps that this
        training run has made and returns the weight, e.g. for KL warm-up.

    network : {"mlp", "conv"} or Network, default="mlp"
        Architecture of the encoder and the decoder. "mlp": fully connected networks. "conv":
        convolutional networks; each row is a flattened image. Instances of
        `sklearn_vae.networks.MLP` and `Conv` have options. `sklearn_vae.networks.Modules`
        wraps your own torch modules.

    objective : {"elbo", "iwae", "free_bits", "neighbors", "autoencoder"} or Objective, default="elbo"
        Generative objective, which training maximises beside the classification terms:

        - "elbo": the evidence lower bound.
        - "iwae": the importance-weighted bound, which is tighter. It suits density estimation.
        - "free_bits": the ELBO without a penalty on a small KL divergence of each component, which
          keeps more components in use.
        - "neighbors": the ELBO beside a map of the rows that keeps their neighbours, as t-SNE and
          UMAP do. It suits two components, for pictures.
        - "autoencoder": a deterministic autoencoder without posterior noise and KL term. It
          is a baseline and has no ``sample`` and ``score_samples``.

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
        Number of epochs. With 0, the model keeps its initial weights. "auto" depends on the
        rows:

        - Above 5000 rows: 30 epochs, but at most 7000 steps.
        - Up to 5000 rows, with clustered classes or at least 1000 rows that are all labelled:
          300 steps, but at least 40 epochs.
        - Otherwise: 200 to 400 steps, but at least 15 epochs.

    batch_size : int or "auto", default="auto"
        Number of rows per training step. "auto" is 64 for up to 5000 rows and 256 for more.

    learning_rate_init : float or "auto", default="auto"
        Peak learning rate of Adam, reached after `warmup_steps`. "auto" is
        2e-3 * sqrt(max(batch_size, 64) / 64).

    warmup_steps : int or "auto", default="auto"
        Number of steps in which the learning rate increases linearly to its peak. "auto" is 10
        for up to 5000 rows and 100 for more.

    learning_rate_decay : float, default=0.5
        Fraction of the training schedule, at its end, in which the learning rate decreases
        linearly to 0. The schedule has `max_iter` epochs.

    alpha : float or "auto", default="auto"
        Decoupled weight decay of the networks. Linear maps have no weight decay. "auto"
        depends on the rows:

        - Up to 5000 rows, with clustered classes or at least 1000 rows that are all labelled:
          0.1.
        - Below 1000 rows, all labelled: min(3, 500 / n_samples).
        - Otherwise: min(3, 3e6 / n_samples**2).

    input_noise : float or "auto", default="auto"
        Standard deviation of the Gaussian noise added to the encoder's input in training. The
        unit is the square root of the columns' mean variance. "auto" is 0, because
        consistency training regularises better.

    averaging : float, default=0.998
        Maximum decay per step of the moving average of the weights. The fitted model has the
        averaged weights. With 0, it has the weights of the last step.

    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the labelled rows of each class. Training
        then stops when the validation score no longer improves, and the fitted model has the
        weights of the epoch with the best score. At least one row per class is kept for
        training.

    validation_fraction : float, default=0.1
        Fraction of the labelled rows to hold out for early stopping.

    n_iter_no_change : int, default=8
        Maximum number of consecutive validations without an improvement by `tol`. Training then
        stops, unless the score is above that of half as many validations before. Validations do
        not count while `beta` differs from its final value. The model is validated after every
        epoch, or about every 25 steps if epochs are shorter.

    tol : float, default=0.0
        Minimum improvement of the validation score, in nats per row.

    n_draws : int, default=64
        Number of importance samples per row in ``score_samples``.

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
        same interval. If 2, print one line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted class labels, without -1.
    class_prior_ : ndarray of shape (n_classes,)
        Class probabilities p(y): the fraction of each class among all training rows. Unlabelled
        rows count with their predicted probabilities. Defined only with a generative model.
    module_ : torch.nn.Module
        The fitted model.
    n_components_ : int
        Number of latent variables.
    n_iter_ : int
        Number of epochs run.
    best_iter_ : int
        Number of training epochs of the fitted model.
    n_steps_ : int
        Number of training steps of the fitted model.
    loss_curve_ : list of float
        Mean training loss of each epoch, in nats per row.
    reconstruction_curve_ : list of float
        Mean reconstruction term of the generative loss, -log p(x|z), of each epoch, in nats
        per row. 0 with generative_weight=0.
    kl_curve_ : list of float
        Mean KL term of the generative loss of each epoch before multiplication by `beta`, in
        nats per row. 0 with generative_weight=0 or objective="autoencoder".
    validation_scores_ : list of float
        Negative mean cross-entropy of the held-out labelled rows at the start and at each
        validation, in nats per row. Defined only with early stopping.
    validation_iter_ : list of float
        Number of epochs before each validation. Defined only with early stopping.
    best_validation_score_ : float
        Maximum of `validation_scores_`, from the step at which `beta` has its last value.
        Defined only with early stopping.
    noise_variance_ : float or ndarray of shape (`n_features_in_`,)
        Variance of the noise in p(x|z), in squared units of the data. Defined only with a
        Gaussian or discretised logistic likelihood.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL(q(z_j|x) || p(z_j)) over at most 8192 training rows, in nats. Unused components
        have a value near 0. Defined only with a generative model.
    latent_scale_ : ndarray of shape (n_components,)
        Factors by which ``transform`` multiplies the posterior means; `VAETransformer` has the
        formula. Defined only with whiten=False.
    n_features_in_ : int
        Number of columns seen in ``fit``; a column of categories counts as one.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in ``fit``. Defined only if all names are strings.

    See Also
    --------
    VAETransformer : Variational autoencoder without labels.
    LabelledKFold : Cross-validation splits for data with unlabelled rows.
    sklearn.semi_supervised.LabelSpreading : Label spreading without a network.

    Notes
    -----
    ``score`` counts unlabelled rows as errors and warns; scikit-learn's scorers count them as
    errors without a warning. Compute scores on labelled rows only, e.g. with `LabelledKFold`.

    Columns should be on comparable scales, as for PCA: put a scaler before the classifier.
    The classifier assumes that the class proportions of the labelled rows are those of all rows.

    References
    ----------
    .. [1] T. Miyato, S. Maeda, M. Koyama and S. Ishii (2018). Virtual adversarial training.
       IEEE Transactions on Pattern Analysis and Machine Intelligence 41(8).
    .. [2] D. P. Kingma, D. J. Rezende, S. Mohamed and M. Welling (2014). Semi-supervised
       learning with deep generative models. NeurIPS.
    .. [3] D. Zhou et al. (2004). Learning with local and global consistency. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAEClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> few = np.where(np.arange(150) % 10 == 0, y, -1)
    >>> vae = VAEClassifier(random_state=0).fit(X, few)
    >>> vae.predict_proba(X).shape
    (150, 3)
    >>> vae.sample(2, y=1, random_state=0)[1]
    array([1, 1])
    """

    classes_: np.ndarray

    _parameter_constraints: ClassVar[dict] = {
        **BaseVAE._parameter_constraints,
        "n_components": [*BaseVAE._parameter_constraints["n_components"], StrOptions({"auto"})],
        "generative_weight": [Interval(Real, 0, None, closed="left")],
        "consistency_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "consistency_radius": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "entropy_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "unlabelled": [StrOptions({"auto", "ignore"})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "n_mixture_components": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components="auto",
        *,
        generative_weight=1e-3,
        consistency_weight="auto",
        consistency_radius="auto",
        entropy_weight="auto",
        unlabelled="auto",
        n_neighbors=10,
        class_weight=None,
        n_mixture_components=10,
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
        early_stopping=False,
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
        self.generative_weight = generative_weight
        self.consistency_weight = consistency_weight
        self.consistency_radius = consistency_radius
        self.entropy_weight = entropy_weight
        self.unlabelled = unlabelled
        self.n_neighbors = n_neighbors
        self.class_weight = class_weight
        self.n_mixture_components = n_mixture_components
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
    def fit(self, X, y, sample_weight=None):
        """Fit the model to rows of which some or all are labelled.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows; at least two. float32, float64 and uint8 arrays in C order are
            not copied; uint8 values are converted to float32 batch by batch. Sparse matrices
            are converted to CSR, and their rows become dense batch by batch.
        y : array-like of shape (n_samples,)
            Labels: strings, booleans or integers. The integer -1 marks an unlabelled row,
            also in an object array.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1. Rows with weight 0 are ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid, there are fewer than two classes, or the
            loss becomes non-finite.
        TypeError
            If labels have several types, or are neither strings, booleans nor numbers.
        """
        continues = self.warm_start and self.__sklearn_is_fitted__()
        with self._fitting(continues):
            checked, codes, weight, unit = self._check_labelled_rows(X, y, sample_weight, continues)
            rows = self._rows(checked, weight)
            row_weight = np.ones(len(rows)) if weight is None else weight
            labels = Labels(codes, self._check_class_weight(codes), row_weight, len(self.classes_))
            progress = Progress(self, X, y, sample_weight, partial(self._classifier_attributes, rows, unit, labels))
            procedure = self._classifier_procedure(rows, labels, progress, continues)
            fraction = self.validation_fraction if self.early_stopping else 0.0
            run = procedure.fit(rows, labels, fraction, copy.deepcopy(self._fitted_model.model) if continues else None)
            self._set_fitted(progress.attributes(procedure.final, run))
            progress.end(dict)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @isolate
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on the rows of `X`, continuing from the previous call.

        The first call initialises the model from its rows, and resolves every "auto" from their
        number, as if all were labelled. Unlabelled rows get no pseudo-labels: they take part in the generative
        model and the consistency term. The probabilities are not calibrated. `max_iter`, `early_stopping` and
        `unlabelled` are ignored, and the learning rate does not decay. p(z|y) is one Gaussian for each class, also
        after a ``fit``, with the moments of about the last 1000 of its rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows: at least two in the first call, at least one in later calls.
        y : array-like of shape (n_samples,)
            Labels. The integer -1 marks an unlabelled row.
        classes : array-like of shape (n_classes,), default=None
            All classes that occur in any call, without -1. Required in the first call, unless ``fit`` came before.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1. In every call, weights are
            divided by the mean weight of the first call's rows.

        Returns
        -------
        self : object
            The estimator after one more epoch.

        Raises
        ------
        ValueError
            If parameters or data are invalid, `classes` are missing in the first call or differ from those of an
            earlier one, a label is not among them, or ``class_weight="balanced"``.
        TypeError
            If labels have several types, or are neither strings, booleans nor numbers.

        Warns
        -----
        UserWarning
            If the rows differ in means or scales from those that the model started from, and a new start replaces
            the model, or will do so in a later call.
        """
        first = not self.__sklearn_is_fitted__()
        with self._fitting(continues=not first):
            if self.class_weight == "balanced":
                raise ValueError(
                    "expected class_weight to be None or a dictionary for partial_fit, which does not know how often "
                    "the classes will occur, got 'balanced'; use sklearn.utils.class_weight.compute_class_weight."
                )
            min_rows = 2 if first else 1
            if y is not None:
                refuse_missing(y)
            X, y = self._check_rows(X, reset=first, y=y, min_rows=min_rows)
            self._check_classes(classes)
            state = {} if first else self._training_state
            weight, unit = check_sample_weight(sample_weight, X, state.get("weight_unit"), min_rows)
            if weight is not None and not weight.all():
                X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
            rows = self._rows(X, weight)
            codes, n_classes = encode_as(y, self.classes_), len(self.classes_)
            class_weight = np.append(self._check_class_weight(np.arange(n_classes)), 1.0)
            row_weight = np.ones(len(rows)) if weight is None else weight
            # The last class weight is that of unlabelled rows, whose index is -1.
            labels = Labels(codes, class_weight[codes], row_weight, n_classes)
            attributes = self._train_chunk(labels.of(rows), unit, lambda n: ClassifierRules(n, n), state)
            if attributes["_architecture"].generative:
                model, earlier = attributes["_fitted_model"].model, state.get("statistics", {}).get("classes")
                shares, attributes["class_prior_"] = update_class_mixture(model, rows, labels, earlier)
                attributes["_training_state"]["statistics"]["classes"] = shares
            self._set_fitted(attributes)
        return self

    @isolate
    def predict_log_proba(self, X):
        """Return the log-probability of each class for each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            One column per class, in the order of `classes_`.
        """
        X = self._check_new_rows(X)
        return self._fitted_model.inference.map(VAE.log_proba, X)

    def predict_proba(self, X):
        """Return the probability of each class for each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            One column per class, in the order of `classes_`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels from `classes_`.
        """
        log_p = self.predict_log_proba(X)
        return self.classes_[log_p.argmax(1)]

    def score(self, X, y, sample_weight=None):
        """Return the accuracy of the predictions for labelled rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.
        y : array-like of shape (n_samples,)
            True labels, of any type that ``fit`` accepts. Unlabelled rows (-1) count as errors.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. None gives each row weight 1.

        Returns
        -------
        score : float
            Weighted fraction of the rows that are predicted correctly.

        Warns
        -----
        UserWarning
            If there are unlabelled rows.
        """
        refuse_missing(y)
        labels, unlabelled = split_labels(column_or_1d(y))
        predicted = self.predict(X)
        check_consistent_length(predicted, unlabelled, sample_weight)
        weight = _check_sample_weight(sample_weight, unlabelled, dtype=np.float64)
        if unlabelled.any():
            warn_of_unlabelled(unlabelled.sum(), len(unlabelled))
        if unlabelled.all():
            return 0.0
        accuracy = accuracy_score(labels, predicted[~unlabelled], sample_weight=weight[~unlabelled])
        return float(accuracy * weight[~unlabelled].sum() / weight.sum())

    @available_if(check_generative)
    @isolate
    def sample(self, n_samples=1, y=None, random_state=None, *, noise=True):
        """Draw samples and their classes.

        The classes are drawn from p(y), `class_prior_`, and the samples approximately from p(x|y),
        which is proportional to p(x) p(y|x). Here p(x) is the density that ``score_samples`` returns, and
        p(y|x) are the probabilities that ``predict_proba`` returns. For each sample, eight
        candidates are drawn from p(z|y) p(x|z), and one is kept by its importance weight
        p(y|x) / p(y|z) [1]_.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples. If `y` is an array, one sample is drawn for each of its labels,
            and `n_samples` must be 1 or the length of `y`.
        y : label, array-like of shape (n_samples,) or None, default=None
            One label for all samples, or the label of each sample. None draws the classes
            from `class_prior_`.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the `random_state` of the estimator.
        noise : bool, default=True
            Whether samples are rows drawn from p(x|z). If False, they are the means of p(x|z) at the same
            latent variables: images without static, but rows that vary less than the data.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or data frame
            Samples, in the units of the training data. If the estimator was fitted to a data
            frame with other columns than numbers, a frame with the same columns and dtypes.
        y : ndarray of shape (n_samples,)
            Labels from `classes_`.

        Raises
        ------
        ValueError
            If a label is not in `classes_`, or the length of `y` differs from `n_samples`.

        References
        ----------
        .. [1] A. F. M. Smith and A. E. Gelfand (1992). Bayesian statistics without tears: a
           sampling-resampling perspective. The American Statistician 46(2).
        """
        check_is_fitted(self)
        self._validate_params()
        n_samples, noise = check_n_samples(n_samples), check_noise(noise)
        codes = None if y is None else self._codes(y, n_samples)
        drawn = []

        def draw(inference: Inference, generator: torch.Generator) -> np.ndarray:
            """Draw rows of the classes, and keep the classes."""
            mixture = inference.model.class_mixture
            assert mixture is not None
            index = mixture.sample_classes(n_samples, generator) if codes is None else codes.to(generator.device)
            drawn.append(index.cpu().numpy())
            return sample_of_classes(inference, index, generator, noise=noise)

        X = self._sample(draw, random_state)
        return X, self.classes_[drawn[0]]

    def _check_labelled_rows(
        self, X, y, sample_weight, continues: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, float]:
        """Return the validated rows with positive weight, their class indices, their weights and the unit of weight."""
        if y is not None:
            refuse_missing(y)
        X, y = self._check_rows(X, reset=not continues, y=y)
        weight, unit = check_sample_weight(sample_weight, X)
        if weight is not None and not weight.all():
            X, y, weight = X[weight > 0], y[weight > 0], weight[weight > 0]
            weight = None if (weight == 1).all() else weight
        classes, codes = encode_labels(y)
        if len(classes) < 2:
            where = "y" if sample_weight is None else "y, where sample_weight is positive"
            came = "none: all rows are unlabelled (-1)"
            if len(classes):
                came = f"1 class, {classes.tolist()[0]!r}, and {np.sum(codes < 0)} unlabelled rows (-1)"
            raise ValueError(
                f"expected labels of at least two classes in {where}, got {came}; "
                "use VAETransformer for rows without labels, and a label other than -1 for each class."
            )
        if continues and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"expected the classes of the first call, {self.classes_!r}, got {classes!r}; use warm_start=False."
            )
        self.classes_ = classes
        return X, codes, weight, unit

    def _check_classes(self, classes) -> None:
        """Validate the classes of ``partial_fit``, and set `classes_` in the first call."""
        _check_partial_fit_first_call(self, classes)
        if is_unlabelled(self.classes_).any():
            raise ValueError(
                f"expected classes without -1, which marks unlabelled rows, got {classes!r}; if -1 is meant as a "
                f"class, convert the labels: {TO_NUMBERS}."
            )
        if len(self.classes_) < 2:
            raise ValueError(
                f"expected at least two classes, got {classes!r}; use VAETransformer for rows without labels."
            )

    def _check_class_weight(self, codes: np.ndarray) -> np.ndarray:
        """Return the class weight of each row; unlabelled rows have weight 1."""
        weight = np.ones(len(codes))
        weight[codes >= 0] = compute_sample_weight(self.class_weight, self.classes_[codes[codes >= 0]])
        least, most = CLASS_WEIGHT_RANGE
        if not (weight.min() >= 0 and weight.max() <= most and weight[codes >= 0].max() >= least):
            raise ValueError(
                f"expected class_weight to be finite numbers of at least 0 and at most {most:g}, and one of at least "
                f"{least:g} for a class that occurs, got {self.class_weight!r}; choose weights relative to 1, the "
                "weight of the cross-entropy with class_weight=None."
            )
        return weight

    def _codes(self, y, n_samples: int) -> torch.Tensor:
        """Return the class index of each sample to draw, from the labels `y`."""
        wanted = np.full(n_samples, y) if np.ndim(y) == 0 else column_or_1d(y)
        if np.ndim(y) and (len(wanted) == 0 or n_samples not in (1, len(wanted))):
            raise ValueError(f"expected y to be a label or to have n_samples={n_samples} labels, got {len(wanted)}.")
        index = {label: code for code, label in enumerate(self.classes_.tolist())}
        # Labels of other types may not be hashable.
        known_types = (str, Real, np.bool_)
        unknown = [label for label in wanted.tolist() if not isinstance(label, known_types) or label not in index]
        if unknown:
            raise ValueError(f"expected y to be of the classes {self.classes_.tolist()!r}, got {unknown[0]!r}.")
        return torch.tensor([index[label] for label in wanted.tolist()], dtype=torch.int64, device="cpu")

    def _n_components(self, rows: Rows, rules: Any) -> int:
        is_auto = isinstance(self.n_components, str)
        return rules.n_components(rows.n_features) if is_auto else super()._n_components(rows, rules)

    def _new_architecture(
        self, n_rows: int, n_features: int, n_components: int, rotates: bool, rules: Any
    ) -> Architecture:
        architecture = super()._new_architecture(n_rows, n_features, n_components, rotates, rules)
        joint = Joint(
            architecture.objective,
            self.generative_weight,
            unless_auto(self.consistency_weight, rules.consistency_weight),
            unless_auto(self.consistency_radius, rules.consistency_radius),
            unless_auto(self.entropy_weight, rules.entropy_weight),
        )
        return replace(
            architecture,
            objective=joint,
            n_classes=len(self.classes_),
            n_mixture_components=int(self.n_mixture_components),
        )

    def _classifier_attributes(
        self, rows: Rows, weight_unit: float, labels: Labels, procedure: FitProcedure, run: TrainingResult
    ) -> dict[str, Any]:
        """Return all fitted attributes; with a generative model, fit the class mixtures too."""
        attributes = self._fitted_attributes(rows, weight_unit, procedure, run)
        if procedure.architecture.generative:
            class_prior = fit_class_mixture(run.model, rows, labels, procedure.seeds.mixtures)
            attributes["_training_state"]["statistics"]["classes"] = float(labels.weight.sum()), class_prior
            attributes["class_prior_"] = class_prior
        return attributes

    def _classifier_procedure(
        self,
        rows: Rows,
        labels: Labels,
        progress: Progress,
        continues: bool,
        seeds: Seeds | None = None,
        n_rare: int = 0,
    ) -> ClassifierProcedure:
        """Resolve every "auto" for these rows and labels, with the rules for a rare class if `n_rare` is above 0."""
        n_labelled = len(labels.labelled)
        final, clustered = (
            self._procedure(rows, ClassifierRules(len(rows), n_labelled, clustered, n_rare), progress, continues)
            for clustered in (False, True)
        )
        labelled = rows.select(rows.tensor(labels.labelled))
        expert_rules = ClassifierRules(n_labelled, n_labelled, n_rare=n_rare)
        expert = self._procedure(labelled, expert_rules, progress, continues)
        objective = clone(expert.architecture.objective).set_params(generative_weight=0.0)
        expert = replace(expert, architecture=replace(final.architecture, objective=objective))
        # Each call of `_procedure` draws new seeds from a RandomState instance: all share the first ones.
        seeds = final.seeds if seeds is None else seeds
        final, clustered, expert = (replace(procedure, seeds=seeds) for procedure in (final, clustered, expert))
        rare = None
        # The rules for a rare class change only these parameters.
        if labels.n_rare and not n_rare and "auto" in (self.alpha, self.consistency_weight):
            rare = self._classifier_procedure(rows, labels, progress, continues, seeds, labels.n_rare)
        return ClassifierProcedure(final, clustered, expert, int(self.n_neighbors), self.unlabelled == "auto", rare)
