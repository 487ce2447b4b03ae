"""Type checkers report errors only in wrong uses of the package."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RIGHT = """
from typing import Any, assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import sknn
from sknn.callbacks import Checkpoint
from sknn.layers import Activation, Conv2D, Dense, Flatten, Layer, Residual

X, y = np.zeros((4, 3)), [0, 1, 0, 1]
net = sknn.MLPNetClassifier((3, 4), ["tanh", Activation("elu")], alpha=1, dropout=0.5)
assert_type(net.fit(X, y), sknn.MLPNetClassifier)
assert_type(net.fit(X, y, X_val=X, y_val=y).predict(X), NDArray[Any])
assert_type(net.partial_fit(X, y).predict_proba(X), NDArray[Any])
net.set_callbacks(Checkpoint("net.checkpoint", every=2)).fit(X, y, resume_from="net.checkpoint")
assert_type(net.coefs_, list[NDArray[Any]])
assert_type(net.loss_curve_, list[float])
assert_type(net.validation_scores_, list[float] | None)
assert_type(net.n_iter_, int)
assert_type(net.history_, pd.DataFrame)
assert_type(net.classes_, NDArray[Any])
assert_type(net.score(X, y), float)

for solver in ("sgd", "adam"):
    sknn.MLPNetRegressor("huber", 3, "relu", solver=solver, random_state=np.random.RandomState(0))
sknn.MLPNet("regression", loss="poisson", class_weight=None, batch_size="auto")
blocks = [Residual([Conv2D(3, 3, padding="same")]), Flatten(), Dense(2)]
images = sknn.ConvNetClassifier(blocks, (8, 8), class_weight={0: 1, 1: 2.5})
assert_type(images.fit(X, y).layers_, list[Layer])
assert_type(images.weights_, dict[str, dict[str, NDArray[Any]]])
assert_type(sknn.ConvNetTransformer(images, -1).fit(X, y).transform(X), NDArray[Any])
assert_type(sknn.RNNClassifier("gru", [3, 4]).fit([[1], [2, 3]], [0, 1]).predict(X), NDArray[Any])
rbf = sknn.RBFNetRegressor(3, "gaussian", centers=X, widths=1)
assert_type(rbf.fit(X, y).centers_, NDArray[Any])
assert_type(sknn.CharRNN("lstm", 3, 2).fit("text").sample(3), str)
assert_type(sknn.RNNRegressor("gru", 3).fit(X, y).forecast(X, 2), NDArray[Any])
assert_type(sknn.CharMarkovChain(2).fit("text").perplexity("text"), float)
assert_type(sknn.Seq2SeqRNN("gru", 3, 1).fit(["a"], ["b"]).predict(["a"]), NDArray[Any])
assert_type(sknn.AutoencoderTransformer((3,), "tanh").fit(X).transform(X), NDArray[Any])
assert_type(sknn.VariationalAutoencoderTransformer(2, 3).fit(X).kl_curve_, list[float])
assert_type(sknn.SequenceAutoencoderTransformer(2, "gru").fit(X).reconstruct(X), NDArray[Any])
assert_type(sknn.ConvAutoencoderTransformer(image_shape=[8, 8]).fit(X).score(X), float)
detector = sknn.ReconstructionOutlierDetector(sknn.AutoencoderTransformer(3), contamination=0.1)
assert_type(detector.fit(X).score_samples(X), NDArray[Any])
assert_type(sknn.PerceptronClassifier().fit(X, y).errors_, list[int])


class Mine(sknn.MLPNetRegressor):
    def __init__(self, size: int = 3):
        super().__init__("huber", (size,))


assert_type(Mine(3).fit(X, y), Mine)
"""

#: Each line is wrong, by the rule that its comment names.
WRONG = """
import sknn
from sknn.callbacks import Checkpoint

