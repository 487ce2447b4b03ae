"""Converters for skl2onnx: importing this module registers them.

Then ``skl2onnx.to_onnx`` exports pipelines, and other scikit-learn estimators, that contain
networks of this package.
"""

import numpy as np
from onnx import helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DictionaryType,
    DoubleTensorType,
    FloatTensorType,
    Int32TensorType,
    Int64TensorType,
    SequenceType,
    StringTensorType,
    UInt8TensorType,
)

from ..autoencoders.convolutional import ConvAutoencoderTransformer
from ..autoencoders.dense import AutoencoderTransformer
from ..autoencoders.outliers import ReconstructionOutlierDetector
from ..autoencoders.sequence import SequenceAutoencoderTransformer
from ..autoencoders.variational import VariationalAutoencoderTransformer
from ..feedforward.mlp import MLPNet, MLPNetClassifier, MLPNetRegressor
from ..feedforward.perceptron import PerceptronClassifier
from ..images.convnet import ConvNetClassifier, ConvNetRegressor
from ..images.transformer import ConvNetTransformer
from ..radial.rbf import RBFNetClassifier, RBFNetRegressor
from ..sequences.rnn import RNNClassifier, RNNRegressor
from ..tabular.net import TabularNetClassifier, TabularNetRegressor
from ..text.char_rnn import CharRNN
from ..text.seq2seq import Seq2SeqRNN
from .estimators import Tensor, build, input_of, labels_of

#: The estimators that are networks.
NETWORKS = (
    AutoencoderTransformer,
    CharRNN,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
    MLPNet,
    MLPNetClassifier,
    MLPNetRegressor,
    PerceptronClassifier,
    RBFNetClassifier,
    RBFNetRegressor,
    RNNClassifier,
    RNNRegressor,
    ReconstructionOutlierDetector,
    Seq2SeqRNN,
    SequenceAutoencoderTransformer,
    TabularNetClassifier,
    TabularNetRegressor,
    VariationalAutoencoderTransformer,
)
#: The oldest version of ONNX's operators that the graphs are valid in.
OLDEST = 13
_TYPES = {
    np.dtype(np.float32): FloatTensorType,
    np.dtype(np.float64): DoubleTensorType,
    np.dtype(np.int64): Int64TensorType,
    np.dtype(object): StringTensorType,
    np.dtype(np.int32): Int32TensorType,
    np.dtype(np.uint8): UInt8TensorType,
    np.dtype(np.bool_): BooleanTensorType,
}
#: The options of a converter, and their values (None: any).
_OPTIONS = {"zipmap": [True, False, "columns"], "method": None}


def register(*kinds):
    """Register a converter for each of these classes of estimators."""
    for kind in kinds:
        alias = f"Sknn{kind.__name__}"
        update_registered_converter(
            kind, alias, _set_types, _convert, parser=_parse, options=_OPTIONS
        )


def _option(operator, name, default):
    return operator.scope_inst.get_options(operator.raw_operator, {name: default}).get(name)


def _built(operator):
    """Return the graph of an operator's estimator, and its outputs."""
    estimator, method = operator.raw_operator, _option(operator, "method", None)
    inputs = []
    for variable in operator.inputs:
        number = variable.type.to_onnx_type().tensor_type.elem_type
        shape = tuple(n if isinstance(n, int) else None for n in variable.type.shape or ())
        shape = shape or input_of(estimator, method).shape
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
        inputs.append(Tensor(variable.full_name, dtype, shape))
    before, built = getattr(operator, "sknn_built", (None, None))
    if before != inputs:
        unique = operator.scope_inst.get_unique_variable_name
        built = build(estimator, method, inputs, unique)
        operator.sknn_built = inputs, built
    return built


def _mapped(operator, outputs):
    """Return how probabilities are returned: the option `zipmap`, False where it cannot apply."""
    titles = [tensor.name for _, tensor in outputs]
    if titles != ["label", "probabilities"]:
        return False
    label, shares = (tensor.shape for _, tensor in outputs)
    apart = len(label) == 1 and shares[1:] == (len(labels_of(operator.raw_operator)),)
    return apart and _option(operator, "zipmap", True)


def type_of(tensor):
    """Return skl2onnx's type of a tensor; less usual ones are taken for float32 or int64."""
    other = FloatTensorType if tensor.dtype.kind == "f" else Int64TensorType
    return _TYPES.get(tensor.dtype, other)(list(tensor.shape))


def _parse(scope, model, inputs, custom_parsers=None):
    """Declare an estimator's outputs, as skl2onnx names them."""
    operator = scope.declare_local_operator(f"Sknn{type(model).__name__}", model)
    operator.inputs = inputs
    _, outputs = _built(operator)
    types = {tensor.name: type_of(tensor) for _, tensor in outputs}
    zipmap = _mapped(operator, outputs)
    if zipmap:
        label, shares = types.values()
        types = {"output_label": label}
        if zipmap == "columns":
            kinds = "i" if isinstance(label, Int64TensorType) else "s"
            for each in labels_of(model):
                types[f"{kinds}{each}"] = type(shares)([None])
        else:  # the operator has float32 only
            types["output_probability"] = SequenceType(DictionaryType(label, FloatTensorType()))
    for name, kind in types.items():
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _set_types(operator):
    """Set the types of an operator's outputs, where they are those of the graph."""
    for variable, (_, tensor) in zip(operator.outputs, _built(operator)[1]):
        if type(variable.type) in _TYPES.values() and len(operator.outputs) < 3:
            variable.set_type(type_of(tensor))


def _convert(scope, operator, container):
    """Add an estimator's graph to a model."""
    opset = container.target_opset_any_domain("")
    if opset < OLDEST:
        raise ValueError(f"target_opset is {opset}; expected at least {OLDEST}.")
    graph, outputs = _built(operator)
    names = [name for name, _ in outputs]
    variables = operator.outputs
    if len(variables) > 2:  # a column for each class
        label, shares = names
        names = [label, *(graph.op("Gather", shares, i, axis=1) for i in range(len(variables) - 1))]
    elif len(variables) == 2 and isinstance(variables[1].type, SequenceType):
        classes, shares = labels_of(operator.raw_operator), names.pop()
        if outputs[1][1].dtype != np.float32:
            shares = graph.cast(shares, np.float32)
        kind = "strings" if classes.dtype == object else "int64s"
        labels = {f"classlabels_{kind}": classes.tolist()}
        maps = [variables[1].full_name]
        node = helper.make_node("ZipMap", [shares], maps, domain="ai.onnx.ml", **labels)
        graph.nodes.append(node)
        container.node_domain_version_pair_sets.add(("ai.onnx.ml", 1))
    for name, variable in zip(names, variables):
        graph.nodes.append(helper.make_node("Identity", [name], [variable.full_name]))
    container.nodes.extend(graph.nodes)
    container.initializers.extend(graph.constants)
    container.node_domain_version_pair_sets.add(("", opset))


register(*NETWORKS)
