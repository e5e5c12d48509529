"""Studies go on where they were stopped, keep what had finished, and refuse what does not belong together."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lcat.data import NodeDataset, UnknownDataset, csbm, from_data, random_splits
from lcat.study import (
    CellResult,
    OutputError,
    PlanError,
    StoreError,
    Study,
    StudyBusy,
    make_plan,
    run_study,
)
from lcat.study.running.engines import Finished, Setup
from lcat.study.running.engines.base import CellRunner
from lcat.study.running.engines.inline import InlineEngine
from lcat.study.running.estimate import Estimate, calibrate, kind_of
from lcat.study.store.journal import JOURNAL_NAME
from lcat.study.store.lock import LOCK_NAME, StudyLock
from lcat.study.store.store import STORE_NAME, Store
from lcat.train import FitResult, History
from tests.study.study_support import made_up, plan_of, trained

PLAN = {"layers": ["gcn", "gat"], "seeds": [0, 1, 2]}


def events(folder, *kinds):
    lines = [json.loads(line) for line in (folder / JOURNAL_NAME).read_text().splitlines()]
    return [line for line in lines if line["event"] in kinds]


def test_a_study_runs_once_and_gives_the_numbers_of_a_plain_run(tmp_path):
    plan = plan_of(**PLAN)
    seen = []
    outcome = run_study(plan, tmp_path, engine="inline", on_status=seen.append)
    assert (outcome.ran, outcome.done, outcome.failed, outcome.left, outcome.reason) == (6, 6, 0, 0, "complete")
    plain = {result.cell: result.fit.history for result in trained(plan)}
    assert {result.cell: result.fit.history for result in outcome.study.cell_results(history=True)} == plain
    assert run_study(plan, tmp_path, engine="inline").ran == 0
    assert len(events(tmp_path, "submit")) == len(events(tmp_path, "done")) == 6
    assert seen[-1].done == seen[-1].total == 6
    assert seen[-1].seconds_left == 0
    assert 0 < seen[-4].seconds_left < 60


def test_a_longer_plan_adds_its_cells_and_runs_no_other(tmp_path):
    run_study(plan_of(**PLAN), tmp_path, engine="inline")
    before = Study.load(tmp_path).cell_results(history=True)
    longer = plan_of(layers=["gcn", "gat", "cat"], seeds=4)
    outcome = run_study(longer, tmp_path, engine="inline")
    assert (outcome.ran, outcome.done) == (6, 12)
    after = Study.load(tmp_path).cell_results(history=True)
    assert after[:6] == before
    assert {result.cell for result in after} == set(longer.cells())
    assert Study.load(tmp_path).plan == longer


def test_another_plan_is_refused_with_what_differs(tmp_path):
    run_study(plan_of(**PLAN), tmp_path, engine="inline")
    before = (tmp_path / STORE_NAME).read_bytes()
    with pytest.raises(PlanError, match=r"overrides.epochs: 3 there, 4 here.*--out.*--no-resume") as caught:
        run_study(plan_of(**PLAN, overrides={"epochs": 4}), tmp_path, engine="inline")
    assert "\n" not in str(caught.value)
    with pytest.raises(PlanError, match=r"seeds: 0, 1, 2 there, 0, 1 here"):
        run_study(plan_of(layers=["gcn", "gat"], seeds=2), tmp_path, engine="inline")
    assert (tmp_path / STORE_NAME).read_bytes() == before


def test_another_metric_of_a_file_is_another_study(tmp_path):
    data = csbm(n=60, seed=1)
    torch.save({"x": data.x, "edge_index": data.edge_index, "y": data.y}, tmp_path / "mine.pt")
    mine = {"datasets": [str(tmp_path / "mine.pt")]}
    run_study(plan_of(**mine), tmp_path / "out", engine="inline")
    with pytest.raises(PlanError, match=r"another study \(.*metric: nothing there, roc-auc here\)"):
        run_study(plan_of(**mine, seeds=2, metric="roc-auc"), tmp_path / "out", engine="inline")
    run_study(plan_of(), tmp_path / "theirs", engine="inline")
    both = plan_of(datasets=["csbm:easy,n=60", *mine["datasets"]], metric="roc-auc")
    with pytest.raises(PlanError, match="another study"):
        run_study(both, tmp_path / "theirs", engine="inline")
    results = run_study(both, tmp_path / "both", engine="inline").study.results()
    assert list(results["metric"]) == ["roc-auc", "roc-auc"]


def test_a_study_without_results_leaves_the_folder_free(tmp_path):
    """Cut off before its first result, with the split of another graph of that name on record."""
    plan = plan_of(datasets=["ours"], own=["ours"])

    def stop(status):
        if (tmp_path / "splits").is_dir():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path, own={"ours": from_data(csbm(n=60), "ours")}, engine="inline", on_status=stop)
    other = plan.model_copy(update={"layers": ("gat",)})
    outcome = run_study(other, tmp_path, own={"ours": from_data(csbm(n=60, seed=1), "ours")}, engine="inline")
    assert (outcome.done, outcome.failed) == (1, 0)


def test_what_decides_no_result_may_change(tmp_path):
    run_study(plan_of(**PLAN), tmp_path, engine="inline")
    changed = plan_of(**PLAN, objectives={"time": 1}, budget={"cells": 100}, run={"threads": 1, "workers": 3})
    assert run_study(changed, tmp_path, engine="inline").ran == 0
    assert Study.load(tmp_path).plan.objectives == {"time": 1}


def test_no_resume_sets_the_old_study_aside(tmp_path):
    run_study(plan_of(**PLAN), tmp_path, engine="inline")
    before = Study.load(tmp_path).cell_results()
    outcome = run_study(plan_of(), tmp_path, engine="inline", resume=False)
    assert (outcome.ran, outcome.done) == (1, 1)
    [old] = tmp_path.glob("study-*.sqlite")
    (tmp_path / "old").mkdir()
    old.rename(tmp_path / "old" / STORE_NAME)
    assert Study.load(tmp_path / "old").cell_results() == before


def test_no_resume_begins_with_new_data_and_new_splits(tmp_path):
    plan = plan_of(datasets=["ours"], own=["ours"], split="stratified:3", overrides={"epochs": 1})
    for seed in range(3):  # within a second
        own = {"ours": from_data(csbm(n=60, seed=seed), "ours")}
        outcome = run_study(plan, tmp_path, own=own, engine="inline", resume=False)
        assert (outcome.done, outcome.failed) == (3, 0)
    for name in ("study-*.sqlite", "study-*.log", "splits-*"):
        assert len(list(tmp_path.glob(name))) == 2
    assert all(len(list(splits.iterdir())) == 4 for splits in tmp_path.glob("splits*"))


def test_a_study_that_is_cut_off_while_it_is_set_aside(tmp_path, monkeypatch):
    """After a crash, part of a store is in SQLite's log beside it: both are set aside, or none."""
    result = made_up(error="no memory left")
    (tmp_path / "crashed").mkdir()
    with Store(tmp_path, write=True) as store:
        store.add_cells([result.cell])
        store.finish(result)
        for file in tmp_path.glob("study.*"):
            shutil.copy(file, tmp_path / "crashed")
    assert (tmp_path / "crashed" / f"{STORE_NAME}-wal").stat().st_size
    moves = []

    def once(source, target):
        if moves:
            raise KeyboardInterrupt
        moves.append(Path(source).rename(target))

    monkeypatch.setattr("os.replace", once)
    (tmp_path / "crashed/splits").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of(), tmp_path / "crashed", engine="inline", resume=False)
    moves[0].rename(tmp_path / STORE_NAME)
    assert Study.load(tmp_path).cell_results() == [result]


