"""The table of activation functions, and what the engine needs to know about each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActivationRow:
    """The properties of an activation function.

    Attributes
    ----------
    derivative_of : {"output", "input", None}
        Which of the two its derivative is computed from; None: it has no useful derivative.
    parameter : float or None
        Default value of its parameter, if it has one.
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
    "selu": ActivationRow("input"),
    "gelu": ActivationRow("input"),
    "silu": ActivationRow("input"),
    "mish": ActivationRow("input"),
    "softplus": ActivationRow("input"),
    "exp": ActivationRow("output"),
    "softmax": ActivationRow("output"),
    "step": ActivationRow(None),
}
