"""The rooms: which may import which. Imports only go downward, so there are no cycles."""

import ast
import pathlib
import subprocess
import sys

import pytest

import sknn

HERE = pathlib.Path(sknn.__file__).parent
FAMILIES = {
    "feedforward", "radial", "images", "sequences", "text", "autoencoders", "tabular",
}  # fmt: skip
#: For each room, the rooms of the package that it may import besides itself.
BELOW = {
    "hints": set(),
    "tape": set(),
    "store": set(),
    "layers": {"hints", "tape"},
    "cpu": {"tape", "store"},
    "cuda": {"tape", "store"},
    "engine": {"tape", "layers", "store", "cpu", "cuda"},
    "summary": {"tape", "layers"},
    "architectures": {"tape", "layers"},
    "files": {"tape", "layers", "engine"},
    "estimator": {"hints", "tape", "layers", "engine", "summary", "files"},
}
BELOW |= dict.fromkeys(FAMILIES, BELOW["estimator"] | {"estimator", "architectures"})
BELOW["callbacks"] = {"tape", "engine", "layers", "files", "estimator"}
BELOW["display"] = {"hints", "engine", "layers", "estimator", *FAMILIES}
BELOW["diagnosis"] = {"hints", "tape", "engine", "layers", "summary", "estimator"}
BELOW["datasets"] = {"hints", "engine", "estimator"}
BELOW["export"] = {"hints", "tape", "engine", "layers", "estimator", *FAMILIES}
BELOW["distributed"] = {"hints", "tape", "engine", "layers", "files", "estimator", *FAMILIES}
BELOW["compile"] = {"sknn", "tape", "engine", "layers", "hints"}
BELOW["tabular"] = BELOW["tabular"] | {"feedforward"}
BELOW["text"] = BELOW["text"] | {"sequences"}
BELOW["autoencoders"] = BELOW["autoencoders"] | {"feedforward", "images", "sequences"}
MODULES = sorted(HERE.rglob("*.py"))


def name_of(path):
    """Return a module's name within the package, as a tuple."""
    parts = path.relative_to(HERE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(path):
    """Return the modules of the package that a file imports, at whatever place, as tuples."""
    package = path.relative_to(HERE).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
            found |= {name[1:] for name in names if name[0] == "sknn"}
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = (*package[: len(package) + 1 - node.level], *base)
            elif base[0] != "sknn":
                continue
            else:
                base = base[1:]
            inner = {(*base, alias.name) for alias in node.names}
            known = {name for name in inner if name in NAMES}
            found |= known or {base}
    return found


NAMES = {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(name_of(path)) or "sknn")
def test_rooms_only_look_down(path):
    name = name_of(path)
    if not name:  # the package itself re-exports names from all others
        return
    rooms = {other[0] if other else "sknn" for other in imports_of(path)}
    assert rooms <= BELOW[name[0]] | {name[0]}


def test_devices_are_reached_by_the_registry():
    for room in ("cpu", "cuda"):
        users = {name_of(p) for p in MODULES if any(n[:1] == (room,) for n in imports_of(p))}
        assert {name for name in users if name[0] != room} == {("engine", "devices")}


def test_kernels_are_for_themselves():
    """The digest of the cache of kernels is of this folder: what they read must lie in it."""
    for path in (HERE / "cpu" / "kernels").glob("*.py"):
        assert {name[:2] for name in imports_of(path)} <= {("cpu", "kernels")}, path.name


def test_no_modules_import_each_other_in_a_circle():
    arrows = {name_of(path): imports_of(path) & NAMES - {name_of(path)} for path in MODULES}
    done = set()

    def visit(name, way):
        assert name not in way, " -> ".join(".".join(part) for part in (*way, name))
        if name not in done:
            for other in sorted(arrows[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(arrows):
        visit(name, ())


def test_parts_that_most_programs_do_not_need_are_imported_when_they_are_used():
    code = (
        "import sys, sknn; parts = sknn._PARTS; names = ['sknn.' + part for part in parts];"
        "assert not set(names) & set(sys.modules); assert set(parts) <= set(dir(sknn));"
        "assert [getattr(sknn, part).__name__ for part in parts] == names; sknn.dysplay"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: module 'sknn' has no attribute 'dysplay'" in ended.stderr
