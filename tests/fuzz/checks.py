"""Running a program, and what must hold after each of its statements."""

import ast
import contextlib
import dis
import pathlib
import pickle
import re
import warnings
from dataclasses import dataclass

import joblib
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import BaseEstimator

import sknn
from sknn.text.characters import TextModel

from . import tools
from .programs import ANSWERS, method_of
from .scenarios import Finding
from .values import HUGE

_PACKAGE = str(pathlib.Path(sknn.__file__).parent)
#: Exceptions that wrong calls may raise.
_ALLOWED = ValueError, TypeError, AttributeError, ImportError
_FILES = "_weights(", "_file("
#: Of an attribute that the program has overwritten, or read from a damaged file.
_TAMPERED = re.compile(r"\w\.\w+_(\[.*\])? = |damage\(|_label_binarizer")


@dataclass(frozen=True)
class Verdict:
    """A finding: its kind, where in the package, at which statement, and a description."""

    kind: str
    place: str
    line: int = -1
    words: str = ""

    @property
    def key(self):
        """What findings with the same cause have in common."""
        return self.kind, self.place

    def __str__(self):
        return f"{self.kind} at {self.place}: {self.words}"


def check(source, at=lambda line: None):
    """Run a program; return a Verdict, or None if nothing is wrong.

    It runs twice, with one thread and with several, the second time without the statements that
    have failed: neither may make a difference.
    """
    first, failed, verdict = _run(source, 1, (), at)
    if verdict or "JOBS" not in source:
        return verdict
    jobs = 2 + len(source) % 2
    second, _, verdict = _run(source, jobs, failed, at)
    if verdict:
        return verdict
    for line, value in first.items():
        if line not in second or not same(value, second[line]):
            place = method_of(ast.unparse(ast.parse(source).body[line]))
            words = f"not what it was with one thread, and with the calls that failed: JOBS={jobs}"
            return Verdict("depends on threads or history", place, line, words)
    return None


def _run(source, jobs, skipped, at):
    """Return values of statements, the numbers of those that failed, and the Verdict or None."""
    names = {name: getattr(tools, name) for name in tools.__all__} | {"JOBS": jobs}
    values, failed = {}, set()
    np.random.seed(0)
    fine = not _TAMPERED.search(source)
    for line, node in enumerate(ast.parse(source).body):
        if line in skipped:
            continue
        at(line)
        statement = _Statement(node, names)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                values[line] = statement.run()
        except Exception as error:
            failed.add(line)
            verdict = _judge(error, source) or (statement.method and statement.changes())
            if not verdict and skipped:
                verdict = "fails only without failures before", statement.label, repr(error)
        else:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                verdict = statement.check(values[line], fine)
        if verdict:
            kind, place, words = verdict
            return values, failed, Verdict(kind, place, line, words)
    kept = {line: value for line, value in values.items() if _comparable(value)}
    return kept, failed, None


class _Statement:
    """A statement of a program, and the method of an estimator that it calls, if it does."""

    def __init__(self, node, names):
        self._node, self._names = node, names
        self.estimator, self.method, self.X = None, None, None
        call = getattr(node, "value", None)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            owner = getattr(call.func.value, "id", None)
            if isinstance(names.get(owner), BaseEstimator) and call.func.attr != "set_params":
                self.estimator, self.method = names[owner], call.func.attr
                if call.args and isinstance(call.args[0], ast.Name):
                    self.X = names.get(call.args[0].id)
                self._alone = len(call.args) == 1 and not call.keywords
        self._before = self.estimator is not None and digest(self.estimator)

    @property
    def label(self):
        return f"{type(self.estimator).__name__}.{self.method}"

    def run(self):
        """Run it; return what it gives, or what it assigns."""
        node = self._node
        if isinstance(node, ast.Expr):
            return eval(compile(ast.Expression(node.value), "<case>", "eval"), self._names)
        exec(compile(ast.Module([node], []), "<case>", "exec"), self._names)
        target = getattr(node, "targets", [None])[0]
        return self._names[target.id] if isinstance(target, ast.Name) else None

    def changes(self):
        """Return a description of the fault if the estimator has changed."""
        after = digest(self.estimator)
        if after != self._before:
            return f"{self.method} changes the estimator", self.label, "though it failed"

    def check(self, answer, fine):
        """Return a description of what is wrong with a call's result."""
        if _is_broken(self.X) and self.method:
            return "takes a broken sparse matrix", self.method, self.label
        if self.method not in (*ANSWERS, "inverse_transform"):
            return None
        if (changed := self.changes()) is not None:
            return *changed[:2], "though it only answers"
        # the score of a text of one character is NaN by its documentation
        unscored = self.method == "score_samples" and isinstance(self.estimator, TextModel)
        if fine and not unscored and not finite(answer, self.method):
            return "NaN or infinity", self.label, f"{answer!r:.60}"
        if not self._alone or not hasattr(self.X, "__len__") or isinstance(self.X, str):
            return None
        if isinstance(self.X, list) and getattr(self.estimator, "mask_value", None) is not None:
            return None  # a list of one length is an array, whose ends may be padding
        try:
            copied = pickle.loads(pickle.dumps(self.estimator))
        except Exception as error:
            return "cannot be pickled", type(self.estimator).__name__, repr(error)
        n = _count(answer)
        if n != _count(self.X):
            return "another number of answers than samples", self.label, str(n)
        for estimator, rows, when in (
            (self.estimator, list(range(n))[::-1], "in another order"),
            (self.estimator, [n - 1], "alone"),
            (self.estimator, list(range(n)), "the second time"),
            (copied, None, "after pickling"),
        ):
            X = self.X if rows is None else _take(self.X, rows)
            if X is None:
                continue
            try:
                other = getattr(estimator, self.method)(X)
            except Exception as error:
                return f"fails {when}", self.label, repr(error)
            if not same(other, answer if rows is None else _take(answer, rows)):
                return f"another answer {when}", self.label, ""
        return None


