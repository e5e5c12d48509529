"""A run of several seeds whose finished parts are never lost: one result per seed, checkpoints within a seed."""

from __future__ import annotations

import functools
import json
import math
import pickle
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch_geometric.data import Data

from lcat._files import as_path, replace_file
from lcat._json import strict_json
from lcat._numbers import as_int
from lcat._progress import progress_bar
from lcat.data import OGBDataset
from lcat.ogb.graph import node_graph
from lcat.ogb.settings import Settings
from lcat.ogb.training import Evaluator, SeedResult, build_node_model, num_outputs, train_seed
from lcat.train import History
from lcat.train.distributed import Processes

__all__ = ["FolderError", "commands_of", "finished_seeds", "run_seeds"]


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
    command: str = "",
    predictions: bool = False,
) -> list[SeedResult]:
    """Train every seed that has no result in ``folder`` yet, and continue the one that was interrupted.

    Files in ``folder``: ``run.json`` (what is run, on what, by which commands), ``seed-3.json`` (a finished seed),
    ``seed-3.checkpoint`` (one that is not), ``seed-3.pt`` (the weights of the model that validated best, for
    ``torch.load``), and ``seed-3-predictions.npy`` if asked for.

    Args:
        dataset: as :func:`lcat.data.load_ogb` reads it.
        settings: what to train.
        seeds: numbers, each of one training.
        folder: where files go; made if it is missing.
        group: the processes of a torchrun; one process by default.
        progress: a bar over all epochs with the time left, on standard error.
        command: what was typed, kept for each seed that is trained.
        predictions: keep the logits of all nodes, float32 ``[N, classes or tasks]``, for every seed.

    Returns:
        The results in the order of ``seeds``.

    Raises:
        TypeError, ValueError: for other data or settings than those of one data set, or no list of seeds.
        FolderError: if the folder holds a run with other settings or data.
        lcat.train.CheckpointError: if a checkpoint is damaged or cannot be written.
        KeyboardInterrupt: Ctrl-C; the last checkpoint is on disk.
    """
    seeds = _checked(dataset, settings, seeds)
    folder, group = as_path("folder", folder), group or Processes()
    group.on_main(lambda: _claim(folder, dataset, settings))
    graph = node_graph(dataset, settings)
    total = len(seeds) * settings.epochs
    title = f"{dataset.name} {settings.layer}"
    with progress_bar(total, title, "epoch", show=progress and group.is_main) as bar:
        results: list[SeedResult] = []
        for seed in seeds:
            result = group.on_main(functools.partial(_finished, folder, seed))
            if result is None:
                result = _one_seed(dataset, graph, settings, seed, folder, group=group, bar=bar, command=command)
            if predictions:
                group.on_main(functools.partial(_predict, dataset, graph, settings, seed, folder, group.device))
            bar.n = (len(results) + 1) * settings.epochs
            bar.refresh()
            results.append(result)
    return results


def _checked(dataset: Any, settings: Any, seeds: Any) -> list[int]:
    """The seeds, if all three are what a run needs.

    Raises:
        TypeError: for another kind of data or settings.
        ValueError: for settings of another data set, and seeds that are no list of whole numbers.
    """
    if not isinstance(dataset, OGBDataset):
        raise TypeError(f"expected 'dataset' as lcat.data.load_ogb returns it, got {type(dataset).__name__}")
    if not isinstance(settings, Settings):
        raise TypeError(
            f"expected 'settings' of type lcat.ogb.Settings, got {type(settings).__name__}: default_settings makes one"
        )
    if settings.dataset != dataset.name:
        raise ValueError(
            f"expected settings of {dataset.name}, got those of {settings.dataset}: "
            f"default_settings({dataset.name!r}) makes some"
        )
    numbers = [as_int(seed) for seed in seeds] if isinstance(seeds, Iterable) and not isinstance(seeds, str) else []
    whole = [number for number in numbers if number is not None and 0 <= number < 2**32]
    if not whole or len(whole) < len(numbers):
        raise ValueError(f"expected seeds as a list of whole numbers in 0 .. 2^32 - 1, got {seeds!r}")
    return whole


def _one_seed(
    dataset: OGBDataset,
    graph: Data,
    settings: Settings,
    seed: int,
    folder: Path,
    *,
    group: Processes,
    bar: Any,
    command: str,
) -> SeedResult:
    done = bar.n

    def on_epoch(epoch: int, history: History) -> None:
        measured = [value for value in history.val if not math.isnan(value)]
        bar.set_postfix(seed=seed, valid=f"{max(measured, default=0.0):.4f}", refresh=False)
        bar.update(done + epoch + 1 - bar.n)

    checkpoint = folder / f"seed-{seed}.checkpoint"
    result, model = train_seed(dataset, graph, settings, seed, group, checkpoint=checkpoint, on_epoch=on_epoch)

    def finish() -> None:
        weights = {name: value.cpu() for name, value in model.state_dict().items()}
        _write(folder / f"seed-{seed}.pt", lambda file: torch.save(weights, file))
        _record_command(folder, seed, command)
        write_json(folder / f"seed-{seed}.json", {**result.to_dict(), "settings": settings.to_dict()})
        checkpoint.unlink(missing_ok=True)

    group.on_main(finish)
    return result


