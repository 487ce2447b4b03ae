"""Validation of an estimator's inputs."""

import copy
import re
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    validate_data,
)

from ..tape.on_demand import NUMBERS, OnDemand


def given_dtype(dtype):
    """Return the parameter `dtype` as a dtype, checked: predictions do not validate parameters."""
    if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; expected 'float32', 'float64' or None.")
    return np.dtype(dtype)


def computing_dtype(dtype, *arrays):
    """Return the floating-point type to compute in: `dtype`, or that implied by X and the weights.

    float32 is kept; every other numeric type becomes float64.
    """
    if dtype is not None:
        return given_dtype(dtype)
    return np.dtype(np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64)


def check_layer(w, b, inputs, w_name, b_name, i=0):
    """Check a dense layer's weight and bias arrays, which the user may have replaced.

    `w_name` and `b_name` may be format strings with a field for `i`, the layer's index.
    """
    if w.ndim != 2 or w.shape[0] != inputs or w.dtype.kind not in "fiu":
        raise ValueError(
            f"{w_name.format(i)} has dtype {w.dtype} and shape {w.shape}; expected "
            f"{inputs} rows of numbers."
        )
    if b.shape != w.shape[1:] or b.dtype.kind not in "fiu":
        raise ValueError(
            f"{b_name.format(i)} has dtype {b.dtype} and shape {b.shape}; expected "
            f"{w.shape[1]} numbers."
        )


def check_weights(sample_weight, X, name="sample_weight"):
    """Return sample weights as a float64 array, or None; they must not be negative or all zero."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, str):
        more = "; class_weight is a parameter of classifiers" * (sample_weight == "balanced")
        raise ValueError(f"{name} is {sample_weight!r}; expected an array of numbers{more}.")
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.any(weights):
        raise ValueError(f"{name} is zero for every sample; expected some positive weight.")
    return np.require(weights, np.float64, "CA")


def weigh_samples(class_weight, sample_weight, X, y, classes=None):
    """Return sample weights multiplied by class weights, or None.

    `classes` are all classes of a partial fit; its data may lack some that have a weight.
    """
    weights = check_weights(sample_weight, X)
    if class_weight is None:
        return weights
    _check_class_weight(class_weight, y)
    if isinstance(class_weight, dict):
        if classes is not None:
            unknown = [label for label in class_weight if label not in classes]
            if unknown:
                raise ValueError(f"The classes, {unknown}, are not in {classes}")
            present = set(np.unique(y).tolist())
            class_weight = {k: v for k, v in class_weight.items() if k in present} or None
    elif classes is not None and class_weight == "balanced":
        raise ValueError(
            "class_weight='balanced' needs all the data at once, which partial_fit never has; "
            "compute the weights and pass them as a dict."
        )
    by_class = compute_sample_weight(class_weight, y)
    return check_weights(by_class if weights is None else weights * by_class, X, "class_weight")


def _check_class_weight(class_weight, y):
    """Check weights of classes; those of several labels are a list, which is by label."""
    several = isinstance(class_weight, list)
    if several and (y.ndim == 1 or y.shape[1] == 1):
        raise ValueError(
            f"class_weight is the list {class_weight}, which is for several labels per sample; "
            "expected a dict, 'balanced' or None."
        )
    for given in class_weight if several else [class_weight]:
        weights = given.values() if isinstance(given, dict) else ()
        if not all(map(_is_weight, weights)):
            raise ValueError(
                "class_weight has negative values, NaN, infinity, or something else than numbers: "
                f"{given}; expected weights of at least 0."
            )
        if several and not (given is None or given == "balanced" or isinstance(given, dict)):
            raise ValueError(
                f"class_weight has {given!r}; expected a dict, 'balanced' or None for each label."
            )


def _is_weight(value):
    try:
        return bool(np.isfinite(value) and value >= 0)
    except (TypeError, ValueError):
        return False


def validated(estimator, *data, **checks):
    """Return X, or X and y, validated by scikit-learn, with X numeric.

    Errors about the type of X also say where the problem is and what to do. Rows that are read on
    demand are checked when they are read, except for the first.
    """
    try:
        if isinstance(data[0], OnDemand):
            return _validated_on_demand(estimator, *data, **checks)
        found = validate_data(estimator, *data, **checks)
        return (numeric(found[0]), *found[1:]) if isinstance(found, tuple) else numeric(found)
    except (TypeError, ValueError) as error:
        told, more = str(error), ""
        if "inhomogeneous" in told:
            check_even(data[0])
        elif "string" in told or "1D array" in told:
            more = text_in(data[0])
        elif "with dim" in told:
            more = "X.reshape(len(X), -1) makes each sample a row."
        if not more or type(error) not in (TypeError, ValueError):
            raise
        raise type(error)(f"{told}\n{more}") from None


def _validated_on_demand(estimator, X, *y, reset=True, **checks):
    of_y = {name: checks.pop(name) for name in ("multi_output", "y_numeric") if name in checks}
    validate_data(estimator, X[:1], "no_validation", reset=reset, **checks)
    return (X, checked_targets(estimator, X, *y, **of_y)) if y else X


def checked_targets(estimator, X, y, **checks):
    """Return y, validated by scikit-learn, for an X that is validated separately."""
    y = validate_data(estimator, "no_validation", y, **checks)
    check_consistent_length(X, y)
    return y


def check_numbers(X, **checks):
    """Return X as scikit-learn's `check_array` does; rows on demand are checked when read."""
    return X if isinstance(X, OnDemand) else check_array(X, **checks)


