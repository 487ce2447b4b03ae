"""Compile kernels ahead of time, for a container image or before a service starts.

``python -m sknn.compile`` compiles the kernels that typical fits and predictions of all estimators
need, ``python -m sknn.compile MLPNetClassifier`` those of one estimator. It runs the estimators:
each is fitted to a few random rows in typical configurations and predicts many rows, a few, and a
single one. Kernels are specialized for each small number of units; for larger numbers, for what
these are multiples of. The fits have layers of all of these sizes.
"""

import argparse
import sys
import time
import warnings
from functools import partial
from itertools import zip_longest

import joblib
import numpy as np
import scipy.sparse as sp

import sknn

from .engine.devices import DEVICES, HOST
from .hints import hint
from .layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
)
from .tape.tape import Parameter

#: Numbers of rows: enough for blocks of the full width, and a few.
_MANY, _FEW = 40, 2
_TYPES = "float32", "float64"
#: Methods that fitted estimators may have.
_METHODS = "predict", "transform", "reconstruct"


def _pack(units, dtype):
    """Return the pack of a layer's weights."""
    return DEVICES[HOST].packing(dtype).packed(Parameter("kernel", (1, units))).pack


def _units(dtype):
    """Return numbers of units, one for each combination of tile and pack."""
    packing, found = DEVICES[HOST].packing(dtype), {}
    for units in range(1, _MANY):
        found.setdefault((packing.tile(units), _pack(units, dtype)), units)
    return list(found.values())


def _sizes(dtype):
    """Return layer sizes that together need all kernels that any sizes need.

    Kernels depend on the tile and the pack of a layer's units, and on the tile of its inputs
    together with that pack. The list has all combinations of the former, and adjacent layers for
    all combinations of the latter.
    """
    packing, units = DEVICES[HOST].packing(dtype), _units(dtype)
    tiles = {packing.tile(n): n for n in units}.values()
    packs = list({_pack(n, dtype): n for n in units}.values())
    return [*units, *(n for tile in tiles for pack in packs for n in (tile, pack))]


def _classes(dtype):
    """Return targets with different numbers of classes, by that number."""
    return {n: np.arange(_MANY) % n for n in _units(dtype) if n > 1}


def _rows(dtype, n_features=6):
    return np.random.RandomState(0).rand(_MANY, n_features).astype(dtype)


