"""Convolutional networks: image shapes, initial weights, and better results on images."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from sklearn_vae import ImageFlattener, VAEClassifier, VAETransformer
from sklearn_vae._data.image_rows import image_shape_of
from sklearn_vae.networks import Conv

SHAPES = [(1, 1), (1, 2, 9), (7, 5), (8, 8), (5, 64), (28, 28), (3, 9, 11), (3, 32, 32)]


def built(network, n_columns, zero_output=False, seed=0):
    return network.build(n_columns, 3, n_columns, (8,), zero_output, torch.Generator().manual_seed(seed))


def small(**params):
    """Return an estimator with a very short fit."""
    options = {"network": "conv", "max_iter": 2, "early_stopping": False, "random_state": 0}
    return VAETransformer(2, **{**options, **params})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_conv_takes_any_height_and_width(shape, dtype):
    n_columns = int(np.prod(shape))
    encoder, decoder = (module.to(dtype) for module in built(Conv(shape), n_columns))
    features = encoder(torch.zeros(4, n_columns, dtype=dtype))
    assert features.ndim == 2 and len(features) == 4
    raw = decoder(torch.ones(4, 3, dtype=dtype))
    assert raw.shape == (4, n_columns) and raw.dtype == dtype
    # Every column is reached by the last layers.
    assert (raw != decoder(torch.zeros(4, 3, dtype=dtype))).all()


@pytest.mark.parametrize("shape", [(7, 5), (3, 9, 11)], ids=str)
def test_conv_sees_every_column_as_the_image_has_it(shape):
    """Padding adds zeros at the end and moves nothing, and every pixel has a part in the features."""
    n_columns = int(np.prod(shape))
    encoder, _ = built(Conv(shape), n_columns)
    x = torch.zeros(1, n_columns).requires_grad_()
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    image = torch.arange(float(n_columns)).reshape(1, *shape)
    padded = encoder[0](image.flatten(1))
    height, width = shape[-2:]
    torch.testing.assert_close(padded[..., :height, :width].reshape(image.shape), image)
    assert padded.sum() == image.sum()


def test_conv_is_a_convolution():
    """Shifting an image by two pixels shifts the first layer's output accordingly."""
    encoder, _ = built(Conv(), 144)
    image = torch.zeros(1, 12, 12)
    image[:, 4:7, 4:7] = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    first, moved = (encoder[:2](torch.roll(image, shift, (1, 2)).flatten(1)) for shift in [(0, 0), (2, 0)])
    torch.testing.assert_close(torch.roll(first, (1, 0), (2, 3)), moved)


@pytest.mark.parametrize(("n_columns", "channels"), [(64, 1), (784, 1), (3072, 3), (12, 3), (1, 1)])
def test_conv_finds_square_images(n_columns, channels):
    encoder, _ = built(Conv(), n_columns)
    assert next(m for m in encoder.modules() if isinstance(m, nn.Conv2d)).in_channels == channels


@pytest.mark.parametrize(("network", "n_stages"), [(Conv(), 2), (Conv(channels=(4, 5, 6)), 3), (Conv((8, 98)), 2)])
def test_conv_depth(network, n_stages):
    encoder, _ = built(network, 784)
    assert sum(isinstance(m, nn.Conv2d) for m in encoder.modules()) == n_stages


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((28, 28), r"image_shape=\(28, 28\) makes 784 columns, got 64"),
        ((3, 8, 8), r"image_shape=\(3, 8, 8\) makes 192 columns, got 64"),
        ("square", "image_shape"),
        (64, "image_shape"),
        ((60,), r"image_shape=\(60,\) makes 60 columns, got 64"),
        ((1, 1, 8, 8), "expected image_shape to be"),
        ((0, 64), "expected image_shape to be"),
        ((8.0, 8.0), "expected image_shape to be"),
        ((8, "8"), "expected image_shape to be"),
        (None, "image_shape"),
    ],
)
def test_conv_wrong_image_shape(digits, image_shape, message):
    with pytest.raises(ValueError, match=message):
        small(network=Conv(image_shape)).fit(digits)


