"""Engines give the same numbers, survive their workers, and say what they cannot do."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lcat.data import NodeDataset, Split, csbm, load, random_splits
from lcat.study import EngineError, OutputError, RunSettings, Study, run_study
from lcat.study.running.engines import Progress, Setup, make_engine, processes
from lcat.study.running.engines.base import CellRunner, cores, devices
from lcat.study.running.engines.processes import ProcessEngine
from lcat.study.store.journal import JOURNAL_NAME
from tests.data.datasets.raw_files import write_amazon, write_photo_split
from tests.study.study_support import plan_of

SLOW = {"overrides": {"epochs": 1500, "patience": "none"}}


def numbers(folder):
    """Everything of a result that does not tell the time."""
    return [
        (r.cell, r.fit.history, r.fit.test, r.parameters, r.split_hash, r.test_set)
        for r in Study.load(folder).cell_results(history=True)
    ]


def test_processes_give_the_numbers_of_inline(tmp_path):
    data = csbm(n=80, seed=3)
    own = {"ours": NodeDataset("ours", data, random_splits(data.y))}
    change = {"datasets": ["csbm:hard,n=60,q=0.3", "ours"], "own": ["ours"], "layers": ["gat", "lcat"], "seeds": [3]}
    change |= {"noise": {"edges": [0.2]}, "overrides": {"epochs": 4, "dropout": 0.3}, "split": "stratified:3"}
    plan = plan_of(**change)
    run_study(plan, tmp_path / "inline", own=own, engine="inline")
    outcome = run_study(plan, tmp_path / "processes", own=own, engine="processes", workers=2)
    assert outcome.done == len(plan.cells()) == 24
    assert numbers(tmp_path / "processes") == numbers(tmp_path / "inline")
    workers = {result.worker for result in outcome.study.cell_results()}
    assert len(workers) == 2
    assert not any(worker.endswith(f":{os.getpid()}") for worker in workers)
    assert {result.versions["threads"] for result in outcome.study.cell_results()} == {"1"}
    assert multiprocessing.active_children() == []
    assert sorted(path.name for path in (tmp_path / "processes/splits").iterdir()) == sorted(
        path.name for path in (tmp_path / "inline/splits").iterdir()
    )


def test_workers_in_another_folder_find_the_files(tmp_path, monkeypatch):
    """As those of a Ray cluster that was started elsewhere."""
    monkeypatch.chdir(tmp_path)
    data = csbm(n=60, seed=0)
    torch.save({"x": data.x, "edge_index": data.edge_index, "y": data.y}, "mine.pt")
    [cell] = plan_of(datasets=["mine.pt"]).cells()
    setup = Setup(data=Path("data"), splits=Path("out/splits"))
    absolute = setup.with_absolute_paths()
    assert (absolute.data, absolute.splits, absolute.base) == (tmp_path / "data", tmp_path / "out/splits", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not CellRunner(setup).run(cell).ok
    result = CellRunner(absolute).run(cell)
    assert result.ok, result.error


@pytest.mark.parametrize("retries", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_worker_is_replaced_and_its_cell_runs_again(tmp_path, retries):
    killed = []

    def kill_once(status):
        if isinstance(status.event, Progress) and not killed:
            [child] = multiprocessing.active_children()
            killed.append(status.event.cell.key)
            os.kill(child.pid, signal.SIGKILL)

    plan = plan_of(**SLOW)
    outcome = run_study(plan, tmp_path, workers=1, retries=retries, on_status=kill_once)
    [result] = outcome.study.cell_results(history=True)
    assert killed == [result.cell.key]
    if retries:
        assert result.ok
        assert len(result.fit.history) == 1500
        log = [json.loads(line) for line in (tmp_path / JOURNAL_NAME).read_text().splitlines()]
        [note] = [line for line in log if line["event"] == "note"]
        assert note["key"] == result.cell.key
        assert "SIGKILL" in note["text"]
    else:
        assert not result.ok
        assert "the worker of this cell died 1 time, the last time by SIGKILL" in result.error


def test_ctrl_c_ends_the_workers(tmp_path):
    def stop(status):
        if isinstance(status.event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of(**SLOW, seeds=3), tmp_path, workers=1, on_status=stop)
    assert multiprocessing.active_children() == []
    assert Study.load(tmp_path).results().empty


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_a_split_that_cannot_be_kept_ends_the_study_and_fails_no_cell(tmp_path, engine):
    (tmp_path / "splits").write_text("in the way, as a full disk would be")
    with pytest.raises(OutputError, match=r"cannot write .*splits.*npz: File exists") as caught:
        run_study(plan_of(seeds=2), tmp_path, engine=engine, workers=1)
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []
    (tmp_path / "splits").unlink()
    outcome = run_study(plan_of(seeds=2), tmp_path, engine="inline")
    assert (outcome.ran, outcome.done) == (2, 2)


def test_own_data_that_cannot_travel_is_refused_before_anything_runs(tmp_path):
    data = csbm(n=60, seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    own = {"ours": NodeDataset("ours", data, lambda seed: split)}
    plan = plan_of(datasets=["ours"], own=["ours"])
    with pytest.raises(EngineError, match=r"own data sets cannot be sent to other processes .* engine inline"):
        run_study(plan, tmp_path, own=own)
    assert run_study(plan, tmp_path, own=own, engine="inline").done == 1


def test_a_loaded_data_set_with_a_fixed_split_travels_to_other_processes(tmp_path):
    write_amazon(tmp_path)
    write_photo_split(tmp_path)
    own = {"mine": load("photo", tmp_path, download=False)}
    assert own["mine"].split_rule == "fixed 60/20/20 of amazon-photo_split.npz"
    plan = plan_of(datasets=["mine"], own=["mine"])
    outcome = run_study(plan, tmp_path / "processes", own=own, engine="processes", workers=1)
    assert (outcome.done, outcome.failed) == (1, 0)
    run_study(plan, tmp_path / "inline", own=own, engine="inline")
    assert numbers(tmp_path / "processes") == numbers(tmp_path / "inline")


def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from lcat.study import make_plan, run_study\n"
        "plan = make_plan(datasets=['csbm:easy,n=60'], layers=['gcn'], seeds=1, overrides={'epochs': 2})\n"
        f"run_study(plan, {str(tmp_path / 'out')!r}, workers=1)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "EngineError: a worker process ended before it was ready (exit code 1)" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr


def test_cores_and_gpus_are_shared_out(monkeypatch):
    assert ProcessEngine(Setup(threads=1)).slots == cores()
    assert ProcessEngine(Setup(threads=10**6)).slots == 1
    assert ProcessEngine(Setup(), workers=7).slots == 7
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("cuda:1") == ["cuda:1"]
    assert ProcessEngine(Setup(device="cuda")).slots == 3


def test_threads_are_set_for_a_cell_and_put_back():
    import torch

    seen = []
    runner = CellRunner(Setup(threads=3))
    result = runner.run(plan_of().cells()[0], lambda *_: seen.append(torch.get_num_threads()))
    assert result.versions["threads"] == "3"
    assert set(seen) == {3}
    assert torch.get_num_threads() == 1


@pytest.fixture
def nothing_frozen():
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("nothing_frozen")
def test_what_the_first_cell_loaded_is_kept_out_of_later_collections():
    """Looking at all objects of torch before each cell takes as long as several epochs on a small graph."""
    runner = CellRunner(Setup())
    cells = plan_of().cells()
    assert runner.run(cells[0]).ok
    frozen = gc.get_freeze_count()
    assert frozen > 10_000
    gc.collect()
    looked_at = len(gc.get_objects())
    assert looked_at < frozen / 10
    for cell in cells[1:3]:  # what cells leave behind is still collected
        assert runner.run(cell).ok
    gc.collect()
    assert len(gc.get_objects()) < looked_at + frozen / 20
    runner.close()
    assert gc.get_freeze_count() == 0
    assert len(gc.get_objects()) > frozen / 2


@pytest.mark.usefixtures("nothing_frozen")
def test_objects_that_a_user_froze_stay_frozen():
    gc.freeze()
    runner = CellRunner(Setup())
    assert runner.run(plan_of().cells()[0]).ok
    runner.close()
    assert gc.get_freeze_count() > 10_000


def test_ray_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'lcat-gnn\[ray\]'"):
        make_engine(RunSettings(engine="ray"))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held on this system")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_worker_starts_comes_after_its_start(number, monkeypatch):
    """The worker lacked what it reads then, and printed a traceback."""
    engine, started = ProcessEngine(Setup(), workers=1), []

    start = processes.SpawnProcess.start

    def started_late(process):
        os.kill(os.getpid(), number)
        start(process)
        started.append(process)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    monkeypatch.setattr(processes.SpawnProcess, "start", started_late)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine._start()
    finally:
        signal.signal(number, before)
    assert [worker.process for worker in engine._workers] == started
    assert started[0].is_alive()
    engine.close()
