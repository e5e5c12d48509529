"""Arguments of another kind: paths, numbers, loaders. Each is named, with what is expected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcat.data import (
    CSCGraph,
    FeatureFile,
    NodeDataset,
    SeedBatches,
    SeededLoader,
    csbm,
    csbm_distance,
    from_indices,
    load,
    load_file,
    load_ogb,
    load_split_file,
    missing_files,
    neighbor_loader,
    open_stores,
    partition_loader,
    partition_nodes,
    random_split,
    random_splits,
    random_walk_loader,
    splits_from_masks,
    write_standin,
)
from lcat.train import layerwise_inference, load_checkpoint, save_checkpoint

DATA = csbm(n=40, seed=0)
GRAPH = CSCGraph.from_edges(DATA.edge_index, 40)
ONE = torch.tensor([0])


@pytest.mark.parametrize("path", [3, 2.5, b"x", ["x"], str])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("path", lambda path: load_file(path)),
        ("path", lambda path: load_split_file(path, 40)),
        ("path", lambda path: FeatureFile(path)),
        ("path", lambda path: FeatureFile.write(path, DATA.x)),
        ("path", lambda path: save_checkpoint(path, {})),
        ("path", lambda path: load_checkpoint(path)),
        ("folder", lambda path: GRAPH.save(path)),
        ("folder", lambda path: CSCGraph.open(path)),
        ("folder", lambda path: CSCGraph.write(path, lambda: [DATA.edge_index], 40)),
        ("folder", lambda path: open_stores(path)),
        ("folder", lambda path: layerwise_inference(torch.nn.Identity(), DATA.x, DATA.edge_index, folder=path)),
        ("root", lambda path: load("cora", root=path)),
        ("root", lambda path: load_ogb("ogbn-arxiv", root=path)),
        ("root", lambda path: missing_files("cora", path)),
        ("root", lambda path: write_standin("ogbn-arxiv", path)),
    ],
)
def test_what_is_no_path(name, call, path):
    got = "the class str" if path is str else type(path).__name__
    with pytest.raises(TypeError, match=rf"expected a path as '{name}', got {got}: pass a string or a pathlib.Path"):
        call(path)


def test_none_is_no_path():
    for call in (load_file, FeatureFile, CSCGraph.open, open_stores, GRAPH.save, load_checkpoint):
        with pytest.raises(TypeError, match=r"expected a path as '\w+', got None"):
            call(None)


def test_a_file_as_the_root_of_a_stand_in(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"expected a folder as 'root', got the file"):
        write_standin("ogbn-arxiv", tmp_path / "file")


@pytest.mark.parametrize("fractions", [3, "abc", None, (0.5, 0.5), (0.5, "x", 0.2), {0.6, 0.2, 0.1}])
def test_fractions_are_checked_where_they_are_taken(fractions):
    for function in (random_split, random_splits):
        with pytest.raises(ValueError, match="fractions must be three positive numbers"):
            function(DATA.y, fractions)


@pytest.mark.parametrize(
    ("option", "value", "pattern"),
    [
        ("num_workers", "2", "num_workers must be a whole number, 0 or more; got '2'"),
        ("num_workers", 1.5, "num_workers must be a whole number"),
        ("num_workers", None, "num_workers must be a whole number"),
        ("timeout", "2", "timeout must be a number of seconds"),
        ("timeout", 3, "timeout needs processes that load batches"),
        ("prefetch_factor", "2", "prefetch_factor must be a whole number, 1 or more"),
        ("prefetch_factor", 2, "prefetch_factor needs processes"),
        ("persistent_workers", 3, "persistent_workers must be True or False"),
        ("persistent_workers", True, "persistent_workers needs processes"),
        ("multiprocessing_context", "spawn", "multiprocessing_context needs processes"),
        ("batch_size", "8", "batch_size must be a whole number"),
        ("rank", "0", "rank must be a whole number"),
        ("world_size", None, "world_size must be a whole number"),
    ],
)
def test_options_of_loaders(option, value, pattern):
    calls = [
        lambda **options: neighbor_loader(DATA, [2], **options),
        lambda **options: random_walk_loader(DATA, walk_length=2, num_steps=2, **{"batch_size": 4, **options}),
    ]
    if option != "batch_size":
        calls.append(lambda **options: partition_loader(DATA, num_parts=4, **options))
    for call in calls:
        with pytest.raises(ValueError, match=pattern):
            call(**{option: value})


@pytest.mark.parametrize("value", ["0.1", [0.1], {}, torch.ones(2)])
def test_numbers_of_csbm(value):
    for name in ("p", "q", "sigma", "mu", "distance"):
        with pytest.raises(ValueError, match=rf"{name} must be a number; got"):
            csbm(n=40, **{name: value})
    with pytest.raises(ValueError, match="n must be a whole number of nodes"):
        csbm_distance("easy", n=value)
    with pytest.raises(ValueError, match="sigma must be a number"):
        csbm_distance("hard", sigma=value)


@pytest.mark.parametrize(
    ("call", "error", "pattern"),
    [
        (lambda: write_standin("ogbn-arxiv", "x", nodes="300"), ValueError, "a whole number of nodes, .*got '300'"),
        (lambda: write_standin(["a"], "x"), ValueError, "there is a stand-in for"),
        (lambda: from_indices("4", ONE, ONE + 1, ONE + 2), ValueError, "num_nodes must be a whole number.*got '4'"),
        (lambda: from_indices(None, ONE, ONE + 1, ONE + 2), ValueError, "num_nodes must be a whole number"),
        (lambda: partition_nodes(DATA, "3"), ValueError, "num_parts must be a whole number, 1 or more; got '3'"),
        (lambda: partition_nodes(DATA, 2.5), ValueError, "num_parts must be a whole number"),
        (lambda: partition_loader(DATA, 4, part=3), TypeError, "part must be a tensor of whole numbers.*got int"),
        (lambda: partition_loader(DATA, 4, part=torch.zeros(40)), TypeError, "part must be a tensor of whole numbers"),
        (lambda: SeededLoader(None), TypeError, "expected a loader with a length.*got NoneType"),
        (lambda: SeededLoader([DATA], seed="x"), ValueError, "seed must be a whole number; got 'x'"),
        (lambda: SeedBatches(-1, 2), ValueError, "count must be 0 or more; got -1"),
        (lambda: CSCGraph.from_edges(DATA.edge_index, [40]), ValueError, "or those of sources and targets, got"),
        (lambda: CSCGraph.write("x", [DATA.edge_index], 40), TypeError, "a function that returns the chunks.*got list"),
        (lambda: NodeDataset("a", None, random_splits(DATA.y)), ValueError, "a: expected a .*Data; got NoneType"),
        (
            lambda: splits_from_masks(DATA.train_mask, DATA.val_mask, DATA.test_mask)("x"),
            ValueError,
            "the seed of a split must be a whole number; got 'x'",
        ),
        (
            lambda: layerwise_inference(torch.nn.Identity(), DATA.x, DATA.edge_index, edge_attr=3),
            TypeError,
            "one row per edge in a tensor or a FeatureFile as edge_attr, got int",
        ),
    ],
)
def test_other_arguments(call, error, pattern):
    with pytest.raises(error, match=pattern):
        call()


class _Transform:
    """As PyG's: made once, called with every batch."""

    def __call__(self, data):
        return data


