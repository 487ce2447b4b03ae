"""The code in the README and in the pages runs, every public name and parameter is documented."""

import doctest
import inspect
import re
from dataclasses import fields
from pathlib import Path
from textwrap import dedent

import pytest

import sknn
from sknn import layers
from sknn.architectures import ARCHITECTURES
from sknn.compile import USUAL

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = [getattr(sknn, name) for name in sorted(USUAL)]

# --- code blocks

#: Names that blocks of code in the pages can use. The README's blocks have none.
DATA = """
import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

X, y = load_digits(n_class=2, return_X_y=True)
X, y = X[:40].astype("float32") / 16, y[:40]
X_train, X_test, y_train, y_test = X[:30], X[30:], y[:30], y[30:]
X_val, y_val = X_test, y_test
X_all, X_labeled, X_noisy = X, X, 1 - X
images, images_train, images_test = (some.reshape(-1, 8, 8) for some in (X, X_train, X_test))
images_val = images_test
grid = {"alpha": [1e-4, 1e-2]}
sequences = list(X)
documents = ["The hat", "The path"] * 20
text = held_out = " ".join(documents)
"""
#: Additional names for the blocks of a section, by its title.
BEFORE = {
    "Loading pre-trained weights": """
from safetensors.numpy import load_file, save_file

from sknn import ConvNetClassifier

images, y = np.zeros((5, 64, 64, 3), "float32"), np.arange(5)  # nothing to learn: a short fit
net = ConvNetClassifier("resnet18", max_iter=1).fit(images, y)
net.save_weights("resnet18.safetensors")
weights = load_file("resnet18.safetensors")
weights["fc.weight"] = np.zeros((1000, 512), "float32")
weights["fc.bias"] = np.zeros(1000, "float32")
save_file(weights, "resnet18.safetensors")
""",
    "Data sets": """
np.savez("mnist.npz", **{
    f"{kind}_{part}": np.zeros((10, 28, 28) if kind == "x" else 10, "uint8")
    for kind in "xy" for part in ("train", "test")
})
""",
    "A folder of images": """
from pathlib import Path

from PIL import Image

for name in ("cats", "dogs"):
    Path("pets", name).mkdir(parents=True)
    for i in range(5):
        noise = np.random.RandomState(i).randint(0, 256, (40, 50, 3)).astype("uint8")
        Image.fromarray(noise).save(f"pets/{name}/{i}.png")
""",
    "Fine-tuning": 'images, y = np.zeros((5, 64, 64, 3), "float32"), np.arange(5)',
    "Predicting large images": """
from sknn.layers import GlobalAveragePooling2D

images = np.random.rand(4, 16, 16, 3).astype("float32")
net = ConvNetClassifier([Conv2D(2, 3), GlobalAveragePooling2D()], max_iter=2)
small = net.fit(images, [0, 1, 0, 1])
""",
    "Using your own validation data": "from sknn import MLPNetClassifier",
    "Threads": "from sknn import MLPNetClassifier; net = MLPNetClassifier(max_iter=5)",
}


def code_blocks(path):
    """Return each block of Python in a text: the title of its section, its line, the code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        title, block = r"^#+ (.+)$", r"^```python\n(?P<code>(?s:.*?))^```$"
    else:
        title = r"^(.+)\n(?:=+|-+|\^+)$"
        block = r"^(?P<indent> *)\.\. code-block:: python\n\n(?P<code>(?:(?P=indent)   .*\n|\n)+)"
    titles = [(match.start(), match[1]) for match in re.finditer(title, text, re.MULTILINE)]
    return [
        (
            max(some for some in titles if some[0] < match.start())[1],
            text.count("\n", 0, match.start("code")),
            dedent(match["code"]),
        )
        for match in re.finditer(block, text, re.MULTILINE)
    ]


#: What some of the blocks use besides what is always installed.
NEEDED = (
    "distributed", "matplotlib", "onnxruntime", "optuna", "PIL", "rich", "safetensors", "skl2onnx",
    "skops", "tensorboardX", "zarr",
)  # fmt: skip


PAGES = sorted((*ROOT.glob("doc/*.rst"), *ROOT.glob("doc/guide/*.rst")))
TEXTS = [path for path in PAGES if code_blocks(path)]
#: A page whose code is one program, which takes nothing as given.
STORY = ROOT / "doc" / "guide" / "afternoon.rst"


def run_blocks(path, prepare=False):
    """Run a text's blocks one after the other, each with the names of those before it."""
    names = {}
    for title, line, code in code_blocks(path):
        if prepare:
            exec(DATA + BEFORE.get(title, ""), names)
        exec(compile("\n" * line + code, path, "exec"), names)


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_the_readme_runs_as_it_is():
    run_blocks(ROOT / "README.md")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_code_blocks_run(path, monkeypatch, tmp_path):
    for module in NEEDED:
        pytest.importorskip(module)
    if path == STORY:
        for module in ("PIL", "onnxruntime", "skl2onnx", "tensorboard", "tensorboardX"):
            pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    run_blocks(path, prepare=path != STORY)
    imread = pytest.importorskip("matplotlib.image").imread
    for picture in re.findall(r"^\.\. figure:: (.+)$", path.read_text("utf-8"), re.MULTILINE):
        shown, made = path.parent / picture, tmp_path / Path(picture).name  # by the page's code
        assert imread(shown).shape == imread(made).shape


def test_sections_with_preparations_exist():
    assert set(BEFORE) <= {title for path in TEXTS for title, _, _ in code_blocks(path)}


def test_the_readme_stays_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    missing = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not (ROOT / link).exists()]
    assert missing == []


# --- docstrings


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_every_estimator_has_an_example(cls):
    """Which pytest runs by itself, as ``.ci/run`` says."""
    assert doctest.DocTestParser().get_examples(cls.__doc__)


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
    "CategoryEmbedding": ([2, 3],),
    "Concatenate": ([[], [layers.Dense(3)]],),
    "ContractivePenalty": ("code", "tanh", 0.1),
    "Conv2D": (4, 3),
    "Conv2DTranspose": (4, 3),
    "Dense": (3,),
    "Dropout": (0.5,),
    "Embedding": (5, 3),
    "EnsembleDense": (3, 2),
    "EncoderDecoder": ([layers.LSTM(3)], [layers.LSTM(3, return_sequences=True)], 4),
    "GRU": (3,),
    "GaussianNoise": (0.1,),
    "GroupedDense": (3, 2),
    "LSTM": (3,),
    "MaskingNoise": (0.1,),
    "ParametricActivation": ("elu",),
    "RadialBasis": (3,),
    "RandomCrop": (8, 8),
    "RandomShift": (1, 1),
    "RepeatVector": (3,),
    "Reshape": ((3,),),
    "Residual": ([layers.Dense(3)],),
    "SaltAndPepperNoise": (0.1,),
    "Select": (0, 3),
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
    listed = set((ROOT / "doc" / "api.rst").read_text(encoding="utf-8").split())
    assert {*sknn.__all__, *layers.__all__, *ARCHITECTURES} <= listed
