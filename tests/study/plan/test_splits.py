"""Rules of splits: what they stand for, that they are kept and read back, and that a changed one is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lcat.data import NodeDataset, SplitError, csbm, random_splits
from lcat.study import PlanError, Study, run_study
from lcat.study.plan.cell import SplitChoice, digest
from lcat.study.plan.splits import SplitFolder, SplitRule, make_split, split_hash
from lcat.study.store.store import Store
from tests.study.study_support import plan_of


def dataset(seed=0, name="ours"):
    data = csbm(n=60, seed=seed)
    return NodeDataset(name, data, random_splits(data.y))


def save_split(path, split):
    parts = {"train": split.train, "valid": split.val, "test": split.test}
    np.savez(path, **{name: mask.nonzero().view(-1).numpy() for name, mask in parts.items()})


@pytest.mark.parametrize(
    ("rule", "count"),
    [("own", 1), ("kfold:4", 4), ("stratified:5", 5), ("repeated:3x2", 6), ("nested:2x3", 6), ("nested:5x2", 10)],
)
def test_choices_are_all_different_and_valid(rule, count):
    data = dataset()
    choices = SplitRule.parse(rule).choices(rule, 7, "ours")
    splits = [make_split(choice, data, seed=0) for choice in choices]
    assert len(choices) == count
    assert len({split_hash(split) for split in splits}) == count
    tested = sum(split.test.long() for split in splits)
    if rule != "own":
        # Every node is tested equally often.
        assert len(set(tested.tolist())) == 1


def test_files_one_or_several(tmp_path):
    data = dataset()
    own = [data.split(seed) for seed in range(3)]
    for number, split in enumerate(own):
        save_split(tmp_path / f"ours_{number}.npz", split)
    one = f"file:{tmp_path}/ours_1.npz"
    [choice] = SplitRule.parse(one).choices(one, 0, "ours")
    assert split_hash(make_split(choice, data, 5)) == split_hash(own[1])
    several = f"file:{tmp_path}/{{dataset}}_{{fold}}.npz"
    choices = SplitRule.parse(several).choices(several, 0, "ours")
    assert [choice.fold for choice in choices] == [0, 1, 2]
    assert [split_hash(make_split(c, data, 0)) for c in choices] == [split_hash(split) for split in own]
    with pytest.raises(SplitError, match=r"the split file .*theirs_0.npz of theirs does not exist"):
        SplitRule.parse(several).choices(several, 0, "theirs")


def test_a_kept_split_is_read_back_and_not_drawn_again(tmp_path, monkeypatch):
    data, choice = dataset(), SplitChoice(rule="stratified:5", fold=2)
    folder = SplitFolder(tmp_path / "splits")
    first = folder.get(choice, data, 0, "graph", "ours")
    assert len(list((tmp_path / "splits").iterdir())) == 1

    def drawn(*arguments, **more):
        raise AssertionError("the split was drawn again")

    monkeypatch.setattr("lcat.study.plan.splits.fold_split", drawn)
    assert split_hash(folder.get(choice, data, 99, "graph", "theirs")) == split_hash(first)
    with pytest.raises(AssertionError):
        folder.get(choice, data, 0, "another graph", "ours")


def test_data_sets_of_one_graph_keep_their_own_splits(tmp_path):
    data = dataset().data
    shares = {"a": (0.6, 0.2, 0.2), "b": (0.2, 0.4, 0.4)}
    own = {name: NodeDataset("ours", data, random_splits(data.y, share)) for name, share in shares.items()}
    plan = plan_of(datasets=["a", "b"], own=["a", "b"])
    outcome = run_study(plan, tmp_path, own=own, engine="inline")
    assert (outcome.done, outcome.failed) == (2, 0)
    assert outcome.study.results()["train_nodes"].tolist() == [36, 12]


def test_a_split_that_an_earlier_version_kept_is_still_compared(tmp_path):
    data, choice = dataset(), SplitChoice()
    folder = SplitFolder(tmp_path)
    first = folder.get(choice, data, 0, "graph", "ours")
    [split_file] = tmp_path.iterdir()
    split_file.rename(tmp_path / f"{digest(['graph', choice.model_dump(), 0])}.npz")
    assert split_hash(folder.get(choice, data, 0, "graph", "ours")) == split_hash(first)
    with pytest.raises(SplitError, match="has changed since the study began"):
        folder.get(choice, NodeDataset("ours", data.data, lambda seed: data.split(1)), 0, "graph", "ours")


@pytest.mark.parametrize("source", ["own", "file"])
def test_a_split_that_changed_is_a_failed_cell(tmp_path, source):
    data = dataset()
    if source == "own":
        rule, before = "own", {"ours": data}
        after = {"ours": NodeDataset("ours", data.data, lambda seed: data.split(seed + 1))}
    else:
        rule, before, after = f"file:{tmp_path}/s.npz", {"ours": data}, {"ours": data}
        save_split(tmp_path / "s.npz", data.split(0))
    small = plan_of(datasets=["ours"], own=["ours"], split=rule)
    longer = plan_of(datasets=["ours"], own=["ours"], split=rule, layers=["gcn", "gat"])
    assert run_study(small, tmp_path / "out", own=before, engine="inline").done == 1
    if source == "file":
        save_split(tmp_path / "s.npz", data.split(1))
    assert run_study(longer, tmp_path / "out", own=after, engine="inline").failed == 1
    [failure] = Study.load(tmp_path / "out").failures().to_dict("records")
    assert "has changed since the study began" in failure["error"]


def forget_data_sets(folder):
    """As a study of an earlier version, which did not keep what identifies data sets."""
    with Store(folder, write=True) as store:
        store.put("datasets", {})


def test_a_graph_that_changed_is_refused_or_a_failed_cell(tmp_path):
    plans = [plan_of(datasets=["ours"], own=["ours"], layers=["gcn", "gat"][:count]) for count in (1, 2)]
    assert run_study(plans[0], tmp_path, own={"ours": dataset(0)}, engine="inline").done == 1
    with pytest.raises(PlanError, match=r"ours is not the data set .* has results of"):
        run_study(plans[1], tmp_path, own={"ours": dataset(1)}, engine="inline")
    forget_data_sets(tmp_path)
    outcome = run_study(plans[1], tmp_path, own={"ours": dataset(1)}, engine="inline")
    assert (outcome.done, outcome.failed) == (1, 1)
    [failure] = outcome.study.failures().to_dict("records")
    assert "the data set ours has changed since the study began" in failure["error"]
    again = run_study(plans[1], tmp_path, own={"ours": dataset(0)}, engine="inline", retry_failed=True)
    assert (again.done, again.failed) == (2, 0)


def test_a_metric_that_changed_is_refused_or_a_failed_cell(tmp_path):
    data = dataset()
    plans = [plan_of(datasets=["ours"], own=["ours"], layers=["gcn", "gat"][:count]) for count in (1, 2)]
    assert run_study(plans[0], tmp_path, own={"ours": data}, engine="inline").done == 1
    with pytest.raises(PlanError, match=r"ours is not the data set .* \(metric roc-auc now, accuracy then"):
        run_study(plans[1], tmp_path, own={"ours": replace(data, metric="roc-auc")}, engine="inline")
    forget_data_sets(tmp_path)
    outcome = run_study(plans[1], tmp_path, own={"ours": replace(data, metric="roc-auc")}, engine="inline")
    assert (outcome.done, outcome.failed) == (1, 1)
    [failure] = outcome.study.failures().to_dict("records")
    assert "the metric of the data set ours has changed since the study began, from accuracy to" in failure["error"]
    # Earlier versions kept the graph alone.
    [record] = (tmp_path / "splits").glob("*.graph")
    record.write_text(record.read_text().split()[0])
    again = run_study(plans[1], tmp_path, own={"ours": data}, engine="inline", retry_failed=True)
    assert (again.done, again.failed) == (2, 0)


@pytest.mark.parametrize("how", ["empty", "half", "no ASCII", "other text", "other metric"])
def test_a_damaged_record_of_a_graph_is_one_line(how, tmp_path):
    data, plan = dataset(), plan_of(datasets=["ours"], own=["ours"], layers=["gcn"])
    assert run_study(plan, tmp_path, own={"ours": data}, engine="inline").done == 1
    [record] = (tmp_path / "splits").glob("*.graph")
    whole = record.read_bytes()
    damaged = {
        "empty": b"",
        "half": whole[:9],
        "no ASCII": b"\xff\x00" + whole[2:],
        "other text": b"a\nb\n" * 30,
        "other metric": whole[:17] + b"f1",
    }[how]
    record.write_bytes(damaged)
    bigger = plan_of(datasets=["ours"], own=["ours"], layers=["gcn", "gat"])
    outcome = run_study(bigger, tmp_path, own={"ours": data}, engine="inline")
    assert (outcome.done, outcome.failed) == (1, 1)
    [failure] = outcome.study.failures().to_dict("records")
    assert "is damaged: expected the hash of the graph of ours and its metric, got" in failure["error"]
    assert "move it away" in failure["error"]
    assert "\n" not in failure["error"]
    assert record.read_bytes() == damaged
    record.rename(tmp_path / "away")
    again = run_study(bigger, tmp_path, own={"ours": data}, engine="inline", retry_failed=True)
    assert (again.done, again.failed) == (2, 0)
    assert record.read_bytes() == whole


@pytest.mark.parametrize("rule", ["own", "stratified:3"])
def test_a_damaged_split_of_a_study_is_one_line(rule, tmp_path):
    data = dataset()
    plan = plan_of(datasets=["ours"], own=["ours"], layers=["gcn"], split=rule)
    done = run_study(plan, tmp_path, own={"ours": data}, engine="inline").done
    files = {path: path.read_bytes() for path in (tmp_path / "splits").glob("*.npz")}
    for path, content in files.items():
        middle = len(content) // 4
        path.write_bytes(content[:middle] + b"\xff" * 40 + content[middle + 40 :])
    bigger = plan_of(datasets=["ours"], own=["ours"], layers=["gcn", "gat"], split=rule)
    outcome = run_study(bigger, tmp_path, own={"ours": data}, engine="inline")
    assert outcome.failed == done
    for failure in outcome.study.failures().to_dict("records"):
        assert "cannot be read" in failure["error"]
        assert "move it away, and the study makes this split of ours" in failure["error"]
        assert "\n" not in failure["error"]
    for path in files:
        path.unlink()
    assert run_study(bigger, tmp_path, own={"ours": data}, engine="inline", retry_failed=True).failed == 0
    assert len(list((tmp_path / "splits").glob("*.npz"))) == len(files)


def test_results_name_their_splits_and_test_sets(tmp_path):
    data = dataset()
    plan = plan_of(datasets=["ours"], own=["ours"], split="nested:2x3", seeds=2, layers=["gcn", "gat"])
    frame = run_study(plan, tmp_path, own={"ours": data}, engine="inline").study.results()
    assert len(frame) == 2 * 3 * 2 * 2
    assert frame["test_set"].nunique() == 2
    assert frame["split_hash"].nunique() == 6
    assert (frame.groupby("test_set")["fold"].nunique() == 1).all()
    assert (frame[["train_nodes", "validation_nodes", "test_nodes"]].sum(axis=1) == 60).all()
    choice = SplitChoice(rule="nested:2x3", fold=1, inner_fold=2)
    expected = make_split(choice, data, 0)
    rows = frame[(frame["fold"] == 1) & (frame["inner_fold"] == 2)]
    assert set(rows["split_hash"]) == {split_hash(expected)}
    assert int(rows["test_nodes"].iloc[0]) == int(expected.test.sum())


def test_noise_changes_the_graph_and_not_the_test_set():
    from lcat.study.plan.cell import Noise
    from lcat.study.plan.sources import Sources

    sources = Sources()
    cell = plan_of().cells()[0]
    clean, split = sources.prepared(cell)
    noisy, other = sources.prepared(cell.model_copy(update={"noise": Noise(kind="edges", level=0.5)}))
    assert noisy.data.num_edges > clean.data.num_edges
    assert torch.equal(split.test, other.test)
    assert sources.test_set(cell, split) == sources.test_set(cell, other)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("stratifed:5", ["'stratifed:5'", "did you mean stratified:5"]),
        ("kfold", ["'kfold'", "cannot be read", "kfold:5"]),
        ("kfold:x", ["'kfold:x'"]),
        ("kfold:2", ["3 to 1000 folds", "got 2"]),
        ("nested:5x1", ["2 to 1000 inner folds", "got 1"]),
        ("repeated:5x0", ["1 to 1000 repetitions", "got 0"]),
        ("own:3", ["'own:3'"]),
        ("file:", ["'file:'"]),
        ("file:gone.npz", ["gone.npz", "does not exist"]),
    ],
)
def test_refusals(rule, words):
    with pytest.raises(PlanError) as caught:
        plan_of(split=rule)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
