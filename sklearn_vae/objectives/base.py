"""Base class of training objectives: functions of a model and a batch that return a loss per row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.distributions import Normal

from sklearn_vae._capabilities import DeclaresCapabilities

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE
    from sklearn_vae.likelihoods import Observed


class Terms(NamedTuple):
    """Loss, reconstruction term and KL of an objective in nats, each of shape (n_rows,)."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


class TermSums(NamedTuple):
    """Sums or means of an objective's terms over rows, in nats. A term that the objective lacks is 0."""

    loss: float
    reconstruction: float
    kl: float


class Batch(NamedTuple):
    """Batch of rows with their weights and labels.

    Attributes
    ----------
    observed : Observed
        Observed values of the rows: `observed.cells` for the likelihood and `observed.inputs` for
        the encoder.
    weight : Tensor of shape (n_rows,) or None
        Weights of the rows. The objective passes them to the likelihood, for parameters with a
        closed-form optimum. It does not weight its loss, because the caller does.
    target : Tensor of shape (n_rows, n_classes) or None
        Class probabilities times the weight of the row's label; 0 for an unlabelled row. None if
        there are no classes.
    labelled : Observed or None
        Additional labelled rows. Only the classification loss uses them.
    labelled_target : Tensor of shape (n_labelled_rows, n_classes) or None
        The `target` of these additional rows.
    point : Tensor of shape (n_rows, n_components) or None
        Points in latent space that keep the neighbours of all rows, if the objective has `n_neighbors`.
    """

    observed: Observed
    weight: Tensor | None = None
    target: Tensor | None = None
    labelled: Observed | None = None
    labelled_target: Tensor | None = None
    point: Tensor | None = None


class Objective(DeclaresCapabilities, BaseEstimator, ABC):
    """Specification of the loss that training minimises, given to an estimator as ``objective=``.

    Attributes
    ----------
    generative : bool
        Class attribute. True if training fits p(x, z) to the data, so that estimators have
        ``sample`` and ``score_samples``.
    is_elbo : bool
        Class attribute. True if the loss is the evidence lower bound with one draw, plus `pull` if batches contain
        points, so that training may use its closed-form gradient. A subclass does not inherit it, because it may
        override the loss.
    n_neighbors : int
        Number of nearest neighbours of each row. If it is above 0, batches contain points that keep these neighbours.
    metric : str
        Distance of rows for these neighbours: "euclidean" or "cosine".
    map_scale : float
        Factor from latent variables to the units that ``transform`` returns; 0 for the scale of each component's
        effect on the data.
    """

    capabilities: ClassVar[tuple[str, ...]] = ("is_elbo",)
    generative: bool = True
    is_elbo: bool = False
    n_neighbors: int = 0
    metric: str = "euclidean"
    map_scale: float = 0.0

    def for_data(self, n_features: int, n_components: int) -> Objective:
        """Return the objective with every "auto" resolved.

        Parameters
        ----------
        n_features, n_components : int
            Numbers of columns of the rows, and of latent variables.

        Returns
        -------
        objective : Objective
            By default, the objective itself.
        """
        return self

    def pull(self, loc: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss that pulls posterior means to points, if the objective has `n_neighbors`.

        Parameters
        ----------
        loc, point : Tensor of shape (n_rows, n_components)
            Posterior means and points.

        Returns
        -------
        loss : Tensor of shape (n_rows,)
            The loss, in nats.
        gradient : Tensor of shape (n_rows, n_components)
            Its gradient with respect to the means.
        """
        raise NotImplementedError

    @abstractmethod
    def __call__(self, model: VAE, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss and its parts per row.

        Parameters
        ----------
        model : VAE
            A module with the attribute `training` and the methods below. In shapes, draws come before rows, and
            rows before components.

            - `encode(observed, generator)` returns q(z|x), a `Normal` of shape (n_rows, n_components). In training,
              noise from the generator is added to the encoder's inputs. Without a generator there is no noise.
            - `decode(z)` returns the likelihood's raw output, (..., n_rows, n_outputs).
            - `likelihood.log_prob(observed, raw, weight)` returns log p(x|z), (..., n_rows).
            - `kl(q, z)` returns KL(q || p) per row and block of components, (n_rows, n_blocks). Blocks are
              independent of each other in p. Without a closed form, the KL is estimated at `z`, a draw from `q`.
            - `log_prior(z)` returns log p(z), (..., n_rows).
            - `untracked()` is a context manager for encoding other rows than the batch's. Inside it, batch
              normalisation does not update its running statistics.
            - `classify(inputs)` returns class logits, (n_rows, n_classes), and
              `encode_and_classify(observed, generator)` returns q(z|x) and these logits.
        batch : Batch
            The rows.
        beta : float
            Weight of the KL term at this step.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        terms : Terms
            Terms per row, in nats. The caller takes the mean over rows.
        """


def draw(q: Normal, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw z from q with the reparametrisation trick, so that gradients flow to q.

    Parameters
    ----------
    q : Normal
        The posteriors, of shape (n_rows, n_components).
    shape : tuple of int
        Shape of the draws, which comes before the rows; () for one draw.
    generator : torch.Generator
        The only source of randomness.

    Returns
    -------
    z : Tensor of shape (..., n_rows, n_components)
        The draws.
    """
    noise = torch.randn((*shape, *q.loc.shape), generator=generator, dtype=q.loc.dtype, device=q.loc.device)
    return q.loc + q.scale * noise


class Encoded:
    """Wrapper of a model that has already encoded a batch.

    The first call of `encode` with the same values and generator returns the stored posterior. All other calls
    encode again, with new noise. All other attributes are the model's.
    """

    def __init__(self, model: Any, observed: Observed, generator: torch.Generator, q: Normal):
        self._model, self._observed, self._generator = model, observed, generator
        self._q: Normal | None = q

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, observed: Observed, generator: torch.Generator | None = None) -> Normal:
        """Return the stored posterior once, if the call is the one that it came from, otherwise a new one."""
        # A call without a generator asks for no noise. The stored posterior has none if `input_noise` is 0.
        is_same_call = observed is self._observed and (generator is self._generator or not self._model.input_noise)
        if self._q is None or not is_same_call:
            return self._model.encode(observed, generator)
        q, self._q = self._q, None
        return q
