"""The entry point of ``lcat``: every way in which a command may end is a line and an exit code."""

from __future__ import annotations

import sys

from lcat._output import safe_output

try:
    import typer
except ModuleNotFoundError:  # the core install does without; main() says what to do
    typer = None  # type: ignore[assignment]

from lcat.cli.stop import INSTALL, stop

__all__ = ["main"]

_STUDY_EXTRA = ("typer", "rich", "pydantic", "matplotlib", "scipy", "pandas", "jinja2", "tomli")


def main() -> None:
    """Entry point of the command ``lcat``; nothing that it prints can end it."""
    with safe_output() as output:
        code = _run()
        # Commands whose results are in files end with a code of their own; what others print is all that they do.
        sys.exit(output.exit_code if code is None else code)


def _run() -> int | None:
    """The exit code, ``None`` for a command that came to its end."""
    if typer is None:
        stop(f"the command lcat needs a few more packages: {INSTALL}", 1)
    try:
        from lcat.cli.commands import lcat_app

        code: int | None = lcat_app()(standalone_mode=False)
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
        from lcat.cli.usage import usage_message

        stop(usage_message(error), getattr(error, "exit_code", 2))
    return code
