"""What networks take for their training that are given as layers."""

from dataclasses import replace

from .parameters import TRAINING

#: What networks take for their training that are given as layers.
LAYERED_TRAINING = {
    **TRAINING,
    "initializer": replace(
        TRAINING["initializer"],
        doc="""initializer : str or list of ndarray, default='auto'
        How the weights begin, where a layer does not say it: 'auto' ('glorot_uniform' for the
        output layer, uniform within ``1 / sqrt(units)`` for recurrent ones and within
        ``3 / sqrt(fan_in + fan_out)``, between Glorot's bound and He's, for the others),
        'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform',
        'lecun_normal', 'normal' (deviation 0.05), 'small_normal' (0.01), 'uniform' (within 0.05)
        or 'zeros'. Or a list of arrays: the values that the first layers begin with, in the order
        of their parameters; the others begin as 'auto' says.""",
    ),
    "dtype": replace(
        TRAINING["dtype"],
        doc="""dtype : {'float32', 'float64'} or None, default=None
        What is computed in; None: float64 where X to fit is float64, else float32.""",
    ),
}
