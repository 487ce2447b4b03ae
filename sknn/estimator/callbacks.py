"""scikit-learn's callbacks for a fit and its epochs."""

from .transactions import ENDING, PUBLIC, with_state


def as_committed(fitting, commit):
    """Return a separate estimator with the state that the fitting one would have after a commit.

    ``commit(estimator)`` sets the attributes that the estimator would have if the fit ended now.
    """
    own = {PUBLIC, "_parent_callback_ctx"}
    state = {name: value for name, value in vars(fitting).items() if name not in own}
    other = with_state(fitting, state)
    commit(other)
    return other


class FitCallbacks:
    """scikit-learn's callbacks for a fit and its epochs; does nothing if there are none."""

    def __init__(self, estimator, X, y, epochs):
        self._fitting, self._data = estimator, {"X": X, "y": y}
        # Callbacks see the public estimator: the last fit until this one is done.
        self._estimator = vars(estimator).get(PUBLIC, estimator)
        self._active = bool(getattr(estimator, "_skl_callbacks", ()))
        if self._active or hasattr(estimator, "_parent_callback_ctx"):
            self._context = self._estimator._init_callback_context(max_subtasks=epochs)
        if self._active:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_epoch(self, commit):
        """Begin an epoch; return a function that ends it and returns whether to stop.

        `commit` is passed to :func:`as_committed`, for callbacks that need a fitted estimator.
        """
        if not self._active:
            return lambda: False
        context = self._context.subcontext(task_name="epoch")
        context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return lambda: context.call_on_fit_task_end(
            estimator=self._estimator,
            # the whole state, set as one attribute
            reconstruction_attributes=lambda: {
                "__dict__": vars(as_committed(self._fitting, commit))
            },
            **self._data,
        )

    def end(self):
        """Call the callbacks for the end of the fit once the estimator has changed."""
        if self._active:
            vars(self._fitting)[ENDING] = self._end

    def _end(self):
        self._context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=dict, **self._data
        )
