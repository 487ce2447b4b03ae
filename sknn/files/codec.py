"""Objects as plain data, without pickle: a tree for JSON, and arrays by name.

``encode(obj)`` returns ``(tree, tensors)``: what :func:`json.dumps` takes, and a dict of numeric
arrays. ``decode(tree, tensors)`` makes an equal object; what has been decoded was made by the
constructors and functions registered here, and by nothing else, so that a file from a stranger
runs no code. :mod:`~sknn.files.states` keeps the two in one file.

Stored are None, bool, int, float, str, list, tuple, dict with any keys, paths, NumPy's numbers,
dtypes, and arrays of numbers, bools, str, times or objects, CSR matrices, RandomState, and the
classes that :func:`storable` registers: each room its own. In the tree, a JSON object with a
``"type"`` is one of these, with its state beside; one without is a dict.

What a registered function gets may be anything that can be written in a file: it checks it, and
raises ValueError or TypeError.
"""

import math
import pathlib
import re
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp

#: The types of arrays, by their names in files.
DTYPES = {
    "BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8",
    "U16": "uint16", "U32": "uint32", "U64": "uint64", "F16": "float16", "F32": "float32",
    "F64": "float64",
}  # fmt: skip
_NUMERIC = frozenset(DTYPES.values())
_TIMES = re.compile(r"(datetime|timedelta)64(\[\w+\])?")
#: How each registered class is taken apart, and by name, how it is made.
_STATES, _MAKERS = {}, {}
#: The most keys of a dict with others than str: a file could have many of the same hash, to hang.
_MOST_KEYS = 2**15
#: The JSON objects' key for the name of a type.
_TYPE = "type"


def storable(cls, state, make=None, name=None):
    """Register a class whose instances are stored; return the class.

    Parameters
    ----------
    cls : type
        Its own instances only, not those of subclasses.
    state : callable
        ``state(obj)`` returns a dict, by str, of what is stored.
    make : callable, default=None
        ``make(**state)`` returns an equal object, or raises ValueError or TypeError; None: `cls`.
    name : str, default=None
        Its name in files; None: that of the class.
    """
    name = name or cls.__name__
    own = {str(known) for known, (of, _) in _STATES.items() if of == name}
    if name in _MAKERS and str(cls) not in own:  # else its module is reloaded
        raise ValueError(f"Two types are named {name!r}; expected different names.")
    _STATES[cls], _MAKERS[name] = (name, state), make or cls
    return cls


def is_storable(cls):
    """Return whether a class is registered."""
    return cls in _STATES


def encode(obj):
    """Return an object as a tree and a dict of arrays.

    Raises
    ------
    TypeError, ValueError
        If a part of it cannot be stored; the message names the part.
    """
    tensors = {}
    try:
        return _Encoder(tensors).encode(obj, ""), tensors
    except RecursionError:
        raise ValueError("It is nested too deeply to be stored.") from None


def decode(tree, tensors):
    """Return the object of a tree and a dict of arrays; each of them is taken once.

    Raises
    ------
    ValueError
        If they do not describe an object.
    """
    decoder = _Decoder(tensors)
    try:
        obj = decoder.decode(tree)
    except Exception as error:  # it may be anything, so anything may be wrong with it
        raise ValueError(f"{type(error).__name__}: {error}"[:1000]) from error
    if decoder.left:
        raise ValueError(f"Nothing takes the array {min(decoder.left)!r}.")
    return obj


