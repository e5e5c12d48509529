"""Training on mini-batches: what a step is, what is kept, and that an interrupted run goes on as if it had not been."""

from __future__ import annotations

import copy
import math
import random
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Batch, Data
from torch_geometric.loader import RandomNodeLoader

from lcat.data import SeededLoader, Split, csbm, neighbor_loader, random_walk_loader
from lcat.nn import LCATConv
from lcat.nn.models import GAT, GCN, LCAT
from lcat.train import (
    CheckpointError,
    FitConfig,
    MinibatchConfig,
    NodeObjective,
    NonFiniteLoss,
    Processes,
    WholeGraph,
    fit,
    fit_minibatch,
    layerwise_inference,
    load_checkpoint,
    minibatch,
    save_checkpoint,
    seed_everything,
)


@pytest.fixture
def data():
    return csbm(n=160, q=0.05, regime="easy", seed=0)


def make(data, model_class=GAT, dropout=0.3, seed=0, **options):
    seed_everything(seed)
    model = model_class(data.num_features, 8, num_layers=2, out_channels=2, dropout=dropout, **options)
    return model, WholeGraph(data, {"train": data.train_mask, "val": data.val_mask, "test": data.test_mask})


def loader_of(data, batch_size=24, fanout=(4, 3), **options):
    return neighbor_loader(data, list(fanout), data.train_mask, batch_size, shuffle=True, backend="torch", **options)


def run(data, config, loader=None, model_class=GAT, **options):
    model, evaluate = make(data, model_class)
    return model, fit_minibatch(model, loader or loader_of(data), evaluate, config, seed=1, **options)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_learns(data):
    model, result = run(data, MinibatchConfig(epochs=15, lr=0.02))
    assert result.test > 0.9
    assert result.history.loss[-1] < 0.5 * result.history.loss[0]
    assert result.val == max(result.history.val) == result.history.val[result.best_epoch]
    assert not model.training


def test_same_seed_same_result(data):
    first, one = run(data, MinibatchConfig(epochs=3))
    second, two = run(data, MinibatchConfig(epochs=3), loader_of(data, num_workers=1))
    assert equal(weights(first), weights(second))
    assert one.history == two.history
    _, three = run(data, MinibatchConfig(epochs=3), loader_of(data, seed=5))
    assert three.history.loss != one.history.loss


@pytest.mark.parametrize("model_class", [GAT, LCAT])
def test_accumulated_batches_are_one_batch(data, model_class):
    """Batches of 8 accumulated by 4, the last of an epoch short, take the steps of batches of 32."""
    results = []
    for size, accumulate in ((32, 1), (8, 4)):
        model, evaluate = make(data, model_class, dropout=0.0)
        model.double()
        doubled = Data(x=data.x.double(), edge_index=data.edge_index, y=data.y, train_mask=data.train_mask)
        # Of all neighbors two hops beyond what the layers see nothing depends on the batch.
        loader = loader_of(doubled, size, (-1,) * 4)
        evaluate.x = doubled.x
        config = MinibatchConfig(epochs=2, accumulate=accumulate)
        results.append((model, fit_minibatch(model, loader, evaluate, config, seed=1)))
    (first, one), (second, two) = results
    torch.testing.assert_close(weights(first), weights(second), atol=1e-10, rtol=1e-10)
    assert one.history.loss == pytest.approx(two.history.loss, abs=1e-12)


