"""Benchmarks against scikit-learn and PyTorch: ``python -m benchmarks``."""
