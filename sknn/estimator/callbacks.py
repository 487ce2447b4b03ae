"""scikit-learn's callbacks for a fit and its epochs."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .records import OF_FITS
from .transactions import ENDING, PUBLIC, with_state


def as_committed(fitting, commit):
    """Return a separate estimator with the state that the fitting one would have after a commit.

    ``commit(estimator)`` sets the attributes that the estimator would have if the fit ended now.
    """
    own = {PUBLIC, *OF_FITS}
    state = {name: value for name, value in vars(fitting).items() if name not in own}
    other = with_state(fitting, state)
    commit(other)
    return other


@dataclass(frozen=True)
class Epoch:
    """What callbacks of this package can ask for, besides what scikit-learn passes to all.

    Attributes
    ----------
    number : int
        Of the epoch, counted from 1 in its fit, also where that was resumed.
    first, last : int
        Numbers of the first epoch since the fit began or was resumed, and of the last one planned.
    resumed_from : path or None
        The checkpoint that the fit was resumed from.
    checkpoint : callable or None
        Returns the estimator as of now, and a record of the rest of the state of training; only at
        the end of the epoch. None: this fit cannot be resumed.
    """

    number: int
    first: int
    last: int
    resumed_from: Any
    checkpoint: Callable | None


def epoch_of(context):
    """Return the Epoch of a callback's context, or None if it is something else's."""
    return _epochs.get(context)


#: The Epochs that are being trained, by their contexts, which may be pickled.
_epochs = weakref.WeakKeyDictionary()


class FitCallbacks:
    """scikit-learn's callbacks for a fit and its epochs; does nothing if there are none.

    Parameters
    ----------
    estimator : estimator
        The fit's private copy.
    X, y
        The data as passed to the fit.
    epochs : int
        How many are planned.
    done : int
        How many of them were done before the fit was resumed.
    resumed_from : path or None
        The checkpoint that it was resumed from.
    """

    def __init__(self, estimator, X, y, epochs, done=0, resumed_from=None):
        self._fitting, self._data = estimator, {"X": X, "y": y}
        self._done, self._begun, self._epochs = done, done, epochs
        self._resumed_from = resumed_from
        # Callbacks see the public estimator: the last fit until this one is done.
        self._estimator = vars(estimator).get(PUBLIC, estimator)
        self.active = bool(getattr(estimator, "_skl_callbacks", ()))
        if self.active or hasattr(estimator, "_parent_callback_ctx"):
            # with the epochs that are left, whose numbers go on from those that were done
            self._context = self._estimator._init_callback_context(
                max_subtasks=max(epochs - done, 0), sequential_subtasks=not done
            )
        if self.active:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_epoch(self, commit, record=None):
        """Begin an epoch; return a function that ends it and returns whether to stop.

        `commit` is passed to :func:`as_committed`, for callbacks that need a fitted estimator;
        ``record()`` returns the rest of the state of training, for a checkpoint.
        """
        if not self.active:
            return lambda: False
        task_id = self._begun if self._done else None
        context = self._context.subcontext(task_name="epoch", task_id=task_id)
        self._begun += 1

        def committed():
            return as_committed(self._fitting, commit)

        def end():
            try:
                return context.call_on_fit_task_end(
                    estimator=self._estimator,
                    # the whole state, set as one attribute
                    reconstruction_attributes=lambda: {"__dict__": vars(committed())},
                    **self._data,
                )
            finally:
                del _epochs[context]

        _epochs[context] = Epoch(
            self._begun, self._done + 1, self._epochs, self._resumed_from,
            None if record is None else lambda: (committed(), record()),
        )  # fmt: skip
        context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return end

    def end(self):
        """Call the callbacks for the end of the fit once the estimator has changed."""
        if self.active:
            vars(self._fitting)[ENDING] = self._end

    def _end(self):
        self._context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=dict, **self._data
        )
