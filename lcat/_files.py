"""The folder of a study: made before hours of training go into it, and files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
    """Write beside the target and rename, so that a full disk or Ctrl-C never leaves half a file.

    The folder of the file is made if need be.

    Raises:
        OutputError: one line that names the file and the reason; an older file of that name is still there.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
            temporary = file.name
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
