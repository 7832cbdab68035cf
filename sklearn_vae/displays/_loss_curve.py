"""The loss, epoch by epoch."""

from __future__ import annotations

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import axes_for, split
from sklearn_vae.displays._steps import find_steps

# The axis ends at this multiple of what the lower nine tenths of the losses span, if some reach higher.
MAX_SPAN = 8.0


class LossCurveDisplay:
    """Training loss by epoch, with the loss of held-out rows and the loss's parts where there are any.

    Made by `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    loss : array-like of shape (n_epochs,)
        Mean training loss of each epoch, `loss_curve_`.
    reconstruction, kl : array-like of shape (n_epochs,), default=None
        Its parts, `reconstruction_curve_` and `kl_curve_`, in nats per row. A classifier's loss
        is the cross-entropy and more, with a small weight on these.
    validation : array-like of shape (n_validations,), default=None
        Mean loss of held-out rows at each validation, minus `validation_scores_`.
    validation_iter : array-like of shape (n_validations,), default=None
        Number of epochs made before each validation.
    best_iter : int, default=None
        Number of epochs that the weights were trained for which held-out rows chose.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn on; with ``parts=True`` the frame around `axes_`.
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        The panels: the loss, and with ``parts=True`` the reconstruction and the KL term.
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
        "loss", and where drawn "validation", "best_iter", "reconstruction" and "kl".

    See Also
    --------
    KLDisplay : The KL term after training, by component.

    Notes
    -----
    Losses of the first epochs can be many times as large as all others. Where they are, the
    axis ends below them and the line leaves it at the top.

    Where the number of steps was chosen on held-out parts of the rows and a last run used all
    of them, the training loss is that of the last run, and validations are the mean of those of
    the runs before, by the number of epochs over all rows that make as many steps.

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
            Fitted; pipelines and searches with one of the first two as a step.
        parts : bool, default=False
            Whether to draw the reconstruction and the KL term too.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kwargs : dict, default=None
            Passed to matplotlib's `plot` for every curve.

        Returns
        -------
        display : LossCurveDisplay
            With what is drawn as its attributes.

        Raises
        ------
        ValueError
            If there is no such step, or it made no epoch.
        """
        vae = find_steps(estimator).vae
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
            Where to draw; None makes a new figure.
        parts : bool, default=False
            Whether to draw the reconstruction and the KL term too, each in a panel below.
        line_kwargs : dict, default=None
            Passed to matplotlib's `plot` for every curve.

        Returns
        -------
        display : LossCurveDisplay
            With what is drawn as its attributes.

        Raises
        ------
        ValueError
            If there is nothing to draw, or no parts that are asked for.
        """
        if len(self.loss) == 0 and self.validation is None:
            raise ValueError(
                "expected an estimator that has made an epoch, got an empty loss_curve_; fit with max_iter above 0."
            )
        curves = {"reconstruction": self.reconstruction, "kl": self.kl} if parts else {}
        if any(curve is None for curve in curves.values()):
            raise ValueError(
                "expected reconstruction and kl for parts=True, got None; LossCurveDisplay takes them, or use "
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
    """Leave values out of the axis that are few and far above the others."""
    if len(values) == 0:
        return
    low, ninth, high = np.percentile(values, [0, 90, 100])
    span = MAX_SPAN * (ninth - low)
    if high - low > span > 0:
        ax.set_ylim(low - 0.05 * span, low + span)