def test_failed_cells_are_kept_and_run_again_when_asked(tmp_path):
    data = csbm(n=60, seed=0)
    good = random_splits(data.y)
    broken = [1]

    def rule(seed):
        if seed in broken:
            raise RuntimeError("no split for seed 1")
        return good(seed)

    own = {"flaky": NodeDataset("flaky", data, rule)}
    plan = plan_of(datasets=["flaky"], own=["flaky"], seeds=3)
    outcome = run_study(plan, tmp_path, own=own, engine="inline")
    assert (outcome.done, outcome.failed) == (2, 1)
    [failure] = Study.load(tmp_path).failures().to_dict("records")
    assert failure["error"] == "RuntimeError: no split for seed 1"
    assert failure["cell"] == "gcn on flaky, seed 1"
    assert "Traceback" in failure["traceback"]
    assert run_study(plan, tmp_path, own=own, engine="inline").ran == 0
    broken.clear()
    again = run_study(plan, tmp_path, own=own, engine="inline", retry_failed=True)
    assert (again.ran, again.done, again.failed) == (1, 3, 0)
    assert Study.load(tmp_path).failures().empty


@pytest.mark.parametrize(
    ("budget", "ran", "words"),
    [({"cells": 4}, 4, "budget.cells = 4"), ({"seconds": 1e-9}, 0, "budget.seconds = 1e-09")],
)
def test_a_budget_stops_and_a_larger_one_goes_on(tmp_path, budget, ran, words):
    outcome = run_study(plan_of(**PLAN, budget=budget), tmp_path, engine="inline")
    assert (outcome.ran, outcome.left, outcome.reason) == (ran, 6 - ran, "budget")
    assert words in outcome.detail
    outcome = run_study(plan_of(**PLAN), tmp_path, engine="inline")
    assert (outcome.ran, outcome.left, outcome.reason) == (6 - ran, 0, "complete")


