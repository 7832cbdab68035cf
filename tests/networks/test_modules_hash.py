"""Hashes of user-defined modules, by which joblib.Memory recognises them."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from naming import shown
from own_modules import Features, Posterior, small
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from small_estimators import CLASS
from torch import nn

from sklearn_vae.networks import Modules
from sklearn_vae.networks.modules import StoredTensor


class Recurrent(nn.Module):
    """Layers that list their weights, a tensor that is no buffer, and statistics."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale, self.norm = nn.GRU(1, 3, batch_first=True), torch.full((3,), 2.0), nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.layer(x[..., None])[0][:, -1]) * self.scale.to(x.dtype)


INSTANCES = [Features(4), Posterior(4), Recurrent(), nn.LazyLinear(3), Features(4).double(), Features(4).bfloat16()]


@pytest.mark.parametrize("encoder", INSTANCES, ids=shown)
def test_modules_instance_has_a_stable_hash(encoder):
    network = Modules(encoder, nn.Linear(2, 4))
    for copied in (clone(network), copy.copy(network), pickle.loads(pickle.dumps(network))):
        assert joblib.hash(copied) == joblib.hash(network)
        for own, other in zip(encoder.parameters(), copied.encoder.parameters(), strict=True):
            assert own.dtype == other.dtype and own is not other
    with torch.no_grad():
        network.decoder.weight += 1
    assert joblib.hash(copied) != joblib.hash(network)


# joblib warns if the machine is busy.
@pytest.mark.filterwarnings("ignore:Persisting input arguments took")
@pytest.mark.parametrize("encoder", [Features(4), Recurrent(), Features], ids=shown)
def test_modules_in_a_pipeline_with_memory_are_fitted_once(iris, tmp_path, encoder):
    steps = [("vae", small(network=Modules(encoder, nn.Linear(2, 4)))), ("classify", LogisticRegression())]
    pipeline = Pipeline(steps, memory=joblib.Memory(tmp_path, verbose=0))
    results = [pipeline.fit(iris, CLASS).predict(iris) for _ in range(3)]
    assert len(list(tmp_path.rglob("output.pkl"))) == 1
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("dtype", ["nonsense", "Size"])
def test_stored_tensor_of_no_type_is_refused(dtype):
    stored = StoredTensor(torch.ones(2))
    stored.dtype = dtype
    with pytest.raises(ValueError, match=f"of type '{dtype}', got .*; the file is damaged or was changed"):
        stored.tensor()
