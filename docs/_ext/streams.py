"""Join the pieces in which the output of a command arrives, without the line breaks that myst_nb adds between them.

A command in a cell writes to a pseudo-terminal, which is read every few milliseconds. So a line can arrive in two
pieces. ``myst_nb`` ends each piece with a line break, which would tear tables apart.
"""

from __future__ import annotations

from typing import Any

from myst_nb.core import render
from sphinx.application import Sphinx

_coalesce_streams = render.coalesce_streams


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs of a cell with one output per stream, its text as it was written."""
    streams: dict[str, Any] = {}
    result = []
    for output in outputs:
        if output["output_type"] != "stream":
            result.append(output)
        elif output["name"] in streams:
            streams[output["name"]]["text"] += output["text"]
        else:
            streams[output["name"]] = output
            result.append(output)
    merged: list[Any] = _coalesce_streams(result)
    return merged


def setup(app: Sphinx) -> dict[str, Any]:
    render.coalesce_streams = joined
    return {"parallel_read_safe": True, "parallel_write_safe": True}
