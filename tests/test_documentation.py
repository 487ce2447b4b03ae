"""The examples in docstrings run, and every public name and parameter is documented."""

import doctest
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import sknn
from sknn import layers
from sknn.architectures import ARCHITECTURES

PUBLIC = [getattr(sknn, name) for name in sknn.__all__]


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_docstring_examples_run(cls):
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(cls, cls.__name__, module=False, globs={})
    assert test.examples
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.failed == 0


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_every_parameter_is_documented_with_its_default(cls):
    for name, parameter in inspect.signature(cls).parameters.items():
        (line,) = (row for row in cls.__doc__.splitlines() if row.startswith(f"{name} : "))
        assert line.endswith(f"default={parameter.default!r}"), line
    assert "{" not in cls.__doc__.split("Examples")[0].replace("{'", "")


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_every_public_method_is_documented(cls):
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        if not name.startswith("_") and inspect.isfunction(member):
            assert inspect.getdoc(getattr(cls, name)), name


LAYERS = [name for name in layers.__all__ if name != "Layer"]
ARGUMENTS = {
    "Activation": ("relu",),
    "Bidirectional": (layers.LSTM(3),),
    "Concatenate": ([[], [layers.Dense(3)]],),
    "ContractivePenalty": ("code", "tanh", 0.1),
    "Conv2D": (4, 3),
    "Conv2DTranspose": (4, 3),
    "Dense": (3,),
    "Dropout": (0.5,),
    "Embedding": (5, 3),
    "EncoderDecoder": ([layers.LSTM(3)], [layers.LSTM(3, return_sequences=True)], 4),
    "GRU": (3,),
    "GaussianNoise": (0.1,),
    "LSTM": (3,),
    "MaskingNoise": (0.1,),
    "RadialBasis": (3,),
    "RandomCrop": (8, 8),
    "RandomShift": (1, 1),
    "RepeatVector": (3,),
    "Reshape": ((3,),),
    "Residual": ([layers.Dense(3)],),
    "SaltAndPepperNoise": (0.1,),
    "Sequential": ([layers.Dense(3)],),
    "SimpleRNN": (3,),
    "TiedDense": ("code", 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_plain_comparable_objects(name):
    make = ARGUMENTS.get(name, ())
    one, other = (getattr(layers, name)(*make) for _ in range(2))
    assert one == other and hash(one) == hash(other) and "(" in repr(one)


@pytest.mark.parametrize("name", LAYERS)
def test_every_parameter_of_a_layer_is_documented(name):
    cls = getattr(layers, name)
    for field in fields(cls):
        assert re.search(rf"\b{field.name}\b", cls.__doc__), field.name


def test_the_reference_lists_every_public_name():
    path = Path(__file__).parent.parent / "doc" / "api.rst"
    listed = set(path.read_text(encoding="utf-8").split())
    assert {*sknn.__all__, *layers.__all__, *ARCHITECTURES} <= listed
