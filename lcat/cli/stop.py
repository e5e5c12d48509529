"""End a command with one line."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["INSTALL", "stop"]

INSTALL = "pip install 'lcat-gnn[study]'"


def stop(message: str, code: int) -> NoReturn:
    """Print ``message`` in one line on standard error and exit with ``code``."""
    print(f"lcat: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
