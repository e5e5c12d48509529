"""Metrics agree with scikit-learn and refuse what has no meaning."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score

from lcat.train import METRICS, accuracy, metric_by_name, roc_auc


@pytest.mark.parametrize("seed", range(20))
def test_roc_auc_agrees_with_sklearn(seed):
    generator = torch.Generator().manual_seed(seed)
    n = 5 + 40 * seed
    # Rounded to one digit in half of the cases, so that many scores tie.
    logits = torch.randn(n, 2, generator=generator)
    logits = logits.mul(10).round().div(10) if seed % 2 else logits
    y = torch.randint(0, 2, (n,), generator=generator)
    y[0], y[1] = 0, 1
    expected = roc_auc_score(y.numpy(), (logits[:, 1] - logits[:, 0]).numpy())
    assert roc_auc(logits, y) == pytest.approx(expected, abs=1e-12)


def test_roc_auc_by_hand():
    logits = torch.tensor([[0, 1.0], [0, 2.0], [0, 2.0], [0, 3.0]])
    assert roc_auc(logits, torch.tensor([0, 0, 1, 1])) == 0.875  # three pairs in order, one tie
    assert roc_auc(-logits, torch.tensor([0, 0, 1, 1])) == 0.125
    assert roc_auc(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])) == 0.5


def test_accuracy_agrees_with_sklearn():
    logits, y = torch.randn(101, 5), torch.randint(0, 5, (101,))
    assert accuracy(logits, y) == pytest.approx(accuracy_score(y, logits.argmax(-1)), abs=1e-12)


@pytest.mark.parametrize(
    ("logits", "y", "match"),
    [
        (torch.zeros(0, 2), torch.zeros(0).long(), "at least one node"),
        (torch.zeros(3, 2), torch.zeros(2).long(), "3 rows of logits and 2 labels"),
        (torch.full((2, 2), float("nan")), torch.tensor([0, 1]), "nan or inf"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), r"\[N, 2\]; got \[2, 3\]"),
        (torch.zeros(2, 2), torch.tensor([1, 1]), "both classes"),
    ],
)
def test_roc_auc_refuses(logits, y, match):
    with pytest.raises(ValueError, match=match):
        roc_auc(logits, y)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("nodes", [2, 7, 1001])
def test_metrics_without_checks_give_the_same_numbers(name, nodes):
    logits, y = torch.randn(nodes, 2), torch.randint(0, 2, (nodes,))
    y[0], y[1] = 0, 1
    assert metric_by_name(name, checks=False)(logits, y) == metric_by_name(name)(logits, y)


def test_metrics_by_name():
    assert metric_by_name("accuracy") is accuracy
    assert set(METRICS) == {"accuracy", "roc-auc"}
    with pytest.raises(ValueError, match="accuracy, roc-auc; got 'f1'"):
        metric_by_name("f1")


@pytest.mark.parametrize("metric", [accuracy, roc_auc])
@pytest.mark.parametrize(
    ("logits", "y", "words"),
    [
        (torch.zeros(3, 2), torch.tensor([[0], [1], [1]]), r"labels \[nodes\], got \[3, 2\] and \[3, 1\]"),
        (torch.zeros(3), torch.tensor([0, 1, 1]), r"got \[3\] and \[3\]"),
        (torch.zeros(1, 3, 2), torch.tensor([0]), r"got \[1, 3, 2\] and \[1\]"),
        (torch.zeros(3, 2), torch.tensor([0, 1, -1]), r"in 0 .. 1; got -1 .. 1: leave unlabeled nodes out"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), r"in 0 .. 1; got 0 .. 2"),
        (torch.zeros(3, 2), torch.tensor([0.0, 1.0, torch.nan]), r"in 0 .. 1; got nan .. nan"),
        (torch.full((3, 2), torch.nan), torch.tensor([0, 1, 1]), "nan or inf"),
    ],
)
def test_what_would_give_a_wrong_number_is_refused(metric, logits, y, words):
    with pytest.raises(ValueError, match=words):
        metric(logits, y)


@pytest.mark.parametrize("measure", [accuracy, roc_auc])
def test_arrays_and_lists_are_named(measure):
    logits, y = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(TypeError, match=r"expected a tensor as 'logits', got ndarray: convert it with torch.as_tensor"):
        measure(logits.numpy(), y)
    with pytest.raises(TypeError, match="expected a tensor as 'y', got list"):
        measure(logits, y.tolist())
