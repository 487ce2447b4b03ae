"""Signatures and what is valid stay as they are; groups of parameters do what they promise.

``python tests/test_parameters.py`` writes signatures.txt anew: where it changes, so does what
users may write.
"""

import inspect
import pathlib

import pytest
from sklearn.utils._param_validation import Options

import sknn

FILE = pathlib.Path(__file__).parent / "signatures.txt"


def described(constraint):
    """Return what is valid in words that do not depend on the order in a set."""
    if isinstance(constraint, Options):
        return f"{constraint.type.__name__}: {', '.join(sorted(map(str, constraint.options)))}"
    return constraint.__name__ if isinstance(constraint, type) else str(constraint)


def signatures():
    """Return the parameters of all estimators, a line each, and what is valid for them."""
    lines = []
    for name in sknn.__all__:
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


@pytest.mark.parametrize("name", sknn.__all__)
def test_what_is_no_parameter_is_an_error_that_names_the_class(name):
    cls = getattr(sknn, name)
    with pytest.raises(TypeError, match=rf"{name}.*hiden_layer_sizes"):
        cls(hiden_layer_sizes=3)
    n_positional = sum(
        p.kind is not p.KEYWORD_ONLY for p in inspect.signature(cls).parameters.values()
    )
    with pytest.raises(TypeError, match=f"{name}.*positional"):
        cls(*[None] * (n_positional + 1))


if __name__ == "__main__":
    FILE.write_text(signatures(), encoding="utf-8")
