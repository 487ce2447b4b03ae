"""The table of losses."""

from dataclasses import dataclass

#: A loss and the output activation with which its gradient before the activation is a - y.
CANONICAL = {
    "log_loss": ("softmax", "logistic"),
    "squared_error": ("identity",),
    "poisson": ("exp",),
}

#: Losses whose reported value is the mean over outputs, as scikit-learn's squared error; the
#: gradient is of their sum, as there. The others report the sum.
MEAN_OVER_OUTPUTS = {"squared_error", "absolute_error", "huber", "quantile"}


@dataclass(frozen=True)
class Loss:
    """A loss as the tape needs it.

    Attributes
    ----------
    name : str
        A row of the engine's losses.
    link : str
        The output activation.
    parameter : float
        The quantile, or Huber's delta.
    over_outputs : {"sum", "mean", None}
        What value and gradient are, of the outputs' losses; the mean squared error is then that,
        and not half of it. None: as in scikit-learn, the value of an error is the mean, and its
        gradient that of the sum.
    """

    name: str
    link: str
    parameter: float = 0.0
    over_outputs: str | None = None

    @property
    def canonical(self):
        """Whether the loss gives the gradient before the output activation."""
        return self.link in CANONICAL.get(self.name, ())

    @property
    def counts_classes(self):
        """Whether the targets are class numbers, not columns."""
        return self.name == "log_loss" and self.link == "softmax"

    def scale(self, outputs):
        """Return the factor of the reported value."""
        if self.over_outputs is not None:
            return self.slope(outputs)
        return 1.0 / outputs if self.name in MEAN_OVER_OUTPUTS else 1.0

    def slope(self, outputs):
        """Return the factor of the gradient."""
        if self.over_outputs != "mean":
            return 1.0
        return (2.0 if self.name == "squared_error" else 1.0) / outputs
