"""A kill at any step and a full disk leave whole files, and the study goes on to what it would have been."""

from __future__ import annotations

import copy
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from lcat._files import replace_file
from lcat.data import csbm, from_data
from lcat.study import (
    ModelFileError,
    OutputError,
    RetrainError,
    Study,
    load_model,
    load_plan,
    make_plan,
    run_study,
    train_best_model,
)
from lcat.study._folder import write_file
from lcat.study.plan.sources import Sources
from lcat.study.running.engines.base import CellRunner
from lcat.study.running.training import run_cell
from lcat.study.store.predictions import prediction_frame
from lcat.study.store.store import Store
from tests.study.running.killing import Tally, Victim

KEEP = ("models", "predictions")
PLAN = make_plan(datasets=["csbm:hard,n=60,q=0.2"], layers=["gcn", "lcat", "gat"], seeds=1, overrides={"epochs": 3})
CELLS = PLAN.cells()


@pytest.fixture(scope="module")
def trained():
    return {cell.key: run_cell(cell, Sources(), keep=KEEP) for cell in CELLS}


@pytest.fixture
def hand_out(trained, monkeypatch):
    """Cells get these results at once, so that a forked process trains nothing."""
    monkeypatch.setattr(CellRunner, "run", handing_out(trained))
    return trained


def handing_out(results):
    def run(self, cell, on_epoch=None):
        result = copy.deepcopy(results[cell.key])
        wanted = self._setup.keep
        result.files = {name: content for name, content in result.files.items() if name.startswith(tuple(wanted))}
        return result

    return run


def go(folder, keep=KEEP, **options):
    return run_study(PLAN, folder, engine="inline", keep=keep, **options)


