"""What may import what: packages, the folders inside three of them, and nothing in a circle.

The tables say what is used, no more: a test fails where one allows an import that nobody makes. So a new
import between packages is a line in a table here, and is seen in review.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import lcat

ROOT = Path(lcat.__file__).parent
EXAMPLES = ROOT.parent / "examples"

# part of lcat -> the parts that it imports, at module level or inside functions; each part stands below what uses it
_PARTS: dict[str, set[str]] = {
    "graph": set(),
    "ops": {"graph"},
    "nn": {"graph", "ops"},
    "optim": set(),
    "testing": {"optim"},
    "data": {"graph"},
    "train": {"nn", "optim", "data"},
    "study": {"ops", "nn", "data", "train"},
    "ogb": {"ops", "nn", "data", "train"},
    "cli": {"ops", "data", "study", "ogb"},
}
# The same inside packages of several folders.
_ROOMS: dict[str, dict[str, set[str]]] = {
    "study": {
        "_folder": set(),
        "statistics": set(),
        "models": set(),
        "analysis": {"statistics", "models"},
        # A plan checks the names of objectives, and has the default margin of tests of equivalence.
        "plan": {"_folder", "models", "analysis", "statistics"},
        "tasks": {"models", "plan"},
        "store": {"_folder", "statistics", "models", "plan"},  # the level of the last look
        "running": {"_folder", "models", "plan", "store", "tasks"},
        "report": {"_folder", "statistics", "models", "analysis", "plan", "store"},
        "export": {"_folder", "plan", "store"},
        "study": {"_folder", "statistics", "analysis", "plan", "store", "report", "export"},
        "retrain": {"_folder", "plan", "store", "running", "study"},
        "driver": {"_folder", "plan", "store", "running", "study"},
        "decide": {"analysis", "statistics", "plan", "store", "study", "driver"},
    },
    "data": {
        "splits": set(),
        "storage": set(),
        "datasets": {"splits"},
        "loading": {"storage"},
        "ogb": {"datasets"},
    },
}
# In ops, a folder is a primitive; what they share stands below all of them.
_PRIMITIVES: dict[str, set[str]] = {
    "_extremes": set(),
    "_aggregate": {"_extremes"},
    "_gat_attention": {"_aggregate"},
    "_gatv2_attention": set(),
    "_dot_attention": set(),
}
# The graph view is one public module and four private ones.
_PART_OF = {"_graph_cache": "graph", "_checksum": "graph", "_edge_formats": "graph", "_tracing": "graph"}
# Tools that all of lcat may import. They import nothing of lcat but each other.
_SHARED = {
    "_version",
    "_arrays",
    "_json",
    "_files",
    "_text",
    "_option_names",
    "_environment",
    "_deprecated",
    "_names",
    "_pyg_datasets",
    "_measures",
    "_numbers",
    "_output",
    "_progress",
    "_locks",
    "_seed_list",
    "_seeds",
    "_memory",
    "_device",
    "_weak_entries",
}
# Private modules that other packages may import: the tools, the formats of edges, checksums, questions about tracing.
_OPEN = _SHARED | {"_edge_formats", "_tracing", "_checksum"}
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


def _assert_none(problems: Iterable[str]) -> None:
    wrong = sorted(set(problems))
    assert not wrong, "\n".join(["", *wrong])


class Import(NamedTuple):
    """One name that a module imports."""

    importer: str
    name: str  # dotted: module and, after ``from``, what is taken of it
    for_types: bool  # under ``if TYPE_CHECKING``

    def __str__(self) -> str:
        return f"{self.importer} imports {self.name}"


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


@cache
def _modules() -> dict[str, ast.Module]:
    return {_module(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def _imports_of(importer: str, tree: ast.Module) -> Iterator[Import]:
    for_types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, id(node) in for_types)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer} imports relatively"
            for alias in node.names:
                yield Import(importer, f"{node.module}.{alias.name}", id(node) in for_types)


@cache
def _imports() -> tuple[Import, ...]:
    """All imports that happen when the code runs, and those for type checkers."""
    return tuple(one for name, tree in _modules().items() for one in _imports_of(name, tree))


def _part(name: str) -> str | None:
    """The part of lcat that a dotted name belongs to."""
    pieces = name.split(".")
    if pieces[0] != "lcat" or len(pieces) == 1:
        return None
    return _PART_OF.get(pieces[1], pieces[1])


def _room(name: str, package: str) -> str | None:
    """The file or folder of a package that a dotted name belongs to."""
    pieces = name.split(".")
    return pieces[2] if pieces[:2] == ["lcat", package] and len(pieces) > 2 else None


def _target(name: str) -> str | None:
    """The module of lcat that is loaded for a dotted name."""
    while name:
        if name in _modules():
            return name
        name = name.rpartition(".")[0]
    return None


def _problems(label: str, table: dict[str, set[str]], used: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Where a table and what is used differ, and where a table does not point downwards."""
    pairs = set(used)
    order = list(table)
    for user, allowed in table.items():
        for name in allowed - set(order[: order.index(user)]):
            yield f"{label}: {name} does not stand below {user} in the table"
        for name in allowed:
            if (user, name) not in pairs:
                yield f"{label}: a table allows {user} to import {name}, and nothing does"
    for user, name in pairs:
        if user not in table:
            yield f"{label}: {user} is in no table"
        elif name not in table[user]:
            yield f"{label}: {user} imports {name}"


def test_parts_import_downwards_and_no_more_than_the_table_says() -> None:
    pairs = [(_part(one.importer), _part(one.name)) for one in _imports() if not one.for_types]
    entries = {"__main__", None}
    used = {(a, b) for a, b in pairs if a != b and a not in entries | _SHARED and b is not None and b not in _SHARED}
    _assert_none(_problems("parts", _PARTS, used - {("cli", "__version__")}))


