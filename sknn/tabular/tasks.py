"""The tasks of networks for tables: calibrated classification, and standardized regression."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from ..estimator.tasks import Classification, Regression

#: Limits of the logarithm of the temperature.
_COLDEST, _HOTTEST = np.log(0.1), np.log(10.0)
#: Label smoothing of classes that are equally frequent.
_SMOOTHING = 0.1
#: Losses for targets as they are: their outputs are positive.
_UNSCALED = {"poisson"}


def combined(outputs):
    """Return the mean over the networks of an ensemble, or the outputs of a single one."""
    return outputs.mean(axis=0) if outputs.ndim == 3 else outputs


def _evenness(y):
    """Return the entropy of the labels' frequencies, divided by that of equal ones."""
    counts = np.unique(y, return_counts=True)[1] if y.ndim == 1 else ()
    if len(counts) < 2:
        return 1.0
    shares = counts / len(y)
    return float(-(shares * np.log(shares)).sum() / np.log(len(shares)))


class TableClassification(Classification):
    """Classification, with a softmax over two classes, too, and label smoothing by 'auto'.

    Parameters
    ----------
    fraction : float
        How much of the data is held out, where it is.
    *given
        The first parameters of :class:`Classification`.
    label_smoothing : float or 'auto'
        The estimator's parameter.
    smoothing : float or None
        What 'auto' was found to be, once it is known.
    """

    def __init__(self, fraction, *given, label_smoothing=0.0, smoothing=None):
        self._fraction = fraction
        self._finds_smoothing = label_smoothing == "auto"
        super().__init__(*given, label_smoothing=0.0 if self._finds_smoothing else label_smoothing)
        if self._finds_smoothing and self.loss_name == "log_loss":
            self._smoothing = smoothing

    def learn(self, y, incremental, warm_start, classes=None):
        super().learn(y, incremental, warm_start, classes)
        known = incremental and self._smoothing is not None  # by the first rows
        if self._finds_smoothing and self.loss_name == "log_loss" and not known:
            self._smoothing = _SMOOTHING * _evenness(y)

    def fitted(self):
        return super().fitted() | {"label_smoothing_": float(self._smoothing)}

    @property
    def exclusive(self):
        return super().exclusive or self._of_two

    @property
    def _of_two(self):
        """Whether there are two classes, each with an output."""
        if self._kind != "binary" or len(self.classes_) != 2 or self.loss_name != "log_loss":
            return False
        out = self.output_activation
        return getattr(out, "function", out) in ("auto", "softmax")

    def count_outputs(self, inputs, y):
        return 2 if self._of_two else super().count_outputs(inputs, y)

    def stratify(self, data, n_outputs):
        """Return the labels to stratify by, unless there are too few rows of a class for that."""
        if data.y.ndim == 2 and data.y.shape[1] > 1:
            return None
        labels = data.y.ravel()
        _, counts = np.unique(labels, return_counts=True)
        held = np.ceil(self._fraction * len(labels))
        enough = len(counts) <= min(held, len(labels) - held) and counts.min() > 1
        return labels if len(counts) > 1 and enough else None

    def temperature(self, outputs, y, weights):
        """Return the temperature with the lowest log loss for outputs of the network.

        As in Platt's scaling, targets are mixed with equal shares of all classes, as if there were
        one more row of each: otherwise probabilities would become 0 and 1 as soon as all of a few
        rows are predicted correctly.
        """
        tiny = np.finfo(outputs.dtype).tiny
        logits = np.log(np.maximum(outputs, tiny), dtype=float)
        n_classes = logits.shape[1] if y.ndim == 1 else 2
        n_rows = len(y) if weights is None else np.count_nonzero(weights)
        mixed = n_classes / (n_classes + n_rows)
        if y.ndim == 1:  # numbers of classes
            expected = (1 - mixed) * logits[np.arange(len(y)), y] + mixed * logits.mean(axis=1)

            def losses(scale):
                return logsumexp(logits * scale, axis=1) - expected * scale

        else:
            odds = logits - np.log(np.maximum(1 - outputs, tiny), dtype=float)
            shares = (1 - mixed) * y.reshape(odds.shape) + mixed / 2

            def losses(scale):
                return (np.logaddexp(0.0, odds * scale) - shares * odds * scale).sum(axis=1)

        found = minimize_scalar(
            lambda t: np.average(losses(np.exp(-t)), weights=weights),
            bounds=(_COLDEST, _HOTTEST), method="bounded",
        )  # fmt: skip
        return float(np.exp(found.x))

    def tempered(self, outputs, temperature):
        """Return probabilities to the power of 1 / `temperature`, normalized."""
        if temperature == 1.0:
            return outputs
        scale = outputs.dtype.type(1 / temperature)
        if self.exclusive and outputs.shape[1] > 1:
            powers = (outputs / outputs.max(axis=1, keepdims=True)) ** scale  # the largest is 1
            return powers / powers.sum(axis=1, keepdims=True)
        powers = outputs**scale
        return powers / (powers + (1 - outputs) ** scale)

    def score_outputs(self, outputs, y, weights):
        return super().score_outputs(combined(outputs), y, weights)


class TableRegression(Regression):
    """Regression whose network is trained on standardized targets.

    Parameters
    ----------
    scale : ndarray of shape (4, n_outputs) or None
        Mean, standard deviation, minimum and maximum of the targets, once they are known.
    clip : bool
        Whether predictions are clipped to the range of the targets.
    **given
        The other parameters of :class:`Regression`.
    """

    def __init__(self, *given, scale=None, clip=True, **more):
        super().__init__(*given, **more)
        self.scale, self._clip = scale, clip

    def learn(self, y, incremental, warm_start, classes=None):
        super().learn(y, incremental, warm_start, classes)
        if self.scale is not None and (incremental or warm_start):
            return
        columns = np.asarray(y, np.float64).reshape(len(y), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            means, deviations = columns.mean(axis=0), columns.std(axis=0)
        if not np.isfinite(deviations).all():
            raise ValueError(
                f"y has numbers up to {np.abs(columns).max():g}, whose squares overflow; expected "
                "smaller ones, which can be standardized."
            )
        if self.loss_name in _UNSCALED:
            means, deviations = np.zeros_like(means), np.ones_like(means)
        deviations[~(deviations > 0)] = 1.0  # constant
        self.scale = np.stack([means, deviations, columns.min(axis=0), columns.max(axis=0)])

    def fitted(self):
        return super().fitted() | {"_target_scale": self.scale}

    def encode(self, y, loss, n_outputs):
        y = super().encode(y, loss, n_outputs)
        means, deviations = self.scale[:2]
        return ((y.reshape(len(y), -1) - means) / deviations).reshape(y.shape)

    def _compared(self, outputs, y):
        means, deviations = self.scale[:2]
        y = (y.reshape(len(y), -1) * deviations + means).reshape(y.shape)
        return super()._compared(outputs, y)

    def score_outputs(self, outputs, y, weights):
        return super().score_outputs(combined(outputs), y, weights)

    def answer(self, outputs):
        """Return predictions in float64, whatever the network computes in, as y may need it."""
        means, deviations, least, most = self.scale
        values = outputs * deviations + means
        if self._clip:
            values = np.clip(values, least, most)
        return super().answer(values)

