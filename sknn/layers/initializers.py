"""Weight initializers: functions of (random_state, shape, fan_in, fan_out) that return weights.

Sources: Glorot and Bengio, 2010; He et al., 2015; LeCun et al., 1998. 'normal' and 'uniform' are
the small random numbers of textbooks: normal with a standard deviation of 0.05, and uniform in
[-0.05, 0.05]; 'small_normal' has a standard deviation of 0.01, 'standard_normal' one of 1.
"""

import numpy as np


def _scaled(kind, scale):
    """Return an initializer with the variance ``scale(fan_in, fan_out)``."""

    def draw(random_state, shape, fan_in, fan_out):
        deviation = np.sqrt(scale(fan_in, fan_out))
        if kind == "normal":
            return random_state.normal(0.0, deviation, shape)
        bound = np.sqrt(3.0) * deviation
        return random_state.uniform(-bound, bound, shape)

    return draw


_SCALES = {
    "glorot": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2.0 / fan_in,
    "lecun": lambda fan_in, fan_out: 1.0 / fan_in,
}

INITIALIZERS = {
    f"{name}_{kind}": _scaled(kind, scale)
    for name, scale in _SCALES.items()
    for kind in ("uniform", "normal")
} | {
    "normal": lambda r, shape, fan_in, fan_out: r.normal(0.0, 0.05, shape),
    "small_normal": lambda r, shape, fan_in, fan_out: r.normal(0.0, 0.01, shape),
    "standard_normal": lambda r, shape, fan_in, fan_out: r.normal(size=shape),
    "uniform": lambda r, shape, fan_in, fan_out: r.uniform(-0.05, 0.05, shape),
    "zeros": lambda r, shape, fan_in, fan_out: np.zeros(shape),
}

#: Those of layers whose kernels can be adapted to data: what is drawn until the data are known.
ADAPTED = INITIALIZERS | {"data_dependent": INITIALIZERS["lecun_normal"]}


def draw_dense(initializer, random_state, fan_in, fan_out, activation):
    """Return the initial weights and biases of a layer of a multilayer perceptron, in float64.

    'auto' is scikit-learn's initialization: weights and biases uniform within Glorot's bound (with
    the factor 2 instead of 6 for the logistic function), the same draws in the same order. The
    other initializers set biases to zero.
    """
    shape = fan_in, fan_out
    if initializer != "auto":
        return ADAPTED[initializer](random_state, shape, fan_in, fan_out), np.zeros(fan_out)
    bound = np.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
    weights = random_state.uniform(-bound, bound, shape)
    return weights, random_state.uniform(-bound, bound, fan_out)


def draw_kernel(initializer, random_state, shape, fan_in, fan_out, last):
    """Return the initial kernel of a layer, in float64.

    'auto' is Glorot's uniform initialization in the output layer. In the others it is halfway
    between Glorot's and He's, for as many inputs as outputs: a variance of 3 over the sum of the
    fans, instead of 2 or 4. With He's initialization, the initial features of plain networks are so
    large that they change little in training; with Glorot's, activations vanish through many layers
    of relu, and deep networks may not start to learn.
    """
    if initializer == "auto":
        bound = np.sqrt((6.0 if last else 9.0) / (fan_in + fan_out))
        return random_state.uniform(-bound, bound, shape)
    return ADAPTED[initializer](random_state, shape, fan_in, fan_out)
