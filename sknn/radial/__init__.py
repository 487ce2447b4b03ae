"""Radial basis function networks."""
