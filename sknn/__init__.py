"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from .tabular.net import TabularNetClassifier, TabularNetRegressor
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
    "TabularNetClassifier",
    "TabularNetRegressor",
    "VariationalAutoencoderTransformer",
    "diagnose",
    "load",
    "save",
    "to_onnx",
]

#: The public subpackages and modules, as ``sknn.layers`` and so on.
_PARTS = (
    "architectures", "callbacks", "compile", "datasets", "display", "distributed", "layers",
)  # fmt: skip
#: Where these are. Each is imported when it is used, with what it needs.
_HOMES = {
    "AutoencoderTransformer": "autoencoders.dense",
    "CharMarkovChain": "text.markov",
    "CharRNN": "text.char_rnn",
    "ConvAutoencoderTransformer": "autoencoders.convolutional",
    "ConvNetClassifier": "images.convnet",
    "ConvNetRegressor": "images.convnet",
    "ConvNetTransformer": "images.transformer",
    "MLPNet": "feedforward.mlp",
    "MLPNetClassifier": "feedforward.mlp",
    "MLPNetRegressor": "feedforward.mlp",
    "PerceptronClassifier": "feedforward.perceptron",
    "RBFNetClassifier": "radial.rbf",
    "RBFNetRegressor": "radial.rbf",
    "RNNClassifier": "sequences.rnn",
    "RNNRegressor": "sequences.rnn",
    "ReconstructionOutlierDetector": "autoencoders.outliers",
    "Seq2SeqRNN": "text.seq2seq",
    "SequenceAutoencoderTransformer": "autoencoders.sequence",
    "TabularNetClassifier": "tabular.net",
    "TabularNetRegressor": "tabular.net",
    "VariationalAutoencoderTransformer": "autoencoders.variational",
    "diagnose": "diagnosis.diagnose",
    "load": "estimator.saving",
    "save": "estimator.saving",
    "to_onnx": "export.conversion",
}


def __getattr__(name):
    if name == "load":  # a file may have any of the estimators
        for home in _HOMES.values():
            import_module(f".{home}", __name__)
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _PARTS:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES, *_PARTS})
