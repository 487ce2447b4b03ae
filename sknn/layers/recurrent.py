"""Recurrent layers and embeddings.

A recurrent layer puts two operations on the tape: the product of the inputs and the kernel, for all
time steps at once, and the recurrence over time. The gradients of its recurrent weights are those
of a convolution along time, of the states before each step and the gradients that the backward
operation leaves.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial

import numpy as np

from ..tape.tape import Parameter
from .base import Layer, learns, output_shape, sequence, tokens
from .checks import choice, fail
from .dense import add_dense
from .initializers import INITIALIZERS
from .merging import Concatenate
from .weighted import add_bias_gradient, add_gradient_over_time, matrix, transpose


def add_lookup(tape, x, steps, inputs, units, w, b, training):
    """Put z = the token's row of w, plus b, on a tape; return what :func:`add_dense` does."""
    if training and w.trainable:
        tape.keep(x)
    z = tape.buffer("z", steps * units)
    reads = (x, w) if b is None else (x, w, b)
    name, numbers = "lookup_unbiased" if b is None else "lookup", (steps, inputs, units)
    tape.add(name, reads, (z,), numbers, (w.pack,))

    def backward(dz, needed, packed=None):
        if w.trainable:
            packed = packed or transpose(tape, dz, steps, units, units, w.pack)
            tape.gradient(w, "lookup_gradient", (x, packed), numbers, (w.pack,), steps)
            if b is not None:
                add_bias_gradient(tape, b, dz, steps, units, packed)
        return None  # token ids have no gradient

    return z, backward


def add_copy(tape, source, target):
    """Put the copying of one buffer to another on a tape."""
    tape.add("insert_channels", (source,), (target,), (1, source.rows, source.rows, 0))


