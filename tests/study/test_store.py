"""The store gives back what it was given, keeps a finished cell for good, and says in one line what went wrong."""

from __future__ import annotations

import os
import sqlite3

import pytest

from lcat.study import Store, StoreError, run
from lcat.study.codec import pack_history, unpack_history
from lcat.study.store import STORE_NAME
from tests.study.study_support import made_up, plan_of


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
    real = list(run(plan_of(layers=["lcat"], overrides={"epochs": 5})))
    with filled(tmp_path, RESULTS + real) as store:
        assert list(store.results(history=True)) == RESULTS + real
        assert store.cells() == [result.cell for result in RESULTS + real]
    with Store(tmp_path) as again:
        assert list(again.results(history=True)) == RESULTS + real
        assert list(again.statuses().values()).count("failed") == 1


def test_without_histories_all_else_is_there(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        for found, given in zip(store.results(), RESULTS, strict=True):
            assert found.cell == given.cell
            if given.fit is not None:
                assert len(found.fit.history) == 0
                assert found.fit.to_dict(history=False) == given.fit.to_dict(history=False)
        [one] = store.results(keys=[RESULTS[1].cell.key])
        assert one.cell == RESULTS[1].cell


def test_a_done_cell_is_never_replaced_and_a_failed_one_is(tmp_path):
    with filled(tmp_path, RESULTS) as store:
        with pytest.raises(StoreError, match="is done already"):
            store.finish(made_up("gcn", 1, 0.9))
        store.finish(made_up("gat", 2, 0.7))
        assert [result.fit.test for result in store.results()] == [0.8, 1 / 3, 0.7]


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
        for place in range(len(packed)):
            packed[place] ^= 1
            with pytest.raises(ValueError, match="damaged"):
                unpack_history(bytes(packed))
            packed[place] ^= 1
        packed[len(packed) // 2] ^= 1
        store._connection.execute("UPDATE histories SET history = ? WHERE key = ?", (packed, RESULTS[0].cell.key))
        with pytest.raises(StoreError, match=f"cell {RESULTS[0].cell.key}: a stored history is damaged"):
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
