"""Options of the leaderboard scripts and of ``lcat ogb``."""

from __future__ import annotations

import argparse
import math
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from lcat._option_names import option_hint
from lcat._seed_list import parse_seeds
from lcat.ogb.settings import PROTOCOLS, Settings, choices, setting_types

__all__ = ["parser_of", "typed_settings"]

_SHORT = {"layer": ("-l",)}
_METAVARS = {int: "N", float: "X"}
#: Shorter or older names of options that are accepted, without their dashes.
_OTHER_NAMES = {
    "hidden_channels": ("hidden",),
    "num_layers": ("layers", "depth"),
    "num_neighbors": ("fan-out",),
    "num_steps": ("walk-steps",),
}


class _Parser(argparse.ArgumentParser):
    """One line for what is wrong, in place of the list of all options."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        try:
            options, rest = self.parse_known_args(args, namespace)
        except argparse.ArgumentError as error:
            self.error(self._in_our_words(error))
        if rest:
            word = next((word for word in rest if word.startswith("-")), rest[0])
            if not word.startswith("-"):
                self.error(f"unexpected argument {word!r}: options begin with --")
            name = word.partition("=")[0]
            known = {name for action in self._actions for name in action.option_strings}
            self.error(f"there is no option {name}{option_hint(name, known, show=_with_its_name)}")
        return options

    def _in_our_words(self, error: argparse.ArgumentError) -> str:
        name = str(error.argument_name).split("/")[0]
        if error.message == "expected one argument":  # one argument
            metavar = next((action.metavar for action in self._actions if name in action.option_strings), None)
            return f"{name}: expected a value, as in {name} {metavar or 'VALUE'}"
        if error.message.startswith("ignored explicit argument"):
            return f"{name}: takes no value; write {name} alone"
        return f"{name}: {error.message}"

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {' '.join(message.split())} (--help lists the options)", file=sys.stderr)
        sys.exit(2)


class _OneSpelling(argparse.Action):
    """Stores the value; two names of one option in one command are a mistake, as one of the values would be lost."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        spellings = namespace.__dict__.setdefault("_spellings", {})
        before = spellings.setdefault(self.dest, option_string)
        if before != option_string:
            parser.error(f"{before} and {option_string} are one option: give one of them")
        setattr(namespace, self.dest, values)


def typed_settings(options: argparse.Namespace) -> set[str]:
    """Names of the settings that the command line names, by any of their spellings."""
    return set(vars(options).get("_spellings", ()))


def _with_its_name(spelling: str) -> str:
    """An option as hints name it: with its listed name, where it is another name."""
    word = spelling.removeprefix("--")
    name = next((setting for setting, others in _OTHER_NAMES.items() if word in others), None)
    return spelling if name is None else f"{spelling}, which is --{name.replace('_', '-')},"


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults behind the options that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_flag = action.default is False and not isinstance(action, argparse.BooleanOptionalAction)
        return action.help if action.default is None or is_flag else super()._get_help_string(action)


def parser_of(dataset: str, command: str | None = None) -> argparse.ArgumentParser:
    """All options, with the data set's protocol as their defaults."""
    parser = _Parser(
        prog=command or Path(sys.argv[0]).name,
        usage="%(prog)s [OPTIONS]",
        description=f"Train on {dataset} over several seeds and print the block that its leaderboard asks for. "
        "A run that was interrupted continues with the same command.",
        formatter_class=_Formatter,
        allow_abbrev=False,
        exit_on_error=False,
    )
    _add_general(parser.add_argument_group("data, seeds, output"))
    _add_settings(parser.add_argument_group("settings"), dataset)
    return parser


def _folder(text: str) -> Path:
    if not text.strip():  # of a variable of the shell that is not set
        raise argparse.ArgumentTypeError("expected a folder, got an empty text; . is the current folder")
    return Path(text)


def _add_general(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data",
        type=_folder,
        metavar="DIR",
        help="folder with OGB's data sets (default: ogb in the folder of public data sets)",
    )
    group.add_argument("--no-download", action="store_true", help="never touch the network")
    group.add_argument(
        "--stand-in",
        action="store_true",
        help="train on a small generated graph in place of the real data, to try things out; kept in DIR/stand-ins",
    )
    group.add_argument(
        "--seeds",
        type=_seeds,
        default="0-9",
        metavar="N or LIST",
        help="3 for the first three (0, 1, 2), or a list such as 0,3,5 or 0-9",
    )
    group.add_argument(
        "--out", "-o", type=_folder, metavar="DIR", help="folder for the results (default: lcat-ogb/NAME-LAYER)"
    )
    group.add_argument(
        "--predictions",
        action="store_true",
        help="also write the logits of all nodes for every seed (seed-0-predictions.npy)",
    )
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1; by default a GPU if available")
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=14_400,
        metavar="SECONDS",
        help="how long processes wait for each other, such as for the first to download and to measure the whole graph",
    )
    group.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")


def _add_settings(group: argparse._ArgumentGroup, dataset: str) -> None:
    """One option per setting; its text and its choices are with :class:`lcat.ogb.Settings`."""
    defaults = Settings(dataset=dataset, **PROTOCOLS[dataset])
    hints = setting_types()
    for spec in fields(Settings):
        if spec.name == "dataset":
            continue
        flag, text = f"--{spec.name.replace('_', '-')}", spec.metadata["help"].replace("%", "%%")
        default = getattr(defaults, spec.name)
        if hints[spec.name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
            continue
        accepted = choices(hints[spec.name])
        kind, is_optional = _value_type(hints[spec.name])
        if accepted:  # checked with all other settings, which name the closest one
            kind, text = str, f"{text}: {', '.join(accepted)}"
        read = _READERS.get(kind, kind)
        value_type = _or_none(read) if is_optional else read
        if is_optional:
            text = f"{text}; none for none"
        group.add_argument(
            *[flag, *_SHORT.get(spec.name, ())],
            type=value_type,
            action=_OneSpelling,
            default=default,
            metavar=_METAVARS.get(kind, "NAME"),
            help=text,
        )
        for name in _OTHER_NAMES.get(spec.name, ()):
            # Accepted, not listed; the default is that of the option itself.
            group.add_argument(
                f"--{name}", dest=spec.name, type=value_type, action=_OneSpelling, default=argparse.SUPPRESS,
                metavar=_METAVARS.get(kind, "NAME"),
                help=argparse.SUPPRESS,
            )  # fmt: skip


def _seeds(text: str) -> list[int]:
    try:
        return parse_seeds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number; got {text!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number; got {text!r}") from None


_READERS: dict[Any, Callable[[str], Any]] = {int: _whole, float: _number}


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a time must be a positive number of seconds; got {text!r}")
    return seconds


def _value_type(declared: Any) -> tuple[Any, bool]:
    """``int`` for ``int | None``, and whether ``None`` is a value."""
    if isinstance(declared, types.UnionType) or typing.get_origin(declared) is typing.Union:
        return next(part for part in typing.get_args(declared) if part is not type(None)), True
    return declared, False


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() == "none":
            return None
        try:
            return kind(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(str(error).replace("number;", "number, or none;")) from None

    return parse