def test_a_step_takes_the_mean_gradient(data):
    """One step of SGD on one batch of all training nodes is that of the full graph."""
    model, evaluate = make(data, dropout=0.0)
    twin = copy.deepcopy(model)
    count = int(data.train_mask.sum())
    config = MinibatchConfig(epochs=1, optimizer="sgd", lr=0.1, weight_decay=0.0, optimizer_options={"momentum": 0.0})
    result = fit_minibatch(model, loader_of(data, count, (-1, -1)), evaluate, config)
    loss = F.cross_entropy(twin(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    loss.backward()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
    torch.testing.assert_close(weights(model), weights(twin), atol=1e-6, rtol=1e-5)
    assert result.history.loss == pytest.approx([float(loss.detach())], abs=1e-6)


class Killed(BaseException):
    pass


def kill_at_save(monkeypatch, number):
    """Stop the process, as far as one can in a test, right after the n-th checkpoint."""
    real, saves = minibatch.save_checkpoint, []

    def save(path, state):
        real(path, state)
        saves.append(path)
        if len(saves) == number:
            raise Killed

    monkeypatch.setattr(minibatch, "save_checkpoint", save)


@pytest.mark.parametrize("optimizer", ["adam", "pogo"])
def test_resumes_bit_for_bit(data, tmp_path, monkeypatch, optimizer):
    """Killed after a random checkpoint, 10 times for each optimizer, in mid-epoch and between epochs."""
    config = MinibatchConfig(
        epochs=5, lr=0.02, optimizer=optimizer, schedule="cosine", warmup=1, accumulate=2, clip_norm=1.0
    )
    unbroken, whole = run(data, config, loader_of(data, 16))
    generator = random.Random(0)
    for number in generator.sample(range(1, 16), 10):
        path = tmp_path / f"{optimizer}-{number}.ckpt"
        with monkeypatch.context() as patch:
            kill_at_save(patch, number)
            with pytest.raises(Killed):
                run(data, config, loader_of(data, 16), checkpoint=path, checkpoint_steps=1)
        seed_everything(number)  # a new process has other generators
        resumed, result = run(data, config, loader_of(data, 16), checkpoint=path, checkpoint_steps=1)
        assert equal(weights(resumed), weights(unbroken)), number
        assert result.history == whole.history
        assert (result.best_epoch, result.test, result.lambdas) == (whole.best_epoch, whole.test, whole.lambdas)


def test_killed_many_times(data, tmp_path, monkeypatch):
    config = MinibatchConfig(epochs=3, lr=0.02)
    unbroken, whole = run(data, config, model_class=LCAT)
    path, kills = tmp_path / "run.ckpt", 0
    while True:
        with monkeypatch.context() as patch:
            kill_at_save(patch, 2)
            try:
                resumed, result = run(data, config, model_class=LCAT, checkpoint=path, checkpoint_steps=1)
                break
            except Killed:
                kills += 1
    assert kills >= 5
    assert equal(weights(resumed), weights(unbroken))
    assert result.history == whole.history


def test_a_finished_run_is_not_run_again(data, tmp_path):
    config = MinibatchConfig(epochs=3)
    model, result = run(data, config, checkpoint=tmp_path / "run.ckpt")
    again, same = run(data, config, checkpoint=tmp_path / "run.ckpt")
    assert equal(weights(model), weights(again))
    assert same.history == result.history
    longer, more = run(data, MinibatchConfig(epochs=5), checkpoint=tmp_path / "run.ckpt")
    fresh, other = run(data, MinibatchConfig(epochs=5))
    assert more.history == other.history
    assert equal(weights(longer), weights(fresh))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 0.5}, "with lr 0.01, and now it is 0.5"),
        ({"accumulate": 2}, "with accumulate 1, and now it is 2"),
        ({"schedule": "cosine"}, "with schedule 'constant', and now it is 'cosine'"),
        ({"optimizer_options": {"eps": 1e-3}}, "optimizer_options"),
    ],
)
def test_a_checkpoint_of_other_settings(data, tmp_path, change, words):
    run(data, MinibatchConfig(epochs=1), checkpoint=tmp_path / "run.ckpt")
    before = (tmp_path / "run.ckpt").read_bytes()
    with pytest.raises(CheckpointError, match=words):
        run(data, MinibatchConfig(epochs=1, **change), checkpoint=tmp_path / "run.ckpt")
    assert (tmp_path / "run.ckpt").read_bytes() == before


def test_a_checkpoint_of_more_epochs_than_are_asked_for(data, tmp_path):
    path = tmp_path / "run.ckpt"
    run(data, MinibatchConfig(epochs=3), checkpoint=path)
    with pytest.raises(CheckpointError, match="has trained for 3 epochs, and now epochs is 2: ask for as many or more"):
        run(data, MinibatchConfig(epochs=2), checkpoint=path)
    assert run(data, MinibatchConfig(epochs=3), checkpoint=path)[1].epochs == 3


def mean_square(logits, y):
    return (logits.softmax(dim=1) - F.one_hot(y, logits.shape[1])).square().sum(dim=1)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (NodeObjective(mean_square), "the objective's loss 'cross-entropy', and now it is 'mean_square'"),
        (NodeObjective(mask="train_mask"), "the objective's mask None, and now it is 'train_mask'"),
        (NodeObjective(trim=True), "the objective's trim False, and now it is True"),
    ],
)
def test_a_checkpoint_of_another_objective(data, tmp_path, objective, words):
    path = tmp_path / "run.ckpt"
    run(data, MinibatchConfig(epochs=1), checkpoint=path)
    with pytest.raises(CheckpointError, match=words):
        run(data, MinibatchConfig(epochs=2), checkpoint=path, objective=objective)


def test_a_checkpoint_of_another_model_or_loader(data, tmp_path):
    run(data, MinibatchConfig(epochs=1), checkpoint=tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match=r"is of another model: .*raw_lambda1"):
        run(data, MinibatchConfig(epochs=2), model_class=LCAT, checkpoint=tmp_path / "run.ckpt")
    with pytest.raises(CheckpointError, match="batches per epoch 4, and now it is 2"):
        run(data, MinibatchConfig(epochs=2), loader_of(data, 48), checkpoint=tmp_path / "run.ckpt")


def test_a_checkpoint_of_another_seed_or_of_other_batches(data, tmp_path):
    """Each with the same number of batches per epoch."""
    path = tmp_path / "run.ckpt"

    def go_on(loader, seed=1):
        model, evaluate = make(data)
        return fit_minibatch(model, loader, evaluate, MinibatchConfig(epochs=1), seed=seed, checkpoint=path)

    def walks(**options):
        return random_walk_loader(data, num_steps=4, **{"batch_size": 24, "walk_length": 2, **options})

    def parts(seed):
        return SeededLoader(RandomNodeLoader(data, 4, shuffle=True), seed)

    go_on(loader_of(data))
    fewer = data.train_mask.clone()
    fewer[fewer.nonzero()[0]] = False
    for loader, words in (
        (loader_of(data, seed=3), "with the loader's seed 0, and now it is 3"),
        (loader_of(data, 25), "with the loader's batch_size 24, and now it is 25"),
        (loader_of(data, fanout=(4, 2)), r"with the loader's num_neighbors '\[4, 3\]', and now it is '\[4, 2\]'"),
        (neighbor_loader(data, [4, 3], fewer, 24, shuffle=True), "with the loader's count 96, and now it is 95"),
        (neighbor_loader(data, [4, 3], data.train_mask, 24), "with the loader's shuffle True, and now it is False"),
    ):
        with pytest.raises(CheckpointError, match=words):
            go_on(loader)
    with pytest.raises(CheckpointError, match="with seed 1, and now it is 2: use the same settings"):
        go_on(loader_of(data), seed=2)
    for first, second, words in (
        (walks(), walks(walk_length=3), "with the loader's walk_length 2, and now it is 3"),
        (walks(), walks(batch_size=12), "with the loader's batch_size 24, and now it is 12"),
        (parts(0), parts(1), "with the loader's seed 0, and now it is 1"),
    ):
        assert first.signature() == {**second.signature(), **first.signature()} != second.signature()
        path.unlink()
        model, evaluate = make(data)
        options = {"objective": NodeObjective(mask="train_mask"), "checkpoint": path}
        fit_minibatch(model, first, evaluate, MinibatchConfig(epochs=1), **options)
        with pytest.raises(CheckpointError, match=words):
            fit_minibatch(model, second, evaluate, MinibatchConfig(epochs=1), **options)


