"""Imports point downwards, and importing lcat stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lcat

ROOT = Path(lcat.__file__).parent

# package -> the parts of lcat that it may import at module level or inside functions
_BELOW: dict[str, set[str]] = {
    "graph": set(),
    "ops": {"graph"},
    "optim": set(),
    "nn": {"graph", "ops"},
    "data": {"nn", "optim", "ops", "graph"},
    "train": {"data", "nn", "optim", "ops", "graph"},
    "study": {"train", "data", "nn", "optim", "ops", "graph"},
    "ogb": {"train", "data", "nn", "optim", "ops", "graph"},
    "testing": {"nn", "optim", "ops", "graph"},
    "cli": {"study", "ogb", "train", "data", "nn", "optim", "ops", "graph"},
}
# The graph view is one public module and two private ones.
_PART_OF = {"_graph_cache": "graph", "_edge_formats": "graph"}
# Modules that import nothing of lcat, and that all of it may import.
_IMPORTS_NOTHING = {"_version", "__version__", "_json", "_files"}
_FREE_OF_PYG = ("graph", "ops", "optim")
_HEAVY = {
    "torch",
    "torch_geometric",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "triton",
    "ogb",
    "ray",
    "pydantic",
    "rich",
}


def _files() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        yield _PART_OF.get(part, part), path


def _imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def _parts(name: str) -> str | None:
    """The part of lcat that a dotted name belongs to."""
    pieces = name.split(".")
    if pieces[0] != "lcat" or len(pieces) == 1:
        return None
    return _PART_OF.get(pieces[1], pieces[1])


@pytest.mark.parametrize("part", sorted(_BELOW))
def test_imports_point_downwards(part: str) -> None:
    allowed = _BELOW[part] | {part, *_IMPORTS_NOTHING}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for owner, path in _files()
        if owner == part
        for name in _imports(path)
        if _parts(name) is not None and _parts(name) not in allowed
    ]
    assert wrong == []


def test_what_all_may_import_imports_nothing_of_lcat() -> None:
    files = [path for part, path in _files() if part in _IMPORTS_NOTHING]
    assert len(files) == 3
    assert [name for path in files for name in _imports(path) if _parts(name) is not None] == []


def test_every_part_has_its_place() -> None:
    parts = {part for part, _ in _files()} - {"__init__", "__main__"} - _IMPORTS_NOTHING
    assert parts <= set(_BELOW), "a new part of lcat: say in this test what it may import"


@pytest.mark.parametrize("part", _FREE_OF_PYG)
def test_free_of_pyg(part: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for owner, path in _files()
        if owner == part
        for name in _imports(path)
        if name.split(".")[0] in ("torch_geometric", "torch_sparse")
    ]
    assert wrong == []


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.splitlines()[-1].split())


def test_import_lcat_is_light() -> None:
    assert _modules_after("import lcat; lcat.__version__; dir(lcat)").isdisjoint(_HEAVY)


def test_help_is_light() -> None:
    pytest.importorskip("typer")
    statement = (
        "import sys, lcat.cli\nsys.argv = ['lcat', '--help']\ntry:\n    lcat.cli.main()\nexcept SystemExit:\n    pass"
    )
    # The command line library draws its help with rich.
    assert _modules_after(statement).isdisjoint(_HEAVY - {"rich"})


@pytest.mark.parametrize("part", _FREE_OF_PYG)
def test_import_without_pyg(part: str) -> None:
    found = _modules_after(f"import lcat.{part}")
    assert found.isdisjoint({"torch_geometric", "pandas", "matplotlib", "ogb", "scipy"})
