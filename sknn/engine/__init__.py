"""The engine: networks, their lowering to programs, training, and prediction."""