def _targets(classifies):
    """Return targets of all kinds: two classes, several, multilabel; or real numbers."""
    numbers = np.arange(_MANY)
    if classifies:
        return {
            "several classes": numbers % 3, "two classes": numbers % 2,
            "labels": np.column_stack([numbers % 2, numbers // 2 % 2]),
        }  # fmt: skip
    y = numbers / _MANY
    return {"one target": y, "several targets": np.column_stack([y, 1 - y])}


def _kinds_of_rows(X):
    """Return X in other memory layouts and dtypes."""
    whole = (8 * X).astype(np.int64)
    return {
        "columns in one piece": np.asfortranarray(X), "integers": whole,
        "bytes": whole.astype(np.uint8), "sparse rows": sp.csr_array(X),
    }  # fmt: skip


def _mlp(cls, dtype, classifies):
    X, small = _rows(dtype), {"max_iter": 1, "dtype": dtype}
    targets = _targets(classifies)
    y = next(iter(targets.values()))
    all_sizes = partial(cls, hidden_layer_sizes=_sizes(dtype), **small)
    yield "layers of all sizes", all_sizes(), X, y
    yield "small batches", all_sizes(batch_size=_FEW), X[:_FEW], y[:_FEW]
    yield "lbfgs", all_sizes(solver="lbfgs", hidden_layer_sizes=_sizes("float64")), X, y
    for kind, target in targets.items():
        for solver in "adam", "sgd", "lbfgs":
            yield f"{kind}, {solver}", cls(solver=solver, early_stopping=True, **small), X, target
    yield "lbfgs, in the type of X", cls(solver="lbfgs", max_iter=1), X, y
    for activation in "tanh", "logistic":
        yield activation, cls(activation=activation, **small), X, y
    yield "no penalty, dropout", cls(alpha=0, dropout=0.5, **small), X, y
    yield "batch_norm, average", cls(batch_norm=True, average=True, **small), X, y
    yield "plain sgd", cls(solver="sgd", momentum=0, alpha=0, **small), X, y
    for kind, other in _kinds_of_rows(X).items():
        yield kind, cls(**small), other, y


def _mlp_of_both(cls, dtype):
    for task, classifies in (("classification", True), ("regression", False)):
        for what, *fit in _mlp(partial(cls, task), dtype, classifies):
            yield f"{task}, {what}", *fit


def _perceptron(cls, dtype):
    X = _rows(dtype)
    for n_classes, y in _classes(dtype).items():
        yield f"{n_classes} classes", cls(max_iter=1, dtype=dtype), X, y
    for kind, other in _kinds_of_rows(X).items():
        yield kind, cls(max_iter=1, dtype=dtype), other, np.arange(_MANY) % 2


def _rbf(cls, dtype, classifies):
    X = _rows(dtype)
    for kind, y in _targets(classifies).items():
        for n_centers in range(10, 30):
            yield f"{kind}, {n_centers} centers", cls(n_centers, dtype=dtype), X, y
        net = cls(10, solver="adam", train_centers=True, train_widths=True, max_iter=1, dtype=dtype)
        yield f"{kind}, trained", net, X, y


def _tabular(cls, dtype, classifies):
    X, y = np.round(_rows(dtype), 1), next(iter(_targets(classifies).values()))
    make = partial(cls, max_iter=1, dtype=dtype)
    for kind, target in _targets(classifies).items():
        yield kind, make(), X, target
    if classifies:
        for n_classes, target in _classes(dtype).items():
            yield f"{n_classes} classes", make(), X, target
    yield "categories", make(categorical_features=[0, 1], max_one_hot=0), X, y
    for embedding in "piecewise_linear", None:
        yield f"embedding {embedding}", make(numeric_embedding=embedding), X, y
    yield "layers of all sizes", make(_sizes(dtype)), X, y
    small = partial(make, (64, 64))
    yield "plain", small(parametric_activation=False, input_scale=False, dropout=0), X, y
    yield "ensemble", make(n_ensemble=8), X, y
    yield "folds", small(cv=2), X, y
    if not classifies:
        yield "quantiles", small(loss="quantile", quantile=[0.1, 0.9]), X, y


def _images(dtype, channels):
    """Return images of 8 x 8 pixels."""
    return np.random.RandomState(0).rand(_MANY, 8, 8, channels).astype(dtype)


def _blocks(filters, normalized=False):
    """Return the layers of a typical small network for images."""
    layers = []
    for n in filters:
        normalization = [BatchNormalization()] if normalized else []
        convolution = Conv2D(n, 3, padding="same", use_bias=not normalized)
        layers += [convolution, *normalization, Activation("relu"), MaxPooling2D(2)]
    end = [GlobalAveragePooling2D()] if normalized else [Flatten(), Dense(64, activation="relu")]
    return [*layers, *end, Dropout(0.5)]


def _convnet(cls, dtype, classifies):
    small = {"max_iter": 1, "dtype": dtype}
    for kind, y in _targets(classifies).items():
        for channels in 1, 3:
            X = _images(dtype, channels)
            yield f"lenet5, {channels} channels, {kind}", cls(**small), X, y
    if classifies:
        for n_classes, y in _classes(dtype).items():
            yield f"{n_classes} classes", cls(**small), X, y
    for filters in (32, 64), (16, 32), (8, 16), (64, 128):
        yield f"filters {filters}", cls(_blocks(filters), **small), X, y
        yield f"filters {filters}, normalized", cls(_blocks(filters, True), **small), X, y
    yield "resnet20", cls("resnet20", **small), X, y
    yield "bytes", cls(**small), (255 * X).astype(np.uint8), y
    yield "lbfgs", cls(solver="lbfgs", **small), X, y


def _convnet_transformer(cls, dtype):
    net = sknn.ConvNetClassifier(max_iter=1, dtype=dtype)
    X = _images(dtype, 1)
    yield "lenet5", cls(net), X, np.arange(_MANY) % 3


def _cells(dtype):
    """Yield cells with numbers of units from 8 on, one for each set of kernels."""
    packing = DEVICES[HOST].packing(dtype)
    for cell, gates in (("lstm", 4), ("gru", 2), ("rnn", 1)):
        first = {}
        for units in range(8, 130):
            needed = packing.tile(units), packing.tile(gates * units), packing.units(gates * units)
            first.setdefault(needed, units)
        for units in first.values():
            yield cell, units


def _rnn(cls, dtype, classifies):
    small, random_state = {"max_iter": 1, "dtype": dtype}, np.random.RandomState(0)
    X, targets = random_state.rand(_MANY, 4, 6).astype(dtype), _targets(classifies)
    y = next(iter(targets.values()))
    for cell, size in _cells(dtype):
        yield f"{cell}, {size} units", cls(cell, size, **small), X, y
    for cell in "lstm", "gru", "rnn":
        net = cls(cell, (32, 32), bidirectional=True, **small)
        yield f"{cell}, both ways, two layers", net, X, y
    lanes = DEVICES[HOST].packing(dtype).lanes
    for n_features in range(1, 11):
        X = random_state.rand(_MANY, 4, n_features).astype(dtype)
        for size in lanes, 3 * lanes // 4:  # whose gates fill packs of two vectors or one
            yield f"{n_features} features, {size} units", cls(hidden_size=size, **small), X, y
    for kind, target in targets.items():
        yield kind, cls(**small), X, target
    if classifies:
        for n_classes, y in _classes(dtype).items():
            yield f"{n_classes} classes", cls(**small), X, y
    ragged = [x[: 1 + i % 4] for i, x in enumerate(X)]
    yield "sequences of different lengths", cls(**small), ragged, y


def _autoencoder(cls, dtype):
    X, small = _rows(dtype), {"max_iter": 1, "dtype": dtype}
    yield "layers of all sizes", cls(_sizes(dtype), **small), X
    yield "lbfgs", cls(_sizes("float64"), solver="lbfgs", **small), X
    for more in {"tied_weights": True}, {"noise": 0.1}, {"loss": "log_loss"}, {"activity_l1": 1}:
        yield next(iter(more)), cls(**more, **small), X


def _detector(cls, dtype):
    yield "defaults", cls(sknn.AutoencoderTransformer(max_iter=1, dtype=dtype)), _rows(dtype)


def _conv_autoencoder(cls, dtype):
    for channels in 1, 3:
        X = _images(dtype, channels)
        for loss in "squared_error", "log_loss":
            yield f"{channels} channels, {loss}", cls(loss=loss, max_iter=1, dtype=dtype), X


def _variational(cls, dtype):
    X = _rows(dtype)
    for n_components in 2, 3, 8, 10, 20:
        for loss in "squared_error", "log_loss":
            net = cls(n_components, loss=loss, max_iter=1, dtype=dtype)
            yield f"{n_components} components, {loss}", net, X


def _sequence_autoencoder(cls, dtype):
    X = np.random.RandomState(0).rand(_MANY, 4, 6).astype(dtype)
    for cell, size in _cells(dtype):
        yield f"{cell}, {size} units", cls(size, cell, max_iter=1, dtype=dtype), X


_TEXTS = ["to be or not to be", "that is the question"] * (_MANY // 2)


def _char_rnn(cls, dtype):
    for cell, size in _cells(dtype):
        net = cls(cell, size, seq_len=5, max_iter=1, dtype=dtype)
        yield f"{cell}, {size} units", net, _TEXTS
    yield "embedded", cls(embedding=16, dropout=0.1, seq_len=5, max_iter=1, dtype=dtype), _TEXTS


def _seq2seq(cls, dtype):
    for cell, size in _cells(dtype):
        net = cls(cell, size, max_iter=1, dtype=dtype, max_length=3)
        yield f"{cell}, {size} units", net, _TEXTS, [text[::-1] for text in _TEXTS]


def _markov(cls, dtype):
    return ()


#: By estimator, a function that yields its typical fits for a dtype: label, estimator, data.
USUAL = {
    "AutoencoderTransformer": _autoencoder,
    "CharMarkovChain": _markov,
    "CharRNN": _char_rnn,
    "ConvAutoencoderTransformer": _conv_autoencoder,
    "ConvNetClassifier": lambda cls, dtype: _convnet(cls, dtype, True),
    "ConvNetRegressor": lambda cls, dtype: _convnet(cls, dtype, False),
    "ConvNetTransformer": _convnet_transformer,
    "MLPNet": _mlp_of_both,
    "MLPNetClassifier": lambda cls, dtype: _mlp(cls, dtype, True),
    "MLPNetRegressor": lambda cls, dtype: _mlp(cls, dtype, False),
    "PerceptronClassifier": _perceptron,
    "RBFNetClassifier": lambda cls, dtype: _rbf(cls, dtype, True),
    "RBFNetRegressor": lambda cls, dtype: _rbf(cls, dtype, False),
    "ReconstructionOutlierDetector": _detector,
    "RNNClassifier": lambda cls, dtype: _rnn(cls, dtype, True),
    "RNNRegressor": lambda cls, dtype: _rnn(cls, dtype, False),
    "Seq2SeqRNN": _seq2seq,
    "SequenceAutoencoderTransformer": _sequence_autoencoder,
    "TabularNetClassifier": lambda cls, dtype: _tabular(cls, dtype, True),
    "TabularNetRegressor": lambda cls, dtype: _tabular(cls, dtype, False),
    "VariationalAutoencoderTransformer": _variational,
}


def usual_fits(name, dtype):
    """Return the typical fits of an estimator: label, estimator, and data."""
    return list(USUAL[name](getattr(sknn, name), dtype))


def use(net, X, *y):
    """Fit an estimator, and call its methods with many rows, a few, and one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(X, *y)
        for part in X, X[:_FEW], X[:1]:
            for method in _METHODS:
                if hasattr(net, method):
                    getattr(net, method)(part)
            if hasattr(net, "inverse_transform"):
                net.inverse_transform(net.transform(part))
        if hasattr(net, "sample"):
            net.sample(3)


def _tried(what, *fit):
    """Run a fit; return its label, number of compiled kernels, seconds, and error."""
    start, before, error = time.perf_counter(), DEVICES[HOST].count_compiled(), None
    try:
        use(*fit)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    compiled = DEVICES[HOST].count_compiled() - before
    return what, compiled, time.perf_counter() - start, error


def _estimator(name):
    if name in USUAL:
        return name
    near = hint(name, USUAL) or f" There are {', '.join(USUAL)}."
    raise argparse.ArgumentTypeError(f"there is no estimator {name!r}.{near}")


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer.")
    return int(text)


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m sknn.compile",
        description="Compile the kernels that typical fits and predictions of estimators need, for "
        "the processor of this machine. They are stored in the folder 'sknn' of NUMBA_CACHE_DIR "
        "if that is set, else in the user's cache directory.",
    )
    parser.add_argument(
        "estimators", nargs="*", type=_estimator, metavar="estimator",
        help="names of estimators (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=_TYPES, action="append",
        help="floating-point type of the computation (default: both)",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=_count, default=joblib.cpu_count(), metavar="N",
        help="number of processes (default: the number of cores)",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="only list the typical fits")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Compile ahead of time; return the exit status."""
    options, start = _options(arguments), time.perf_counter()
    names, types = options.estimators or list(USUAL), options.dtype or _TYPES
    fits = [
        (f"{name}, {dtype}: {what}", *data)
        for dtype in types
        for name in names
        for what, *data in usual_fits(name, dtype)
    ]
    if options.list:
        print(*(what for what, *_ in fits), sep="\n")
        return 0
    folder = DEVICES[HOST].kernels_folder()
    if folder is None:
        print("There is no writable folder to store kernels in.", file=sys.stderr)
        return 1
    print(f"Compiling for {', '.join(names)} ({', '.join(types)}) to {folder}", flush=True)
    # neighbors run at the same time and should share few kernels: half a list apart
    half = -(-len(fits) // 2)
    order = [fit for pair in zip_longest(fits[:half], fits[half:]) for fit in pair if fit]
    run = joblib.Parallel(options.jobs, return_as="generator_unordered", batch_size=1)
    total = failed = 0
    for what, compiled, seconds, error in run(joblib.delayed(_tried)(*fit) for fit in order):
        total += compiled
        if error is not None:
            failed += 1
            print(f"{what}: {error}", file=sys.stderr, flush=True)
        elif compiled:
            print(f"{what}: {compiled} kernels, {seconds:.1f} s", flush=True)
    print(f"Compiled {total} kernels in {time.perf_counter() - start:.0f} s.")
    if failed:
        print(f"{failed} of {len(fits)} fits failed.", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
