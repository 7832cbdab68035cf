"""What rows are: arrays, labels, moments, devices. Imports nothing above it."""