def test_the_number_of_workers_and_processes_is_not_in_a_signature(data):
    wanted = loader_of(data).signature()
    assert loader_of(data, fanout=[4, 3], num_workers=1).signature() == wanted
    assert loader_of(data, rank=1, world_size=2).signature() == wanted
    walks = [random_walk_loader(data, 5, 2, 4, rank=rank, world_size=2).signature() for rank in range(2)]
    assert walks[0] == walks[1]


def test_a_checkpoint_without_the_source_of_its_batches(data, tmp_path):
    """As the first ones were written."""
    config = MinibatchConfig(epochs=2)
    _, whole = run(data, config, checkpoint=tmp_path / "run.ckpt")
    state = load_checkpoint(tmp_path / "run.ckpt")
    del state["source"]
    save_checkpoint(tmp_path / "run.ckpt", state)
    assert run(data, config, checkpoint=tmp_path / "run.ckpt")[1].history == whole.history


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    path = tmp_path / "run.ckpt"
    run(data, MinibatchConfig(epochs=1), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="damaged"):
        run(data, MinibatchConfig(epochs=2), checkpoint=path)


def test_patience_and_gaps_in_evaluation(data, tmp_path):
    config = MinibatchConfig(epochs=50, patience=4, lr=1e-9, eval_every=2)
    _, result = run(data, config, checkpoint=tmp_path / "run.ckpt")
    assert (result.stopped, result.best_epoch, result.epochs) == ("patience", 1, 6)
    assert [math.isnan(value) for value in result.history.val] == [True, False] * 3
    _, again = run(data, config, checkpoint=tmp_path / "run.ckpt")
    assert (again.stopped, again.epochs) == ("patience", 6)


def test_patience_below_the_gap_waits_for_a_measurement(data):
    """Epochs that were not measured say nothing about the best one."""
    seen = iter([0.5, 0.6, 0.6, 0.9])
    model, _ = make(data)
    config = MinibatchConfig(epochs=50, patience=2, eval_every=4)
    result = fit_minibatch(model, loader_of(data, 96), lambda model: {"val": next(seen), "test": 0.0}, config)
    assert (result.stopped, result.best_epoch, result.epochs) == ("patience", 7, 12)


def test_holds_the_best_epoch(data):
    model, result = run(data, MinibatchConfig(epochs=12, lr=0.3, weight_decay=0.1, patience=None))
    assert result.best_epoch < 11
    _, evaluate = make(data)
    assert evaluate(model)["val"] == result.val


def test_ctrl_c_leaves_the_best_weights_and_the_checkpoint(data, tmp_path):
    seen = []
    model, evaluate = make(data)

    def stop(epoch, history):
        seen.append((history.val[-1], -history.val_loss[-1], weights(model)))
        if epoch == 3:
            raise KeyboardInterrupt

    config = MinibatchConfig(epochs=9, lr=0.05)
    with pytest.raises(KeyboardInterrupt):
        fit_minibatch(model, loader_of(data), evaluate, config, seed=1, on_epoch=stop, checkpoint=tmp_path / "run.ckpt")
    assert equal(weights(model), max(seen, key=lambda entry: entry[:2])[2])
    assert load_checkpoint(tmp_path / "run.ckpt")["place"][:2] == [4, 0]
    resumed, result = run(data, config, checkpoint=tmp_path / "run.ckpt")
    unbroken, whole = run(data, config)
    assert result.history == whole.history
    assert equal(weights(resumed), weights(unbroken))


def test_bfloat16_and_compile(data):
    _, plain = run(data, MinibatchConfig(epochs=6, lr=0.02), model_class=GCN)
    model, half = run(data, MinibatchConfig(epochs=6, lr=0.02, autocast=True), model_class=GCN)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert half.history.loss != plain.history.loss
    assert half.history.loss == pytest.approx(plain.history.loss, abs=0.05)
    _, compiled = run(data, MinibatchConfig(epochs=2, lr=0.02, compile="eager"), model_class=GCN)
    assert compiled.history.loss == pytest.approx(plain.history.loss[:2], abs=1e-5)


