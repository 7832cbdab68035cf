"""Rows of given classes, drawn from the generative model and from p(y|x)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_vae._data.rows import CHUNK_SIZE
from sklearn_vae._model.inference import Inference
from sklearn_vae._model.vae import VAE

# Number of rows that are drawn for each sample, one of which is kept.
N_CANDIDATES = 8


def sample_of_classes(
    inference: Inference, y: Tensor, generator: torch.Generator, n: int = N_CANDIDATES, noise: bool = True
) -> np.ndarray:
    r"""Draw a row of each class, approximately from p(x|y), which is proportional to p(x) p(y|x).

    Here p(x) is the density of the class mixture and the likelihood, and p(y|x) is the classifier. `n` candidates are
    drawn from p(z|y) p(x|z). One of them is kept, with probabilities proportional to their importance weights

    .. math:: \frac{p(z)\,p(x|z)\,p(y|x)}{p(z|y)\,p(x|z)} \propto \frac{p(y|x)}{p(y|z)}

    (sampling importance resampling, Smith and Gelfand 1992). The classifier knows more of the classes than the mixture
    does: without the weights, the classes of drawn rows would overlap more than those of real ones.

    Parameters
    ----------
    inference : Inference
        A model with a class mixture.
    y : Tensor of shape (n_samples,)
        Class indices.
    generator : torch.Generator
        Source of random numbers.
    n : int
        Number of candidates. With 1, rows are drawn from p(z|y) p(x|z).
    noise : bool
        Whether the rows that were drawn are returned, or the means of p(x|z) at their latent variables.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Rows in the data's units, float64.
    """
    n_rows = max(1, CHUNK_SIZE // (n * inference.width))
    return np.concatenate([_sample(inference, part, generator, n, noise) for part in y.split(n_rows)])


def _sample(inference: Inference, y: Tensor, generator: torch.Generator, n: int, noise: bool) -> np.ndarray:
    """Draw a row of each class, for as many as fit in memory."""
    mixture = inference.model.class_mixture
    assert mixture is not None
    classes = y.repeat_interleave(n)
    z = mixture.sample(classes, generator)
    X = inference.sample(z, generator)
    log_p = torch.from_numpy(inference.map(VAE.log_proba, X)).to(z)
    log_weight = (log_p - mixture.log_proba(z)).gather(1, classes[:, None]).view(-1, n)
    kept = torch.multinomial(log_weight.softmax(-1), 1, generator=generator)[:, 0]
    kept += n * torch.arange(len(y), device=kept.device)
    return X[kept.cpu().numpy()] if noise else inference.reconstruct(z[kept])
