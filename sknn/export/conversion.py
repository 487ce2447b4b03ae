"""Export to ONNX."""

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..estimator.base import Estimator
from ..estimator.wrapping import thawed
from ..sequences.inputs import listed
from ..tabular.encoding import read_table
from ..tabular.net import _BaseTabularNet
from ..text.net import TextNet

if TYPE_CHECKING:
    from onnx import ModelProto

#: Version of ONNX's operators, of 2021, which older runtimes have.
_OPSET = 15


def to_onnx(
    estimator: BaseEstimator,
    X: Any = None,
    *,
    method: str | None = None,
    lengths: bool | None = None,
    target_opset: int | dict[str, int] | None = None,
    options: Mapping[Any, Any] | None = None,
) -> "ModelProto":
    """Return a fitted estimator as an ONNX model, which other programs can run.

    The model takes any number of samples from 1 on, and sequences of any length. It needs neither
    this package nor Python. Inputs and outputs have the names that skl2onnx gives them:

    - ``X`` has the type and the shape of the argument. Sequences of different lengths are padded
      at their ends, with any numbers, and ``lengths``, int64 of shape (n,), says where they end, at
      least 1 each; for an estimator with a `mask_value`, the model finds that out itself.
    - Classifiers return ``label``, int64 or str, and ``probabilities``, in the order of `classes_`.
      (For :class:`~sknn.PerceptronClassifier`, these are the weighted sums, and with two classes
      their negatives come first.)
    - Regressors return ``variable``, of shape (n, n_outputs), also if there is one output. For a
      target at each step, shapes are those of `predict`; padded steps repeat the last one.
    - Transformers return ``variable``, what `transform` returns.
    - :class:`~sknn.ReconstructionOutlierDetector` returns ``label`` and ``scores``, the
      `decision_function`, both of shape (n, 1).
    - :class:`~sknn.CharRNN` reads the numbers of characters, int64 of shape (n, time), in the order
      of `vocabulary_` (with `boundaries`, its last one comes first in each text), and returns
      ``probabilities`` of the next character.
    - :class:`~sknn.Seq2SeqRNN` reads numbers of the characters in `input_vocabulary_`, and returns
      ``tokens``, the numbers in `output_vocabulary_` that greedy search finds; after the end of an
      output they equal ``len(output_vocabulary_)``.
    - :class:`~sknn.TabularNetClassifier` and :class:`~sknn.TabularNetRegressor` read numbers, with
      NaN for missing ones; categories have to be numbers, too.

    Parameters
    ----------
    estimator : estimator
        A fitted network of this package; or a scikit-learn estimator that contains some, such as a
        :class:`sklearn.pipeline.Pipeline` with scalers, or a search, whose best estimator is
        exported. skl2onnx converts the others.
    X : array-like or None, default=None
        Data like those that the model will get, for their type and shape; their values and their
        number do not matter. If X is float64, the model computes in float64; if float32, in
        float32; otherwise in the type of the weights. (Networks of radial basis functions always
        compute in the type of their weights, at least.) None: the type of the weights, and the
        shape that `fit` was given, as far as it is known; a pipeline needs X.
    method : str or None, default=None
        For autoencoders: what the model returns, 'transform', 'reconstruct', 'inverse_transform'
        (X then holds codes) or 'score_samples', which is a column; for an outlier detector
        'predict' or 'score_samples'; for a CharRNN 'predict_proba' or 'transform'. None: the first
        of these.
    lengths : bool or None, default=None
        For sequences and texts: whether the model has the input ``lengths``. None: if X is a list
        of sequences of different lengths.
    target_opset : int, dict or None, default=None
        Version of ONNX's operators, at least 13; or a dict from domains to versions, as in
        skl2onnx. None: 15, which onnxruntime has had since 2021.
    options : dict or None, default=None
        Options of skl2onnx, for the last estimator or, with ``id(estimator)`` as keys, for others.
        ``{"zipmap": True}``: classifiers return ``output_label`` and, instead of an array,
        ``output_probability``, a dict of float32 for each sample, as skl2onnx does by default;
        ``{"zipmap": "columns"}``: one output for each class. None: arrays, which exist for every
        type and shape.

    Returns
    -------
    model : onnx.ModelProto
        The model. ``model.SerializeToString()`` are the bytes of a file.

    Raises
    ------
    ImportError
        If onnx or skl2onnx is missing: ``pip install "sknn[onnx]"``.
    TypeError
        If the estimator is not a network, or one of its layers is not of this package.
    ValueError
        If X does not fit the estimator, or a table has other columns than of numbers; if a setting
        cannot be expressed in ONNX, or parameters take more than 2 GiB.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    sknn.export.converters : Importing it registers the networks with skl2onnx.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sknn import MLPNetClassifier, to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPNetClassifier(8, max_iter=200, random_state=0))
    >>> onnx_model = to_onnx(model.fit(X, y), X.astype("float32"))
    >>> [output.name for output in onnx_model.graph.output]
    ['label', 'probabilities']
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"estimator is {estimator!r}; expected a fitted estimator.")
    _check_settings(target_opset, options)
    skl2onnx = _skl2onnx()
    from .converters import NETWORKS, register, type_of
    from .estimators import input_of, methods_of

    check_is_fitted(estimator)
    estimator = _inside(estimator)
    last = _last(estimator)
    opset = _OPSET if target_opset is None else target_opset
    given = {"target_opset": opset, "options": _settings(last, method, options)}
    if isinstance(estimator, Estimator):
        methods_of(estimator)  # raises an error for what is not a network
        register(*{type(estimator)}.difference(NETWORKS))  # a class derived from one of them
        inputs, ragged = _inputs(estimator, X, input_of(estimator, method))
        types = [("X", type_of(inputs))]
        if ragged if lengths is None else lengths:
            types.append(("lengths", skl2onnx.common.data_types.Int64TensorType([None])))
        return skl2onnx.to_onnx(estimator, initial_types=types, **given)
    if X is None:
        raise ValueError(f"X is None; expected data that {type(estimator).__name__} reads.")
    if lengths:
        raise ValueError("lengths=True is for networks, not for what contains them.")
    return skl2onnx.to_onnx(estimator, X, **given)


def _skl2onnx():
    try:
        import onnx  # noqa: F401
        import skl2onnx
    except ImportError as error:
        raise ImportError(
            f'to_onnx needs onnx and skl2onnx: pip install "sknn[onnx]" ({error}).'
        ) from error
    return skl2onnx


def _check_settings(target_opset, options):
    """Raise TypeError unless these are of types that skl2onnx takes."""
    if target_opset is not None and not (
        target_opset and isinstance(target_opset, (Integral, Mapping))
    ):
        raise TypeError(f"target_opset is {target_opset!r}; expected an int, a dict or None.")
    if not isinstance(options, (Mapping, NoneType)):
        raise TypeError(f"options is {options!r}; expected a dict or None.")


def _inside(estimator):
    """Return the estimator that does the predictions of a search, or of a frozen estimator."""
    inner = thawed(estimator)
    if isinstance(inner, BaseSearchCV):
        check_is_fitted(inner, "best_estimator_")
        inner = inner.best_estimator_
    return inner if inner is estimator else _inside(inner)


def _last(estimator):
    """Return the last estimator of a pipeline, or the estimator itself."""
    return _last(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def _settings(last, method, options):
    """Return the options as skl2onnx has them, by the ids of estimators."""
    own = {"zipmap": False} if is_classifier(last) else {}
    if method is not None:
        own["method"] = method
    settings = {id(last): own}
    for key, value in (options or {}).items():
        if isinstance(key, str):
            own[key] = value
        else:
            settings[key] = settings.get(key, {}) | value
    return {key: value for key, value in settings.items() if value}


def _inputs(estimator, X, known):
    """Return the input that a model has for X, and whether X is of sequences of several lengths."""
    if X is None:
        return known, False
    if isinstance(estimator, TextNet) and getattr(X, "dtype", np.dtype(object)).kind not in "fiub":
        texts = [X] if isinstance(X, str) else list(X)
        return known, len(set(map(len, texts))) > 1
    steps = known.shape[:2] == (None, None)
    arrays = listed(X) if steps else None
    if isinstance(estimator, _BaseTabularNet):
        X = _tensor_for(estimator, X)
    some = arrays[0][None] if arrays else X if hasattr(X, "dtype") else np.asarray(X)
    if some.dtype.kind not in "fiub":
        raise ValueError(f"X has dtype {some.dtype}; expected numbers.")
    if some.ndim < 2:
        raise ValueError(
            f"X has the shape {some.shape}; expected samples along its first axis: give X[None] if "
            "X is one sample."
        )
    shape = (None, None, *some.shape[2:]) if steps else (None, *some.shape[1:])
    ragged = len({len(array) for array in arrays or ()}) > 1
    return replace(known, dtype=some.dtype, shape=shape), ragged


def _tensor_for(estimator, X):
    """Return an empty array of numbers that can hold a table like X."""
    from .tables import refusal

    table = read_table(estimator, X)
    types = [table.column(i).infer_objects().dtype for i in range(table.shape[1])]
    others = [label for label, dtype in zip(table.labels, types) if dtype.kind not in "fiub"]
    if others:
        raise refusal(others)
    # of other libraries' types: their integers may be missing
    plain = [dtype if isinstance(dtype, np.dtype) else np.dtype(float) for dtype in types]
    return np.empty((0, table.shape[1]), np.result_type(*plain))
