"""``lcat study`` with its commands."""

from __future__ import annotations

import typer

from lcat.cli.help import HelpCommand
from lcat.cli.study.add import add
from lcat.cli.study.datasets import datasets
from lcat.cli.study.defaults import defaults
from lcat.cli.study.export import export
from lcat.cli.study.group import StudyGroup
from lcat.cli.study.model import model
from lcat.cli.study.report import report
from lcat.cli.study.run import HELP, run
from lcat.cli.study.values import OTHER_NAMES

__all__ = ["study_app"]

_HELP = (
    "Compare layers on data sets over several seeds.\n\n"
    "\blcat study                          a demo on synthetic graphs\n"
    "lcat study -d cora -l gcn -l lcat   the same as: lcat study run -d cora ...\n"
    "lcat study plan.toml                a plan from a file\n"
    "lcat study add DIR -l gat           more layers, data sets or seeds for a study\n"
    "lcat study report DIR               tables and figures of a study again\n"
    "lcat study export DIR --to parquet  a study for other tools\n\n"
    "Options without a command belong to run; lcat study run --help lists them."
)


def study_app() -> typer.Typer:
    """The commands of ``lcat study``."""
    app = typer.Typer(cls=StudyGroup, help=_HELP, subcommand_metavar="[COMMAND] ...")
    app.command("run", cls=HelpCommand, help=HELP, context_settings={"token_normalize_func": _long_name})(run)
    app.command("add", cls=HelpCommand)(add)
    app.command("report", cls=HelpCommand)(report)
    app.command("export", cls=HelpCommand)(export)
    app.command("model", cls=HelpCommand)(model)
    app.command("datasets", cls=HelpCommand)(datasets)
    app.command("defaults", cls=HelpCommand)(defaults)
    return app


def _long_name(name: str) -> str:
    return OTHER_NAMES.get(name, name)
