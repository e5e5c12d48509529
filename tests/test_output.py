"""Printing never ends a command: other encodings, closed pipes, full disks, streams that are gone."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from lcat._output import printable, safe_output

TEXT = "λ1 0.5 ± 0.1 · café 日本 \udcff"


def stream(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("ascii", "lambda1 0.5 +/- 0.1 - caf? ?? ?"),
        ("cp1252", "lambda1 0.5 ± 0.1 · café ?? ?"),
        ("utf-8", "λ1 0.5 ± 0.1 · café 日本 ?"),
    ],
)
def test_characters_that_an_encoding_lacks_are_replaced(encoding, words, monkeypatch):
    out, err = stream(encoding), stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with safe_output() as output:
        print(TEXT)
        print(TEXT, file=sys.stderr)
    assert sys.stdout is out
    assert (output.error, output.exit_code) == (None, 0)
    for one in (out, err):
        assert one.buffer.getvalue().decode(encoding) == f"{words}\n"


def test_text_that_fits_stays():
    assert printable("λ ± ü", "utf-8") == "λ ± ü"
    assert printable("a ≤ b → c…", "latin-1") == "a <= b -> c..."


class Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self._error = error

    def write(self, text):
        raise self._error


@pytest.mark.parametrize(("error", "code"), [(BrokenPipeError(32, "Broken pipe"), 0), (OSError(28, "No space"), 1)])
def test_a_stream_that_takes_nothing_is_told_of_once(error, code, monkeypatch):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", err)
    with safe_output() as output:
        with safe_output() as inner:
            print("one")
            print("two")
        assert inner.exit_code == code
    assert output.exit_code == code
    line = "lcat: standard output cannot be written (No space); the rest of it is lost\n"
    assert err.getvalue() == line * code


def test_streams_that_were_closed_before(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with safe_output() as output:
        print("nobody")
    assert output.exit_code == 0


def test_errors_of_the_block_pass(monkeypatch):
    before = sys.stdout
    with pytest.raises(KeyError), safe_output():
        raise KeyError("x")
    assert sys.stdout is before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("end", "code"), [(">/dev/full", 1), ("| true", 0), (">&-", 0), (">/dev/full 2>/dev/full", 1)])
def test_the_end_of_the_process_is_quiet(end, code):
    """What is left in a buffer fails once more when Python closes its streams, with exit code 120."""
    script = (
        "import sys, time; from lcat._output import safe_output\n"
        "with safe_output() as output:\n"
        "    time.sleep(0.2); print('x' * 100); print('y'); sys.exit(output.exit_code or None)\n"
        "sys.exit(output.exit_code)"
    )
    command = f'set -o pipefail; "$0" -c "$1" {end}'
    done = subprocess.run(["bash", "-c", command, sys.executable, script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode in ({0, 1} if code else {0})
