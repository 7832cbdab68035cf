"""
An autoencoder, a VAE and PCA on noisy waves
============================================

A wave of random frequency and phase has two degrees of freedom, for any number of time steps. Three models with eight
components are trained on noisy waves: PCA, an autoencoder and a variational autoencoder (VAE). The example compares how
well they separate waves from noise, and what their components show.

As a script, this example saves the figure in the folder ``outputs``, or in the folder that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Errors
# ------
# Reconstructions are compared with the noisy test rows and with the clean waves, which no model has seen. The noise has
# a variance of 0.09: a smaller error to the noisy rows means that the model has encoded some of the noise.

# sphinx_gallery_dummy_images=1

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from sklearn_vae import VAETransformer


def waves(n_series, seed):
    """Return noisy waves and the clean ones, (n_series, 32) each."""
    rng = np.random.default_rng(seed)
    frequency, phase = rng.uniform(1, 3, (n_series, 1)), rng.uniform(0, 2 * np.pi, (n_series, 1))
    clean = np.sin(2 * np.pi * frequency * np.arange(32) / 32 + phase)
    return clean + 0.3 * rng.normal(size=clean.shape), clean


X_train, _ = waves(1000, seed=0)
X_test, clean = waves(1000, seed=1)

models = {
    "PCA": PCA(8),
    "autoencoder": VAETransformer(8, objective="autoencoder", whiten=True, random_state=0),
    "VAE": VAETransformer(8, whiten=True, random_state=0),
}
returned = {}
print("mean squared error   to noisy rows   to clean waves")
for name, model in models.items():
    returned[name] = model.inverse_transform(model.fit(X_train).transform(X_test))
    noisy_error, clean_error = (np.mean((rows - returned[name]) ** 2) for rows in (X_test, clean))
    print(f"{name:20} {noisy_error:14.4f} {clean_error:16.4f}")

# %%
# Components
# ----------
# For the VAE, ``kl_per_component_`` measures the information in each component: some carry almost none. The autoencoder
# uses all its components, and their scale is arbitrary. The VAE has a prior from which latent variables can be drawn.
# The autoencoder has none; here they are drawn from the normal distribution with the mean and covariance of its latent
# variables.

vae, autoencoder = models["VAE"], models["autoencoder"]
codes = autoencoder.transform(X_train)
rng = np.random.default_rng(0)
drawn = {
    "autoencoder": autoencoder.inverse_transform(rng.multivariate_normal(codes.mean(0), np.cov(codes.T), 4)),
    "VAE": vae.inverse_transform(rng.standard_normal((4, 8))),
}

figure, axes = plt.subplot_mosaic([["rows", "kl"], ["autoencoder", "VAE"]], figsize=(10, 6), layout="constrained")
axes["rows"].plot(X_test[0], ".", color="0.6", label="noisy row")
axes["rows"].plot(clean[0], color="0.6", label="clean wave")
axes["rows"].plot(returned["autoencoder"][0], color="C1", label="autoencoder")
axes["rows"].plot(returned["VAE"][0], color="C0", label="VAE")
axes["rows"].set(title="a test row and its reconstructions", xlabel="step")
axes["rows"].legend(fontsize="small")
component = np.arange(1, 9)
axes["kl"].bar(component - 0.2, vae.kl_per_component_, 0.4, color="C0", label="VAE: KL, nats per row")
axes["kl"].bar(component + 0.2, codes.std(0), 0.4, color="C1", label="autoencoder: standard deviation of codes")
axes["kl"].set(title="components", xlabel="component", xticks=component, ylim=(0, 2.4))
axes["kl"].legend(fontsize="small")
for name, rows in drawn.items():
    axes[name].plot(rows.T)
    axes[name].set(title=f"{name}: decoded random codes", xlabel="step", ylim=(-1.8, 1.8))

output = Path(os.environ.get("OUTPUT_DIR", "outputs"))
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "autoencoder_or_vae.png", dpi=110)
