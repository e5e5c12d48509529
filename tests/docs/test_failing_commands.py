"""A command that fails in a cell of a page fails the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

STARTUP = Path(__file__).parents[2] / "docs/_ext/failing_commands.py"


def run(cell, monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", str(STARTUP))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return "".join(output.get("text", "") for output in notebook.cells[0].outputs)


def test_a_failing_command_is_an_error(monkeypatch):
    command = f'!"{sys.executable}" -c'
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="exit code 3 of the command"):
        run(f'{command} "import sys; sys.exit(3)"', monkeypatch)
    assert "fine" in run(f"{command} \"print(1); print('fine')\"", monkeypatch)


def test_the_build_uses_it():
    text = (STARTUP.parents[1] / "conf.py").read_text(encoding="utf-8")
    assert '"PYTHONSTARTUP": str(HERE / "_ext" / "failing_commands.py")' in text
    assert STARTUP.exists()
