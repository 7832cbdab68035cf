"""Bar chart of the KL divergence of each latent component."""

from __future__ import annotations

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import axes_for
from sklearn_vae.displays._steps import DisplayedSteps


class KLDisplay:
    r"""Mean KL divergence between posterior and prior for each latent component.

    A component is active if the mean of :math:`KL(q(z_j|x) \| p(z_j))` is above `threshold`.
    Create a display with `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    kl : array-like of shape (n_components,)
        Mean KL divergence of each component in nats (`kl_per_component_`).
    threshold : float, default=0.01
        Minimum KL divergence of an active component, in nats.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    bars_ : matplotlib BarContainer
        One bar per component, from left to right.
    line_ : matplotlib Line2D
        Line at the threshold.
    components_ : ndarray of int of shape (n_components,)
        Index of the component of each bar.
    n_active_ : int
        Number of active components.

    Notes
    -----
    Burda et al. [1]_ call a component active if the variance of its posterior means over the
    rows is above 0.01. Suppose that each posterior is Gaussian with variance :math:`1 - v`, and
    that the posterior means have variance :math:`v` over the rows, so that the total variance
    is 1, that of the prior. Its mean KL divergence is :math:`-\log(1 - v) / 2` nats, which is
    0.005 at their threshold. Unused components are mostly far below both thresholds, and used
    components far above.

    References
    ----------
    .. [1] Y. Burda, R. Grosse and R. Salakhutdinov (2016). Importance weighted autoencoders. ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import KLDisplay
    >>> vae = VAETransformer(4, max_iter=10, random_state=0).fit(load_iris().data)
    >>> display = KLDisplay.from_estimator(vae)
    >>> len(display.bars_)
    4
    """

    def __init__(self, *, kl, threshold=0.01):
        self.kl = kl
        self.threshold = threshold

    @classmethod
    def from_estimator(cls, estimator, *, threshold=0.01, sort=True, ax=None, bar_kwargs=None):
        """Plot the KL divergences of a fitted estimator.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted estimator. A pipeline or search must have a VAETransformer or VAEClassifier as a step.
        threshold : float, default=0.01
            Minimum KL divergence of an active component, in nats.
        sort : bool, default=True
            Whether to sort bars by decreasing KL divergence. Otherwise, bars are in the order of
            the components.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : KLDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step, or the objective has no KL term.
        """
        vae = DisplayedSteps.of(estimator).vae
        if not hasattr(vae, "kl_per_component_"):
            raise ValueError(
                f"expected a model with a KL term, got objective={vae.objective!r} without a generative model; "
                "use objective='elbo', and for VAEClassifier generative_weight above 0."
            )
        return cls(kl=vae.kl_per_component_, threshold=threshold).plot(ax, sort=sort, bar_kwargs=bar_kwargs)

    def plot(self, ax=None, *, sort=True, bar_kwargs=None):
        """Plot the KL divergences.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        sort : bool, default=True
            Whether to sort bars by decreasing KL divergence. Otherwise, bars are in the order of
            the components.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : KLDisplay
            Display with the drawn objects as attributes.
        """
        kl = np.asarray(self.kl)
        self.components_ = np.argsort(-kl, kind="stable") if sort else np.arange(len(kl))
        kl, at = kl[self.components_], np.arange(len(kl))
        active = kl > self.threshold
        self.n_active_ = int(active.sum())
        self.ax_ = axes_for(self, ax, (float(np.clip(0.35 * len(kl) + 2.5, 4.5, 16)), 3.6))
        self.figure_ = self.ax_.figure
        style = _validate_style_kwargs({"color": np.where(active, "C0", "0.7")}, bar_kwargs or {})
        self.bars_ = self.ax_.bar(at, kl, **style)
        self.line_ = self.ax_.axhline(
            self.threshold, color="k", linestyle="--", linewidth=0.8, label=f"{self.threshold:g} nats"
        )
        step = -(-len(kl) // 40)
        self.ax_.set_xticks(at[::step], self.components_[::step])
        self.ax_.set(
            xlabel="component",
            ylabel="mean KL, nats",
            title=f"{self.n_active_} of {len(kl)} components active (above {self.threshold:g} nats)",
        )
        return self
