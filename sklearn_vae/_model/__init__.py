"""The model: its parts, inference and saving. Contains no training."""
