"""Displays of networks, in scikit-learn's convention; they need matplotlib.

Each display holds what it draws. ``from_estimator`` computes it from a fitted estimator, and
``from_predictions`` takes it from arrays; ``plot`` draws it again, on other axes.
"""

from .activations import ActivationMapDisplay
from .codes import CodeDisplay, LatentGridDisplay
from .curves import LossCurveDisplay
from .filters import FilterDisplay
from .reconstructions import ReconstructionDisplay, SequenceReconstructionDisplay
from .text import TextProbabilityDisplay
from .units import DecisionRegionDisplay, RadialUnitsDisplay

__all__ = [
    "ActivationMapDisplay",
    "CodeDisplay",
    "DecisionRegionDisplay",
    "FilterDisplay",
    "LatentGridDisplay",
    "LossCurveDisplay",
    "RadialUnitsDisplay",
    "ReconstructionDisplay",
    "SequenceReconstructionDisplay",
    "TextProbabilityDisplay",
]
