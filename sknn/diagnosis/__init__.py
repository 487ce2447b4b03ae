"""What may be wrong with the training of a network."""

from .diagnose import Diagnosis, LayerDiagnosis, diagnose

__all__ = ["Diagnosis", "LayerDiagnosis", "diagnose"]
