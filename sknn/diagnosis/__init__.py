"""What may be wrong with the training of a network."""

from .diagnose import Diagnosis, LayerDiagnosis

__all__ = ["Diagnosis", "LayerDiagnosis"]