class _Encoder:
    def __init__(self, tensors):
        self._tensors = tensors

    def encode(self, obj, path):
        """Return an object's tree; `path` says where it is."""
        if obj is None or type(obj) in (bool, int):
            return obj
        if type(obj) is float:
            return obj if math.isfinite(obj) else _typed("float", value=repr(obj))
        if type(obj) is str:
            return obj if _is_text(obj) else _typed("str", points=list(map(ord, obj)))
        if isinstance(obj, np.ndarray):
            return self._array(obj, path)
        if isinstance(obj, np.generic):
            return self._scalar(obj, path)
        if isinstance(obj, np.dtype) and obj.name in _NUMERIC:
            return _typed("dtype", name=obj.name)
        if type(obj) in _STATES:
            name, state = _STATES[type(obj)]
            return _typed(name) | self._by_name(state(obj), path)
        if type(obj) is dict:
            if all(type(key) is str and _is_text(key) for key in obj) and _TYPE not in obj:
                return self._by_name(obj, path)
            pairs = [list(pair) for pair in obj.items()]
            return _typed("dict", items=self.encode(pairs, path))
        if type(obj) is list:
            return [self.encode(one, f"{path}[{i}]") for i, one in enumerate(obj)]
        if type(obj) is tuple:
            return _typed("tuple", items=self.encode(list(obj), path))
        raise TypeError(_refusal(obj, path))

    def _by_name(self, state, path):
        start = f"{path}." if path else ""
        return {name: self.encode(value, f"{start}{name}") for name, value in state.items()}

    def _array(self, array, path):
        if array.dtype.kind == "O":
            items = self.encode(array.ravel().tolist(), path)
            return _typed("objects", shape=list(array.shape), items=items)
        if array.dtype.kind == "U":  # as its code points
            chars = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
            points = np.frombuffer(chars.tobytes(), np.uint32)
            points = points.reshape(*array.shape, chars.itemsize // 4)
            return _typed("strings", points=self._array(points, path))
        if array.dtype.kind in "mM":
            numbers = array.astype(array.dtype.newbyteorder("=")).view(np.int64)
            return _typed("times", dtype=array.dtype.name, numbers=self._array(numbers, path))
        if array.dtype.name not in _NUMERIC or type(array) not in (np.ndarray, np.memmap):
            raise TypeError(_refusal(array, path))
        columns = array.flags.f_contiguous and not array.flags.c_contiguous
        array = np.asarray(array.T if columns else array, array.dtype.newbyteorder("<"), order="C")
        name = path or "array"
        while name in self._tensors or name.startswith("__"):
            name = f"'{name}"
        self._tensors[name] = array
        return _typed("array", tensor=name, **({"order": "F"} if columns else {}))

    def _scalar(self, number, path):
        kind = "str" if isinstance(number, np.str_) else number.dtype.name
        if kind != "str" and kind not in _NUMERIC:
            raise TypeError(_refusal(number, path))
        return _typed("scalar", dtype=kind, value=self.encode(number.item(), path))


class _Decoder:
    def __init__(self, tensors):
        self.left = dict(tensors)

    def decode(self, tree):
        """Return the object of a tree."""
        if isinstance(tree, list):
            return [self.decode(one) for one in tree]
        if not isinstance(tree, dict):
            return tree
        state = {name: self.decode(value) for name, value in tree.items() if name != _TYPE}
        if _TYPE not in tree:
            return state
        name = tree[_TYPE]
        if name == "array":
            return self._array(**state)
        if name not in _MAKERS:
            raise ValueError(f"There is no type {name!r}.")
        return _MAKERS[name](**state)

    def _array(self, tensor, order="C"):
        array = np.array(self.left.pop(tensor), order="C")  # a copy, which is its own
        if order not in ("C", "F"):
            raise ValueError(f"order is {order!r}; expected 'C' or 'F'.")
        return array.T if order == "F" else array


def _typed(name, /, **state):
    return {_TYPE: name, **state}


def _is_text(text):
    """Return whether a str has no lone surrogates, which JSON would join to characters."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _refusal(obj, path):
    """Return why an object is not stored, and what to do."""
    what = f"{path or 'It'} is of the type {type(obj).__name__}"
    if isinstance(obj, np.ndarray):
        what = f"{path or 'It'} is an array of the dtype {obj.dtype}"
    if callable(obj) and not isinstance(obj, type):
        more = "Functions are not stored: give a name instead, such as that of a scorer."
    elif hasattr(obj, "get_params"):
        more = "Estimators and layers of sknn are stored, others by skops."
    else:
        more = "Expected numbers, str, lists, tuples, dicts, arrays, or layers of sknn."
    return f"{what}, which is not stored, as loading must run no code. {more}"


# --- what is built in


#: Types of numbers, which NumPy's are of, too.
_NUMBERS = {int: Integral, float: Real}


def check_types(name, values):
    """Raise TypeError if a value is not of a type; `values` are pairs of the two, by name."""
    for key, (value, kind) in values.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        good = isinstance(value, tuple(_NUMBERS.get(one, one) for one in kinds))
        if not good or isinstance(value, bool) and bool not in kinds:
            raise TypeError(f"{key} of {name} is {value!r:.200}; expected another type.")


#: The largest count in a file, so that no sum of some overflows.
_MOST = 2**53


def check_counts(name, **values):
    """Raise TypeError or ValueError if values are no counts."""
    check_types(name, {key: (value, int) for key, value in values.items()})
    for key, value in values.items():
        if not 0 <= value <= _MOST:
            raise ValueError(f"{key} of {name} is {value!s:.100}; expected a count.")


def _float(value):
    if value not in ("nan", "inf", "-inf"):
        raise ValueError(f"A float is {value!r}; expected 'nan', 'inf' or '-inf'.")
    return float(value)


def _dict(items):
    if len(items) > _MOST_KEYS:
        raise ValueError(f"A dict has {len(items)} keys; expected at most {_MOST_KEYS}.")
    return {key: value for key, value in items}


def _scalar(dtype, value):
    if dtype == "str":
        return np.str_(value) if type(value) is str else _float(value)
    if dtype not in _NUMERIC or type(value) not in (bool, int, float):
        raise ValueError(f"A number is {value!r:.200}, of the dtype {dtype!r:.200}.")
    return np.dtype(dtype).type(value)


def _dtype(name):
    if name not in _NUMERIC:
        raise ValueError(f"dtype is {name!r}; expected one of {sorted(_NUMERIC)}.")
    return np.dtype(name)


def _objects(shape, items):
    check_types("an array", {"shape": (shape, list), "items": (items, list)})
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def _strings(points):
    if points.dtype != np.uint32 or not points.ndim or points.max(initial=0) > 0x10FFFF:
        raise ValueError("An array of str has something else than code points.")
    width = points.shape[-1]
    if not width:
        raise ValueError("An array of str has no characters; expected room for at least one.")
    return np.ascontiguousarray(points).view(f"U{width}").reshape(points.shape[:-1])


def _times(dtype, numbers):
    if not _TIMES.fullmatch(dtype) or numbers.dtype != np.int64:
        raise ValueError(f"An array of times has the dtype {dtype!r:.100}.")
    return numbers.view(dtype)


def _csr(kind):
    def make(data, indices, indptr, shape):
        arrays = {"data": data, "indices": indices, "indptr": indptr}
        check_types(kind.__name__, {name: (a, np.ndarray) for name, a in arrays.items()})
        made = kind((data, indices, indptr), shape=shape)
        made.check_format(full_check=True)
        return made

    return make


def _csr_state(matrix):
    return {name: getattr(matrix, name) for name in ("data", "indices", "indptr", "shape")}


#: Number of words of the Mersenne twister's state.
_WORDS = 624


def _random_state(key, pos, has_gauss, gauss):
    check_types(
        "RandomState",
        {"key": (key, np.ndarray), "pos": (pos, int), "has_gauss": (has_gauss, int)},
    )
    good = key.dtype == np.uint32 and key.shape == (_WORDS,) and key.any()
    if not good or not 0 <= pos <= _WORDS or has_gauss not in (0, 1) or type(gauss) is not float:
        raise ValueError("A RandomState has no valid state.")
    made = np.random.RandomState(0)
    made.set_state(("MT19937", key, pos, has_gauss, gauss))
    return made


def _random_state_state(random_state):
    state = random_state.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise TypeError(f"random_state uses {state['bit_generator']}; expected MT19937.")
    return state["state"] | {"has_gauss": state["has_gauss"], "gauss": state["gauss"]}


for _name, _maker in {
    "float": _float,
    "str": lambda points: "".join(map(chr, points)),
    "tuple": lambda items: tuple(items),
    "dict": _dict,
    "scalar": _scalar,
    "dtype": _dtype,
    "objects": _objects,
    "strings": _strings,
    "times": _times,
}.items():
    _MAKERS[_name] = _maker
storable(
    type(pathlib.Path()), lambda path: {"path": str(path)}, lambda path: pathlib.Path(path), "path"
)
for _kind in (sp.csr_array, sp.csr_matrix):
    storable(_kind, _csr_state, _csr(_kind))
storable(np.random.RandomState, _random_state_state, _random_state)
