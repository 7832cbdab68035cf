"""Fitted estimators that displays draw, not to be changed."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import DIGITS, FRAME, IMAGES, SPECIES, TINY
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import ImageFlattener, VAEClassifier, VAETransformer
from sklearn_vae.networks import Conv


@pytest.fixture(autouse=True)
def figures():
    """Without windows."""
    plt.switch_backend("Agg")


@pytest.fixture(scope="session")
def vae():
    """Four components, of iris."""
    return VAETransformer(4, **TINY).fit(FRAME.to_numpy())


@pytest.fixture(scope="session")
def table():
    """A pipeline of a scaler and two components, of a frame."""
    return make_pipeline(StandardScaler(), VAETransformer(2, random_state=0)).fit(FRAME)


@pytest.fixture(scope="session")
def images():
    """A pipeline from images to two components, and classes."""
    steps = ImageFlattener(), StandardScaler(), VAETransformer(2, **TINY)
    return make_pipeline(*steps, LogisticRegression(max_iter=500)).fit(IMAGES, DIGITS)


@pytest.fixture(scope="session")
def few_labels():
    return np.where(np.arange(len(SPECIES)) % 3, SPECIES, -1)


@pytest.fixture(scope="session")
def classifier(few_labels):
    return make_pipeline(StandardScaler(), VAEClassifier(3, **TINY)).fit(FRAME, few_labels)


@pytest.fixture(scope="session")
def image_classifier():
    """The best pipeline of a search, of images of two digits."""
    two = DIGITS < 2
    pipeline = make_pipeline(ImageFlattener(), VAEClassifier(3, **TINY))
    return GridSearchCV(pipeline, {"vaeclassifier__max_iter": [2]}, cv=2).fit(IMAGES[two], DIGITS[two])


@pytest.fixture(scope="session")
def autoencoder():
    return VAETransformer(3, objective="autoencoder", **TINY).fit(FRAME.to_numpy())


@pytest.fixture(scope="session")
def flat():
    """Rows of pixels, in a network that knows their shape."""
    conv = Conv(image_shape=(8, 8), channels=(4,), decoder_channels=(4,), hidden_layer_sizes=(8,))
    return VAETransformer(3, network=conv, max_iter=1, random_state=0).fit(IMAGES.reshape(120, -1))
