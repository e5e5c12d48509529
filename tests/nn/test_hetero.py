"""HeteroConv, to_hetero and PyG's model classes with our layers."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, to_hetero

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS
from tests.support.versions import needs_to_hetero


@pytest.fixture
def data():
    torch.manual_seed(0)
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.randn(7, 5), torch.randn(4, 3)
    data["paper", "cites", "paper"].edge_index = torch.randint(7, (2, 15))
    data["author", "writes", "paper"].edge_index = torch.stack([torch.randint(4, (9,)), torch.randint(7, (9,))])
    data["paper", "written_by", "author"].edge_index = data["author", "writes", "paper"].edge_index.flip(0)
    return data


@pytest.mark.parametrize("name", ATTENTION)
def test_hetero_conv(name, data):
    layer = getattr(lcat.nn, name)
    convs = {edge: layer((-1, -1), 6, heads=2, add_self_loops=False) for edge in data.edge_types}
    conv = HeteroConv(convs, aggr="sum")
    out = conv(data.x_dict, data.edge_index_dict)
    assert set(out) == {"paper", "author"}
    written_by = data["paper", "written_by", "author"].edge_index
    author = convs["paper", "written_by", "author"]((data["paper"].x, data["author"].x), written_by)
    assert_same(out["author"], author, "one relation", 1e-6)
    parts = [
        convs["paper", "cites", "paper"](data["paper"].x, data["paper", "cites", "paper"].edge_index),
        convs["author", "writes", "paper"](
            (data["author"].x, data["paper"].x), data["author", "writes", "paper"].edge_index
        ),
    ]
    assert_same(out["paper"], parts[0] + parts[1], "sum over relations", 1e-6)


@needs_to_hetero
@pytest.mark.parametrize("name", ATTENTION)
def test_to_hetero(name, data):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = getattr(lcat.nn, name)((-1, -1), 6, heads=2, add_self_loops=False)
            self.second = getattr(lcat.nn, name)((-1, -1), 2, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.second(self.first(x, edge_index).relu(), edge_index)

    def by_hand(layers, x):
        """The layer of each relation, called plainly, and their sums."""
        out = {}
        for relation in data.edge_types:
            source, _, target = relation
            messages = layers["__".join(relation)]((x[source], x[target]), data[relation].edge_index)
            out[target] = out[target] + messages if target in out else messages
        return out

    model = to_hetero(Net(), data.metadata())
    out = model(data.x_dict, data.edge_index_dict)
    hidden = {kind: values.relu() for kind, values in by_hand(model.first, data.x_dict).items()}
    expected = by_hand(model.second, hidden)
    for kind in ("paper", "author"):
        assert_same(out[kind], expected[kind], kind, 1e-6)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(out["paper"].square().sum(), parameters, allow_unused=True)
    wanted = torch.autograd.grad(expected["paper"].square().sum(), parameters, allow_unused=True)
    for ours, theirs in zip(gradients, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert_same(ours, theirs, "gradient", 1e-5)


@needs_to_hetero
@pytest.mark.parametrize("name", LAYERS)
def test_to_hetero_on_one_node_type(name, data):
    single = HeteroData()
    single["paper"].x = data["paper"].x
    single["paper", "cites", "paper"].edge_index = data["paper", "cites", "paper"].edge_index

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = getattr(lcat.nn, name)(5, 6)

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    net = Net()
    model = to_hetero(net, single.metadata())
    model.load_state_dict({f"conv.paper__cites__paper.{key}": value for key, value in net.conv.state_dict().items()})
    out = model(single.x_dict, single.edge_index_dict)["paper"]
    expected = net(single["paper"].x, single["paper", "cites", "paper"].edge_index)
    assert_same(out, expected, "one node type is the ordinary layer", 1e-6)
