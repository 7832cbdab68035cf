"""Samples of pipelines, and samples without noise."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from sklearn_vae import ImageFlattener, VAEClassifier, VAEImputer, VAETransformer, sample
from sklearn_vae._validation import new_seed

IRIS = load_iris(as_frame=True)
X, Y, FRAME = load_iris().data, load_iris().target, IRIS.data
MIXED = FRAME.assign(species=pd.Categorical.from_codes(Y, IRIS.target_names), large=X[:, 0] > 6)
QUICK = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def pipeline():
    """Return a fitted pipeline of scalers and a transformer, which saw arrays."""
    return make_pipeline(StandardScaler(), MinMaxScaler(), VAETransformer(**QUICK)).fit(X)


def test_samples_of_a_pipeline_are_in_the_units_of_its_input(pipeline):
    drawn = sample(pipeline, 500, random_state=1)
    standard, unit, vae = (step for _, step in pipeline.steps)
    expected = standard.inverse_transform(unit.inverse_transform(vae.sample(500, random_state=1)))
    assert_array_equal(drawn, expected)
    assert_allclose(drawn.mean(0), X.mean(0), atol=0.5)
    assert_array_equal(sample(make_pipeline(pipeline), 500, random_state=1), drawn)


def test_samples_of_a_search():
    pipe = make_pipeline(StandardScaler(), VAETransformer(**QUICK))
    search = GridSearchCV(pipe, {"vaetransformer__n_components": [1, 2]}, cv=2).fit(X)
    assert_array_equal(sample(search, 5, random_state=0), sample(search.best_estimator_, 5, random_state=0))


def test_samples_of_images_are_images():
    images = load_digits().images[:50]
    pipe = make_pipeline(ImageFlattener(), MinMaxScaler(), VAETransformer(**QUICK)).fit(images)
    assert sample(pipe, 3, random_state=0).shape == (3, 8, 8)


def test_samples_of_a_classifier_have_labels(pipeline):
    pipe = make_pipeline(StandardScaler(), VAEClassifier(**QUICK)).fit(X, Y)
    rows, labels = sample(pipe, 30, random_state=0)
    assert rows.shape == (30, 4) and set(labels) <= {0, 1, 2}
    rows, labels = sample(pipe, y=[2, 0, 2], random_state=0)
    assert_array_equal(labels, [2, 0, 2])
    with pytest.raises(ValueError, match="expected y=None for a VAETransformer, which has no classes, got 1"):
        sample(pipeline, y=1)


def test_a_pipeline_of_frames_samples_frames():
    pipe = make_pipeline(StandardScaler(), VAETransformer(**QUICK)).fit(FRAME)
    drawn = sample(pipe, 5, random_state=0)
    assert isinstance(drawn, pd.DataFrame) and list(drawn) == list(FRAME)
    assert_array_equal(
        drawn, sample(make_pipeline(StandardScaler(), VAETransformer(**QUICK)).fit(X), 5, random_state=0)
    )
    with config_context(transform_output="polars"):
        assert_array_equal(sample(pipe, 5, random_state=0), drawn)
        assert isinstance(sample(pipe, 5, random_state=0), pl.DataFrame)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.from_pandas], ids=["pandas", "polars"])
def test_an_estimator_of_mixed_columns_samples_frames(kind):
    table = kind(MIXED)
    vae = VAETransformer(**QUICK).fit(table)
    for noise in (True, False):
        drawn = sample(make_pipeline(vae), 20, random_state=0, noise=noise)
        assert isinstance(drawn, type(table)) and list(drawn.columns) == list(table.columns)
        assert list(drawn.dtypes) == list(table.dtypes)


def test_a_step_without_an_inverse_is_refused():
    encode = ColumnTransformer([("categories", OneHotEncoder(), ["species"])], remainder="passthrough")
    pipe = make_pipeline(encode, StandardScaler(), VAETransformer(**QUICK)).fit(MIXED)
    with pytest.raises(ValueError, match="expected steps with an inverse before the VAETransformer, got ColumnTrans"):
        sample(pipe)


def test_what_has_no_samples_is_refused(pipeline):
    with pytest.raises(ValueError, match="expected a VAETransformer, .* got StandardScaler"):
        sample(StandardScaler())
    with pytest.raises(NotFittedError):
        sample(make_pipeline(StandardScaler(), VAETransformer()))
    with pytest.raises(ValueError, match="expected a model that draws samples, got objective='autoencoder'"):
        sample(VAETransformer(**QUICK, objective="autoencoder").fit(X))
    with pytest.raises(ValueError, match="n_samples to be an integer of at least 1, got 0"):
        sample(pipeline, 0)


@pytest.mark.parametrize("estimator", [VAETransformer, VAEImputer], ids=lambda cls: cls.__name__)
def test_samples_without_noise_are_the_means_of_those_with_noise(estimator):
    vae = estimator(**QUICK).fit(X)
    means = vae.sample(4000, random_state=0, noise=False)
    noise = vae.sample(4000, random_state=0) - means
    for column, scale in zip(noise.T, np.sqrt(vae.noise_variance_), strict=True):
        assert kstest(column / scale, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise.T, means.T)[:4, 4:]).max() < 0.1


def test_samples_of_classes_without_noise():
    clf = VAEClassifier(**QUICK).fit(X, Y)
    labels = np.repeat([0, 1, 2], 1000)
    means, _ = clf.sample(y=labels, random_state=0, noise=False)
    noise = clf.sample(y=labels, random_state=0)[0] - means
    assert np.abs(noise.mean(0)).max() < 0.1 * np.sqrt(clf.noise_variance_).max()
    assert_allclose(noise.std(0), np.sqrt(clf.noise_variance_), rtol=0.15)
    assert (means.var(0) < clf.sample(y=labels, random_state=0)[0].var(0)).all()


def test_categories_without_noise_are_the_most_probable_ones():
    vae = VAETransformer(**QUICK).fit(MIXED)
    z = vae.module_.sample_latents(200, torch.Generator().manual_seed(new_seed(0)))
    expected = vae.inverse_transform(z.double().numpy() * vae.latent_scale_)
    pd.testing.assert_frame_equal(vae.sample(200, random_state=0, noise=False), expected)
    assert not vae.sample(200, random_state=0).equals(expected)


def test_frames_whose_names_are_not_strings_give_arrays():
    pipe = make_pipeline(StandardScaler(), VAETransformer(**QUICK)).fit(FRAME.set_axis(range(4), axis=1))
    assert isinstance(sample(pipe, 3, random_state=0), np.ndarray)


@pytest.mark.parametrize("noise", ["no", None, 0.5])
def test_noise_is_a_boolean(pipeline, noise):
    with pytest.raises(ValueError, match="expected noise to be True or False"):
        sample(pipeline, noise=noise)