@dataclass(frozen=True, repr=False)
class Embedding(Layer):
    """An embedding: maps each token of a sequence of token ids to a vector.

    Parameters
    ----------
    n_tokens : int
        Size of the vocabulary: token ids are integers in [0, n_tokens).
    units : int
        Dimension of the vectors.
    vectors : array-like of shape (n_tokens, units) or None, default=None
        Initial vectors, such as pre-trained ones; None: drawn by `kernel_initializer`.
    kernel_initializer : str or None, default=None
        Initializer of the vectors, if `vectors` is None; None: uniform in [-0.05, 0.05].
    kernel_l1, kernel_l2 : float or None, default=None
        L1 and L2 penalties on the vectors, instead of the estimator's `l1` and `alpha`.
    trainable : bool, default=True
        Whether to train the vectors; False freezes them.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    n_tokens: int
    units: int
    _: KW_ONLY
    vectors: object = field(default=None, compare=False)
    kernel_initializer: str | None = None
    kernel_l1: float | None = None
    kernel_l2: float | None = None
    trainable: bool = True
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.vectors is not None:
            vectors = np.array(self.vectors, dtype=np.float64)
            if vectors.shape != (self.n_tokens, self.units):
                raise ValueError(
                    f"vectors of Embedding has the shape {vectors.shape}; expected "
                    f"({self.n_tokens}, {self.units})."
                )
            if not np.isfinite(vectors).all():
                raise ValueError("vectors of Embedding has NaN or infinity; expected numbers.")
            vectors.flags.writeable = False
            object.__setattr__(self, "vectors", vectors)

    reads_tokens = True

    def output_shape(self, shape):
        return tokens(self, shape), self.units

    def parameters(self, shape):
        return (matrix(self, "kernel", (self.n_tokens, self.units)),)

    def draw(self, shape, random_state, initializer, last=False):
        if self.vectors is not None:
            return [self.vectors]
        name = self.kernel_initializer or "uniform"
        sizes = (self.n_tokens, self.units)
        return [INITIALIZERS[name](random_state, sizes, *sizes)]

    def forward(self, tape, x, shape, parameters, training):
        w = next(parameters)
        return add_lookup(tape, x, shape[0], self.n_tokens, self.units, w, None, training)


@dataclass(frozen=True, repr=False)
class Recurrent(Layer):
    """Base class of the recurrent layers.

    A subclass defines the number of gates, the names of its states, its matrices other than the
    kernel of the inputs, and its operations.
    """

    units: int
    _: KW_ONLY
    return_sequences: bool = False
    truncate: int | None = None
    n_tokens: int | None = None
    reverse: bool = False
    use_bias: bool = True
    kernel_initializer: str | None = None
    kernel_l1: float | None = None
    kernel_l2: float | None = None
    trainable: bool = True
    name: str | None = None

    for_members = False
    _gates, _states = 1, ("h",)

    @property
    def reads_tokens(self):
        return self.n_tokens is not None

    @property
    def state_size(self):
        """Number of elements of the state that it carries from one batch to the next."""
        return self.units * len(self._states)

    def _split(self, shape):
        """Return time steps and inputs; tokens have as many inputs as their one-hot vectors."""
        if self.n_tokens is not None:
            return tokens(self, shape), self.n_tokens
        return sequence(self, shape)

    def output_shape(self, shape):
        steps, _ = self._split(shape)
        return (steps, self.units) if self.return_sequences else (self.units,)

    def operations(self, shape):
        steps, inputs = self._split(shape)
        looked_up = self.n_tokens is not None
        recurrent = sum(rows * units for _, rows, units in self._matrices())
        return steps * (recurrent + (0 if looked_up else inputs * self._gates * self.units))

    def _matrices(self):
        """Return name, inputs and outputs of the matrices that the states are multiplied by."""
        return (("recurrent_kernel", self.units, self._gates * self.units),)

    def _biases(self):
        return (("bias", self._gates * self.units),) if self.use_bias else ()

    def parameters(self, shape):
        matrices = [("kernel", self._split(shape)[1], self._gates * self.units), *self._matrices()]
        return (
            *(matrix(self, name, tuple(sizes)) for name, *sizes in matrices),
            *(Parameter(name, (n,), trainable=self.trainable) for name, n in self._biases()),
        )

    def draw(self, shape, random_state, initializer, last=False):
        name, values = self.kernel_initializer or initializer, []
        bound = 1.0 / np.sqrt(self.units)
        for p in self.parameters(shape):
            if len(p.shape) == 1:
                values.append(np.zeros(p.shape))
            elif name == "auto":
                values.append(random_state.uniform(-bound, bound, p.shape))
            else:
                values.append(INITIALIZERS[name](random_state, p.shape, p.shape[0], self.units))
        return values

    def forward(self, tape, x, shape, parameters, training):
        outputs, final, back = self.run(tape, x, shape, parameters, training)

        def backward(dy, needed):
            if self.return_sequences:
                return back(dy, None, needed)[0]
            return back(None, (dy,), needed)[0]

        return (outputs if self.return_sequences else final[0]), backward

    def run(self, tape, x, shape, parameters, training, initial=None):
        """Put the layer on a tape, optionally with given initial states.

        Returns
        -------
        outputs : Buffer
            The hidden state after each step.
        final : tuple of Buffer
            The states after the last step.
        backward : callable
            ``backward(dy, dfinal, needed)`` returns the gradients of x and of the initial states,
            given the gradients of the outputs and of the final states (None: there are none).
        """
        steps, inputs = self._split(shape)
        own = [next(parameters) for _ in self.parameters(shape)]
        kernel, matrices = own[0], own[1 : 1 + len(self._matrices())]
        biases = own[1 + len(matrices) :]
        add = partial(add_dense, over_time=True) if self.n_tokens is None else add_lookup
        bias, units = biases[0] if self.use_bias else None, self._gates * self.units
        z, inputs_back = add(tape, x, steps, inputs, units, kernel, bias, training)
        states = [tape.buffer(name, (steps + 1) * self.units) for name in self._states]
        first, last = (steps, 0) if self.reverse else (0, steps)
        self._begin(tape, [tape.view(s, first * self.units, self.units) for s in states], initial)
        lengths = tape.lengths(steps)
        gradients = self._add_cell(tape, z, matrices, biases, states, lengths, steps)
        final = [tape.view(s, last * self.units, self.units) for s in states]
        rows = steps * self.units
        outputs = tape.view(states[0], 0 if self.reverse else self.units, rows)
        before = tape.view(states[0], self.units if self.reverse else 0, rows)
        if tape.carries:
            offset = tape.state_size - self.state_size
            for i, state in enumerate(final):
                tape.add("save_state", (state,), (), (self.units, offset + i * self.units))
        if training:
            for buffer in (*states, *final, outputs, before, z):
                tape.keep(buffer)

        def backward(dy, dfinal, needed):
            carried = self._gradients_of_states(tape, dfinal)
            dz, packed = gradients(dy, carried, before)
            return inputs_back(dz, needed, packed), carried

        return outputs, tuple(final), backward

    def _begin(self, tape, slots, initial):
        """Put the initial states on a tape: given ones, those of the batch before, or zeros."""
        if tape.carries:
            tape.state_size += self.state_size
        for i, slot in enumerate(slots):
            if initial is not None:
                add_copy(tape, initial[i], slot)
            elif tape.carries:
                offset = tape.state_size - self.state_size + i * self.units
                tape.add("load_state", (), (slot,), (self.units, offset))
            else:
                tape.add("fill", (), (slot,), (self.units * tape.width, 0.0))

    def _gradients_of_states(self, tape, dfinal):
        """Return buffers of the gradients of the states, to be propagated back through time."""
        carried = []
        for i, name in enumerate(self._states):
            given = dfinal[i] if dfinal is not None and i < len(dfinal) else None
            if given is not None and tape.in_place(given, "d" + name) is given:
                carried.append(given)
                continue
            carried.append(tape.buffer("d" + name, self.units))
            if given is None:
                tape.add("fill", (), (carried[-1],), (self.units * tape.width, 0.0))
            else:
                add_copy(tape, given, carried[-1])
        return carried


@dataclass(frozen=True, repr=False)
class SimpleRNN(Recurrent):
    """A simple (Elman) recurrent layer: h' = f(x W + h U + b).

    Its parameters are W, `kernel`, of shape (inputs, units), U, `recurrent_kernel`, of shape
    (units, units), and b, `bias`, of shape (units,).

    Parameters
    ----------
    units : int
        Number of units: the dimension of the hidden state h.
    return_sequences : bool, default=False
        Whether to return the hidden state after each time step, instead of only the last one. The
        last one is the state after a sequence's own last step, where sequences have different
        lengths.
    truncate : int or None, default=None
        Truncated backpropagation through time: sequences are split into parts of this many time
        steps, which gradients do not leave; None: no truncation.
    n_tokens : int or None, default=None
        Size of the vocabulary, if the input is token ids in [0, n_tokens), each of which stands for
        its one-hot vector; None: the input is vectors.
    reverse : bool, default=False
        Whether to process sequences from end to start.
    use_bias : bool, default=True
        Whether to add the bias b.
    kernel_initializer : str or None, default=None
        Initializer of the matrices; None: the estimator's `initializer`, where 'auto' means uniform
        in [-1 / sqrt(units), 1 / sqrt(units)].
    kernel_l1, kernel_l2 : float or None, default=None
        L1 and L2 penalties on the matrices, instead of the estimator's `l1` and `alpha`.
    trainable : bool, default=True
        Whether to train the layer; False freezes it.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    activation : {'tanh', 'relu', 'logistic'}, default='tanh'
        The activation function f.
    """

    _: KW_ONLY
    activation: str = choice("tanh", "relu", "logistic")

    def _add_cell(self, tape, z, matrices, biases, states, lengths, steps):
        (w,), (h,), numbers = matrices, states, (steps, self.units, self.reverse)
        variant = (self.activation, tape.packing.tile(self.units), w.pack)
        tape.add("simple_rnn", (z, w, h, lengths), (h,), numbers, variant)

        def backward(dy, carried, before):
            (dh,) = carried
            dz = tape.buffer("dz", z.rows)
            variant = (self.activation, dy is not None, tape.packing.tile(self.units), w.pack)
            tape.add(
                "simple_rnn_gradient", (w, h, dy or dh, dh, lengths), (dz, dh),
                (*numbers, self.truncate or 0), variant,
            )  # fmt: skip
            tape.keep(dz)
            return dz, add_gradient_over_time(tape, w, before, dz, steps)

        return backward


@dataclass(frozen=True, repr=False)
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

    i, f, o = logistic(x W + h U + b) and g = tanh(x W + h U + b), each with its own matrices and
    biases; c' = f c + i g; h' = o tanh(c'). Its parameters are `kernel`, of shape
    (inputs, 4 units), `recurrent_kernel`, of shape (units, 4 units), and `bias`, of shape
    (4 units,), with the gates in the order i, f, g, o, as in Keras and PyTorch. The bias of the
    forget gate f is initialized to 1 (Jozefowicz et al., 2015).

    Parameters
    ----------
    units : int
        Number of units: the dimension of the hidden state h and of the cell state c.
    return_sequences, truncate, n_tokens, reverse, use_bias, kernel_initializer, kernel_l1, \
kernel_l2, trainable, name
        As in :class:`SimpleRNN`.
    """

    _gates, _states = 4, ("h", "c")

    def draw(self, shape, random_state, initializer, last=False):
        values = super().draw(shape, random_state, initializer, last)
        if self.use_bias:
            values[-1][self.units : 2 * self.units] = 1.0
        return values

    def _add_cell(self, tape, z, matrices, biases, states, lengths, steps):
        (w,), (h, c), numbers = matrices, states, (steps, self.units, self.reverse)
        variant = (tape.packing.tile(4 * self.units), w.pack)
        tape.add("lstm", (z, w, h, c, lengths), (z, h, c), numbers, variant)

        def backward(dy, carried, before):
            dh, dc = carried
            variant = (dy is not None, tape.packing.tile(self.units), w.pack)
            tape.add(
                "lstm_gradient", (z, w, h, c, dy or dh, dh, dc, lengths), (z, dh, dc),
                (*numbers, self.truncate or 0), variant,
            )  # fmt: skip
            return z, add_gradient_over_time(tape, w, before, z, steps)

        return backward


