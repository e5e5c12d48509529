"""A store that opens and is damaged inside: one line says what, and the way out; going on mends it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from contextlib import closing

import pytest

from lcat.study import LAYERS, OutputError, PlanError, StoreError, Study, make_plan, run_study, write_study
from lcat.study.store.journal import JOURNAL_NAME
from lcat.study.store.lock import LOCK_NAME
from lcat.study.store.store import STORE_NAME, Store
from tests.study.study_support import FAST, plan_of

PLAN = plan_of(layers=["gcn", "lcat"], seeds=2)
FIGURES = ["key", "status", "train", "validation", "test", "best_epoch"]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The store of a finished study of four cells, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    run_study(PLAN, folder, engine="inline")
    return (folder / STORE_NAME).read_bytes()


@pytest.fixture
def folder(tmp_path, content):
    (tmp_path / STORE_NAME).write_bytes(content)
    return tmp_path


def spoil(folder, *statements):
    with closing(sqlite3.connect(folder / STORE_NAME)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def read_everything(folder, *, page=False):
    """All that a study has, and its report; what a page shows, its tables read, and drawing takes most of the time."""
    study = Study.load(folder)
    for read in (study.cells, study.results, study.histories, study.lambdas, study.trials, study.failures,
                 study.versions, study.compare, lambda: study.plan):  # fmt: skip
        read()
    write_study(study, page=page)


def one_line(error):
    line = str(error.value)
    assert "\n" not in line
    assert "pydantic" not in line
    assert "is damaged" in line or "cannot be read" in line
    assert "--no-resume" in line
    return line


#: What is done to the store, what the line says, results that stay, and cells that run again.
CASES = {
    "cell cut": ("UPDATE cells SET cell = substr(cell, 1, 40) WHERE position = 1",
                 "1 cell (", "its JSON is cut or changed", 3, 0),
    "cells cut": ("UPDATE cells SET cell = substr(cell, 1, 40)", "4 cells (", "and 1 more", 0, 0),
    "cell of another layer": ("UPDATE cells SET cell = replace(cell, 'lcat', 'lcta') WHERE position = 2",
                              "1 cell (", "there is no layer 'lcta' (did you mean lcat", 3, 0),
    "cell without a seed": ("UPDATE cells SET cell = json_remove(cell, '$.seed') WHERE position = 2",
                            "1 cell (", "seed: ", 3, 0),
    "cell no text": ("UPDATE cells SET cell = x'ff00fe' WHERE position = 1", "1 cell (", "", 3, 0),
    "cell missing": ("DELETE FROM cells WHERE position = 1", "1 result (", "its cell is missing", 3, 0),
    "plan cut": ("UPDATE meta SET value = substr(value, 1, 20)", "the plan (its JSON is cut or changed)", "", 4, 0),
    "plan missing": ("DELETE FROM meta", "the plan (it is missing)", "", 4, 0),
    "plan of another kind": ("UPDATE meta SET value = '[1]'", "the plan (its JSON must be a dict; got list)", "", 4, 0),
    "plan with a wrong layer": ("UPDATE meta SET value = replace(value, 'gcn', 'gnc')", "the plan (layers: ", "", 4, 0),
    "versions missing": ("DELETE FROM versions", "the versions and machine of some results (row 1 of versions)", "",
                         4, 0),
    "versions cut": ("UPDATE versions SET facts = substr(facts, 1, 9)", "the versions and machine", "", 4, 0),
    "graphs missing": ("DELETE FROM graphs WHERE id = 1", "the facts about the graph", "row 1 of graphs", 4, 0),
    "lambdas cut": ("UPDATE results SET lambdas = substr(lambdas, 1, 7) WHERE lambdas <> '{}'",
                    "2 results (", "its JSON is cut or changed", 2, 2),
    "lambdas of another kind": ("UPDATE results SET lambdas = '{\"a\": [1]}' WHERE lambdas <> '{}'",
                                "2 results (", "its lambdas are no pairs of numbers", 2, 2),
    "lambdas missing": ("UPDATE results SET lambdas = NULL", "4 results (", "", 0, 4),
    "curves cut": ("UPDATE histories SET history = substr(history, 1, 30)",
                   "4 results (", "its curves are damaged", 0, 4),
    "curves empty": ("UPDATE histories SET history = x'' WHERE key = (SELECT key FROM cells WHERE position = 3)",
                     "1 result (", "its curves are damaged", 3, 1),
    "curves missing": ("DELETE FROM histories", "4 results (", "its curves are missing", 0, 4),
    "score no number": ("UPDATE results SET test = 'high' WHERE key = (SELECT key FROM cells WHERE position = 1)",
                        "1 result (", "its test is no number", 3, 1),
    "epochs missing": ("UPDATE results SET epochs = NULL WHERE key = (SELECT key FROM cells WHERE position = 1)",
                       "1 result (", "its epochs is no whole number", 3, 1),
    "no UTF-8": ("UPDATE results SET lambdas = CAST(x'7bff7d' AS TEXT) WHERE lambdas <> '{}'",
                 "2 results (", "its JSON is no UTF-8 text", 2, 2),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_damage_is_one_line_and_going_on_mends_it(folder, content, case):
    statement, *words, whole, again = case
    before = Study.load(folder).results()
    spoil(folder, "PRAGMA foreign_keys = OFF", statement)
    with pytest.raises(StoreError) as error:
        read_everything(folder)
    line = one_line(error)
    assert all(word in line for word in words), line
    assert f"{whole} of 4 results can be read and will be kept" in line
    assert "Run the study with its plan again" in line
    outcome = run_study(PLAN, folder, engine="inline")
    assert (outcome.ran, outcome.done) == (again, 4)
    after = outcome.study.results().set_index("key").loc[before["key"]].reset_index()
    assert after[FIGURES].equals(before[FIGURES])
    read_everything(folder)
    assert run_study(PLAN, folder, engine="inline").ran == 0


def test_everything_damaged_at_once(folder):
    names = ("cells cut", "plan cut", "versions missing", "graphs missing", "lambdas cut", "curves missing")
    spoil(folder, *(CASES[name][0] for name in names), "DELETE FROM cells WHERE position = 2")
    with pytest.raises(StoreError) as error:
        read_everything(folder, page=True)
    one_line(error)
    assert run_study(PLAN, folder, engine="inline").done == 4
    read_everything(folder, page=True)


def test_versions_that_are_lost_are_unknown(folder):
    spoil(folder, "DELETE FROM versions")
    run_study(PLAN, folder, engine="inline")
    assert Study.load(folder).versions() == [{"lcat": "unknown, because row 1 of versions was damaged"}]


@pytest.mark.parametrize("table", ["meta", "cells", "results", "histories", "versions", "trials", "graphs"])
def test_a_table_is_missing(folder, table):
    spoil(folder, f"DROP TABLE {table}")
    for act in (lambda: read_everything(folder), lambda: run_study(PLAN, folder, engine="inline")):
        with pytest.raises(StoreError, match=f"cannot be read: no such table: {table}.*--no-resume"):
            act()
    assert run_study(PLAN, folder, engine="inline", resume=False).ran == 4


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 9000, 20000])
def test_a_file_that_was_cut(folder, content, size):
    (folder / STORE_NAME).write_bytes(content[:size])
    if size in (0, 1):  # to SQLite this is an empty file
        read = pytest.raises(StoreError)
    else:
        read = pytest.raises(StoreError, match=r"study\.sqlite (cannot be|is damaged)")
    with read as error:
        read_everything(folder)
    assert "\n" not in str(error.value)
    assert run_study(PLAN, folder, engine="inline", resume=False).ran == 4


@pytest.mark.parametrize("damage", ["UPDATE meta SET value = 'cut'", "DELETE FROM meta"])
def test_without_a_plan_results_of_other_cells_are_another_study(folder, damage):
    spoil(folder, damage)
    other = make_plan(datasets=["csbm:easy,n=60"], layers=["gat"], seeds=2, overrides=FAST)
    before = (folder / STORE_NAME).read_bytes()
    with pytest.raises(PlanError, match=r"its plan cannot be read, and this plan lacks 4 cells of it.*--no-resume"):
        run_study(other, folder, engine="inline")
    with closing(sqlite3.connect(folder / STORE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM cells").fetchone() == (4,)
    assert len(before) == len((folder / STORE_NAME).read_bytes())


def test_the_cells_of_a_search_cannot_be_mended(tmp_path):
    pytest.importorskip("optuna")
    plan = plan_of(search={"space": {"lr": [0.01, 0.1]}, "trials": 2})
    run_study(plan, tmp_path, engine="inline")
    spoil(tmp_path, "UPDATE cells SET cell = substr(cell, 1, 9) WHERE position = 1")
    with pytest.raises(StoreError, match="the plan does not say what the damaged cells were: --no-resume"):
        run_study(plan, tmp_path, engine="inline")
    spoil(tmp_path, "UPDATE trials SET keys = '['")
    with pytest.raises(StoreError, match=r"2 trials of its search"):
        Study.load(tmp_path).trials()


def test_mending_is_told(folder):
    spoil(folder, "DELETE FROM histories WHERE key = (SELECT key FROM cells WHERE position = 1)")
    texts = []
    run_study(PLAN, folder, engine="inline", on_status=lambda status: texts.append(getattr(status.event, "text", "")))
    [text] = set(texts) - {""}
    assert text.startswith(f"{folder / STORE_NAME} was damaged and is mended: 1 result (")
    assert text.endswith("3 of 4 results can be read and will be kept, 1 cell runs again")
    notes = [json.loads(line) for line in (folder / JOURNAL_NAME).read_text().splitlines()]
    assert [note["text"] for note in notes if note["event"] == "note"] == [text]


def test_a_layer_that_a_user_added_is_needed_to_read_its_cells(tmp_path, monkeypatch):
    monkeypatch.setitem(LAYERS, "mine", LAYERS["gcn"])
    run_study(plan_of(layers=["gcn", "mine"]), tmp_path, engine="inline")
    monkeypatch.undo()
    with pytest.raises(StoreError, match="there is no layer 'mine'"):
        Study.load(tmp_path).results()


def _socket(path):
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [LOCK_NAME, JOURNAL_NAME, STORE_NAME])
@pytest.mark.parametrize(
    ("make", "kind"),
    [(os.mkdir, "a folder"), (getattr(os, "mkfifo", None), "a named pipe"), (_socket, "a socket")],
    ids=["folder", "pipe", "socket"],
)
def test_something_other_than_a_file_has_the_name(tmp_path, monkeypatch, name, make, kind):
    monkeypatch.chdir(tmp_path)  # paths of sockets are short
    make(tmp_path / name)
    with pytest.raises((OutputError, StoreError), match=f"{name} is {kind}; expected a file"):
        run_study(PLAN, tmp_path, engine="inline")
    (tmp_path / name).rmdir() if kind == "a folder" else (tmp_path / name).unlink()
    assert run_study(PLAN, tmp_path, engine="inline").ran == 4


def test_a_journal_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / JOURNAL_NAME).symlink_to(tmp_path / "gone" / "log")
    with pytest.raises(OutputError, match=rf"cannot write .*{JOURNAL_NAME}: No such file"):
        run_study(PLAN, tmp_path, engine="inline")


def test_a_reader_leaves_nothing_behind(folder):
    read_everything(folder, page=True)
    with Store(folder) as one, Store(folder) as other:
        assert len(list(one.results())) == len(list(other.results())) == 4
        with pytest.raises(StoreError, match="readonly"):
            one.put("plan", {})
    assert [path.name for path in folder.iterdir() if path.name.startswith(STORE_NAME)] == [STORE_NAME]


def test_a_reader_leaves_the_log_of_a_writer_alone(folder):
    with Store(folder, write=True) as writer:
        writer.put("more", 1)
        with Store(folder) as reader:
            assert reader.get("more") == 1
        assert (folder / f"{STORE_NAME}-wal").is_file()
        writer.put("more", 2)
        with Store(folder) as reader:
            assert reader.get("more") == 2
    with Store(folder) as reader:
        assert reader.get("more") == 2
