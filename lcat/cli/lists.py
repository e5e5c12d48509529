"""What ``lcat study --list-datasets`` and ``--list-defaults`` print."""

from __future__ import annotations

from pathlib import Path

__all__ = ["print_datasets", "print_defaults"]


def print_datasets(root: Path | None) -> None:
    """Public data sets, and whether their files are under ``root``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lcat.data import dataset_table, default_root, missing_files

    folder = root or default_root()
    table = Table(title=Text(f"Public data sets (files looked for under {folder})"), title_style="")
    for column in ("name", "metric", "split", "preprocessing", "files"):
        table.add_column(column, overflow="fold")
    for row in dataset_table():
        there = "" if missing_files(row["name"], folder) else "there"
        note = f" ({row['note']})" if row["note"] else ""
        table.add_row(row["name"], row["metric"], row["split"], row["preprocessing"] + note, there)
    Console().print(table)


def print_defaults() -> None:
    """Default settings of every group of data sets."""
    from rich.console import Console
    from rich.table import Table

    from lcat.study import defaults_table

    table = Table(title="Default settings", title_style="")
    for column in ("data sets", "all layers", "attention layers"):
        table.add_column(column, overflow="fold")
    for row in defaults_table():
        table.add_row(*row.values())
    Console().print(table)
