"""The command as a user calls it, in this process."""

from __future__ import annotations

import signal
import sys

import pytest

from lcat import cli
from tests.support.figures import figure_formats, only_these_formats

__all__ = ["call", "figure_formats", "only_these_formats"]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Exit code, standard output and standard error of ``lcat`` with these arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def lcat(*arguments):
        monkeypatch.setattr(sys, "argv", ["lcat", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        signal.signal(signal.SIGINT, handler)  # a command that was interrupted ignores what follows
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return lcat
