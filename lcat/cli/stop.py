"""End a command with one line."""

from __future__ import annotations

import signal
import sys
import threading
from typing import NoReturn

__all__ = ["INSTALL", "INTERRUPTED", "stop"]

#: The exit code after Ctrl-C.
INTERRUPTED = 130
INSTALL = "pip install 'lcat-gnn[study]'"


def stop(message: str, code: int) -> NoReturn:
    """Print ``message`` in one line on standard error and exit with ``code``."""
    if code == INTERRUPTED and threading.current_thread() is threading.main_thread():
        # The process is about to end: one more Ctrl-C could only break into what libraries do then.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(f"lcat: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
