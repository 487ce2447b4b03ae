"""Recurrent layers, and what token numbers are looked up in.

A layer adds what the inputs contribute, for all steps at once, and then one operation that goes
over time. Gradients of its weights are those of a convolution along time, between the states
before each step and the gradients that the backward operation leaves.
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
    """Put z = the token's row of w, plus b, on a tape; return as :func:`add_dense`."""
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
        return None  # there is no gradient of a number of a token

    return z, backward


def add_copy(tape, source, target):
    """Put a copy of one buffer to another on a tape."""
    tape.add("insert_channels", (source,), (target,), (1, source.rows, source.rows, 0))


@dataclass(frozen=True, repr=False)
class Embedding(Layer):
    """A vector for each token: a sequence of numbers becomes one of vectors.

    Parameters
    ----------
    n_tokens : int
        How many tokens there are: numbers are in [0, n_tokens).
    units : int
        Length of a vector.
    vectors : array-like of shape (n_tokens, units) or None, default=None
        The vectors to begin with; None: uniform in [-0.05, 0.05], or as `kernel_initializer` says.
    kernel_initializer : str or None, default=None
        How vectors begin that are not given.
    kernel_l1, kernel_l2 : float or None, default=None
        Penalties of the vectors, in place of the estimator's `l1` and `alpha`.
    trainable : bool, default=True
        False: training leaves the vectors as they are.
    name : str or None, default=None
        What its weights are called.
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
                    f"vectors of Embedding have the shape {vectors.shape}; expected "
                    f"({self.n_tokens}, {self.units})."
                )
            if not np.isfinite(vectors).all():
                raise ValueError("vectors of Embedding have NaN or infinity; expected numbers.")
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
    """What the cells share.

    A cell says how many gates it has, what its states are called, which matrices it has beside the
    kernel of its inputs, and gives its operations.
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

    _gates, _states = 1, ("h",)

    @property
    def reads_tokens(self):
        return self.n_tokens is not None

    @property
    def state_size(self):
        """Numbers that it carries from one batch to the next."""
        return self.units * len(self._states)

    def _split(self, shape):
        """Return steps and inputs, which for tokens are their one-hot vectors'."""
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
        """Return name, inputs and outputs of the matrices that states are multiplied by."""
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
        """Put the layer on a tape, perhaps with states to begin with.

        Returns
        -------
        outputs : Buffer
            The state after each step.
        final : tuple of Buffer
            The states after the last one.
        backward : callable
            ``backward(dy, dfinal, needed)``: from the gradients of the outputs and of the final
            states (None: there are none), that of x and those of the initial states.
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
        """Give the initial states: given ones, those carried along, or zeros."""
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
        """Return buffers of the gradients of the states, to be carried back through time."""
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
    """A simple recurrent layer: h' = f(x W + h U + b).

    Its parameters are W, `kernel`, of shape (inputs, units), U, `recurrent_kernel`, (units, units),
    and b, `bias`.

    Parameters
    ----------
    units : int
        Length of the state.
    return_sequences : bool, default=False
        Whether to give the state after each step, or the last one only: that after the sequence's
        own last step, where sequences have different lengths.
    truncate : int or None, default=None
        Gradients go back in time to the last multiple of this many steps only; None: all the way.
    n_tokens : int or None, default=None
        The input is token numbers in [0, n_tokens), each of which stands for its one-hot vector;
        None: it is vectors.
    reverse : bool, default=False
        Whether to go through time backward.
    use_bias : bool, default=True
        Whether there is a b.
    kernel_initializer : str or None, default=None
        How the matrices begin; None: as the estimator's `initializer` says, of which 'auto' is
        uniform in [-1 / sqrt(units), 1 / sqrt(units)].
    kernel_l1, kernel_l2 : float or None, default=None
        Penalties of the matrices, in place of the estimator's `l1` and `alpha`.
    trainable : bool, default=True
        False: training leaves it as it is.
    name : str or None, default=None
        What its weights are called.
    activation : {'tanh', 'relu', 'logistic'}, default='tanh'
        f.
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

    i, f, o = logistic(x W + h U + b) and g = tanh(x W + h U + b), each with matrices of its own;
    c' = f c + i g; h' = o tanh(c'). Its parameters are `kernel`, of shape (inputs, 4 units),
    `recurrent_kernel`, (units, 4 units), and `bias`, with the gates side by side in the order
    i, f, g, o, which is Keras's and PyTorch's. The bias of f begins at 1 (Jozefowicz et al., 2015).

    Parameters
    ----------
    units : int
        Length of the states h and c.
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
    """Gated recurrent units, in two variants.

    z, r = logistic(x W + h U + b). With ``reset_after=False`` (Chung et al., 2014) the reset gate
    comes before the product: c = tanh(x W + (r h) U + b), h' = (1 - z) h + z c. With
    ``reset_after=True``, as in PyTorch and Keras, after it: c = tanh(x W + b + r (h U + d)),
    h' = (1 - z) c + z h. Its parameters are `kernel`, of shape (inputs, 3 units), with z, r and c
    side by side, `recurrent_kernel`, (units, 2 units), for z and r, `candidate_kernel`, (units,
    units), `bias`, and with ``reset_after=True`` d, `candidate_bias`.

    Parameters
    ----------
    units : int
        Length of the state.
    return_sequences, truncate, n_tokens, reverse, use_bias, kernel_initializer, kernel_l1, \
kernel_l2, trainable, name
        As in :class:`SimpleRNN`.
    reset_after : bool, default=False
        Where the reset gate is.
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
        # with use_bias=False too: the operation needs one
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
        """Say how a matrix's gradient is computed from a part of the gates' gradients."""
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
    """A recurrent layer forward in time and another one backward, their outputs side by side.

    Without `return_sequences`, the second is its state after the sequence's first step.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        What both are like.
    name : str or None, default=None
        What the names of its weights begin with.
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
            raise ValueError(f"{self} carries no state: it would have to come from the future.")
        both = Concatenate([part for _, part in self.parts()])
        return both.forward(tape, x, shape, parameters, training)


@dataclass(frozen=True, repr=False)
class EncoderDecoder(Layer):
    """Recurrent layers that read a sequence, and others that go on from the states they end in.

    Its input is the first sequence's token numbers and then the second's; what the second layers
    give at each step is its output.

    Parameters
    ----------
    encoder, decoder : list of layers
        Each recurrent layer of the decoder begins with the final states of that of the encoder
        which has its place.
    in_steps : int
        Room for the first sequence.
    name : str or None, default=None
        What the names of its weights begin with.
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
                "encoder and decoder of EncoderDecoder need recurrent layers of the same kinds and "
                f"units, got {self.encoder} and {self.decoder}."
            )
        if not all(layer.return_sequences for layer in self._recurrent(self.decoder)):
            raise ValueError(
                "The recurrent layers of EncoderDecoder's decoder need return_sequences=True, got "
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
            return None  # there is no gradient of a number of a token

        return y, backward

    @staticmethod
    def _run(layers, tape, y, shape, parameters, training, initial):
        """Put one of the two parts on a tape; return its outputs, final states and the way back."""
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
        """Go back through one of the parts; return the gradients of its initial states.

        `dstates` are those of its final ones.
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
