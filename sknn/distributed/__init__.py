"""Training on several machines: data-parallel fits on a Dask cluster."""

from .fitting import fit

__all__ = ["fit"]
