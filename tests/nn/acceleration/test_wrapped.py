"""Models inside wrappers: DistributedDataParallel, FSDP, torch.compile; and PyG's own transformations."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
import torch.distributed as dist
import torch_geometric.nn as pyg
from torch import nn

import lcat
import lcat.nn
from tests.support.compare import assert_same
from tests.support.pyg_models import CHANNELS, loss_of, make_inputs


def _model():
    torch.manual_seed(0)
    return pyg.GAT(CHANNELS, 8, num_layers=2, out_channels=3, heads=2)


def _pair():
    model = _model()
    return model, copy.deepcopy(model)


def _assert_same_training(ours, theirs, parameters, steps=3):
    inputs = make_inputs(torch.float32)
    optimizers = [torch.optim.SGD(list(some), lr=0.1) for some in parameters]
    for step in range(steps):
        losses = []
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss = loss_of(model(inputs.x, inputs.edge_index))
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        assert_same(losses[0], losses[1], f"loss of step {step}", 2e-6)


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="a file as store needs Linux or macOS")
@pytest.mark.parametrize("when", ["before", "after"])
def test_distributed_data_parallel(process_group, when):
    ours, theirs = _pair()
    if when == "before":
        lcat.accelerate(ours)
    wrapped = nn.parallel.DistributedDataParallel(ours)
    if when == "after":
        assert [layer.path for layer in lcat.accelerate(wrapped).swapped] == ["module.convs.0", "module.convs.1"]
    _assert_same_training(wrapped, theirs, (wrapped.parameters(), theirs.parameters()))
    assert lcat.restore(wrapped) == 2
    _assert_same_training(wrapped, theirs, (wrapped.parameters(), theirs.parameters()), steps=1)


@pytest.mark.skipif(sys.platform == "win32", reason="a file as store needs Linux or macOS")
@pytest.mark.parametrize("when", ["before", "after"])
def test_fully_sharded(process_group, when):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this torch has no fully_shard")
    mesh = dist.init_device_mesh("cpu", (1,))
    ours, theirs = _pair()
    if when == "before":
        lcat.accelerate(ours)
    for conv in ours.convs:
        fsdp.fully_shard(conv, mesh=mesh)
    fsdp.fully_shard(ours, mesh=mesh)
    types = [type(conv) for conv in ours.convs]
    if when == "after":
        report = lcat.accelerate(ours)
        assert len(report) == 2, report
    assert all(isinstance(conv, lcat.nn.GATConv) for conv in ours.convs)
    assert all(isinstance(conv, fsdp.FSDPModule) for conv in ours.convs)
    _assert_same_training(ours, theirs, (ours.parameters(), theirs.parameters()))
    assert lcat.restore(ours) == 2
    assert not any(isinstance(conv, lcat.nn.GATConv) for conv in ours.convs)
    assert all(isinstance(conv, fsdp.FSDPModule) for conv in ours.convs)
    if when == "after":
        assert [type(conv) for conv in ours.convs] == types
    _assert_same_training(ours, theirs, (ours.parameters(), theirs.parameters()), steps=1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # PyG's layers, compiled
@pytest.mark.parametrize("when", ["before", "after"])
def test_compiled(when):
    torch._dynamo.reset()
    ours, theirs = _pair()
    if when == "before":
        lcat.accelerate(ours)
    compiled = torch.compile(ours, backend="aot_eager")
    if when == "after":
        inputs = make_inputs(torch.float32)
        loss_of(compiled(inputs.x, inputs.edge_index)).backward()
        assert len(lcat.accelerate(compiled)) == 2
    _assert_same_training(compiled, theirs, (compiled.parameters(), theirs.parameters()))
    assert lcat.restore(compiled) == 2
    _assert_same_training(compiled, theirs, (compiled.parameters(), theirs.parameters()), steps=1)


@pytest.mark.parametrize(
    "make",
    [lambda: pyg.SGConv(CHANNELS, 3), lambda: pyg.SAGEConv(CHANNELS, 3), lambda: pyg.RGCNConv(CHANNELS, 3, 2),
     lambda: pyg.ChebConv(CHANNELS, 3, 2), lambda: pyg.ClusterGCNConv(CHANNELS, 3),
     lambda: pyg.DirGNNConv(pyg.SAGEConv(CHANNELS, 3))],
    ids=["SGConv", "SAGEConv", "RGCNConv", "ChebConv", "ClusterGCNConv", "DirGNNConv"],
)  # fmt: skip
def test_compiled_layers_that_make_edges(make):
    torch._dynamo.reset()
    layer, inputs = make(), make_inputs(torch.float32)
    more = {"edge_type": torch.arange(inputs.edge_index.shape[1]) % 2} if isinstance(layer, pyg.RGCNConv) else {}
    expected = layer(inputs.x, inputs.edge_index, **more)
    lcat.accelerate(layer)
    compiled = torch.compile(layer, backend="aot_eager")
    assert_same(compiled(inputs.x, inputs.edge_index, **more), expected, "output", 2e-6)


def test_to_hetero_of_an_accelerated_model():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = pyg.SAGEConv((4, 4), 3)

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    model = Two()
    lcat.accelerate(model)
    types = [("a", "to", "b"), ("b", "to", "a")]
    hetero = pyg.to_hetero(model, (["a", "b"], types))
    features = {"a": torch.randn(5, 4), "b": torch.randn(6, 4)}
    edges = {types[0]: torch.randint(5, (2, 9)), types[1]: torch.randint(5, (2, 9))}
    out = hetero(features, edges)
    assert lcat.restore(hetero) == 2
    expected = hetero(features, edges)
    for name in "ab":
        assert_same(out[name], expected[name], name, 2e-6)


def test_functional_calls_and_vmap():
    layer, inputs = pyg.SGConv(CHANNELS, 3), make_inputs(torch.float32)
    parameters = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    batch = torch.stack([inputs.x, inputs.x.cos()])

    def run():
        one = torch.func.functional_call(layer, parameters, (inputs.x, inputs.edge_index))
        return one, torch.vmap(lambda x: layer(x, inputs.edge_index))(batch)

    expected = run()
    lcat.accelerate(layer)
    for ours, theirs in zip(run(), expected, strict=True):
        assert_same(ours, theirs, "output", 2e-6)
