"""The store of a study: one SQLite file with one writer; a finished cell is on the disk when ``finish`` returns."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcat._json import strict_json
from lcat._text import counted
from lcat.study._folder import other_kind
from lcat.study.plan.cell import Cell
from lcat.study.plan.plan import StudyPlan
from lcat.study.store.codec import pack_history
from lcat.study.store.damage import find_damage
from lcat.study.store.result import CellResult, Status
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
from lcat.study.store.schema import SCHEMA_VERSION, migrate

__all__ = ["STORE_NAME", "OwnSource", "Store", "StoreError", "Trial"]

#: Name of the file in the folder of a study.
STORE_NAME = "study.sqlite"
_MEND = (
    "Run the study with its plan again: it writes what is damaged again from the plan, trains the cells anew whose "
    "results are damaged, and keeps the others"
)
_SET_ASIDE = "--no-resume (resume=False in Python) sets it aside and begins anew"
_PUT_BACK = f"put a copy of the file back if you have one, and else {_SET_ASIDE}"
#: The smallest page of SQLite, in bytes.
_MIN_SIZE = 512


@dataclass(frozen=True)
class Trial:
    """Settings that a search tried.

    Attributes:
        unit: name of the search.
        number: in the search, from 0.
        dataset, layer, test_set: what the search is for.
        params: the settings that it chose.
        keys: of the cells that measure them; empty if the settings do not fit together.
    """

    unit: str
    number: int
    dataset: str
    layer: str
    test_set: str
    params: dict[str, Any]
    keys: list[str]


@dataclass(frozen=True)
class OwnSource:
    """The source of an own model.

    Attributes:
        layer: name in cells.
        name: text in the plan, such as ``"models.py:MyNet"``.
        hash: of the files it is made of; empty if it has none, or could not be imported.
        file: the main one.
        source: its text.
    """

    layer: str
    name: str
    hash: str
    file: str
    source: str


class StoreError(OSError):
    """The store cannot be read or written; the message says which file, why, and what to do."""


class Store:
    """Cells and results of one study in ``DIR/study.sqlite``, or in memory.

    The file is in WAL mode with full synchronization: :meth:`finish` returns after the result has reached the disk,
    and a process killed at any moment leaves whole transactions only. Readers never wait for the writer. That there is
    one writer is seen to by :class:`lcat.study.store.lock.StudyLock`.

    Args:
        folder: of the study; it must exist. ``None`` keeps everything in memory, until the store is closed.
        write: open for writing and make the file if necessary; else only read, also from folders that are read-only.

    Attributes:
        mended: one line on what :meth:`mend` mended when the study went on; empty where nothing was damaged.

    Raises:
        StoreError: one line.

    Example:
        >>> import tempfile
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.store.store import Store
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn"],
        ...     seeds=[0],
        ...     overrides={"epochs": 3},
        ... )
        >>> with (
        ...     tempfile.TemporaryDirectory() as folder,
        ...     Store(folder, write=True) as store,
        ... ):
        ...     store.add_cells(plan.cells())
        ...     store.finish_many(run_study(plan).study.cell_results(history=True))
        ...     store.statuses() == {plan.cells()[0].key: "done"}
        True
    """

    def __init__(self, folder: str | Path | None, *, write: bool = False) -> None:
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self.mended = ""
        self._file: Path | None = None
        if folder is None:
            self.path = Path("a study in memory")  # for messages
            self._connection = self._open_in_memory()
            return
        self.path = Path(folder) / STORE_NAME
        self._file = self.path.absolute()  # the process may change its working directory
        self._check_path(write)
        try:
            self._connection = self._open_to_write() if write else self._open_to_read()
        except (sqlite3.Error, ValueError, OSError) as error:
            if self._copy is not None:
                self._copy.cleanup()
            raise StoreError(
                f"{self.path} cannot be opened as the store of a study: {_reason_and_way_out(error, self.path)}"
            ) from error
        self._connection.text_factory = _text

    def _check_path(self, write: bool) -> None:
        """Refuse what SQLite would open as a new study, or wait for, or explain in words of its own."""
        folder = self.path.parent
        kind = other_kind(self.path)
        if kind:
            raise StoreError(
                f"there is no study in {folder}: {self.path.name} is {kind}; expected a file. Move it away, or choose "
                f"another folder; {_SET_ASIDE}"
            )
        try:
            size = self.path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            if not write:
                raise StoreError(_no_study(folder)) from None
            return
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened: {_reason_and_way_out(error, self.path)}") from error
        if size == 0 and not write and not Path(f"{self.path}-wal").exists():
            raise StoreError(
                f"there is no study in {folder} yet: {self.path.name} is empty; run the study (lcat study, or "
                "run_study in Python), or put a copy of the file back if you have one"
            )
        if 0 < size < _MIN_SIZE:  # SQLite takes a single byte for an empty database, and would write over it
            raise StoreError(
                f"{self.path} cannot be opened as the store of a study: file is not a database, as it has "
                f"{counted(size, 'byte')}; {_PUT_BACK}"
            )

    def _open_to_write(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_in_memory(self) -> sqlite3.Connection:
        # A record in memory may be read from any thread of a notebook.
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, connection.close)
        migrate(connection)
        return connection

    def _open_to_read(self) -> sqlite3.Connection:
        try:
            return self._checked(self.path)
        except sqlite3.OperationalError:
            # A reader of a WAL file needs the files beside it, which it cannot make in a read-only folder.
            self._copy = tempfile.TemporaryDirectory(prefix="lcat-study-")
            for file in self.path.parent.glob(f"{STORE_NAME}*"):
                shutil.copy(file, self._copy.name)
            return self._checked(Path(self._copy.name) / STORE_NAME)

    @staticmethod
    def _checked(path: Path) -> sqlite3.Connection:
        # Not mode=ro: the last connection removes the files that WAL mode adds, and that can be a reader.
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA query_only = ON")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version == SCHEMA_VERSION:
                return connection
        except BaseException:
            connection.close()
            raise
        # Older or newer: a copy in memory is brought up to date, the file itself is left alone.
        memory = sqlite3.connect(":memory:", isolation_level=None)
        connection.backup(memory)
        connection.close()
        migrate(memory)
        return memory

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last writer folds the log beside it back in."""
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def get(self, name: str) -> Any:
        """A value kept by :meth:`put`, ``None`` if there is none.

        Raises:
            StoreError: if it is damaged.
        """
        rows = self._read("SELECT value FROM meta WHERE name = ?", (name,))
        if not rows:
            return None
        with self._reading_rows():
            return read_json(rows[0][0])

    def plan(self) -> StudyPlan:
        """The plan of the study.

        Raises:
            StoreError: if it is missing or damaged.
        """
        with self._reading_rows():
            value = self.get("plan")
            if value is None:
                raise RowError("it is missing")
            return read_plan(value, [model.name for model in self.models()])

    def has_plan(self) -> bool:
        """Whether the plan can be read."""
        try:
            self.plan()
        except StoreError:
            return False
        return True

    def put(self, name: str, value: Any) -> None:
        """Keep a value that JSON can say under ``name``."""
        with self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, strict_json(value)))

    def add_cells(self, cells: Iterable[Cell]) -> None:
        """Add cells to the plan, in order; those that it has already stay as they are."""
        rows = [(cell.key, cell.model_dump_json()) for cell in cells]
        with self._transaction() as cursor:
            cursor.executemany("INSERT OR IGNORE INTO cells (key, cell) VALUES (?, ?)", rows)

    def forget_cells(self) -> None:
        """Take back all cells and trials of a study that has no results yet."""
        with self._transaction() as cursor:
            for table in ("trials", "cells"):
                cursor.execute(f"DELETE FROM {table}")

    def models(self) -> list[OwnSource]:
        """The own models that the results are of, as they were."""
        return [OwnSource(*row) for row in self._read("SELECT layer, name, hash, file, source FROM models ORDER BY 1")]

    def put_model(self, model: OwnSource) -> None:
        """Keep the source of an own model, in place of an older one of this name that has no finished cell.

        What was planned for an older one is forgotten, with its failed cells.
        """
        with self._transaction() as cursor:
            row = cursor.execute("SELECT hash FROM models WHERE layer = ?", (model.layer,)).fetchone()
            if row is not None and row[0] != model.hash:
                of_layer = "SELECT key FROM cells WHERE json_valid(cell) AND json_extract(cell, '$.layer') = ?"
                for table in ("histories", "results", "cells"):
                    cursor.execute(f"DELETE FROM {table} WHERE key IN ({of_layer})", (model.layer,))
                cursor.execute("DELETE FROM trials WHERE layer = ?", (model.layer,))
            values = (model.layer, model.name, model.hash, model.file, model.source)
            cursor.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?)", values)

    def keys_of(self, layer: str, status: Status | None = None) -> list[str]:
        """Keys of the cells of one layer; with a status, of those that have it."""
        of_layer = "SELECT key FROM cells WHERE json_valid(cell) AND json_extract(cell, '$.layer') = ?"
        if status is None:
            return [row[0] for row in self._read(of_layer, (layer,))]
        rows = self._read(f"SELECT key FROM results WHERE status = ? AND key IN ({of_layer})", (status, layer))
        return [row[0] for row in rows]

    def datasets(self) -> dict[str, dict[str, Any]]:
        """What identifies the own data sets that results are of, by name."""
        with self._reading_rows():
            return dict(self.get("datasets") or {})

    def done_on(self, dataset: str) -> int:
        """Number of finished cells on a data set."""
        rows = self._read(
            "SELECT count(*) FROM results r JOIN cells c ON c.key = r.key WHERE r.status = 'done' AND "
            "json_valid(c.cell) AND json_extract(c.cell, '$.dataset') = ?",
            (dataset,),
        )
        return int(rows[0][0])

    def _own_layers(self) -> frozenset[str]:
        """Names of own models that cells may have."""
        rows = self._read("SELECT value FROM meta WHERE name = 'plan'")
        return own_layers(rows[0][0] if rows else None, [model.name for model in self.models()])

    def cells(self) -> list[Cell]:
        """All cells in the order in which they were added.

        Raises:
            StoreError: if one is damaged.
        """
        with self._reading_rows():
            own = self._own_layers()
            return [read_cell(row[0], own) for row in self._read("SELECT cell FROM cells ORDER BY position")]

    def keys(self) -> list[str]:
        """Keys of all cells, in the order in which they were added."""
        return [row[0] for row in self._read("SELECT key FROM cells ORDER BY position")]

    def cell_count(self) -> int:
        """Number of cells."""
        return int(self._read("SELECT count(*) FROM cells")[0][0])

    def add_trial(self, trial: Trial, cells: Iterable[Cell]) -> None:
        """Keep what a search tries next, and its cells, before any of them runs."""
        rows = [(cell.key, cell.model_dump_json()) for cell in cells]
        with self._transaction() as cursor:
            cursor.executemany("INSERT OR IGNORE INTO cells (key, cell) VALUES (?, ?)", rows)
            values = (trial.unit, trial.number, trial.dataset, trial.layer, trial.test_set)
            texts = (strict_json(trial.params), strict_json(trial.keys))
            cursor.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)", (*values, *texts))

    def trials(self) -> list[Trial]:
        """All trials, by search and number."""
        rows = self._read("SELECT unit, number, dataset, layer, test_set, params, keys FROM trials ORDER BY 1, 2")
        with self._reading_rows():
            return [
                Trial(a, b, c, d, e, read_json(params, dict), read_json(keys, list))
                for a, b, c, d, e, params, keys in rows
            ]

    def finish(self, result: CellResult) -> None:
        """Keep the result of a cell in one transaction; it is on the disk when this returns.

        A failed cell may be replaced by a later result, a done one may not. The same result may come a second time, as
        Ctrl-C leaves open whether it was kept the first time.

        Raises:
            StoreError: if it cannot be written, the cell is unknown, or it is done already; nothing is changed. Also if
                somebody has deleted or moved the store, into which SQLite would go on writing without a word.
        """
        if self._file is not None and not self._file.is_file():
            raise StoreError(
                f"{self.path} was deleted or moved while the study ran, and its results with it; put it back and run "
                "the study again, which goes on from there, or begins anew if it is lost"
            )
        with self._transaction() as cursor:
            self._insert(cursor, result)

    def finish_many(self, results: Iterable[CellResult]) -> None:
        """Like :meth:`finish` for several results in one transaction: all of them or none."""
        with self._transaction() as cursor:
            for result in results:
                self._insert(cursor, result)

    def _insert(self, cursor: sqlite3.Cursor, result: CellResult) -> None:
        key, fit = result.cell.key, result.fit
        stored = cursor.execute(
            "SELECT status, worker, started, finished FROM results WHERE key = ?", (key,)
        ).fetchone()
        if stored == ("done", result.worker, result.started, result.finished):
            return
        if stored is not None and stored[0] == "done":
            raise StoreError(f"{self.path}: cell {key} ({result.cell}) is done already and is never replaced")
        values = {
            "key": key,
            "status": result.status,
            "error": None if fit is not None else (result.error or "no traceback"),
            "lambdas": None if fit is None else strict_json(fit.lambdas),
            "fit_seconds": None if fit is None else fit.seconds,
            "versions": _facts_id(cursor, "versions", result.versions),
            "graph": _facts_id(cursor, "graphs", result.graph) if result.graph else None,
            "figures": strict_json(result.figures),
        }
        values.update(zip(("train_nodes", "val_nodes", "test_nodes"), result.split_sizes, strict=True))
        for name in RESULT_COLUMNS:
            if name not in values:
                source = fit if name in ("train", "val", "test", "best_epoch", "epochs", "stopped") else result
                values[name] = None if source is None else getattr(source, name)
        places = ", ".join("?" * len(RESULT_COLUMNS))
        cursor.execute("DELETE FROM results WHERE key = ?", (key,))
        cursor.execute(
            f"INSERT INTO results ({', '.join(RESULT_COLUMNS)}) VALUES ({places})", [values[n] for n in RESULT_COLUMNS]
        )
        if fit is not None:
            cursor.execute("INSERT INTO histories VALUES (?, ?)", (key, pack_history(fit.history)))

    def statuses(self) -> dict[str, Status]:
        """``"done"`` or ``"failed"`` of every cell with a result, by its key."""
        return dict(self._read("SELECT key, status FROM results"))

    def versions(self) -> list[dict[str, str]]:
        """Versions and machines of the results, each once, in the order of their first cells."""
        rows = self._read(
            "SELECT v.facts FROM results r JOIN cells c ON c.key = r.key JOIN versions v ON v.id = r.versions "
            "GROUP BY v.id ORDER BY min(c.position)"
        )
        with self._reading_rows():
            return [read_facts(row[0]) for row in rows]

    def results(self, *, history: bool = False, keys: Iterable[str] | None = None) -> Iterator[CellResult]:
        """Results in the order of the cells.

        Args:
            history: with the curves of every epoch; without them ``fit.history`` is empty, which is much quicker.
            keys: of the cells wanted; all by default.

        Raises:
            StoreError: if one is damaged.
        """
        if isinstance(keys, str) or not isinstance(keys, (Iterable, type(None))):
            raise TypeError(f"expected keys of cells in a list, got {keys!r}")
        with self._reading_rows():
            own = self._own_layers()
            if keys is None and self._read("SELECT 1 FROM results WHERE key NOT IN (SELECT key FROM cells) LIMIT 1"):
                raise RowError("a result has no cell")
            facts = {table: dict(self._read(f"SELECT id, facts FROM {table}")) for table in ("versions", "graphs")}
            names = ", ".join(f"r.{name}" for name in RESULT_COLUMNS)
            where: tuple[str, tuple[Any, ...]] = ("", ())
            if keys is not None:
                wanted = list(keys)
                known = {key for (key,) in self._read("SELECT key FROM cells")}
                unknown = [key for key in wanted if not isinstance(key, str) or key not in known]
                if unknown:
                    raise ValueError(f"the study has no cell {unknown[0]!r}: keys are in the column key of results()")
                where = ("WHERE r.key IN (SELECT value FROM json_each(?))", (json.dumps(wanted),))
            curves = ("h.history", "LEFT JOIN histories h ON h.key = r.key") if history else ("NULL", "")
            statement = (
                f"SELECT c.cell, {curves[0]}, {names} FROM results r JOIN cells c ON c.key = r.key {curves[1]} "
                f"{where[0]} ORDER BY c.position"
            )
            for text, packed, *values in self._connection.execute(statement, where[1]):
                row = dict(zip(RESULT_COLUMNS, values, strict=True))
                versions = read_facts(facts["versions"].get(row["versions"]))
                graph = {} if row["graph"] is None else read_facts(facts["graphs"].get(row["graph"]))
                yield read_result(read_cell(text, own), row, packed, history=history, facts=(versions, graph))

    def mend(self, plan: StudyPlan) -> str:
        """Write what is damaged again from the plan, and forget the results that cannot be read.

        Their cells have no result then, so they run again. Everything else stays as it is.

        Args:
            plan: of this study.

        Returns:
            One line on what was mended; empty if nothing was damaged.

        Raises:
            StoreError: if something is damaged that the plan does not say, as cells of a search; nothing is changed.
        """
        try:
            damage = find_damage(self._connection)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        if not damage:
            return ""
        cells = {cell.key: cell for cell in plan.cells()}
        if damage.trials or not {*damage.cells, *damage.strays} <= set(cells):
            raise StoreError(
                f"{self.path} is damaged: {damage}, but the plan does not say what the damaged cells were: {_SET_ASIDE}"
            )
        with self._transaction() as cursor:
            rows = [(cells[key].model_dump_json(), key) for key in damage.cells]
            cursor.executemany("UPDATE cells SET cell = ? WHERE key = ?", rows)
            cursor.executemany(
                "INSERT INTO cells (key, cell) VALUES (?, ?)",
                [(key, cells[key].model_dump_json()) for key in damage.strays],
            )
            for table in ("histories", "results"):
                cursor.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in damage.results])
            for table, row in damage.facts:
                text = strict_json({"lcat": f"unknown, because row {row} of {table} was damaged"})
                cursor.execute(f"INSERT OR REPLACE INTO {table} (id, facts) VALUES (?, ?)", (row, text))
            cursor.execute("INSERT OR REPLACE INTO meta VALUES ('plan', ?)", (plan.model_dump_json(),))
        again = len(damage.results)
        return f"{self.path} was damaged and is mended: {damage}" + (
            f", {again} {'cell runs' if again == 1 else 'cells run'} again" if again else ""
        )

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    @contextmanager
    def _reading_rows(self) -> Iterator[None]:
        """Context in which a row that cannot be read becomes one line on everything that cannot."""
        try:
            yield
        except RowError as error:
            try:
                damage = str(find_damage(self._connection) or error)
            except sqlite3.Error as failure:
                raise self._unreadable(failure) from failure
            raise StoreError(f"{self.path} is damaged: {damage}. {_MEND}; or {_SET_ASIDE}") from None
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"{self.path} cannot be read: {_reason_and_way_out(error, self.path)}")

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection, self.path)


