"""What all displays do: where they draw, and of which step."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import FRAME, IMAGES, TINY, ticks
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae.displays import (
    KLDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    TraversalDisplay,
)

WITH_X = [LatentSpaceDisplay, ReconstructionDisplay, SamplesDisplay, TraversalDisplay]
WITHOUT_X = [KLDisplay, LossCurveDisplay]


def test_matplotlib_is_imported_to_draw_only():
    code = "import sys, sklearn_vae.displays; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize("name", ["vae", "table", "images", "classifier", "image_classifier"])
@pytest.mark.parametrize("display", [*WITH_X, *WITHOUT_X])
def test_display_draws_on_given_axes_as_on_its_own(display, name, request):
    X = {"vae": FRAME.to_numpy(), "images": IMAGES, "image_classifier": IMAGES}.get(name, FRAME)
    args = (request.getfixturevalue(name), X)[: 1 + (display in WITH_X)]
    own = display.from_estimator(*args)
    figure, axes = plt.subplots(1, 2)
    given = display.from_estimator(*args, ax=axes[1])
    assert given.ax_ is axes[1] and given.figure_ is figure
    assert not axes[0].has_data() and len(axes[0].child_axes) == 0
    assert own.figure_ is not figure
    assert len(own.ax_.get_children()) == len(given.ax_.get_children())
    figure.draw_without_rendering()
    own.figure_.draw_without_rendering()


@pytest.mark.parametrize("display", [*WITH_X, *WITHOUT_X])
def test_display_needs_a_fitted_autoencoder(display):
    X = [FRAME][: display in WITH_X]
    with pytest.raises(ValueError, match=r"expected a VAETransformer or VAEClassifier, or a pipeline .* got Standard"):
        display.from_estimator(StandardScaler().fit(FRAME), *X)
    for data in (FRAME, FRAME.to_numpy()):
        with pytest.raises(ValueError, match=f"got data, a {type(data).__name__}; the estimator is the first argument"):
            display.from_estimator(data, *X)
    with pytest.raises(NotFittedError, match="VAETransformer instance is not fitted"):
        display.from_estimator(make_pipeline(StandardScaler(), VAETransformer()), *X)
    with pytest.raises(NotFittedError, match="fitted search with refit=True"):
        display.from_estimator(GridSearchCV(VAETransformer(), {}), *X)


def test_step_is_found_in_nested_pipelines_and_what_precedes_it_is_undone(vae, table):
    nested = make_pipeline("passthrough", make_pipeline(make_pipeline(table[0]), table[1]), StandardScaler())
    nested = nested.set_params(standardscaler__copy=False)
    expected = table.inverse_transform(table.transform(FRAME))
    display = ReconstructionDisplay.from_estimator(nested, FRAME)
    np.testing.assert_allclose(display.X_reconstructed, expected)
    np.testing.assert_array_equal(display.X, FRAME)


def test_what_cannot_be_undone_is_done_to_the_data():
    X = FRAME.mask(np.arange(150)[:, None] % 10 == np.arange(4))
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), VAETransformer(2, **TINY)).fit(X)
    display = ReconstructionDisplay.from_estimator(pipeline, X)
    np.testing.assert_allclose(display.X, pipeline[0].transform(X))
    Z = pipeline.transform(X)
    np.testing.assert_allclose(display.X_reconstructed, pipeline[1].inverse_transform(pipeline[2].inverse_transform(Z)))
    assert ticks(display.ax_.xaxis) == list(FRAME.columns)
