"""Training data: rows, labels, moments and devices. Imports nothing from the other folders."""
