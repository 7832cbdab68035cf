"""What is fitted: the model, its parts, its inference and its state. Trains nothing."""
