"""Commands whose help texts stand as they are written: brackets in them are words, and no markup of rich."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["HelpCommand", "HelpGroup"]


def _escape(command: Any) -> None:
    """Mark the brackets in the texts of a command, once, if typer reads them as markup."""
    if getattr(command, "_lcat_escaped", False) or getattr(command, "rich_markup_mode", None) != "rich":
        return
    from rich.markup import escape

    command._lcat_escaped = True
    texts = [(command, name) for name in ("help", "short_help", "epilog")]
    texts += [(parameter, "help") for parameter in command.params]
    for owner, name in texts:
        text = getattr(owner, name, None)
        if text:
            setattr(owner, name, escape(text))


class HelpCommand(TyperCommand):
    """A command; nothing is changed before its help is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _escape(self)
        super().format_help(ctx, formatter)


class HelpGroup(TyperGroup):
    """A group of commands, whose help lists the first lines of theirs."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        for name in self.list_commands(ctx):
            _escape(self.get_command(ctx, name))
        _escape(self)
        super().format_help(ctx, formatter)