@pytest.mark.long
def test_compiled_by_inductor(data):
    """Batches of varying sizes through torch's own compiler."""
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    torch.use_deterministic_algorithms(False)
    losses = []
    for compile_ in (False, True):
        model, evaluate = make(data, dropout=0.0)
        config = MinibatchConfig(epochs=2, lr=0.02, compile=compile_)
        losses.append(fit_minibatch(model, loader_of(data), evaluate, config, seed=1).history.loss)
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_a_loss_that_is_not_finite_never_reaches_the_weights(data):
    data.x[data.train_mask.nonzero()[0]] = float("nan")
    model, evaluate = make(data)
    before = weights(model)
    with pytest.raises(NonFiniteLoss, match=r"nan in epoch 0, batch .*lower lr"):
        fit_minibatch(model, loader_of(data), evaluate)
    assert equal(weights(model), before)


def test_progress_goes_to_standard_error(data, capsys):
    run(data, MinibatchConfig(epochs=2), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "training" in err


@pytest.mark.parametrize(("kind", "shape"), [("cross-entropy", (6,)), ("cross-entropy", (6, 1)), ("binary", (6, 3))])
def test_objective(kind, shape):
    logits = torch.randn(8, 3)
    y = torch.randint(0, 2, (8, *shape[1:]))
    batch = Data(x=logits, edge_index=torch.empty(2, 0).long(), y=y.float() if kind == "binary" else y, batch_size=6)
    total, count = NodeObjective(kind)(lambda x, edge_index: x, batch)
    if kind == "binary":
        wanted = F.binary_cross_entropy_with_logits(logits[:6], y[:6].float())
    else:
        wanted = F.cross_entropy(logits[:6], y[:6].flatten())
    assert count == 6
    torch.testing.assert_close(total / count, wanted)


def test_objective_on_a_mask():
    batch = Data(x=torch.randn(5, 2), edge_index=torch.empty(2, 0).long(), y=torch.tensor([0, -1, 1, -1, 0]))
    batch.train_mask = batch.y >= 0
    total, count = NodeObjective(mask="train_mask")(lambda x, edge_index: x, batch)
    assert count == 3
    torch.testing.assert_close(total, F.cross_entropy(batch.x[[0, 2, 4]], batch.y[[0, 2, 4]], reduction="sum"))


@pytest.mark.parametrize("loss", [F.cross_entropy, torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))])
def test_a_loss_that_is_a_mean_would_be_divided_twice(loss, data):
    batch = next(iter(loader_of(data)))
    logits = torch.zeros(batch.num_nodes, 2)
    with pytest.raises(ValueError, match=r"expected one loss per node.*\[\d+\], got \[\].*reduction='none'"):
        NodeObjective(loss)(lambda x, edge_index: logits, batch)
    total, count = NodeObjective(lambda logits, y: F.cross_entropy(logits, y, reduction="none"))(
        lambda x, edge_index: logits, batch
    )
    assert float(total) == pytest.approx(count * math.log(2))


def test_refusals(data):
    with pytest.raises(ValueError, match="accumulate must be a whole number, at least 1; got 0"):
        MinibatchConfig(accumulate=0)
    with pytest.raises(ValueError, match="loss must be one of cross-entropy, binary or a function; got 'mse'"):
        NodeObjective("mse")
    model, evaluate = make(data)
    with pytest.raises(ValueError, match="must return 'val' and 'test'"):
        fit_minibatch(model, loader_of(data), lambda model: {"val": 1.0}, MinibatchConfig(epochs=1))
    empty = neighbor_loader(data, [2], torch.zeros(160).bool(), backend="torch")
    with pytest.raises(ValueError, match="the loader has no batch"):
        fit_minibatch(model, empty, evaluate)
    data.y[data.train_mask] = 2
    with pytest.raises(ValueError, match=r"labels must lie in 0 .. 1; got 2 .. 2"):
        fit_minibatch(model, loader_of(data), evaluate)
    data.y[data.train_mask] = -1
    with pytest.raises(ValueError, match=r"labels must lie in 0 .. 1; got -1 .. -1"):
        fit_minibatch(model, loader_of(data), evaluate)


# Labels that are not known #############################################################################


def tasks_of(data, unknown):
    y = torch.randint(2, (data.num_nodes, 3), generator=torch.Generator().manual_seed(0)).float()
    y[unknown] = torch.nan
    return y


def test_unknown_labels_of_binary_tasks_are_left_out():
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[1, 0, 1], [torch.nan, 1, 0], [torch.nan] * 3, [0, 0, 0], [torch.nan, torch.nan, 1], [1, 1, 1]])
    total, count = NodeObjective("binary").total(logits, y)
    by_hand, nodes = torch.zeros((), dtype=torch.float64), 0
    for row, labels in zip(logits, y.double(), strict=True):
        known = ~labels.isnan()
        if known.any():
            nodes += 1
            by_hand = by_hand + F.binary_cross_entropy_with_logits(row[known], labels[known])
    assert count == nodes == 5
    torch.testing.assert_close(total, by_hand)
    [gradient] = torch.autograd.grad(total, logits)
    assert bool((gradient[y.isnan()] == 0).all())
    assert bool((gradient[~y.isnan()] != 0).all())
    whole = torch.ones(6, 3)
    assert float(NodeObjective("binary").total(logits, whole)[0]) == float(
        F.binary_cross_entropy_with_logits(logits, whole.double(), reduction="none").mean(dim=1).sum()
    )


