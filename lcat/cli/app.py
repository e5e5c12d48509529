"""The commands of ``lcat``, and how each of them may end."""

from __future__ import annotations

import sys
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:  # the core install does without; main() says what to do
    typer = None  # type: ignore[assignment]

from lcat._version import __version__
from lcat.cli.stop import INSTALL, stop

__all__ = ["main"]

_STUDY_EXTRA = ("typer", "rich", "pydantic", "matplotlib", "scipy", "pandas", "jinja2", "tomli")


def main() -> None:
    """Entry point of the command ``lcat``."""
    if typer is None:
        stop(f"the command lcat needs a few more packages: {INSTALL}", 1)
    try:
        code = _app()(standalone_mode=False)
    except typer.Exit as error:
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        stop("interrupted", 130)
    except ModuleNotFoundError as error:
        if error.name not in _STUDY_EXTRA:
            raise
        stop(f"this command needs {error.name}: {INSTALL}", 1)
    except Exception as error:
        # Errors of the command line itself; typer brings its own copy of click, or uses click's, by version.
        if not hasattr(error, "format_message"):
            raise
        code = getattr(error, "exit_code", 2)
        if error.format_message():  # the help alone, where no command was given, has none
            stop(error.format_message(), code)
    sys.exit(code or 0)


def _app() -> typer.Typer:
    from lcat.cli.ogb import HANDED_ON, ogb
    from lcat.cli.study.app import study_app

    app = typer.Typer(
        name="lcat",
        help="Attention in graph neural networks: compare GCN, GAT, CAT and L-CAT, and see what runs here.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_lcat)
    app.add_typer(study_app(), name="study")
    app.command("ogb", add_help_option=False, context_settings=HANDED_ON)(ogb)
    app.command("doctor")(_doctor)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lcat {__version__}")
        raise typer.Exit()


def _lcat(
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version  # its callback has done it all


def _doctor() -> None:
    """Print versions, devices, threads, which implementation each primitive uses and why, and what is missing."""
    from rich.console import Console

    from lcat.cli.doctor import doctor_tables

    for table in doctor_tables():
        Console().print(table)
