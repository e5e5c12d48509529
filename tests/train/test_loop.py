"""The loop learns, stops, restores, repeats itself bit for bit, and fails loudly."""

from __future__ import annotations

import copy
import json
import math
import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import nn
from torch_geometric.data import HeteroData

from lcat.data import Split, csbm
from lcat.nn.models import GAT, GCN, LCAT
from lcat.train import (
    METRICS,
    FitConfig,
    FitResult,
    History,
    MinibatchConfig,
    NonFiniteLoss,
    accuracy,
    build_optimizer,
    fit,
    read_lambdas,
    seed_everything,
)
from lcat.train._tracking import copy_weights


@pytest.fixture
def task():
    data = csbm(n=100, q=0.05, regime="easy", seed=0)
    return data, Split(data.train_mask, data.val_mask, data.test_mask)


def model_of(data, kind=GCN, seed=0, **arguments):
    seed_everything(seed)
    return kind(data.num_features, 8, num_layers=2, out_channels=2, **arguments)


def test_learns_what_can_be_learned(task):
    data, split = task
    result = fit(model_of(data), data, split, FitConfig(epochs=40, lr=0.05), seed=0)
    assert result.test == 1.0
    assert result.history.loss[-1] < 0.1 * result.history.loss[0]
    assert (result.epochs, result.stopped) == (40, "epochs")
    assert len(result.history) == len(result.history.val) == len(result.history.lr) == 40


def test_first_step_is_adam_on_the_training_cross_entropy(task):
    """One epoch done by hand with torch alone gives the same weights."""
    data, split = task
    ours, theirs = model_of(data), model_of(data)
    config = FitConfig(epochs=1, lr=0.01, weight_decay=0.1)
    result = fit(ours, data, split, config)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01, weight_decay=0.1)
    loss = F.cross_entropy(theirs(data.x, data.edge_index)[split.train], data.y[split.train])
    loss.backward()
    optimizer.step()
    assert result.history.loss == [loss.item()]
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("kind", [GCN, GAT, LCAT])
def test_equal_seeds_repeat_bit_for_bit(task, kind):
    data, split = task
    config = FitConfig(epochs=12, lr=0.02)
    runs = []
    for seed in (3, 3, 4):
        model = model_of(data, kind, seed=seed, dropout=0.5)
        result = fit(model, data, split, config, seed=seed)
        runs.append((model.state_dict(), result))
    (one, first), (two, second), (_, third) = runs
    assert first.history == second.history
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert first.history.loss != third.history.loss


def test_model_holds_the_best_epoch(task):
    data, split = task
    # A large step makes validation jump about, so that the best epoch is not the last.
    model = model_of(data, dropout=0.8)
    result = fit(model, data, split, FitConfig(epochs=60, lr=0.3, weight_decay=0.1, patience=None), seed=1)
    scores = list(zip(result.history.val, (-loss for loss in result.history.val_loss), strict=True))
    assert result.best_epoch == scores.index(max(scores))
    assert result.best_epoch < 59
    assert not model.training
    with torch.no_grad():
        logits = model(data.x, data.edge_index)
    assert accuracy(logits[split.val], data.y[split.val]) == result.val == result.history.val[result.best_epoch]
    assert accuracy(logits[split.test], data.y[split.test]) == result.test
    assert float(F.cross_entropy(logits[split.val], data.y[split.val])) == pytest.approx(
        result.history.val_loss[result.best_epoch]
    )


def test_patience_stops_after_so_many_epochs_without_progress(task):
    data, split = task
    result = fit(model_of(data), data, split, FitConfig(epochs=500, lr=1e-12, weight_decay=0.0, patience=7))
    assert result.stopped == "patience"
    assert result.epochs == result.best_epoch + 8


def test_test_labels_decide_nothing(task):
    data, split = task
    honest = fit(model_of(data, dropout=0.5), data, split, FitConfig(epochs=15), seed=0)
    data.y = torch.where(split.test, 1 - data.y, data.y)
    flipped = fit(model_of(data, dropout=0.5), data, split, FitConfig(epochs=15), seed=0)
    assert honest.history.loss == flipped.history.loss
    assert honest.best_epoch == flipped.best_epoch
    assert flipped.test == pytest.approx(1 - honest.test)


