"""The joint loss of a classifier: closed forms of its parts, and how they add up."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.distributions import kl_divergence

from sklearn_vae import VAEClassifier
from sklearn_vae.likelihoods import Observed
from sklearn_vae.objectives import ELBO, IWAE, Autoencoder, Batch, FreeBits, Objective, Terms
from sklearn_vae.objectives.joint import Joint, adversarial_direction, cross_entropy, divergence, imbalance

PLAIN = {"generative_weight": 0.0, "consistency_weight": 0.0, "entropy_weight": 0.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


class Distance(Objective):
    """Objective: divergence of the batch's posteriors from those of a second call, and from the prior."""

    def __init__(self, request):
        self.request = request

    def __call__(self, model, batch, beta, generator):
        q = model.encode(batch.observed, generator)
        other = self.request(model, batch.observed, generator)
        distance = kl_divergence(q, other).sum(-1)
        kl = model.kl(q, q.loc).sum(-1)
        return Terms(distance + beta * kl, distance, kl)


def with_inputs(inputs):
    return Observed(inputs, inputs)


REQUESTS = {
    "other rows": lambda model, y, generator: model.encode(with_inputs(3 * y.inputs.flip(0)), generator),
    "perturbed rows": lambda model, y, generator: model.encode(with_inputs(y.inputs + 0.1), generator),
    "fewer rows": lambda model, y, generator: model.encode(with_inputs(y.inputs[:1]), generator),
    "rows of equal values": lambda model, y, generator: model.encode(with_inputs(y.inputs.clone()), generator),
    "noise once more": lambda model, y, generator: model.encode(y, generator),
    "no noise": lambda model, y, generator: model.encode(y),
    "other noise": lambda model, y, _: model.encode(y, generator(7)),
    "both heads": lambda model, y, generator: model.encode_and_classify(y, generator)[0],
}


class Linear:
    """A softmax of linear logits."""

    def __init__(self, weight):
        self.weight = weight

    def classify(self, y):
        return y @ self.weight.T


