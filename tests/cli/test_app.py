"""The command lcat: light, helpful, and one line and an exit code for everything that is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lcat._version import __version__


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    assert "study" in out
    assert "doctor" in out
    assert call("--version") == (0, f"lcat {__version__}\n", "")
    code, out, err = call()
    assert (code, err) == (2, "")
    assert "doctor" in out


@pytest.mark.parametrize("words", [[], ["study"], ["study", "run"], ["study", "report"]])
def test_help_is_light(words):
    """Neither torch nor anything of the study is imported to answer --help."""
    heavy = ["torch", "torch_geometric", "ogb", "pandas", "matplotlib", "scipy", "numpy", "sklearn", "triton", "ray"]
    if not words:  # typer itself reads the words behind a command with pydantic
        heavy.append("pydantic")
    script = (
        f"import sys; sys.argv = ['lcat', *{words!r}, '--help']\n"
        "from lcat import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_without_typer_one_line_says_what_to_install():
    script = "import sys; sys.modules['typer'] = None\nfrom lcat import cli\ncli.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lcat: the command lcat needs a few more packages: pip install 'lcat-gnn[study]'\n"


@pytest.mark.parametrize(
    "words", [[], ["study"], ["study", "run"], ["study", "report"], ["study", "datasets"], ["ogb"], ["doctor"]]
)
def test_h_is_help_everywhere(call, words):
    code, out, err = call(*words, "-h")
    assert (code, err) == (0, "")
    assert call(*words, "--help") == (0, out, "")
    assert "Usage: " in out


def test_a_mistyped_command_is_one_line(call):
    code, out, err = call("stduy")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'stduy'" in err


@pytest.mark.parametrize("module", ["lcat", "lcat.cli"])
def test_runs_as_a_module(module):
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"lcat {__version__}\n"