@dataclass(frozen=True, repr=False)
class GRU(Recurrent):
    """Gated recurrent unit, in two variants.

    The update and reset gates are z, r = logistic(x W + h U + b). With ``reset_after=False`` (Chung
    et al., 2014) the reset gate is applied before the product: c = tanh(x W + (r h) U + b),
    h' = (1 - z) h + z c. With ``reset_after=True``, as in PyTorch and Keras, it is applied after:
    c = tanh(x W + b + r (h U + d)), h' = (1 - z) c + z h. Its parameters are `kernel`, of shape
    (inputs, 3 units), in the order z, r, c; `recurrent_kernel`, of shape (units, 2 units), for z
    and r; `candidate_kernel`, of shape (units, units), for c; `bias`, of shape (3 units,); and with
    ``reset_after=True`` d, `candidate_bias`, of shape (units,).

    Parameters
    ----------
    units : int
        Number of units: the dimension of the hidden state h.
    return_sequences, truncate, n_tokens, reverse, use_bias, kernel_initializer, kernel_l1, \
kernel_l2, trainable, name
        As in :class:`SimpleRNN`.
    reset_after : bool, default=False
        Whether to apply the reset gate after the product with the recurrent matrix.
    """

    _: KW_ONLY
    reset_after: bool = False

    _gates = 3

    def _matrices(self):
        return (
            ("recurrent_kernel", self.units, 2 * self.units),
            ("candidate_kernel", self.units, self.units),
        )

    def _biases(self):
        # also with use_bias=False: the operation needs one
        more = (("candidate_bias", self.units),) if self.reset_after else ()
        return (*super()._biases(), *more)

    def _add_cell(self, tape, z, matrices, biases, states, lengths, steps):
        (w, u), (h,), numbers = matrices, states, (steps, self.units, self.reverse)
        b = (biases[-1],) if self.reset_after else ()
        extra, rows = tape.buffer("extra", steps * self.units), tape.packing.tile(self.units)
        name, packs = "gru_after" if self.reset_after else "gru", (w.pack, u.pack)
        tape.add(name, (z, w, u, *b, h, lengths), (z, extra, h), numbers, (rows, *packs))
        tape.keep(extra)

        def backward(dy, carried, before):
            (dh,), scratch = carried, tape.buffer("scratch", self.units)
            tape.add(
                name + "_gradient", (z, w, u, h, extra, dy or dh, dh, lengths),
                (z, extra, dh, scratch), (*numbers, self.truncate or 0),
                (dy is not None, rows, *packs),
            )  # fmt: skip
            if self.trainable:
                self._part_gradient(tape, w, before, z, 0, steps)
                if self.reset_after:
                    packed = add_gradient_over_time(tape, u, before, extra, steps)
                    add_bias_gradient(tape, b[0], extra, steps, self.units, packed)
                else:
                    self._part_gradient(tape, u, extra, z, 2 * self.units, steps)
            return z, None

        return backward

    def _part_gradient(self, tape, w, x, dz, first, steps):
        """Put on a tape the gradient of a matrix, from some of the gates' gradients."""
        units, stride = w.shape[1], 3 * self.units
        if tape.packing.is_narrow(units, w.pack):
            part = tape.buffer("part", steps * units)
            tape.add("extract_channels", (dz,), (part,), (steps, units, stride, first))
            tape.keep(part)
            add_gradient_over_time(tape, w, x, part, steps)
        else:
            part = tape.view(dz, first, (steps - 1) * stride + units)
            packed = transpose(tape, part, steps, units, stride, w.pack)
            add_gradient_over_time(tape, w, x, dz, steps, packed)


