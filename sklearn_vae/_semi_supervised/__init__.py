"""What labels say about rows without labels."""
