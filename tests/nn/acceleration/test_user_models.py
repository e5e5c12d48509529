"""Three models as users of PyG write them: molecules in batches, a recommender on two kinds of nodes, and traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

import lcat
from tests.support.compare import assert_same


class Molecules(nn.Module):
    """PNA and GINE with residuals, then attention on the nodes that a pooling keeps."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.atom, self.bond = nn.Embedding(7, hidden), nn.Embedding(4, hidden)
        aggregators, scalers = ["mean", "max", "min", "std"], ["identity", "amplification", "attenuation"]
        degrees = torch.tensor([5, 20, 40, 20, 5])
        options = {"towers": 4, "divide_input": True}
        self.layers = nn.ModuleList(
            pyg.PNAConv(hidden, hidden, aggregators, scalers, degrees, **options) for _ in range(2)
        )
        self.norms = nn.ModuleList(pyg.BatchNorm(hidden) for _ in range(2))
        self.gine = pyg.GINEConv(nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden)))
        self.pool = pyg.SAGPooling(hidden, 0.5)
        self.attention = pyg.GATv2Conv(hidden, hidden // 4, heads=4)
        self.out = nn.Linear(2 * hidden, 2)

    def forward(self, batch: Batch) -> Tensor:
        x, edge_index = self.atom(batch.atom), batch.edge_index
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + norm(layer(x, edge_index)).relu()
        x = self.gine(x, edge_index, self.bond(batch.bond)).relu()
        whole = pyg.global_add_pool(x, batch.batch)
        x, edge_index, _, of_graph, *_ = self.pool(x, edge_index, batch=batch.batch)
        x = self.attention(x, edge_index).relu()
        return self.out(torch.cat([whole, pyg.global_add_pool(x, of_graph, size=whole.shape[0])], dim=1))


class Recommender(nn.Module):
    """A layer for each type of edges, with lazy sizes and features of one type; scores of pairs."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()

        def layers() -> dict[Any, nn.Module]:
            return {
                ("user", "rates", "item"): pyg.TransformerConv((-1, -1), hidden // 2, heads=2, edge_dim=3),
                ("item", "rated by", "user"): pyg.SAGEConv((-1, -1), hidden, aggr="max"),
                ("user", "follows", "user"): pyg.GATConv((-1, -1), hidden, add_self_loops=False),
            }

        self.convs = nn.ModuleList(pyg.HeteroConv(layers(), aggr="mean") for _ in range(2))
        self.lin = pyg.Linear(-1, hidden)

    def forward(self, x: dict[str, Tensor], edges: dict[Any, Tensor], features: dict[Any, Tensor]) -> Tensor:
        for conv in self.convs:
            x = {kind: rows.relu() for kind, rows in conv(x, edges, edge_attr_dict=features).items()}
        users, items = edges["user", "rates", "item"]
        return (self.lin(x["user"])[users] * self.lin(x["item"])[items]).sum(dim=-1)


class Traffic(nn.Module):
    """A recurrent network of Chebyshev filters with weights, a weight-normed head, and a pooling with layers inside."""

    def __init__(self, channels: int = 3, hidden: int = 8) -> None:
        super().__init__()
        self.hidden = hidden
        self.update, self.reset, self.new = (pyg.ChebConv(channels + hidden, hidden, K=3) for _ in range(3))
        self.local = pyg.LEConv(hidden, hidden)
        self.norm = pyg.GraphNorm(hidden)
        self.pool = pyg.ASAPooling(hidden, 0.5, GNN=pyg.GCNConv)
        self.out = nn.utils.parametrizations.weight_norm(nn.Linear(hidden, 1))

    def forward(self, frames: Tensor, edge_index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        state = frames.new_zeros(frames.shape[1], self.hidden)
        for frame in frames:
            both = torch.cat([frame, state], dim=1)
            update, reset = (gate(both, edge_index, weight).sigmoid() for gate in (self.update, self.reset))
            new = self.new(torch.cat([frame, reset * state], dim=1), edge_index, weight).tanh()
            state = update * state + (1 - update) * new
        state = self.norm(self.local(state, edge_index, weight)).relu()
        return self.out(state), self.pool(state, edge_index, weight)[0]


def _molecules() -> tuple[nn.Module, tuple[Any, ...]]:
    graphs = []
    for count in torch.randint(8, 20, (12,)).tolist():
        edges = torch.randint(count, (2, 2 * count))
        bonds, atoms = torch.randint(4, (2 * count,)), torch.randint(7, (count,))
        graphs.append(Data(atom=atoms, bond=bonds, edge_index=edges, num_nodes=count))
    return Molecules(), (Batch.from_data_list(graphs),)


def _recommender() -> tuple[nn.Module, tuple[Any, ...]]:
    counts = {"user": 30, "item": 20}
    types = [("user", "rates", "item"), ("item", "rated by", "user"), ("user", "follows", "user")]
    edges = {kind: torch.stack([torch.randint(counts[end], (120,)) for end in (kind[0], kind[2])]) for kind in types}
    x = {"user": torch.randn(30, 5, dtype=torch.double), "item": torch.randn(20, 4, dtype=torch.double)}
    return Recommender(), (x, edges, {types[0]: torch.randn(120, 3, dtype=torch.double)})


def _traffic() -> tuple[nn.Module, tuple[Any, ...]]:
    frames, weight = torch.randn(4, 30, 3, dtype=torch.double), torch.rand(150, dtype=torch.double)
    return Traffic(), (frames, torch.randint(30, (2, 150)), weight)


def _results(model: nn.Module, inputs: tuple[Any, ...]) -> list[Tensor]:
    out = model(*inputs)
    outputs = out if isinstance(out, tuple) else (out,)
    loss = sum((one * torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one)).sum() for one in outputs)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [*(one.detach() for one in outputs), *(torch.zeros(1) if g is None else g for g in gradients)]


@pytest.mark.parametrize(
    ("make", "swapped", "left"),
    [(_molecules, 4, ["gine"]), (_recommender, 6, []), (_traffic, 6, [])],
    ids=["molecules", "recommender", "traffic"],
)
def test_accelerated_without_a_look_at_the_source(make: Callable[..., Any], swapped: int, left: list[str]) -> None:
    torch.manual_seed(0)
    model, inputs = make()
    model = model.double().eval()
    with torch.no_grad():
        model(*inputs)  # lazy sizes
    expected = _results(model, inputs)
    report = lcat.accelerate(model)
    assert (len(report), [layer.path for layer in report.left]) == (swapped, left)
    for one, other in zip(_results(model, inputs), expected, strict=True):
        assert_same(one, other, "output or gradient")
    lcat.restore(model)
    for one, other in zip(_results(model, inputs), expected, strict=True):
        assert torch.equal(one, other)
