"""The start of training as linear maps of the encoder's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sklearn_vae._data.ppca import PPCA

# Smallest noise variance, relative to the data's mean variance. Smaller float32 residuals are rounding noise.
MIN_VARIANCE = 1e-6


class LinearStart(NamedTuple):
    """Linear encoder and decoder between the encoder's inputs, the latents and the raw outputs."""

    encoder_weight: np.ndarray  # (n_components, n_inputs)
    encoder_bias: np.ndarray  # (n_components,)
    posterior_variance: np.ndarray  # (n_components,)
    decoder_weight: np.ndarray  # (n_outputs, n_components)
    decoder_bias: np.ndarray  # (n_outputs,)
    spread: float  # root mean variance of the inputs along the components
    # The linear-Gaussian model of the columns as the encoder sees them, for rows with missing cells.
    input_mean: np.ndarray  # (n_features,)
    input_weight: np.ndarray  # (n_features, n_components)
    input_variance: np.ndarray  # (n_features,)

    @staticmethod
    def join(starts: Sequence[LinearStart], order: np.ndarray) -> LinearStart:
        """Combine the starts of groups of columns, which are independent given z.

        Parameters
        ----------
        starts : sequence of LinearStart
            One start per group; its inputs and raw outputs are the group's columns.
        order : ndarray of shape (n_features,)
            Indices that put the concatenated columns into the order of the data.

        Returns
        -------
        start : LinearStart
            The start of all columns.
        """
        return LinearStart(
            encoder_weight=np.hstack([s.encoder_weight for s in starts])[:, order],
            encoder_bias=np.sum([s.encoder_bias for s in starts], axis=0),
            posterior_variance=1 / (1 + np.sum([1 / s.posterior_variance - 1 for s in starts], axis=0)),
            decoder_weight=np.vstack([s.decoder_weight for s in starts])[order],
            decoder_bias=np.hstack([s.decoder_bias for s in starts])[order],
            spread=float(np.mean([s.spread for s in starts])),
            input_mean=np.hstack([s.input_mean for s in starts])[order],
            input_weight=np.vstack([s.input_weight for s in starts])[order],
            input_variance=np.hstack([s.input_variance for s in starts])[order],
        )


def maps_of_inputs(ppca: PPCA) -> dict[str, Any]:
    """Return the fields of `LinearStart` that concern the encoder, from probabilistic PCA of the encoder's inputs."""
    center, unit = ppca.moments.center.cpu().numpy(), ppca.moments.unit
    noise_variance = max(ppca.noise_variance, MIN_VARIANCE)
    maps = ppca.maps(noise_variance)
    encoder = maps.encoder / unit
    return {
        "encoder_weight": encoder,
        "encoder_bias": -encoder @ center,
        "spread": maps.spread * unit,
        "input_mean": center,
        "input_weight": maps.decoder * unit,
        "input_variance": np.full(len(center), noise_variance * unit**2),
    }
