"""The command ``lcat``: compare layers, run leaderboard scripts, and see what this machine has.

Everything heavy is imported inside the commands, so that ``lcat --help`` answers at once. Bad input ends with one
line on standard error and exit code 2, data or a study that fails with exit code 1, Ctrl-C with 130.
"""

from lcat.cli.app import main

__all__ = ["main"]
