"""The store gives back what it was given, keeps a finished cell for good, and says in one line what went wrong."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from lcat.study import StoreError, Study
from lcat.study.store import schema
from lcat.study.store.codec import pack_history, unpack_history
from lcat.study.store.store import STORE_NAME, Store, Trial
from tests.study.study_support import made_up, plan_of, trained


def filled(folder, results):
    store = Store(folder, write=True)
    store.add_cells([result.cell for result in results])
    for result in results:
        store.finish(result)
    return store


RESULTS = [
    made_up("lcat", 0, 0.8, lambdas={"a": [0.1, 0.2], "b": [1.0, 0.0]}),
    made_up("gcn", 1, 1 / 3),
    made_up("gat", 2, error="Traceback ...\nValueError: boom"),
]


def test_everything_comes_back_bit_for_bit(tmp_path):
    real = trained(plan_of(layers=["lcat"], overrides={"epochs": 5}))
    with filled(tmp_path, RESULTS + real) as store:
        assert list(store.results(history=True)) == RESULTS + real
        assert store.cells() == [result.cell for result in RESULTS + real]
    with Store(tmp_path) as again:
        assert list(again.results(history=True)) == RESULTS + real
        assert list(again.statuses().values()).count("failed") == 1


def test_numbers_that_are_none_come_back(tmp_path):
    result = made_up("lcat", 0, 0.8, lambdas={"a": [0.5, math.nan]})
    result.fit.train = math.nan
    result.fit.history.val = [math.nan, 0.5]
    with filled(tmp_path, [result]) as store:
        [loaded] = store.results(history=True)
        [(text,)] = store._read("SELECT lambdas FROM results")
    assert repr(loaded) == repr(result)
    assert text == '{"a": [0.5, null]}'


def test_without_histories_all_else_is_there(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        for loaded, original in zip(store.results(), RESULTS, strict=True):
            assert loaded.cell == original.cell
            if original.fit is not None:
                assert len(loaded.fit.history) == 0
                assert loaded.fit.to_dict(history=False) == original.fit.to_dict(history=False)
        [one] = store.results(keys=[RESULTS[1].cell.key])
        assert one.cell == RESULTS[1].cell


def test_a_done_cell_is_never_replaced_and_a_failed_one_is(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        with pytest.raises(StoreError, match="is done already"):
            store.finish(replace(made_up("gcn", 1, 0.9), finished="later"))
        store.finish(RESULTS[1])  # after Ctrl-C, nobody knows whether it was kept
        store.finish(made_up("gat", 2, 0.7))
        assert [result.fit.test for result in store.results()] == [0.8, 1 / 3, 0.7]


@pytest.mark.parametrize("move", [True, False])
def test_a_store_that_somebody_took_away_takes_no_more_results(tmp_path, move, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(os.curdir, write=True)
    store.add_cells([result.cell for result in RESULTS])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.finish(RESULTS[0])  # from another working directory the store is where it was
    (tmp_path / STORE_NAME).rename(tmp_path / "moved") if move else (tmp_path / STORE_NAME).unlink()
    with pytest.raises(StoreError, match="was deleted or moved while the study ran") as caught:
        store.finish(RESULTS[1])
    assert "\n" not in str(caught.value)
    store.close()


def test_a_cell_that_was_not_planned_is_refused(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        with pytest.raises(StoreError, match="FOREIGN KEY"):
            store.finish(made_up("cat", 0))
        assert len(store.statuses()) == 3


def test_many_results_are_kept_whole_or_not_at_all(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        with pytest.raises(StoreError):
            store.finish_many([made_up("gat", 2, 0.7), made_up("cat", 0)])
        assert store.statuses()[RESULTS[2].cell.key] == "failed"


def test_a_transaction_that_ctrl_c_left_open_is_taken_back(tmp_path):
    with filled(tmp_path, RESULTS[:2]) as store:
        cursor = store._transaction().__enter__()
        cursor.execute("DELETE FROM histories")
        store.add_cells([RESULTS[2].cell])
        store.finish(RESULTS[2])
        assert list(store.results(history=True)) == RESULTS


def test_values_by_name(tmp_path):
    with Store(tmp_path, write=True) as store:
        assert store.get("plan") is None
        store.put("plan", {"a": [1, None]})
        store.put("plan", {"a": [2, "ü"]})
        assert store.get("plan") == {"a": [2, "ü"]}


def test_no_study_and_something_else(tmp_path):
    with pytest.raises(StoreError, match="there is no study in"):
        Store(tmp_path)
    (tmp_path / STORE_NAME).write_bytes(b"not a database, but longer than a header of one hundred bytes" * 9)
    for write in (False, True):
        with pytest.raises(StoreError, match=r"study\.sqlite cannot be opened as the store of a study: file is not a"):
            Store(tmp_path, write=write)
    (tmp_path / STORE_NAME).unlink()
    other = sqlite3.connect(tmp_path / STORE_NAME)
    other.execute("CREATE TABLE mine (a)")
    other.close()
    for write in (False, True):
        with pytest.raises(StoreError, match="a database of something else"):
            Store(tmp_path, write=write)


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"garbage " * 100, "file is not a database; put a copy of the file back"),
        (b"\0" * 8192, "file is not a database; put a copy of the file back"),
        (b"x", "file is not a database, as it has 1 byte; put a copy of the file back"),
        (b"SQLite format 3\0", "file is not a database, as it has 16 bytes; put a copy of the file back"),
        ("half", "database disk image is malformed; put a copy of the file back"),
        (None, "study.sqlite is a folder; expected a file. Move it away"),
    ],
)
def test_what_is_no_store_is_told_with_the_way_out_and_stays(tmp_path, content, words, write):
    path = tmp_path / STORE_NAME
    if content == "half":
        filled(tmp_path, RESULTS).close()
        content = path.read_bytes()[:6000]
    path.unlink(missing_ok=True)
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        Store(tmp_path, write=write)
    assert words in str(caught.value)
    assert "--no-resume (resume=False in Python) sets it aside and begins anew" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.is_dir() if content is None else path.read_bytes() == content


def test_an_empty_file_is_no_study_yet(tmp_path):
    """A run that was stopped at its very beginning leaves it; the next one goes on."""
    (tmp_path / STORE_NAME).write_bytes(b"")
    with pytest.raises(StoreError, match=r"no study in .* yet: study.sqlite is empty; run the study"):
        Store(tmp_path)
    with pytest.raises(StoreError, match=r"yet: study\.sqlite is empty"):
        Study.load(tmp_path)
    filled(tmp_path, RESULTS).close()
    with Store(tmp_path) as store:
        assert len(list(store.results())) == len(RESULTS)


def test_a_folder_without_a_study_is_told(tmp_path):
    for folder, words in (
        ("none", "there is no such folder; expected the folder of a study"),
        ("file", "it is a file; expected the folder of a study"),
        (".", r"study.sqlite is missing \(did you mean .*inner\?\); expected a folder that lcat study"),
        (f"inner/{STORE_NAME}", "it is a file; expected its folder, .*inner"),
    ):
        (tmp_path / "file").write_text("")
        (tmp_path / "inner").mkdir(exist_ok=True)
        (tmp_path / "inner" / STORE_NAME).write_bytes(b"")
        with pytest.raises(StoreError, match=f"^there is no study in .*: {words}"):
            Store(tmp_path / folder)


@pytest.mark.parametrize("write", [False, True])
def test_a_store_that_may_not_be_read_is_told_with_the_way_out(tmp_path, write, monkeypatch):
    """As root may read everything, the system's answer is put in its place."""
    filled(tmp_path, RESULTS).close()

    def refuse(*arguments, **options):
        raise sqlite3.OperationalError("unable to open database file")

    def forbid(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sqlite3.connect", refuse)
    monkeypatch.setattr("shutil.copy", forbid)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(StoreError) as caught:
        Store(tmp_path, write=write)
    assert f"(you may not read {tmp_path / STORE_NAME}, nor write" in str(caught.value)
    assert "give yourself these rights, or work on a copy of the folder" in str(caught.value)
    assert "Errno" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_without_the_right_to_read_it(tmp_path):
    filled(tmp_path, RESULTS).close()
    (tmp_path / STORE_NAME).chmod(0)
    with pytest.raises(StoreError, match=r"you may not read .*give yourself these rights"):
        Store(tmp_path)


def test_a_store_of_a_later_version_is_left_alone(tmp_path):
    filled(tmp_path, RESULTS).close()
    raw = sqlite3.connect(tmp_path / STORE_NAME)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    for write in (False, True):
        with pytest.raises(StoreError, match="schema version 99 and this lcat knows up to"):
            Store(tmp_path, write=write)


def test_a_damaged_history_is_told_and_the_rest_is_read(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        packed = bytearray(pack_history(RESULTS[0].fit.history))
        for offset in range(len(packed)):
            packed[offset] ^= 1
            with pytest.raises(ValueError, match="damaged"):
                unpack_history(bytes(packed))
            packed[offset] ^= 1
        packed[len(packed) // 2] ^= 1
        store._connection.execute("UPDATE histories SET history = ? WHERE key = ?", (packed, RESULTS[0].cell.key))
        with pytest.raises(StoreError, match=f"1 result .{RESULTS[0].cell.key}: its curves are damaged"):
            list(store.results(history=True))
        assert len(list(store.results())) == 3


def test_a_reader_sees_what_is_finished_while_the_writer_is_open(tmp_path):
    with filled(tmp_path, RESULTS[:1]) as store, Store(tmp_path) as reader:
        assert len(list(reader.results())) == 1
        store.add_cells([RESULTS[1].cell])
        store.finish(RESULTS[1])
        assert len(list(reader.results())) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("killed", [False, True])
def test_a_read_only_folder_can_be_read(tmp_path, killed):
    """Also one whose writer was killed, with results in the log beside the file."""
    store = filled(tmp_path, RESULTS)
    if killed:
        copies = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert len(copies[f"{STORE_NAME}-wal"]) > 0
    store.close()
    if killed:
        for name, content in copies.items():
            if not name.endswith("-shm"):
                (tmp_path / name).write_bytes(content)
    tmp_path.chmod(0o555)
    try:
        with Store(tmp_path) as reader:
            assert list(reader.results(history=True)) == RESULTS
    finally:
        tmp_path.chmod(0o755)


# A store as version 1 wrote it, word for word; never to be changed.
VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE versions (id INTEGER PRIMARY KEY, facts TEXT NOT NULL UNIQUE);
CREATE TABLE cells (position INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, cell TEXT NOT NULL);
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
PRAGMA application_id = 1818452340;
PRAGMA user_version = 1;
"""


def version_1(folder):
    """A store of version 1 that holds :data:`RESULTS`."""
    connection = sqlite3.connect(folder / STORE_NAME)
    connection.executescript(VERSION_1)
    connection.execute('INSERT INTO versions VALUES (1, \'{"torch": "2"}\')')
    for result in RESULTS:
        cell, fit = result.cell, result.fit
        connection.execute("INSERT INTO cells (key, cell) VALUES (?, ?)", (cell.key, cell.model_dump_json()))
        figures = (None,) * 8
        if fit is not None:
            figures = (fit.train, fit.val, fit.test, fit.best_epoch, fit.epochs, fit.stopped, fit.seconds)
            figures = (*figures, json.dumps(fit.lambdas))
        values = (cell.key, result.status, result.error, result.metric, *figures, result.seconds, result.peak_memory)
        values = (*values, result.parameters, result.split_rule, *result.split_sizes, result.split_hash)
        values = (*values, result.test_set, result.started, result.finished, result.worker, result.device, 1)
        connection.execute(f"INSERT INTO results VALUES ({', '.join('?' * len(values))})", values)
        if fit is not None:
            connection.execute("INSERT INTO histories VALUES (?, ?)", (cell.key, pack_history(fit.history)))
    connection.commit()
    connection.close()


def schema_of(folder):
    with closing(sqlite3.connect(folder / STORE_NAME)) as connection, connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    return [(name, " ".join(sql.split())) for name, sql in rows]


def test_a_store_of_version_1_is_read_and_brought_up_to_date(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    version_1(tmp_path / "old")
    before = (tmp_path / "old" / STORE_NAME).read_bytes()
    with Store(tmp_path / "old") as reader:
        assert list(reader.results(history=True)) == RESULTS
        assert reader.trials() == []
    assert (tmp_path / "old" / STORE_NAME).read_bytes() == before  # reading changes nothing
    with Store(tmp_path / "old", write=True) as writer:
        assert list(writer.results(history=True)) == RESULTS
        more = made_up("cat", 7)
        trial = Trial("u", 0, "cora", "cat", "t", {"lr": 0.1}, [more.cell.key])
        writer.add_trial(trial, [more.cell])
        writer.finish(more)
    Store(tmp_path / "new", write=True).close()
    assert [(n, s.replace("( ", "(").replace(" )", ")")) for n, s in schema_of(tmp_path / "old")] == [
        (n, s.replace("( ", "(").replace(" )", ")")) for n, s in schema_of(tmp_path / "new")
    ]
    with Store(tmp_path / "old") as again:
        assert list(again.results(history=True)) == [*RESULTS, more]
        assert again.trials() == [trial]


def test_a_migration_that_is_cut_off_leaves_the_old_version(tmp_path, monkeypatch):
    version_1(tmp_path)
    monkeypatch.setattr(schema, "_STEPS", (schema._STEPS[0], schema._STEPS[1] + "; CREATE TABLE meta (again)"))
    with pytest.raises(StoreError, match="already exists"):
        Store(tmp_path, write=True)
    monkeypatch.undo()
    with closing(sqlite3.connect(tmp_path / STORE_NAME)) as connection, connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'trials'").fetchone() == (0,)
    with Store(tmp_path, write=True) as store:
        assert list(store.results(history=True)) == RESULTS
