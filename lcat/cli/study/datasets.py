"""``lcat study datasets``: public data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["datasets", "print_datasets"]


def datasets(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with the files; by default the one that downloads go to.", metavar="DIR"),
    ] = None,
) -> None:
    """List public data sets, their metrics and splits, and whether their files are available here."""
    print_datasets(data)


def print_datasets(root: Path | None) -> None:
    """Public data sets, and whether their files are under ``root``."""
    from rich.console import Console

    from lcat.cli.tables import public_datasets_table
    from lcat.data import default_root

    Console().print(public_datasets_table(root or default_root()))
