"""VAEClassifier: classes, few labels and a generative model in one estimator."""

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
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from sklearn_vae._base import BaseVAE, check_generative, check_n_samples, unless_auto
from sklearn_vae._data.devices import isolate
from sklearn_vae._data.labels import Labels, encode_labels, refuse_missing, split_labels, warn_of_unlabelled
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.vae import VAE
from sklearn_vae._semi_supervised.fit import ClassifierProcedure
from sklearn_vae._semi_supervised.mixture import fit_class_mixture
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import ClassifierRules, Recipe, Rules
from sklearn_vae.objectives import Joint

# Least and most that the largest class weight may be: its gradients are squared in float32.
CLASS_WEIGHTS = (1e-15, 1e15)


class VAEClassifier(ClassifierMixin, BaseVAE):
    r"""Variational autoencoder that classifies, with many labels or few.

    One network encodes, classifies and decodes. Class logits are read off the encoder's
    features, beside the posterior's mean and scale, and trained with cross-entropy,
    virtual adversarial consistency [1]_ and, with a small weight, the evidence lower bound
    [2]_. Rows with ``y == -1`` are unlabelled. What is said of them by neighbours, over
    whose graph labels spread [3]_, and by a network that has seen the labelled rows alone,
    is pooled with exponents for which held-out labels are most probable; if the
    neighbours do not help with these, the result learns to predict what that network does.
    See the user guide.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Number of latent variables. "auto" is 16, but no more than half the columns and a
        quarter of the rows.

    generative_weight : float, default=1e-3
        Weight of the evidence lower bound, per nat, beside the cross-entropy. 0 trains a
        classifier alone, without ``sample`` and ``score_samples``.

    consistency_weight : float or "auto", default="auto"
        Weight of the divergence between predictions for a row and for the row moved to where
        they change most. "auto" is 1 with fewer than 1000 rows, all labelled, else 2.

    consistency_radius : float or "auto", default="auto"
        How far it is moved, as a share of the centred rows' median norm. "auto" is 0.2 where
        labels or neighbours say enough for a long training, else 0.15.

    entropy_weight : float or "auto", default="auto"
        Weight of the entropy of predictions. "auto" is 0.3 where the classes are clusters:
        neighbours alone make held-out labels more probable than a network does, and both
        together no less. Otherwise it is 0.

    unlabelled : {"auto", "ignore"}, default="auto"
        Whether classes are guessed of unlabelled rows, if held-out labels say that this
        helps; with one label per class nothing can be held out, and neighbours are believed.
        "ignore" uses these rows for the generative model, and to learn there what a network
        predicts that has seen the labelled rows alone; that takes neither consistency nor
        entropy.

    n_neighbors : int, default=10
        Number of neighbours of each row in the graph.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the cross-entropy, as elsewhere in scikit-learn.

    n_mixture_components : int, default=10
        Largest number of Gaussians in the mixture p(z|y) of a class. Mixtures of 1, 2, 5, 10,
        20, 50, ... Gaussians, up to this number, are fitted until the BIC rises; the best is kept.

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
        "vamp": a mixture of posteriors. `sklearn_vae.priors` has their options, such as
        ``VampPrior(500)``. After training, mixtures for the classes take its place.

    beta : float or callable, default=1.0
        Weight of the KL term; a callable gets the number of steps made and returns
        the weight (warm-up). Held-out rows are judged with its value at the last step.

    network : {"mlp", "conv"} or Network, default="mlp"
        Encoder and decoder. "conv": convolutions on images, one per row. `sklearn_vae.networks.MLP`
        and `Conv` have options; `Modules` takes your own torch modules.

    objective : {"elbo", "iwae", "free_bits", "autoencoder"} or Objective, default="elbo"
        What training maximises beside the classes. "iwae": a tighter bound, for densities.
        "free_bits": the ELBO, with some KL that costs nothing, against components that are
        not used. "autoencoder" is the deterministic baseline: no noise, no KL; the classifier
        then has no ``sample`` and ``score_samples``. `sklearn_vae.objectives` has options.

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
        Number of epochs; 0 leaves the model at its start. "auto" is 30, but no more than
        7000 steps, above 5000 rows; below, 200 to 400 steps but at least 15 epochs, or 300
        steps but at least 40 epochs where there are 1000 rows, all labelled, or neighbours
        say enough for a long training.

    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is 64 up to 5000 rows and 256 above.

    learning_rate_init : float or "auto", default="auto"
        Learning rate of Adam, reached after `warmup_steps`. "auto" is 2e-3 up to 64 rows per
        step and goes with the root of `batch_size` above.

    warmup_steps : int or "auto", default="auto"
        Steps over which the learning rate rises linearly; "auto" is 10 up to 5000 rows and
        100 above.

    learning_rate_decay : float, default=0.5
        Share of the steps up to `max_iter` over which, at the end, the learning rate falls
        linearly to 0.

    alpha : float or "auto", default="auto"
        Decoupled weight decay of the networks; linear maps have none. "auto" is 0.1 for a
        long training of up to 5000 rows; otherwise 3 for few rows, and it falls with their
        number, as 500 / n where all are labelled.

    input_noise : float or "auto", default="auto"
        Standard deviation of the noise that the encoder's input gets in training, in units
        of the columns' root mean variance. "auto" is 0: consistency does better what noise
        is for.

    averaging : float, default=0.998
        Largest decay per step of the moving average of the weights, which is what is
        kept. 0 keeps the last weights.

    early_stopping : bool, default=False
        Whether to set aside `validation_fraction` of the labelled rows of each class, and to
        keep the weights of the epoch that predicts them best. A class keeps one row at least
        to learn from.

    validation_fraction : float, default=0.1
        Share of the labelled rows to set aside for early stopping.

    n_iter_no_change : int, default=8
        Stop after this number of validations in a row without an improvement by `tol`. A
        validation comes after every epoch, or every 25 steps where epochs are shorter.

    tol : float, default=0.0
        Smallest improvement of the validation score that counts, in nats per row.

    n_draws : int, default=64
        Number of importance samples in ``score_samples``.

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
        epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; -1 is none of them.
    class_prior_ : ndarray of shape (n_classes,)
        Shares of the classes among all training rows, unlabelled ones as predicted; only with
        a generative model.
    module_ : torch.nn.Module
        The fitted model.
    n_iter_ : int
        Number of epochs run.
    best_iter_ : int
        Number of epochs that the kept weights were trained for.
    n_steps_ : int
        Number of steps that the kept weights were trained for.
    loss_curve_ : list of float
        Mean training loss of each epoch, in nats per row.
    reconstruction_curve_ : list of float
        The part of the generative loss that says how well rows are reconstructed, in nats per
        row; 0 with generative_weight=0.
    kl_curve_ : list of float
        Its KL term; 0 with generative_weight=0.
    validation_scores_ : list of float
        Minus the mean loss of held-out labelled rows at each validation; only with early
        stopping.
    validation_iter_ : list of float
        Number of epochs before each validation; only with early stopping.
    best_validation_score_ : float
        The largest of them; only with early stopping.
    noise_variance_ : float or ndarray of shape (`n_features_in_`,)
        Noise variance in the data's units; only with a Gaussian or discretised logistic
        likelihood.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL(q(z_j|x) || p(z_j)) over training rows, 8192 at most, in nats; only with a generative
        model.
    latent_scale_ : ndarray of shape (n_components,)
        What ``transform`` multiplies posterior means by; only with whiten=False.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where they are all strings.

    See Also
    --------
    VAETransformer : Without labels.
    LabelledKFold : Cross-validation where some rows are unlabelled.
    sklearn.semi_supervised.LabelSpreading : The graph alone.

    Notes
    -----
    Scores count unlabelled rows as errors, ``score`` with a warning: score rows with a label.
    Columns should be on comparable scales, as for PCA: put a scaler before it. Labelled
    rows are taken to have the classes in the shares that all rows have them in.

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
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
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
        """Fit the model to rows, all or some of them labelled.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows; at least two. float32, float64 and uint8 arrays are
            not copied; bytes are converted to float32 by the batch.
        y : array-like of shape (n_samples,)
            Labels: strings, booleans or integers. The integer -1, in an object array too,
            marks an unlabelled row.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows; rows of weight 0 take no part.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are not valid, there are fewer than two classes, or the
            loss becomes non-finite.
        TypeError
            If labels of several types cannot be compared.
        """
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        with self._fitting(goes_on):
            checked, codes, weight, unit = self._check_labelled_rows(X, y, sample_weight, goes_on)
            rows = self._rows(checked, weight)
            row_weight = np.ones(len(rows)) if weight is None else weight
            labels = Labels(codes, self._check_class_weight(codes), row_weight, len(self.classes_))
            progress = Progress(self, X, y, sample_weight, partial(self._classifier_attributes, rows, unit, labels))
            procedure = self._classifier_procedure(rows, labels, progress, goes_on)
            fraction = self.validation_fraction if self.early_stopping else 0.0
            run = procedure.fit(rows, labels, fraction, copy.deepcopy(self._fitted_model.model) if goes_on else None)
            self._set_fitted(progress.attributes(procedure.procedure, run))
            progress.end(dict)
        return self

    @isolate
    def predict_log_proba(self, X):
        """Return the log-probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        X = self._check_new_rows(X)
        return self._fitted_model.inference.map(VAE.log_proba, X)

    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels from `classes_`.
        """
        log_p = self.predict_log_proba(X)
        return self.classes_[log_p.argmax(1)]

    def score(self, X, y, sample_weight=None):
        """Return the accuracy on rows and their labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.
        y : array-like of shape (n_samples,)
            Labels, of any kind that ``fit`` takes. Unlabelled rows (-1) count as errors.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Share of the rows whose label is predicted, weighted.

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
    def sample(self, n_samples=1, y=None, random_state=None):
        """Draw rows and their classes from the model, p(y) p(z|y) p(x|z).

        Parameters
        ----------
        n_samples : int, default=1
            With an array `y`, its length, or 1 for as many rows as it has.
        y : label, array-like of shape (n_samples,) or None, default=None
            The class of all rows, or of each. None draws classes from `class_prior_`.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's `random_state`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            In the data's units.
        y : ndarray of shape (n_samples,)
            Labels from `classes_`.

        Raises
        ------
        ValueError
            If a label is not in `classes_`, or `y` is not of length `n_samples`.
        """
        check_is_fitted(self)
        self._validate_params()
        n_samples = check_n_samples(n_samples)
        codes = None if y is None else self._codes(y, n_samples)
        drawn = []

        def draw(generator: torch.Generator) -> torch.Tensor:
            mixture = self._fitted_model.model.class_mixture
            assert mixture is not None
            index = mixture.sample_classes(n_samples, generator) if codes is None else codes.to(generator.device)
            drawn.append(index.cpu().numpy())
            return mixture.sample(index, generator)

        X = self._sample(draw, random_state)
        return X, self.classes_[drawn[0]]

    def _check_labelled_rows(
        self, X, y, sample_weight, goes_on: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, float]:
        """Validate training rows; return those with a positive weight, their class indices, weights and the unit."""
        if isinstance(self.objective, Joint):
            raise TypeError(
                "expected objective to be generative, as ELBO() is, got a Joint; its weights are parameters."
            )
        if y is not None:
            refuse_missing(y)
        X, y = self._check_rows(X, reset=not goes_on, y=y)
        weight, unit = self._check_weight(sample_weight, X)
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
                "use VAETransformer for rows without labels, and another label than -1 for a class."
            )
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"expected the classes of the first call, {self.classes_!r}, got {classes!r}; use warm_start=False."
            )
        self.classes_ = classes
        return X, codes, weight, unit

    def _check_class_weight(self, codes: np.ndarray) -> np.ndarray:
        """Return the weight of each row's class, 1 for unlabelled rows."""
        weight = np.ones(len(codes))
        weight[codes >= 0] = compute_sample_weight(self.class_weight, self.classes_[codes[codes >= 0]])
        least, most = CLASS_WEIGHTS
        if not (weight.min() >= 0 and weight.max() <= most and weight[codes >= 0].max() >= least):
            raise ValueError(
                f"expected class_weight to be finite numbers of at least 0 and at most {most:g}, and one of at least "
                f"{least:g} for a class that occurs, got {self.class_weight!r}; only their ratios to each other and to "
                "1, the weight of all else in the loss, matter."
            )
        return weight

    def _codes(self, y, n_samples: int) -> torch.Tensor:
        """Return the class indices of labels, one for each of the rows to draw."""
        wanted = np.full(n_samples, y) if np.ndim(y) == 0 else column_or_1d(y)
        if np.ndim(y) and (len(wanted) == 0 or n_samples not in (1, len(wanted))):
            raise ValueError(f"expected y to be a label or to have n_samples={n_samples} labels, got {len(wanted)}.")
        index = {label: code for code, label in enumerate(self.classes_.tolist())}
        # Other objects may not be hashable.
        known_types = (str, Real, np.bool_)
        unknown = [label for label in wanted.tolist() if not isinstance(label, known_types) or label not in index]
        if unknown:
            raise ValueError(f"expected y to be of the classes {self.classes_.tolist()!r}, got {unknown[0]!r}.")
        return torch.tensor([index[label] for label in wanted.tolist()], dtype=torch.int64, device="cpu")

    def _n_components(self, n_features: int, rules: Any) -> int:
        return int(unless_auto(self.n_components, rules.n_components(n_features)))

    def _new_architecture(self, n_rows: int, n_features: int, rotates: bool, rules: Any) -> Architecture:
        architecture = super()._new_architecture(n_rows, n_features, rotates, rules)
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

    def _recipe(self, rules: Rules, passes: bool = False) -> Recipe:
        recipe = super()._recipe(rules, passes)
        assert isinstance(rules, ClassifierRules)
        return replace(recipe, target_weight=rules.target_weight)

    def _classifier_attributes(
        self, rows: Rows, weight_unit: float, labels: Labels, procedure: FitProcedure, run: TrainingResult
    ) -> dict[str, Any]:
        """Return what is fitted, with the mixtures of the classes."""
        attributes = self._fitted_attributes(rows, weight_unit, procedure, run)
        if procedure.architecture.generative:
            attributes["class_prior_"] = fit_class_mixture(run.model, rows, labels, procedure.seeds.mixtures)
        return attributes

    def _classifier_procedure(
        self, rows: Rows, labels: Labels, progress: Progress, goes_on: bool
    ) -> ClassifierProcedure:
        """Resolve every "auto" for these rows and labels."""
        n_labelled = len(labels.labelled)
        procedure, clustered = (
            self._procedure(rows, ClassifierRules(len(rows), n_labelled, clustered), progress, goes_on)
            for clustered in (False, True)
        )
        labelled = rows.select(rows.tensor(labels.labelled))
        expert = self._procedure(labelled, ClassifierRules(n_labelled, n_labelled), progress, goes_on)
        objective = clone(expert.architecture.objective).set_params(generative_weight=0.0)
        expert = replace(expert, architecture=replace(procedure.architecture, objective=objective))
        # Three calls with a random state that is an instance would draw three seeds.
        clustered, expert = (replace(other, seeds=procedure.seeds) for other in (clustered, expert))
        return ClassifierProcedure(procedure, clustered, expert, self.n_neighbors, self.unlabelled == "auto")
