"""Training: hyper-parameter rules, training steps, training runs and diagnostics of fitted models."""
