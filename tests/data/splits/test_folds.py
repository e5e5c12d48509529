"""Folds partition the labeled nodes, evenly, and inner folds never meet the outer test nodes."""

from __future__ import annotations

import pytest
import torch

from lcat.data import SplitError, fold_numbers, fold_split, nested_split

Y = torch.tensor([0] * 31 + [1] * 17 + [-1] * 5 + [2] * 9)


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_every_labeled_node_is_in_one_fold_and_folds_are_even(folds, stratified):
    numbers = fold_numbers(Y, folds, seed=1, stratified=stratified)
    assert torch.equal(numbers < 0, Y < 0)
    sizes = numbers[numbers >= 0].bincount(minlength=folds)
    assert int(sizes.max() - sizes.min()) <= 1
    if stratified:
        for label in range(3):
            inside = numbers[label == Y].bincount(minlength=folds)
            assert int(inside.max() - inside.min()) <= 1


def test_seeds_shuffle_and_repeat():
    assert torch.equal(fold_numbers(Y, 3, 1), fold_numbers(Y, 3, 1))
    assert not torch.equal(fold_numbers(Y, 3, 1), fold_numbers(Y, 3, 2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fold_numbers(Y, 3, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_folds_are_near_sklearns_in_size():
    """The outside view: the same sizes as scikit-learn's stratified folds, class by class, up to one node."""
    model_selection = pytest.importorskip("sklearn.model_selection")
    nodes = (Y >= 0).nonzero().view(-1)
    theirs = model_selection.StratifiedKFold(5, shuffle=True, random_state=0).split(nodes, Y[nodes])
    numbers = fold_numbers(Y, 5)
    for fold, (_, test) in enumerate(theirs):
        for label in range(3):
            ours = int(((numbers == fold) & (label == Y)).sum())
            assert abs(ours - int((Y[nodes[test]] == label).sum())) <= 1


@pytest.mark.parametrize("stratified", [True, False])
def test_over_all_folds_each_node_is_tested_once_and_validates_once(stratified):
    splits = [fold_split(Y, 5, fold, seed=3, stratified=stratified) for fold in range(5)]
    labeled = (Y >= 0).long()
    assert torch.equal(sum(split.test.long() for split in splits), labeled)
    assert torch.equal(sum(split.val.long() for split in splits), labeled)
    assert torch.equal(sum(split.train.long() for split in splits), 3 * labeled)


def test_repeats_are_other_shuffles():
    first, second = (fold_split(Y, 5, 0, repeat=repeat) for repeat in (0, 1))
    assert not torch.equal(first.test, second.test)


@pytest.mark.parametrize(("folds", "inner"), [(5, 3), (2, 2), (3, 4)])
def test_inner_folds_partition_what_is_not_tested(folds, inner):
    tested = torch.zeros_like(Y)
    for fold in range(folds):
        splits = [nested_split(Y, folds, fold, inner, number, seed=2) for number in range(inner)]
        test = splits[0].test
        tested += test.long()
        validated = sum(split.val.long() for split in splits)
        for split in splits:
            assert torch.equal(split.test, test)
            assert not bool((test & (split.train | split.val)).any())
        assert torch.equal(validated, ((Y >= 0) & ~test).long())
    assert torch.equal(tested, (Y >= 0).long())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fold_numbers(Y, 1), "folds must lie in 2 .. 57, the number of labeled nodes; got 1"),
        (lambda: fold_numbers(Y, 58), "got 58"),
        (lambda: fold_numbers(Y.float(), 3), "vector of integer labels; got dtype torch.float32"),
        (lambda: fold_split(Y, 2, 0), "folds must be at least 3"),
        (lambda: fold_split(Y, 5, 5), r"fold must lie in 0 .. 4; got 5"),
        (lambda: nested_split(Y, 5, 0, 3, 3), r"inner_fold must lie in 0 .. 2; got 3"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(SplitError, match=words):
        call()


def test_numbers_and_texts_that_are_no_options():
    y = torch.arange(30) % 3
    with pytest.raises(SplitError, match=r"folds must be at least 3.* and a whole number; got 5\.0"):
        fold_split(y, 5.0, 0)
    for call in (lambda: fold_numbers(y, 3, stratified="no"), lambda: fold_split(y, 3, 0, stratified="no")):
        with pytest.raises(SplitError, match="stratified must be True or False; got 'no'"):
            call()
