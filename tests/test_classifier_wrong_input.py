"""Wrong labels, weights and parameters of a classifier raise an error that names the expected and the given value."""

import re
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning, NotFittedError

from sklearn_vae import VAEClassifier
from sklearn_vae.networks import MLP

CLASS = np.arange(150) // 50
NAMES = np.array(["ant", "bee", "cat"])[CLASS]


def small(**params):
    values = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 1, "n_draws": 4, "random_state": 0}
    return VAEClassifier(**{**values, **params})


def with_first(value):
    """An array of names whose first entry is not a string."""
    y = NAMES.astype(object)
    y[0] = value
    return y


def objects(labels):
    """Three objects as labels."""
    y = np.empty(3, dtype=object)
    y[:] = labels
    return y[CLASS]


@pytest.fixture(scope="module")
def named(iris):
    """Not to be changed."""
    return small().fit(iris, NAMES)


# Labels


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.zeros(150), ValueError, "expected labels of at least two classes in y, got 1 class, .*0"),
        (np.where(CLASS == 1, 7, -1), ValueError, "expected labels of at least two classes in y, got 1 class, .*7"),
        (np.full(150, "ant"), ValueError, "expected labels of at least two classes in y, got 1 class, .*ant"),
        (np.full(150, -1), ValueError, "expected labels .*all .*rows are unlabelled .*use VAETransformer"),
        (np.full(150, -1, dtype=object), ValueError, "all .*rows are unlabelled"),
        (with_first(3), TypeError, "expected labels of one type in y, got int, str; convert them"),
        (with_first(True), TypeError, "expected labels of one type in y, got bool, str"),
        (with_first(None), ValueError, "expected the integer -1 for unlabelled rows, got None for 1 of them"),
        (with_first(np.nan), ValueError, "expected the integer -1 for unlabelled rows, got nan for 1 of them"),
        (with_first(pd.NA), ValueError, "expected the integer -1 for unlabelled rows, got <NA> for 1 of them"),
        (pd.Series(with_first(None), dtype="category"), ValueError, "expected the integer -1 .*, got nan for 1"),
        (pd.Series(CLASS, dtype="Int64").where(CLASS > 0), ValueError, "expected the integer -1 .*, got <NA> for 50"),
        (np.where(CLASS > 0, 1.0, np.nan), ValueError, "expected the integer -1 .*, got nan for 50"),
        (np.where(CLASS > 0, 1.0, np.inf), ValueError, "Input y contains infinity"),
        (np.where(CLASS > 0, "ant", "-1"), ValueError, "expected the integer -1 for unlabelled rows, got the string"),
        (with_first((1,)), TypeError, "expected labels of one type in y, got str, tuple"),
        (objects([(1,), (2,), (3,)]), TypeError, "expected labels that are strings, booleans or integers, got tuple"),
        (objects([date(2020, 1, i) for i in (1, 2, 3)]), TypeError, "expected labels that are .*, got date; convert"),
        (np.array(["2020-01-01", "2021-01-01"], dtype="M8[s]")[CLASS // 2], TypeError, r"got datetime64\[s\]; convert"),
        (objects([10**30, 1, 2]), ValueError, "expected integer labels of 64 bits, got 1000000"),
        (np.where(CLASS, 1, -1), ValueError, "got 1 class, 1, .*a label other than -1 for each class"),
        (with_first("-1"), ValueError, "expected the integer -1 for unlabelled rows, got the string '-1'.*object"),
        ([*NAMES[1:], -1], ValueError, "expected the integer -1 for unlabelled rows, got the string '-1'.*object"),
        (np.linspace(0, 1, 150), ValueError, "Unknown label type: continuous"),
        (np.where(CLASS > 0, np.linspace(0, 1, 150), -1), ValueError, "Unknown label type: continuous"),
        (np.c_[CLASS, CLASS], ValueError, r"y should be a 1d array, got an array of shape \(150, 2\)"),
        (CLASS[:, None], DataConversionWarning, "A column-vector y was passed"),
        (CLASS[:9], ValueError, r"inconsistent numbers of samples: \[150, 9\]"),
        (NAMES.astype(bytes), TypeError, "Support for labels represented as bytes is not supported"),
        (None, ValueError, "requires y to be passed, but the target y is None"),
        (3, ValueError, "y should be a 1d array|Expected|shape"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_wrong_labels(iris, y, error, message):
    with pytest.raises(error, match=message):
        small().fit(iris, y)


def test_missing_labels_of_a_series_are_replaced_as_the_message_says(iris):
    y = pd.Series(NAMES).where(CLASS > 0)
    code = "y.astype(object).fillna(-1)"
    with pytest.raises(ValueError, match=re.escape(code)):
        small().fit(iris, y)
    assert small().fit(iris, eval(code)).classes_.tolist() == ["bee", "cat"]


@pytest.mark.parametrize(
    "y",
    [
        objects([1, "b", "c"]),
        objects([1.0, 2, 3]),
        objects([True, 2, -1]),
        np.where(np.arange(150) % 2, objects([1, 2.0, -1]), -1),
        objects([(1,), (2,), (3,)]),
        objects([10**30, 1, -1]),
        objects([date(2020, 1, 1), date(2020, 1, 2), -1]),
    ],
    ids=lambda y: str(y[::50]),
)
def test_labels_are_converted_as_the_message_says(iris, y):
    code = re.escape("np.array([label if label == -1 else str(label) for label in y], dtype=object)")
    with pytest.raises((TypeError, ValueError), match=code):
        small().fit(iris, y)
    vae = small().fit(iris, eval(code.replace("\\", ""), {"np": np, "y": y}))
    assert vae.classes_.tolist() == sorted({str(label) for label in y if label != -1})


def test_negative_classes_beside_unlabelled_rows_warn(iris):
    y = CLASS - 2
    with pytest.warns(UserWarning, match=r"y == -1 are unlabelled, while -2 is a class; .*fit on (.*)\.$") as record:
        assert small().fit(iris, y).classes_.tolist() == [-2, 0]
    assert record[0].filename == __file__
    assert small().fit(iris, np.unique(y, return_inverse=True)[1]).classes_.tolist() == [0, 1, 2]


def test_missing_labels(iris):
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        small().fit(iris)


def test_warm_start_with_other_classes(iris):
    vae = small(warm_start=True).fit(iris, CLASS)
    with pytest.raises(ValueError, match="expected the classes of the first call, .*; use warm_start=False"):
        vae.fit(iris, NAMES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"generative_weight": 0}, {"generative_weight": 1e-3}),
        ({"generative_weight": 1e-3}, {"generative_weight": 0}),
        ({}, {"n_mixture_components": 3}),
        ({}, {"objective": "autoencoder"}),
        ({}, {"n_components": 3}),
        ({}, {"network": MLP("tanh")}),
    ],
    ids=str,
)
def test_warm_start_with_another_model(iris, before, after):
    vae = small(warm_start=True, **before).fit(iris, CLASS)
    with pytest.raises(ValueError, match=f"expected {next(iter(after))} as in the first call"):
        vae.set_params(**after).fit(iris, CLASS)


