"""``lcat study add DIR``: more layers, data sets or seeds for a study that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lcat.cli.paths import read_path
from lcat.cli.stop import stop
from lcat.cli.study.plan import check_machine, seen_from
from lcat.cli.study.values import read_whole

__all__ = ["add"]


def add(
    folder: Annotated[Path, typer.Argument(help="Folder of a study.", parser=read_path, metavar="DIR")],
    layer: Annotated[
        list[str] | None, typer.Option("--layer", "-l", help="To add, as in run. Repeatable.", metavar="NAME")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="To add, as in run. Repeatable.", metavar="NAME")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds to add, as in 5-9; or 10 for ten in all.", metavar="N or LIST")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", parser=read_path, help="Folder with the files of public data sets.", metavar="DIR"),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="inline, processes or ray.", metavar="NAME")] = None,
    workers: Annotated[str | None, typer.Option(help="Cells at a time.", metavar="N")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", metavar="", help="Run failed cells again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress on standard error.")] = False,
) -> None:
    """Add layers, data sets or seeds to the study in DIR, run what is new, and write the report again.

    Settings, splits and everything else are those of the study.
    """
    from lcat.cli.study.running import run_and_report
    from lcat.study import PlanError, StoreError, Study, extended_plan

    run: dict[str, Any] = {"data": None if data is None else str(data), "engine": engine}
    run["workers"] = None if workers is None else read_whole(workers)
    settings: dict[str, Any] = {"datasets": dataset or [], "layers": layer or [], "run": _set(run)}
    try:
        stored = Study.load(folder).plan
        seen_from(Path(stored.run.base), settings)
        more = {"datasets": settings["datasets"], "layers": settings["layers"], "seeds": seeds or ()}
        plan = extended_plan(stored, **more, run=settings["run"])
        check_machine(plan)
    except ValueError as error:
        stop(str(error) if isinstance(error, PlanError) else f"--seeds: {error}", 2)
    except StoreError as error:
        stop(str(error), 2)
    run_and_report(plan, folder, resume=True, retry_failed=retry_failed, until_decided=False, quiet=quiet)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