def test_tasks_with_unknown_labels_train(data):
    data.y = tasks_of(data, (slice(None, None, 4), 0))
    data.y[::10] = torch.nan
    seed_everything(0)
    model = GAT(data.num_features, 8, num_layers=1, out_channels=3)
    evaluate = WholeGraph(
        data, {"val": data.val_mask, "test": data.test_mask}, lambda logits, y: 0.5, "binary", rows=50
    )
    result = fit_minibatch(
        model, loader_of(data, 48, (5,)), evaluate, MinibatchConfig(epochs=3), objective=NodeObjective("binary"), seed=0
    )
    assert all(map(math.isfinite, [*result.history.loss, *result.history.val_loss]))


@pytest.mark.parametrize(
    ("objective", "y", "words"),
    [
        (NodeObjective("binary"), [[1.0, -1.0, 0.0]], r"must be 0 or 1, or nan where unknown; got -1 .. 1"),
        (NodeObjective("binary"), [[1.0, 2.0, 0.0]], r"must be 0 or 1, or nan where unknown; got 0 .. 2"),
        (NodeObjective("binary"), [[1.0]], r"of the logits' shape \[1, 3\]; got \[1, 1\]"),
        (NodeObjective(), [torch.nan], r"integer labels .*, 1 of them nan: make them integers, and leave unlabeled"),
        (
            NodeObjective(lambda logits, y: (logits[:, 0] - y) ** 2),
            [torch.nan],
            "1 of 1 nodes have labels that are nan",
        ),
        (NodeObjective(lambda logits, y: 1.0), [0], r"expected one loss per node from 'loss', \[1\], got float"),
        (NodeObjective(lambda logits, y: logits), [0], r"expected one loss per node from 'loss', \[1\], got \[1, 3\]"),
    ],
)
def test_labels_and_losses_that_are_refused(objective, y, words):
    with pytest.raises(ValueError, match=words):
        objective.total(torch.zeros(1, 3), torch.tensor(y))


def test_masks_of_an_objective():
    batch = Data(x=torch.randn(4, 2), y=torch.zeros(4).long(), edge_index=torch.empty(2, 0).long(), batch_size=4)
    batch.numbers = torch.tensor([0, 1, 1, 0])
    for name, words in (("mine", "'mine' in the batch, got none"), ("numbers", "got torch.int64")):
        with pytest.raises(ValueError, match=words):
            NodeObjective(mask=name)(lambda x, edge_index: x, batch)
    batch.y = None
    with pytest.raises(ValueError, match="the batch has no labels 'y'"):
        NodeObjective()(lambda x, edge_index: x, batch)


# Steps and loaders ####################################################################################


def test_an_epoch_without_a_node_is_refused(data):
    data.mine = torch.zeros(160, dtype=torch.bool)
    model, evaluate = make(data)
    before = weights(model)
    with pytest.raises(
        ValueError, match=r"at least one node to train on in an epoch, got none in epoch 0 with 4 batches"
    ):
        fit_minibatch(model, loader_of(data), evaluate, objective=NodeObjective(mask="mine"))
    assert equal(weights(model), before)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "pogo"])
def test_a_step_without_a_node_changes_nothing(data, optimizer):
    """The other steps are those of a run that has no such batch."""
    data.mine = torch.arange(160) >= 120

    class Some:
        """Batches of 40 nodes, the first three without one of them."""

        def __init__(self, first):
            self.first = first

        def __len__(self):
            return 4 - self.first

        def epoch(self, epoch, batch=0):
            for number in range(self.first + batch, 4):
                nodes = torch.arange(40 * number, 40 * (number + 1))
                yield Data(x=data.x[nodes], y=data.y[nodes], mine=data.mine[nodes], edge_index=torch.empty(2, 0).long())

    config = MinibatchConfig(epochs=2, lr=0.1, weight_decay=0.1, optimizer=optimizer)
    results = []
    for first in (0, 3):
        model, evaluate = make(data, dropout=0.0)
        result = fit_minibatch(model, Some(first), evaluate, config, objective=NodeObjective(mask="mine"))
        results.append((weights(model), result.history.loss))
    assert equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


@pytest.mark.parametrize(
    "make_loader", [lambda data: [data], lambda data: data, lambda data: RandomNodeLoader(data, 2)]
)
def test_other_loaders_are_told_the_way(data, make_loader):
    model, evaluate = make(data)
    with pytest.raises(TypeError, match=r"got (list|Data|RandomNodeLoader): use one of lcat.data, or .*SeededLoader"):
        fit_minibatch(model, make_loader(data), evaluate)


@pytest.mark.parametrize("kind", ["neighbor", "walk"])
def test_a_loader_of_another_process_is_refused(data, kind):
    model, evaluate = make(data)
    if kind == "neighbor":
        loader = loader_of(data, rank=1, world_size=2)
    else:
        loader = random_walk_loader(data, 5, 2, 3, rank=1, world_size=2)
    with pytest.raises(ValueError, match=r"made for process 1 of 2, and this is process 0 of 1: pass rank=group\.rank"):
        fit_minibatch(model, loader, evaluate)
    with pytest.raises(ValueError, match="made for process 0 of 1, and this is process 1 of 2"):
        fit_minibatch(model, loader_of(data), evaluate, group=Processes(1, 2))


