"""What every network is: a specification that builds an encoder and a decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from sklearn.base import BaseEstimator
from torch import nn


class Network(BaseEstimator, ABC):
    """Specification of the encoder and decoder networks, given to an estimator as ``network=``.

    Attributes
    ----------
    principal_coordinates : int or None
        Number of principal coordinates that the networks may work in where the likelihood
        is isotropic; None for networks that need the columns as they are.
    """

    principal_coordinates: int | None = None

    @abstractmethod
    def build(
        self,
        n_inputs: int,
        n_components: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int],
        zero_output: bool,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Make the encoder and the decoder.

        Parameters
        ----------
        n_inputs, n_outputs : int
            Width of what the encoder sees and of what the decoder returns.
        n_components : int
        hidden_layer_sizes : sequence of int
            The estimator's parameter; networks with a shape of their own ignore it.
        zero_output : bool
            If True both modules return zeros until trained: they then add to linear maps
            that start at probabilistic PCA.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        encoder : nn.Module
            (n_rows, n_inputs) -> (n_rows, 2 * n_components): posterior means, then log-scales.
        decoder : nn.Module
            (n_rows, n_components) -> (n_rows, n_outputs): the likelihood's raw output.
        """
