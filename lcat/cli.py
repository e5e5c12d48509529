"""The command ``lcat``: ``lcat study`` compares layers, ``lcat doctor`` says what this machine will use.

Everything heavy is imported inside the commands, so that ``lcat --help`` answers at once. Bad input ends with one
line on standard error and exit code 2, data or a study that fails with exit code 1, Ctrl-C with 130.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

try:
    import typer
except ModuleNotFoundError:  # the core install does without; main() says what to do
    typer = None  # type: ignore[assignment]

from lcat._version import __version__

if TYPE_CHECKING:
    from lcat.study import CellResult, StudyPlan

__all__ = ["main"]

_INSTALL = "pip install 'lcat-gnn[study]'"
_STUDY_EXTRA = ("typer", "rich", "pydantic", "matplotlib", "scipy", "pandas", "jinja2")
_REAL_LAYERS = ("gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2")
_DEFAULT_SEEDS = 5
_DEMO_SEEDS = 3


def main() -> None:
    """Entry point of the command ``lcat``."""
    if typer is None:
        _stop(f"the command lcat needs a few more packages: {_INSTALL}", 1)
    try:
        code = _app()(standalone_mode=False)
    except typer.Exit as error:
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _stop("interrupted", 130)
    except ModuleNotFoundError as error:
        if error.name not in _STUDY_EXTRA:
            raise
        _stop(f"this command needs {error.name}: {_INSTALL}", 1)
    except Exception as error:
        # Errors of the command line itself; typer brings its own copy of click, or uses click's, by version.
        if not hasattr(error, "format_message"):
            raise
        _stop(error.format_message(), getattr(error, "exit_code", 2))
    sys.exit(code or 0)


def _app() -> typer.Typer:
    app = typer.Typer(
        name="lcat",
        help="Attention in graph neural networks: compare GCN, GAT, CAT and L-CAT, and see what runs here.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_lcat)
    app.command("study")(study)
    app.command("doctor")(doctor)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lcat {__version__}")
        raise typer.Exit()


def _lcat(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version  # its callback has done it all


def study(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Public data set, csbm:easy,q=0.4 (synthetic), or a .pt or .npz file of your own. Repeatable.",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", "-l", help="gcn, gcn-mean, gat, gatv2, cat, catv2, lcat, lcatv2. Repeatable; default all."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with data sets that are there already.", metavar="DIR")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds 0 .. N-1; each also takes its own split.", metavar="N")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for tables and figures.", metavar="DIR")] = Path(
        "lcat-study"
    ),
    epochs: Annotated[int | None, typer.Option(help="Longest training.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without a better validation; 0 never stops.")] = None,
    depth: Annotated[int | None, typer.Option(help="Number of layers.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Width of hidden layers, all heads together.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout between layers (and on attention).")] = None,
    norm: Annotated[str | None, typer.Option(help="none, batch or layer.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine, linear or step.")] = None,
    metric: Annotated[str | None, typer.Option(help="accuracy or roc-auc, for files of your own.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    list_datasets: Annotated[bool, typer.Option("--list-datasets", help="List public data sets and stop.")] = False,
    list_defaults: Annotated[bool, typer.Option("--list-defaults", help="List default settings and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Train the chosen layers on the chosen data sets over several seeds, and compare them.

    Without --dataset it runs a built-in comparison on synthetic graphs where GCN, GAT and CAT each win and fail.
    Settings that are not given take the defaults of each data set (--list-defaults).
    """
    if list_datasets:
        return _print_datasets(data)
    if list_defaults:
        return _print_defaults()
    overrides = {
        "epochs": epochs,
        "patience": patience,
        "depth": depth,
        "hidden": hidden,
        "heads": heads,
        "dropout": dropout,
        "norm": norm,
        "optimizer": optimizer,
        "lr": lr,
        "weight_decay": weight_decay,
        "schedule": schedule,
    }
    plan = _plan(dataset, layer, seeds, overrides)
    _check_surroundings(data, device, metric)
    _study(plan, data, out, metric, device, quiet)


def _plan(
    datasets: list[str] | None, layers: list[str] | None, seeds: int | None, overrides: dict[str, Any]
) -> StudyPlan:
    from lcat.study import PlanError, make_plan
    from lcat.study.defaults import DEMO_DATASETS, DEMO_LAYERS

    if seeds is not None and seeds < 1:
        _stop(f"--seeds must be a whole number, at least 1; got {seeds}", 2)
    try:
        return make_plan(
            datasets=datasets or DEMO_DATASETS,
            layers=layers or (_REAL_LAYERS if datasets else DEMO_LAYERS),
            seeds=range(seeds or (_DEFAULT_SEEDS if datasets else _DEMO_SEEDS)),
            overrides={key: value for key, value in overrides.items() if value is not None},
        )
    except PlanError as error:
        text = str(error)
        for key in overrides:
            text = text.replace(f"overrides.{key}:", f"--{key.replace('_', '-')}:")
        _stop(text.replace("layers:", "--layer:"), 2)


