"""``lcat study report DIR``: the report again, from the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    typer = None  # type: ignore[assignment]

from lcat.cli.stop import stop

__all__ = ["report", "write_all"]


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", metavar="DIR")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report; DIR by default.", metavar="DIR")
    ] = None,
) -> None:
    """Write the report, tables and figures of a study in DIR again, from its store alone."""
    from rich.console import Console

    from lcat.study import OutputError, StoreError, Study

    try:
        written = write_all(Study.load(folder), out or folder)
    except StoreError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    names = ", ".join(path.name for path in written)
    Console().print(f"Written to {out or folder}: {names}", soft_wrap=True, highlight=False)


def write_all(study, folder: Path) -> list[Path]:  # type: ignore[no-untyped-def]
    """Everything that a study leaves for people."""
    from lcat.study import write_report

    return write_report(study.plan, study.cell_results(history=True), folder)
