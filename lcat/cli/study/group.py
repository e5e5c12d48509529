"""The group of commands behind ``lcat study``: ``run`` is meant where no command is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lcat._text import hint
from lcat.cli.help import HelpGroup
from lcat.cli.study.values import OTHER_NAMES

__all__ = ["StudyGroup"]

_DEFAULT = "run"
#: Typer brings its own copy of click, or uses click's, by version.
_Context = Any


class StudyGroup(HelpGroup):
    """``lcat study plan.toml --seeds 3`` is ``lcat study run plan.toml --seeds 3``."""

    def parse_args(self, ctx: _Context, args: list[str]) -> list[str]:
        """Put the default command before words that name none, unless they ask for help.

        Raises:
            click.UsageError: if the first word is neither a command, nor an option, a plan file or a folder.
        """
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            if args and not args[0].startswith("-"):
                self._check_plan_file(ctx, args[0])
            args = [_DEFAULT, *args]
        for other, name in OTHER_NAMES.items():
            if _is_among(f"--{other}", args) and _is_among(f"--{name}", args):
                ctx.fail(f"--{other} is another name of --{name}; write one of them")
        return super().parse_args(ctx, args)

    def _check_plan_file(self, ctx: _Context, word: str) -> None:
        """A mistyped command is no plan; what exists, or has an ending, is meant as one, and loading it says more."""
        if not word.strip():
            ctx.fail("expected a command or a plan file, got an empty text")
        if Path(word).suffix or Path(word).exists():
            return
        commands = self.list_commands(ctx)
        ctx.fail(
            f"there is no command and no plan file {word!r}{hint(word, commands)}; commands are {', '.join(commands)}; "
            "a data set is named with -d, as in lcat study -d cora"
        )


def _is_among(option: str, words: list[str]) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)
