"""Everything needed to build a model, except its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae._model.class_mixture import ClassMixture
from sklearn_vae._model.gaps import Gaps
from sklearn_vae._model.linear_maps import LinearMaps
from sklearn_vae._model.vae import VAE
from sklearn_vae.likelihoods import Likelihood
from sklearn_vae.networks import Network, PosteriorEncoder
from sklearn_vae.networks.base import check_output, linear
from sklearn_vae.objectives import Objective
from sklearn_vae.objectives.joint import Joint
from sklearn_vae.priors import Prior


@dataclass(frozen=True)
class Architecture:
    """Everything needed to build a model, except its weights.

    Attributes
    ----------
    n_features, n_components : int
    n_coordinates : int or None
        Number of principal coordinates that the networks work in; None if they work in the columns.
    hidden_layer_sizes : tuple of int
    linear : bool
        Whether the networks are added to linear maps.
    likelihood, prior, network, objective
        Specifications of the components.
    n_classes : int, default=0
        Number of classes; 0 without classification.
    n_mixture_components : int, default=0
        Largest number of Gaussians per class in p(z|y).
    """

    n_features: int
    n_components: int
    n_coordinates: int | None
    hidden_layer_sizes: tuple[int, ...]
    linear: bool
    likelihood: Likelihood
    prior: Prior
    network: Network
    objective: Objective
    n_classes: int = 0
    n_mixture_components: int = 0

    @property
    def generative_objective(self) -> Objective:
        """The objective without its classification loss."""
        return self.objective.objective if isinstance(self.objective, Joint) else self.objective

    @property
    def generative(self) -> bool:
        """Whether training fits a model of p(x)."""
        return self.objective.generative

    def build(self, generator: torch.Generator) -> VAE:
        """Build the model; `generator` draws the initial weights."""
        likelihood = self.likelihood.build(self.n_features, self.n_coordinates)
        n_inputs, n_outputs = likelihood.n_inputs, likelihood.n_outputs
        encoder, decoder = self.network.build(
            n_inputs, self.n_components, n_outputs, self.hidden_layer_sizes, self.linear, generator
        )
        encoder, decoder = encoder.to(**FLOAT32), decoder.to(**FLOAT32)
        n_hidden = check_output("encoder", encoder, n_inputs, None)
        check_output("decoder", decoder, self.n_components, n_outputs)
        n_read = self.n_classes + (0 if isinstance(encoder, PosteriorEncoder) else 2 * self.n_components)
        head = linear(n_hidden, n_read, generator, zero=self.linear) if n_read else None
        maps = LinearMaps(n_inputs, self.n_components, n_outputs) if self.linear else None
        prior = self.prior.build(self.n_components, n_inputs, generator).to(**FLOAT32)
        mixture = None
        if self.n_classes and self.generative:
            mixture = ClassMixture(self.n_classes, self.n_mixture_components, self.n_components)
        gaps = Gaps(self.n_features, self.n_components)
        model = VAE(self.n_components, encoder, head, decoder, maps, gaps, likelihood, prior, self.objective, mixture)
        model.uses_global_generator = self.network.uses_global_generator
        return model
