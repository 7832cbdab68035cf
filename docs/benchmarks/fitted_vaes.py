"""What every fitted VAE can be asked for, whatever package it comes from: posteriors of rows, and rows of latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from textbook_vae import TextbookVAE
from torch import Tensor

from sklearn_vae._model.vae import VAE


class Fitted(NamedTuple):
    """Rows to means and log-variances of their posteriors, and latents to rows; all float32 tensors."""

    posterior: Callable[[Tensor], tuple[Tensor, Tensor]]
    decode: Callable[[Tensor], Tensor]


def of_textbook(model: TextbookVAE) -> Fitted:
    """Return a tutorial's."""
    return Fitted(model.posterior, model.decoder)


def of_net(net: Any) -> Fitted:
    """Return that of a tutorial's module in skorch."""
    return of_textbook(net.module_)


def of_pythae(model: Any) -> Fitted:
    """Return that of pythae's VAE, without the draws of its `embed`."""

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        output = model.encoder(x)
        return output.embedding, output.log_covariance

    return Fitted(posterior, lambda z: model.decoder(z).reconstruction)


def pyod_scaling(detector: Any) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of the columns that a network of PyOD's was trained on."""
    # It divides by its standard deviations: in a constant column a test row would be out of all bounds.
    scale = np.where(detector.X_std > 0, detector.X_std, 1)
    return tuple(torch.from_numpy(np.asarray(values, np.float32)) for values in (detector.X_mean, scale))


def of_pyod(detector: Any) -> Fitted:
    """Return that of PyOD's VAE, for rows that are not standardised."""
    model, (center, scale) = detector.model.eval(), pyod_scaling(detector)
    return Fitted(lambda x: model.encode((x - center) / scale), lambda z: model.decode(z) * scale + center)


def of_ours(model: VAE) -> Fitted:
    """Return that of `module_`."""

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        q = model.posterior(x)
        return q.loc, 2 * q.scale.log()

    return Fitted(posterior, lambda z: model.reconstruct(z).float())
