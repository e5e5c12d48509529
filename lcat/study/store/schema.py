"""The tables of a study's store, version by version.

``PRAGMA user_version`` says which version a file has. A new file is made by taking the same steps from nothing, so
every migration runs in every study. Steps are only ever added: a step that was released is never changed.
"""

from __future__ import annotations

import sqlite3

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "migrate"]

#: Written into the head of the file: "lcat" in ASCII.
APPLICATION_ID = 0x6C636174

_STEPS: tuple[str, ...] = (
    # 1: plan, cells, results, histories, versions
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE versions (id INTEGER PRIMARY KEY, facts TEXT NOT NULL UNIQUE);
    CREATE TABLE cells (
        position INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        cell TEXT NOT NULL
    );
    CREATE TABLE results (
        key TEXT PRIMARY KEY REFERENCES cells (key),
        status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
        error TEXT,
        metric TEXT NOT NULL,
        train REAL, val REAL, test REAL,
        best_epoch INTEGER, epochs INTEGER, stopped TEXT, fit_seconds REAL, lambdas TEXT,
        seconds REAL NOT NULL, peak_memory INTEGER, parameters INTEGER NOT NULL,
        split_rule TEXT NOT NULL, train_nodes INTEGER NOT NULL, val_nodes INTEGER NOT NULL, test_nodes INTEGER NOT NULL,
        split_hash TEXT NOT NULL, test_set TEXT NOT NULL,
        started TEXT NOT NULL, finished TEXT NOT NULL, worker TEXT NOT NULL, device TEXT NOT NULL,
        versions INTEGER NOT NULL REFERENCES versions (id),
        CHECK ((status = 'done') = (error IS NULL))
    );
    CREATE TABLE histories (key TEXT PRIMARY KEY REFERENCES results (key), history BLOB NOT NULL);
    """,
    # 2: searches
    """
    CREATE TABLE trials (
        unit TEXT NOT NULL,
        number INTEGER NOT NULL,
        dataset TEXT NOT NULL,
        layer TEXT NOT NULL,
        test_set TEXT NOT NULL,
        params TEXT NOT NULL,
        keys TEXT NOT NULL,
        PRIMARY KEY (unit, number)
    ) WITHOUT ROWID;
    """,
    # 3: facts about the graphs
    """
    CREATE TABLE graphs (id INTEGER PRIMARY KEY, facts TEXT NOT NULL UNIQUE);
    ALTER TABLE results ADD COLUMN graph INTEGER REFERENCES graphs (id);
    """,
    # 4: sources of own models
    """
    CREATE TABLE models (
        layer TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        hash TEXT NOT NULL,
        file TEXT NOT NULL,
        source TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    # 5: tasks, and all metrics of a cell
    """
    ALTER TABLE results ADD COLUMN task TEXT NOT NULL DEFAULT 'node-classification';
    ALTER TABLE results ADD COLUMN figures TEXT NOT NULL DEFAULT '{}';
    """,
)

SCHEMA_VERSION = len(_STEPS)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the file to :data:`SCHEMA_VERSION`, each step in a transaction of its own.

    Returns:
        The version that it had.

    Raises:
        ValueError: if the file is of a later version, or no store of a study.
        sqlite3.Error: if it cannot be written; the last whole step stays.
    """
    initial_version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if tables and application != APPLICATION_ID:
        raise ValueError("it is a database of something else")
    if initial_version > SCHEMA_VERSION:
        raise ValueError(
            f"it has schema version {initial_version} and this lcat knows up to {SCHEMA_VERSION}; "
            "use the lcat that wrote it"
        )
    for version in range(initial_version, SCHEMA_VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _STEPS[version].split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return initial_version