@dataclass(frozen=True, repr=False)
class Bidirectional(Layer):
    """A bidirectional layer: a forward and a backward recurrent layer, their outputs concatenated.

    Without `return_sequences`, the backward layer's output is its state after it has read the
    sequence's first time step.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        The forward layer. The backward layer has the same parameters but for `reverse`, and
        weights of its own.
    name : str or None, default=None
        Prefix of the names of its weights.
    """

    layer: Recurrent
    _: KW_ONLY
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.layer, Recurrent):
            fail(self, "layer", "SimpleRNN, LSTM or GRU", TypeError)

    def parts(self):
        backward = replace(self.layer, reverse=not self.layer.reverse)
        return [("forward", (self.layer,)), ("backward", (backward,))]

    def output_shape(self, shape):
        shape = self.layer.output_shape(shape)
        return (*shape[:-1], 2 * shape[-1])

    def forward(self, tape, x, shape, parameters, training):
        if tape.carries:
            raise ValueError(
                f"{self} cannot carry its state over: the backward state would have to come from "
                "the future."
            )
        both = Concatenate([part for _, part in self.parts()])
        return both.forward(tape, x, shape, parameters, training)


@dataclass(frozen=True, repr=False)
class EncoderDecoder(Layer):
    """An encoder-decoder (sequence-to-sequence) network of recurrent layers.

    The encoder reads a first sequence, and its final states are the initial states of the decoder,
    which reads a second sequence. The input is the token ids of the first sequence, followed by
    those of the second; the output is that of the decoder at each time step.

    Parameters
    ----------
    encoder, decoder : list of layers
        The layers of both parts. They must have the same recurrent layers: the final states of the
        encoder's i-th recurrent layer are the initial states of the decoder's.
    in_steps : int
        Number of time steps of the first sequence, padding included.
    name : str or None, default=None
        Prefix of the names of its weights.
    """

    encoder: Layer | Sequence[Layer]
    decoder: Layer | Sequence[Layer]
    in_steps: int
    _: KW_ONLY
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in ("encoder", "decoder"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        states = [[(type(a), a.units) for a in self._recurrent(part)] for _, part in self.parts()]
        if states[0] != states[1] or not states[0]:
            raise ValueError(
                "encoder and decoder of EncoderDecoder need recurrent layers of the same types and "
                f"units; got {self.encoder} and {self.decoder}."
            )
        if not all(layer.return_sequences for layer in self._recurrent(self.decoder)):
            raise ValueError(
                "The recurrent layers of EncoderDecoder's decoder need return_sequences=True; got "
                f"{self.decoder}."
            )

    def parts(self):
        return [("encoder", self.encoder), ("decoder", self.decoder)]

    @staticmethod
    def _recurrent(layers):
        return [layer for layer in layers if isinstance(layer, Recurrent)]

    def _shapes(self, shape):
        steps = tokens(self, shape)
        if steps <= self.in_steps:
            raise ValueError(f"{self} got {steps} steps; needs more than its in_steps.")
        return (self.in_steps,), (steps - self.in_steps,)

    def output_shape(self, shape):
        return output_shape(self.decoder, self._shapes(shape)[1])

    def children(self, shape):
        return [(*part, start) for part, start in zip(self.parts(), self._shapes(shape))]

    def forward(self, tape, x, shape, parameters, training):
        tape.keep(x)
        first, states, steps = 0, [None] * len(self._recurrent(self.encoder)), []
        for axis, (_, part, start) in enumerate(self.children(shape)):
            tape.axis = axis
            y = tape.view(x, first, start[0])
            first += start[0]
            y, states, backs = self._run(part, tape, y, start, parameters, training, states)
            steps.append(backs)

        def backward(dy, needed):
            dstates = self._back(self.decoder, steps[1], dy, [None] * len(states))
            self._back(self.encoder, steps[0], None, dstates)
            return None  # token ids have no gradient

        return y, backward

    @staticmethod
    def _run(layers, tape, y, shape, parameters, training, initial):
        """Put one part on a tape; return its outputs, final states and backward functions."""
        initial, states, backs = iter(initial), [], []
        for layer in layers:
            if isinstance(layer, Recurrent):
                outputs, final, back = layer.run(
                    tape, y, shape, parameters, training, next(initial)
                )
                y = outputs
                tape.keep(y)  # the final states are in it
                states.append(final)
            else:
                y, back = layer.forward(tape, y, shape, parameters, training)
            backs.append(back)
            shape = layer.output_shape(shape)
        return y, states, backs

    @staticmethod
    def _back(layers, backs, dy, dstates):
        """Put one part's backward pass on a tape; return the gradients of its initial states.

        `dstates` are the gradients of its final states.
        """
        dstates, initial = list(dstates), []
        for i in reversed(range(len(layers))):
            more = learns(layers[:i])
            if isinstance(layers[i], Recurrent):
                dy, carried = backs[i](dy, dstates.pop(), more)
                initial.insert(0, carried)
            elif dy is not None:
                dy = backs[i](dy, more)
        return initial
