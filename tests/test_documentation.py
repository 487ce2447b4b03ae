"""The examples in docstrings run, and every public parameter is documented."""

import doctest
import inspect

import pytest

import sknn
from sknn import layers

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


def test_layers_are_plain_comparable_objects():
    for name in layers.__all__:
        make = {"Dense": (3,), "Activation": ("relu",), "Dropout": (0.5,)}.get(name, ())
        one, other = (getattr(layers, name)(*make) for _ in range(2))
        assert one == other and hash(one) == hash(other) and "(" in repr(one)
