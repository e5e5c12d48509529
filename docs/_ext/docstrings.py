"""Small corrections of docstrings for the API reference."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

_NAMES = re.compile(r" {4}(\*{0,2}\w+, ?)+")


def join_argument_lists(lines: list[str]) -> list[str]:
    """Join the names of an entry of ``Args:`` that fill several lines: napoleon reads one line per entry."""
    out: list[str] = []
    inside = False
    for line in lines:
        if line and not line.startswith(" "):
            inside = line.strip() in ("Args:", "Attributes:")
        # names separated by commas, before the colon that ends the list
        if inside and out and _NAMES.fullmatch(out[-1] + " ") and re.match(r" {4,}\S", line):
            out[-1] = f"{out[-1].rstrip()} {line.strip()}".replace(", **", r", \*\*")
        else:
            out.append(line)
    return out


def comment_of(name: str) -> list[str]:
    """The ``#:`` comment of a constant, from the module that defines it: a re-export has no comment."""
    package, _, constant = name.rpartition(".")
    for module in [m for m in sorted(sys.modules) if m.startswith(package)]:
        try:
            comments = ModuleAnalyzer.for_module(module).find_attr_docs()
        except Exception:  # a module without source
            continue
        if ("", constant) in comments:
            return list(comments["", constant])
    return []


class Constants(SphinxDirective):
    """``.. constants:: package``: the public names of a package that are not classes, functions or modules."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        module = importlib.import_module(package)
        text: list[str] = []
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not callable(value) and not inspect.ismodule(value):
                text += ["", f".. py:data:: {name}", f"   :module: {package}", ""]
                text += [f"   {line}" for line in comment_of(f"{package}.{name}")]
        return self.parse_text_to_nodes("\n".join(text)) if text else []


def _repair(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    lines[:] = join_argument_lists(lines)
    if what == "class" and "Args:" not in lines:
        # Fields of a dataclass are the arguments of its constructor.
        lines[:] = ["Args:" if line == "Attributes:" else line for line in lines]


def _skip_fields(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    """Skip the fields of dataclasses: the docstring of their class describes them."""
    described = inspect.isroutine(obj) or isinstance(obj, (property, classmethod, staticmethod, type))
    return True if what == "class" and not described else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _repair, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", _skip_fields)
    app.add_directive("constants", Constants)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
