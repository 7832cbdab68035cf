"""What each component carries."""

from __future__ import annotations

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import axes_for
from sklearn_vae.displays._steps import find_steps


class KLDisplay:
    r"""KL divergence of each component from the prior: what it carries, and whether it is used.

    A component counts as active if the mean of :math:`KL(q(z_j|x) \| p(z_j))` is above
    `threshold`. Made by `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    kl : array-like of shape (n_components,)
        Mean KL divergence of each component in nats, `kl_per_component_`.
    threshold : float, default=0.01
        In nats.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer
        In the order drawn.
    line_ : matplotlib Line2D
        The threshold.
    components_ : ndarray of int of shape (n_components,)
        Component of each bar.
    n_active_ : int

    Notes
    -----
    Burda et al. [1]_ call a component active if the variance of its posterior means over the
    rows is above 0.01. For a Gaussian posterior of which prior and rows make the variance of the
    means :math:`v` and that of the posterior :math:`1 - v`, the divergence is
    :math:`-\log(1 - v) / 2` nats in the mean: 0.005 at their threshold. Components that are not
    used are mostly far below either number, and used ones far above.

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
            Fitted; pipelines and searches with one of the first two as a step.
        threshold : float, default=0.01
            Above it, in nats, a component is active.
        sort : bool, default=True
            Whether the largest comes first; otherwise bars are in the order of the components.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        bar_kwargs : dict, default=None
            Passed to matplotlib's `bar`.

        Returns
        -------
        display : KLDisplay
            With what is drawn as its attributes.

        Raises
        ------
        ValueError
            If there is no such step, or its objective has no KL term.
        """
        vae = find_steps(estimator).vae
        if not hasattr(vae, "kl_per_component_"):
            raise ValueError(
                f"expected a model with a KL term, got objective={vae.objective!r}, which makes no model of the rows; "
                "use objective='elbo'."
            )
        return cls(kl=vae.kl_per_component_, threshold=threshold).plot(ax, sort=sort, bar_kwargs=bar_kwargs)

    def plot(self, ax=None, *, sort=True, bar_kwargs=None):
        """Plot the KL divergences.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        sort : bool, default=True
            Whether the largest comes first; otherwise bars are in the order of the components.
        bar_kwargs : dict, default=None
            Passed to matplotlib's `bar`.

        Returns
        -------
        display : KLDisplay
            With what is drawn as its attributes.
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
