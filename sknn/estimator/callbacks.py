"""scikit-learn's callbacks around a fit and its epochs."""

from .transactions import ENDING, PUBLIC, with_state


def as_committed(fitting, commit):
    """Return an estimator of its own, with the state that a commit gives the one that is fitting.

    ``commit(estimator)`` gives an estimator what it would hold if the fit ended here.
    """
    own = {PUBLIC, "_parent_callback_ctx"}
    state = {name: value for name, value in vars(fitting).items() if name not in own}
    other = with_state(fitting, state)
    commit(other)
    return other


class FitCallbacks:
    """scikit-learn's callbacks around a fit and its epochs; nothing where there are none."""

    def __init__(self, estimator, X, y, epochs):
        self._fitting, self._data = estimator, {"X": X, "y": y}
        # What callbacks see is what everybody sees: the last fit, until this one is done.
        self._estimator = vars(estimator).get(PUBLIC, estimator)
        self._active = bool(getattr(estimator, "_skl_callbacks", ()))
        if self._active or hasattr(estimator, "_parent_callback_ctx"):
            self._context = self._estimator._init_callback_context(max_subtasks=epochs)
        if self._active:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_epoch(self, commit):
        """Begin an epoch; return the function that ends it and says whether to stop.

        `commit`, which :func:`as_committed` takes, is for callbacks that want a fitted one.
        """
        if not self._active:
            return lambda: False
        context = self._context.subcontext(task_name="epoch")
        context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return lambda: context.call_on_fit_task_end(
            estimator=self._estimator,
            # the whole state, as an attribute to be set
            reconstruction_attributes=lambda: {
                "__dict__": vars(as_committed(self._fitting, commit))
            },
            **self._data,
        )

    def end(self):
        """End the fit, as soon as the estimator has changed."""
        if self._active:
            vars(self._fitting)[ENDING] = self._end

    def _end(self):
        self._context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=dict, **self._data
        )
