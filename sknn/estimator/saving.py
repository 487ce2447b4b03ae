"""Saving an estimator to a file, and loading it, without pickle."""

from ..files import codec, states
from ..files.writing import replace
from .base import Estimator


def save(estimator, path) -> None:
    """Save an estimator, fitted or not, to a file that :func:`load` reads.

    The file is of the format safetensors: the arrays are its tensors, and everything else, such as
    parameters, layers and classes, is JSON in its header. It contains no code, unlike a pickle, and
    a checksum. The loaded estimator has the same predictions, and goes on training, to the bit.
    Callbacks are not stored; parameters that are functions, such as a callable `scoring`, are an
    error.

    Parameters
    ----------
    estimator : estimator
        One of this package. (skops stores pipelines, and the estimators of other libraries.)
    path : str or path-like
        The file. An existing one is replaced when the new one is complete.

    Raises
    ------
    TypeError, ValueError
        If the estimator, or one of its parameters, cannot be stored. The message names it; nothing
        is written.
    OSError
        If the file cannot be written; an existing one is unchanged.

    Examples
    --------
    >>> import os, tempfile
    >>> import sknn
    >>> net = sknn.MLPNetClassifier((5,), max_iter=10, random_state=0)
    >>> net = net.fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])
    >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
    >>> sknn.save(net, path)
    >>> bool((sknn.load(path).predict_proba([[1.0]]) == net.predict_proba([[1.0]])).all())
    True
    """
    if not codec.is_storable(type(estimator)) or not isinstance(estimator, Estimator):
        raise TypeError(_refusal(estimator))
    tree, tensors = codec.encode(estimator)
    try:
        codec.decode(tree, tensors)  # what is saved can be loaded
    except ValueError as error:
        raise ValueError(f"{type(estimator).__name__} cannot be saved as it is: {error}") from None
    replace(path, states.packed(tree, tensors, "model"))


def load(path):
    """Return the estimator that :func:`save` saved to a file, or that is in a checkpoint.

    No file makes it run code, and it takes no more memory than a few times the size of the file.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : estimator
        With its parameters, such as `device`, and what it has learned.

    Raises
    ------
    ValueError
        If the file is truncated or altered, of another kind, or of a newer version. The message
        begins with the path.
    OSError
        If the file cannot be read.
    """
    estimator = states.read(path, "model")
    if isinstance(estimator, dict):  # a checkpoint, which has a record of training, too
        estimator = estimator.get("estimator")
    if not isinstance(estimator, Estimator):
        raise ValueError(f"{path} holds a {type(estimator).__name__}; expected an estimator.")
    return estimator


def _refusal(estimator):
    """Return why an object that is no estimator of this package is not stored."""
    what = f"estimator is of the type {type(estimator).__name__}"
    own = next((cls for cls in type(estimator).__mro__ if codec.is_storable(cls)), None)
    if own is not None:
        return (
            f"{what}, a subclass of {own.__name__}; expected an estimator of sknn itself, as "
            "loading must run no other code."
        )
    return f"{what}; expected an estimator of sknn. skops stores pipelines, and other estimators."
