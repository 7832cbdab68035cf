"""The model: its parts, inference and saving. Training is elsewhere, but for the class mixtures."""
