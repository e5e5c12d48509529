"""The command of the leaderboard scripts: data, seeds, block."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from lcat._output import safe_output
from lcat.data import DataError, OGBDataset, default_root, load_ogb, write_standin
from lcat.ogb.block import banner, block_text, leaderboard_block
from lcat.ogb.options import parser_of, typed_settings
from lcat.ogb.run import commands_of, finished_seeds, run_seeds, write_json, write_text
from lcat.ogb.settings import Settings, SettingsError, check_used
from lcat.train import NonFiniteLoss
from lcat.train.checkpoint import CheckpointError
from lcat.train.distributed import Processes
from lcat.train.distributed import processes as joined

__all__ = ["main"]


def main(dataset: str, arguments: Sequence[str] | None = None, command: str | None = None) -> dict[str, Any]:
    """Run one of OGB's data sets from a command line; prints and saves the leaderboard block.

    Args:
        dataset: OGB's name.
        arguments: options; those of the process by default.
        command: how the command was typed, for the block; the process's by default.

    Returns:
        The block, see :func:`lcat.ogb.leaderboard_block`.

    Raises:
        SystemExit: with code 2 for options that cannot be used, 1 for data that cannot be had or a training that
            failed, 130 for Ctrl-C, after one line on standard error.
    """
    with safe_output():
        return _main(dataset, arguments, command)


def _main(dataset: str, arguments: Sequence[str] | None, command: str | None) -> dict[str, Any]:
    if isinstance(arguments, str):
        raise TypeError(f"expected 'arguments' as a list of texts, got {arguments!r}: pass {arguments.split()!r}")
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = parser_of(dataset, command)
    options = parser.parse_args(words)
    changes = {spec.name: getattr(options, spec.name) for spec in fields(Settings) if spec.name != "dataset"}
    try:
        settings = Settings(dataset=dataset, **changes)
        check_used(settings, typed_settings(options))
    except SettingsError as error:
        parser.error(f"--{error.setting.replace('_', '-')} {error.message}")
    typed = shlex.join([*_started(command), *words])
    try:
        with contextlib.ExitStack() as stack:
            try:
                processes = stack.enter_context(joined(options.device, timeout_seconds=options.timeout))
            except (ValueError, RuntimeError, AssertionError) as error:
                parser.error(f"--device: {' '.join(str(error).split())}")
            return _run(dataset, settings, options, processes, typed)
    except (ValueError, CheckpointError, NonFiniteLoss) as error:  # of data, folders and trainings
        _stop(parser.prog, str(error), 1)
    except RuntimeError as error:
        if not re.match(r"process \d+ failed: ", str(error)):
            raise
        sys.exit(1)  # that process has said why
    except KeyboardInterrupt:
        _stop(parser.prog, "interrupted; the same command continues from the last checkpoint", 130)


def _run(
    name: str, settings: Settings, options: argparse.Namespace, processes: Processes, typed: str
) -> dict[str, Any]:
    dataset = _load(name, options, processes)
    folder = options.out or Path("lcat-ogb") / f"{name.removeprefix('ogbn-')}-{settings.layer}"
    if processes.is_main and dataset.generated:
        print(banner(), file=sys.stderr)
    results = run_seeds(
        dataset, settings, options.seeds, folder, group=processes, progress=not options.quiet, command=typed,
        predictions=options.predictions,
    )  # fmt: skip
    # All finished seeds of the folder: a block of some of them could be the best of a larger number.
    others = {result.seed for result in processes.on_main(lambda: finished_seeds(folder))} - set(options.seeds)
    if others:
        results = processes.on_main(lambda: finished_seeds(folder))
    commands = processes.on_main(lambda: commands_of(folder))
    block = leaderboard_block(dataset, settings, results, command=typed, commands=commands)
    if processes.is_main:
        if others:
            numbers = ", ".join(map(str, sorted(others)))
            print(f"{folder} holds more finished seeds ({numbers}); they are part of the block", file=sys.stderr)
        text = block_text(block)
        write_json(folder / "block.json", block)
        write_text(folder / "block.txt", text)
        print(text, end="")
        print(f"\nWritten to {folder}: block.txt, block.json and one file per seed")
    return block


def _load(name: str, options: argparse.Namespace, processes: Processes) -> OGBDataset:
    """The first process downloads and processes, then the first of every machine; the others read what these left."""
    folder = options.data or default_root() / "ogb"
    root: Path = folder / "stand-ins" if options.stand_in else folder
    progress = processes.is_main and not options.quiet

    def load() -> OGBDataset:
        if options.stand_in:
            try:
                if not (root / name.replace("-", "_")).exists():
                    write_standin(name, root)
            except OSError as error:
                raise DataError(f"--data: cannot write a stand-in to {root}: {error.strerror or error}") from error
        dataset = load_ogb(name, root, download=not (options.no_download or options.stand_in), progress=progress)
        if options.stand_in and dataset.generated is None:
            raise DataError(
                f"{dataset.folder} does not say that it is a stand-in (its marker file is missing), so its figures "
                f"would pass for those of OGB's data: move it away, and --stand-in makes it again"
            )
        return dataset

    made: list[OGBDataset] = []

    def load_if(turn: bool) -> None:
        if turn and not made:
            made.append(load())

    # Machines may share the folder: the first processes of the others come when the very first is done.
    for turn in (processes.is_main, os.environ.get("LOCAL_RANK", "0") == "0", True):
        processes.all_or_none(functools.partial(load_if, turn))
    return made[0]


def _started(command: str | None) -> list[str]:
    """The words that started this process, without its options."""
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if world > 1:
        nodes = ["--nnodes", str(world // local)] if world > local else []
        script = ["--no-python", *shlex.split(command)] if command else [sys.argv[0]]
        return ["torchrun", *nodes, "--nproc-per-node", str(local), *script]
    return shlex.split(command) if command else ["python", sys.argv[0]]


def _stop(program: str, message: str, code: int) -> NoReturn:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