def _check_surroundings(data: Path | None, device: str, metric: str | None) -> None:
    import torch

    from lcat.train import METRICS

    if data is not None and not data.is_dir():
        _stop(f"--data: there is no folder {data}", 2)
    if metric is not None and metric not in METRICS:
        _stop(f"--metric must be one of {', '.join(METRICS)}; got {metric!r}", 2)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        _stop(f"--device {device}: {str(error).splitlines()[0]}", 2)


def _study(plan: StudyPlan, data: Path | None, out: Path, metric: str | None, device: str, quiet: bool) -> None:
    from rich.console import Console

    from lcat.data import DataError
    from lcat.study import OutputError, prepare_folder, run, write_report

    results: list[CellResult] = []
    interrupted = False
    try:
        prepare_folder(out)
        with _progress(plan, quiet) as (on_epoch, on_cell):
            try:
                for result in run(plan, data_root=data, metric=metric, device=device, on_epoch=on_epoch):
                    results.append(result)
                    on_cell(result)
            except KeyboardInterrupt:
                interrupted = True
        written = write_report(plan, results, out) if results else []
    except DataError as error:
        _stop(str(error), 1)
    except OutputError as error:
        _stop(f"--out: {error}", 2)
    _print_results(Console(), results, written)
    failed = sum(not result.ok for result in results)
    if failed:
        print(f"{failed} of {len(results)} cells failed; study.json holds their tracebacks", file=sys.stderr)
    if interrupted:
        _stop(f"interrupted: {len(results)} of {len(plan.cells())} cells had finished", 130)
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _progress(plan: StudyPlan, quiet: bool) -> Iterator[tuple[Callable[..., None], Callable[..., None]]]:
    """A bar over all epochs of the study, with the time left, on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    cells = plan.cells()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("loading", total=len(cells))

        def on_epoch(cell: Any, epoch: int, history: Any) -> None:
            name = f"{cell.dataset} · {cell.layer} · seed {cell.seed} · val {100 * history.val[-1]:.1f}"
            bar.update(task, description=name)

        def on_cell(result: CellResult) -> None:
            bar.advance(task)

        yield on_epoch, on_cell


def _print_results(console: Any, results: list[CellResult], written: list[Path]) -> None:
    from lcat.study import summarise
    from lcat.study.console import dataset_table, failures_text, overview_table

    rows = summarise(results)
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    for name in datasets:
        console.print(dataset_table(name, rows))
    if len(datasets) > 1:
        console.print(overview_table(rows))
    errors = [(f"{r.cell.dataset} {r.cell.layer} seed {r.cell.seed}", r.error) for r in results if r.error is not None]
    if errors:
        console.print(failures_text(errors))
    if written:
        names = ", ".join(path.name for path in written)
        console.print(f"Written to {written[0].parent}: {names}", soft_wrap=True, highlight=False)


def _print_datasets(root: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from lcat.data import dataset_table, default_root, missing_files

    folder = root or default_root()
    table = Table(title=f"Public data sets (files looked for under {folder})", title_style="")
    for column in ("name", "metric", "split", "preprocessing", "files"):
        table.add_column(column, overflow="fold")
    for row in dataset_table():
        there = "" if missing_files(row["name"], folder) else "there"
        note = f" ({row['note']})" if row["note"] else ""
        table.add_row(row["name"], row["metric"], row["split"], row["preprocessing"] + note, there)
    Console().print(table)


def _print_defaults() -> None:
    from rich.console import Console
    from rich.table import Table

    from lcat.study import defaults_table

    table = Table(title="Default settings", title_style="")
    for column in ("data sets", "all layers", "attention layers"):
        table.add_column(column, overflow="fold")
    for row in defaults_table():
        table.add_row(*row.values())
    Console().print(table)


def doctor() -> None:
    """Print versions, devices, threads, which implementation each primitive will use and why, and what is missing."""
    from rich.console import Console

    from lcat.study.doctor import doctor_tables

    for table in doctor_tables():
        Console().print(table)


def _stop(message: str, code: int) -> NoReturn:
    print(f"lcat: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