def _count(X):
    return (*X.shape, 1)[0] if hasattr(X, "shape") else len(X)


def _take(X, rows):
    """Return some of the samples, or None where that is not clear."""
    if isinstance(X, pd.DataFrame):
        with contextlib.suppress(ValueError):  # pandas takes no rows of other byte orders
            return X.iloc[rows]
        return None
    if sp.issparse(X):
        return X.tocsr()[rows] if X.format in ("csr", "csc") else None
    if isinstance(X, list):
        return [X[i] for i in rows] if len(X) > max(rows) else None
    return X[rows] if isinstance(X, np.ndarray) and X.ndim else None


def _is_broken(X):
    """Return whether a sparse matrix points outside its arrays; SciPy's check misses some cases."""
    if not sp.issparse(X) or X.format not in ("csr", "csc", "bsr"):
        return False
    rows = X.shape[X.format == "csc"] // getattr(X, "blocksize", (1,))[0]
    columns = X.shape[X.format != "csc"] // getattr(X, "blocksize", (1, 1))[1]
    used = X.indices[: max(0, X.indptr[-1])]
    return bool(
        len(X.indptr) != rows + 1
        or X.indptr[0] != 0
        or (np.diff(X.indptr) < 0).any()
        or X.indptr[-1] > min(len(X.indices), len(X.data))
        or (used < 0).any()
        or (used >= columns).any()
    )


def digest(estimator):
    """Return a digest of an estimator's whole state, or None where there is none."""
    with contextlib.suppress(Exception):
        return joblib.hash(vars(estimator))


def finite(answer, method):
    """Return whether there is no NaN in an answer, and no infinity but the logarithm of 0."""
    if isinstance(answer, (list, tuple)):
        return all(finite(part, method) for part in answer)
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
        return True
    return bool(np.isfinite(answer).all()) or (
        method == "predict_log_proba" and not (np.isnan(answer) | (answer == np.inf)).any()
    )


def _comparable(value):
    return isinstance(value, (np.ndarray, np.generic, list, tuple, str, int, float))


def _is_list(answer):
    return isinstance(answer, (list, tuple)) or (
        isinstance(answer, np.ndarray) and answer.dtype == object and answer.ndim == 1
        and any(isinstance(part, np.ndarray) for part in answer)
    )  # fmt: skip


def same(one, other):
    """Return whether two answers are the same, to the bit."""
    if sp.issparse(one) and sp.issparse(other):
        one, other = one.toarray(), other.toarray()
    if _is_list(one) or _is_list(other):  # of sequences, which is an array where lengths are one
        return len(one) == len(other) and all(map(same, one, other))
    one, other = np.asanyarray(one), np.asanyarray(other)
    if one.shape != other.shape:
        return False
    if one.dtype.kind == other.dtype.kind == "f":
        return one.itemsize == other.itemsize and np.array_equal(one, other, equal_nan=True)
    return joblib.hash(one.tolist()) == joblib.hash(other.tolist())


# --- exceptions


def _judge(error, source):
    """Return what is wrong with an exception: its type, its origin, and its message."""
    words = f"{type(error).__name__}: {error!s:.150}"
    place = place_of(error)
    if isinstance(error, Finding):
        return "finding", error.args[0], repr(error.args[1:])
    if isinstance(error, MemoryError) and any(text in source for text in HUGE):
        return None
    if isinstance(error, OSError) and any(text in source for text in _FILES):
        return None
    if isinstance(error, RuntimeError) and "NVIDIA driver" in words and "cuda" in source:
        return None
    if place == "outside":  # a mistake of the program, such as a name that failed to be assigned
        return None
    if not isinstance(error, _ALLOWED):
        return type(error).__name__, place, words
    if _accident(error) and not _TAMPERED.search(source):
        return "by accident: " + type(error).__name__, place, words
    return None


def _frames(error):
    trace, frames = error.__traceback__, []
    while trace:
        frames.append(trace)
        trace = trace.tb_next
    return frames


def place_of(error):
    """Return the innermost place in the package that an exception passed."""
    for trace in reversed(_frames(error)):
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(_PACKAGE):
            return f"{code.co_filename[len(_PACKAGE) + 1:]}:{code.co_name}"
    return "outside"


def _accident(error):
    """Return whether the package did not mean to raise an exception: no `raise` of its own did."""
    trace = _frames(error)[-1]
    code = trace.tb_frame.f_code
    if not code.co_filename.startswith(_PACKAGE):
        return False
    if code.co_name == "wrapper":  # of a method that the program has called with other arguments
        return False
    return dis.opname[code.co_code[trace.tb_lasti]] not in ("RAISE_VARARGS", "RERAISE")
