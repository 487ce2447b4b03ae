"""The table of loss functions."""

from dataclasses import dataclass

#: Each loss and its canonical link: the output activation for which the gradient with respect to
#: the pre-activations is a - y.
CANONICAL = {
    "log_loss": ("softmax", "logistic"),
    "squared_error": ("identity",),
    "poisson": ("exp",),
}

#: Losses whose reported value is the mean over the outputs, as for scikit-learn's squared error,
#: while the gradient is that of the sum. The others report the sum.
MEAN_OVER_OUTPUTS = {"squared_error", "absolute_error", "huber", "quantile"}


@dataclass(frozen=True)
class Loss:
    """A loss function, with what the tape needs.

    Attributes
    ----------
    name : str
        Name of the loss in the engine's table.
    link : str
        The output activation.
    parameter : float or tuple of float
        The quantile, or Huber's delta. A tuple: the quantiles of one target, an output for each.
    over_outputs : {"sum", "mean", None}
        Whether value and gradient are those of the sum or the mean over the outputs; the squared
        error is then not halved. None: as in scikit-learn, the value of an error is the mean over
        the outputs, and its gradient that of the sum.
    smoothing : float
        The share of the targets of the log-loss, in training, that is the same for all classes.
    """

    name: str
    link: str
    parameter: float | tuple = 0.0
    over_outputs: str | None = None
    smoothing: float = 0.0

    @property
    def canonical(self):
        """Whether the loss computes the gradient with respect to the pre-activations."""
        return self.link in CANONICAL.get(self.name, ())

    @property
    def counts_classes(self):
        """Whether the targets are class indices, not columns."""
        return self.name == "log_loss" and self.link == "softmax"

    @property
    def quantiles(self):
        """The quantiles of one target that the outputs are, or None."""
        return self.parameter if isinstance(self.parameter, tuple) else None

    def check(self, outputs, steps):
        """Raise ValueError unless the outputs, of each of the steps if there are any, fit."""
        if self.quantiles is not None and (steps or len(self.quantiles) != outputs):
            raise ValueError(
                f"The loss has {len(self.quantiles)} quantiles, but the network {outputs} outputs"
                f"{' at each of several steps' if steps else ''}."
            )

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
