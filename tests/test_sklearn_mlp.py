"""scikit-learn's own tests of its multilayer perceptrons, run on ours.

The source is that of the installed scikit-learn, with its two classes replaced; so it follows what
is installed. Left out is one test, for the private method that it calls:

- ``test_gradient``: calls ``_loss_grad_lbfgs``, a method of scikit-learn's classes that holds
  arguments of their own training loop. Our gradients are checked elsewhere, against finite
  differences and against PyTorch.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

LEFT_OUT = {"test_gradient"}
_IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
_OURS = "from sknn import MLPNetClassifier as MLPClassifier, MLPNetRegressor as MLPRegressor\n"

_path = Path(find_spec("sklearn").origin).parent / "neural_network" / "tests" / "test_mlp.py"
if not _path.exists():
    pytest.skip("scikit-learn is installed without its tests", allow_module_level=True)
_source = _path.read_text(encoding="utf-8")


@pytest.fixture
def global_random_seed():
    """The seed from scikit-learn's own pytest configuration."""
    return 42


def test_source_is_as_expected():
    # Without this, a changed import upstream would leave scikit-learn testing itself.
    assert _source.count(_IMPORT) == 1
    assert MLPClassifier.__module__.startswith("sknn")  # noqa: F821
    assert MLPRegressor.__module__.startswith("sknn")  # noqa: F821
    assert LEFT_OUT <= set(re.findall(r"^def (test_\w+)", _source, re.MULTILINE))


exec(compile(_source.replace(_IMPORT, _OURS), str(_path), "exec"))
for _name in LEFT_OUT:
    del globals()[_name]
