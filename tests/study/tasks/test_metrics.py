"""Metrics with values that a reader can compute, and those that are undefined."""

from __future__ import annotations

import math

import pytest
import torch

from lcat._measures import MEASURES, find_measure, measures_of, sign_of
from lcat.study.tasks.metrics import UndefinedMetric, class_table, metric_value

# Three items of class 0, of which two are found; one of class 1, found; class 2 has no item and gets one.
LOGITS = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 3.0, 0.0]])
CLASSES = torch.tensor([0, 0, 0, 1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy", 3 / 4),
        ("micro-f1", 3 / 4),
        ("balanced-accuracy", (2 / 3 + 1) / 2),  # class 2 has no item, so no recall
        ("macro-f1", (4 / 5 + 1 + 0) / 3),
    ],
)
def test_metrics_of_classes(name, value):
    assert metric_value(name, "node-classification", LOGITS, CLASSES) == pytest.approx(value)


def test_metrics_of_two_classes():
    logits = torch.tensor([[0.0, 0.1], [0.0, 0.4], [0.0, 0.35], [0.0, 0.8]])
    y = torch.tensor([0, 0, 1, 1])
    assert metric_value("roc-auc", "graph-classification", logits, y) == pytest.approx(3 / 4)
    # 0.8 is of class 1; 0.4 is not; 0.35 is: precision 1 and 2/3 at the two positives.
    assert metric_value("average-precision", "graph-classification", logits, y) == pytest.approx((1 + 2 / 3) / 2)


def test_the_table_of_classes():
    table = {row["class"]: row for row in class_table(LOGITS, CLASSES)}
    assert table[0] == {
        "class": 0,
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "items": 3,
    }
    assert table[2] == {"class": 2, "precision": 0.0, "recall": None, "f1": 0.0, "items": 0}
    never = class_table(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    assert never[1] == {"class": 1, "precision": None, "recall": 0.0, "f1": 0.0, "items": 1}


def test_metrics_of_labels_leave_out_what_is_unknown():
    nan = math.nan
    logits = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 2.0]])
    y = torch.tensor([[1.0, nan], [0.0, 1.0], [1.0, 0.0]])
    # Known decisions: (1, 1), (1, 0), (0, 1) of the first label; (1, 1), (1, 0) of the second: 2 right, 3 wrong.
    assert metric_value("micro-f1", "node-multilabel", logits, y) == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert metric_value("macro-f1", "node-multilabel", logits, y) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metric_value("roc-auc", "node-multilabel", logits, y) == pytest.approx((1 / 4 + 0) / 2)


def test_metrics_of_numbers():
    predicted, y = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([1.0, 4.0, 4.0])
    assert metric_value("mae", "node-regression", predicted, y) == pytest.approx(1.0)
    assert metric_value("rmse", "node-regression", predicted, y) == pytest.approx(math.sqrt(5 / 3))
    assert metric_value("r2", "node-regression", predicted, y) == pytest.approx(1 - 5 / 6)


def several_targets():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(20, 3, generator=generator) * torch.tensor([1.0, 10.0, 0.1])
    return y + torch.randn(20, 3, generator=generator), y


def test_several_targets_are_averaged_as_by_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    predicted, y = several_targets()
    for name, measure in (
        ("r2", sklearn.r2_score),
        ("rmse", sklearn.root_mean_squared_error),
        ("mae", sklearn.mean_absolute_error),
    ):
        expected = measure(y.double().numpy(), predicted.double().numpy(), multioutput="uniform_average")
        assert metric_value(name, "graph-regression", predicted, y) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["r2", "rmse", "mae"])
