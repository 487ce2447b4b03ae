"""The measured promises, against scikit-learn and PyTorch: ``python -m benchmarks``."""
