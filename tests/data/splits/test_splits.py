"""Splits are disjoint, stratified, repeatable, and refuse what they cannot use."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcat.data import (
    DataError,
    Split,
    SplitError,
    fold_split,
    from_indices,
    load_split_file,
    random_split,
    splits_from_masks,
)


def test_random_split_keeps_the_shares_of_every_class():
    y = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)[torch.randperm(100)]
    split = random_split(y, seed=4)
    assert [y[mask].bincount().tolist() for mask in (split.train, split.val, split.test)] == [
        [30, 18, 12],
        [10, 6, 4],
        [10, 6, 4],
    ]


def test_random_split_depends_on_the_seed_alone():
    y = torch.arange(200) % 3
    torch.manual_seed(1)
    one = random_split(y, seed=9)
    torch.manual_seed(2)
    two = random_split(y, seed=9)
    assert torch.equal(one.train, two.train)
    assert not torch.equal(one.train, random_split(y, seed=10).train)


def test_random_split_leaves_unlabeled_nodes_out_and_serves_small_classes():
    y = torch.tensor([-1] * 10 + [0] * 40 + [1] * 3)
    split = random_split(y, seed=0)
    assert not bool((split.train | split.val | split.test)[:10].any())
    assert [int(y[mask].eq(1).sum()) for mask in (split.train, split.val, split.test)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (([1, 1, 0], [0, 1, 0], [0, 0, 1]), ["train and val", "1 node;"]),
        (([1, 0, 0], [0, 1, 0], [0, 0, 0]), ["test", "none of 3 nodes"]),
    ],
)
def test_split_refuses(masks, words):
    with pytest.raises(SplitError) as caught:
        Split(*(torch.tensor(mask).bool() for mask in masks))
    for word in words:
        assert word in str(caught.value)


def test_split_refuses_indices_and_unequal_lengths():
    with pytest.raises(SplitError, match="from_indices"):
        Split(torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    with pytest.raises(SplitError, match="2 for train and 3 for val"):
        Split(torch.tensor([True, False]), torch.tensor([False, True, False]), torch.tensor([False, True]))


@pytest.mark.parametrize(
    ("train", "match"),
    [([0, 5], "0 .. 4"), ([-1, 0], "-1 .. 0"), ([0, 0], "1 duplicate$"), ([0.5], "integers")],
)
def test_from_indices_refuses(train, match):
    with pytest.raises(SplitError, match=match):
        from_indices(5, torch.tensor(train), torch.tensor([1]), torch.tensor([2]))


def test_split_file(tmp_path):
    np.savez(tmp_path / "a.npz", train=np.array([0, 3]), valid=np.array([1]), test=np.array([2, 4]))
    split = load_split_file(tmp_path / "a.npz", 6)
    assert split.train.tolist() == [True, False, False, True, False, False]
    assert split.val.nonzero().view(-1).tolist() == [1]
    assert split.test.nonzero().view(-1).tolist() == [2, 4]
    np.savez(tmp_path / "b.npz", train=np.array([0]), val=np.array([1]), test=np.array([2]))
    assert load_split_file(tmp_path / "b.npz", 3).sizes == (1, 1, 1)


def test_split_file_errors_name_the_file(tmp_path):
    np.savez(tmp_path / "short.npz", train=np.array([0]))
    with pytest.raises(SplitError, match=r"short\.npz.*lacks valid, test"):
        load_split_file(tmp_path / "short.npz", 3)
    with pytest.raises(SplitError, match=r"gone\.npz cannot be read"):
        load_split_file(tmp_path / "gone.npz", 3)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(SplitError, match=r"text\.npz cannot be read"):
        load_split_file(tmp_path / "text.npz", 3)
    np.savez(tmp_path / "wide.npz", train=np.array([7]), valid=np.array([1]), test=np.array([2]))
    with pytest.raises(SplitError, match=r"wide\.npz does not fit a graph with 3 nodes"):
        load_split_file(tmp_path / "wide.npz", 3)
    np.savez(tmp_path / "pickle.npz", train=np.array([{}], dtype=object), valid=np.array([1]), test=np.array([2]))
    with pytest.raises(SplitError, match=r"pickle\.npz cannot be read"):
        load_split_file(tmp_path / "pickle.npz", 3)
    np.save(tmp_path / "array.npy", np.arange(3))
    with pytest.raises(SplitError, match=r"array\.npy holds one array without a name; it needs train"):
        load_split_file(tmp_path / "array.npy", 3)
    for values in (["a"], [1 + 2j], np.array(["2020"], dtype="M8[Y]")):
        np.savez(tmp_path / "other.npz", train=np.array(values), valid=np.array([1]), test=np.array([2]))
        with pytest.raises(SplitError, match=r"other\.npz"):
            load_split_file(tmp_path / "other.npz", 3)


def test_a_split_file_with_any_byte_changed_is_the_same_split_or_an_error_of_one_line(tmp_path):
    parts = {"train": np.arange(20), "valid": np.arange(20, 30), "test": np.arange(30, 60)}
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **parts)
    whole, errors = path.read_bytes(), []
    for number in range(len(whole)):
        changed = bytearray(whole)
        changed[number] ^= 0xFF
        path.write_bytes(changed)
        try:
            split = load_split_file(path, 60)
        except SplitError as error:
            errors.append(str(error))
        else:
            masks = (split.train, split.val, split.test)
            assert [mask.nonzero().view(-1).tolist() for mask in masks] == [part.tolist() for part in parts.values()]
    assert len(errors) > len(whole) // 2
    assert all("a.npz" in error and "\n" not in error for error in errors)


def test_several_masks_are_handed_out_in_turn_and_one_mask_to_all():
    train = torch.tensor([[1, 0], [0, 1], [0, 0], [0, 0]]).bool()
    val = torch.tensor([[0, 1], [1, 0], [0, 0], [0, 0]]).bool()
    rule = splits_from_masks(train, val, torch.tensor([0, 0, 1, 1]).bool())
    assert rule(0).train.tolist() == rule(2).train.tolist() == [True, False, False, False]
    assert rule(1).train.tolist() == [False, True, False, False]
    assert rule(1).test.tolist() == [False, False, True, True]
    with pytest.raises(DataError, match="agree"):
        splits_from_masks(train, val[:3], val)
    with pytest.raises(DataError, match="agree"):
        splits_from_masks(train, torch.zeros(4, 3, dtype=torch.bool), val)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Split([True], [False], [False]), "train mask must be a boolean tensor.*got list: convert it"),
        (lambda: random_split([0, 1, 0]), "y must be a tensor of labels; got list: convert it"),
        (lambda: random_split(torch.arange(9) % 2, None), "three positive numbers.*got None"),
        (lambda: random_split(torch.arange(9) % 2, "abc"), "three positive numbers.*got 'abc'"),
        (lambda: random_split(torch.arange(9) % 2, (float("nan"), 0.5, 0.5)), "three positive numbers that sum to 1"),
        (lambda: fold_split([0, 1] * 9, 3, 0), "y must be a tensor of labels; got list"),
        (lambda: fold_split(torch.arange(9) % 2, "3", 0), "folds must be at least 3.*got '3'"),
        (lambda: fold_split(torch.arange(9) % 2, 3, "0"), "fold and the number of folds must be whole numbers"),
        (lambda: from_indices(3, [0], [1], [2]), "train nodes must be a tensor of integers; got list"),
        (lambda: from_indices(3, *torch.eye(3, dtype=torch.uint8)), r"got dtype torch.uint8: .*\.nonzero\(\)"),
    ],
)
def test_lists_and_masks_of_bytes_are_named(make, words):
    with pytest.raises(SplitError, match=words):
        make()


def test_the_way_out_of_node_numbers_exists():
    numbers = torch.tensor([0]), torch.tensor([1]), torch.tensor([2])
    with pytest.raises(SplitError, match=r"with lcat\.data\.from_indices\("):
        Split(*numbers)
    assert from_indices(3, *numbers).sizes == (1, 1, 1)


def test_split_files_of_another_kind(tmp_path):
    """NumPy takes them for pickles, and advises to load these, which may run code."""
    path = tmp_path / "split.npz"
    path.write_text("0 1 2")
    with pytest.raises(SplitError, match=r"split.npz cannot be read: it is no .npz file; save one with np.savez"):
        load_split_file(path, 5)
    np.savez(path, train=np.array([{}], dtype=object), valid=np.arange(2), test=np.arange(2))
    with pytest.raises(SplitError, match=r"cannot be read: it holds an array of objects; save whole numbers") as caught:
        load_split_file(path, 5)
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, "120", 1.5, torch.ones(3), 0])
def test_a_split_file_needs_the_number_of_nodes(wrong, tmp_path):
    with pytest.raises(SplitError, match="num_nodes must be a whole number, at least 1; got "):
        load_split_file(tmp_path / "split.npz", wrong)
