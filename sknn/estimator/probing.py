"""A fitted network as training sees it: its gradients and its next step, without changing it."""

from dataclasses import replace

import numpy as np
from sklearn.utils import compute_sample_weight

from ..engine.gradients import mean_gradient
from ..engine.optimizers import SOLVERS
from ..engine.recipe import Recipe
from ..engine.training import Progress, Trainer
from .transactions import PUBLIC, with_state

#: A step on its own is not part of a schedule.
_CONSTANT = dict.fromkeys(("learning_rate", "alpha_schedule", "dropout_schedule"), "constant")
#: Parameters of fits that partial fits do not have.
_WHOLE = {"refit": False, "cv": None}


class Probe:
    """A fitted network with data, ready to train, as at the beginning of a partial fit.

    The network stays as it is, and nothing is drawn from its `random_state`.

    Parameters
    ----------
    net : Net
        A fitted network.
    X, y, sample_weight
        Data as for its `partial_fit`; the weights may be None.
    """

    def __init__(self, net, X, y=None, sample_weight=None):
        self.job = job = _job(net, X, y, sample_weight)
        self._recipe = replace(Recipe.of(net), device=job.recipe.device)
        wanted, rows = self._recipe.batch_size, len(job.data.rows)
        self._batch = job.data.batch_size(wanted if wanted == "auto" else min(wanted, rows))
        self._order = None
        if self._recipe.shuffle and not job.data.carries:
            self._order = np.arange(rows)
            job.random_state.shuffle(self._order)  # as in the first epoch of a partial fit
        # under the names of `summary`; a multilayer perceptron in training may have more layers
        held = net._held_weights().network
        self._names = [
            (path, p.name, p.trainable)
            for (path, _, _), group in zip(held.primitives, held.parameters(), strict=True)
            for p in group
        ]

    def gradients(self, steps=None):
        """Return the loss and the gradients of the trained parameters.

        Both are means over the samples, in the batches of an epoch of training: with the noise and
        dropout of training, and the batches' statistics. Penalties on weights are not included.

        Parameters
        ----------
        steps : int or None
            The number of batches, the first ones; None: all.

        Returns
        -------
        loss : float
        gradients : dict of str to dict of str to ndarray
            By path of the layer and name of the parameter, in the shapes of the parameters.
        """
        job = self.job
        loss, found = mean_gradient(
            job.network, job.dtype, job.progress.values, job.data, job.recipe, self._batch,
            order=self._order, steps=steps, seed=job.seed,
        )  # fmt: skip
        return loss, self._by_layer(found)

    def update(self):
        """Return how the next step of training would change the parameters.

        It is computed by training for a step, on the first batch, with the state of the optimizer
        and the rate of its last step.

        Returns
        -------
        changes : dict of str to dict of str to ndarray, or None
            As in :meth:`gradients`; None if the solver does not train in minibatches.
        """
        job, recipe, before = self.job, self._recipe, self.job.progress
        if recipe.solver not in SOLVERS:
            return None
        optimizer = before.optimizer
        if optimizer is not None and optimizer.rate:
            optimizer = optimizer.copy()
            optimizer.learning_rate = optimizer.rate
            recipe = replace(recipe, learning_rate_init=optimizer.rate)
        recipe = replace(recipe, early_stopping=False, shuffle=False, verbose=False, **_CONSTANT)
        rows = np.arange(len(job.data.rows)) if self._order is None else self._order
        progress = Progress(before.values, raw=before.raw, optimizer=optimizer)
        trainer = Trainer(
            recipe, job.network, job.dtype, progress, job.data.part(rows[: self._batch]), None,
            None, job.random_state, job.seed,
        )  # fmt: skip
        trainer.fit(1, True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        old, new = before.raw or before.values, progress.raw or progress.values
        return self._by_layer([np.subtract(b, a, dtype=float) for a, b in zip(old, new)])

    def _by_layer(self, values):
        found = {}
        for (path, name, trainable), value in zip(self._names, values, strict=True):
            if trainable:
                found.setdefault(path, {})[name] = value
        return found


def _job(net, X, y, sample_weight):
    """Return the job of a partial fit of a copy, which ends before anything is trained."""
    changes = {"early_stopping": False, PUBLIC: net}
    changes |= {name: value for name, value in (_CONSTANT | _WHOLE).items() if hasattr(net, name)}
    if net.solver == "lbfgs":
        changes["solver"] = "sgd"
    if not isinstance(net.random_state, (int, np.integer)):
        changes["random_state"] = 0
    if isinstance(getattr(net, "class_weight", None), str):  # of all data: not for partial fits
        by_class = compute_sample_weight(net.class_weight, y)
        sample_weight = by_class if sample_weight is None else by_class * sample_weight
        changes["class_weight"] = None
    copy = with_state(net, vars(net) | changes)
    vars(copy)["_learn"] = lambda job, X, y: job
    given = {} if sample_weight is None else {"sample_weight": sample_weight}
    return copy.partial_fit(X, y, **given)
