"""Run by the kernels of the pages when they start: a command in a cell that fails is an error, as a Python error is.

IPython itself keeps the exit code of ``!command`` in a variable, and goes on. ``PYTHONSTARTUP`` names this file.
"""

from __future__ import annotations


def raise_for_failing_commands(shell: object) -> None:
    """Let ``shell`` raise an error for every command whose exit code is not 0.

    Args:
        shell: of IPython, as ``get_ipython()`` returns it.
    """
    run = shell.system  # type: ignore[attr-defined]

    def system(command: str) -> None:
        run(command)
        code = shell.user_ns.get("_exit_code")  # type: ignore[attr-defined]
        if code:
            raise RuntimeError(f"exit code {code} of the command: {command}")

    shell.system = system  # type: ignore[attr-defined]


if "get_ipython" in globals():
    raise_for_failing_commands(get_ipython())  # type: ignore[name-defined]  # noqa: F821