def test_processes_with_loaders_of_different_lengths(data, monkeypatch):
    model, evaluate = make(data)
    monkeypatch.setattr(Processes, "gather", lambda group, value: [value, value + 1])
    before = weights(model)
    with pytest.raises(
        ValueError, match=r"as many batches from the loader of each process, got 4, 5: .*rank= and world_size="
    ):
        fit_minibatch(model, loader_of(data), evaluate)
    assert equal(before, weights(model))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_batch_of_one_node_and_a_norm_that_needs_two(data, norm):
    model, evaluate = make(data, norm=norm)
    alone = Data(x=data.x[:1], y=data.y[:1], edge_index=torch.empty(2, 0).long(), batch_size=1)

    class One:
        def __len__(self):
            return 1

        def epoch(self, epoch, batch=0):
            yield alone

    with pytest.raises(ValueError, match=r"batch 0 of epoch 0 has one node .* needs two: .*drop_last=True"):
        fit_minibatch(model, One(), evaluate)


def test_an_objective_returns_a_sum_and_a_number(data):
    model, evaluate = make(data)
    for wrong in (lambda model, batch: (model(batch.x, batch.edge_index), 1), lambda model, batch: (1.0, 1)):
        with pytest.raises(ValueError, match=r"expected \(sum of losses, number of nodes\) from the objective"):
            fit_minibatch(model, loader_of(data), evaluate, objective=wrong)


def test_a_model_without_parameters(data):
    with pytest.raises(ValueError, match="Identity has no parameter that requires a gradient"):
        fit_minibatch(torch.nn.Identity(), loader_of(data), lambda model: {"val": 0.0, "test": 0.0})


# Custom models ########################################################################################


class Own(torch.nn.Module):
    """Not one of the models that layerwise_inference knows."""

    def __init__(self, features):
        super().__init__()
        self.conv, self.lin = LCATConv(features, 8), torch.nn.Linear(8, 2)

    def forward(self, x, edge_index):
        return self.lin(self.conv(x, edge_index).relu())


def test_a_custom_model_trains_with_the_usual_lines(data):
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask})
    seed_everything(0)
    model = Own(data.num_features)
    result = fit_minibatch(model, loader_of(data, 24, (-1, -1)), evaluate, MinibatchConfig(epochs=12, lr=0.02), seed=0)
    assert result.test > 0.9
    logits = model(data.x, data.edge_index)
    right = (logits.argmax(1) == data.y)[data.test_mask]
    assert result.test == float(right.double().mean())


def test_what_cannot_be_measured_is_refused_before_the_training(data):
    parts = {"val": data.val_mask, "test": data.test_mask}
    model = Own(data.num_features)
    before = weights(model)
    with pytest.raises(TypeError, match=r"got Own. Other ways: .*inference='whole'.*any function of the model"):
        fit_minibatch(model, loader_of(data), WholeGraph(data, parts, inference="layerwise"))
    with pytest.raises(ValueError, match="needs the parts 'val' and 'test' for a training; 'test' is missing"):
        fit_minibatch(model, loader_of(data), WholeGraph(data, {"val": data.val_mask}))
    assert equal(weights(model), before)
    assert (
        fit_minibatch(model, loader_of(data), lambda model: {"val": 0.5, "test": 0.25}, MinibatchConfig(1)).test == 0.25
    )


@pytest.mark.parametrize(
    ("count", "got"),
    [(-3, "got -3"), (1.5, "got 1.5"), (True, "got True"), (None, "got None"), (torch.tensor(2.5), "got a tensor")],
)
def test_objective_with_a_count_that_is_none(data, count, got):
    """A negative count would train uphill, and a fraction is no number of nodes."""
    model, evaluate = make(data)
    before = weights(model)

    def objective(model, batch):
        return model(batch.x, batch.edge_index).sum(), count

    with pytest.raises(ValueError, match=f"expected a whole number of nodes, 0 or more, from the objective, {got}"):
        fit_minibatch(model, loader_of(data), evaluate, MinibatchConfig(epochs=1), objective=objective)
    assert equal(before, weights(model))


def test_objective_with_a_count_in_a_tensor(data):
    def objective(model, batch):
        total, count = NodeObjective()(model, batch)
        return total, torch.tensor(count)

    _, one = run(data, MinibatchConfig(epochs=1))
    _, two = run(data, MinibatchConfig(epochs=1), objective=objective)
    assert one.history == two.history


@pytest.mark.parametrize(
    ("objective", "error", "message"),
    [
        (
            lambda model, batch: model(batch.x, batch.edge_index).sum(),
            ValueError,
            r"got a tensor torch.float32 \[\] alone",
        ),
        (lambda model, batch: None, ValueError, "got None alone"),
        (lambda model, batch: (1.0, 3), ValueError, "got float as the sum"),
        (lambda model, batch: (model(batch.x, batch.edge_index).sum().detach(), 3), ValueError, "without a gradient"),
        ("cross_entropy", TypeError, "got 'cross_entropy': pass NodeObjective"),
        (torch.nn.CrossEntropyLoss(), TypeError, "got CrossEntropyLoss: pass NodeObjective"),
        (F.cross_entropy, TypeError, "got function: pass NodeObjective"),
        (
            NodeObjective(lambda logits, y: logits - y),
            ValueError,
            "'loss' cannot be computed from the logits, a tensor torch.float32",
        ),
    ],
)
def test_objectives_that_are_none(data, objective, error, message):
    model, evaluate = make(data)
    with pytest.raises(error, match=message):
        fit_minibatch(model, loader_of(data), evaluate, MinibatchConfig(epochs=1), objective=objective)


