"""Output that cannot end a command: what a terminal, pipe, log or disk does not take is replaced or left out."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["Output", "printable", "safe_output"]

#: What is written for characters that a stream's encoding lacks; "?" for all others.
_WORDS = {
    "λ": "lambda",
    "±": "+/-",
    "×": "x",
    "·": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "−": "-",
    "\u00a0": " ",
}


def printable(text: str, encoding: str | None = None) -> str:
    """The text with words for the characters that an encoding does not have.

    Args:
        text: to be printed.
        encoding: by default that of standard output. Tables ask before they measure their columns.

    Example:
        >>> from lcat._output import printable
        >>> printable("λ1 = 0.5 ± 0.1", "ascii"), printable("λ1 = 0.5 ± 0.1", "cp1252")
        ('lambda1 = 0.5 +/- 0.1', 'lambda1 = 0.5 ± 0.1')
    """
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(map(_replacement, text, [encoding] * len(text)))
    return text


class Output:
    """Standard output inside of :func:`safe_output`.

    Attributes:
        error: why it takes nothing more, ``None`` while it does.
    """

    def __init__(self, stream: _Stream | None) -> None:
        self._stream = stream

    @property
    def error(self) -> OSError | None:
        return None if self._stream is None else self._stream.error

    @property
    def exit_code(self) -> int:
        """1 if output was lost, for commands that only print; a reader who closes the pipe has read enough."""
        return int(self.error is not None and not isinstance(self.error, BrokenPipeError))


@contextlib.contextmanager
def safe_output() -> Iterator[Output]:
    """Inside of the block, nothing that is printed raises an error, whatever standard output and error are.

    Characters that an encoding lacks (ASCII, cp1252, file names that are no UTF-8) are replaced. After a closed pipe, a
    full disk or a terminal that is gone, the rest of the output is dropped; the end of the block says so in one line
    on standard error, except after a closed pipe. Blocks may stand inside of each other.

    Write results to files first, and print them then.

    Example:
        >>> from lcat._output import safe_output
        >>> with safe_output() as output:
        ...     print("λ1, λ2")
        λ1, λ2
        >>> output.error is None
        True
    """
    before = sys.stdout, sys.stderr
    out, err = map(_safe, before)
    output = Output(out)
    sys.stdout, sys.stderr = out, err
    try:
        yield output
    finally:
        for stream in (out, err):
            if stream is not None:
                stream.flush()
        # The outermost block tells it, when all is over.
        if output.exit_code and out is not before[0]:
            error = output.error
            reason = getattr(error, "strerror", None) or error
            print(f"lcat: standard output cannot be written ({reason}); the rest of it is lost", file=err)
        sys.stdout, sys.stderr = before


class _Stream:
    """A text stream whose ``write`` and ``flush`` raise no error of its surroundings."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        if self.error is None:
            try:
                self._write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._stream.write(printable(text, self._stream.encoding))

    def _give_up(self, error: OSError) -> None:
        self.error = error
        # What is in the stream's buffer would be tried again when the process ends, and fail with exit code 120.
        with contextlib.suppress(OSError):
            descriptor = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(descriptor, self._stream.fileno())
            finally:
                os.close(descriptor)


def _safe(stream: Any) -> Any:
    """The stream, safe; as it is if it is that already, or was closed before the process began (``None``)."""
    return stream if stream is None or isinstance(stream, _Stream) else _Stream(stream)


def _replacement(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return _WORDS.get(character, "?")
    return character
