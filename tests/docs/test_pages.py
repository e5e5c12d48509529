"""The code of the README and of the pages of the documentation runs, in order, without Sphinx."""

from __future__ import annotations

import fnmatch
import importlib
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
_BLOCK = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?P<head>[^\n]*)\n(?P<body>.*?)^(?P=fence)\s*$", flags=re.MULTILINE | re.DOTALL
)
# Heads of blocks that hold Python.
_PYTHON = re.compile(r"\{code-cell\}.*|python|py|ipython3?")


def _blocks(page: Path, head: re.Pattern[str]) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [match["body"] for match in _BLOCK.finditer(text) if head.fullmatch(match["head"].strip())]


def _python(body: str) -> str:
    """A cell as plain Python: options dropped, and ``!command`` as a call."""
    body = body.replace("\\\n", " ")  # a command over several lines
    lines = [line for line in body.splitlines() if not line.startswith(":")]
    return "\n".join(f"_shell({line[1:]!r})" if line.startswith("!") else line for line in lines)


def _shell(command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "lcat", f"pages run no other command than lcat: {command}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lcat.cli", *words[1:]], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _with_code() -> list[Any]:
    """Pages of the documentation take minutes, and building it, which CI does, runs them all."""
    pages = [page for page in (ROOT / "README.md", *PAGES) if _blocks(page, _PYTHON)]
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=[pytest.mark.long] if DOCS in page.parents else [])
        for page in pages
    ]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_code_fits_the_column_of_a_page(page: Path) -> None:
    """Longer lines are cut at the edge of the theme's text column, on any screen."""
    code = re.compile(r"\{code-(cell|block)\}.*|python|bash|text|toml")
    shown = [body for body in _blocks(page, code) if "remove-input" not in body.partition("\n")[0]]
    wide = [line for body in shown for line in body.splitlines() if len(line) > 88]
    assert not wide, "\n".join(wide)


@pytest.mark.parametrize("page", _with_code())
def test_code_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(DOCS / "figures"))
    dtype = torch.get_default_dtype()
    names: dict[str, object] = {"__name__": "__main__", "_shell": _shell}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number, body in enumerate(_blocks(page, _PYTHON)):
                exec(compile(_python(body), f"{page.name}, block {number}", "exec"), names)
    finally:
        torch.set_default_dtype(dtype)


def test_start_page_picture_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "figures"))
    # In a process of its own, for pictures are numbered.
    code = "import docfigures; print(docfigures.triangle().svg)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=DOCS / "figures", timeout=60
    )
    assert done.stdout == (DOCS / "_static" / "triangle.svg").read_text(encoding="utf-8")


def test_numbers_of_a_table_are_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "figures"))
    docfigures = importlib.import_module("docfigures")
    row = {
        "layer": "L-CAT, settings of GAT",
        "ours (runs)": "93.6 ± 0.1 (10)",
        "two": "45.4 / 48.3",
        "gap": "-0.2 to 1.4",
    }
    shown = re.findall(r"<td><p>(.*?)</p></td>", docfigures.Table([row])._repr_html_())
    assert shown == ["L-CAT, settings of GAT", "93.6\u00a0±\u00a00.1\u00a0(10)", "45.4\u00a0/\u00a048.3", "-0.2 to 1.4"]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_page_is_in_a_table_of_contents(page: Path) -> None:
    name = str(page.relative_to(DOCS).with_suffix(""))
    if name == "index":
        return
    entries: set[str] = set()
    for other in PAGES:
        folder = other.relative_to(DOCS).parent
        for body in _blocks(other, re.compile(r"\{toctree\}")):
            lines = [line.strip() for line in body.splitlines() if line.strip() and not line.startswith(":")]
            entries |= {str(folder / line) if str(folder) != "." else line for line in lines}
    assert any(fnmatch.fnmatchcase(name, entry) for entry in entries)


def test_options_named_on_pages_exist() -> None:
    pytest.importorskip("typer")
    commands = ("run", "add", "report", "export", "model", "datasets", "defaults")
    options: dict[str, set[str]] = {name: set() for name in commands}
    for page in (ROOT / "README.md", *PAGES):
        for body in _blocks(page, re.compile(r"bash|console|sh|\{code-cell\}.*")):
            for line in body.replace("\\\n", " ").splitlines():
                command = line.strip().lstrip("!$ ")
                if command.startswith("lcat study"):
                    words = shlex.split(command, comments=True)[2:]
                    name = words[0] if words and words[0] in options else "run"
                    options[name] |= {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
    assert options["run"]
    for name, named in options.items():
        done = subprocess.run(
            [sys.executable, "-m", "lcat", "study", name, "--help"],
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert named <= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", done.stdout))
