"""The parameters and attributes of networks that learn from targets."""

from numbers import Real

from sklearn.utils._param_validation import Interval, StrOptions

from ..layers import Activation
from .parameters import ParameterRow
from .tasks import OUTPUT_ACTIVATIONS, Classification, Regression

#: What networks take that learn from targets.
TARGETS = {
    "output_activation": ParameterRow(
        "auto",
        [StrOptions({"auto", *OUTPUT_ACTIVATIONS}), Activation],
        """output_activation : str or Activation, default='auto'
        Activation of the output layer. 'auto': softmax for several classes, logistic for two or
        for multilabel targets; identity in regression, exp for ``loss='poisson'``.""",
    ),
    "quantile": ParameterRow(
        0.5,
        [Interval(Real, 0, 1, closed="both")],
        """quantile : float, default=0.5
        The quantile of ``loss='quantile'``.""",
    ),
    "huber_delta": ParameterRow(
        1.0,
        [Interval(Real, 0, None, closed="neither")],
        """huber_delta : float, default=1.0
        The error at which ``loss='huber'`` turns from squared to linear.""",
    ),
    "class_weight": ParameterRow(
        None,
        [dict, list, StrOptions({"balanced"}), None],
        """class_weight : dict, list of dict, 'balanced' or None, default=None
        Weights of the classes, multiplied with `sample_weight`.""",
    ),
}
_REGRESSION_LOSSES, _CLASSIFICATION_LOSSES = set(Regression.losses), set(Classification.losses)
_REGRESSION_DOC = """'squared_error' (half of it), 'poisson' (half the deviance),
        'absolute_error', 'huber' or 'quantile'"""


def _loss_row(default, options, doc):
    return {"loss": ParameterRow(default, [StrOptions(options)], doc)}


CLASSIFICATION_LOSS = _loss_row(
    "log_loss",
    _CLASSIFICATION_LOSSES,
    """loss : {'log_loss', 'squared_error'}, default='log_loss'
        Cross-entropy, or half the squared error of the outputs against 0 and 1.""",
)
REGRESSION_LOSS = _loss_row(
    "squared_error",
    _REGRESSION_LOSSES,
    f"""loss : str, default='squared_error'
        {_REGRESSION_DOC}.""",
)
EITHER_LOSS = _loss_row(
    "auto",
    {"auto"} | _REGRESSION_LOSSES | _CLASSIFICATION_LOSSES,
    f"""loss : str, default='auto'
        'log_loss' or 'squared_error' in classification; in regression
        {_REGRESSION_DOC}.
        'auto' is the first of each.""",
)

#: The attributes that training leaves, for docstrings.
TRAINED = """loss_, best_loss_ : float
        The last loss, and the smallest (None with early stopping).
    loss_curve_ : list of float
        The loss of each epoch.
    validation_loss_curve_, validation_scores_ : list of float
        With validation data: its loss and score (accuracy or R2) after each epoch; else None.
    best_validation_score_ : float
        The score of the weights that early stopping has kept.
    history_ : DataFrame
        All of these curves, by epoch.
    n_iter_ : int
        Epochs of the last fit.
    t_ : int
        Samples seen.
    n_outputs_ : int
        Number of outputs.
    out_activation_ : str
        Activation of the output layer.
    n_features_in_, feature_names_in_
        Number of features, and their names where X has them."""
