"""The command of the leaderboard scripts: options, data, seeds, block."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import re
import shlex
import sys
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lcat.data import DataError, OGBDataset, default_root, load_ogb, write_standin
from lcat.ogb.block import banner, block_text, leaderboard_block
from lcat.ogb.run import FolderError, run_seeds, write_json, write_text
from lcat.ogb.settings import PROTOCOLS, Settings, SettingsError, default_settings
from lcat.train import NonFiniteLoss
from lcat.train.checkpoint import CheckpointError
from lcat.train.distributed import Processes
from lcat.train.distributed import processes as joined

__all__ = ["main", "parse_seeds", "parser_of"]


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
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = parser_of(dataset, command)
    options = parser.parse_args(given)
    changes = {spec.name: getattr(options, spec.name) for spec in fields(Settings) if spec.name != "dataset"}
    try:
        settings = default_settings(dataset, **changes)
    except SettingsError as error:
        name = str(error).split()[0]
        parser.error(str(error).replace(name, f"--{name.replace('_', '-')}", 1))
    typed = shlex.join([*_started(command), *given])
    try:
        with contextlib.ExitStack() as stack:
            try:
                processes = stack.enter_context(joined(options.device, timeout_seconds=options.timeout))
            except (ValueError, RuntimeError, AssertionError) as error:
                parser.error(f"--device: {' '.join(str(error).split())}")
            return _run(dataset, settings, options, processes, typed)
    except (DataError, FolderError, CheckpointError, NonFiniteLoss) as error:
        _stop(parser.prog, str(error), 1)
    except RuntimeError as error:
        if not re.match(r"process \d+ failed: ", str(error)):
            raise
        sys.exit(1)  # that process has said why
    except KeyboardInterrupt:
        _stop(parser.prog, "interrupted; the same command goes on from the last checkpoint", 130)


class _Parser(argparse.ArgumentParser):
    """One line for what is wrong, in place of the list of all options."""

    def error(self, message: str) -> typing.NoReturn:
        _stop(self.prog, f"{message} (--help lists the options)", 2)


def parser_of(dataset: str, command: str | None = None) -> argparse.ArgumentParser:
    """All options, with the data set's protocol as their defaults."""
    parser = _Parser(
        prog=command or Path(sys.argv[0]).name,
        description=f"Train on {dataset} over several seeds and print the block that its leaderboard asks for. "
        "A run that was broken off goes on with the same command.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    general = parser.add_argument_group("data, seeds, output")
    general.add_argument("--data", type=Path, default=default_root() / "ogb", metavar="DIR", help="OGB's data sets")
    general.add_argument("--no-download", action="store_true", help="never touch the network")
    general.add_argument(
        "--stand-in",
        action="store_true",
        help="a small generated graph of this name, for trying out; kept in DIR/stand-ins",
    )
    general.add_argument("--seeds", type=parse_seeds, default="0-9", metavar="LIST", help="such as 0-9 or 0,3,5")
    general.add_argument("--out", type=Path, default=None, metavar="DIR", help="results (default: lcat-ogb/NAME-LAYER)")
    general.add_argument("--device", default=None, help="cpu, cuda, cuda:1; a GPU if there is one")
    general.add_argument(
        "--timeout",
        type=_seconds,
        default=14_400,
        metavar="SECONDS",
        help="how long processes wait for each other, such as for the first to download and to measure the whole graph",
    )
    general.add_argument("--quiet", action="store_true", help="no progress on standard error")
    group = parser.add_argument_group("settings")
    defaults = Settings(dataset=dataset, **PROTOCOLS[dataset])
    hints = typing.get_type_hints(Settings)
    for spec in fields(Settings):
        if spec.name == "dataset":
            continue
        flag, text = f"--{spec.name.replace('_', '-')}", spec.metadata["help"].replace("%", "%%")
        default = getattr(defaults, spec.name)
        if hints[spec.name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        else:
            kind = _value_type(hints[spec.name])
            choices = spec.metadata["choices"]
            metavar = None if choices else spec.name.rpartition("_")[2].upper()
            group.add_argument(flag, type=kind, default=default, choices=choices, metavar=metavar, help=text)
    return parser


def parse_seeds(text: str) -> list[int]:
    """``"0-9"``, ``"0,3,5"`` or a mix as a list of numbers in ``0 .. 2^32 - 1`` without repetition.

    Raises:
        argparse.ArgumentTypeError: if it is none.

    Example:
        >>> from lcat.ogb.command import parse_seeds
        >>> parse_seeds("0-2,7")
        [0, 1, 2, 7]
    """
    seeds: list[int] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            seeds += range(int(low), int(high) + 1) if dash else [int(low)]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"seeds are whole numbers in 0 .. 2^32 - 1, each once, such as 0-9 or 0,3,5; got {text!r}"
        )
    return seeds


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a time must be a positive number of seconds; got {text!r}")
    return seconds


def _value_type(hint: Any) -> Any:
    """``int`` for ``int | None``."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _run(
    name: str, settings: Settings, options: argparse.Namespace, processes: Processes, typed: str
) -> dict[str, Any]:
    dataset = _load(name, options, processes)
    folder = options.out or Path("lcat-ogb") / f"{name.removeprefix('ogbn-')}-{settings.layer}"
    if processes.is_main and dataset.generated:
        print(banner(), file=sys.stderr)
    results = run_seeds(
        dataset, settings, options.seeds, folder, group=processes, progress=not options.quiet,
    )  # fmt: skip
    block = leaderboard_block(dataset, settings, results, command=typed)
    if processes.is_main:
        text = block_text(block)
        print(text, end="")
        write_json(folder / "block.json", block)
        write_text(folder / "block.txt", text)
        print(f"\nWritten to {folder}: block.txt, block.json and a file a seed")
    return block


def _load(name: str, options: argparse.Namespace, processes: Processes) -> OGBDataset:
    """The first process downloads and processes, then the first of every machine; the others read what these left."""
    root = options.data / "stand-ins" if options.stand_in else options.data
    progress = processes.is_main and not options.quiet

    def load() -> OGBDataset:
        if options.stand_in and not (root / name.replace("-", "_")).exists():
            try:
                write_standin(name, root)
            except OSError as error:
                raise DataError(f"--data: cannot write a stand-in to {root}: {error.strerror or error}") from error
        return load_ogb(name, root, download=not (options.no_download or options.stand_in), progress=progress)

    made: list[OGBDataset] = []

    def load_if(turn: bool) -> None:
        if turn and not made:
            made.append(load())

    # Machines may share the folder: the first processes of the others come when the very first is done.
    for turn in (processes.is_main, os.environ.get("LOCAL_RANK", "0") == "0", True):
        processes.all_or_none(functools.partial(load_if, turn))
    return made[0]


def _started(command: str | None) -> list[str]:
    """How this process was started, without its options."""
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if command is None and world > 1:
        nodes = ["--nnodes", str(world // local)] if world > local else []
        return ["torchrun", *nodes, "--nproc-per-node", str(local), sys.argv[0]]
    return shlex.split(command) if command else ["python", sys.argv[0]]


def _stop(program: str, message: str, code: int) -> typing.NoReturn:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