# Weights

# Squares of these values overflow or underflow in float32.
WRONG_WEIGHTS = [(-1, 1, 1), (np.nan, 1, 1), (np.inf, 1, 1), (0, 0, 0)]
WRONG_WEIGHTS += [(1e308,) * 3, (1e39, 1, 1), (1e20,) * 3, (1e-20,) * 3, (5e-324, 0, 0)]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (CLASS == 0, "expected labels of at least two classes in y.* got 1 class"),
        # Older versions of scikit-learn accept these values, so our own check raises the error.
        (
            np.zeros(150),
            "Sample weights must contain at least one non-zero|at least two rows with a positive sample_weight",
        ),
        (np.eye(150)[0], "at least two rows with a positive sample_weight, got 1 of 150"),
        (np.full(150, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.full(150, np.nan), "Input sample_weight contains NaN"),
        (np.ones(149), r"sample_weight.shape == \(149,\), expected \(150,\)"),
    ],
)
def test_wrong_weights(iris, weight, message):
    with pytest.raises(ValueError, match=message):
        small().fit(iris, CLASS, sample_weight=weight)


@pytest.mark.parametrize("weight", [{0: 1.0, 7: 2.0}, {"ant": 2.0}], ids=str)
def test_class_weight_of_unknown_classes(iris, weight):
    with pytest.raises(ValueError, match="are not in class_weight"):
        small(class_weight=weight).fit(iris, CLASS)