def _predict(
    dataset: OGBDataset, graph: Data, settings: Settings, seed: int, folder: Path, device: torch.device
) -> None:
    """Write the logits of a finished seed, if they are missing."""
    path = folder / f"seed-{seed}-predictions.npy"
    if path.exists():
        return
    weights = folder / f"seed-{seed}.pt"
    way_out = f"move seed-{seed}.* away to run seed {seed} again"
    model = build_node_model(settings, graph, num_outputs(dataset)).to(device)
    try:
        state = torch.load(weights, weights_only=True, map_location=device)
    except OSError as error:
        raise FolderError(f"{weights} cannot be read ({error.strerror or error}); {way_out}") from error
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        # Torch's own words are a paragraph on how to load what is not safe.
        raise FolderError(f"{weights} cannot be read (it is no whole file of torch.save); {way_out}") from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise FolderError(f"{weights} cannot be read (its weights are not those of this model); {way_out}") from error
    logits = Evaluator(dataset, graph, settings, device).predict(model)
    values = logits.float().contiguous().cpu().numpy()

    def write(file: IO[bytes]) -> None:  # as np.save, whose errors do not say why a file cannot be written
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        file.write(values.data)

    _write(path, write)


def finished_seeds(folder: Path) -> list[SeedResult]:
    """The results of all seeds that are finished in a folder, by seed."""
    numbers = (path.name.removeprefix("seed-").removesuffix(".json") for path in folder.glob("seed-*.json"))
    results = [_finished(folder, int(number)) for number in numbers if number.isdecimal()]
    return sorted((result for result in results if result is not None), key=lambda result: result.seed)


def commands_of(folder: Path) -> dict[int, str]:
    """What was typed when each seed of a folder was trained, where it is known."""
    return {int(seed): command for seed, command in _read_run(folder).get("commands", {}).items()}


def _record_command(folder: Path, seed: int, command: str) -> None:
    if command:
        stored = _read_run(folder)
        write_json(folder / "run.json", {**stored, "commands": {**stored.get("commands", {}), str(seed): command}})


def _read_run(folder: Path) -> dict[str, Any]:
    """What ``run.json`` holds: tables of settings, data and commands."""
    path = folder / "run.json"
    way_out = (
        "put a copy of it back, choose another folder, or move it away if the seeds in the folder are those of this run"
    )
    stored = _read_table(path, way_out)
    for name in ("settings", "data", "commands"):
        if not isinstance(stored.get(name, {}), dict):
            raise FolderError(f"{path} cannot be read (its {name} must be a table; got {stored[name]!r}); {way_out}")
    for seed, command in stored.get("commands", {}).items():
        if not (seed.isdecimal() and isinstance(command, str)):
            raise FolderError(f"{path} cannot be read (its commands must be texts by seed); {way_out}")
    return stored


def _read_table(path: Path, way_out: str) -> dict[str, Any]:
    """The JSON of a file, which must be a table of names and values.

    Raises:
        FolderError: one line with the file, the reason and the way out.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, RecursionError):
        reason = "it is no JSON" if path.stat().st_size else "it is empty"
    else:
        if isinstance(values, dict):
            return values
        reason = f"it must hold a table of names and values; got {type(values).__name__}"
    raise FolderError(f"{path} cannot be read ({reason}); {way_out}")


def _finished(folder: Path, seed: int) -> SeedResult | None:
    path = folder / f"seed-{seed}.json"
    if not path.exists():
        return None
    values = _read_table(path, _way_out(seed))
    values.pop("settings", None)  # compared by _claim; files of before this was kept have none
    try:
        result = SeedResult.from_dict(values)
        if result.seed != seed:
            raise ValueError(f"it is the result of seed {result.seed}")
    except ValueError as error:
        raise FolderError(f"{path} cannot be read ({error}); {_way_out(seed)}") from error
    return result


def _way_out(seed: int | str) -> str:
    return f"put a copy of it back, or move it away to run seed {seed} again"


def _claim(folder: Path, dataset: OGBDataset, settings: Settings) -> None:
    """The folder belongs to runs with these settings on these data, and to no others."""
    wanted: dict[str, dict[str, Any]] = {"settings": settings.to_dict(), "data": _identity(dataset)}
    path = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or str(error)
        raise FolderError(f"{folder} cannot be the folder of the results ({reason}); choose another one") from error
    if is_new:
        _check_seeds(folder, wanted["settings"])
        write_json(path, wanted)
        return
    stored = _read_run(folder)
    for group, values in wanted.items():
        for name, value in values.items():
            other = stored.get(group, {}).get(name)
            if other != value:
                raise FolderError(
                    f"{folder} holds a run with {name} {other!r}, and this one has {value!r}; choose another folder"
                )
    _check_seeds(folder, wanted["settings"])


def _check_seeds(folder: Path, wanted: dict[str, Any]) -> None:
    """The results of a folder are of these settings, also those that were copied, and where run.json is missing."""
    for path in sorted(folder.glob("seed-*.json")):
        seed = path.stem.removeprefix("seed-")
        stored = _read_table(path, _way_out(seed)).get("settings") if seed.isdecimal() else None
        if stored is None:
            continue
        for name, value in wanted.items():
            if not isinstance(stored, dict) or stored.get(name) != value:
                other = stored.get(name) if isinstance(stored, dict) else stored
                raise FolderError(
                    f"{path} is the result of a run with {name} {other!r}, and this one has {value!r}; choose another "
                    f"folder, or move {path.stem}.* away"
                )


def _identity(dataset: OGBDataset) -> dict[str, Any]:
    sizes = {part: nodes.numel() for part, nodes in dataset.split.items()}
    return {"name": dataset.name, "nodes": dataset.y.size(0), "split": sizes, "generated": dataset.generated}


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file completely or not at all, ``null`` for what is no finite number."""
    write_text(path, strict_json(values, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    _write(path, lambda file: file.write(text.encode()))


def _write(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    try:
        replace_file(path, write)
    except OSError as error:
        raise FolderError(f"{path} cannot be written ({error.strerror or error})") from error
