"""What may be wrong with the training of a network."""
