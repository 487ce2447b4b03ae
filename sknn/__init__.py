"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from .autoencoder import AutoencoderTransformer
from .conv_autoencoder import ConvAutoencoderTransformer
from .convnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from .markov import CharMarkovChain
from .mlp import MLPNet, MLPNetClassifier, MLPNetRegressor
from .perceptron import PerceptronClassifier
from .rbf import RBFNetClassifier, RBFNetRegressor
from .recurrent import RNNClassifier, RNNRegressor
from .sequence_autoencoder import SequenceAutoencoderTransformer
from .text import CharRNN
from .translation import Seq2SeqRNN
from .variational import VariationalAutoencoderTransformer

__all__ = [
    "AutoencoderTransformer",
    "CharMarkovChain",
    "CharRNN",
    "ConvAutoencoderTransformer",
    "ConvNetClassifier",
    "ConvNetRegressor",
    "ConvNetTransformer",
    "MLPNet",
    "MLPNetClassifier",
    "MLPNetRegressor",
    "PerceptronClassifier",
    "RBFNetClassifier",
    "RBFNetRegressor",
    "RNNClassifier",
    "RNNRegressor",
    "Seq2SeqRNN",
    "SequenceAutoencoderTransformer",
    "VariationalAutoencoderTransformer",
]
