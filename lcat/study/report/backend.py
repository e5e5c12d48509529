"""Matplotlib without a window: what is drawn here never depends on the backend that a shell or a notebook asks for."""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["load_matplotlib"]


def load_matplotlib() -> None:
    """Import matplotlib, which refuses to be imported while ``MPLBACKEND`` names a backend that is not installed.

    The pictures of a report name their canvas themselves. The backend of the variable is set afterwards, if it exists,
    for everything else in the process.
    """
    if "matplotlib" in sys.modules:
        return
    name = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if name is not None:
            os.environ["MPLBACKEND"] = name
    if name:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = name
