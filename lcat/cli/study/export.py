"""``lcat study export DIR --to NAME``: a study in the forms of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcat._text import hint
from lcat.cli.paths import read_path
from lcat.cli.stop import stop

__all__ = ["export"]


def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", parser=read_path, metavar="DIR")],
    to: Annotated[str, typer.Option("--to", help="parquet, mlflow, tensorboard or optuna.", metavar="NAME")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", parser=read_path, help="Folder for it; export/NAME in DIR by default.", metavar="DIR"
        ),
    ] = None,
) -> None:
    """Export the study in DIR, from its store alone.

    parquet has one file per table; mlflow and tensorboard one run per cell; optuna one study per search.
    """
    from rich.console import Console
    from rich.text import Text

    from lcat.study import OutputError, StoreError, Study
    from lcat.study.export import EXPORTS, ExportError, export_study

    if to not in EXPORTS:
        stop(f"--to: expected one of {', '.join(EXPORTS)}{hint(to, EXPORTS)}; got {to!r}", 2)
    try:
        written = export_study(Study.load(folder), to, out)
    except StoreError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    except ExportError as error:
        stop(str(error), 1)
    names = ", ".join(path.name for path in written[:8]) + (f" and {len(written) - 8} more" if len(written) > 8 else "")
    Console().print(Text(f"Written to {written[0].parent}: {names}"), soft_wrap=True)
