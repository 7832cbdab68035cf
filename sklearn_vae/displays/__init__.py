"""Display classes that plot fitted estimators; they require matplotlib."""

from sklearn_vae.displays._column_comparison import ColumnComparison
from sklearn_vae.displays._explanation import ExplanationDisplay
from sklearn_vae.displays._kl import KLDisplay
from sklearn_vae.displays._latent_space import LatentSpaceDisplay
from sklearn_vae.displays._loss_curve import LossCurveDisplay
from sklearn_vae.displays._reconstruction import ReconstructionDisplay
from sklearn_vae.displays._samples import SamplesDisplay
from sklearn_vae.displays._table_comparison import TableComparisonDisplay
from sklearn_vae.displays._traversal import TraversalDisplay

__all__ = [
    "ColumnComparison",
    "ExplanationDisplay",
    "KLDisplay",
    "LatentSpaceDisplay",
    "LossCurveDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "TableComparisonDisplay",
    "TraversalDisplay",
]
