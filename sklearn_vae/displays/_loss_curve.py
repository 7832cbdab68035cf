"""Loss curves over epochs."""

from __future__ import annotations

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import axes_for, split
from sklearn_vae.displays._steps import DisplayedSteps

# Maximum range of the loss axis, as a multiple of the range from the minimum to the 90th percentile of the losses.
MAX_RELATIVE_RANGE = 8.0


class LossCurveDisplay:
    """Training loss of each epoch, optionally with the validation loss and the terms of the loss.

    Create a display with `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    loss : array-like of shape (n_epochs,)
        Mean training loss of each epoch (`loss_curve_`), in nats per row.
    reconstruction, kl : array-like of shape (n_epochs,), default=None
        Reconstruction and KL terms (`reconstruction_curve_` and `kl_curve_`), in nats per row.
        In a classifier's loss, these terms have a small weight beside the cross-entropy.
    validation : array-like of shape (n_validations,), default=None
        Mean loss of the held-out rows at each validation (negative `validation_scores_`).
    validation_iter : array-like of shape (n_validations,), default=None
        Number of epochs before each validation.
    best_iter : int, default=None
        Number of training epochs of the fitted model, chosen by validation.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot. With ``parts=True``, it is the frame around `axes_`.
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        Panels: the loss, and with ``parts=True`` the reconstruction term and the KL term.
    figure_ : matplotlib Figure
        Figure of the plot.
    lines_ : dict of str to matplotlib Line2D
        Lines with the keys "loss", "validation", "best_iter", "reconstruction" and "kl", as far
        as they are drawn.

    See Also
    --------
    KLDisplay : KL divergence of each component after training.

    Notes
    -----
    The losses of the first epochs can be much larger than all others. The axis then ends below
    them, and the line leaves the plot at the top.

    With early stopping on up to 5000 rows, `VAETransformer` chooses the number of steps on
    held-out folds and then trains on all rows. The training loss is that of this last run. The
    validation loss is the mean over the folds; its steps are converted to epochs over all rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import LossCurveDisplay
    >>> vae = VAETransformer(2, max_iter=10, random_state=0).fit(load_iris().data)
    >>> display = LossCurveDisplay.from_estimator(vae)
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    def __init__(self, *, loss, reconstruction=None, kl=None, validation=None, validation_iter=None, best_iter=None):
        self.loss = loss
        self.reconstruction = reconstruction
        self.kl = kl
        self.validation = validation
        self.validation_iter = validation_iter
        self.best_iter = best_iter

    @classmethod
    def from_estimator(cls, estimator, *, parts=False, ax=None, line_kwargs=None):
        """Plot the loss of a fitted estimator.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted estimator. A pipeline or search must have a VAETransformer or VAEClassifier as a step.
        parts : bool, default=False
            Whether to also draw the reconstruction term and the KL term.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        line_kwargs : dict, default=None
            Keyword arguments for matplotlib's `plot`, applied to every curve.

        Returns
        -------
        display : LossCurveDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step, or no epoch was run.
        """
        vae = DisplayedSteps.of(estimator).vae
        scores = getattr(vae, "validation_scores_", None)
        display = cls(
            loss=vae.loss_curve_,
            reconstruction=vae.reconstruction_curve_,
            kl=vae.kl_curve_,
            validation=None if scores is None else -np.asarray(scores),
            validation_iter=None if scores is None else vae.validation_iter_,
            best_iter=None if scores is None else vae.best_iter_,
        )
        return display.plot(ax, parts=parts, line_kwargs=line_kwargs)

    def plot(self, ax=None, *, parts=False, line_kwargs=None):
        """Plot the loss.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        parts : bool, default=False
            Whether to also draw the reconstruction term and the KL term, each in its own panel
            below the loss.
        line_kwargs : dict, default=None
            Keyword arguments for matplotlib's `plot`, applied to every curve.

        Returns
        -------
        display : LossCurveDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If there is no loss to draw, or parts=True and the terms are missing.
        """
        if len(self.loss) == 0 and self.validation is None:
            raise ValueError(
                "expected an estimator that has made an epoch, got an empty loss_curve_; fit with max_iter above 0."
            )
        curves = {"reconstruction": self.reconstruction, "kl": self.kl} if parts else {}
        if any(curve is None for curve in curves.values()):
            raise ValueError(
                "expected reconstruction and kl for parts=True, got None; pass both to LossCurveDisplay, or use "
                "parts=False."
            )
        self.ax_ = axes_for(self, ax, (6.4, 3.2 + 1.8 * len(curves)))
        self.figure_ = self.ax_.figure
        self.axes_ = split(self.ax_, 1 + len(curves), 1)[:, 0] if curves else np.array([self.ax_])
        self._style = _validate_style_kwargs({}, line_kwargs or {})
        self._plot_loss(self.axes_[0])
        for panel, (name, curve) in zip(self.axes_[1:], curves.items(), strict=True):
            self.lines_[name] = self._plot_curve(panel, curve, "C2" if name == "kl" else "C3")
            panel.set_ylabel("KL" if name == "kl" else name)
            limit(panel, curve)
            panel.sharex(self.axes_[0])
        for panel in self.axes_[:-1]:
            panel.tick_params(labelbottom=False)
        self.axes_[-1].set_xlabel("epoch")
        self.axes_[-1].xaxis.get_major_locator().set_params(integer=True)
        return self

    def _plot_loss(self, ax) -> None:
        self.lines_ = {}
        if len(self.loss):
            self.lines_["loss"] = self._plot_curve(ax, self.loss, "C0", label="training rows")
        if self.validation is not None:
            style = {"color": "C1", "label": "held-out rows", **self._style}
            (self.lines_["validation"],) = ax.plot(self.validation_iter, self.validation, **style)
        if self.best_iter is not None:
            self.lines_["best_iter"] = ax.axvline(
                self.best_iter, color="0.5", linestyle="--", linewidth=1, label="weights kept"
            )
        limit(ax, [*self.loss, *([] if self.validation is None else self.validation)])
        ax.set_ylabel("loss")
        ax.legend()

    def _plot_curve(self, ax, curve, color, **style):
        (line,) = ax.plot(np.arange(1, len(curve) + 1), curve, **{"color": color, **style, **self._style})
        return line


def limit(ax, values) -> None:
    """End the y axis below a few values that are much larger than the others."""
    if len(values) == 0:
        return
    low, percentile_90, high = np.percentile(values, [0, 90, 100])
    span = MAX_RELATIVE_RANGE * (percentile_90 - low)
    if high - low > span > 0:
        ax.set_ylim(low - 0.05 * span, low + span)
