"""The autoencoder's loss, which no random draw changes."""

import numpy as np
import torch

from sklearn_vae import VAETransformer


def test_autoencoder_draws_nothing(iris):
    """Its loss is the same function of the weights whatever the generator."""
    vae = VAETransformer(2, objective="autoencoder", max_iter=1, random_state=0).fit(iris)
    model, x = vae.module_.train(), torch.from_numpy(np.array(iris))
    model.input_noise = 1.0
    losses = [model(x, 1.0, torch.Generator().manual_seed(seed)).loss for seed in (0, 1)]
    assert torch.equal(*losses)
