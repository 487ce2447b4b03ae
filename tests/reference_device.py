"""A device that runs any tape by the operations' definitions in NumPy: slow, but easy to read.

It computes in float64, whatever type is asked for, in blocks of seven samples, and packs nothing.
"""

import numpy as np
from reference import Executor

from sknn.tape.packing import PLAIN, Layout, Packing
from sknn.tape.sources import INPUTS, X, Y
from sknn.tape.tape import Parameter


class Sevens(Packing):
    def width(self, rows):
        return 7

    def is_narrow(self, filters, pack):
        return filters < 4


class ReferenceDevice:
    """What :class:`sknn.cpu.device.CPU` is for the CPU.

    Attributes
    ----------
    operations : set of str
        The names of those that it has been given.
    """

    groups = True

    def __init__(self):
        self.operations = set()

    def packing(self, dtype):
        return Sevens()

    def layout(self, parameters, dtype):
        return Layout([PLAIN.packed(parameter) for parameter in parameters], "float64")

    def training_width(self, network, rows, dtype):
        return 7

    prediction_width = training_width

    def threads(self, network, rows, n_jobs, total=None):
        return 1

    def gains(self, network, rows, n, n_jobs):
        return True

    def compile(self, tape, dtype, threads=1):
        self.operations |= {op.name for phase in tape.phases for op in phase.all_ops()}
        return Program(tape, dtype)

    def compile_ahead(self, tapes, dtype):
        pass

    def session(self, program, most_rows, threads=1, gradient=None, networks=1):
        return Networks(program, networks) if networks > 1 else Session(program, gradient)

    def perceptron(self, state, source, targets, sample_weights, rate, intercept):
        return lambda rows: _perceptron(
            state, source.matrix, targets.numbers, sample_weights, rate, intercept, rows
        )

    def zeros(self, layout, n=None):
        return np.zeros(layout.size if n is None else (n, layout.size))

    def upload(self, layout, values, to=None):
        return layout.pack(values, self.zeros(layout) if to is None else to)

    def download(self, layout, packed):
        return layout.unpack(packed)

    def copy(self, packed):
        return packed.copy()

    read = copy

    def write(self, packed, numbers):
        packed[...] = numbers


class Program:
    def __init__(self, tape, dtype):
        self.tape, self.dtype, self.width = tape.verify(), dtype, tape.width
        self.layout = Layout(tape.parameters, "float64")
        self.n_states = tape.solver.n_states if tape.solver is not None else 0
        ops = [op for phase in tape.phases for op in phase.all_ops()]
        self.changes = tape.solver is not None or any(
            isinstance(operand, Parameter) for op in ops for operand in op.writes
        )

    def rows_within(self, n_bytes, least=1):
        return 2 * self.width  # so that there are some chunks


class Session:
    def __init__(self, program, gradient):
        self.program, self._gradient = program, gradient

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def pack(self, values):
        layout = self.program.layout
        return layout.pack(values, np.zeros(layout.size))

    def bind(
        self, parameters, source, targets=None, weights=None, rows=None, out=None, states=None,
        seed=0, lengths=None, resets=None, carry=None,
    ):  # fmt: skip
        self._parameters, self._states, self._rows = parameters, states, rows
        data = {X: source.matrix}
        if targets not in (None, INPUTS):
            data[Y] = targets.matrix if targets.n_classes is None else targets.numbers
        self._data, self._bound = data, {
            "weights": weights, "seed": seed, "lengths": lengths, "resets": resets, "carry": carry,
            "outputs": out,
        }  # fmt: skip

    def run(self, total, batch, rates=None, counted=0, accumulate=False, again=True):
        program, layout = self.program, self.program.layout
        rows = np.arange(total) if self._rows is None else self._rows[:total]
        rates = np.ones((-(-total // batch), 2)) if rates is None else rates
        plain = Executor(program.tape, layout.unpack(self._parameters), program.dtype)
        if self._states is not None:
            for i, state in enumerate(self._states):
                for parameter, value in zip(layout.parameters, layout.unpack(state)):
                    plain.states[parameter][i] = value
        if self._gradient is not None:
            plain.gradients = dict(zip(layout.parameters, layout.unpack(self._gradient)))
        loss, _ = plain.run(
            self._data, rows, batch, rates, counted=counted, accumulate=accumulate, **self._bound
        )
        self.data_loss, self.divergence = plain.data_loss, plain.divergence
        self.first_loss = plain.first_loss
        if program.changes:
            layout.pack([plain.values[p] for p in layout.parameters], self._parameters)
        if self._states is not None:
            for i, state in enumerate(self._states):
                layout.pack([plain.states[p][i] for p in layout.parameters], state)
        if self._gradient is not None:
            layout.pack([plain.gradients[p] for p in layout.parameters], self._gradient)
        return loss


class Networks:
    """Networks side by side: one after the other."""

    def __init__(self, program, networks):
        self._sessions = [Session(program, None) for _ in range(networks)]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def bind(self, *arrays, network=0, **bound):
        self._sessions[network].bind(*arrays, **bound)

    def run_networks(self, totals, batch, rates, counted):
        sums = np.zeros((len(totals), 3))
        self.first_losses = np.zeros(len(totals))
        for i, session in enumerate(self._sessions):
            if totals[i]:
                loss = session.run(totals[i], batch, rates[i], counted[i])
                sums[i] = loss, session.data_loss, session.divergence
                self.first_losses[i] = session.first_loss
        return sums


def _perceptron(state, x, numbers, weights, rate, intercept, rows):
    """Rosenblatt's rule: go over rows; return the number of errors, and the sum of losses."""
    errors = loss = 0.0
    for row in rows:
        weight = 1.0 if weights is None else weights[row]
        one = x[[row]].toarray()[0] if hasattr(x, "toarray") else x[row]
        sums = one @ state.weights + state.biases
        classes = 1 if state.units == 1 else np.arange(state.units)
        error = (weight > 0) * ((numbers[row] == classes) * 1.0 - (sums >= 0))
        errors += np.abs(error).sum()
        loss -= weight * (error * sums).sum()
        change = rate * weight * error
        state.weights += np.outer(one, change)
        if intercept:
            state.biases += change
        if state.moments is not None:
            state.moments += np.outer(one, change * state.seen)
            state.bias_moments += change * state.seen * intercept
        state.seen += 1
    return errors, loss
