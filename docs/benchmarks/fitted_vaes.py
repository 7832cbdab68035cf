"""A common interface to the fitted VAEs of all packages: posteriors of rows, and decoded latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from textbook_vae import TextbookVAE
from torch import Tensor

from sklearn_vae._model.vae import VAE


class Fitted(NamedTuple):
    """Functions from rows to posterior means and log-variances, and from latents to rows; all float32 tensors."""

    posterior: Callable[[Tensor], tuple[Tensor, Tensor]]
    decode: Callable[[Tensor], Tensor]


def of_textbook(model: TextbookVAE) -> Fitted:
    """Return the interface to a `TextbookVAE`."""
    return Fitted(model.posterior, model.decoder)


def of_net(net: Any) -> Fitted:
    """Return the interface to a `TextbookVAE` trained by skorch."""
    return of_textbook(net.module_)


def of_pythae(model: Any) -> Fitted:
    """Return the interface to pythae's VAE, with posterior means instead of the draws of its `embed`."""

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        output = model.encoder(x)
        return output.embedding, output.log_covariance

    return Fitted(posterior, lambda z: model.decoder(z).reconstruction)


def pyod_scaling(detector: Any) -> tuple[Tensor, Tensor]:
    """Return the column means and standard deviations with which a PyOD network scales its rows."""
    # A constant column has standard deviation 0. Division by it would make test rows infinite.
    scale = np.where(detector.X_std > 0, detector.X_std, 1)
    return tuple(torch.from_numpy(np.asarray(values, np.float32)) for values in (detector.X_mean, scale))


def of_pyod(detector: Any) -> Fitted:
    """Return the interface to PyOD's VAE, for rows that are not standardised."""
    model, (center, scale) = detector.model.eval(), pyod_scaling(detector)
    return Fitted(lambda x: model.encode((x - center) / scale), lambda z: model.decode(z) * scale + center)


def of_ours(model: VAE) -> Fitted:
    """Return the interface to the `module_` of a fitted estimator of this package."""

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        q = model.posterior(x)
        return q.loc, 2 * q.scale.log()

    return Fitted(posterior, lambda z: model.reconstruct(z).float())
