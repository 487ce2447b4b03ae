"""Fits that go on from a checkpoint, to the same bits as if they had never been stopped.

A checkpoint is a fitted estimator, as of the end of an epoch, and a :class:`Record` of the rest of
the state of training. To resume a fit is a warm start from that estimator which goes on with what
a warm start begins anew: the optimizer, the order of the samples, the generator, the counts.
"""

import copy
import os
import zlib
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from ..engine.training import Progress
from ..files import codec, states
from .records import CALLBACKS
from .transactions import PUBLIC

#: A parameter that is a path.
File = str | os.PathLike[str] | None
#: Parameters that may change: they have no effect on the epochs that are done.
_FREE = {"max_iter", "n_jobs", "device", "verbose", "warm_start", "sample_chars"}
#: Attributes of an estimator that are neither parameters nor set by a fit.
_OWN = {PUBLIC, *CALLBACKS, "_metadata_request", "_sklearn_output_config"}
#: Larger arrays are recognized by so many bytes of them, in so many blocks.
_BYTES, _BLOCKS = 16 * 2**20, 16
#: What comes before the checksums in the traits of arrays.
_SUMS = "; checksums "


@dataclass
class Record:
    """The state of training at the end of an epoch, besides that of the estimator.

    Attributes
    ----------
    seed : int
        Of dropout, noise and augmentation.
    random_state : RandomState
        The generator as it is now.
    split : RandomState or None
        The generator before it drew the data that were held back, if any were.
    progress : Progress
        Without parameters and optimizer, which the estimator has.
    trainer : dict of str to object
        What :meth:`~sknn.engine.training.Trainer.state` returned.
    traits : dict of str to str
        What the data are recognized by.
    path : path or None
        The file that it was read from.
    """

    seed: int
    random_state: np.random.RandomState
    split: np.random.RandomState | None
    progress: Progress
    trainer: dict[str, Any]
    traits: dict[str, str]
    path: File = None

    @classmethod
    def of(cls, job, trainer):
        """Return the record of a job, given its trainer at the end of an epoch."""
        now, split = copy.deepcopy(job.random_state), None
        if job.split is not None:
            split = copy.deepcopy(now)
            split.set_state(job.split)
        progress = job.progress.copy(values=[], raw=None, optimizer=None)
        return cls(job.seed, now, split, progress, trainer.state(), job.traits)

    def restore(self, random_state):
        """Give a generator the state that it had: also the user's, or NumPy's, goes on from it."""
        _set_state(random_state, self.random_state)

    def restore_before_split(self, random_state):
        """Give a generator the state that it had before it drew the data to hold back."""
        if self.split is not None:
            _set_state(random_state, self.split)

    def progress_of(self, net, started):
        """Return the Progress to go on with, given that of a warm start of the estimator."""
        return replace(
            self.progress, values=started.values, raw=started.raw,
            optimizer=getattr(net, "_optimizer", None),
        )  # fmt: skip

    def check(self, traits, epochs):
        """Raise ValueError unless data have these traits, and are to be trained for more epochs."""
        for name in traits | self.traits:
            ours, theirs = traits.get(name), self.traits.get(name)
            if ours != theirs:
                raise ValueError(
                    f"resume_from is {self.path!s}, of a fit to other data: {name} "
                    f"{_difference(ours, theirs)}; expected the same data."
                )
        done = self.progress.n_iter
        if done > epochs:
            raise ValueError(
                f"max_iter is {epochs}, but {done} epochs are done in the checkpoint "
                f"{self.path!s}; expected at least as many."
            )

    def check_job(self, job):
        """Raise ValueError unless the job's data and network are those of the record."""
        self.check(job.traits, job.epochs)
        values, best = job.progress.values, self.trainer.get("best")
        n_best = (1 + bool(job.recipe.average)) * bool(job.recipe.early_stopping)
        done, progress = self.progress.n_iter, job.progress
        try:  # it may be anything, and the engine relies on it
            whole = done > 0 and 0 <= self.seed < 2**63
            whole &= len(progress.data_loss_curve) == len(progress.divergence_curve) == done
            whole &= len(progress.loss_curve) >= done
            whole &= progress.optimizer.matches(job.recipe, values)
            whole &= isinstance(best, list) and len(best) == n_best if n_best else best is None
            for some in best or ():
                whole &= _kinds(some) == _kinds(values)
            whole &= _is_order(self.trainer.get("order"), len(job.data.rows))
        except (AttributeError, IndexError, TypeError):
            whole = False
        if not whole:
            raise ValueError(f"{self.path!s} has no valid state of training of this network.")


def write(path, estimator, record, new):
    """Write a checkpoint; an existing file is replaced, or, if it has to be `new`, an error."""
    stored, functions = _storable(estimator)
    content = {"estimator": stored, "functions": functions, "training": vars(record)}
    states.write(path, content, "model", new)


def check_storable(estimator):
    """Raise TypeError or ValueError if an estimator of these parameters cannot be stored."""
    codec.encode(_storable(clone(estimator))[0])


def _storable(estimator):
    """Return an estimator without the function `scoring`, which is given again; and their names."""
    functions = [name for name in ("scoring",) if callable(getattr(estimator, name, None))]
    if functions:
        estimator = copy.copy(estimator)
        vars(estimator).update(dict.fromkeys(functions))
    return estimator, functions


