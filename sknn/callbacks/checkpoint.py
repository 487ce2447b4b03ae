"""Checkpoints of fits, from which they can be resumed."""

import inspect
import os
from numbers import Integral

from ..estimator.callbacks import epoch_of
from ..estimator.net import Net, has_finite_weights
from ..estimator.resuming import check_storable, write


class Checkpoint:
    """A callback that keeps the state of a fit in a file, from which the fit can be resumed.

    ``net.set_callbacks(Checkpoint(path)).fit(X, y)`` writes a checkpoint after each epoch. After
    that fit has ended in whatever way, or its process was killed, ``net.fit(X, y,
    resume_from=path)``, with an estimator of the same parameters and the same data, goes on after
    the last epoch that was written, to the same bits as a fit that was never stopped: weights,
    curves, and what a later fit or partial fit continues from. Both at once, for a job that may be
    restarted any time::

        net.fit(X, y, resume_from=path if path.exists() else None)

    Each checkpoint replaces the one before it in a single step, after it has reached the disk: the
    file always is a whole one, and has a checksum. It is written by none of Python's pickle, and
    reading one runs no code of it. ``sknn.load(path)`` returns the estimator as of its last epoch.
    Weights that are not finite, of training that has diverged, replace none that are.

    A fit never replaces the file of another one: it is an error if the file exists when a fit
    begins that is not resumed from it. So the clones of an estimator in a search, or in
    cross-validation, which share its callbacks, do not write over each other; all but the first
    fail. Set the callback for the fit that follows the search.

    Callbacks are called in the order of their list. One that keeps a record of each epoch, such as
    :class:`TensorBoard`, stands before this one: an epoch may then be in the record twice, but none
    is missing.

    Fits by minibatches can be resumed, and those of a :class:`~sknn.PerceptronClassifier`; not
    those with ``solver='lbfgs'`` or ``'lstsq'``, nor partial fits, which continue from a saved
    model anyway.

    Parameters
    ----------
    path : str or path-like
        The file. Its folder must exist.
    every : int, default=1
        Number of epochs from one checkpoint to the next; the last planned epoch always has one.

    Raises
    ------
    FileExistsError
        By `fit`, if the file exists and the fit is not resumed from it.
    ValueError, TypeError
        By `fit`, if it cannot be resumed later.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPNetClassifier
    >>> from sknn.callbacks import Checkpoint
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier(max_iter=300, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "net.checkpoint"
    ...     net = net.set_callbacks(Checkpoint(path, every=100)).fit(X, y)
    ...     again = MLPNetClassifier(max_iter=300, random_state=0).fit(X, y, resume_from=path)
    >>> again.loss_curve_ == net.loss_curve_
    True
    """

    def __init__(self, path: str | os.PathLike[str], *, every: int = 1):
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path is {path!r}; expected a str or a path.")
        if not isinstance(every, Integral) or isinstance(every, bool):
            raise TypeError(f"every is {every!r}; expected an int, a number of epochs.")
        if every < 1:
            raise ValueError(f"every is {every}; expected at least 1.")
        self.path, self.every = path, int(every)

    def setup(self, estimator, context):
        """Check that fits of the estimator can be resumed; called when a fit begins."""
        if "resume_from" not in inspect.signature(estimator.fit).parameters:
            raise TypeError(
                f"{type(estimator).__name__} has fits that cannot be resumed; Checkpoint is for "
                "estimators of sknn whose fit has the parameter resume_from."
            )
        folder = os.path.dirname(os.path.realpath(self.path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{folder}, the folder of {self.path!s}, does not exist.")
        if os.path.isdir(os.path.realpath(self.path)):
            raise IsADirectoryError(f"path is {str(self.path)!r}, a folder; expected a file.")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder}, the folder of {self.path!s}, cannot be written to.")

    def teardown(self, estimator, context):
        """Do nothing; called when a fit has ended."""

    def on_fit_task_begin(self, estimator, context):
        """Check, before the first epoch, that the fit can be resumed, and may write the file."""
        epoch = epoch_of(context)
        if epoch is None or epoch.number != epoch.first:
            return
        if epoch.checkpoint is None:
            raise ValueError(
                f"This fit of {type(estimator).__name__} cannot be resumed: Checkpoint is for fit "
                "with a solver by minibatches, not for 'lbfgs', 'lstsq' or partial_fit. Remove it "
                "by set_callbacks(), and keep the estimator by sknn.save."
            )
        check_storable(estimator)
        if not self._resumes(epoch) and os.path.lexists(self.path):
            raise self._exists()

    def on_fit_task_end(self, estimator, context):
        """Write a checkpoint if one is due, and of use."""
        epoch = epoch_of(context)
        if epoch is None or epoch.number % self.every and epoch.number != epoch.last:
            return
        estimator, record = epoch.checkpoint()
        if isinstance(estimator, Net) and not has_finite_weights(estimator):
            return
        begins = (epoch.number - 1) // self.every == (epoch.first - 1) // self.every
        try:
            write(self.path, estimator, record, new=begins and not self._resumes(epoch))
        except FileExistsError:
            raise self._exists() from None

    def _resumes(self, epoch):
        """Return whether the fit was resumed from the file."""
        given = epoch.resumed_from
        return given is not None and os.path.realpath(given) == os.path.realpath(self.path)

    def _exists(self):
        return FileExistsError(
            f"{self.path!s} exists, and may be the checkpoint of another fit. To go on with that "
            f"one, fit with resume_from={str(self.path)!r}; to begin anew, delete it, or give "
            "Checkpoint another path. Clones of an estimator, such as in a search, share its "
            "callbacks, so that only one of them could write it."
        )
