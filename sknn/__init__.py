"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from .convnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from .markov import CharMarkovChain
from .mlp import MLPNet, MLPNetClassifier, MLPNetRegressor
from .perceptron import PerceptronClassifier
from .recurrent import RNNClassifier, RNNRegressor
from .text import CharRNN
from .translation import Seq2SeqRNN

__all__ = [
    "CharMarkovChain",
    "CharRNN",
    "ConvNetClassifier",
    "ConvNetRegressor",
    "ConvNetTransformer",
    "MLPNet",
    "MLPNetClassifier",
    "MLPNetRegressor",
    "PerceptronClassifier",
    "RNNClassifier",
    "RNNRegressor",
    "Seq2SeqRNN",
]
