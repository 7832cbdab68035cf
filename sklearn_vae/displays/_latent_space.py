"""Scatter plots of latent codes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from sklearn.utils import check_array
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._density import draw_density
from sklearn_vae.displays._drawing import axes_for, split
from sklearn_vae.displays._point_colors import PointColors
from sklearn_vae.displays._steps import DisplayedSteps

# Maximum number of components drawn with components=None.
MAX_COMPONENTS = 4
# Share of the panels' area that points may cover if none overlap; smallest and largest size of a point, in points^2.
COVERED_SHARE = 0.2
POINT_SIZES = (0.1, 20.0)


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
    equal_aspect : bool, default=False
        Whether one unit has the same length on all axes. Axes with another aspect, e.g. that of an image, keep it.

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
    densities_ : list of matplotlib QuadContourSet
        Density of each panel; empty with density=False.
    texts_ : list of matplotlib Text
        Names of the classes, panel by panel; empty with label_classes=False.
    legend_ : matplotlib Legend or None
        Legend of the classes. With label_classes=True, it has the unlabelled rows only.
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

    def __init__(self, *, Z, components, y=None, equal_aspect=False):
        self.Z = Z
        self.components = components
        self.y = y
        self.equal_aspect = equal_aspect

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        components=None,
        ax=None,
        density=False,
        label_classes=False,
        equal_aspect="auto",
        scatter_kwargs=None,
    ):
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
        density : bool, default=False
            Whether to draw the density of the codes in grey behind the points. The contours have 95,
            80, 60, 40 and 20% of it inside. The bandwidth minimises the cross-validated squared error.
        label_classes : bool, default=False
            Whether to write the name of each class at its median code, and not in a legend.
        equal_aspect : bool or "auto", default="auto"
            Whether one unit has the same length on all axes. "auto" is True for
            objective="neighbors", whose distances compare across components, and False otherwise.
        scatter_kwargs : dict, default=None
            Keyword arguments for matplotlib's `scatter`. By default, points are the smaller the more
            rows there are.

        Returns
        -------
        display : LatentSpaceDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step, there are fewer than two components, `equal_aspect` is
            not one of its values, or `label_classes` is True and `y` has no classes.
        """
        steps = DisplayedSteps.of(estimator)
        Z = steps.encode(steps.shown(X))
        components = choose_components(steps.activity(Z), components)
        if isinstance(equal_aspect, str) and equal_aspect == "auto":
            equal_aspect = steps.is_map()
        display = cls(Z=Z, components=components, y=y, equal_aspect=equal_aspect)
        return display.plot(ax, density=density, label_classes=label_classes, scatter_kwargs=scatter_kwargs)

    @classmethod
    def from_predictions(
        cls,
        Z,
        y=None,
        *,
        components=None,
        ax=None,
        density=False,
        label_classes=False,
        equal_aspect=False,
        scatter_kwargs=None,
    ):
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
        density : bool, default=False
            Whether to draw the density of the codes in grey behind the points. The contours have 95,
            80, 60, 40 and 20% of it inside. The bandwidth minimises the cross-validated squared error.
        label_classes : bool, default=False
            Whether to write the name of each class at its median code, and not in a legend.
        equal_aspect : bool, default=False
            Whether one unit has the same length on all axes, which suits the maps of UMAP and t-SNE.
        scatter_kwargs : dict, default=None
            Keyword arguments for matplotlib's `scatter`. By default, points are the smaller the more
            rows there are.

        Returns
        -------
        display : LatentSpaceDisplay
            Display with the drawn objects as attributes.
        """
        Z = check_array(Z, input_name="Z")
        components = choose_components(Z.var(axis=0), components)
        display = cls(Z=Z, components=components, y=y, equal_aspect=equal_aspect)
        return display.plot(ax, density=density, label_classes=label_classes, scatter_kwargs=scatter_kwargs)

    def plot(self, ax=None, *, density=False, label_classes=False, scatter_kwargs=None):
        """Plot the latent codes.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        density : bool, default=False
            Whether to draw the density of the codes in grey behind the points. The contours have 95,
            80, 60, 40 and 20% of it inside. The bandwidth minimises the cross-validated squared error.
        label_classes : bool, default=False
            Whether to write the name of each class at its median code, and not in a legend.
        scatter_kwargs : dict, default=None
            Keyword arguments for matplotlib's `scatter`. By default, points are the smaller the more
            rows there are.

        Returns
        -------
        display : LatentSpaceDisplay
            Display with the drawn objects as attributes.
        """
        check_matplotlib_support("LatentSpaceDisplay.plot")
        check_flags(equal_aspect=self.equal_aspect, density=density, label_classes=label_classes)
        check_pairs(self.components)
        Z, k = np.asarray(self.Z, dtype=float), len(self.components) - 1
        colors = PointColors(self.y, len(Z))
        if label_classes:
            colors.check_classes()
        self.ax_ = axes_for(self, ax, (6.4, 4.8) if k == 1 else (2.4 * k + 1.6, 2.4 * k))
        self.figure_ = self.ax_.figure
        panels = split(self.ax_, k, k) if k > 1 else np.array([[self.ax_]])
        style = {"s": point_size(self.ax_, k, len(Z)), "linewidths": 0, "alpha": 0.8}
        style = {**colors.style, **_validate_style_kwargs(style, scatter_kwargs or {})}
        self.axes_ = np.array([panels[i - 1, j] for j, i in combinations(range(k + 1), 2)], dtype=object)
        self.scatters_, self.densities_, self.texts_ = [], [], []
        for panel, pair in zip(self.axes_, combinations(self.components, 2), strict=True):
            points = Z[:, pair]
            self.scatters_.append(panel.scatter(*points[colors.order].T, **style))
            self.densities_ += [draw_density(panel, points)] if density else []
            self.texts_ += colors.name_classes(panel, points) if label_classes else []
        self._label(panels)
        if self.equal_aspect:
            self._equalise()
        self.legend_, self.colorbar_ = colors.explain(self.ax_, self.scatters_[0], k > 1, label_classes)
        return self

    def _equalise(self) -> None:
        """Give all axes ranges of one width, and their units one length; axes with another aspect keep it."""
        panels = [panel for panel in self.axes_ if panel.get_aspect() in ("auto", 1)]
        limits = [(np.array(panel.get_xlim()), np.array(panel.get_ylim())) for panel in panels]
        half = max((np.ptp(both, axis=1).max() / 2 for both in limits), default=0) * np.array([-1, 1])
        for panel, (x, y) in zip(panels, limits, strict=True):
            # The limits still extend for what is drawn later.
            panel.set_xlim(x.mean() + half, auto=None)
            panel.set_ylim(y.mean() + half, auto=None)
            panel.set_aspect("equal")

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


def check_pairs(components) -> None:
    """Raise ValueError if there are fewer than two components."""
    if len(components) < 2:
        raise ValueError(
            f"expected at least two components to draw, got {len(components)}; for a single component, use "
            "TraversalDisplay or a histogram of the column that transform returns."
        )


def check_flags(**flags) -> None:
    """Raise ValueError if a parameter is not True or False."""
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"expected {name} to be True or False, got {value!r}.")


def point_size(ax, n_panels: int, n_samples: int) -> float:
    """Return the area of a point in points^2, for axes split into `n_panels` in each direction."""
    panel = ax.get_window_extent().size * 72 / ax.figure.get_dpi() / n_panels
    return float(np.clip(COVERED_SHARE * panel.prod() / n_samples, *POINT_SIZES))