def test_unknown_and_undefined_targets_are_left_out(name):
    predicted, y = several_targets()
    y[::3, 0] = math.nan
    y[:, 1] = math.nan
    of_one = metric_value(name, "node-regression", predicted[~y[:, 0].isnan(), 0], y[~y[:, 0].isnan(), 0])
    of_last = metric_value(name, "node-regression", predicted[:, 2], y[:, 2])
    assert metric_value(name, "node-regression", predicted, y) == pytest.approx((of_one + of_last) / 2)
    if name == "r2":  # scikit-learn would call it 0 or 1
        predicted, y = several_targets()
        y[:, 1] = 4.0
        expected = [metric_value(name, "node-regression", predicted[:, i], y[:, i]) for i in (0, 2)]
        assert metric_value(name, "node-regression", predicted, y) == pytest.approx(sum(expected) / 2)


def test_one_column_is_one_target():
    predicted, y = (values[:, :1] for values in several_targets())
    for name in ("r2", "rmse", "mae"):
        assert metric_value(name, "node-regression", predicted, y) == pytest.approx(
            metric_value(name, "node-regression", predicted[:, 0], y[:, 0])
        )


def test_metrics_of_links():
    scores, y = torch.tensor([5.0, 3.0, 1.0, 4.0, 3.0, 0.0]), torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    # Ranks among 4, 3 and 0: first; second and third at once; third.
    assert metric_value("mrr", "link-prediction", scores, y) == pytest.approx((1 + 1 / 2.5 + 1 / 3) / 3)
    assert metric_value("hits@1", "link-prediction", scores, y) == pytest.approx(1 / 3)
    assert metric_value("hits@3", "link-prediction", scores, y) == pytest.approx(1.0)
    with pytest.raises(UndefinedMetric, match="it needs 4 pairs without a link, and has 3"):
        metric_value("hits@4", "link-prediction", scores, y)


def test_hits_are_those_of_ogb():
    evaluate = pytest.importorskip("ogb.linkproppred").Evaluator("ogbl-ppa")  # hits@100
    generator = torch.Generator().manual_seed(0)
    linked, others = torch.randn(50, generator=generator) + 1, torch.randn(300, generator=generator)
    y = torch.cat([torch.ones(50), torch.zeros(300)])
    ours = metric_value("hits@100", "link-prediction", torch.cat([linked, others]), y)
    assert ours == pytest.approx(evaluate.eval({"y_pred_pos": linked, "y_pred_neg": others})["hits@100"])


@pytest.mark.parametrize(
    ("name", "task", "outputs", "y", "words"),
    [
        (
            "roc-auc",
            "node-classification",
            torch.zeros(3, 2),
            torch.ones(3, dtype=torch.long),
            "all 3 items are of class 1",
        ),
        ("average-precision", "node-classification", torch.zeros(3, 3), torch.tensor([0, 1, 2]), "two classes"),
        ("roc-auc", "node-multilabel", torch.zeros(2, 1), torch.ones(2, 1), "no label has items with and without"),
        ("r2", "node-regression", torch.zeros(2), torch.full((2,), 5.0), "all 2 targets are 5"),
        ("mrr", "link-prediction", torch.zeros(2), torch.ones(2), "with and without a link"),
        ("mae", "node-regression", torch.zeros(0), torch.zeros(0), "no item"),
        ("r2", "node-regression", torch.zeros(1), torch.ones(1), "the only target is 1"),
        (
            "r2",
            "node-regression",
            torch.zeros(2, 2),
            torch.ones(2, 2),
            "for every target: all 2 targets are 1",
        ),
        ("mae", "node-regression", torch.zeros(2, 2), torch.full((2, 2), math.nan), "no item has a known target"),
        ("roc-auc", "link-prediction", torch.zeros(1), torch.ones(1), "the only item is of class 1"),
    ],
)
def test_what_is_undefined_says_why(name, task, outputs, y, words):
    with pytest.raises(UndefinedMetric, match=words):
        metric_value(name, task, outputs, y)


def test_every_task_has_metrics_and_every_error_is_better_when_low():
    assert {name for name in MEASURES if sign_of(name) < 0} == {"rmse", "mae"}
    assert measures_of("link-prediction")[:2] == ["roc-auc", "average-precision"]
    assert find_measure("hits@7").tasks == ("link-prediction",)
    with pytest.raises(ValueError, match="did you mean accuracy"):
        find_measure("acuracy")