@pytest.mark.parametrize("value", ["no", 2, torch.tensor([1, 0]), [True]], ids=repr)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        *((name, lambda value, name=name: neighbor_loader(DATA, [2], **{name: value}))
          for name in ("shuffle", "replace", "disjoint", "drop_last", "pin_memory", "filter_per_worker")),
        ("shuffle", lambda value: partition_loader(DATA, 2, shuffle=value)),
        ("drop_last", lambda value: SeedBatches(4, 2, drop_last=value)),
        ("pin_memory", lambda value: random_walk_loader(DATA, 2, 2, 2, num_workers=1, pin_memory=value)),
        ("self_loops", lambda value: csbm(n=40, self_loops=value)),
        ("download", lambda value: load("cora", "nowhere", download=value)),
        ("download", lambda value: load_ogb("ogbn-arxiv", "nowhere", download=value)),
        ("progress", lambda value: load_ogb("ogbn-arxiv", "nowhere", download=False, progress=value)),
    ],
)  # fmt: skip
def test_what_is_neither_true_nor_false(name, call, value):
    """A text is true in Python, and a tensor of several values ends in an error of torch."""
    with pytest.raises(ValueError, match=rf"^{name} must be True or False; got "):
        call(value)


def test_numpy_booleans_and_numbers_of_command_lines_are_true_or_false():
    for true in (True, np.bool_(True), 1, torch.tensor(True)):
        batches = SeedBatches(5, 2, shuffle=true, drop_last=true)
        assert batches.signature()["shuffle"] is True
        assert len(batches) == 2


@pytest.mark.parametrize(
    "call", [lambda value: neighbor_loader(DATA, [2], transform=value),
             lambda value: partition_loader(DATA, 2, transform=value)],
)  # fmt: skip
def test_a_class_is_no_transform(call):
    with pytest.raises(TypeError, match=r"got the class _Transform: pass an object of it, _Transform\(\.\.\.\)"):
        call(_Transform)
    assert len(list(call(_Transform()))) >= 1


@pytest.mark.parametrize("context", [{}, "thread", 3])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_multiprocessing_context_that_is_none(context, workers):
    with pytest.raises(ValueError, match=r"^multiprocessing_context must be one of .*spawn.*; got "):
        neighbor_loader(DATA, [2], num_workers=workers, multiprocessing_context=context)


@pytest.mark.parametrize("empty", [[], (), torch.utils.data.DataLoader([])], ids=["list", "tuple", "DataLoader"])
def test_a_loader_without_batches(empty):
    with pytest.raises(ValueError, match="expected a loader with at least one batch, got an empty"):
        SeededLoader(empty)
