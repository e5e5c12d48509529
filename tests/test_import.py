"""What can be taken from ``lcat`` itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lcat
import lcat.nn
from tests.support.layers import FAMILIES, LAYERS, OF_PYG


@pytest.mark.parametrize("name", [*LAYERS, *OF_PYG, *FAMILIES])
def test_layers_can_be_taken_from_the_package(name):
    space: dict[str, object] = {}
    exec(f"from lcat import {name}", space)
    assert space[name] is getattr(lcat.nn, name)
    assert name in dir(lcat)


def test_the_package_names_no_layer_that_does_not_exist():
    assert sorted(name for name in dir(lcat) if name.endswith("Conv")) == sorted([*LAYERS, *OF_PYG, *FAMILIES])


@pytest.mark.parametrize(("name", "home"), [("POGO", "lcat.optim"), ("GAT", "lcat.nn.models"), ("fit", "lcat.train")])
def test_other_names_say_where_to_look(name, home):
    with pytest.raises(AttributeError, match=f"'lcat' has no attribute '{name}'.*{home}"):
        getattr(lcat, name)


PYDANTIC = ("annotated_types", "pydantic", "pydantic_core", "typing_inspection")
# What may come with each import beside this library, the standard library and what is loaded before it.
STARTS = [
    ("", "lcat", ()),
    ("import torch", "lcat.ops", ()),
    ("import torch", "lcat.optim", ()),
    ("import torch_geometric.nn", "lcat.nn", ()),
    ("import torch_geometric.nn", "lcat.train", ()),
    ("import torch_geometric.nn", "lcat.data", ()),
    # A worker of a study is ready after this; plans are checked by pydantic.
    ("import torch_geometric.nn", "lcat.study.running.engines.worker", PYDANTIC),
]
COMMAND = [("import typer", "lcat.cli.app", ())]


# Each import in a process of its own, which begins with all that the lines before have put in front of it.
CODE = """
import ast, os, sys
for before, name, _ in ast.literal_eval(sys.argv[1]):
    exec(before)
    if os.fork():
        assert os.wait()[1] == 0, name
        continue
    loaded = set(sys.modules)
    exec("import " + name)
    roots = {module.partition(".")[0] for module in set(sys.modules) - loaded}
    print(name, *sorted(roots - set(sys.stdlib_module_names)), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def loaded():
    """The libraries that each import loads, by its name."""
    printed = ""
    for starts in (STARTS, COMMAND):
        command = [sys.executable, "-c", CODE, str(starts)]
        printed += subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: set(roots) for name, *roots in map(str.split, printed.splitlines())}


@pytest.mark.parametrize(("name", "allowed"), [(name, allowed) for _, name, allowed in STARTS + COMMAND])
def test_an_import_loads_nothing_that_it_does_not_need(name, allowed, loaded):
    """``import lcat.nn`` takes as long as ``import torch_geometric.nn``, because nothing else is loaded."""
    assert loaded[name] - {"lcat", "__mp_main__"} <= set(allowed)
