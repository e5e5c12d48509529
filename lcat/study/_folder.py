"""The folder of a study: tried before hours of training go into it, and files that are complete or do not exist."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lcat._files import replace_file

__all__ = ["OutputError", "as_folder", "check_file", "other_kind", "prepare_folder", "write_file"]


class OutputError(OSError):
    """The folder of a study cannot be written, or read; the message says why."""


def as_folder(folder: str | Path) -> Path:
    """The path of a folder.

    Raises:
        TypeError: if it is no path.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"expected the path of a folder, got {folder!r}")
    return Path(folder)


def other_kind(path: Path) -> str:
    """``"a folder"``, ``"a named pipe"`` or ``"a socket"`` if that has the name; empty for a file, a device or nothing.

    Opening a pipe waits for somebody at its other end, so this is asked first.
    """
    try:
        kinds = {"a folder": path.is_dir(), "a named pipe": path.is_fifo(), "a socket": path.is_socket()}
    except OSError:
        return ""  # opening it says why
    return next((kind for kind, yes in kinds.items() if yes), "")


def check_file(path: Path) -> None:
    """Check that a study can keep its file of that name.

    Raises:
        OutputError: if something other than a file has the name.
    """
    kind = other_kind(path)
    if kind:
        raise OutputError(f"{path} is {kind}; expected a file or nothing: move it away, or choose another folder")


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder and try a file in it, before hours of training go into it.

    Raises:
        OutputError: one line that names the folder and the reason.
    """
    folder = as_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-"):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to the output folder {folder}: {error.strerror or error}") from error
    return folder


def write_file(path: Path, content: bytes) -> Path:
    """Write a file of a study, so that a full disk or Ctrl-C never leaves half of it.

    The folder of the file is made if necessary.

    Raises:
        OutputError: one line that names the file and the reason; an older file of that name is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write(content))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return path