def files_in(folder):
    """Models and predictions by their paths, and whatever else lies there."""
    paths = [path for kind in KEEP for path in (folder / kind).glob("*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def check_whole(folder):
    """Every file loads, and finished cells have theirs."""
    for path in (folder / "models").glob("*.pt"):
        load_model(path)
    for path in (folder / "predictions").glob("*.npz"):
        assert len(prediction_frame(path)) == 60
    for result in Study.load(folder).cell_results():
        assert (folder / "models" / f"{result.cell.key}.pt").is_file()
        assert (folder / "predictions" / f"{result.cell.key}.npz").is_file()


def check_complete(folder, trained):
    assert files_in(folder) == {name: content for result in trained.values() for name, content in result.files.items()}
    assert [result.fit.test for result in Study.load(folder).cell_results()] == [r.fit.test for r in trained.values()]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(step, patch):
    """The second cell never comes further than this step."""
    key = CELLS[1].key

    def write(path, content):
        if path.stem == key and step == f"half of {path.parent.name}":
            replace_file(path, lambda file: (file.write(content[: len(content) // 2]), file.flush(), die()))
        written = write_file(path, content)
        if path.stem == key and step == f"after {path.parent.name}":
            die()
        return written

    def finish(store, result, finish=Store.finish):
        finish(store, result)
        if result.cell.key == key and step == "after the result":
            die()

    patch.setattr("lcat.study.driver.write_file", write)
    patch.setattr(Store, "finish", finish)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("step", "results", "files"),
    [
        ("half of models", 1, 2),
        ("after models", 1, 3),
        ("half of predictions", 1, 3),
        ("after predictions", 1, 4),
        ("after the result", 2, 4),
    ],
)
def test_a_kill_at_every_step(tmp_path, hand_out, step, results, files):
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            dying_at(step, patch)
            try:
                go(tmp_path)
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(Study.load(tmp_path).results()) == results
    assert sum(name.endswith((".pt", ".npz")) for name in files_in(tmp_path)) == files
    assert len(files_in(tmp_path)) == files + step.startswith("half")
    check_whole(tmp_path)
    if results == 1:
        with pytest.raises(ValueError, match="has not kept predictions of the cell"):
            Study.load(tmp_path).predictions(CELLS[1].key)
    assert go(tmp_path).ran == 3 - results
    check_complete(tmp_path, hand_out)


@pytest.mark.parametrize("kind", KEEP)
def test_a_full_disk(tmp_path, hand_out, small_files, kind):
    long, folder = copy.deepcopy(hand_out), tmp_path / "study"
    [name] = [name for name in long[CELLS[1].key].files if name.startswith(kind)]
    long[CELLS[1].key].files[name] *= 2_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellRunner, "run", handing_out(long))
        with pytest.raises(OutputError, match=rf"cannot write .*{name}: File too large") as caught, small_files(10**6):
            go(folder)
    assert "\n" not in str(caught.value)
    assert len(Study.load(folder).results()) == 1
    assert len(files_in(folder)) == 2 + (kind == "predictions")
    check_whole(folder)
    assert go(folder).ran == 2
    check_complete(folder, hand_out)


def test_the_best_model_and_a_full_disk(tmp_path, hand_out, small_files):
    study = go(tmp_path / "study").study
    (tmp_path / "best.pt").write_bytes(b"older")
    study.best_model(CELLS[0].dataset, "gcn").write_bytes(bytes(2 * 10**6))
    with pytest.raises(OutputError, match=r"cannot write .*best\.pt: File too large"), small_files(10**6):
        train_best_model(study, CELLS[0].dataset, "gcn", tmp_path / "best.pt")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["best.pt"]
    assert (tmp_path / "best.pt").read_bytes() == b"older"


def test_parts_of_files_are_not_taken_for_files(tmp_path, hand_out):
    study = go(tmp_path).study
    for result in study.cell_results():
        key = result.cell.key
        model, predictions = tmp_path / "models" / f"{key}.pt", tmp_path / "predictions" / f"{key}.npz"
        for path in (model, predictions):
            content = path.read_bytes()
            for length in (0, 1, len(content) // 2, len(content) - 1):
                path.write_bytes(content[:length])
                if path is model:
                    with pytest.raises(ModelFileError, match="is no model that a study has kept, or is damaged"):
                        load_model(path)
                else:
                    with pytest.raises(ValueError, match="cannot be read as predictions"):
                        study.predictions(key)


def test_changed_bytes_are_named(tmp_path, hand_out):
    study, generator = go(tmp_path).study, random.Random(0)
    key = CELLS[0].key
    model, predictions = tmp_path / "models" / f"{key}.pt", tmp_path / "predictions" / f"{key}.npz"
    for path, read, expected in (
        (model, lambda: load_model(model), ModelFileError),
        (predictions, lambda: study.predictions(key), ValueError),
    ):
        content, errors = path.read_bytes(), []
        for _ in range(60):
            changed = bytearray(content)
            changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
            path.write_bytes(changed)
            try:
                read()
            except expected as error:
                errors.append(str(error))
        assert len(errors) > 10
        assert not any("\n" in error for error in errors)


def test_files_of_cells_without_a_result_do_not_outlive_it(tmp_path, hand_out):
    """As after a kill between a file and the result, and a second run that keeps nothing."""
    for kind, suffix in (("models", "pt"), ("predictions", "npz")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"{CELLS[0].key}.{suffix}").write_bytes(b"of another run")
        (tmp_path / kind / "mine.txt").write_text("of the user")
    study = go(tmp_path, keep=()).study
    assert set(files_in(tmp_path)) == {"models/mine.txt", "predictions/mine.txt"}
    with pytest.raises(ValueError, match="has not kept the model of gcn"):
        study.best_model(CELLS[0].dataset, "gcn")


def test_no_resume_sets_models_and_predictions_aside(tmp_path, hand_out):
    go(tmp_path)
    before = files_in(tmp_path)
    (tmp_path / "models" / "net.py").write_text("of the user")
    go(tmp_path, keep=(), resume=False)
    assert set(files_in(tmp_path)) == {"models/net.py"}
    for kind in KEEP:
        [aside] = tmp_path.glob(f"{kind}-*")
        assert {f"{kind}/{path.name}": path.read_bytes() for path in aside.iterdir()} == {
            name: content for name, content in before.items() if name.startswith(kind)
        }


def test_finished_cells_without_files_are_noted(tmp_path, hand_out):
    go(tmp_path, keep=())
    notes = []

    def hear(status):
        if status.event is not None and hasattr(status.event, "text"):
            notes.append(status.event.text)

    assert go(tmp_path, on_status=hear).ran == 0
    assert notes == [
        "3 cells had finished before without keeping models, and finished cells are not run again: lcat study model "
        "trains the best one once more, and --no-resume begins anew",
        "3 cells had finished before without keeping predictions, and finished cells are not run again: --no-resume "
        "begins anew",
    ]


def test_a_model_that_cannot_be_read(tmp_path, hand_out, monkeypatch):
    study = go(tmp_path / "study").study

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(RetrainError, match=r"models/.*\.pt cannot be read: Permission denied"):
        train_best_model(study, CELLS[0].dataset, "gcn", tmp_path / "best.pt")


def of_links(folder):
    return 'task = "link-prediction"\ndatasets = ["csbm:hard,n=80,q=0.1"]'


def of_parts(folder):
    return 'datasets = ["csbm:hard,n=80,q=0.1"]\nbatching = "cluster"'


def of_graphs(folder):
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    y = [torch.tensor([[float(i % 3), float(i % 2)]]) for i in range(40)]
    torch.save([Data(x=torch.randn(3, 2), edge_index=edge, y=y[i]) for i in range(40)], folder / "graphs.pt")
    return f'datasets = ["{folder}/graphs.pt"]'


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
@pytest.mark.parametrize("make", [of_links, of_parts, of_graphs])
def test_kills_of_studies_that_keep_files(tmp_path, make):
    """pytest -m long tests/study/running/test_kept_cut_off.py"""
    plan = (
        f'{make(tmp_path)}\nlayers = ["gcn", "lcat"]\nseeds = 5\n[overrides]\nepochs = 40\npatience = "none"\n'
        'batch_size = 8\n[run]\nworkers = 2\nkeep = ["models", "predictions"]\n'
    )
    if make is of_links:
        plan = plan.replace("batch_size = 8\n", "")
    (tmp_path / "plan.toml").write_text(plan)
    expected = run_study(load_plan(tmp_path / "plan.toml"), tmp_path / "expected", engine="inline").study
    victim, generator = Victim(tmp_path / "victim", Tally()), random.Random(0)
    (tmp_path / "victim" / "plan.toml").write_text(plan)
    try:
        victim.start()
        for kill in range(6):
            time.sleep(generator.uniform(3.0, 9.0))
            victim.kill(("driver", "worker", "both")[kill % 3], generator)
            if (victim.out / "study.sqlite").is_file():
                for path in (victim.out / "models").glob("*.pt"):
                    load_model(path)
            if victim.process.poll() is not None:
                victim.check()
                victim.start()
        assert victim.wait() == 0, (victim.folder / "stderr.txt").read_text()
        victim.check()
    finally:
        victim.close()
    assert (victim.tally.lost, victim.tally.changed, victim.repeated()) == (0, 0, 0)
    study = Study.load(victim.out)
    assert [result.fit.test for result in study.cell_results()] == [r.fit.test for r in expected.cell_results()]
    names = {name for name in files_in(victim.out) if name.endswith((".pt", ".npz"))}
    assert names == set(files_in(expected.folder))
    for result in expected.cell_results():
        key = result.cell.key
        assert study.predictions(key).equals(expected.predictions(key))
        ours, theirs = (load_model(folder / "models" / f"{key}.pt") for folder in (victim.out, expected.folder))
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)


def test_a_data_set_that_changed_takes_its_models_along(tmp_path):
    """The key of a cell says nothing of the content of a data set; its files do not outlive its results."""
    plan = make_plan(datasets=["mine"], own=["mine"], layers=["gcn"], seeds=1, overrides={"epochs": 3})
    old, new = (from_data(csbm(n=60, seed=seed), "mine") for seed in (0, 1))
    run_study(plan, tmp_path, engine="inline", keep=KEEP, own={"mine": old})
    study = run_study(plan, tmp_path, engine="inline", own={"mine": new}, resume=False).study
    with pytest.raises(ValueError, match="has not kept the model of gcn on mine"):
        study.best_model("mine", "gcn")
