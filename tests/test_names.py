"""Identifiers and options keep to the word list of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("lcat", "tests", "benchmarks", "examples", "docs")
# Files whose names are not ours to choose: identifier -> why.
ALLOWED: dict[str, str] = {}


@cache
def _section() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = re.search(r"^## Word list\n(.*?)(?=^## )", text, re.M | re.S)
    assert section is not None, "CONTRIBUTING.md has no section 'Word list'"
    return section.group(1)


def _table(title: str) -> dict[str, str]:
    """The table under a title: word -> what to write."""
    part = re.search(rf"^{title}.*?\n\n((?:\|.*\n)+)", _section(), re.M)
    assert part is not None, f"the word list has no table {title!r}"
    entries = {}
    for line in part.group(1).splitlines()[2:]:
        words, better = (cell.strip().split(", ") for cell in line.strip("|").split("|"))
        one_each = len(words) == len(better)
        entries.update({word: better[i] if one_each else ", ".join(better) for i, word in enumerate(words)})
    return entries


def _identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a file gives: functions, classes, arguments, variables, attributes, aliases."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, getattr(node, "lineno", 0)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for option in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", node.value):
                yield option.replace("-", "_"), node.lineno


def _problems(tree: ast.Module) -> Iterator[str]:
    words, spellings = _table("Names"), _table("Spelling")
    for name, line in _identifiers(tree):
        if name in ALLOWED:
            continue
        plain = name.strip("_")
        if plain in words:
            yield f"{line}: {name} says nothing; name the thing, such as {words[plain]}"
        for part, better in spellings.items():
            if part in plain.lower():
                yield f"{line}: {name} has {part}; write {better}"


def _files() -> list[str]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    names = {path.relative_to(ROOT).as_posix() for path in paths if "_build" not in path.parts}
    return sorted(names - {"tests/test_names.py"})  # holds wrong names to show that they are seen


@pytest.mark.parametrize("file", _files())
def test_names(file: str) -> None:
    problems = list(_problems(ast.parse((ROOT / file).read_text(encoding="utf-8"))))
    assert not problems, "\n".join([file, *problems])


def test_the_word_list_is_read() -> None:
    assert {"found", "most", "peek"} <= set(_table("Names"))
    assert {"neighbour", "normalis", "fan_out"} <= set(_table("Spelling"))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("def neighbours(): ...", "neighbours"),
        ("def f(found): ...", "found"),
        ("_most = 3", "_most"),
        ("self.colour_map = 1", "colour_map"),
        ("import numpy as there", "there"),
        ("options = ['--normalise']", "normalise"),
        ("class Normaliser: ...", "Normaliser"),
    ],
)
def test_a_wrong_name_is_seen(code: str, name: str) -> None:
    assert [problem.split()[1] for problem in _problems(ast.parse(code))] == [name]


@pytest.mark.parametrize("code", ["found_edges = 1", "x = found", "'the most of --neighbors'", "almost = valid = 1"])
def test_a_right_name_passes(code: str) -> None:
    assert list(_problems(ast.parse(code))) == []