@pytest.fixture(scope="module")
def fitted_model():
    """A trained model of three classes in float64, in evaluation mode."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 4)) + np.eye(3, 4)[y] * 2
    vae = VAEClassifier(2, hidden_layer_sizes=(6,), max_iter=20, learning_rate_init=0.01, random_state=0)
    return vae.fit(X, y).module_.double().requires_grad_(True)


@pytest.fixture
def model(fitted_model):
    yield fitted_model.eval()
    fitted_model.eval()


@pytest.fixture
def batch(model):
    target = torch.eye(3, dtype=torch.float64)[torch.arange(8) % 3]
    return Batch(model.likelihood.observe(normal(8, 4)), None, target)


def loss(model, batch, objective=None, **weights):
    return Joint(objective or ELBO(), **{**PLAIN, **weights})(model, batch, 1.0, generator()).loss


# Parts


def test_cross_entropy_equals_its_definition():
    logits, target = normal(7, 4), normal(7, 4, seed=1).softmax(-1)
    expected = -(target.numpy() * special.log_softmax(logits.numpy(), -1)).sum(-1)
    np.testing.assert_allclose(cross_entropy(logits, target), expected, rtol=1e-12)


def test_cross_entropy_of_nothing_known_is_zero():
    logits = normal(5, 3)
    assert not cross_entropy(logits, None).any() and cross_entropy(logits, None).shape == (5,)
    assert not cross_entropy(logits, torch.zeros_like(logits)).any()


def test_cross_entropy_with_itself_is_the_entropy():
    logits = 3 * normal(7, 4)
    np.testing.assert_allclose(
        cross_entropy(logits, logits.softmax(-1)), stats.entropy(logits.softmax(-1).numpy(), axis=-1), rtol=1e-12
    )


def test_divergence_equals_scipy():
    p, q = 2 * normal(7, 4), 2 * normal(7, 4, seed=1)
    expected = stats.entropy(p.softmax(-1).numpy(), q.softmax(-1).numpy(), axis=-1)
    np.testing.assert_allclose(divergence(p, q), expected, rtol=1e-10)
    assert (divergence(p, q) > 0).all()


def test_divergence_of_equal_predictions_is_zero():
    """Logits that differ by a constant are equal predictions; probabilities that underflow are no NaN."""
    logits = normal(7, 4)
    torch.testing.assert_close(divergence(logits, logits + 3), torch.zeros(7, dtype=torch.float64))
    assert torch.isfinite(divergence(torch.tensor([[0.0, -2000.0]]), torch.tensor([[-2000.0, 0.0]]))).all()


@pytest.mark.parametrize("n_inputs", [3, 10])
def test_adversarial_direction_is_the_leading_eigenvector_of_the_fisher_information(n_inputs):
    """The divergence's Hessian at 0 is W'(diag(p) - pp')W; where one eigenvalue is far larger, one step finds it."""
    W = normal(3, n_inputs) * 0.01
    axis = torch.nn.functional.normalize(normal(n_inputs, seed=1), dim=0)
    W = W + torch.tensor([[1.0], [-2.0], [1.0]], dtype=torch.float64) * axis
    y, radius = normal(20, n_inputs, seed=2), torch.tensor(1e-3, dtype=torch.float64)
    model = Linear(W)
    logits = model.classify(y)
    r = adversarial_direction(model, y, logits, radius, generator())
    for row, p in zip(r, logits.softmax(-1), strict=True):
        vectors = torch.linalg.eigh(W.T @ (p.diag() - p.outer(p)) @ W).eigenvectors
        assert float((row @ vectors[:, -1]).abs()) > 0.99


def test_adversarial_direction_is_one_step_of_the_power_method():
    """From direction d it is H d, normalised, with the Hessian H in closed form."""
    W, y, radius = normal(3, 5), normal(6, 5, seed=1), torch.tensor(1e-4, dtype=torch.float64)
    model = Linear(W)
    logits = model.classify(y)
    d = torch.randn(y.shape, generator=generator(), dtype=y.dtype)
    for row, start, p in zip(
        adversarial_direction(model, y, logits, radius, generator()), d, logits.softmax(-1), strict=True
    ):
        expected = W.T @ (p.diag() - p.outer(p)) @ W @ start
        torch.testing.assert_close(row, expected / expected.norm(), atol=1e-3, rtol=0)


def test_adversarial_direction_changes_predictions_more_than_random_ones(model, batch):
    radius = torch.tensor(0.3, dtype=torch.float64)
    logits = model.classify(batch.observed.inputs).detach()
    r = adversarial_direction(model, batch.observed.inputs, logits, radius, generator())
    torch.testing.assert_close(r.norm(dim=-1), torch.ones(8, dtype=torch.float64))
    random = torch.nn.functional.normalize(normal(50, *batch.observed.inputs.shape, seed=3), dim=-1)
    change = divergence(logits, model.classify(batch.observed.inputs + radius * r)).sum()
    changes = [divergence(logits, model.classify(batch.observed.inputs + radius * d)).sum() for d in random]
    assert change > max(changes)


def test_adversarial_direction_of_a_constant_prediction_is_finite():
    model, y = Linear(torch.zeros(3, 4, dtype=torch.float64)), normal(5, 4)
    r = adversarial_direction(model, y, model.classify(y), torch.tensor(0.1), generator())
    assert torch.isfinite(r).all()


# The sum


def test_joint_of_labels_alone_is_the_cross_entropy(model, batch):
    expected = cross_entropy(model.classify(batch.observed.inputs), batch.target)
    torch.testing.assert_close(loss(model, batch), expected)
    torch.testing.assert_close(loss(model, batch._replace(target=None)), torch.zeros(8, dtype=torch.float64))


@pytest.mark.parametrize("objective", [ELBO(), Autoencoder()], ids=repr)
@pytest.mark.parametrize("beta", [0.0, 1.0, 3.0])
def test_joint_adds_the_generative_loss_of_its_objective(model, batch, objective, beta):
    joint = Joint(objective, **{**PLAIN, "generative_weight": 0.25})
    model.train()
    # The noise scale keeps statistics of earlier calls.
    terms = joint(copy.deepcopy(model), batch, beta, generator())
    alone = objective(copy.deepcopy(model), batch, beta, generator())
    torch.testing.assert_close(terms.loss, loss(model, batch) + 0.25 * alone.loss)
    torch.testing.assert_close(terms.reconstruction, alone.reconstruction)
    torch.testing.assert_close(terms.kl, alone.kl)


@pytest.mark.parametrize("input_noise", [0.0, 0.3])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_joint_encodes_what_its_objective_asks_for(model, batch, request_, input_noise, monkeypatch):
    """An objective gets the same values from the model with and without classes."""
    monkeypatch.setattr(model.train(), "input_noise", input_noise)
    objective = Distance(request_)
    terms = Joint(objective, **{**PLAIN, "generative_weight": 0.25})(model, batch, 1.0, generator())
    alone = objective(model, batch, 1.0, generator())
    torch.testing.assert_close(terms.reconstruction, alone.reconstruction)
    torch.testing.assert_close(terms.loss, loss(model, batch) + 0.25 * alone.loss)
    assert not input_noise or (alone.reconstruction > 1e-4).all()


@pytest.mark.parametrize("objective", [ELBO(), IWAE(2), FreeBits(), Autoencoder()], ids=repr)
def test_joint_encodes_a_batch_once(model, batch, objective, monkeypatch):
    passes, features = [], model.features
    monkeypatch.setattr(model, "features", lambda y: passes.append(y) or features(y))
    loss(model.train(), batch, objective, generative_weight=1.0)
    assert len(passes) == 1 and passes[0] is batch.observed.inputs


@pytest.mark.parametrize("name", ["training", "input_norm", "n_components", "prior", "marginal_kl", "parameters"])
def test_joint_hands_all_of_the_model_to_its_objective(model, batch, name):
    def request_(wrapped, y, generator):
        assert getattr(wrapped, name) == getattr(model, name)
        return wrapped.encode(y)

    loss(model.train(), batch, Distance(request_), generative_weight=1.0)


@pytest.mark.parametrize("name", PLAIN)
def test_joint_is_linear_in_its_weights(model, batch, name):
    model.train()
    plain, once, thrice = (loss(copy.deepcopy(model), batch, **{name: weight}) for weight in (0.0, 1.0, 3.0))
    assert (once - plain).abs().max() > 1e-4
    torch.testing.assert_close(thrice - plain, 3 * (once - plain))


def test_joint_entropy_term_is_the_entropy_of_the_predictions(model, batch):
    model.train()
    entropy = loss(model, batch, entropy_weight=2.0) - loss(model, batch)
    expected = 2 * stats.entropy(model.classify(batch.observed.inputs).detach().softmax(-1).numpy(), axis=-1)
    np.testing.assert_allclose(entropy.detach(), expected)


def test_joint_consistency_is_zero_for_constant_predictions(model, batch):
    model.train()
    head, weight = model.encoder_head, model.encoder_head.weight.detach().clone()
    assert (loss(model, batch, consistency_weight=1.0) - loss(model, batch) > 0).any()
    try:
        head.weight.data[2 * model.n_components :] = 0
        torch.testing.assert_close(loss(model, batch, consistency_weight=1.0), loss(model, batch))
    finally:
        head.weight.data.copy_(weight)


def test_joint_consistency_grows_with_its_radius(model, batch):
    model.train()
    losses = [loss(model, batch, consistency_weight=1.0, consistency_radius=r).sum() for r in (0.05, 0.2, 0.5)]
    assert losses == sorted(losses) and losses[0] < losses[-1]


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_joint_consistency_does_not_depend_on_the_units_of_the_data(scale):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    params = {"hidden_layer_sizes": (4,), "max_iter": 5, "consistency_weight": 5.0, "random_state": 0}
    one, other = (VAEClassifier(2, **params).fit(a * X, y).predict_proba(a * X) for a in (1.0, scale))
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("name", PLAIN)
def test_joint_judges_held_out_rows_by_their_labels_alone(model, batch, name):
    expected = cross_entropy(model.eval().classify(batch.observed.inputs), batch.target)
    torch.testing.assert_close(loss(model, batch, **{name: 5.0}), expected)
    assert (loss(model.train(), batch, consistency_weight=5.0) - loss(model, batch)).abs().max() > 1e-4


def test_joint_adds_the_mean_of_more_labelled_rows(model, batch):
    more, target = model.likelihood.observe(normal(5, 4, seed=4)), torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1]]
    with_more = loss(model, batch._replace(labelled=more, labelled_target=target))
    expected = cross_entropy(model.classify(more.inputs), target).mean().expand(8)
    torch.testing.assert_close(with_more - loss(model, batch), expected)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_joint_gradient_is_finite(model, batch, scale):
    model.train().zero_grad()
    scaled = scale * batch.observed.inputs
    rows = batch._replace(observed=Observed(scaled, scaled))
    loss(model, rows, generative_weight=1e-3, consistency_weight=1.0, entropy_weight=0.3).mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert model.encoder_head.weight.grad.abs().sum() > 0
    model.zero_grad()


