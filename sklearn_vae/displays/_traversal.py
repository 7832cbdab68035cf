"""Latent traversals: decoded values on a grid or a path of latent codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_vae.displays._drawing import (
    as_numbers,
    axes_for,
    column_names,
    is_kind,
    split,
    standardise,
    standardised_label,
)
from sklearn_vae.displays._images import draw_mosaic, label_rows, mosaic, mosaic_size, value_range
from sklearn_vae.displays._latent_space import choose_components
from sklearn_vae.displays._steps import DisplayedSteps
from sklearn_vae.displays._traversal_codes import edges, grid_codes
from sklearn_vae.displays._traversal_panels import draw_lines, draw_panels
from sklearn_vae.displays._traversal_path import draw_images_along

# Maximum number of components that are traversed with components=None.
MAX_COMPONENTS = 8
# Maximum number of table columns drawn over a plane; the columns that change most are drawn.
MAX_PANELS = 16
PERCENTILES_LABEL = "from the 1st to the 99th percentile"
PATH_LABEL = "along the path"


class TraversalDisplay:
    """Decoded values of a grid over two components, along one component at a time, or along a path.

    On a grid, all other components keep the values of one row's code. Images are drawn at the
    position of their code, or beside a path. The columns of a table are drawn as colours, in
    standard deviations from the column's mean; counts x are drawn as log(1 + x). Booleans and the
    categories of a data frame have colours of their own, which are probabilities. Create a display
    with `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    decoded : ndarray of shape (n_steps, n_steps, ...) or (n_components, n_steps, ...)
        Decoded rows of a table (n_columns,) or images (height, width[, 3]). Over a plane, the
        first axis belongs to the second component. Otherwise, it belongs to the components; a path
        has a single line.
    values : ndarray of shape (n_components, n_steps)
        Values of each traversed component.
    components : array-like of int of shape (n_components,)
        Indices of the traversed components.
    plane : bool
        Whether `decoded` is a grid over the plane of two components.
    X : ndarray of shape (n_samples, ...)
        Data. For a table, they give the mean and standard deviation of each column. For images,
        they give the range of grey levels.
    feature_names : array-like of str of shape (n_columns,), default=None
        Column names of a table. None stands for x0, x1, ...
    kinds : array-like of {"number", "count", "probability"} of shape (n_columns,), default=None
        What the decoded columns are. None: numbers.
    along_path : bool, default=False
        Whether `decoded` follows a path, whose codes have the `values` of `components`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot. For a table over a plane, it is the frame around `axes_`.
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        For a table over a plane, one panel per column drawn; otherwise only `ax_`.
    figure_ : matplotlib Figure
        Figure of the plot.
    images_ : list of matplotlib AxesImage
        One image for each of `axes_`. For a table along single components, one for the numbers and
        one for the probabilities. For images on a path over two components, one BboxImage for each step.
    path_ : matplotlib Line2D or None
        Path over two components that images are drawn beside.
    colorbar_ : matplotlib Colorbar or None
        Colour bar of a table's numbers and counts; None if it has none, and for images.
    probability_colorbar_ : matplotlib Colorbar or None
        Colour bar of a table's probabilities; None if it has none, and for images.

    See Also
    --------
    LatentSpaceDisplay : Latent codes of rows; they can be drawn over a plane of images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import TraversalDisplay
    >>> X = load_digits().data[:200]
    >>> vae = VAETransformer(2, max_iter=5, random_state=0).fit(X)
    >>> display = TraversalDisplay.from_estimator(vae, X, image_shape=(8, 8), n_steps=6)
    >>> display.decoded.shape
    (6, 6, 8, 8)
    """

    def __init__(self, *, decoded, values, components, plane, X, feature_names=None, kinds=None, along_path=False):
        self.decoded = decoded
        self.values = values
        self.components = components
        self.plane = plane
        self.X = X
        self.feature_names = feature_names
        self.kinds = kinds
        self.along_path = along_path

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        components=None,
        n_steps=11,
        index=None,
        path=None,
        image_shape=None,
        feature_names=None,
        ax=None,
        image_kwargs=None,
    ):
        """Plot the decoded values of a fitted estimator on a grid or a path of latent codes.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted estimator. A pipeline or search must have a VAETransformer or VAEClassifier as a step.
            Decoded rows are transformed back by the inverses of the preceding steps, up to the
            last step that has no inverse.
        X : array-like of shape (n_samples, n_features)
            Input of the estimator. For a pipeline, it may be an array of images. Each
            component ranges from the 1st to the 99th percentile of the codes of these rows.
        components : array-like of int, default=None
            Indices of the components to traverse. Two components span a plane; other numbers of
            components change one at a time. None takes up to eight components, those with the
            largest `kl_per_component_`, in ascending order. Without this attribute, it takes those
            with the largest variance of the codes.
        n_steps : int, default=11
            Number of values of each component, or of codes on the path. Must be at least 2.
        index : int, default=None
            Index of the row of `X` whose code gives the values of all other components. None
            takes the row whose code is nearest to the mean code.
        path : array-like of shape (n_codes, n_components), default=None
            Codes, as returned by ``transform``, in place of a grid: decoded rows follow straight
            lines from each code to the next, at equal distances. With two `components`, the path is
            drawn over their plane with the images beside it; pass the ``ax_`` of a `LatentSpaceDisplay`
            as `ax` to draw on its map. With other numbers of components, images are drawn in a row. The
            columns of tables are drawn as colours.
        image_shape : tuple of int, default=None
            Shape of the image in each row: (height, width), or with one or three channels first or
            last. None takes the shape from an `ImageFlattener` in the pipeline or from a `Conv`
            network. Without either, rows are plotted as a table.
        feature_names : array-like of str, default=None
            Column names of a table. None takes the names from the estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : TraversalDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step or not the given components, `n_steps` is below 2,
            rows are not images of `image_shape`, or `path` has no two codes, codes of another width,
            or comes with `index`.
        """
        steps = DisplayedSteps.of(estimator)
        shown = steps.shown(X)
        Z = steps.encode(shown)
        components = choose_components(steps.activity(Z), components, MAX_COMPONENTS)
        grid, values = grid_codes(Z, components, n_steps, index, path)
        decoded = steps.as_images(steps.decode(grid.reshape(-1, Z.shape[1])), image_shape)
        display = cls(
            decoded=decoded.reshape(*grid.shape[:2], *decoded.shape[1:]),
            values=values,
            components=components,
            plane=path is None and len(components) == 2,
            X=steps.as_images(shown, image_shape),
            feature_names=steps.column_labels(feature_names),
            kinds=steps.kinds() if decoded.ndim == 2 else None,
            along_path=path is not None,
        )
        return display.plot(ax, image_kwargs=image_kwargs)

    def plot(self, ax=None, *, image_kwargs=None):
        """Plot the decoded values.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : TraversalDisplay
            Display with the drawn objects as attributes.
        """
        self.colorbar_ = self.probability_colorbar_ = self.path_ = None
        decoded, X = as_numbers(self.decoded), as_numbers(self.X)
        if decoded.ndim > 3:
            on_map = self.along_path and len(self.components) == 2
            self.ax_ = axes_for(self, ax, None if on_map else mosaic_size(decoded))
            self.axes_ = np.array([self.ax_])
            on_axes = self._draw_image_path if on_map else self._draw_image_lines
            (self._draw_image_plane if self.plane else on_axes)(decoded, value_range(X), image_kwargs)
        else:
            names = column_names(self.feature_names, X.shape[1])
            draw_table = self._draw_table_plane if self.plane else self._draw_table_lines
            draw_table(decoded, standardise(decoded, X, self.kinds, are_means=True), names, ax, image_kwargs or {})
        self.figure_ = self.ax_.figure
        return self

    def _draw_image_plane(self, decoded, limits, image_kwargs) -> None:
        """Draw each image at the position of its code; the second component increases upwards."""
        first, second = self.values
        extent = (*edges(first), *edges(second))
        height, width = mosaic(decoded, limits).shape[:2]
        aspect = ((extent[1] - extent[0]) / width) / ((extent[3] - extent[2]) / height)
        style = {"extent": extent, "aspect": aspect, **(image_kwargs or {})}
        self.images_: list[Any] = [draw_mosaic(self.ax_, decoded[::-1], limits, style)]
        self.ax_.set(xlabel=f"component {self.components[0]}", ylabel=f"component {self.components[1]}")

    def _draw_image_lines(self, decoded, limits, image_kwargs) -> None:
        self.images_ = [draw_mosaic(self.ax_, decoded, limits, image_kwargs)]
        label_rows(self.ax_, self.images_[0], [] if self.along_path else [f"component {j}" for j in self.components])
        self.ax_.set_xlabel(PATH_LABEL if self.along_path else PERCENTILES_LABEL)

    def _draw_image_path(self, decoded, limits, image_kwargs) -> None:
        """Draw the path, and each image beside its code."""
        codes = np.asarray(self.values, dtype=float).T
        self.path_, self.images_ = draw_images_along(self.ax_, codes, decoded[0], limits, image_kwargs)
        self.ax_.set(xlabel=f"component {self.components[0]}", ylabel=f"component {self.components[1]}")

    def _draw_table_plane(self, decoded, standard, names, ax, image_kwargs) -> None:
        """Draw a panel for each of the columns that change most, in column order."""
        spread = standard.std(axis=(0, 1))
        columns = np.sort(np.argsort(-spread, kind="stable")[:MAX_PANELS])
        n_columns = int(np.ceil(np.sqrt(len(columns))))
        n_rows = -(-len(columns) // n_columns)
        self.ax_ = axes_for(self, ax, (2.1 * n_columns + 1.4, 2.1 * n_rows + 0.6))
        panels = split(self.ax_, n_rows, n_columns, 0.28 / max(n_rows, n_columns)).ravel()
        for panel in panels[len(columns) :]:
            panel.remove()
        self.axes_ = panels[: len(columns)]
        is_probability = is_kind("probability", self.kinds, len(names))
        style = {"origin": "lower", "extent": (*edges(self.values[0]), *edges(self.values[1])), **image_kwargs}
        shown = np.where(is_probability, decoded, standard)[..., columns]
        self.images_ = draw_panels(self.axes_, shown, is_probability[columns], style)
        for i, (panel, column) in enumerate(zip(self.axes_, columns, strict=True)):
            is_lowest = i + n_columns >= len(columns)
            panel.set_title(names[column], fontsize="medium")
            panel.tick_params(labelbottom=is_lowest, labelleft=i % n_columns == 0)
            panel.set_xlabel(f"component {self.components[0]}" if is_lowest else "")
            panel.set_ylabel(f"component {self.components[1]}" if i % n_columns == 0 else "")
        self._add_colorbars(self.images_, is_probability[columns])

    def _draw_table_lines(self, decoded, standard, names, ax, image_kwargs) -> None:
        """Draw a row of colours for each column, with the traversals of all components side by side."""
        n_components, n_steps, n_columns = decoded.shape
        self.ax_ = axes_for(self, ax, (min(max(6.4, 1.2 * n_components), 14.0), min(0.28 * n_columns, 12.0) + 1.4))
        self.axes_ = np.array([self.ax_])
        is_probability = is_kind("probability", self.kinds, n_columns)
        shown = np.where(is_probability, decoded, standard)
        self.images_ = draw_lines(self.ax_, shown, is_probability, image_kwargs)
        self.ax_.set_yticks(range(n_columns), names)
        centers = (n_steps + 1) * np.arange(n_components) + (n_steps - 1) / 2
        self.ax_.set_xticks(*([],) if self.along_path else (centers, self.components))
        self.ax_.set_xlabel(PATH_LABEL if self.along_path else f"component, {PERCENTILES_LABEL}")
        self.ax_.tick_params(length=0)
        self._add_colorbars(self.images_, np.unique(is_probability))

    def _add_colorbars(self, images, is_probability) -> None:
        """Draw a colour bar of the numbers and one of the probabilities; each image shows one of the two."""
        figure = self.ax_.figure
        bars = [
            figure.colorbar(images[list(is_probability).index(kind)], ax=self.ax_, label=label)
            if kind in is_probability
            else None
            for kind, label in [(False, standardised_label(self.kinds)), (True, "probability")]
        ]
        self.colorbar_, self.probability_colorbar_ = bars
