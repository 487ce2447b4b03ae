"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from importlib import import_module

from .autoencoders.convolutional import ConvAutoencoderTransformer
from .autoencoders.dense import AutoencoderTransformer
from .autoencoders.outliers import ReconstructionOutlierDetector
from .autoencoders.sequence import SequenceAutoencoderTransformer
from .autoencoders.variational import VariationalAutoencoderTransformer
from .diagnosis.diagnose import diagnose
from .estimator.saving import load, save
from .export.conversion import to_onnx
from .feedforward.mlp import MLPNet, MLPNetClassifier, MLPNetRegressor
from .feedforward.perceptron import PerceptronClassifier
from .images.convnet import ConvNetClassifier, ConvNetRegressor
from .images.transformer import ConvNetTransformer
from .radial.rbf import RBFNetClassifier, RBFNetRegressor
from .sequences.rnn import RNNClassifier, RNNRegressor
from .text.char_rnn import CharRNN
from .text.markov import CharMarkovChain
from .text.seq2seq import Seq2SeqRNN

__version__ = "0.1.0"

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
    "ReconstructionOutlierDetector",
    "Seq2SeqRNN",
    "SequenceAutoencoderTransformer",
    "VariationalAutoencoderTransformer",
    "diagnose",
    "load",
    "save",
    "to_onnx",
]

#: Parts that are imported when they are used, as ``sknn.display`` and so on.
_PARTS = "callbacks", "datasets", "display", "distributed"


def __getattr__(name):
    if name in _PARTS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*globals(), *_PARTS]