def test_lambdas_are_followed(task):
    data, split = task
    result = fit(model_of(data, LCAT, heads=2), data, split, FitConfig(epochs=10, lr=0.1), seed=0)
    assert list(result.lambdas) == ["convs.0", "convs.1"]
    for name, path in result.history.lambdas.items():
        assert len(path) == 11
        assert path[0] == pytest.approx([0.5, 0.5], abs=1e-6)
        assert path[-1] != path[0]
        assert result.lambdas[name] == path[result.best_epoch + 1]
    assert read_lambdas(model_of(data, LCAT, lambda1=1.0, lambda2=0.0))["convs.0"] == [1.0, 0.0]
    assert read_lambdas(model_of(data)) == {}


@pytest.mark.parametrize(("kind", "metric"), [(GCN, "accuracy"), (LCAT, "roc-auc")])
def test_figures_are_those_of_a_loop_written_by_hand(task, kind, metric):
    """Every epoch, bit for bit: masks instead of node numbers, metrics with all checks, weights copied anew."""
    data, split = task
    ours, theirs = model_of(data, kind), model_of(data, kind)
    result = fit(ours, data, split, FitConfig(epochs=15, lr=0.02, weight_decay=0.0), metric=metric)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.02)
    history, states = History(), []
    for _ in range(15):
        theirs.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(data.x, data.edge_index)[split.train], data.y[split.train])
        loss.backward()
        optimizer.step()
        theirs.eval()
        with torch.no_grad():
            logits = theirs(data.x, data.edge_index)
        history.loss.append(loss.item())
        for part in ("train", "val", "test"):
            mask = getattr(split, part)
            getattr(history, part).append(METRICS[metric](logits[mask], data.y[mask]))
        history.val_loss.append(F.cross_entropy(logits[split.val], data.y[split.val]).item())
        states.append({name: value.clone() for name, value in theirs.state_dict().items()})
    for name in ("loss", "train", "val", "test", "val_loss"):
        assert getattr(result.history, name) == getattr(history, name)
    best = max(range(15), key=lambda epoch: (history.val[epoch], -history.val_loss[epoch], -epoch))
    assert result.best_epoch == best
    for name, value in ours.state_dict().items():
        assert torch.equal(value, states[best][name])


def test_copies_of_weights_are_written_again_where_they_fit():
    model = torch.nn.Linear(3, 2)
    first = copy_weights(model)
    pointers = {name: value.data_ptr() for name, value in first.items()}
    with torch.no_grad():
        model.weight.add_(1)
    again = copy_weights(model, into=first)
    assert {name: value.data_ptr() for name, value in again.items()} == pointers
    assert torch.equal(again["weight"], model.weight)
    assert again["weight"].data_ptr() != model.weight.data_ptr()
    assert not again["weight"].requires_grad
    model.double()
    other = copy_weights(model, into=again)
    assert other["weight"].dtype == torch.double
    assert again["weight"].dtype == torch.float
    wider = copy_weights(torch.nn.Linear(4, 2), into=again)
    assert wider["weight"].shape == (2, 4)


def test_huge_logits_are_no_divergence(task):
    """Their sum is infinite in float32, and they are finite."""
    data, split = task

    class Huge(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((data.num_nodes, 2), 3e38))

        def forward(self, x, edge_index):
            return self.weight * 1.0

    result = fit(Huge(), data, split, FitConfig(epochs=2, lr=0.01, weight_decay=0.0))
    assert result.epochs == 2


def test_schedule_and_warmup_reach_the_optimizer(task):
    data, split = task
    config = FitConfig(epochs=4, lr=0.4, schedule="linear", warmup=1)
    assert fit(model_of(data), data, split, config).history.lr == pytest.approx([0.2, 0.4, 0.4 * 2 / 3, 0.4 / 3])


def test_roc_auc_as_metric(task):
    data, split = task
    result = fit(model_of(data), data, split, FitConfig(epochs=20, lr=0.05), metric="roc-auc")
    assert (result.metric, result.test) == ("roc-auc", 1.0)


