"""The folder of a study: tried before hours of training go into it, and files that are complete or do not exist."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lcat._files import replace_file

__all__ = ["OutputError", "prepare_folder", "write_file"]


class OutputError(OSError):
    """The folder of a study cannot be written, or read; the message says why."""


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder and try a file in it, before hours of training go into it.

    Raises:
        OutputError: one line that names the folder and the reason.
    """
    folder = Path(folder)
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
