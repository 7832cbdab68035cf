"""
An autoencoder, a VAE and PCA on noisy waves
============================================

Waves of random frequency and phase are two numbers each, however many steps they have. Three models get eight
components for them, and see the waves with noise only: PCA, an autoencoder, and a variational autoencoder. Which
of them tells the wave from the noise, and what do their components say?

Run as a script, it saves the figure in the folder ``outputs``, or in the one that the environment variable
``OUTPUT_DIR`` names.
"""

# %%
# Errors
# ------
# The test rows are compared with what comes back for them, and so are the clean waves behind them, which no model has
# seen. The noise has a variance of 0.09: who comes nearer than that to the noisy rows has copied some of it.

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
# The VAE pays for what its components say, and ``kl_per_component_`` is the bill: some carry nearly nothing. The
# codes of the autoencoder are as wide as they happen to be, and all are in use. Rows can be drawn from the VAE. The
# autoencoder has no distribution of codes; here they are drawn from the normal distribution with the mean and
# covariance that they have.

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
axes["rows"].set(title="a test row, and what comes back", xlabel="step")
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