def test_clip_norm_bounds_the_step(task):
    data, split = task
    model = model_of(data)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    config = FitConfig(epochs=1, optimizer="sgd", lr=1.0, weight_decay=0.0, clip_norm=1e-3)
    fit(model, data, split, config)
    moved = math.sqrt(
        sum(float((a - b).detach().square().sum()) for a, b in zip(model.parameters(), before, strict=True))
    )
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_nan_stops_with_the_settings_in_the_message(task):
    data, split = task
    model = model_of(data)
    good = {key: value.clone() for key, value in model.state_dict().items()}
    data.x[split.train.nonzero()[0]] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"became nan in epoch 0 \(optimizer adam, lr 0.01.*lower lr"):
        fit(model, data, split)
    assert all(torch.equal(value, good[key]) for key, value in model.state_dict().items())


def test_divergence_is_seen_and_the_last_good_weights_kept(task):
    data, split = task
    model = model_of(data)
    with pytest.raises(NonFiniteLoss, match="lr"):
        fit(model, data, split, FitConfig(epochs=50, optimizer="sgd", lr=1e30))
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_ctrl_c_passes_and_leaves_the_best_weights(task):
    data, split = task
    model = model_of(data)
    seen = []

    def stop(epoch, history):
        seen.append((history.val[-1], -history.val_loss[-1], {k: v.clone() for k, v in model.state_dict().items()}))
        if epoch == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, data, split, FitConfig(epochs=50, lr=0.05), on_epoch=stop)
    best = max(seen, key=lambda entry: entry[:2])[2]
    assert len(seen) == 6
    assert all(torch.equal(value, best[key]) for key, value in model.state_dict().items())


def test_result_survives_json(task):
    data, split = task
    result = fit(model_of(data, LCAT), data, split, FitConfig(epochs=3))
    again = FitResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert "history" not in result.to_dict(history=False)
    assert len(FitResult.from_dict(result.to_dict(history=False)).history) == 0


def test_what_is_no_number_is_null_in_json_and_nan_again():
    nan = math.nan
    history = History([1.0, 0.5], [nan, 0.25], [nan, nan], [nan, 0.75], [nan, 0.5], [0.1, 0.1], {"a": [[0.5, nan]]})
    result = FitResult("accuracy", nan, 0.75, 0.5, 1, 2, "epochs", 1.5, {"a": [0.5, nan]}, history)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["history"]["val"] == [None, 0.75]
    again = FitResult.from_dict(json.loads(text))
    assert repr(again) == repr(result)  # nan differs from itself
    old = json.dumps(asdict(result))  # as it was written once, with NaN
    assert "NaN" in old
    assert repr(FitResult.from_dict(json.loads(old))) == repr(result)


def test_progress_bar_goes_to_standard_error(task, capsys):
    data, split = task
    fit(model_of(data), data, split, FitConfig(epochs=3), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "training" in err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"epochs": 0}, "epochs must be a whole number, at least 1; got 0"),
        ({"patience": 0}, "patience must be a whole number, at least 1, or None to train all epochs; got 0"),
        ({"lr": -1.0}, "lr must be positive; got -1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more; got -1.0"),
        ({"clip_norm": -1.0}, "clip_norm must be positive, or None; got -1.0"),
    ],
)
def test_config_refuses(arguments, match):
    with pytest.raises(ValueError, match=match):
        FitConfig(**arguments)


def test_task_refusals(task):
    data, split = task
    with pytest.raises(ValueError, match="split has 50 nodes and the data 100"):
        fit(model_of(data), data, Split(split.train[:50], split.val[:50], split.test[:50]))
    data.y[0] = -1
    with pytest.raises(ValueError, match="negative label"):
        fit(model_of(data), data, split)
    data.y[0] = 2
    with pytest.raises(ValueError, match=r"C = 3 classes or more; got \[100, 2\]"):
        fit(model_of(data), data, split)
    data.y = data.y.float()
    with pytest.raises(ValueError, match="vector of integer labels"):
        fit(model_of(data), data, split)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_seed_refuses(seed):
    with pytest.raises(ValueError, match="whole number"):
        seed_everything(seed)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool])
