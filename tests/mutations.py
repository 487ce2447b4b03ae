"""Damage a saved model in every way, and load it: in a process of its own, which may crash.

``python mutations.py <folder> <number>`` does so with all files in a folder, most often with the
first one, and prints how many of the damaged ones were loaded. A damaged file must raise
ValueError. Where its checksum has been made to fit the damage, it may also be loaded; then the
model must predict, and go on training, or raise ValueError or TypeError.
"""

import copy
import faulthandler
import json
import random
import resource
import signal
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

import sknn
from sknn.estimator.base import Estimator
from sknn.files import codec, states

#: What a value in the JSON tree may become.
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 100, 2**31 - 1, 2**31, 2**63, 10**30, 0.5, -2.0, 1e300, "",
    "x", "relu", "softmax", "sgd", [], {}, [1, 2], {"type": "float", "value": "nan"},
    {"type": "tuple", "items": [2, 2]},
]  # fmt: skip
DTYPES = "float32", "float64", "float16", "int64", "uint32", "bool"
#: Memory that loading may take: bytes, and bytes for each byte of the file.
SLACK, FACTOR = 200_000, 30


def damaged(data, rng):
    """Return a file's bytes with something changed, cut off, inserted or swapped."""
    data, kind = bytearray(data), rng.randrange(6)
    place = rng.randrange(len(data))
    if kind == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place:place] = rng.randbytes(rng.choice([1, 8, 100]))
    elif kind == 3:
        del data[place : place + rng.choice([1, 8, 100])]
    elif kind == 4:
        other, n = rng.randrange(len(data)), rng.choice([1, 8, 32])
        first, second = data[place : place + n], data[other : other + n]
        n = min(len(first), len(second))
        data[place : place + n], data[other : other + n] = second[:n], first[:n]
    else:  # one digit of the header
        digits = [i for i in range(8, len(data)) if chr(data[i]).isdigit()]
        data[rng.choice(digits)] = ord(rng.choice("0123456789-eE[{"))
    return bytes(data)


def sealed(data):
    """Return a file's bytes with a header and a checksum that fit them, if they have one."""
    size = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + size]
    if not states._CHECKSUM.search(text):
        return data
    start = data[:8] + text
    begin, end = states._CHECKSUM.search(start).span(1)
    content = data[8 + size :]
    return start[:begin] + states._checksum(start, [content]) + start[end:] + content


def nodes(tree):
    """Return all places in a JSON tree, as pairs of a container and a key."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    found = []
    for key in keys if isinstance(tree, (dict, list)) else ():
        found.append((tree, key))
        if isinstance(tree[key], (dict, list)):
            found += nodes(tree[key])
    return found


def mutated(tree, tensors, rng):
    """Return the tree and the arrays of an object with something changed."""
    tree, tensors = copy.deepcopy(tree), dict(tensors)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = nodes(tree)
        (some, key), (other, place) = rng.choice(places), rng.choice(places)
        kind, value = rng.randrange(8), some[key]
        if kind <= 2:
            some[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == 3:
            some[key] = copy.deepcopy(other[place])
        elif kind == 4:
            del some[key]
        elif kind == 5 and isinstance(some, list):
            some.insert(key, copy.deepcopy(value))
        elif type(value) in (int, float):
            some[key] = rng.choice([value + 1, value - 1, 2 * value, -value])
        elif tensors:
            name = rng.choice(sorted(tensors))
            tensors[name] = mutated_array(tensors[name], rng)
    return tree, tensors


def mutated_array(array, rng):
    """Return an array of another shape, type or content."""
    kind = rng.randrange(7)
    if kind == 0:
        return array.reshape(-1)
    if kind == 1:
        return array[:-1] if array.ndim else array.reshape(1)
    if kind == 2:
        return np.concatenate([array, array]) if array.ndim else array
    if kind == 3:
        return array.astype(rng.choice(DTYPES))
    if kind == 4:
        return np.full_like(array, rng.choice([0, 1, 100]))
    return np.ascontiguousarray(array.T) if kind == 5 else np.zeros((0, 10**9), array.dtype)


def use(model):
    """Use a model in all ways; it may say that it cannot."""
    from test_pickles import data_for, outputs

    def train():
        model.max_iter, model.verbose = 2, False
        model.partial_fit(*data_for(model))

    ways = [lambda: outputs(model), lambda: repr(model), lambda: model.get_params(), train]
    for way in ways:
        try:
            way()
        except (ValueError, TypeError):
            continue
        except AttributeError:  # a method that this kind, or this solver, does not have
            if way is not train or hasattr(model, "partial_fit"):
                raise


def damage(path, number, counts):
    """Load a file, damaged in so many ways; count those that were tried, and those that loaded."""
    data, rng = Path(path).read_bytes(), random.Random(path.name)
    tree, tensors = codec.encode(states.unpack(data, "model"))
    for i in range(number):
        how = ("damaged", "damaged", "sealed", "mutated")[i % 4]
        other = data
        while other == data:
            if how == "mutated":
                other = b"".join(states.packed(*mutated(tree, tensors, rng), "model"))
            else:
                other = damaged(data, rng)
                other = sealed(other) if how == "sealed" else other
        model = loaded(other, watched=i % 100 < 4)
        counts[how][0] += 1
        if isinstance(model, Estimator):
            assert how != "damaged", (path, i)
            counts[how][1] += 1
            if counts[how][1] % 4 == 0:
                use(model)


def loaded(data, watched):
    """Return what a file's bytes hold, or None if they are invalid; watch the memory it takes."""
    if watched:
        tracemalloc.start()
    try:
        return states.unpack(data, "model")
    except ValueError:
        return None
    finally:
        if watched:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < SLACK + FACTOR * len(data), (peak, len(data))


def main(folder, number):
    faulthandler.enable()
    assert sknn.load  # imports all that a file may have
    signal.alarm(200)  # nothing may hang
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30,) * 2)
    first, *others = sorted(Path(folder).iterdir())
    counts = {how: [0, 0] for how in ("damaged", "sealed", "mutated")}
    each = number // (4 * len(others)) if others else 0
    damage(first, number - each * len(others), counts)
    for path in others:
        damage(path, each, counts)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
