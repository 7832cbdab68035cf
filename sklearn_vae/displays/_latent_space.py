"""Scatter plots of latent codes."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae._data.labels import is_unlabelled
from sklearn_vae.displays._drawing import axes_for, split
from sklearn_vae.displays._steps import DisplayedSteps

# Maximum number of components drawn with components=None.
MAX_COMPONENTS = 4
# Maximum number of different integers in `y` that are treated as classes; more are treated as continuous values.
MAX_CLASSES = 20
# Matplotlib grey level of unlabelled rows.
UNLABELLED_COLOR = "0.8"


class LatentSpaceDisplay:
    """Scatter plot of latent codes, coloured by `y`, with one panel for each pair of components.

    Create a display with `from_estimator` or `from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_components)
        Latent codes, as returned by ``transform``.
    components : array-like of int
        Indices of the components to draw; at least two.
    y : array-like of shape (n_samples,), default=None
        Classes or continuous values.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot. With more than two components, it is the frame around `axes_`.
    axes_ : ndarray of matplotlib Axes of shape (n_pairs,)
        One panel for each pair of components.
    figure_ : matplotlib Figure
        Figure of the plot.
    scatters_ : list of matplotlib PathCollection
        Points of each panel. Unlabelled rows come first; otherwise, points are in row order.
    legend_ : matplotlib Legend or None
        Legend of the classes.
    colorbar_ : matplotlib Colorbar or None
        Colour bar of continuous values.

    See Also
    --------
    TraversalDisplay : Decoded values on a grid of latent codes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = VAETransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(vae, X, y)
    >>> display.scatters_[0].get_offsets().shape
    (150, 2)
    """

    def __init__(self, *, Z, components, y=None):
        self.Z = Z
        self.components = components
        self.y = y

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, components=None, ax=None, scatter_kwargs=None):
        """Plot the latent codes of rows.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted estimator. A pipeline or search must have a VAETransformer or VAEClassifier as a step.
        X : array-like of shape (n_samples, n_features)
            Input of the estimator. For a pipeline, it may be an array of images.
        y : array-like of shape (n_samples,), default=None
            Classes or continuous values, shown with a legend or a colour bar. Numbers are
            continuous values if they have fractional parts or more than 20 different values.
            The integer -1 among classes marks unlabelled rows.
        components : array-like of int, default=None
            Indices of the components to draw; at least two. None draws up to four components,
            those with the largest `kl_per_component_`, in ascending order. Without this attribute,
            it draws those with the largest variance of the codes.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        scatter_kwargs : dict, default=None
            Keyword arguments for matplotlib's `scatter`.

        Returns
        -------
        display : LatentSpaceDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step, or there are fewer than two components.
        """
        steps = DisplayedSteps.of(estimator)
        Z = steps.encode(steps.shown(X))
        components = choose_components(steps.activity(Z), components)
        return cls(Z=Z, components=components, y=y).plot(ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    def from_predictions(cls, Z, y=None, *, components=None, ax=None, scatter_kwargs=None):
        """Plot given latent codes.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Latent codes, as returned by ``transform``.
        y : array-like of shape (n_samples,), default=None
            Classes or continuous values, as in `from_estimator`.
        components : array-like of int, default=None
            Indices of the components to draw; at least two. None draws up to four components,
            those with the largest variance, in ascending order.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        scatter_kwargs : dict, default=None
            Keyword arguments for matplotlib's `scatter`.

        Returns
        -------
        display : LatentSpaceDisplay
            Display with the drawn objects as attributes.
        """
        Z = check_array(Z, input_name="Z")
        components = choose_components(Z.var(axis=0), components)
        return cls(Z=Z, components=components, y=y).plot(ax, scatter_kwargs=scatter_kwargs)

    def plot(self, ax=None, *, scatter_kwargs=None):
        """Plot the latent codes.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        scatter_kwargs : dict, default=None
            Keyword arguments for matplotlib's `scatter`.

        Returns
        -------
        display : LatentSpaceDisplay
            Display with the drawn objects as attributes.
        """
        check_matplotlib_support("LatentSpaceDisplay.plot")
        k = len(self.components) - 1
        if k < 1:
            raise ValueError(
                f"expected at least two components to draw, got {len(self.components)}; for a single component, "
                "use TraversalDisplay or a histogram of the column that transform returns."
            )
        Z = np.asarray(self.Z, dtype=float)
        colors = Colors(self.y, len(Z))
        self.ax_ = axes_for(self, ax, (6.4, 4.8) if k == 1 else (2.4 * k + 1.6, 2.4 * k))
        self.figure_ = self.ax_.figure
        panels = split(self.ax_, k, k) if k > 1 else np.array([[self.ax_]])
        size = float(np.clip(20 * (500 / len(Z)) ** 0.5, 2, 20)) / (1 if k == 1 else 2)
        style = _validate_style_kwargs({"s": size, "linewidths": 0, "alpha": 0.8}, scatter_kwargs or {})
        self.scatters_, drawn = [], []
        for j, i in combinations(range(k + 1), 2):
            panel = panels[i - 1, j]
            pair = Z[colors.order][:, [self.components[j], self.components[i]]]
            self.scatters_.append(panel.scatter(*pair.T, **{**colors.style, **style}))
            drawn.append(panel)
        self.axes_ = np.array(drawn, dtype=object)
        self._label(panels)
        self.legend_, self.colorbar_ = colors.explain(self.ax_, self.scatters_[0], k > 1)
        return self

    def _label(self, panels) -> None:
        """Label the components at the left and bottom, and remove the panels without a pair."""
        k = len(panels)
        for (i, j), panel in np.ndenumerate(panels):
            if j > i:
                panel.remove()
                continue
            panel.sharex(panels[k - 1, j])
            panel.sharey(panels[i, 0])
            panel.tick_params(labelbottom=i == k - 1, labelleft=j == 0)
            if i == k - 1:
                panel.set_xlabel(f"component {self.components[j]}")
            if j == 0:
                panel.set_ylabel(f"component {self.components[i + 1]}")


class Colors:
    """Colours of the points for `y`, and the legend or colour bar.

    Attributes
    ----------
    handles : dict
        Colour of each class in the legend.
    order : ndarray of int of shape (n_samples,)
        Drawing order of the rows: unlabelled rows first.
    is_continuous : bool
        Whether `y` has continuous values.
    style : dict
        Colour arguments of matplotlib's `scatter`, in drawing order.
    """

    def __init__(self, y, n_samples: int):
        import matplotlib as mpl

        self.handles: dict[Any, Any] = {}
        self.order = np.arange(n_samples)
        self.is_continuous = False
        self.style: dict[str, Any] = {"color": "C0"}
        if y is None:
            return
        y = column_or_1d(y)
        check_consistent_length(np.empty(n_samples), y)
        unlabelled = is_unlabelled(y)
        classes = np.unique(y[~unlabelled])
        if y.dtype.kind in "iuf" and (len(classes) > MAX_CLASSES or (y % 1 != 0).any()):
            self.is_continuous, self.style = True, {"c": y, "cmap": "viridis"}
            return
        self.order = np.argsort(~unlabelled, kind="stable")
        palette = mpl.colormaps["tab10" if len(classes) <= 10 else "tab20"]
        self.handles = {label: palette(i % palette.N) for i, label in enumerate(classes.tolist())}
        point_colors = [UNLABELLED_COLOR if u else self.handles[v] for v, u in zip(y.tolist(), unlabelled, strict=True)]
        self.style = {"c": mpl.colors.to_rgba_array([point_colors[i] for i in self.order])}
        if unlabelled.any():
            self.handles["unlabelled (-1)"] = UNLABELLED_COLOR

    def explain(self, ax, points, panels: bool) -> tuple[Any, Any]:
        """Draw a legend or a colour bar and return (legend, colour bar), with None for the other."""
        if self.is_continuous:
            return None, ax.figure.colorbar(points, ax=ax)
        if not self.handles:
            return None, None
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], linestyle="", marker="o", color=color) for color in self.handles.values()]
        # The upper right corner has no panels.
        place = {"loc": "upper right"} if panels else {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        n_columns = -(-len(lines) // (6 if panels else 12))
        return ax.legend(lines, list(map(str, self.handles)), ncols=n_columns, fontsize="small", **place), None


def choose_components(activity: np.ndarray, components, most: int = MAX_COMPONENTS) -> np.ndarray:
    """Return the indices of the components to draw; for None, the `most` most active ones in ascending order.

    Raises
    ------
    ValueError
        If `components` is not a list of component indices.
    """
    n_components = len(activity)
    if components is None:
        return np.sort(np.argsort(-np.asarray(activity), kind="stable")[:most])
    chosen = np.asarray(components)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < n_components)).all():
        raise ValueError(
            f"expected components to be a list of indices from 0 to {n_components - 1}, got {components!r}."
        )
    return chosen
