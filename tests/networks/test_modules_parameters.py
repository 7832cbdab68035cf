"""Parameters of user-defined modules: get_params, set_params, clones and searches."""

import pickle

import numpy as np
import pytest
from own_modules import Features, Posterior, columns, features, small
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from small_estimators import CLASS
from torch import nn

from sklearn_vae import VAETransformer
from sklearn_vae.networks import Modules


def test_modules_parameters_are_those_given():
    network = Modules(Features, columns, encoder__width=16, decoder__width=4)
    assert network.get_params() == {
        "encoder": Features,
        "decoder": columns,
        "encoder__width": 16,
        "decoder__width": 4,
    }
    assert "encoder__width=16" in repr(network) and "Features" in repr(network)
    assert "decoder=Linear(in_features=2, out_features=4, bias=True)" in repr(Modules(Features, nn.Linear(2, 4)))
    vae = VAETransformer(network=network)
    assert vae.get_params()["network__encoder__width"] == 16
    assert "encoder__width=16" in repr(vae) and "encoder__width" in vae._repr_html_()


def test_modules_set_params_and_clone():
    network = Modules(Features, columns, encoder__width=16)
    vae = VAETransformer(network=network).set_params(network__encoder__width=4, network__decoder__width=3)
    assert vae.network is network and network.get_params()["decoder__width"] == 3
    copied = clone(vae)
    copied.set_params(network__encoder=features, network__encoder__width=5)
    assert (network.encoder, network.encoder__width) == (Features, 4)
    assert (copied.network.encoder, copied.network.encoder__width) == (features, 5)
    instance = Features(4)
    assert clone(Modules(instance, columns)).encoder is not instance


def test_modules_parameters_reach_the_modules(iris):
    vae = small(network=Modules(Features, columns)).set_params(network__encoder__width=5, network__decoder__width=3)
    model = vae.fit(iris).module_
    assert model.encoder.layers[0].out_features == 5 and model.decoder.module[0].out_features == 3


def test_modules_parameters_are_searchable_in_a_pipeline(iris):
    pipeline = Pipeline([("vae", small(network=Modules(Posterior, columns))), ("classify", LogisticRegression())])
    grid = {"vae__network__encoder__width": [2, 6], "vae__network__decoder": [columns, nn.Linear]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(iris, CLASS)
    best = search.best_params_["vae__network__encoder__width"]
    assert search.best_estimator_["vae"].module_.encoder.module.layers[0].out_features == best
    assert len(search.cv_results_["params"]) == 4
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(restored.predict(iris), search.predict(iris))


@pytest.mark.parametrize("name", ["width", "encoder_width", "encoder__", "head__width", "__width"])
def test_modules_parameter_of_a_wrong_name(name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'; expected encoder, decoder, encoder__<"):
        Modules(Features, columns, **{name: 3})
    network = Modules(Features, columns)
    with pytest.raises(
        ValueError, match=f"(?s)Invalid parameter '{name}' for estimator Modules.*expected encoder, dec"
    ):
        network.set_params(**{name: 3})
    assert network.get_params() == {"encoder": Features, "decoder": columns}


def test_modules_parameter_that_the_class_does_not_take(iris):
    with pytest.raises(TypeError, match=r"expected encoder .*got Features\(4, depth=3\), which failed: TypeError: .*"):
        small(network=Modules(Features, columns, encoder__depth=3)).fit(iris)
    with pytest.raises(TypeError, match=r"expected encoder to be a class or factory, because encoder__width is given"):
        small(network=Modules(Features(4), columns, encoder__width=3)).fit(iris)