class _Transaction:
    """All or nothing; an error of SQLite becomes one line that says that nothing was lost."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def __enter__(self) -> sqlite3.Cursor:
        try:
            if self._connection.in_transaction:
                # Ctrl-C came right after the beginning of the last one, or right before its end.
                self._connection.execute("ROLLBACK")
            return self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
                return
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as failure:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise self._failure(failure) from failure
        if isinstance(error, sqlite3.Error):
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"cannot write {self._path}: {error}; every cell that had finished is kept. Mend that (free space, rights) "
            "and run the same command again to go on"
        )


def _no_study(folder: Path) -> str:
    """Why there is none, and where one may be."""
    if folder.is_file():
        owner = f"its folder, {folder.parent}" if folder.name == STORE_NAME else "the folder of a study"
        return f"there is no study in {folder}: it is a file; expected {owner}"
    if not folder.is_dir():
        return f"there is no study in {folder}: there is no such folder; expected the folder of a study (its --out)"
    try:
        inner = sorted(path.parent for path in folder.glob(f"*/{STORE_NAME}"))
    except OSError:
        inner = []
    meant = f" (did you mean {' or '.join(map(str, inner[:3]))}?)" if inner else ""
    return (
        f"there is no study in {folder}: {STORE_NAME} is missing{meant}; expected a folder that lcat study, or "
        "run_study in Python, has written to"
    )


def _reason_and_way_out(error: Exception, path: Path) -> str:
    """What SQLite or the system says, and what to do about it."""
    if not isinstance(error, (OSError, sqlite3.Error)):
        # Of another version or of something else, which the message says; nothing is broken.
        return f"{error}; or choose another folder"
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    lacks = [
        f"{right} {name}"
        for name, right, mode in (
            (path, "read", os.R_OK),
            (path, "write", os.W_OK),
            (path.parent, "write to", os.W_OK),
        )
        if name.exists() and not os.access(name, mode)
    ]
    if isinstance(error, PermissionError) or (lacks and "database" in reason and "not a database" not in reason):
        missing = f" (you may not {', nor '.join(lacks)})" if lacks else ""
        return f"{reason}{missing}; give yourself these rights, or work on a copy of the folder"
    if "locked" in reason:
        return f"{reason}; another process works on it: wait for it, or choose another folder"
    if "not a database" in reason or "malformed" in reason:
        return f"{reason}; {_PUT_BACK}"
    return f"{reason}; mend that (rights, disk, free space), or {_PUT_BACK}"


def _text(content: bytes) -> str:
    """Damaged text becomes text all the same, which then is no JSON, rather than an error of SQLite without a row."""
    return content.decode("utf-8", "replace")


def _facts_id(cursor: sqlite3.Cursor, table: str, facts: dict[str, Any]) -> int:
    """The row of ``table`` that holds these facts; each is kept once."""
    text = strict_json(dict(sorted(facts.items())))
    cursor.execute(f"INSERT OR IGNORE INTO {table} (facts) VALUES (?)", (text,))
    return int(cursor.execute(f"SELECT id FROM {table} WHERE facts = ?", (text,)).fetchone()[0])