def resume(net, path):
    """Give an estimator the fitted state in a checkpoint, and return the record beside it.

    Returns None if `path` is None.

    Raises
    ------
    TypeError, ValueError, OSError
        If it is no path, if there is no such file, if it is damaged or something else, or if it is
        of another estimator, or one with other parameters.
    """
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"resume_from is {path!r}; expected a path, or None.")
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"resume_from is {path!s}, which does not exist; expected a checkpoint, or None to "
            "begin: resume_from=path if path.exists() else None."
        )
    estimator, functions, record = _read(path)
    if type(estimator) is not type(net):
        raise ValueError(
            f"resume_from is {path!s}, a checkpoint of {type(estimator).__name__}; expected one of "
            f"{type(net).__name__}."
        )
    parameters = estimator.get_params(deep=False)
    for name, theirs in parameters.items():
        ours = getattr(net, name)
        same = callable(ours) if name in functions else _same(ours, theirs)
        if name in functions:
            theirs = "a function"
        if name not in _FREE and not same:
            raise ValueError(
                f"{name} is {ours!r}, but {theirs!r} in the checkpoint {path!s}; expected the same "
                f"parameters, except for {', '.join(sorted(_FREE & {*parameters}))}."
            )
    for name in vars(net).keys() - _OWN - parameters.keys():
        delattr(net, name)
    fitted = vars(estimator).items()
    vars(net).update({k: v for k, v in fitted if k not in _OWN and k not in parameters})
    return record


def _read(path):
    """Return the estimator in a checkpoint, its parameters that are functions, and the record."""
    found = states.read(path, "model")
    if not isinstance(found, dict):
        raise ValueError(
            f"resume_from is {path!s}, a saved model without the state of its training; expected a "
            "checkpoint. To train it further, load it, and fit with warm_start=True."
        )
    try:
        estimator, functions = found["estimator"], found["functions"]
        record = Record(**found["training"])
        types = (estimator, BaseEstimator), (functions, list), (record.progress, Progress)
        types += ((record.traits, dict),)
        types += (record.random_state, np.random.RandomState), (record.seed, int)
        types += (record.split, (np.random.RandomState, type(None))), (record.trainer, dict)
        types += tuple((one, str) for one in record.traits.values())
        if not all(isinstance(*one) for one in types):
            raise TypeError
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{path!s} has no valid state of training.") from None
    record.path = path
    return estimator, functions, record


def _same(one, other):
    """Return whether two values of a parameter are the same, or both are generators."""
    if isinstance(one, np.random.RandomState):  # the record has its state
        return isinstance(other, np.random.RandomState)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Real) and isinstance(other, Real) and np.isnan([one, other]).all():
        return True
    return bool(one == other)


def _kinds(arrays):
    return [(type(array), array.shape, array.dtype) for array in arrays]


def _is_order(order, n):
    """Return whether it is None or the numbers below n in any order."""
    if order is None:
        return True
    if not isinstance(order, np.ndarray) or order.dtype.kind != "u" or order.shape != (n,):
        return False
    return bool(order.max() < n and np.bincount(order.astype(np.intp), minlength=n).all())


def _set_state(random_state, other):
    random_state.set_state(other.get_state(legacy=False))


# --- recognizing data


def traits_of(data, held):
    """Return what training and validation data are recognized by: shapes, types, checksums."""
    found = {}
    for start, some in (("", data), ("validation data: ", held)):
        if some is not None and (some is data or some.source is not data.source):
            found |= {
                f"{start}X": _traits(*_arrays(some.source)),
                f"{start}y": _traits(*_arrays(some.targets)),
                f"{start}sample_weight": _traits(some.weights),
                f"{start}lengths": _traits(some.lengths),
            }
    return found | {"the selection of rows": _traits(data.rows)}


def _arrays(source):
    """Return the arrays that a source gathers rows from."""
    if getattr(source, "among", None) is not None:
        return (source.among,)
    if getattr(source, "on_demand", None) is not None:
        return (source.on_demand,)
    return (source.numbers,) if hasattr(source, "numbers") else source.arrays


def _traits(*arrays):
    """Return the types, shapes and checksums of arrays, some of them None, as text."""
    given = [array for array in arrays if array is not None]
    if not given:
        return ""
    what = [f"{array.dtype.name} of the shape {array.shape}" for array in given]
    return f"{', '.join(what)}{_SUMS}{' '.join(str(_checksum(array)) for array in given)}"


def _checksum(array):
    """Return a checksum of an array, or, if it is large, of blocks all over it."""
    n, checksum = len(array), 0
    rows = max(1, n * _BYTES // _BLOCKS // max(array.nbytes, 1))
    if rows * _BLOCKS >= n:
        return zlib.crc32(np.ascontiguousarray(array))
    for first in np.linspace(0, n - rows, _BLOCKS).astype(int):
        checksum = zlib.crc32(np.ascontiguousarray(array[first : first + rows]), checksum)
    return checksum


def _difference(ours, theirs):
    """Return how data differ, given their traits now, and in a checkpoint."""
    now, then = (traits.partition(_SUMS)[0] or "not given" for traits in (ours or "", theirs or ""))
    return "has other values" if now == then else f"is {now}, and was {then}"
