"""``lcat ogb``: the leaderboard scripts as a command."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

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
    if name is None or name.startswith("-"):
        print(context.get_help())
        raise typer.Exit(0 if name in ("--help", None) else 2)
    from lcat.ogb import PROTOCOLS
    from lcat.ogb import main as run_ogb

    known = {known.removeprefix("ogbn-").lower(): known for known in PROTOCOLS}
    dataset = known.get(name.lower().removeprefix("ogbn-").removeprefix("ogbn_"))
    if dataset is None:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        if name.lower().startswith(("ogbg", "ogbl")):
            hint = ", which is no data set for predicting properties of nodes"
        names = ", ".join(dataset.removeprefix("ogbn-") for dataset in PROTOCOLS)
        stop(f"NAME must be one of {names}; got {name!r}{hint}", 2)
    run_ogb(dataset, context.args, command=f"lcat ogb {name}")