@pytest.mark.parametrize("weights", WRONG_WEIGHTS, ids=str)
def test_class_weight_of_wrong_values(iris, weights):
    with pytest.raises(ValueError, match="expected class_weight to be finite numbers of at least 0 .* got {"):
        small(class_weight=dict(enumerate(weights))).fit(iris, CLASS)


# Samples

WRONG_CLASSES = [("dog", "'dog'"), (-1, "-1|'-1'"), (0, "0|'0'"), (["ant", "dog"], "'dog'"), (np.nan, "nan")]
WRONG_CLASSES += [(datetime(2020, 1, 1), "datetime"), (np.datetime64("2020-01-01"), "datetime"), ({"ant": 1}, "{")]
WRONG_CLASSES += [
    (b"ant", "b'ant'"),
    ({"ant"}, "{"),
    (slice(2), "slice"),
    (objects([["ant"], ["bee"], []])[49:51], r"\["),
]


@pytest.mark.parametrize(("y", "got"), WRONG_CLASSES, ids=str)
def test_sample_of_an_unknown_class(named, y, got):
    with pytest.raises(ValueError, match=rf"expected y to be of the classes \['ant', 'bee', 'cat'\], got ({got})"):
        named.sample(2, y=y)


@pytest.mark.parametrize(("n_samples", "y"), [(3, ["ant", "bee"]), (2, ["ant"]), (1, []), (2, [])], ids=str)
def test_sample_of_another_number_of_labels(named, n_samples, y):
    with pytest.raises(ValueError, match=f"expected y to be a label or to have .*{n_samples}.*, got {len(y)}"):
        named.sample(n_samples, y=y)


def test_sample_of_two_dimensional_labels(named):
    with pytest.raises(ValueError, match="y should be a 1d array"):
        named.sample(2, y=[["ant", "bee"], ["cat", "bee"]])


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None, True])
def test_sample_of_a_wrong_number(named, n_samples):
    with pytest.raises(ValueError, match=f"expected n_samples to be an integer of at least 1, got {n_samples!r}"):
        named.sample(n_samples)


# Methods and parameters


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "transform", "score_samples"])
def test_method_of_wrong_rows(named, iris, method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(small(), method)(iris)
    with pytest.raises(ValueError, match="X has 3 features, but VAEClassifier is expecting 4 features"):
        getattr(named, method)(iris[:, :3])
    with pytest.raises(ValueError, match="Input X contains infinity"):
        getattr(named, method)(np.where(iris > 6, np.inf, iris))


def test_sample_before_fit():
    with pytest.raises(NotFittedError, match="VAEClassifier instance is not fitted yet"):
        small().sample()


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "generative_weight": [-0.1, "auto", None],
        "consistency_weight": [-1.0, "none", None],
        "consistency_radius": [0, -0.1, "none", None],
        "entropy_weight": [-0.1, "none", None],
        "unlabelled": ["spread", None, True],
        "n_neighbors": [0, 2.5, "auto", None],
        "class_weight": ["auto", 2.0, [1, 2]],
        "n_mixture_components": [0, 1.5, None],
        "n_components": [0, "2", 1.5, 0.0],
        "max_iter": [-1, "none"],
        "early_stopping": ["yes"],
        "validation_fraction": [0.0, 1.0],
        "warm_start": ["yes"],
    }.items(),
)
def test_wrong_parameter(iris, name, values):
    for value in values:
        with pytest.raises(ValueError) as error:
            small(**{name: value}).fit(iris, CLASS)
        assert f"'{name}' parameter of VAEClassifier must be" in str(error.value)
        assert f"Got {value!r}" in str(error.value)
