"""Likelihoods p(x|z), one file for each."""

from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.bernoulli import Bernoulli
from sklearn_vae.likelihoods.categorical import Categorical
from sklearn_vae.likelihoods.columns import Columns
from sklearn_vae.likelihoods.continuous_bernoulli import ContinuousBernoulli
from sklearn_vae.likelihoods.discretized_logistic import DiscretizedLogistic
from sklearn_vae.likelihoods.gaussian import Gaussian
from sklearn_vae.likelihoods.linear_start import LinearStart
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.multinomial import Multinomial
from sklearn_vae.likelihoods.negative_binomial import NegativeBinomial
from sklearn_vae.likelihoods.poisson import Poisson
from sklearn_vae.likelihoods.quantile_gaussian import QuantileGaussian
from sklearn_vae.likelihoods.values import Observed

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretized_logistic": DiscretizedLogistic,
    "gaussian": Gaussian,
    "multinomial": Multinomial,
    "negative_binomial": NegativeBinomial,
    "poisson": Poisson,
    "quantile_gaussian": QuantileGaussian,
}

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Likelihood",
    "LikelihoodModule",
    "LinearStart",
    "Multinomial",
    "NegativeBinomial",
    "Observed",
    "Poisson",
    "QuantileGaussian",
]