@pytest.mark.parametrize(
    ("evaluate", "error", "message"),
    [
        (None, TypeError, "as 'evaluate', got None"),
        (lambda model: 0.5, TypeError, "must return 'val' and 'test' as numbers, in a dictionary; got float"),
        (lambda model: {"val": "a", "test": 0.5}, ValueError, "got 'a' for 'val'"),
        (lambda model: {"val": torch.ones(3), "test": 0.5}, ValueError, r"got a tensor torch.float32 \[3\] for 'val'"),
        (lambda model: {"test": 0.5}, ValueError, "'val' is missing"),
    ],
)
def test_evaluate_without_figures(data, evaluate, error, message):
    model, _ = make(data)
    with pytest.raises(error, match=message):
        fit_minibatch(model, loader_of(data), evaluate, MinibatchConfig(epochs=1))


def test_arguments_of_another_kind(data):
    model, evaluate = make(data)
    with pytest.raises(TypeError, match=r"got FitConfig: pass MinibatchConfig\(\*\*vars\(config\)\)"):
        fit_minibatch(model, loader_of(data), evaluate, FitConfig())
    with pytest.raises(TypeError, match=r"got dict: pass MinibatchConfig\(\*\*config\)"):
        fit_minibatch(model, loader_of(data), evaluate, {})
    with pytest.raises(TypeError, match="got the class GAT: make one first"):
        fit_minibatch(GAT, loader_of(data), evaluate)
    with pytest.raises(TypeError, match="expected a path as 'checkpoint', got int"):
        fit_minibatch(model, loader_of(data), evaluate, checkpoint=3)


@pytest.mark.parametrize("steps", [0, "2", 1.5, True])
def test_steps_between_checkpoints_are_whole(data, steps, tmp_path):
    model, evaluate = make(data)
    path = tmp_path / "run.ckpt"
    with pytest.raises(ValueError, match=f"checkpoint_steps must be a whole number, .*; got {steps!r}"):
        fit_minibatch(model, loader_of(data), evaluate, checkpoint=path, checkpoint_steps=steps)
    assert not path.exists()


def test_batches_without_seeds(data):
    model, evaluate = make(data)
    for batch in (data, Batch.from_data_list([data])):  # the batch_size of a Batch is its number of graphs
        with pytest.raises(ValueError, match=r"expected a batch with seeds .* name the mask"):
            fit_minibatch(model, SeededLoader([batch]), evaluate, MinibatchConfig(epochs=1))
    with pytest.raises(TypeError, match=r"expected batches of torch_geometric.data.Data from the loader, got int"):
        fit_minibatch(model, SeededLoader([1, 2]), evaluate, MinibatchConfig(epochs=1))


def test_groups_and_metrics_that_are_none(data):
    loader = neighbor_loader(data, [2], data.train_mask, batch_size=20)
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask})
    model = GAT(data.num_features, 4, 1, 2)
    for group in ("gloo", 2, torch.device("cpu")):
        with pytest.raises(
            TypeError, match=f"expected 'group' from .*processes.*, got {type(group).__name__}: use with"
        ):
            fit_minibatch(model, loader, evaluate, MinibatchConfig(epochs=1), group=group)
    with pytest.raises(TypeError, match="expected the name of what 'evaluate' measures as 'metric', a text, got int"):
        fit_minibatch(model, loader, evaluate, MinibatchConfig(epochs=1), metric=3)


@pytest.mark.parametrize("state", [{}, {"a": 1}, {"settings": {}}])
def test_a_file_of_save_checkpoint_that_is_no_run(data, state, tmp_path):
    path = tmp_path / "other.ckpt"
    save_checkpoint(path, state)
    with pytest.raises(CheckpointError, match=r"holds no state of fit_minibatch \(.*'place', .*: name another file"):
        run(data, MinibatchConfig(epochs=1), checkpoint=path)
    assert load_checkpoint(path) == state


def test_trimming_needs_the_numbers_of_hops(data):
    objective = NodeObjective(mask="train_mask", trim=True)
    with pytest.raises(ValueError, match=r"expected a batch of neighbor_loader, .* for trim=True, got Data without"):
        run(data, MinibatchConfig(epochs=1), random_walk_loader(data, 24, 2, 2), objective=objective)


def test_a_checkpoint_of_another_measure(data, tmp_path):
    path, config = tmp_path / "run.ckpt", MinibatchConfig(epochs=1)

    def go_on(measure="accuracy", metric="accuracy", val=data.val_mask):
        evaluate = WholeGraph(data, {"val": val, "test": data.test_mask}, measure)
        return fit_minibatch(make(data)[0], loader_of(data), evaluate, config, metric=metric, checkpoint=path)

    go_on()
    fewer = data.val_mask.clone()
    fewer[fewer.nonzero()[0]] = False
    assert fewer.sum() < data.val_mask.sum()
    for change, words in (
        ({"metric": "roc-auc"}, "with metric 'accuracy', and now it is 'roc-auc'"),
        ({"measure": "roc-auc"}, "with evaluate's measure 'accuracy', and now it is 'roc-auc'"),
        ({"measure": lambda logits, y: 0.5}, "with evaluate's measure 'accuracy', and now it is .*lambda"),
        ({"val": fewer}, r"with evaluate's validation nodes \d+, and now it is \d+"),
    ):
        with pytest.raises(CheckpointError, match=words):
            go_on(**change)
    go_on()