sknn.MLPNetClassifier(hiden_layer_sizes=(3,))  # reportCallIssue
sknn.MLPNetClassifier((3,), "relu", "adam")  # reportCallIssue
sknn.MLPNet("regression", (3,))  # reportCallIssue
sknn.VariationalAutoencoderTransformer(2, max_fun=3)  # reportCallIssue
sknn.MLPNetClassifier(solver="adma")  # reportArgumentType
sknn.MLPNetClassifier(loss="huber")  # reportArgumentType
sknn.CharRNN(solver="lbfgs")  # reportArgumentType
sknn.RNNRegressor("gru2")  # reportArgumentType
sknn.ConvNetClassifier("lenet6")  # reportArgumentType
sknn.MLPNetRegressor(max_iter=1.5)  # reportArgumentType
sknn.PerceptronClassifier().coefs_  # reportAttributeAccessIssue
sknn.MLPNetClassifier().fit([[1]], [0]).predict()  # reportCallIssue
sknn.CharRNN().fit("text", resume_from=3)  # reportArgumentType
Checkpoint("file", every="2")  # reportArgumentType
"""


def snippets():
    """Return the documentation's code by file name: one file for the README, many for the pages."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files = {"readme.py": "".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))}
    block = re.compile(r"^( *)\.\. code-block:: python\n\n((?:\1   .*\n|\n)+)", re.MULTILINE)
    for path in (*ROOT.glob("doc/*.rst"), *ROOT.glob("doc/guide/*.rst")):
        for i, (_, code) in enumerate(block.findall(path.read_text(encoding="utf-8"))):
            files[f"{path.stem}_{i}.py"] = textwrap.dedent(code)
    return files


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """Return the checker's reports, as (line, rule, message) by file."""
    pytest.importorskip("basedpyright")
    folder = tmp_path_factory.mktemp("typing")
    # An environment with the package installed as for users, and everything else of this one.
    environment = folder / "venv"
    venv.create(environment, with_pip=False)
    place = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=place))
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "others.pth").write_text("\n".join(ours), encoding="utf-8")
    shutil.copytree(ROOT / "sknn", packages / "sknn", ignore=shutil.ignore_patterns("__pycache__"))
    sources = folder / "sources"
    shutil.copytree(ROOT / "examples", sources)
    for name, code in {"right.py": RIGHT, "wrong.py": WRONG, **snippets()}.items():
        (sources / name).write_text(code, encoding="utf-8")
    settings = {
        "extends": str(ROOT / "pyproject.toml"),
        "include": ["sources"],
        "stubPath": str(ROOT / "typings"),
        "reportUndefinedVariable": False,  # snippets continue others
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    scripts = Path(sysconfig.get_path("scripts", "venv", vars=place))
    python = shutil.which("python", path=str(scripts))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", python]
    done = subprocess.run(
        [*command, "--project", str(folder)], cwd=folder, capture_output=True, text=True
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= len(list(sources.glob("*.py")))
    found = {}
    for one in report["generalDiagnostics"]:
        line = one["range"]["start"]["line"]
        entry = line, one.get("rule"), one["message"]
        found.setdefault(Path(one["file"]).name, []).append(entry)
    return found


def test_right_code_has_no_error(problems):
    assert problems.get("right.py", []) == []


def test_each_wrong_line_is_an_error(problems):
    lines = WRONG.splitlines()
    expected = {(i, line.split("# ")[1]) for i, line in enumerate(lines) if "# " in line}
    assert {(line, rule) for line, rule, _ in problems["wrong.py"]} == expected


def test_examples_have_no_error(problems):
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert {name: found for name, found in problems.items() if name in names} == {}


def test_the_documentation_has_no_error(problems):
    # scikit-learn's own: a parameter of which a checker knows no more than the default, and a
    # result that is a list for another argument
    theirs = "max_propagation_depth", "data_as_pandas"
    found = {
        name: [one for one in problems.get(name, []) if not any(word in one[2] for word in theirs)]
        for name in snippets()
    }
    assert {name: some for name, some in found.items() if some} == {}
