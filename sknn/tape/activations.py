"""The table of activations: what the engine has to know of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActivationRow:
    """What is true of an activation.

    Attributes
    ----------
    derivative_of : {"output", "input", None}
        Which of the two its derivative is computed from; None: it has no useful one.
    parameter : float or None
        The default of its parameter, where it has one.
    """

    derivative_of: str | None
    parameter: float | None = None


ACTIVATIONS = {
    "identity": ActivationRow("output"),
    "logistic": ActivationRow("output"),
    "tanh": ActivationRow("output"),
    "relu": ActivationRow("output"),
    "leaky_relu": ActivationRow("input", 0.3),
    "elu": ActivationRow("input", 1.0),
    "gelu": ActivationRow("input"),
    "silu": ActivationRow("input"),
    "softplus": ActivationRow("input"),
    "exp": ActivationRow("output"),
    "softmax": ActivationRow("output"),
    "step": ActivationRow(None),
}