def test_labels_of_any_integer_type(task, dtype):
    data, split = task
    expected = fit(model_of(data), data, split, FitConfig(epochs=2), seed=0)
    narrow = data.clone()
    narrow.y = data.y.to(dtype)
    assert fit(model_of(data), narrow, split, FitConfig(epochs=2), seed=0).history == expected.history
    assert narrow.y.dtype == dtype


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("y", lambda data: data.y.numpy(), "got ndarray: use data.y = torch.as_tensor"),
        ("y", lambda data: data.y.tolist(), "got list: use data.y = torch.as_tensor"),
        ("y", lambda data: data.y.to(torch.complex64), "must be a vector of integer labels"),
        ("x", lambda data: None, "as data.x, got None: set data.x"),
        ("x", lambda data: data.x.numpy(), "as data.x, got ndarray"),
        ("edge_index", lambda data: None, "expected edges in data.edge_index, got None"),
    ],
)
def test_data_of_another_kind(task, name, value, message):
    data, split = task
    other = data.clone()
    setattr(other, name, value(data))
    with pytest.raises(ValueError, match=message):
        fit(model_of(data), other, split)


def test_arguments_of_another_kind(task):
    data, split = task
    model = model_of(data)
    with pytest.raises(TypeError, match=r"got tuple: pass Split\(\*split\)"):
        fit(model, data, (split.train, split.val, split.test))
    with pytest.raises(TypeError, match=r"expected a lcat.data.Split, got None"):
        fit(model, data, None)
    with pytest.raises(TypeError, match=r"got dict: pass FitConfig\(\*\*config\)"):
        fit(model, data, split, {"epochs": 2})
    with pytest.raises(TypeError, match=r"as the model, got Data: call fit\(model, data, split\)"):
        fit(data, model, split)
    with pytest.raises(TypeError, match="got the class GCN: make one first"):
        fit(GCN, data, split)
    with pytest.raises(TypeError, match="as the model, got function"):
        fit(lambda x, edge_index: x, data, split)
    with pytest.raises(TypeError, match=r"got HeteroData: data.to_homogeneous\(\)"):
        fit(model, HeteroData(), split)
    with pytest.raises(TypeError, match="as 'on_epoch', got 'x'"):
        fit(model, data, split, on_epoch="x")
    with pytest.raises(ValueError, match="on the device 'meta'"):
        fit(model_of(data).to("meta"), data, split)
    with pytest.raises(TypeError, match=r"expected a model, a torch.nn.Module, got list"):
        read_lambdas([model])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda out: (out, out), TypeError, "got tuple: wrap the model"),
        (lambda out: {"logits": out}, TypeError, "got dict: wrap the model"),
        (lambda out: None, TypeError, "got None: wrap the model"),
        (lambda out: out.detach().numpy(), TypeError, "got ndarray: wrap the model"),
        (lambda out: out.detach(), ValueError, "got logits without a gradient"),
        (lambda out: out.to(torch.complex64), ValueError, "got a tensor torch.complex64"),
        (lambda out: out.argmax(1), ValueError, "got a tensor torch.int64"),
    ],
)
def test_models_without_logits(task, change, error, message):
    data, split = task

    class Changed(GCN):
        def forward(self, *arguments):
            return change(super().forward(*arguments))

    with pytest.raises(error, match=message):
        fit(model_of(data, Changed), data, split, FitConfig(epochs=2))


@pytest.mark.parametrize("setting", [{"autocast": True}, {"accumulate": 2}, {"compile": "eager"}, {"eval_every": 3}])
def test_settings_that_only_minibatches_have_are_refused(task, setting):
    data, split = task
    (name,) = setting
    with pytest.raises(ValueError, match=rf"fit has no {name}=.*train with fit_minibatch, or pass a FitConfig"):
        fit(model_of(data), data, split, MinibatchConfig(epochs=2, **setting))


def test_subclasses_of_the_settings_are_accepted(task):
    @dataclass(frozen=True)
    class Mine(FitConfig):
        note: str = ""

    data, split = task
    for config in (Mine(epochs=2, note="first"), MinibatchConfig(epochs=2)):
        assert fit(model_of(data), data, split, config).epochs == 2


