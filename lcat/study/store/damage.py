"""What of a store cannot be read: searched for where something could not be read, and before a study goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lcat._text import counted
from lcat.study.store.rows import (
    RESULT_COLUMNS,
    RowError,
    own_layers,
    read_cell,
    read_facts,
    read_json,
    read_plan,
    read_result,
)

__all__ = ["Damage", "find_damage"]

#: Keys that a message names.
_NAMED = 3


@dataclass
class Damage:
    """What cannot be read, with the reasons.

    Attributes:
        plan: why the plan cannot be read; empty if it can.
        cells: reasons by key.
        results: reasons by key, curves included; the cell itself may be whole.
        facts: versions and graphs that results name and that cannot be read: the table and the number of the row.
        trials: trials of a search whose settings or cells cannot be read.
        strays: keys of results whose cell is missing.
        total: number of results, damaged ones included.
    """

    plan: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    facts: list[tuple[str, int]] = field(default_factory=list)
    trials: int = 0
    strays: list[str] = field(default_factory=list)
    total: int = 0

    def __bool__(self) -> bool:
        return bool(self.plan or self.cells or self.results or self.facts or self.trials or self.strays)

    @property
    def whole(self) -> int:
        """Results of which every figure can be read."""
        return self.total - len({*self.results, *self.cells, *self.strays})

    def __str__(self) -> str:
        """What is damaged, and how much is not."""
        parts = [f"the plan ({self.plan})"] if self.plan else []
        for what, reasons in (("cell", self.cells), ("result", self.results)):
            if reasons:
                parts.append(_counted(what, reasons))
        if self.strays:
            parts.append(_counted("result", dict.fromkeys(self.strays, "its cell is missing")))
        for table, what in (("versions", "the versions and machine"), ("graphs", "the facts about the graph")):
            rows = [str(row) for name, row in self.facts if name == table]
            if rows:
                parts.append(f"{what} of some results (row {', '.join(rows)} of {table})")
        if self.trials:
            parts.append(f"{counted(self.trials, 'trial')} of its search")
        return f"{'; '.join(parts)}. {self.whole} of {counted(self.total, 'result')} can be read and will be kept"


def _counted(what: str, reasons: Mapping[str, str]) -> str:
    first = "; ".join(f"{key}: {reason}" for key, reason in list(reasons.items())[:_NAMED])
    more = f"; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return f"{counted(len(reasons), what)} ({first}{more})"


def find_damage(connection: sqlite3.Connection) -> Damage:
    """Read everything once, and say what cannot be read.

    Args:
        connection: to the store.

    Raises:
        sqlite3.Error: if SQLite itself cannot read the file.

    Complexity:
        Everything is read, curves included: about 0.2 ms per cell.
    """
    damage = Damage()
    damage.plan = _reason(_check_plan, connection)
    keys = set()
    stored = connection.execute("SELECT value FROM meta WHERE name = 'plan'").fetchone()
    own = own_layers(stored[0] if stored else None, _models(connection))
    for key, text in connection.execute("SELECT key, cell FROM cells ORDER BY position"):
        keys.add(key)
        reason = _reason(read_cell, text, own)
        if reason:
            damage.cells[key] = reason
    for table in ("versions", "graphs"):
        column = "graph" if table == "graphs" else table
        rows = connection.execute(
            f"SELECT r.{column}, f.facts FROM (SELECT DISTINCT {column} FROM results WHERE {column} IS NOT NULL) r "
            f"LEFT JOIN {table} f ON f.id = r.{column}"
        )
        damage.facts += [(table, row) for row, text in rows if _reason(read_facts, text)]
    for row, packed in _results(connection):
        damage.total += 1
        if row["key"] not in keys:
            damage.strays.append(row["key"])
        reason = _reason(_check_result, row, packed)
        if reason:
            damage.results[row["key"]] = reason
    for params, cells in connection.execute("SELECT params, keys FROM trials"):
        damage.trials += bool(_reason(read_json, params, dict) or _reason(read_json, cells, list))
    return damage


def _reason(read: Any, *arguments: Any) -> str:
    try:
        read(*arguments)
    except RowError as error:
        return str(error)
    return ""


def _check_plan(connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'plan'").fetchone()
    if row is not None:
        read_plan(read_json(row[0], dict), _models(connection))
    elif connection.execute("SELECT count(*) FROM cells").fetchone()[0]:
        raise RowError("it is missing")


def _models(connection: sqlite3.Connection) -> list[str]:
    """What plans call the own models whose sources are kept."""
    return [row[0] for row in connection.execute("SELECT name FROM models")]


def _results(connection: sqlite3.Connection) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    names = ", ".join(f"r.{name}" for name in RESULT_COLUMNS)
    rows = connection.execute(f"SELECT h.history, {names} FROM results r LEFT JOIN histories h ON h.key = r.key")
    for packed, *values in rows:
        yield dict(zip(RESULT_COLUMNS, values, strict=True)), packed


def _check_result(row: dict[str, Any], packed: bytes | None) -> None:
    # Neither the cell nor versions are looked at: they have their own places in the list.
    read_result(None, row, packed, history=True, facts=({}, {}))  # type: ignore[arg-type]
