"""Rows of results that are in the file as soon as they are measured, within a budget of seconds."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from _measure import write_results

from lcat._json import strict_json

__all__ = ["Rows"]


class Rows:
    """What one part measures. The file is written again after each row: a part that is killed leaves its rows.

    Args:
        output: the file, or ``None`` for the terminal alone.
        facts: what was measured, and with which versions.
        budget: seconds from now on. A measurement is not begun when they are used up.
        resume: keep what the file holds; what is in it is not measured again, failures neither.
    """

    def __init__(self, output: Path | None, facts: Mapping[str, Any], budget: float, *, resume: bool = False) -> None:
        self.output = output
        self.facts = dict(facts)
        before = json.loads(output.read_text()) if resume and output is not None and output.exists() else {}
        self.rows: list[dict[str, Any]] = before.get("rows", [])
        self.failures: list[dict[str, Any]] = before.get("failures", [])
        self.left_out: list[dict[str, Any]] = []
        self._done = [*self.rows, *self.failures]
        self._end = time.monotonic() + budget
        self._write()

    @property
    def seconds_left(self) -> float:
        """What is left of the budget."""
        return self._end - time.monotonic()

    def measure(
        self, what: Mapping[str, Any], function: Callable[[], Mapping[str, Any] | list[dict[str, Any]]]
    ) -> None:
        """Add what ``function`` returns, one row or several, each with ``what`` in front.

        An exception is recorded and does not stop the part; after an error of the device itself nothing else can be
        measured, so it is raised again.
        """
        if any(what.items() <= row.items() for row in self._done):
            return
        if self.seconds_left <= 0:
            self.left_out.append(dict(what))
            self._write()
            return
        start = time.monotonic()
        try:
            result = function()
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self.failures.append({**what, "error": text[:500], "where": traceback.format_exc()[-1500:]})
            print(f"FAILED {strict_json(dict(what))}: {text[:200]}", flush=True)
            self._write()
            if isinstance(error, torch.AcceleratorError):
                raise
            return
        for row in [result] if isinstance(result, dict) else result:
            self.rows.append({**what, **row, "taken": round(time.monotonic() - start, 2)})
            print(strict_json(self.rows[-1]), flush=True)
        self._write()

    def _write(self) -> None:
        if self.output is None:
            return
        report = {**self.facts, "failures": self.failures, "left out": self.left_out, "rows": self.rows}
        write_results(self.output, report, announce=False, one_line="rows")
