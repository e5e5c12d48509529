"""The folder of a study: tried before hours of training go into it, and files that are complete or do not exist."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lcat._files import as_path, replace_file

__all__ = [
    "OutputError",
    "as_folder",
    "check_file",
    "check_folder",
    "other_kind",
    "prepare_folder",
    "remove_file",
    "write_file",
]


class OutputError(OSError):
    """The folder of a study cannot be written, or read; the message says why."""


def as_folder(folder: str | Path) -> Path:
    """The path of a folder.

    Raises:
        TypeError: if it is no path.
        ValueError: if it is an empty text, which would be the current folder, or has a zero byte.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"expected the path of a folder, got {folder!r}")
    if folder == "":
        raise ValueError("expected the path of a folder, got an empty text; '.' is the current folder")
    return as_path("folder", folder)


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


def check_folder(folder: Path) -> None:
    """Check that a folder exists, or can be made as far as names say.

    Raises:
        OutputError: if something other than a folder has its name, or that of a folder above it.
    """
    existing = next((part for part in (folder, *folder.parents) if os.path.lexists(part)), None)
    if existing is None or existing.is_dir():
        return
    kind = other_kind(existing) or ("a file" if existing.exists() else "a link to something that is missing")
    raise OutputError(
        f"{existing} is {kind}; expected a folder, or a name that is not taken: move it away, or choose another folder"
    )


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder and try a file in it, before hours of training go into it.

    Raises:
        OutputError: one line that names the folder and the reason.
    """
    folder = as_folder(folder)
    check_folder(folder)
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


def remove_file(path: Path) -> None:
    """Remove a file of a study, if it exists.

    Raises:
        OutputError: one line that names the file and the reason.
    """
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error
