"""The cells of a study as runs of TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from lcat.study._folder import OutputError, prepare_folder
from lcat.study.export.cell_values import curves_of, final_values_of, run_name, settings_of
from lcat.study.store.record import StudyRecord

__all__ = ["write_tensorboard"]


def write_tensorboard(record: StudyRecord, folder: Path) -> list[Path]:
    """Write a folder with events for every finished cell, in place of those that are there.

    Args:
        record: the study.
        folder: that exists; ``tensorboard --logdir FOLDER`` shows it.

    Returns:
        The folders.

    Raises:
        OutputError: if they cannot be written.
    """
    folders = []
    for result in record.cell_results(history=True):
        if result.fit is None:
            continue
        run = prepare_folder(folder / run_name(result))
        try:
            for old in run.glob("events.out.tfevents.*"):
                old.unlink()  # TensorBoard would show both
            with SummaryWriter(str(run)) as writer:
                for name, epoch, value in curves_of(result):
                    writer.add_scalar(name, value, epoch)
                settings = {name: _plain(value) for name, value in settings_of(result).items()}
                writer.add_hparams(settings, final_values_of(result), run_name=".")
        except OSError as error:
            raise OutputError(f"cannot write {run}: {error.strerror or error}") from error
        folders.append(run)
    return folders


def _plain(value: Any) -> bool | int | float | str:
    """What TensorBoard takes as a setting."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)