def check_even(items, what="rows of equal length"):
    """Raise ValueError if items of X have different shapes."""
    first = shape = None
    for i, item in enumerate(items):
        try:
            shape = np.shape(item)
        except ValueError:  # the item itself is ragged
            return
        first = shape if i == 0 else first
        if shape != first:
            raise ValueError(
                f"X[0] has shape {first} and X[{i}] has shape {shape}; expected {what}."
            ) from None


def text_in(X):
    """Return a sentence on where X has a non-numeric str and what to do, or ''."""
    if sp.issparse(X):
        return ""
    try:
        values = np.asarray(X, dtype=object)
    except ValueError:  # ragged
        return ""
    if values.ndim not in (1, 2) or not values.size:
        return ""
    found = False
    for column, some in enumerate(values.reshape(len(values), -1).T):
        for row, value in enumerate(some):
            if isinstance(value, str):
                found = True
                if not _is_number(value):
                    return _where(X, values, row, column)
    return "X has numbers as str; an array of them can be converted by X.astype(float)." * found


def _where(X, values, row, column):
    """Return a sentence on where X has text."""
    if values.ndim == 1:
        return (
            f"X[{row}] is the str {values[row]!r}; expected numbers. Convert texts with "
            "TfidfVectorizer of sklearn.feature_extraction.text; read files first."
        )
    name = f"Column {getattr(X, 'columns', range(column + 1))[column]!r} of X"
    return (
        f"{name} has the str {values[row, column]!r}. Encode such columns as numbers first, with "
        "OneHotEncoder or OrdinalEncoder of sklearn.preprocessing in a ColumnTransformer."
    )


def _is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


@contextmanager
def naming(**names):
    """Replace argument names of `fit` in errors by the names that the user passed.

    Parameters
    ----------
    **names : dict of str to str
        Names in the errors mapped to their replacements.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        told = str(error)
        known = any(re.search(rf"\b{name}\b", told) for name in names.values())
        if known or type(error) not in (TypeError, ValueError):
            raise
        first, *others = told.split("\n")  # those that follow list names of columns
        first = re.sub(rf"\b({'|'.join(names)})\b", lambda found: names[found[0]], first)
        said = "\n".join([first, *others])
        if said == told:
            said = f"{', '.join(names.values())}: {told}"
        raise type(error)(said) from None


def check_given(estimator, y):
    """Raise ValueError, as scikit-learn does, if there are no targets."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None."
        )


def numeric(X):
    """Return X as numbers: scikit-learn accepts dates and times, which become float64."""
    return X if X.dtype.kind in NUMBERS else X.astype(np.float64)


# --- sparse matrices, before anything follows their indices


def sound(X, name="X"):
    """Return X; if it is a sparse matrix, a new one on the same arrays, with checked indices.

    SciPy's conversions and our kernels trust the indices, and scikit-learn does not check them. The
    returned matrix holds the checked arrays even if X is modified later.

    Parameters
    ----------
    X : object
        Only sparse matrices are checked.
    name : str
        Name of X in error messages.
    """
    if not sp.issparse(X) or X.ndim != 2:
        return X
    own = copy.copy(X)
    if own.format in ("csr", "csc", "bsr"):
        _check_compressed(own, name)
        return own
    if own.format == "lil" and any(len(a) != len(b) for a, b in zip(own.rows, own.data)):
        _refuse(name, "rows and data have different lengths")
    own = own.tocoo()
    own.coords = tuple(map(np.asarray, own.coords))
    for places, length in zip(own.coords, own.shape):
        _check_places(places, length, name)
        if len(places) != len(own.data):
            _refuse(name, "coordinates and data have different lengths")
    return own


def _check_compressed(X, name):
    """Check the arrays of a CSR, CSC or BSR matrix."""
    data, indices, indptr = map(np.asarray, (X.data, X.indices, X.indptr))
    X.data, X.indices, X.indptr = data, indices, indptr
    blocks = X.blocksize if X.format == "bsr" else (1, 1)
    rows, columns = (n // block for n, block in zip(X.shape, blocks))
    if X.format == "csc":
        rows, columns = columns, rows
    if indptr.ndim != 1 or indptr.dtype.kind not in "iu" or len(indptr) != rows + 1:
        _refuse(name, f"indptr has shape {indptr.shape} and dtype {indptr.dtype}")
    if X.format == "bsr" and data.shape[1:] != blocks:
        _refuse(name, f"data has shape {data.shape}")
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        _refuse(name, "indptr does not start with 0, or decreases")
    if indptr[-1] > min(len(data), len(indices)):
        _refuse(name, f"indptr ends with {indptr[-1]}, beyond the data")
    _check_places(indices[: indptr[-1]], columns, name)


def _check_places(places, length, name):
    if places.ndim != 1 or places.dtype.kind not in "iu":
        _refuse(name, f"its indices have shape {places.shape} and dtype {places.dtype}")
    if len(places) and not (0 <= places.min() and places.max() < length):
        _refuse(name, f"it has indices from {places.min()} to {places.max()}, beyond its {length}")


def _refuse(name, why):
    raise ValueError(f"{name} is not a valid sparse matrix: {why}.")