@pytest.mark.parametrize(
    "params",
    [
        {"channels": "wide"},
        {"channels": ()},
        {"channels": (0,)},
        {"channels": 16},
        {"decoder_channels": (8, 2.5)},
        {"hidden_layer_sizes": (0,)},
        {"kernel_size": 0},
        {"kernel_size": 3},
        {"kernel_size": 4.0},
        {"activation": "softplus"},
        {"decoder_activation": None},
    ],
    ids=str,
)
def test_conv_wrong_parameters(digits, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        small(network=Conv(**params)).fit(digits)


def test_conv_asks_for_the_shape_where_columns_are_no_square(iris):
    with pytest.raises(ValueError, match=r"got 2; give image_shape=\(height, width\)"):
        small(network=Conv()).fit(iris[:, :2])


def test_conv_starts_at_pca(digits):
    Z = small(whiten=False, max_iter=0).fit_transform(digits)
    expected = PCA(2).fit_transform(digits)
    np.testing.assert_allclose(Z * np.sign((Z * expected).sum(0)), expected, rtol=1e-3, atol=1e-2)
    mlp = small(whiten=False, max_iter=0, network="mlp").fit_transform(digits)
    np.testing.assert_allclose(Z, mlp, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("init", ["ppca", "random"])
def test_conv_learns(digits, likelihood, init):
    params = {"likelihood": likelihood, "init": init}
    start, vae = (small(max_iter=n, **params).fit(digits / 16) for n in (0, 30))
    assert vae.score(digits / 16) > start.score(digits / 16) + 1


def test_conv_same_seed_same_model(digits, global_random_state):
    before = global_random_state()
    first, again, other = (small(random_state=seed).fit_transform(digits) for seed in (0, 0, 1))
    assert global_random_state() == before
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_conv_survives_clone_and_pickle(digits):
    vae = small(network=Conv((8, 8), kernel_size=2)).fit(digits)
    assert clone(vae).network.get_params() == vae.network.get_params()
    again = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(again.transform(digits), vae.transform(digits))
    np.testing.assert_array_equal(again.sample(3, random_state=0), vae.sample(3, random_state=0))


def test_conv_goes_on_training_where_it_was(digits):
    """Moments of the optimiser come back in the layout that they had."""
    straight = small().partial_fit(digits).partial_fit(digits)
    again = pickle.loads(pickle.dumps(small().partial_fit(digits))).partial_fit(digits)
    np.testing.assert_allclose(again.transform(digits), straight.transform(digits), rtol=0.05, atol=0.05)


def test_conv_can_be_searched(digits):
    search = GridSearchCV(small(network=Conv()), {"network__kernel_size": [2, 4]}, cv=2, error_score="raise")
    search.fit(digits)
    pipe = make_pipeline(small(network=Conv(), max_iter=1))
    pipe.set_params(vaetransformer__network__image_shape=(4, 16)).fit(digits)
    assert search.best_params_["network__kernel_size"] in (2, 4)


def test_conv_treats_rows_independently(digits):
    vae = small().fit(digits)
    np.testing.assert_allclose(vae.transform(digits)[5:6], vae.transform(digits[5:6]), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(vae.score_samples(digits)[5:6], vae.score_samples(digits[5:6]), rtol=1e-10)


def test_conv_in_a_classifier():
    X, y = load_digits(return_X_y=True)
    model = VAEClassifier(network=Conv((8, 8)), max_iter=5, random_state=0).fit(X[:600], y[:600])
    assert model.score(X[600:1000], y[600:1000]) > 0.85
    assert model.sample(4, y=3)[0].shape == (4, 64)


@pytest.mark.parametrize("length", [1, 5, 24, 100, 513])
@pytest.mark.parametrize("channels", [1, 3])
def test_conv_of_a_series_has_one_dimension(length, channels):
    n_columns = channels * length
    encoder, decoder = built(Conv((channels, 1, length)), n_columns)
    kernels = [layer.kernel_size for net in (encoder, decoder) for layer in net if hasattr(layer, "kernel_size")]
    assert kernels and all(kernel == (1, 4 if length > 1 else 1) for kernel in kernels)
    x = torch.zeros(1, n_columns).requires_grad_()
    encoder(x).square().sum().backward()
    assert (x.grad != 0).all()
    assert decoder(torch.ones(4, 3)).shape == (4, n_columns)
    if channels == 1:
        same, _ = built(Conv((length,)), n_columns)
        torch.testing.assert_close(same(torch.ones(2, n_columns)), encoder(torch.ones(2, n_columns)))


def test_conv_of_a_series_is_torchs_convolution_in_one_dimension():
    encoder, _ = built(Conv((12,), channels=(5,)), 12)
    layer = next(module for module in encoder if isinstance(module, nn.Conv2d))
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.conv1d(x[:, None], layer.weight[:, :, 0], layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x[:, None, None])[:, :, 0], expected)


def test_conv_learns_series():
    rng = np.random.default_rng(0)
    phase, rate = rng.uniform(0, 6, (600, 1)), rng.uniform(0.1, 0.3, (600, 1))
    series = np.sin(phase + rate * np.arange(24)) + 0.1 * rng.standard_normal((600, 24))
    vae = VAETransformer(3, network=Conv((24,)), max_iter=100, random_state=0).fit(series[:500])
    assert vae.score(series[500:]) > PCA(3).fit(series[:500]).score(series[500:]) + 5


@pytest.mark.parametrize("shape", [(8, 6), (3, 4, 6)], ids=str)
def test_conv_takes_the_shape_from_an_image_flattener(shape):
    images = np.random.default_rng(0).random((40, *shape))
    pipe = make_pipeline(ImageFlattener(), small()).fit(images)
    vae = pipe[-1]
    assert vae._architecture.network.image_shape == shape
    expected = small(network=Conv(shape)).fit(images.reshape(40, -1))
    np.testing.assert_array_equal(pipe.transform(images), expected.transform(images.reshape(40, -1)))
    # The shape stays known, also where rows come without it.
    again = pickle.loads(pickle.dumps(vae)).partial_fit(images.reshape(40, -1))
    assert again._architecture.network.image_shape == shape
    # A shape that is given is not replaced.
    with pytest.raises(ValueError, match="makes 4 columns"):
        make_pipeline(ImageFlattener(), small(network=Conv((2, 2)))).fit(images)


def test_flattened_images_know_their_shape(tmp_path):
    images = np.arange(5 * 4 * 3.0).reshape(5, 4, 3)
    rows = ImageFlattener().fit_transform(images)
    for same in (rows, rows[1:3], rows.copy(), pickle.loads(pickle.dumps(rows))):
        assert same.image_shape == (4, 3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows)), images.reshape(5, -1))
    assert np.shares_memory(rows, images)
    # Other columns than all of one image, and results of arithmetic, are not taken for images.
    assert small().fit(rows[:, :4])._architecture.network.image_shape == "auto"
    for plain in (rows + 1, rows.mean(0), np.sqrt(rows)):
        assert type(plain) is np.ndarray
    assert isinstance(rows.mean(), float) and rows.max() == 59.0


@pytest.mark.parametrize("shape", [(2, 8), (3, 2, 8)], ids=str)
def test_the_shape_passes_in_a_data_frame(shape):
    images = np.random.default_rng(0).random((20, *shape))
    pipe = make_pipeline(ImageFlattener(), MinMaxScaler(), small()).set_output(transform="pandas").fit(images)
    assert pipe[-1]._architecture.network.image_shape == shape
    frame = pipe[:-1].transform(images)
    for other in (frame.iloc[:, :-1], frame.iloc[:, ::-1], frame.add_prefix("my_")):
        assert image_shape_of(other) is None


def test_the_shape_passes_through_a_cached_step(tmp_path):
    images = np.random.default_rng(0).random((20, 8, 6))
    for _ in range(2):
        pipe = make_pipeline(ImageFlattener(), small(), memory=str(tmp_path)).fit(images)
        assert pipe[-1]._architecture.network.image_shape == (8, 6)