def test_a_setting_that_does_not_exist():
    with pytest.raises(
        TypeError, match=r"FitConfig has no setting 'epoch' \(did you mean epochs.*expected some of epochs"
    ):
        FitConfig(epoch=3)
    with pytest.raises(TypeError, match=r"MinibatchConfig has no setting 'accumulation'.*accumulate"):
        MinibatchConfig(accumulation=3)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_call_without_gradients_is_named(context):
    data = csbm(n=40, seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    with pytest.raises(ValueError, match=r"got one under torch\.no_grad\(\) or .*: call it outside"), context():
        fit(GCN(data.num_features, 4, num_layers=2, out_channels=2), data, split)


@pytest.mark.parametrize("layer", [GCN, GAT, LCAT])
def test_tensors_of_inference_mode(layer):
    """Data made there are trained on as any other; a model made there cannot be trained."""
    with torch.inference_mode():
        made = csbm(n=60, q=0.1, seed=0)
        split = Split(made.train_mask, made.val_mask, made.test_mask)
        frozen = layer(made.num_features, 4, num_layers=2, out_channels=2)
    data = csbm(n=60, q=0.1, seed=0)
    results = []
    for graph, parts in ((made, split), (data, Split(data.train_mask, data.val_mask, data.test_mask))):
        torch.manual_seed(0)
        model = layer(data.num_features, 4, num_layers=2, out_channels=2)
        results.append(fit(model, graph, parts, FitConfig(epochs=3), seed=0).history.loss)
    assert results[0] == results[1]
    with pytest.raises(ValueError, match=r"expected a model that can be trained, got 'convs.* made under torch\.inf"):
        fit(frozen, data, Split(data.train_mask, data.val_mask, data.test_mask), FitConfig(epochs=1))


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (nn.CrossEntropyLoss, TypeError, r"got the class CrossEntropyLoss: pass CrossEntropyLoss\(\)"),
        (nn.CrossEntropyLoss(reduction="none"), TypeError, r"expected one number from 'loss'.*reduction='mean'"),
        (lambda logits, y: 1.0, TypeError, r"expected one number from 'loss'.*got float"),
        (lambda logits, y: None, TypeError, r"expected one number from 'loss'.*got None"),
        (nn.BCEWithLogitsLoss(), ValueError, r"cannot be computed from the logits of the training nodes, .*\[\d+, 2\]"),
        (lambda logits: logits.mean(), ValueError, r"cannot be computed from the logits .* positional arguments?"),
    ],
)
def test_losses_that_are_none(loss, error, words):
    data = csbm(n=60, q=0.2, regime="easy", seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    model = GCN(data.num_features, 4, num_layers=1, out_channels=2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=words):
        fit(model, data, split, FitConfig(epochs=2), loss=loss)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Activated(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.gnn, self.function = GCN(4, 4, num_layers=1, out_channels=2), function

    def forward(self, x, edge_index):
        return self.function(self.gnn(x, edge_index))


def test_probabilities_in_the_place_of_logits_are_a_warning():
    data = csbm(n=60, q=0.2, regime="easy", seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    with pytest.warns(UserWarning, match=r"the model returns probabilities .* remove the softmax"):
        fit(Activated(lambda logits: logits.softmax(-1)), data, split, FitConfig(epochs=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in (lambda logits: logits.log_softmax(-1), torch.sigmoid, torch.relu):
            fit(Activated(function), data, split, FitConfig(epochs=1))
        own = lambda probabilities, y: F.nll_loss(probabilities.log(), y)  # noqa: E731
        fit(Activated(lambda logits: logits.softmax(-1)), data, split, FitConfig(epochs=1), loss=own)


def test_numbers_of_numpy_as_the_decay():
    data = csbm(n=60, q=0.2, regime="easy", seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    results = []
    for ema in (0.5, np.float64(0.5), np.float32(0.5)):
        torch.manual_seed(0)
        model = GCN(data.num_features, 4, num_layers=1, out_channels=2)
        results.append(fit(model, data, split, FitConfig(epochs=3), ema=ema, seed=0).history)
    assert results[0] == results[1] == results[2]
    with pytest.raises(ValueError, match="expected ema as a number between 0 and 1"):
        fit(model, data, split, FitConfig(epochs=3), ema=True)


def test_lazy_models_must_run_first():
    graph = csbm(n=60, seed=0)
    split = Split(graph.train_mask, graph.val_mask, graph.test_mask)
    model = pyg.GCN(-1, 8, 2, 2)
    build_optimizer("adam", model, lr=0.01)  # as torch's own
    with pytest.raises(ValueError, match=r"weights have shapes, got 'convs\.0\.lin\.weight' without one: run the lazy"):
        fit(model, graph, split, FitConfig(epochs=1))
    with torch.no_grad():
        model(graph.x, graph.edge_index)
    assert fit(model, graph, split, FitConfig(epochs=1)).epochs == 1
