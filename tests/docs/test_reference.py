"""Every public name is in the API reference, has a docstring, and its examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lcat
from lcat.train import optimizers

DOCS = Path(__file__).parents[2] / "docs"
PACKAGES = (
    *(f"lcat.{name}" for name in lcat.__all__ if not name.startswith("_")),
    "lcat.nn.models",
    "lcat.study.statistics",
    "lcat.study.analysis.copa",
    "lcat.study.analysis.objectives",
)


def _public() -> Iterator[tuple[str, str, Any]]:
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not inspect.ismodule(value):
                yield package, name, value


# Constants and aliases of types are told by their comments.
DESCRIBED = [
    (f"{package}.{name}", value)
    for package, name, value in _public()
    if callable(value) and typing.get_origin(value) is None
]
# What is plain enough without an example: errors, and records that functions with examples return.
_RECORDS = re.compile(r"(Error|Unavailable|UnknownDataset|NonFiniteLoss|Result|Row|Spec|Choice|History|SortedEdges)$")
# The same, and what needs files, a download or a finished study, for which a page has an example.
_WITHOUT_EXAMPLE = """
lcat.data: SeedBatch default_root load_split_file load_tu missing_files read_links
lcat.graph: CacheInfo
lcat.nn: Lambdas UpgradeReport
lcat.nn.models: CAT CATv2 GATv2 LCATv2 LCATv2GCN2 LCATv2PNA
lcat.ogb: Settings block_text build_node_model leaderboard_block main node_graph num_outputs run_seeds
lcat.ops: NativeStatus
lcat.optim: NoWeightToConstrain
lcat.study: Budget Comparison Decision Look Noise Objective Outcome Range Ranking RunSettings Status StudyBusy
lcat.study: StudyRecord defaults_table export_study robustness train_best_model write_study
lcat.study.analysis.objectives: Objective
lcat.study.statistics: Equivalence FriedmanTest Interval PairedTest Posterior
lcat.train: Figures FitConfig TrainingTask
"""
WITHOUT_EXAMPLE = {
    f"{package}.{name}"
    for package, _, names in (line.partition(": ") for line in _WITHOUT_EXAMPLE.strip().splitlines())
    for name in names.split()
}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(package)
    if not getattr(module, "__all__", ()):
        pytest.skip(f"{package} has no public names")
    page = DOCS / "api" / f"{package.rpartition('.')[2]}.md"
    text = page.read_text(encoding="utf-8")
    assert f".. automodule:: {package}\n" in text
    if f".. automodule:: {package}\n   :members:" in text:
        return  # autodoc documents all of __all__
    for name in module.__all__:
        if not inspect.ismodule(getattr(module, name)):
            assert re.search(rf"\.\. auto\w+:: {re.escape(f'{package}.{name}')}\n", text), f"{page} lacks {name}"


@pytest.mark.parametrize(("name", "value"), DESCRIBED, ids=[name for name, _ in DESCRIBED])
def test_public_name_has_a_docstring(name: str, value: Any) -> None:
    doc = value.__doc__ or ""
    # A dataclass without a docstring gets its signature for one.
    assert doc.strip(), f"{name} has no docstring"
    assert not doc.startswith(f"{name.rpartition('.')[2]}("), f"{name} has no docstring"


def test_what_a_property_is_is_not_read_as_its_type() -> None:
    """Sphinx takes "Text: more text." at the beginning of a property for a type and a description."""
    read = {
        f"{name}.{attribute}": text
        for name, value in DESCRIBED
        if inspect.isclass(value)
        for attribute, member in inspect.getmembers(value, lambda member: isinstance(member, property))
        if (member.fget.__module__ or "").startswith("lcat")
        and ": " in (text := (member.__doc__ or "").partition("\n")[0])
    }
    assert not read, read


@pytest.mark.parametrize(("name", "value"), DESCRIBED, ids=[name for name, _ in DESCRIBED])
def test_examples_run(name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(optimizers, "_BUILDERS", dict(optimizers._BUILDERS))  # an example registers one
    module = inspect.getmodule(value)
    tests = doctest.DocTestFinder(recurse=False).find(value, name=name, globs=dict(vars(module)) if module else {})
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for test in tests:
            runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
    if not _RECORDS.search(name):
        assert (runner.tries == 0) == (name in WITHOUT_EXAMPLE), f"{name} has {runner.tries} lines of examples"