def test_every_part_has_its_place() -> None:
    parts = {_part(name) for name in _modules()} - {None, "__main__"} - _SHARED
    assert parts == set(_PARTS), "a new part of lcat: say in this test what it may import"


@pytest.mark.parametrize("package", sorted(_ROOMS))
def test_rooms_of_a_package_import_downwards(package: str) -> None:
    table = _ROOMS[package]
    rooms = {_room(name, package) for name in _modules()} - {None}
    pairs = {(_room(one.importer, package), _room(one.name, package)) for one in _imports() if not one.for_types}
    used = {(a, b) for a, b in pairs if a != b and a is not None and b in rooms}
    strangers = [f"{package}: {room} is in no table" for room in rooms - set(table)]
    _assert_none([*_problems(package, table, used), *strangers])


def test_primitives_stand_above_what_they_share() -> None:
    pairs = {(_room(one.importer, "ops"), _room(one.name, "ops")) for one in _imports() if not one.for_types}
    into = {(a, b) for a, b in pairs if a != b and a is not None and b in _PRIMITIVES}
    _assert_none(_problems("ops", _PRIMITIVES, into))
    folders = {path.name for path in (ROOT / "ops").iterdir() if (path / "naive.py").exists()}
    assert folders == set(_PRIMITIVES), "a new primitive: say in this test which ones it uses"
    assert {b for a, b in pairs if a == "_triton" and b != "_triton"} <= {None}, "_triton is below all of ops"


def test_no_circle() -> None:
    """Not even one that a function hides by importing late."""
    arrows: dict[str, set[str]] = {name: set() for name in _modules()}
    for one in _imports():
        target = _target(one.name)
        if target is not None and target != one.importer and not one.for_types:
            arrows[one.importer].add(target)
    _assert_none(", ".join(sorted(circle)) for circle in _circles(arrows))


def _circles(arrows: dict[str, set[str]]) -> Iterator[set[str]]:
    """Sets of modules that all reach each other."""
    reached: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        stack = [start]
        while stack:
            new = arrows[stack.pop()] - seen
            seen |= new
            stack.extend(new)
        reached[start] = seen
    for start, seen in reached.items():
        circle = {name for name in seen if start in reached[name]}
        if start in circle and start == min(circle):
            yield circle


def test_a_circle_is_seen() -> None:
    assert list(_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})) == [{"b", "c"}]


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _attributes(tree: ast.Module, owner: str | None) -> Iterator[str]:
    """Private names that are taken of modules of lcat by a dot, as in ``ops._fused``."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = source + alias.name
                if name in _modules() and _part(name) not in (None, owner):
                    modules[alias.asname or alias.name.split(".")[0]] = name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            base = ast.unparse(node.value)
            if base in modules or base in modules.values():
                yield f"{base}.{node.attr}"


def test_no_private_import_across_packages() -> None:
    problems = []
    for one in _imports():
        owner, pieces = _part(one.importer), one.name.split(".")
        if pieces[0] != "lcat" or _part(one.name) == owner:
            continue
        if any(_is_private(piece) for piece in pieces[1:] if piece not in _OPEN):
            problems.append(str(one))
    for name, tree in _modules().items():
        problems += [f"{name} takes {taken}" for taken in _attributes(tree, _part(name))]
    _assert_none(problems)


def test_examples_use_public_names_only() -> None:
    trees = {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in EXAMPLES.glob("*.py")}
    assert trees
    names = [one for name, tree in trees.items() for one in _imports_of(name, tree)]
    assert [str(one) for one in names if any(_is_private(piece) for piece in one.name.split("."))] == []


def test_shared_tools_import_nothing_of_lcat_but_each_other() -> None:
    assert {name for name in _SHARED if f"lcat.{name}" not in _modules()} == set()
    wrong = [one for one in _imports() if _part(one.importer) in _SHARED and _part(one.name) not in {None, *_SHARED}]
    _assert_none(map(str, wrong))


def test_no_exported_function_has_the_name_of_a_submodule() -> None:
    """``import lcat.ops.x as m`` gives the function then, and monkeypatching by dotted path fails."""
    problems = []
    for path in ROOT.rglob("__init__.py"):
        children = {child.stem for child in path.parent.iterdir() if child.suffix == ".py" or child.is_dir()}
        package = _module(path)
        for node in _modules()[package].body:
            if isinstance(node, ast.ImportFrom):
                bound = {
                    alias.asname or alias.name
                    for alias in node.names
                    if f"{node.module}.{alias.name}" not in _modules()
                }
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                bound = {node.name}
            else:
                continue
            problems += [f"{package} exports {name}, and has a module of that name" for name in bound & children]
    _assert_none(problems)


@pytest.mark.parametrize("part", _FREE_OF_PYG)
def test_free_of_pyg(part: str) -> None:
    wrong = [
        str(one)
        for one in _imports()
        if _part(one.importer) == part and one.name.split(".")[0] in ("torch_geometric", "torch_sparse")
    ]
    assert wrong == []


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.splitlines()[-1].split())


def test_import_lcat_is_light() -> None:
    assert _modules_after("import lcat; lcat.__version__; dir(lcat)").isdisjoint(_HEAVY)


@pytest.mark.parametrize("part", _FREE_OF_PYG)
def test_import_without_pyg(part: str) -> None:
    loaded = _modules_after(f"import lcat.{part}")
    assert loaded.isdisjoint({"torch_geometric", "pandas", "matplotlib", "ogb", "scipy"})
