"""scikit-learn's callbacks around a fit and its epochs."""

from .transactions import ENDING, PUBLIC, with_state


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

        ``commit(estimator)`` gives an estimator what it would hold if the fit ended here, for
        callbacks that want a fitted one.
        """
        if not self._active:
            return lambda: False
        context = self._context.subcontext(task_name="epoch")
        context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return lambda: context.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=lambda: self._state_after(commit),
            **self._data,
        )

    def _state_after(self, commit):
        """Return the whole state of the estimator after a commit, as an attribute to be set."""
        own = {PUBLIC, "_parent_callback_ctx"}
        state = {name: value for name, value in vars(self._fitting).items() if name not in own}
        other = with_state(self._fitting, state)
        commit(other)
        return {"__dict__": vars(other)}

    def end(self):
        """End the fit, as soon as the estimator has changed."""
        if self._active:
            vars(self._fitting)[ENDING] = self._end

    def _end(self):
        self._context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=dict, **self._data
        )