def test_one_driver_a_study(tmp_path):
    with StudyLock(tmp_path), pytest.raises(StudyBusy, match=rf"being run by process {os.getpid()} on .* since 20"):
        run_study(plan_of(), tmp_path, engine="inline")
    assert run_study(plan_of(), tmp_path, engine="inline").ran == 1


def test_a_killed_driver_leaves_no_lock_behind(tmp_path):
    script = (
        "import sys, time\nfrom lcat.study.store.lock import LOCK_NAME, StudyLock\n"
        "lock = StudyLock(sys.argv[1]).__enter__()\nprint('held', flush=True)\ntime.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StudyBusy, match=f"process {child.pid} on"):
            StudyLock(tmp_path).__enter__()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    with StudyLock(tmp_path):
        pass


def test_ctrl_c_keeps_what_had_finished(tmp_path, monkeypatch):
    def stop(status):
        if status.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of(**PLAN), tmp_path, engine="inline", on_status=stop)
    assert len(Study.load(tmp_path).results()) == 2
    assert events(tmp_path, "end")[-1]["reason"] == "interrupted"
    assert run_study(plan_of(**PLAN), tmp_path, engine="inline").ran == 4


@pytest.fixture
def two_at_once(monkeypatch):
    """An engine that hands out two results together, as engines with several workers do."""

    def wait(self, timeout):
        return [Finished(self._runner.run(self._queue.popleft())) for _ in range(len(self._queue) if timeout else 0)]

    monkeypatch.setattr(InlineEngine, "slots", 2)
    monkeypatch.setattr(InlineEngine, "wait", wait)


def test_ctrl_c_between_two_results_keeps_both(tmp_path, two_at_once, untrained):
    def stop(status):
        if status.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of(**PLAN), tmp_path, engine="inline", on_status=stop)
    assert len(Study.load(tmp_path).results()) == 2
    assert len(events(tmp_path, "done")) == 2


@pytest.mark.parametrize("stored", [False, True])
def test_ctrl_c_while_a_result_is_kept(tmp_path, two_at_once, untrained, monkeypatch, stored):
    original, calls = Store.finish, []

    def finish(self, result):
        calls.append(result)
        if stored or len(calls) > 1:
            original(self, result)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "finish", finish)
    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of(**PLAN), tmp_path, engine="inline")
    assert len(Study.load(tmp_path).results()) == len(events(tmp_path, "done")) == 2


@pytest.fixture
def untrained(monkeypatch):
    """Cells get results at once, with long histories of random numbers."""

    def run_at_once(self, cell, on_epoch=None):
        numbers = random.Random(cell.key)
        curve = [numbers.random() for _ in range(500)]
        history = History(curve, curve, curve, curve, curve, curve)
        fit = FitResult("accuracy", 0.5, 0.5, 0.5, 3, 500, "epochs", 1.0, {}, history)
        return CellResult(cell, fit, seconds=1.0)

    monkeypatch.setattr(CellRunner, "run", run_at_once)


