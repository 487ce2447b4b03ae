"""Signatures and constraints do not change unnoticed; groups of parameters work as documented.

``python tests/test_parameters.py`` rewrites signatures.txt: where it changes, so does what
users may write.
"""

import inspect
import pathlib
import re
import subprocess
import sys
from typing import Literal, get_args

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import InvalidParameterError, Options
from test_pickles import data_for, estimators

import sknn
from sknn.architectures import ARCHITECTURES
from sknn.compile import USUAL
from sknn.engine.optimizers import SCHEDULES, SOLVERS
from sknn.estimator import groups
from sknn.estimator.parameters import Parameters, fitted, param
from sknn.estimator.tasks import Classification, Regression
from sknn.images.convnet import Architecture
from sknn.layers.initializers import INITIALIZERS
from sknn.tape.activations import ACTIVATIONS

FILE = pathlib.Path(__file__).parent / "signatures.txt"


def described(constraint):
    """Return a constraint as text that does not depend on the order in a set."""
    if isinstance(constraint, Options):
        return f"{constraint.type.__name__}: {', '.join(sorted(map(str, constraint.options)))}"
    return constraint.__name__ if isinstance(constraint, type) else str(constraint)


def signatures():
    """Return the parameters of all estimators, one per line, with their constraints."""
    lines = []
    for name in sorted(USUAL):
        cls = getattr(sknn, name)
        lines += ["", name]
        named = False
        for parameter in inspect.signature(cls).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and not named:
                lines.append("    *")
                named = True
            valid = sorted(map(described, cls._parameter_constraints[parameter.name]))
            lines.append(f"    {parameter}  # {'; '.join(valid)}")
    return "\n".join(lines[1:]) + "\n"


def test_signatures_and_what_is_valid_stay():
    assert signatures() == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(USUAL))
def test_parameters_are_validated_as_by_scikit_learn(name):
    cls = getattr(sknn, name)
    names = BaseEstimator._get_param_names.__func__(cls)
    assert cls._get_param_names() == names
    given = inspect.signature(cls).parameters
    for name in names:
        for value in (object(), given[name].default, -1, 0.5, True, None, "no such", [], np.nan):
            errors = []
            for validate in (cls._validate_params, BaseEstimator._validate_params):
                some = cls(**{name: value})
                try:
                    validate(some)
                    errors.append(None)
                except InvalidParameterError as error:
                    errors.append(str(error)[:40])
            assert errors[0] == errors[1]


@pytest.mark.parametrize("name", sorted(USUAL))
def test_what_is_no_parameter_is_an_error_that_names_the_class(name):
    cls = getattr(sknn, name)
    with pytest.raises(TypeError, match=rf"{name}.*hiden_layer_sizes"):
        cls(hiden_layer_sizes=3)
    n_positional = sum(
        p.kind is not p.KEYWORD_ONLY for p in inspect.signature(cls).parameters.values()
    )
    with pytest.raises(TypeError, match=f"{name}.*positional"):
        cls(*[None] * (n_positional + 1))


def test_choices_are_those_that_there_are():
    assert set(get_args(groups.StepSolver.__annotations__["solver"])) == set(SOLVERS)
    assert set(get_args(groups.AnySolver.__annotations__["solver"])) == {"lbfgs", *SOLVERS}
    assert set(get_args(groups.Descent.__annotations__["learning_rate"])) > set(SCHEDULES)
    assert set(get_args(groups.Initializer)) == {"auto", *INITIALIZERS}
    assert set(get_args(groups.HiddenActivation)) == set(ACTIVATIONS) - {"softmax", "step"}
    assert set(get_args(groups.OutputActivation)) == {"auto", *ACTIVATIONS} - {"step"}
    assert set(get_args(groups.ClassificationLosses)) == set(Classification.losses)
    assert set(get_args(groups.RegressionLosses)) == set(Regression.losses)
    assert set(get_args(Architecture)) == set(ARCHITECTURES)


class Group(Parameters):
    """A group."""

    first: int = param("The first.", default=1, kw_only=False)
    choice: Literal["a", "b"] | None = param("One of some.", default="a")
    last: bool = param("The last.", default=False, kind="flag")
    left_: list[float] = fitted("What is left.")


def test_a_declaration_overrides_what_it_gives():
    class Other(Group):
        """Another one.

        Examples
        --------
        None.
        """

        more: float = param("More.", default=0.5, after="first")
        choice: Literal["a", "b"] | None = param(default="b")

    assert str(inspect.signature(Other)) == "(first=1, *, more=0.5, choice='b', last=False)"
    assert str(inspect.signature(Group)) == "(first=1, *, choice='a', last=False)"
    assert list(map(described, Other._parameter_constraints["choice"])) == ["str: a, b", "None"]
    assert not hasattr(Other, "choice") and not hasattr(Other(), "left_")
    if Other.__doc__:
        assert "choice : {'a', 'b'} or None, default='b'\n    One of some.\n" in Other.__doc__
        assert "last : flag, default=False" in Other.__doc__
        assert "Attributes\n----------\nleft_ : list of float\n" in Other.__doc__


def test_another_default_without_a_declaration_is_an_error():
    with pytest.raises(TypeError, match=r"Other\.last is True; .*param"):

        class Other(Group):
            last = True


def test_a_constructor_of_ones_own_stays():
    class Mine(sknn.MLPNetRegressor):
        def __init__(self, size=3):
            super().__init__("huber", (size,))
            self.size = size

    class Yours(Mine):
        pass

    assert clone(Yours(4)).get_params() == {"size": 4}
    assert Yours(4).hidden_layer_sizes == (4,)


@pytest.mark.parametrize("name", estimators())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_a_fit_leaves_is_documented(name):
    net = estimators()[name]
    net.fit(*data_for(net))
    rows = re.findall(r"^(\w+_) : ", type(net).__doc__ or "", re.MULTILINE)
    left = {name for name in vars(net) if name.endswith("_") and not name.startswith("_")}
    assert left <= set(rows)


def test_without_docstrings_all_else_is_the_same():
    code = "import sknn; [getattr(sknn, name) for name in sknn.__all__]; "
    code += "print(sknn.MLPNet.__doc__, sknn.MLPNet(alpha=1), sknn.MLPNet().loss)"
    run = [sys.executable, "-OO", "-c", code]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out == "None MLPNet(alpha=1) auto\n"


if __name__ == "__main__":
    FILE.write_text(signatures(), encoding="utf-8")
