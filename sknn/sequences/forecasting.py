"""Autoregressive forecasts: each prediction of a network is its next input."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from ..engine.prediction import CHUNK, open_session
from ..engine.threads import give_way
from ..layers import Bidirectional
from ..tape.sources import Source
from .inputs import of_inputs


def go_on(weights, sequences, n, n_jobs):
    """Forecast the `n` steps that follow each sequence, of shape (n_sequences, n, features).

    Parameters
    ----------
    weights : Weights
        Weights of a network whose output, or its last step, has the form of one input step.
    sequences : Sequences
    n : int
    n_jobs : int or None
    """
    backward = any(isinstance(layer, Bidirectional) for layer in weights.network.layers)
    way = _read_again if backward else _carry_on
    starts = range(0, sequences.shape[0], CHUNK)
    parts = (sequences.part(slice(start, start + CHUNK)) for start in starts)
    return np.concatenate([way(weights, part, n, n_jobs) for part in parts])


def _carry_on(weights, sequences, n, n_jobs):
    """Continue from the states after each sequence, one step at a time."""
    (m, _), features = sequences.shape, sequences.features
    found, rows = np.empty((n, m, features), weights.dtype), np.arange(m)
    states = np.zeros((m, weights.network.state_size), weights.dtype)
    whole = weights.of(of_inputs(weights.network, sequences.inputs))
    out = np.empty((m, whole.network.outputs), weights.dtype)
    source = sequences.source()
    with open_session(whole, "predict", source.key, m, n_jobs, carries=True) as (session, packed):
        session.bind(packed, source, rows=rows, out=out, lengths=sequences.ends, carry=states)
        session.run(m, m)
    found[0] = _last(whole, out, sequences.steps, features)
    one = weights.of(of_inputs(weights.network, (1, features)))
    key = Source(found[0]).key
    opened = open_session(one, "predict", key, m, n_jobs, carries=True, total=m * n)
    with opened as (session, packed):
        for before, after in zip(found, found[1:]):
            session.bind(packed, Source(before), rows=rows, out=after, carry=states)
            session.run(m, m)
    give_way()
    return found.swapaxes(0, 1)


def _read_again(weights, sequences, n, n_jobs):
    """Read all of each sequence again for each step, since layers also read backward."""
    (m, _), features = sequences.shape, sequences.features
    values, rows, steps = sequences.values, np.arange(m), sequences.steps
    time = sequences.time + n - 1
    longer = np.zeros((m, time, features), np.result_type(values.dtype, weights.dtype))
    values = values.toarray() if sp.issparse(values) else values
    longer[:, : sequences.time] = values.reshape(m, -1, features)
    found = np.empty((m, n, features), weights.dtype)
    for i in range(n):
        some = replace(sequences, values=longer.reshape(m, -1), time=time, lengths=steps + i)
        found[:, i] = _last(weights, some.run(weights, n_jobs), steps + i, features)
        if i < n - 1:
            longer[rows, steps + i] = found[:, i]
    return found


def _last(weights, outputs, steps, features):
    """Return the outputs of each sequence's last step."""
    if weights.network.steps is None:
        return outputs
    return outputs.reshape(len(outputs), -1, features)[np.arange(len(outputs)), steps - 1]
