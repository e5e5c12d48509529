"""``lcat ogb``: the leaderboard scripts as a command."""

from __future__ import annotations

from typing import Annotated

import typer

from lcat._text import hint
from lcat.cli.stop import stop

__all__ = ["HANDED_ON", "ogb"]

#: The options are those of the leaderboard scripts, which lcat.ogb reads.
HANDED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def ogb(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="arxiv, products, proteins, mag or papers100M.", metavar="NAME")
    ] = None,
) -> None:
    """Train on a data set of the Open Graph Benchmark: ten seeds, and the block that its leaderboard asks for.

    lcat ogb NAME --help lists the options; --stand-in tries it on a small generated graph.
    """
    if name is not None and name.startswith("-") and name not in context.help_option_names:
        stop(f"the name of the data set comes before options, as in lcat ogb arxiv {name}; got {name!r} first", 2)
    if name is None or name.startswith("-"):
        print(context.get_help())
        raise typer.Exit(0 if name in (None, *context.help_option_names) else 2)
    from lcat.ogb import PROTOCOLS
    from lcat.ogb import main as run_ogb

    known = {known.removeprefix("ogbn-").lower(): known for known in PROTOCOLS}
    dataset = known.get(name.lower().removeprefix("ogbn-").removeprefix("ogbn_"))
    if dataset is None:
        names = [dataset.removeprefix("ogbn-") for dataset in PROTOCOLS]
        meant = hint(name, names)
        if name.lower().startswith(("ogbg", "ogbl")):
            meant = ", which is no data set for predicting properties of nodes"
        stop(f"NAME must be one of {', '.join(names)}; got {name!r}{meant}", 2)
    run_ogb(dataset, context.args, command=f"lcat ogb {name}")
    raise typer.Exit(0)  # results are in files, whatever became of the output
