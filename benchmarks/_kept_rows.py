"""Long benchmarks row by row: each row is on disk as soon as it is measured, so that nothing is measured twice.

A worker process measures the rows of one group (a data set) in one allocator mode. The system ends a process that
needs more memory than there is: the row that it was at is noted, and another worker goes on behind it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _measure import ALLOCATORS

from lcat._json import strict_json

__all__ = ["add_line", "measured_in_workers"]

OUT_OF_MEMORY = "the process was ended by the system: not enough memory"


def add_line(file: Path, entry: dict[str, Any]) -> None:
    """Append one entry."""
    with file.open("a", encoding="utf-8") as out:
        out.write(strict_json(entry) + "\n")


def _entries(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def measured_in_workers(
    script: str, rows: Path, *, modes: Sequence[str], groups: Sequence[str], names: Sequence[str], option: str
) -> dict[str, Any]:
    """Run ``script`` until ``rows`` has every row or says why it cannot.

    Args:
        script: its path. With ``--worker FILE`` it measures and appends to the file: ``{"machine": ...}`` first,
            ``{"begun": name}`` before each row, and then the row, with the group under ``option`` and its ``"model"``.
        rows: a file with one entry per line; what an earlier run left in it is not measured again.
        modes: keys of ``ALLOCATORS``.
        groups: values of the option ``--{option}s``; each group has processes of its own.
        names: values of ``--models``.
        option: the name of the groups, such as ``"dataset"``.

    Returns:
        By mode ``"machine"``, ``"rows"``, and under ``"left out"`` the rows without numbers, with the reason.
    """
    for mode in modes:
        print(f"\n== allocator mode: {mode}", flush=True)
        for group in groups:
            while remaining := [name for name in names if (mode, group, name) not in _done(rows, option)]:
                _work(script, rows, mode=mode, group=group, names=remaining, option=option)
    facts: dict[str, Any] = {mode: {"machine": None, "rows": [], "left out": []} for mode in modes}
    for entry in _entries(rows):
        part = facts.get(entry.pop("mode"))
        if part is None:
            continue
        if "machine" in entry:
            part["machine"] = part["machine"] or entry["machine"]
        elif "reason" in entry:
            part["left out"].append(entry)
        elif entry[option] in groups and entry["model"] in names:
            part["rows"].append(entry)
    return facts


def _done(rows: Path, option: str) -> set[tuple[str, str, str]]:
    return {(entry["mode"], entry[option], entry["model"]) for entry in _entries(rows) if "model" in entry}


def _work(script: str, rows: Path, *, mode: str, group: str, names: list[str], option: str) -> None:
    """One worker; what it measured is in ``rows`` when it ends, however it ends."""
    part = rows.with_name(f"{rows.name}.worker")
    part.unlink(missing_ok=True)
    command = [sys.executable, script, *sys.argv[1:], f"--{option}s", group, "--models", *names, "--worker", str(part)]
    code, begun = None, None
    try:
        code = subprocess.run(command, check=False, env={**os.environ, **ALLOCATORS[mode]}).returncode
    finally:
        for entry in _entries(part):
            begun = entry.get("begun", begun)
            if "begun" not in entry:
                add_line(rows, {"mode": mode, **entry})
        part.unlink(missing_ok=True)
    if code == -signal.SIGKILL and begun is not None:
        print(f"  {begun}: {OUT_OF_MEMORY}", flush=True)
        add_line(rows, {"mode": mode, option: group, "model": begun, "reason": OUT_OF_MEMORY})
    elif code:
        raise SystemExit(code)
