"""Targets for each step of a sequence."""

import numpy as np
from sklearn.utils import check_consistent_length

from ..estimator.tasks import Wrapper, targets_source
from .inputs import check_kind, listed, padded


class EachStep(Wrapper):
    """A task with one target per step; the targets of all steps are concatenated."""

    def check(self):
        self.task.check()
        if getattr(self.task, "quantiles", None) is not None:
            raise ValueError(
                "quantile has several entries, which are for one target per sequence; with "
                "return_sequences=True expected a single quantile."
            )

    def stratify(self, data, n_outputs):
        return None

    def data(self, inputs, y, weights, network):
        y = self.encode(y, network.loss, network.output_shape[-1])
        y = padded(y, inputs.steps, inputs.time)
        return inputs.data(targets_source(y, network.loss), weights, y, inputs.steps)

    def score(self, data, loss, outputs):
        """Return the score over all steps."""
        steps, y = data.steps[data.rows], data.y
        real = np.arange(y.shape[1]) < steps[:, None]
        outputs = outputs.reshape(*y.shape[:2], -1)[real]
        weights = None if data.weights is None else np.repeat(data.weights[data.rows], steps)
        return self.score_outputs(outputs, y[real], weights)


def flat_targets(y, sequences):
    """Return the targets of all steps, concatenated."""
    parts = listed(y)
    if parts is None and not sequences.listed:
        y = np.asarray(y)
        if y.ndim in (2, 3):
            check_consistent_length(sequences, y)
            if y.shape[1] != sequences.time:
                raise ValueError(
                    f"y has {y.shape[1]} steps, but X has {sequences.time}; with "
                    "return_sequences=True each step has a target."
                )
            return y[sequences.mask]
    parts = [np.asarray(part) for part in y] if parts is None else parts
    if not any(part.ndim for part in parts):
        raise ValueError(
            "y has one target per sequence; with return_sequences=True expected one per step, of "
            "shape (n, time)."
        )
    check_consistent_length(sequences, parts)
    check_kind(parts, (1, 2), "y")
    for i, (part, length) in enumerate(zip(parts, sequences.steps, strict=True)):
        if len(part) != length:
            raise ValueError(f"y[{i}] has {len(part)} steps, but X[{i}] has {length}.")
    return np.concatenate(parts)
