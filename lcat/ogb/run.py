"""A run of several seeds whose finished parts are never lost: one result per seed, checkpoints within a seed."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from lcat._files import replace_file
from lcat._json import strict_json
from lcat._progress import progress_bar
from lcat.data import OGBDataset
from lcat.ogb.graph import node_graph
from lcat.ogb.settings import Settings
from lcat.ogb.training import SeedResult, train_seed
from lcat.train import History
from lcat.train.checkpoint import save_checkpoint
from lcat.train.distributed import Processes

__all__ = ["FolderError", "run_seeds"]


class FolderError(ValueError):
    """The output folder cannot be used: it belongs to another run, or cannot be written."""


def run_seeds(
    dataset: OGBDataset,
    settings: Settings,
    seeds: Sequence[int],
    folder: str | Path,
    *,
    group: Processes | None = None,
    progress: bool = True,
) -> list[SeedResult]:
    """Train every seed that has no result in ``folder`` yet, and continue the one that was interrupted.

    Files in ``folder``: ``run.json`` (what is run, on what), ``seed-3.json`` (a finished seed), ``seed-3.checkpoint``
    (one that is not), ``seed-3.pt`` (the weights of the model that validated best).

    Args:
        dataset: as :func:`lcat.data.load_ogb` reads it.
        settings: what to train.
        seeds: numbers, each of one training.
        folder: where files go; made if it is missing.
        group: the processes of a torchrun; one process by default.
        progress: a bar over all epochs with the time left, on standard error.

    Returns:
        The results in the order of ``seeds``.

    Raises:
        FolderError: if the folder holds a run with other settings or data.
        lcat.train.CheckpointError: if a checkpoint is damaged or cannot be written.
        KeyboardInterrupt: Ctrl-C; the last checkpoint is on disk.
    """
    folder, group = Path(folder), group or Processes()
    group.on_main(lambda: _claim(folder, dataset, settings))
    graph = node_graph(dataset, settings)
    total = len(seeds) * settings.epochs
    title = f"{dataset.name} {settings.layer}"
    with progress_bar(total, title, "epoch", show=progress and group.is_main) as bar:
        results: list[SeedResult] = []
        for seed in seeds:
            result = group.on_main(functools.partial(_finished, folder, seed))
            if result is None:
                result = _one_seed(dataset, graph, settings, seed, folder, group, bar)
            bar.n = (len(results) + 1) * settings.epochs
            bar.refresh()
            results.append(result)
    return results


def _one_seed(
    dataset: OGBDataset, graph: Data, settings: Settings, seed: int, folder: Path, group: Processes, bar: Any
) -> SeedResult:
    done = bar.n

    def on_epoch(epoch: int, history: History) -> None:
        measured = [value for value in history.val if not math.isnan(value)]
        bar.set_postfix(seed=seed, valid=f"{max(measured, default=0.0):.4f}", refresh=False)
        bar.update(done + epoch + 1 - bar.n)

    checkpoint = folder / f"seed-{seed}.checkpoint"
    result, model = train_seed(dataset, graph, settings, seed, group, checkpoint=checkpoint, on_epoch=on_epoch)

    def finish() -> None:
        save_checkpoint(folder / f"seed-{seed}.pt", model.state_dict())
        write_json(folder / f"seed-{seed}.json", result.to_dict())
        checkpoint.unlink(missing_ok=True)

    group.on_main(finish)
    return result


def _finished(folder: Path, seed: int) -> SeedResult | None:
    path = folder / f"seed-{seed}.json"
    if not path.exists():
        return None
    try:
        return SeedResult.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FolderError(f"{path} cannot be read ({error}); move it away to run seed {seed} again") from error


def _claim(folder: Path, dataset: OGBDataset, settings: Settings) -> None:
    """The folder belongs to runs with these settings on these data, and to no others."""
    wanted = {"settings": settings.to_dict(), "data": _identity(dataset)}
    path = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_json(path, wanted)
            return
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{folder} cannot be used ({error}); choose another folder") from error
    for group, values in wanted.items():
        for name, value in values.items():
            other = stored.get(group, {}).get(name)
            if other != value:
                raise FolderError(
                    f"{folder} holds a run with {name} {other!r}, and this one has {value!r}; choose another folder"
                )


def _identity(dataset: OGBDataset) -> dict[str, Any]:
    sizes = {part: nodes.numel() for part, nodes in dataset.split.items()}
    return {"name": dataset.name, "nodes": dataset.y.size(0), "split": sizes, "generated": dataset.generated}


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file completely or not at all, ``null`` for what is no finite number."""
    write_text(path, strict_json(values, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    try:
        replace_file(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise FolderError(f"{path} cannot be written ({error.strerror})") from error
