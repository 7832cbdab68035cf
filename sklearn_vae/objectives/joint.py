"""Joint loss of classification and a generative model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sklearn_vae.objectives.base import Batch, Encoded, Objective, Terms

if TYPE_CHECKING:
    from sklearn_vae._model.vae import VAE

# Floor for the share of a class in a batch.
MIN_CLASS_SHARE = 1e-6


class Joint(Objective):
    r"""Sum of cross-entropy, consistency loss and a generative objective on one encoder.

    .. math:: -\sum_k t_k \log p(k|x) + \lambda \, \mathrm{KL}(p(\cdot|x) \| p(\cdot|x + r))
        + \eta \, \mathrm{H}(p(\cdot|x)) + w \, \mathcal{L}(x)

    Here :math:`t` are the targets. The perturbation :math:`r` has a given length and the
    direction that changes the prediction most (virtual adversarial training, Miyato et al. 2018,
    eq. 5, one power step). :math:`\mathrm{H}` is the entropy of the prediction (Grandvalet and
    Bengio 2004). :math:`\mathcal{L}` is a generative loss, such as the negative evidence lower
    bound. `VAEClassifier` minimises this sum.

    Parameters
    ----------
    objective : Objective
        The generative objective, which gives :math:`\mathcal{L}`.
    generative_weight : float, default=1e-3
        The weight w, per nat.
    consistency_weight : float, default=1.0
        The weight :math:`\lambda`.
    consistency_radius : float, default=0.1
        Length of r, relative to the median norm of the centred rows.
    entropy_weight : float, default=0.0
        The weight :math:`\eta`. If it is above 0 and the batch has additional labelled rows, the
        loss also contains the KL between the class shares of the labelled rows and of the
        predictions (Krause, Perona and Gomes 2010, eq. 3). Without this term, low-entropy
        predictions could leave a class without rows.

    See Also
    --------
    sklearn_vae.VAEClassifier : Estimator that constructs this objective from its parameters.
    ELBO : The usual generative loss.

    Examples
    --------
    >>> from sklearn_vae.objectives import ELBO
    >>> from sklearn_vae.objectives.joint import Joint
    >>> joint = Joint(ELBO(), generative_weight=0.01)
    >>> joint.generative, joint.set_params(generative_weight=0.0).generative
    (True, False)
    """

    def __init__(
        self, objective, generative_weight=1e-3, consistency_weight=1.0, consistency_radius=0.1, entropy_weight=0.0
    ):
        self.objective = objective
        self.generative_weight = generative_weight
        self.consistency_weight = consistency_weight
        self.consistency_radius = consistency_radius
        self.entropy_weight = entropy_weight

    @property
    def generative(self) -> bool:  # type: ignore[override]
        """True if the generative loss has a positive weight and fits p(x, z) to the data."""
        return self.generative_weight > 0 and self.objective.generative

    def __call__(self, model: Any, batch: Batch, beta: float, generator: torch.Generator) -> Terms:
        """Return the loss per row, and the reconstruction term and KL of the generative loss."""
        inputs = batch.observed.inputs
        q, logits = model.encode_and_classify(batch.observed, generator)
        loss = cross_entropy(logits, batch.target)
        terms = Terms(loss, torch.zeros_like(loss), torch.zeros_like(loss))
        # For held-out rows, only the classification loss counts.
        if self.generative_weight and model.training:
            terms = self.objective(Encoded(model, batch.observed, generator, q), batch, beta, generator)
            loss = loss + self.generative_weight * terms.loss
        if self.entropy_weight and model.training:
            loss = loss + self.entropy_weight * cross_entropy(logits, logits.softmax(-1))
            if batch.labelled_target is not None:
                loss = loss + imbalance(logits, batch.labelled_target)
        with model.untracked():
            if self.consistency_weight and model.training:
                radius = self.consistency_radius * model.input_norm
                r = adversarial_direction(model, inputs, logits.detach(), radius, generator)
                perturbed = model.classify(inputs + radius * r)
                loss = loss + self.consistency_weight * divergence(logits.detach(), perturbed)
            if batch.labelled is not None:
                loss = loss + cross_entropy(model.classify(batch.labelled.inputs), batch.labelled_target).mean()
        return Terms(loss, terms.reconstruction, terms.kl)


def cross_entropy(logits: Tensor, target: Tensor | None) -> Tensor:
    """Return -sum_k t_k log p_k per row, (n_rows,), or zeros if there are no targets."""
    if target is None:
        return logits.new_zeros(len(logits))
    return -(target * logits.log_softmax(-1)).sum(-1)


def imbalance(logits: Tensor, target: Tensor) -> Tensor:
    """Return KL(p || p') between the mean class shares of the targets and of the predictions."""
    shares, predicted = target.mean(0), logits.softmax(-1).mean(0)
    return divergence(shares.clamp_min(MIN_CLASS_SHARE).log(), predicted.clamp_min(MIN_CLASS_SHARE).log())


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Return KL(p || p') per row between two categorical distributions, (n_rows,)."""
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * (log_p - other.log_softmax(-1))).sum(-1)


def adversarial_direction(
    model: VAE, inputs: Tensor, logits: Tensor, radius: Tensor, generator: torch.Generator
) -> Tensor:
    """Estimate the unit vectors along which the predictions change most, (n_rows, n_inputs).

    The estimate is one step of the power method for the Hessian of the divergence at 0. It starts
    from a random direction and uses a finite difference of a tenth of the radius.
    """
    d = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype, device=inputs.device)
    d = (d * (0.1 * radius / d.norm(dim=-1, keepdim=True))).requires_grad_()
    with torch.enable_grad():
        change = divergence(logits, model.classify(inputs + d)).sum()
        (gradient,) = torch.autograd.grad(change, d)
    return torch.nn.functional.normalize(gradient, dim=-1, eps=1e-30)
