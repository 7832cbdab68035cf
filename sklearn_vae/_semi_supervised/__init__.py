"""Semi-supervised classification: pseudo-labels, their calibration, and class mixtures."""