def test_joint_target_of_consistency_gets_no_gradient(model, batch):
    """Predictions near a row are pulled to the prediction at the row, and not the reverse."""
    model.train().zero_grad()
    y = batch.observed.inputs.clone().requires_grad_()
    logits = model.classify(y).detach()
    r = adversarial_direction(model, y.detach(), logits, 0.1 * model.input_norm, generator())
    expected = torch.autograd.grad(
        divergence(logits, model.classify(batch.observed.inputs + 0.1 * model.input_norm * r)).sum(),
        model.encoder_head.weight,
    )[0]
    rows = batch._replace(target=None)
    total = loss(model, rows, consistency_weight=1.0, consistency_radius=0.1).sum()
    # The encoder's noise comes before the perturbation's from the same generator.
    gradient = torch.autograd.grad(total, model.encoder_head.weight)[0]
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("weight", "objective", "generative"),
    [(0.0, ELBO(), False), (1e-9, ELBO(), True), (1.0, Autoencoder(), False)],
    ids=str,
)
def test_joint_is_generative_if_it_has_a_generative_part(weight, objective, generative):
    assert Joint(objective, generative_weight=weight).generative is generative


def test_joint_is_drawn_from_its_generator_alone(model, batch, global_random_state):
    model.train()
    before = global_random_state()
    weights = {"generative_weight": 1.0, "consistency_weight": 1.0}
    # The noise scale keeps statistics of earlier calls.
    first, again = (loss(copy.deepcopy(model), batch, **weights) for _ in range(2))
    assert torch.equal(first, again) and torch.isfinite(first).all()
    assert global_random_state() == before


def test_imbalance_is_the_divergence_of_the_shares_of_the_classes():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]], dtype=torch.float64)
    predicted = np.array([0.625, 0.375])
    target = torch.eye(2, dtype=torch.float64)
    assert float(imbalance(logits, target)) == pytest.approx(stats.entropy([0.5, 0.5], predicted))
    assert float(imbalance(logits, logits.softmax(-1))) == pytest.approx(0, abs=1e-12)
    # A class that occurs in neither counts for nothing.
    assert float(imbalance(torch.tensor([[0.0, -80.0]]), torch.tensor([[1.0, 0.0]]))) == pytest.approx(0, abs=1e-4)