def test_failed_cells_that_run_again_do_not_use_up_the_budget(tmp_path, untrained):
    plan = plan_of(layers=["gcn", "gat"], seeds=2, budget={"cells": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellRunner, "run", lambda self, cell, on_epoch: CellResult(cell, None, "no memory left"))
        assert run_study(plan, tmp_path, engine="inline").failed == 3
    assert run_study(plan, tmp_path, engine="inline").ran == 0
    again = run_study(plan, tmp_path, engine="inline", retry_failed=True)
    assert (again.ran, again.done, again.failed, again.left, again.reason) == (3, 3, 0, 1, "budget")


def statements_of_a_study(folder):
    """How many statements of SQL a study of two cells executes."""
    count = [0]

    def trace(statement):
        count[0] += 1

    _run_with(folder, lambda connection: connection.set_trace_callback(trace))
    return count[0]


def _run_with(folder, prepare):
    original = Store._open_to_write

    def opened(self):
        connection = original(self)
        prepare(connection)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_open_to_write", opened)
        return run_study(plan_of(seeds=2), folder, engine="inline")


def test_whichever_statement_is_cut_off_nothing_finished_is_lost(tmp_path, untrained):
    """The n-th statement fails, for n = 1, 2, 3, ...: the store holds whole results, and the study can go on."""
    total = statements_of_a_study(tmp_path / "all")
    assert total > 10
    for number in range(1, total + 1):
        folder = tmp_path / str(number)
        count = [0]

        def cut(connection, number=number, count=count):
            def authorize(*arguments):
                return 0

            def trace(statement):
                count[0] += 1
                if count[0] == number:
                    connection.interrupt()

            connection.set_authorizer(authorize)
            connection.set_trace_callback(trace)
            connection.set_progress_handler(lambda: int(count[0] == number), 1)

        message = ""
        try:
            _run_with(folder, cut)
        except StoreError as error:
            message = str(error)
        results = Study.load(folder).cell_results(history=True)
        assert all(len(result.fit.history) == 500 for result in results)
        assert ("interrupted" in message and "\n" not in message) or (not message and len(results) == 2)
        outcome = run_study(plan_of(seeds=2), folder, engine="inline")
        assert (outcome.ran, outcome.done) == (2 - len(results), 2)


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path, untrained):
    """SQLite may use so many pages and no more, as on a disk that is full."""
    plan = plan_of(seeds=30)

    def limit(connection):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    original = Store._open_to_write

    def opened(self):
        connection = original(self)
        limit(connection)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_open_to_write", opened)
        with pytest.raises(
            StoreError, match=r"cannot write .*study\.sqlite: database or disk is full; every cell"
        ) as raised:
            run_study(plan, tmp_path, engine="inline")
    assert "\n" not in str(raised.value)
    results = Study.load(tmp_path).cell_results(history=True)
    assert 0 < len(results) < 30
    outcome = run_study(plan, tmp_path, engine="inline")
    assert (outcome.ran, outcome.done) == (30 - len(results), 30)
    assert outcome.study.cell_results(history=True)[: len(results)] == results


def test_the_limit_of_file_sizes_is_one_line_on_the_command_line(tmp_path):
    """As a full disk, from outside: the system refuses every byte beyond some 200 KB a file."""
    arguments = ["study", "-d", "csbm:easy,n=60", "-l", "lcat", "--seeds", "60", "--epochs", "20", "--engine", "inline"]
    command = [sys.executable, "-m", "lcat.cli", *arguments, "--quiet", "--out", str(tmp_path / "out")]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (220_000, 220_000))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, timeout=120, check=False)
    assert done.returncode in (1, 2)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lcat: ")
    assert "cannot write" in lines[0]
    results = Study.load(tmp_path / "out").cell_results(history=True)
    assert 0 < len(results) < 60


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file is a file; expected a folder"):
        run_study(plan_of(), tmp_path / "file", engine="inline")


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "theirs" / LOCK_NAME).mkdir(parents=True)
    with pytest.raises(OutputError, match=r"study\.lock is a folder; expected a file or nothing"):
        run_study(plan_of(), tmp_path / "theirs", engine="inline")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk
    try:
        with pytest.raises(OutputError, match=r"cannot write .*study\.lock: File too large") as caught:
            run_study(plan_of(), tmp_path, engine="inline")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    with StudyLock(tmp_path):  # nobody holds it
        pass


