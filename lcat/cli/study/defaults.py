"""``lcat study defaults``: settings that a study uses where the plan does not say otherwise."""

from __future__ import annotations

__all__ = ["defaults"]


def defaults() -> None:
    """List the default settings of every group of data sets."""
    from rich.console import Console

    from lcat.cli.tables import defaults_table

    Console().print(defaults_table())
