"""Which forms a study can be exported to, and what each of them needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from lcat._text import hint
from lcat.study._folder import as_folder, prepare_folder
from lcat.study.export.errors import ExportError
from lcat.study.store.record import StudyRecord

__all__ = ["EXPORTS", "ExportName", "export_study"]

ExportName = Literal["parquet", "mlflow", "tensorboard", "optuna"]
#: What a study can be exported to.
EXPORTS: tuple[ExportName, ...] = get_args(ExportName)
#: Modules that each needs; all come with the extra of its name, that of optuna is called search.
_MODULES: dict[ExportName, tuple[str, ...]] = {
    "parquet": ("pyarrow",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "tensorboard": ("tensorboard",),
    "optuna": ("optuna",),
}
_EXTRAS: dict[ExportName, str] = {"optuna": "search"}


def export_study(record: StudyRecord, to: ExportName, out: str | Path | None = None) -> list[Path]:
    """Write a study for another tool. What an earlier export of the same study wrote there is replaced.

    ===============  ==========================================================================================
    ``parquet``      one file per frame: ``results.parquet``, ``histories.parquet``, ...
    ``mlflow``       ``mlflow.db``, with an experiment that has one run per cell: settings, and metrics by epoch
    ``tensorboard``  one folder with events per cell: curves, lambdas and settings
    ``optuna``       ``optuna.db``, with one study of Optuna per search
    ===============  ==========================================================================================

    Args:
        record: a study with at least one result.
        to: the form.
        out: folder for it; ``export/NAME`` in that of the study by default.

    Returns:
        The files written; of ``tensorboard`` the folders.

    Raises:
        ExportError: if a package is missing, or there is nothing to export.
        ValueError: for an unknown form, and without a folder for a study in memory.
        lcat.study.OutputError: if the folder cannot be written.
        lcat.study.StoreError: if the study cannot be read.
    """
    if not isinstance(record, StudyRecord):
        raise TypeError(f"expected 'record' of type Study, got {type(record).__name__}: Study.load reads one")
    if to not in EXPORTS:
        raise ValueError(f"expected one of {', '.join(EXPORTS)}{hint(to, EXPORTS)}; got {to!r}")
    if out is None and record.folder is None:
        raise ValueError("a study in memory has no folder of its own; expected out, as in export('parquet', 'results')")
    _check_packages(to)
    if not record.cell_results():
        raise ExportError("no cell of the study has a result yet; run it first")
    folder = prepare_folder(as_folder(out) if out is not None else record.folder / "export" / to)  # type: ignore[operator]
    return _writer(to)(record, folder)


def _check_packages(to: ExportName) -> None:
    missing = [name for name in _MODULES[to] if importlib.util.find_spec(name) is None]
    if missing:
        extra = _EXTRAS.get(to, to)
        raise ExportError(f"an export to {to} needs {' and '.join(missing)}: pip install 'lcat-gnn[{extra}]'")


def _writer(to: ExportName) -> Callable[[StudyRecord, Path], list[Path]]:
    """Imported when it is needed, as are the packages behind it."""
    if to == "parquet":
        from lcat.study.export.parquet_files import write_parquet

        return write_parquet
    if to == "mlflow":
        from lcat.study.export.mlflow_runs import write_mlflow

        return write_mlflow
    if to == "tensorboard":
        from lcat.study.export.tensorboard_events import write_tensorboard

        return write_tensorboard
    from lcat.study.export.optuna_studies import write_optuna

    return write_optuna
