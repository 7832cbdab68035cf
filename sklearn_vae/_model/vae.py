"""The model: an encoder, a decoder and a prior, each returning distributions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae._model.class_mixture import ClassMixture
from sklearn_vae._model.linear_maps import LOG_SCALE_RANGE, LinearMaps
from sklearn_vae.likelihoods import LikelihoodModule
from sklearn_vae.networks import PosteriorEncoder
from sklearn_vae.objectives import Batch, Objective, Terms
from sklearn_vae.priors import PriorModule

# Importance samples that are held in memory at a time.
MAX_DRAWS = 128


class VAE(nn.Module):
    """A variational autoencoder.

    Parameters
    ----------
    n_components : int
    encoder, decoder : nn.Module
        As `sklearn_vae.networks.Network.build` makes them.
    encoder_head : nn.Linear or None
        From the encoder's features to posterior means, log-scales and class logits; to the
        last alone, if any, where the encoder gives the others itself (`PosteriorEncoder`).
    linear : LinearMaps or None
        Added to the networks; None for networks alone.
    likelihood : LikelihoodModule
    prior : PriorModule
    objective : Objective
    class_mixture : ClassMixture or None
        For a classifier: p(y) p(z|y), fitted to the posteriors after training. `sample` and
        `log_likelihood` then have it in place of the prior.
    """

    input_norm: Tensor

    def __init__(
        self,
        n_components: int,
        encoder: nn.Module,
        encoder_head: nn.Linear | None,
        decoder: nn.Module,
        linear: LinearMaps | None,
        likelihood: LikelihoodModule,
        prior: PriorModule,
        objective: Objective,
        class_mixture: ClassMixture | None = None,
    ):
        super().__init__()
        self.n_components = n_components
        self.encoder = encoder
        self.encoder_head = encoder_head
        self.decoder = decoder
        self.linear = linear
        self.likelihood = likelihood
        self.prior = prior
        self.objective = objective
        self.class_mixture = class_mixture
        self.gives_posterior = isinstance(encoder, PosteriorEncoder)
        # Layers of the encoder that may keep statistics; none in this package's own networks.
        self._with_buffers = [module for module in encoder.modules() if [*module.buffers(recurse=False)]]
        prior.bind(self._encode_untracked)
        # Median norm of the encoder's inputs, centred: the unit of what perturbs them.
        self.register_buffer("input_norm", torch.ones((), **FLOAT32))
        self.input_noise = 0.0
        self.uses_global_generator = False

    def forward(
        self,
        x: Tensor,
        beta: float,
        generator: torch.Generator,
        weight: Tensor | None = None,
        target: Tensor | None = None,
        labelled_x: Tensor | None = None,
        labelled_target: Tensor | None = None,
    ) -> Terms:
        """Return the objective's terms for rows `x` (n_rows, n_features) in the data's units."""
        labelled = None if labelled_x is None else self.likelihood.observe(labelled_x, generator)
        batch = Batch(self.likelihood.observe(x, generator), weight, target, labelled, labelled_target)
        return self.objective(self, batch, beta, generator)

    def encode(self, inputs: Tensor, generator: torch.Generator | None = None) -> Normal:
        """Return q(z|x), (n_rows, n_components), for the encoder's inputs, as the likelihood observes them.

        In training mode noise from the generator, if there is one, is added to what the
        encoder sees, to regularise it.
        """
        return self.encode_and_classify(inputs, generator)[0]

    def encode_and_classify(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Normal, Tensor]:
        """Return q(z|x), as `encode` does, and class logits (n_rows, n_classes)."""
        loc, log_scale, logits = self._heads(self.with_noise(inputs, generator))
        return Normal(loc, log_scale.clamp(*LOG_SCALE_RANGE).exp(), validate_args=False), logits

    @contextmanager
    def untracked(self) -> Iterator[None]:
        """Encode other rows than the batch's: layers keep the statistics that they have of batches.

        In training batch normalisation then still normalises by the statistics of the rows that pass, as is usual
        in virtual adversarial training. A layer's buffers are put back, whatever kind of layer it is.
        """
        layers = self._with_buffers if self.training else []
        kept = [(layer, *item) for layer in layers for item in layer.named_buffers(recurse=False)]
        for layer, name, buffer in kept:
            # Gradients may need the tensors of earlier passes as they are.
            setattr(layer, name, buffer.clone())
        try:
            yield
        finally:
            for layer, name, buffer in kept:
                setattr(layer, name, buffer)

    def _encode_untracked(self, inputs: Tensor) -> Normal:
        """Return q(z|x) of what the prior is made of."""
        with self.untracked():
            return self.encode(inputs)

    def with_noise(self, inputs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return what the encoder sees: in training with noise, if there is a generator."""
        if not (self.training and self.input_noise and generator is not None):
            return inputs
        noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype, device=inputs.device)
        return inputs + self.input_noise * self.likelihood.input_unit * noise

    def classify(self, inputs: Tensor) -> Tensor:
        """Return class logits (n_rows, n_classes) for the encoder's inputs."""
        return nn.functional.linear(self.features(inputs), *self._class_head())

    def _class_head(self) -> tuple[Tensor, Tensor]:
        """Return the weight and the bias that make the logits."""
        assert self.encoder_head is not None
        first = 0 if self.gives_posterior else 2 * self.n_components
        return self.encoder_head.weight[first:], self.encoder_head.bias[first:]

    def _heads(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d, features = self.n_components, self.features(inputs)
        parts = [self.encoder.posterior(features)] if isinstance(self.encoder, PosteriorEncoder) else []
        if self.encoder_head is not None:
            parts.append(self.encoder_head(features))
        out = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        loc, log_scale, logits = out.tensor_split((d, 2 * d), -1)
        if self.linear is None:
            return loc, log_scale, logits
        return loc + self.linear.encoder(inputs), log_scale + self.linear.log_scale, logits

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the encoder's last hidden layer makes of its inputs."""
        return self.encoder(inputs if self.linear is None else inputs / self.linear.spread)

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's raw output (..., n_outputs) for latents (..., n_components)."""
        # Layers of images and series take one leading dimension.
        raw = self.decoder(z) if z.ndim == 2 else self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        return raw if self.linear is None else raw + self.linear.decoder(z)

    def kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p(z)) in nats per row and block of components, perhaps estimated at draws `z` of `q`."""
        return self.prior.kl(q, z)

    def marginal_kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q(z_j) || p(z_j)) in nats per row and component, perhaps estimated at draws `z` of `q`."""
        return self.prior.marginal_kl(q, z)

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (..., n_rows)."""
        return self.prior.log_prob(z)

    def posterior(self, x: Tensor) -> Normal:
        """Return q(z|x) for rows (n_rows, n_features) in the data's units."""
        return self.encode(self.likelihood.observe(x).inputs)

    def embed(self, x: Tensor) -> Tensor:
        """Return the mean of q(z|x), without making a distribution."""
        return self._heads(self.likelihood.observe(x).inputs)[0]

    def log_proba(self, x: Tensor) -> Tensor:
        """Return log p(y|x), (n_rows, n_classes), for rows in the data's units."""
        return self.classify(self.likelihood.observe(x).inputs).log_softmax(-1)

    def reconstruct(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z) in the data's units, float64."""
        return self.likelihood.mean(self.decode(z))

    @torch.no_grad()
    def temper(self, exponent: float, log_prior: Tensor) -> None:
        """Raise p(y|x) / p(y) to a power, in the weights that make the logits."""
        weight, bias = self._class_head()
        weight *= exponent
        bias.copy_(exponent * bias + (1 - exponent) * log_prior.to(bias))

    def sample_latents(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw from p(z), (n_samples, n_components)."""
        return self.prior.sample(n_samples, generator)

    def sample(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a row from p(x|z) for each row of `z`, in the data's units, float64."""
        return self.likelihood.sample(self.decode(z), generator)

    def log_likelihood(self, x: Tensor, noise: Tensor) -> Tensor:
        r"""Estimate log p(x) per row in nats, in the data's units, by importance sampling.

        .. math:: \log \frac{1}{K} \sum_k \frac{p(x|z_k) p(z_k)}{q(z_k|x)},
            \qquad z_k = \mu(x) + \sigma(x) \epsilon_k

        (Burda, Grosse and Salakhutdinov 2016, eq. 8): a lower bound in expectation that
        rises with K.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
        noise : Tensor of shape (n_draws, 1, n_components)
            Standard normal; shared by the rows, so that a row's estimate is its own.
        """
        observed = self.likelihood.observe(x)
        q = self.encode(observed.inputs)
        log_latent = (self.prior if self.class_mixture is None else self.class_mixture).log_prob
        total = q.loc.new_full((len(x),), -math.inf)
        for block in noise.split(MAX_DRAWS):
            z = q.loc + q.scale * block.to(q.loc)
            log_w = self.likelihood.log_prob(observed, self.decode(z)) + log_latent(z) - q.log_prob(z).sum(-1)
            total = total.logaddexp(log_w.logsumexp(0))
        return total - math.log(len(noise))
