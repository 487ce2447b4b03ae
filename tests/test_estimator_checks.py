"""scikit-learn's checks of estimators: the defaults pass all of them.

In other settings those listed here fail, each for the reason beside it; one that passes after all
is an error, too.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknn import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
    MLPNet,
    MLPNetClassifier,
    MLPNetRegressor,
    RBFNetClassifier,
    RBFNetRegressor,
    ReconstructionOutlierDetector,
    RNNClassifier,
    RNNRegressor,
    SequenceAutoencoderTransformer,
    TabularNetClassifier,
    TabularNetRegressor,
    VariationalAutoencoderTransformer,
)
from sknn.layers import BatchNormalization, Conv2D, Dropout, Flatten, GaussianNoise, RandomFlip

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DEFAULTS = [
    AutoencoderTransformer(),
    ConvAutoencoderTransformer(),
    VariationalAutoencoderTransformer(),
    MLPNetClassifier(),
    MLPNetRegressor(),
    MLPNet(),
    MLPNet("regression"),
    ConvNetClassifier(),
    ConvNetRegressor(),
    ConvNetTransformer(),
    RNNClassifier(),
    RNNRegressor(),
    SequenceAutoencoderTransformer(),
    RBFNetClassifier(),
    RBFNetRegressor(),
    ReconstructionOutlierDetector(),
    ReconstructionOutlierDetector(contamination=0.1),
]

SETTINGS = [
    {"solver": "sgd"},
    {"solver": "lbfgs"},
    {"solver": "adamw"},
    {"solver": "nadam"},
    {"solver": "rmsprop"},
    {"solver": "adagrad"},
    # its steps need no learning rate, so it uses 1 where the others use 0.001
    {"solver": "adadelta", "learning_rate_init": 1.0},
    {"dropout": 0.2},
    {"batch_norm": True},
    {"early_stopping": True},
]


# For images of one line, as the checks' data make them; none has an image_shape, since the data
# are of many widths.
CONVOLUTION = Conv2D(20, (1, 3), padding="same", activation="relu")
CONVNET_SETTINGS = [
    {"layers": [CONVOLUTION]},
    {"layers": []},
    {"layers": [CONVOLUTION, Flatten()], "solver": "lbfgs"},
    {"layers": [CONVOLUTION, Dropout(0.2)]},
    {"layers": [GaussianNoise(0.01), CONVOLUTION]},
    {"layers": [CONVOLUTION, BatchNormalization()]},
    # an image of one line is unchanged when flipped upside down
    {"layers": [CONVOLUTION], "augmentation": RandomFlip("vertical")},
    {"layers": [CONVOLUTION], "early_stopping": True},
]
CONVNETS = [
    cls(**params, learning_rate_init=0.02)
    for params in CONVNET_SETTINGS
    for cls in (ConvNetClassifier, ConvNetRegressor)
]
RNNS = [RNNClassifier(cell="rnn")]
TRANSFORMERS = [
    ConvNetTransformer(ConvNetRegressor([CONVOLUTION], random_state=0)),
    ConvNetTransformer(ConvNetClassifier([CONVOLUTION, Dropout(0.2)], random_state=0), "layers.0"),
]

AUTOENCODER_SETTINGS = [
    {"hidden_layer_sizes": (20, 3), "tied_weights": True, "activation": "tanh"},
    {"activity_l1": 0.01, "contractive": 0.01, "alpha": 0.01},
    {"decoder_layer_sizes": (5, 20), "output_activation": "softplus"},
    {"pretrain_epochs": 2, "hidden_layer_sizes": (20, 3)},
    {"solver": "lbfgs"},
    # so few iterations that the order of summation makes no difference
    {"solver": "lbfgs", "max_iter": 10, "tied_weights": True, "contractive": 0.01},
    {"noise": 0.1},
    {"noise": 0.1, "noise_kind": "masking"},
    {"noise": 0.1, "noise_kind": "salt_and_pepper", "pretrain_epochs": 1},
    {"early_stopping": True},
]
AUTOENCODERS = [
    *(AutoencoderTransformer(**params) for params in AUTOENCODER_SETTINGS),
    ConvAutoencoderTransformer([CONVOLUTION], [Conv2D(1, (1, 3), padding="same")]),
    ConvAutoencoderTransformer(noise=0.1, activity_l1=0.01),
    ConvAutoencoderTransformer(solver="lbfgs", max_iter=10),
    VariationalAutoencoderTransformer(3, hidden_layer_sizes=(), beta=0.1),
    VariationalAutoencoderTransformer(codes="sample"),
    VariationalAutoencoderTransformer(early_stopping=True),
]

TABLES = [
    TabularNetClassifier((16,), max_iter=30),
    TabularNetClassifier((16,), max_iter=30, cv=2),
    TabularNetRegressor((16,), max_iter=30, n_ensemble=2),
    TabularNetRegressor((16,), max_iter=30, refit=True),
]


def _weights_are_not_repetitions(reason):
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


_NO_PARTIAL_FIT = "partial_fit has no early stopping; so in scikit-learn's own MLP"
_TOO_FEW_ROWS = "the check's data are too few to hold some back; so in scikit-learn's own MLP"

EARLY_STOPPING = {
    **_weights_are_not_repetitions(
        "other rows are held back when rows are repeated; so in scikit-learn's own MLP"
    ),
    "check_fit_score_takes_y": _NO_PARTIAL_FIT,
    "check_n_features_in_after_fitting": _NO_PARTIAL_FIT,
    "check_estimators_partial_fit_n_features": _NO_PARTIAL_FIT,
    "check_estimators_nan_inf": _TOO_FEW_ROWS,
    "check_fit2d_1feature": _TOO_FEW_ROWS,
}
EARLY_STOPPING_CLASSIFIER = {
    "check_classifiers_one_label": _TOO_FEW_ROWS,
    "check_class_weight_classifiers": (
        "of ten million to one, the weighted score of the few rows held back does not improve "
        "after the first epochs, and training ends; scikit-learn's own MLP has no class_weight"
    ),
}
EARLY_STOPPING_REGRESSOR = {"check_regressors_no_decision_function": _TOO_FEW_ROWS}


def expected_failures(estimator):
    """Return the checks that fail in an estimator's setting, with the reasons."""
    if isinstance(estimator, ConvNetTransformer):
        return {}
    if isinstance(estimator, (TabularNetClassifier, TabularNetRegressor)):
        return _weights_are_not_repetitions(
            "other rows are held back when rows are repeated, and each has a mask of its own"
        )
    classifies = isinstance(estimator, (MLPNetClassifier, ConvNetClassifier))
    if estimator.early_stopping:
        return EARLY_STOPPING | (
            EARLY_STOPPING_CLASSIFIER if classifies else EARLY_STOPPING_REGRESSOR
        )
    layers = getattr(estimator, "layers", [])
    if getattr(estimator, "dropout", 0) or any(isinstance(layer, Dropout) for layer in layers):
        return _weights_are_not_repetitions("every repetition of a row has a mask of its own")
    if getattr(estimator, "codes", "mean") == "sample":
        reason = "a sample's draw goes by its place among the others"
        return {
            "check_methods_sample_order_invariance": reason,
            "check_methods_subset_invariance": reason,
        }
    noisy = any(isinstance(layer, GaussianNoise) for layer in layers)
    if noisy or getattr(estimator, "noise", 0):
        return _weights_are_not_repetitions("every repetition of a row has noise of its own")
    if getattr(estimator, "batch_norm", False) or any(
        isinstance(layer, BatchNormalization) for layer in layers
    ):
        return _weights_are_not_repetitions(
            "the statistics of a batch count rows, as many as there are, whatever their weights"
        )
    if getattr(estimator, "cell", None) == "rnn":
        return _weights_are_not_repetitions(
            "differences of 1e-14, from the order of sums, grow with the steps of its training"
        )
    if estimator.solver == "lbfgs" and classifies:
        return {
            "check_classifiers_multilabel_output_format_predict_proba": (
                "it fits the check's data so well that probabilities round to 1, which the check "
                "does not let pass; so in scikit-learn's own MLP"
            )
        }
    return {}


@parametrize_with_checks(DEFAULTS)
def test_defaults(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [cls(**params) for params in SETTINGS for cls in (MLPNetClassifier, MLPNetRegressor)]
    + CONVNETS
    + RNNS
    + TRANSFORMERS
    + AUTOENCODERS
    + TABLES,
    expected_failed_checks=expected_failures,
)
def test_settings(estimator, check):
    check(estimator)
