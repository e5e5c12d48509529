"""The cells of a study as runs of MLflow."""

from __future__ import annotations

import itertools
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from lcat.study._folder import OutputError
from lcat.study.export.cell_values import curves_of, final_values_of, run_name, settings_of
from lcat.study.store.record import StudyRecord
from lcat.study.store.result import CellResult

__all__ = ["write_mlflow"]

#: What MLflow takes in one call.
_METRICS, _PARAMS = 1000, 100
_KEY = "lcat.key"


def write_mlflow(record: StudyRecord, folder: Path) -> list[Path]:
    """Write ``mlflow.db``, with one experiment for the study and one run per cell.

    A cell that has a run already keeps it, unless its result is another one by now.

    Args:
        record: the study.
        folder: that exists; ``mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db`` shows it.

    Returns:
        The file.

    Raises:
        OutputError: if it cannot be written.
    """
    path = folder / "mlflow.db"
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        client = MlflowClient(tracking_uri=f"sqlite:///{path.absolute()}")
        experiment = _experiment(client, record)
        known = _runs(client, experiment)
        for result in record.cell_results(history=True):
            before = known.get(result.cell.key)
            if before is not None and before.data.tags.get("lcat.finished") == result.finished:
                continue
            if before is not None:
                client.delete_run(before.info.run_id)
            _log(client, experiment, result)
    except (MlflowException, OSError) as error:
        raise OutputError(f"cannot write {path}: {' '.join(str(error).split())[:300]}") from error
    return [path]


def _experiment(client: MlflowClient, record: StudyRecord) -> str:
    name = record.folder.absolute().name if record.folder is not None else "lcat"
    experiment = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if experiment is None else experiment.experiment_id)


def _runs(client: MlflowClient, experiment: str) -> dict[str, Any]:
    """Runs by the key of their cell."""
    runs: dict[str, Any] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        runs.update({run.data.tags.get(_KEY, ""): run for run in page})
        token = page.token
        if not token:
            return runs


def _log(client: MlflowClient, experiment: str, result: CellResult) -> None:
    started = _milliseconds(result.started)
    tags = {_KEY: result.cell.key, "lcat.finished": result.finished, "metric": result.metric, "device": result.device}
    if result.error is not None:
        tags["error"] = result.error[-5000:]
    run = client.create_run(experiment, start_time=started, run_name=run_name(result), tags=tags)
    identity = run.info.run_id
    params = [Param(name, str(value)) for name, value in settings_of(result).items()]
    for first in range(0, len(params), _PARAMS):
        client.log_batch(identity, params=params[first : first + _PARAMS])
    metrics = (Metric(name, value, started, epoch) for name, epoch, value in curves_of(result))
    final = (Metric(name, value, started, 0) for name, value in final_values_of(result).items())
    waiting = itertools.chain(metrics, final)
    while batch := list(itertools.islice(waiting, _METRICS)):
        client.log_batch(identity, metrics=batch)
    client.log_batch(identity, tags=[RunTag(f"version.{name}", str(value)) for name, value in result.versions.items()])
    status = "FINISHED" if result.ok else "FAILED"
    client.set_terminated(identity, status=status, end_time=_milliseconds(result.finished))


def _milliseconds(time: str) -> int:
    try:
        return int(1000 * datetime.fromisoformat(time).timestamp())
    except ValueError:  # of a damaged row, or a result that was made by hand
        return 0
