"""Folders and files as options name them."""

from __future__ import annotations

from pathlib import Path

import typer

__all__ = ["read_path"]


def read_path(text: str) -> Path:
    """The path that a command line names.

    A variable of the shell that is not set leaves an empty text, which would mean the current folder.

    Raises:
        typer.BadParameter: for an empty text.
    """
    if not text.strip():
        raise typer.BadParameter("expected a path, got an empty text; . is the current folder")
    return Path(text)