@pytest.mark.parametrize("progress", ["yes", 2, None])
def test_progress_is_true_or_false(data, progress):
    model, evaluate = make(data)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    for call in (
        lambda: fit(model, data, split, progress=progress),
        lambda: fit_minibatch(model, loader_of(data), evaluate, progress=progress),
        lambda: layerwise_inference(model, data.x, data.edge_index, progress=progress),
    ):
        with pytest.raises(ValueError, match="progress must be True or False; got"):
            call()


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (
            "crossentropy",
            ValueError,
            r"loss must be one of cross-entropy, binary or a function; .*did you mean cross",
        ),
        (torch.nn.CrossEntropyLoss, TypeError, r"got the class CrossEntropyLoss: pass CrossEntropyLoss\(\)"),
        (3, TypeError, r"expected one of cross-entropy, binary, or a function \(logits, y\) as 'loss', got int"),
    ],
)
def test_losses_are_checked_where_they_are_named(data, loss, error, words):
    with pytest.raises(error, match=words):
        NodeObjective(loss=loss)
    with pytest.raises(error, match=words):
        WholeGraph(data, {"val": data.val_mask, "test": data.test_mask}, loss=loss)


def test_probabilities_in_mini_batches_are_one_warning(data):
    model, _ = make(data)
    forward = model.forward
    model.forward = lambda *args, **kwargs: forward(*args, **kwargs).softmax(-1)
    with pytest.warns(UserWarning, match="the model returns probabilities") as caught:
        fit_minibatch(model, loader_of(data), lambda _: {"val": 0.5, "test": 0.5}, MinibatchConfig(epochs=2))
    assert len(caught) == 1


def test_a_misspelt_measure_gets_a_hint(data):
    with pytest.raises(ValueError, match=r"got 'acuracy' \(did you mean accuracy\?\)"):
        WholeGraph(data, {"val": data.val_mask, "test": data.test_mask}, "acuracy")


def test_checkpoints_between_epochs_need_a_file(data):
    model, evaluate = make(data)
    with pytest.raises(
        ValueError, match=r"checkpoint_steps needs a file: pass checkpoint=, too; got checkpoint_steps=5"
    ):
        fit_minibatch(model, loader_of(data), evaluate, checkpoint_steps=5)


def test_weights_of_edges_reach_the_model(data):
    """Training and evaluation as on the whole graph; without the weights both are others."""
    data.edge_weight = torch.rand(data.num_edges)
    batch = next(iter(neighbor_loader(data, [-1, -1, -1], torch.ones(data.num_nodes).bool(), data.num_nodes)))
    losses, figures = {}, {}
    for used in (True, False):
        model, _ = make(data, GCN, dropout=0.0)
        parts = {"val": data.val_mask, "test": data.test_mask}
        options = {"edge_weight": data.edge_weight} if used else {}
        logits = model.eval()(data.x, data.edge_index, **options)
        total, count = NodeObjective(edge_weight=used)(model, batch)
        torch.testing.assert_close(total, F.cross_entropy(logits, data.y, reduction="sum"))
        losses[used] = float(total)
        for inference in ("layerwise", "whole"):
            evaluate = WholeGraph(data, parts, edge_weight=used, inference=inference)
            expected = float(F.cross_entropy(logits[data.val_mask], data.y[data.val_mask]))
            assert evaluate(model)["val_loss"] == pytest.approx(expected, rel=1e-5)
        figures[used] = evaluate(model)["val_loss"]
        assert count == data.num_nodes
    assert losses[True] != losses[False]
    assert figures[True] != figures[False]


@pytest.mark.parametrize("name", ["edge_attr", "edge_weight"])
def test_values_of_edges_that_are_not_there(data, name):
    model, _ = make(data)
    parts = {"val": data.val_mask, "test": data.test_mask}
    with pytest.raises(ValueError, match=f"expected data with '{name}'"):
        WholeGraph(data, parts, **{name: True})
    with pytest.raises(ValueError, match=f"expected a batch with '{name}'"):
        fit_minibatch(model, loader_of(data), lambda model: {}, objective=NodeObjective(**{name: True}))


@pytest.mark.parametrize(
    ("trained", "measured"), [("edge_attr", None), (None, "edge_weight"), ("edge_attr", "edge_weight")]
)
def test_training_and_evaluation_on_other_values_of_edges(data, trained, measured):
    data.edge_attr, data.edge_weight = torch.rand(data.num_edges, 2), torch.rand(data.num_edges)
    model, _ = make(data)
    evaluate = WholeGraph(
        data, {"val": data.val_mask, "test": data.test_mask}, **({measured: True} if measured else {})
    )
    with pytest.raises(
        ValueError, match=f"got {trained or 'none'} and {measured or 'none'}: NodeObjective and WholeGraph"
    ):
        fit_minibatch(model, loader_of(data), evaluate, objective=NodeObjective(**({trained: True} if trained else {})))


def macro_recall(logits, y):
    right = logits.argmax(dim=1) == y
    return float(torch.stack([right[y == label].float().mean() for label in y.unique()]).mean())


@pytest.mark.parametrize(("measure", "called"), [("accuracy", None), ("roc-auc", None), (macro_recall, "macro_recall")])
def test_the_result_is_called_as_what_is_measured(data, measure, called):
    model, _ = make(data)
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask}, measure)
    config = MinibatchConfig(epochs=1)
    assert fit_minibatch(model, loader_of(data), evaluate, config).metric == (called or measure)
    assert fit_minibatch(model, loader_of(data), evaluate, config, metric="mine").metric == "mine"
    assert fit_minibatch(model, loader_of(data), lambda model: {"val": 0.0, "test": 0.0}, config).metric == "accuracy"
