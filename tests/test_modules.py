"""Layers of a user's own, and of objectives, that draw or keep statistics while training."""

import numpy as np
import torch
from torch import nn

from sklearn_vae import VAETransformer
from sklearn_vae.networks import Modules


def test_modules_train_in_training_mode_and_keep_their_statistics(iris, global_random_state):
    """Dropout and batch normalisation work as the user means them, from a seed, global generators untouched."""

    def layers(n_in, n_out=8):
        return nn.Sequential(nn.BatchNorm1d(n_in), nn.Dropout(0.5), nn.Linear(n_in, n_out))

    network = Modules(layers, layers)
    before = global_random_state()
    fits = [VAETransformer(2, network=network, max_iter=3, random_state=0).fit(iris) for _ in range(2)]
    assert global_random_state() == before
    module = fits[0].module_.encoder
    assert module[0].num_batches_tracked > 0 and not module.training
    np.testing.assert_array_equal(*(vae.transform(iris) for vae in fits))


def test_autoencoder_draws_nothing(iris):
    """Its loss is the same function of the weights whatever the generator."""
    vae = VAETransformer(2, objective="autoencoder", max_iter=1, random_state=0).fit(iris)
    model, x = vae.module_.train(), torch.from_numpy(np.array(iris))
    model.input_noise = 1.0
    losses = [model(x, 1.0, torch.Generator().manual_seed(seed)).loss for seed in (0, 1)]
    assert torch.equal(*losses)