def test_settings_of_the_run_are_checked(tmp_path):
    with pytest.raises(PlanError, match=r"run.engine: .*'inline', 'processes' or 'ray'.*got 'threads'"):
        run_study(plan_of(), tmp_path, engine="threads")


def test_estimates_look_at_the_likest_cells():
    estimate = Estimate()
    cells = plan_of(layers=["gcn", "gat"], seeds=2).cells()
    kinds = Counter(map(kind_of, cells))
    assert estimate.left(kinds, 1) is None
    estimate.add(cells[0], 2.0)
    assert estimate.left(kinds, 1) == 8.0
    estimate.add(cells[1], 4.0)
    assert [estimate.seconds(cell) for cell in cells] == [2.0, 4.0, 2.0, 4.0]
    assert estimate.left(kinds, 2) == 6.0
    assert estimate.left({kind_of(cells[0]): 1}, 2) == 2.0
    other = plan_of(datasets=["csbm:hard,n=60"]).cells()[0]
    assert estimate.seconds(other) == 3.0


def test_calibration_measures_every_data_set_first(monkeypatch):
    real = CellRunner.run

    def timed(self, cell):
        """The cell is run; its time is 3 seconds and a quarter of one an epoch, or half of one for GAT."""
        return replace(real(self, cell), seconds=3.0 + cell.hyper.epochs * {"gcn": 0.25, "gat": 0.5}[cell.layer])

    monkeypatch.setattr(CellRunner, "run", timed)
    plan = plan_of(datasets=["csbm:easy,n=60", "csbm:hard,n=60"], layers=["gcn", "gat"], overrides={"epochs": 500})
    estimate = Estimate()
    measured = calibrate(plan.cells(), Setup(), estimate, limit=0.0)
    assert [str(cell) for cell in measured] == ["gcn on csbm:easy,n=60, seed 0"]
    measured = calibrate(plan.cells(), Setup(), estimate)
    assert [(cell.dataset, cell.layer) for cell in measured] == [
        ("csbm:hard,n=60", "gcn"),
        ("csbm:easy,n=60", "gat"),
        ("csbm:hard,n=60", "gat"),
    ]
    for cell in plan.cells():
        assert estimate.seconds(cell) == pytest.approx({"gcn": 128.0, "gat": 253.0}[cell.layer])


def test_own_data_sets_are_handed_over():
    plan = make_plan(datasets=["mine"], own=["mine"], layers=["gcn"], seeds=1, overrides={"epochs": 1})
    with pytest.raises(UnknownDataset, match=r"names an own data set 'mine', and run_study got none: pass own=$"):
        run_study(plan)
    with pytest.raises(TypeError, match=r"^expected own\['mine'\] of type NodeDataset, .* got int$"):
        run_study(plan, own={"mine": 7})


@pytest.mark.parametrize("plan", ["plan.toml", {"datasets": ["csbm:easy"], "layers": ["gcn"]}, None])
def test_a_study_needs_a_plan_that_was_made(plan):
    with pytest.raises(TypeError, match=r"^expected 'plan' of type StudyPlan, got .*: make_plan"):
        run_study(plan)


def test_own_data_that_the_plan_does_not_name():
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, overrides={"epochs": 1})
    words = r"got 'mine' alone: .*make_plan\(datasets=\['mine'\], own=\['mine'\]"
    with pytest.raises(PlanError, match=words):
        run_study(plan, own={"mine": csbm(n=60)})
    named = make_plan(datasets=["mine"], own=["mine"], layers=["gcn"], seeds=1, overrides={"epochs": 1})
    assert run_study(named, own={"mine": csbm(n=60), "more": csbm(n=70)}).done == 1
