"""``lcat study datasets``: public data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcat.cli.paths import read_path
from lcat.cli.stop import stop

__all__ = ["datasets", "print_datasets"]


def datasets(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            parser=read_path,
            help="Folder with the files; by default the one that downloads go to.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """List public data sets, their metrics and splits, and whether their files are available here."""
    print_datasets(data)


def print_datasets(root: Path | None) -> None:
    """Public data sets, and whether their files are under ``root``."""
    from rich.console import Console

    from lcat.cli.tables import public_datasets_table
    from lcat.data import DataError, default_root

    if root is not None and not root.is_dir():
        reason = f"{root} is a file; expected a folder" if root.exists() else f"there is no folder {root}"
        stop(f"--data: {reason}", 2)
    try:
        folder = root or default_root()
    except DataError as error:
        stop(str(error), 1)
    Console().print(public_datasets_table(folder))
