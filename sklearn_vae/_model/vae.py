"""The variational autoencoder as a torch module: encoder, decoder, likelihood and prior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae._model.class_mixture import ClassMixture
from sklearn_vae._model.gaps import Gaps
from sklearn_vae._model.linear_maps import LOG_SCALE_RANGE, LinearMaps
from sklearn_vae.likelihoods import LikelihoodModule, Observed
from sklearn_vae.networks import PosteriorEncoder
from sklearn_vae.objectives import Batch, Objective, Terms
from sklearn_vae.priors import PriorModule

# Largest number of importance samples per row that are in memory at a time.
MAX_DRAWS = 128


class VAE(nn.Module):
    """A variational autoencoder.

    Parameters
    ----------
    n_components : int
    encoder, decoder : nn.Module
        The networks that `sklearn_vae.networks.Network.build` returns.
    encoder_head : nn.Linear or None
        Linear layer from the encoder's features to posterior means, log-scales and class logits.
        With a `PosteriorEncoder`, which returns means and log-scales itself, it gives only the
        logits, and is None without classes.
    linear : LinearMaps or None
        Linear maps that the networks are added to; None for networks alone.
    gaps : Gaps
        What the encoder sees of rows with missing cells.
    likelihood : LikelihoodModule
    prior : PriorModule
    objective : Objective
    class_mixture : ClassMixture or None
        A classifier's p(y) p(z|y), fitted to posteriors after training. It replaces the prior in
        `log_likelihood`, and candidates for the estimator's `sample` are drawn from it.
    """

    input_norm: Tensor

    def __init__(
        self,
        n_components: int,
        encoder: nn.Module,
        encoder_head: nn.Linear | None,
        decoder: nn.Module,
        linear: LinearMaps | None,
        gaps: Gaps,
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
        self.gaps = gaps
        self.likelihood = likelihood
        self.prior = prior
        self.objective = objective
        self.class_mixture = class_mixture
        self.gives_posterior = isinstance(encoder, PosteriorEncoder)
        # Layers of the encoder that may keep running statistics. This package's own networks have none.
        self._with_buffers = [module for module in encoder.modules() if [*module.buffers(recurse=False)]]
        prior.bind(self._encode_untracked)
        # Median norm of the centred encoder inputs, the unit of the length of adversarial perturbations.
        self.register_buffer("input_norm", torch.ones((), **FLOAT32))
        self.input_noise = 0.0
        self.uses_global_generator = False

    def forward(
        self,
        x: Tensor,
        beta: float,
        generator: torch.Generator,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
        target: Tensor | None = None,
        labelled_x: Tensor | None = None,
        labelled_mask: Tensor | None = None,
        labelled_target: Tensor | None = None,
        point: Tensor | None = None,
    ) -> Terms:
        """Return the objective's terms for rows `x` (n_rows, n_features) in the data's units."""
        labelled = None if labelled_x is None else self.observe(labelled_x, labelled_mask, generator)
        batch = Batch(self.observe(x, mask, generator), weight, target, labelled, labelled_target, point)
        return self.objective(self, batch, beta, generator)

    def observe(self, x: Tensor, mask: Tensor | None = None, generator: torch.Generator | None = None) -> Observed:
        """Map rows (n_rows, n_features) in the data's units to cells and to the encoder's inputs.

        `mask` is False where a cell is missing; None if none is.
        """
        if mask is None:
            return self.likelihood.observe(x, generator)
        return self.likelihood.observe_incomplete(x, mask, self.gaps, generator)

    def observe_rows(self, x: Tensor) -> Observed:
        """Return observed values of rows whose missing cells are NaN."""
        mask = ~x.isnan()
        return self.observe(x, None if bool(mask.all()) else mask)

    def encode(self, observed: Observed, generator: torch.Generator | None = None) -> Normal:
        """Return q(z|x), (n_rows, n_components), for observed values, as `observe` returns them.

        In training mode, if there is a generator, noise is added to the inputs as regularisation.
        """
        return self.encode_and_classify(observed, generator)[0]

    def encode_and_classify(
        self, observed: Observed, generator: torch.Generator | None = None
    ) -> tuple[Normal, Tensor]:
        """Return q(z|x), as `encode` does, and class logits (n_rows, n_classes)."""
        loc, log_scale, logits = self._heads(self.with_noise(observed.inputs, generator))
        if observed.mask is not None:
            loc, log_scale = self.gaps.widen(loc, log_scale, observed.mask)
        return Normal(loc, log_scale.clamp(*LOG_SCALE_RANGE).exp(), validate_args=False), logits

    @contextmanager
    def untracked(self) -> Iterator[None]:
        """Encode rows outside the batch without changing the layers' running statistics.

        In training, batch normalisation still normalises by the statistics of the encoded rows, as is usual in virtual
        adversarial training. The buffers of all layers, of whatever type, are restored at the end.
        """
        layers = self._with_buffers if self.training else []
        kept = [(layer, *item) for layer in layers for item in layer.named_buffers(recurse=False)]
        for layer, name, buffer in kept:
            # The backward pass may need the tensors of earlier forward passes unchanged.
            setattr(layer, name, buffer.clone())
        try:
            yield
        finally:
            for layer, name, buffer in kept:
                setattr(layer, name, buffer)

    def _encode_untracked(self, inputs: Tensor) -> Normal:
        """Return q(z|x) for a prior that depends on the encoder, at inputs such as pseudo-inputs."""
        with self.untracked():
            return self.encode(Observed(inputs, inputs))

    def with_noise(self, inputs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the encoder's inputs, with added noise in training mode if there is a generator."""
        if not (self.training and self.input_noise and generator is not None):
            return inputs
        noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype, device=inputs.device)
        return inputs + self.input_noise * self.likelihood.input_noise_unit * noise

    def classify(self, inputs: Tensor) -> Tensor:
        """Return class logits (n_rows, n_classes) for the encoder's inputs."""
        return nn.functional.linear(self.features(inputs), *self._class_head())

    def _class_head(self) -> tuple[Tensor, Tensor]:
        """Return the weight and the bias of the class logits."""
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
        """Return the encoder's output, from which the heads compute the posterior and the logits."""
        return self.encoder(inputs if self.linear is None else inputs / self.linear.spread)

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's raw output (..., n_outputs) for latents (..., n_components)."""
        # Layers for images and series accept only one leading dimension.
        raw = self.decoder(z) if z.ndim == 2 else self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        return raw if self.linear is None else raw + self.linear.decoder(z)

    def kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p(z)) in nats per row and block of components; some priors estimate it at draws `z` of `q`."""
        return self.prior.kl(q, z)

    def marginal_kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q(z_j) || p(z_j)) in nats per row and component; some priors estimate it at draws `z` of `q`."""
        return self.prior.marginal_kl(q, z)

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (..., n_rows)."""
        return self.prior.log_prob(z)

    def posterior(self, x: Tensor) -> Normal:
        """Return q(z|x) for rows (n_rows, n_features) in the data's units."""
        return self.encode(self.observe_rows(x))

    def embed(self, x: Tensor) -> Tensor:
        """Return the mean of q(z|x) for rows in the data's units, without creating a distribution."""
        observed = self.observe_rows(x)
        loc = self._heads(observed.inputs)[0]
        return loc if observed.mask is None else loc * observed.mask.any(-1, keepdim=True)

    def log_proba(self, x: Tensor) -> Tensor:
        """Return log p(y|x), (n_rows, n_classes), for rows in the data's units."""
        return self.classify(self.observe_rows(x).inputs).log_softmax(-1)

    def reconstruct(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z) in the data's units, float64."""
        return self.likelihood.mean(self.decode(z))

    def reconstruct_rows(self, x: Tensor) -> Tensor:
        """Return the mean of p(x|z) at the mean of q(z|x), float64, with the totals of the rows if these are given."""
        return self.likelihood.mean_given(self.observe_rows(x), self.decode(self.embed(x)))

    @torch.no_grad()
    def temper(self, exponent: float, log_prior: Tensor) -> None:
        """Raise p(y|x) / p(y) to the power `exponent`, by changing the weights of the logits."""
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

        (Burda, Grosse and Salakhutdinov 2016, eq. 8). In expectation the estimate is a lower
        bound, which rises with K.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
        noise : Tensor of shape (n_draws, 1, n_components)
            Standard normal draws. All rows share them, so that a row's estimate does not depend on other rows.
        """
        observed = self.observe_rows(x)
        parts = [log_w.logsumexp(0) for _, _, log_w in self.weighted_draws(observed, self.encode(observed), noise)]
        log_p = torch.stack(parts).logsumexp(0) - math.log(len(noise))
        return log_p if observed.mask is None else log_p.where(observed.mask.any(-1), 0.0)

    def weighted_draws(self, observed: Observed, q: Normal, noise: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield blocks of draws z of the posteriors `q`, the decoder's outputs, and logarithms of importance weights.

        `noise` is standard normal, (n_draws, 1, n_components). Shapes are (n_block, n_rows, n_components),
        (n_block, n_rows, n_outputs) and (n_block, n_rows).
        """
        log_latent = (self.prior if self.class_mixture is None else self.class_mixture).log_prob
        for block in noise.split(MAX_DRAWS):
            z = q.loc + q.scale * block.to(q.loc)
            raw = self.decode(z)
            yield z, raw, self.likelihood.log_prob(observed, raw) + log_latent(z) - q.log_prob(z).sum(-1)
