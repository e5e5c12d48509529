"""The commands of ``lcat``; everything heavy is imported inside of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lcat._version import __version__
from lcat.cli.help import HelpCommand, HelpGroup
from lcat.cli.ogb import HANDED_ON, ogb
from lcat.cli.study.app import study_app

__all__ = ["lcat_app"]


class _LcatGroup(HelpGroup):
    """The commands in the order in which most users need them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, first things first."""
        order = {name: position for position, name in enumerate(("study", "doctor", "ogb"))}
        return sorted(super().list_commands(ctx), key=lambda name: order.get(name, len(order)))


def lcat_app() -> typer.Typer:
    """The command ``lcat`` with its commands."""
    app = typer.Typer(
        name="lcat",
        cls=_LcatGroup,
        help="Attention in graph neural networks: compare GCN, GAT, CAT and L-CAT, and see what runs here.",
        add_completion=False,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_lcat)
    app.add_typer(study_app(), name="study")
    app.command("doctor", cls=HelpCommand)(_doctor)
    app.command("ogb", cls=HelpCommand, add_help_option=False, context_settings=HANDED_ON)(ogb)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lcat {__version__}")
        raise typer.Exit()


def _lcat(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version  # its callback has done it all
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def _doctor() -> None:
    """Print versions, devices, threads, which implementation each primitive uses and why, and what is missing."""
    from rich.console import Console

    from lcat.cli.doctor import doctor_tables

    for table in doctor_tables():
        Console().print(table)
