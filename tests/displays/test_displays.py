"""Common behaviour of all displays: the axes that they draw on, and the pipeline step that they draw."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import FRAME, IMAGES, SPECIES, TINY, ticks
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae.displays import (
    KLDisplay,
    LatentSpaceDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SamplesDisplay,
    TableComparisonDisplay,
    TraversalDisplay,
)

WITH_X = [LatentSpaceDisplay, ReconstructionDisplay, SamplesDisplay, TraversalDisplay]
WITHOUT_X = [KLDisplay, LossCurveDisplay]
# All displays, of which one does not draw images.
EVERY = [*WITH_X, TableComparisonDisplay, *WITHOUT_X]


def test_matplotlib_is_imported_to_draw_only():
    code = "import sys, sklearn_vae.displays; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize("display", EVERY)
def test_without_matplotlib_displays_say_so(display, classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    args = (classifier, FRAME)[: 1 + (display not in WITHOUT_X)]
    labels = {"y": SPECIES} if display in (LatentSpaceDisplay, SamplesDisplay) else {}
    with pytest.raises(ImportError, match=rf"{display.__name__}.plot requires matplotlib"):
        display.from_estimator(*args, **labels)


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


@pytest.mark.parametrize("display", EVERY)
def test_display_needs_a_fitted_autoencoder(display):
    X = [FRAME][: display not in WITHOUT_X]
    with pytest.raises(
        ValueError, match=r"expected a VAETransformer, VAEClassifier or VAEImputer, or a pipeline .* got Standard"
    ):
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


CATEGORIES = np.random.default_rng(0).choice(list("abc"), (60, 3))


@pytest.mark.parametrize(
    ("step", "X"),
    [
        (FunctionTransformer(np.log1p), FRAME.to_numpy()),
        (OneHotEncoder(sparse_output=False), CATEGORIES),
        (OrdinalEncoder(), CATEGORIES),
    ],
    ids=["no inverse function", "indicators", "codes"],
)
def test_steps_whose_inverse_is_none_for_decoded_rows_are_not_undone(step, X):
    pipeline = make_pipeline(step, VAETransformer(2, **TINY)).fit(X)
    display = ReconstructionDisplay.from_estimator(pipeline, X)
    np.testing.assert_allclose(display.X, pipeline[0].transform(X))
    np.testing.assert_allclose(display.X_reconstructed, pipeline[1].inverse_transform(pipeline.transform(X)))


def test_functions_with_an_inverse_are_undone():
    X = FRAME.to_numpy()
    pipeline = make_pipeline(FunctionTransformer(np.log1p, np.expm1), VAETransformer(2, **TINY)).fit(X)
    display = ReconstructionDisplay.from_estimator(pipeline, X)
    np.testing.assert_array_equal(display.X, X)
    np.testing.assert_allclose(display.X_reconstructed, pipeline.inverse_transform(pipeline.transform(X)))


def test_sparse_rows_are_drawn_from_where_they_are_dense():
    texts = [f"word{i % 7} word{i % 5} word{i % 3}" for i in range(60)]
    pipeline = make_pipeline(CountVectorizer(), TruncatedSVD(3, random_state=0), VAETransformer(2, **TINY)).fit(texts)
    assert len(LatentSpaceDisplay.from_estimator(pipeline, texts).Z) == 60
    with pytest.raises(ValueError, match=r"expected dense rows to draw, got a sparse matrix .* pipeline\[n:\]"):
        ReconstructionDisplay.from_estimator(pipeline, texts)
    dense = pipeline[:2].transform(texts)
    np.testing.assert_array_equal(ReconstructionDisplay.from_estimator(pipeline[2:], dense).X, dense)


def test_an_estimator_with_a_parameter_of_searches_may_follow(vae):
    final = LogisticRegression(max_iter=500).fit(vae.transform(FRAME.to_numpy()), SPECIES)
    final.refit = True  # As LogisticRegressionCV has.
    assert KLDisplay.from_estimator(make_pipeline(vae, final)).kl is vae.kl_per_component_


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


@pytest.mark.parametrize("name", ["table", "classifier", "image_classifier"])
@pytest.mark.parametrize("display", [*WITH_X, *WITHOUT_X])
def test_display_takes_lists_where_it_takes_arrays(display, name, request):
    """The values that `from_estimator` stores give the same drawing if they are passed as lists."""
    is_image = name == "image_classifier"
    args = (request.getfixturevalue(name), IMAGES if is_image else FRAME)[: 1 + (display in WITH_X)]
    labels = SPECIES if name == "classifier" else np.arange(len(IMAGES)) % 3 if is_image else None
    own = display.from_estimator(*args, **({"y": labels} if display in (LatentSpaceDisplay, SamplesDisplay) else {}))
    stored = {k: v for k, v in vars(own).items() if not k.endswith("_") and not k.startswith("_")}
    given = {k: np.asarray(v).tolist() if np.ndim(v) else v for k, v in stored.items()}
    np.testing.assert_array_equal(pixels(display(**given).plot().figure_), pixels(own.figure_))


def test_samples_display_of_another_number_of_classes_than_samples():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SamplesDisplay(X_sampled=np.zeros((3, 2)), y_sampled=[0, 1]).plot()


def test_displays_leave_missing_cells_out():
    """The pictures of rows with gaps are those of the observed cells: errors, ranges and boxes are finite."""
    gaps = np.random.default_rng(0).random(FRAME.shape) < 0.2
    X = FRAME.mask(gaps)
    vae = VAETransformer(2, **TINY).fit(X)
    errors = ReconstructionDisplay.from_estimator(vae, X).bars_
    assert all(np.isfinite(bar.get_height()) for bar in errors)
    boxes = SamplesDisplay.from_estimator(vae, X=X).boxes_["data"]["medians"]
    assert all(np.isfinite(line.get_ydata()).all() for line in boxes)
    assert np.isfinite(LatentSpaceDisplay.from_estimator(vae, X).Z).all()
    assert TraversalDisplay.from_estimator(vae, X=X).figure_ is not None
