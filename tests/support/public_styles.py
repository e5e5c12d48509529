"""Small models in the styles of public code: what people build around PyG's layers, with inputs in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data
from torch_geometric.utils import add_self_loops, degree

NODES, CHANNELS, HIDDEN, EDGE_CHANNELS = 24, 6, 8, 3


class Graph(NamedTuple):
    """A graph with loops and parallel edges; the last node has no edge."""

    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    edge_attr: Tensor


def make_graph(seed: int = 0, num_nodes: int = NODES, num_edges: int = 80) -> Graph:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(num_nodes - 1, (2, num_edges), generator=generator)
    edges = edges[:, edges[0] != edges[1]]
    edges = torch.cat([edges, edges[:, :4], torch.tensor([[3, 5], [3, 5]])], dim=1)
    x = torch.randn(num_nodes, CHANNELS, generator=generator, dtype=torch.double)
    weight = torch.rand(edges.shape[1], generator=generator, dtype=torch.double) + 0.1
    return Graph(x, edges, weight, torch.randn(edges.shape[1], EDGE_CHANNELS, generator=generator, dtype=torch.double))


def make_batch() -> Batch:
    graphs = [make_graph(seed, 8 + seed, 30) for seed in range(4)]
    return Batch.from_data_list([Data(**graph._asdict()) for graph in graphs])


class JumpingKnowledge(nn.Module):
    """Layers of GCN whose outputs are put together, and propagated once more."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(pyg.GCNConv(width, HIDDEN) for width in (CHANNELS, HIDDEN, HIDDEN))
        self.jk = pyg.JumpingKnowledge(mode, HIDDEN, 3)
        self.last = pyg.APPNP(1, alpha=0.0)
        self.lin = nn.Linear(3 * HIDDEN if mode == "cat" else HIDDEN, 4)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        layers = []
        for conv in self.convs:
            x = F.dropout(conv(x, edge_index).relu(), 0.5, self.training)
            layers.append(x)
        return F.log_softmax(self.lin(self.last(self.jk(layers), edge_index)), dim=-1)


class Pooled(nn.Module):
    """Classification of graphs whose nodes are dropped between the layers."""

    def __init__(self, conv: Callable[..., nn.Module], pool: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.convs = nn.ModuleList([conv(CHANNELS, HIDDEN), conv(HIDDEN, HIDDEN)])
        self.pools = nn.ModuleList(pool(HIDDEN, ratio=0.8) for _ in range(2))
        self.lin = nn.Linear(2 * HIDDEN, 2)

    def forward(self, data: Batch) -> Tensor:
        x, edge_index, batch = data.x, data.edge_index, data.batch
        outputs = []
        for conv, pool in zip(self.convs, self.pools, strict=True):
            x, edge_index, _, batch, *_ = pool(conv(x, edge_index).relu(), edge_index, batch=batch)
            outputs.append(torch.cat([pyg.global_max_pool(x, batch), pyg.global_mean_pool(x, batch)], dim=1))
        return self.lin(outputs[0] + outputs[1])


class EdgeFeatures(nn.Module):
    """Attention with edge features in three forms, and the weights of one of them as an output."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.GATConv(CHANNELS, 4, heads=2, dropout=0.6, edge_dim=EDGE_CHANNELS, fill_value="max")
        self.norm, self.skip = nn.BatchNorm1d(8), nn.Linear(CHANNELS, 8)
        options = {"heads": 2, "concat": False, "fill_value": 0.5, "residual": True, "share_weights": True}
        self.second = pyg.GATv2Conv(8, 4, edge_dim=EDGE_CHANNELS, **options)
        self.third = pyg.GATConv(4, 3, edge_dim=EDGE_CHANNELS, add_self_loops=False, residual=True)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> tuple[Tensor, Tensor]:
        x = F.elu(self.norm(self.first(x, edge_index, edge_attr) + self.skip(x)))
        x, (_, attention) = self.second(x, edge_index, edge_attr, return_attention_weights=True)
        return self.third(x.relu(), edge_index, edge_attr=edge_attr), attention


class Deep(nn.Module):
    """DeeperGCN, with its own layer and with others, which are computed once more in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.node, self.edge = nn.Linear(CHANNELS, HIDDEN), nn.Linear(EDGE_CHANNELS, HIDDEN)
        gen = pyg.GENConv(HIDDEN, HIDDEN, aggr="softmax", learn_t=True, num_layers=2, norm="layer")
        options = {"dropout": 0.0, "ckpt_grad": True}
        self.first = pyg.DeepGCNLayer(gen, nn.LayerNorm(HIDDEN), nn.ReLU(), block="res+", dropout=0.0)
        self.layers = nn.ModuleList(
            pyg.DeepGCNLayer(conv, nn.LayerNorm(HIDDEN), nn.ReLU(), block=block, **options)
            for conv, block in (
                (pyg.GCNConv(HIDDEN, HIDDEN), "res+"),
                (pyg.SAGEConv(HIDDEN, HIDDEN, aggr="max"), "res"),
                (pyg.GATConv(HIDDEN, HIDDEN), "plain"),
            )
        )

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        x = self.first(self.node(x), edge_index, self.edge(edge_attr))
        for layer in self.layers:
            x = layer(x, edge_index)
        return x


class Checkpointed(nn.Module):
    """Layers that are computed once more in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        degrees = torch.tensor([1, 4, 9, 3])
        self.convs = nn.ModuleList(
            [
                pyg.GCNConv(CHANNELS, HIDDEN),
                pyg.GATv2Conv(HIDDEN, HIDDEN),
                pyg.PNAConv(HIDDEN, 4, ["mean", "max"], ["identity"], degrees),
            ]
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = checkpoint(conv, x, edge_index, use_reentrant=False).tanh()
        return x


class Mixed(nn.Module):
    """MixHop with weights and without loops, EdgeConv, and a SuperGAT with the loss of its attention."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = pyg.MixHopConv(CHANNELS, HIDDEN, powers=[0, 1, 2])
        self.mix_more = pyg.MixHopConv(3 * HIDDEN, HIDDEN, powers=[0, 1, 3], add_self_loops=False)
        self.edge = pyg.EdgeConv(nn.Sequential(nn.Linear(6 * HIDDEN, HIDDEN), nn.ReLU()))
        self.super = pyg.SuperGATConv(HIDDEN, 4, heads=2, attention_type="MX", is_undirected=True)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        x = self.mix_more(self.mix(x, edge_index, edge_weight), edge_index)
        x = self.super(self.edge(x, edge_index), edge_index)
        return x + self.super.get_attention_loss()


class Temporal(nn.Module):
    """A3TGCN: a gated cell over the periods of a series, with edges that are normalized once."""

    def __init__(self, periods: int = 3) -> None:
        super().__init__()
        self.gates = nn.ModuleList(pyg.GCNConv(CHANNELS, HIDDEN, cached=True) for _ in range(3))
        self.maps = nn.ModuleList(nn.Linear(2 * HIDDEN, HIDDEN) for _ in range(3))
        self.attention = nn.Parameter(torch.rand(periods))
        self.out = nn.Linear(HIDDEN, 1)

    def forward(self, series: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        state, total = series.new_zeros(series.shape[0], HIDDEN), 0.0
        for period, share in enumerate(self.attention.softmax(0)):
            z, r, new = (gate(series[:, :, period], edge_index, edge_weight) for gate in self.gates)
            update = self.maps[0](torch.cat([z, state], dim=1)).sigmoid()
            reset = self.maps[1](torch.cat([r, state], dim=1)).sigmoid()
            candidate = self.maps[2](torch.cat([new, reset * state], dim=1)).tanh()
            state = update * state + (1 - update) * candidate
            total = total + share * state
        return self.out(F.relu(total))


class SpaceTime(nn.Module):
    """Convolutions in time and in space: features of many steps on one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Conv2d(CHANNELS, CHANNELS, (1, 2))
        self.cheb = pyg.ChebConv(CHANNELS, HIDDEN, K=3)
        self.gcn, self.graph = pyg.GCNConv(HIDDEN, HIDDEN), pyg.GraphConv(HIDDEN, 3)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        x = self.time(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
        x = self.cheb(x, edge_index, edge_weight).relu()
        return self.graph(self.gcn(x, edge_index, edge_weight), edge_index, edge_weight)


class Precomputed(nn.Module):
    """SIGN: features of powers of a matrix, and no layer that passes messages."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.out = nn.ModuleList(nn.Linear(CHANNELS, HIDDEN) for _ in range(3)), nn.Linear(3 * HIDDEN, 3)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        matrix = torch.sparse_coo_tensor(edge_index.flip(0), edge_weight, (x.shape[0], x.shape[0]))
        powers = [x]
        for _ in range(2):
            powers.append(matrix @ powers[-1])
        return self.out(torch.cat([one(power).relu() for one, power in zip(self.maps, powers, strict=True)], dim=1))


class Recommender(nn.Module):
    """LightGCN on embeddings, with a weight for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NODES, HIDDEN)
        self.convs = nn.ModuleList(pyg.LGConv(normalize=normalize) for normalize in (True, False, True))
        self.shares = nn.Parameter(torch.full((4,), 0.25))

    def forward(self, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        x = self.embedding.weight
        total = self.shares[0] * x
        for conv, share in zip(self.convs, self.shares[1:], strict=True):
            x = conv(x, edge_index, edge_weight)
            total = total + share * x
        return (total[edge_index[0]] * total[edge_index[1]]).sum(dim=-1)


class Molecules(nn.Module):
    """GINE and GIN, edge networks in a recurrent cell, and Set2Set."""

    def __init__(self) -> None:
        super().__init__()

        def network() -> nn.Module:
            return nn.Sequential(
                nn.Linear(HIDDEN, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN)
            )

        self.first = nn.Linear(CHANNELS, HIDDEN)
        self.gine = pyg.GINEConv(network(), train_eps=True, edge_dim=EDGE_CHANNELS)
        self.gin = pyg.GINConv(network(), train_eps=True)
        of_edges = nn.Sequential(nn.Linear(EDGE_CHANNELS, 8), nn.ReLU(), nn.Linear(8, HIDDEN * HIDDEN))
        self.network, self.cell = pyg.NNConv(HIDDEN, HIDDEN, of_edges, aggr="mean"), nn.GRU(HIDDEN, HIDDEN)
        self.pool, self.out = pyg.Set2Set(HIDDEN, processing_steps=2), nn.Linear(2 * HIDDEN, 1)

    def forward(self, data: Batch) -> Tensor:
        x = self.gine(self.first(data.x).relu(), data.edge_index, data.edge_attr)
        x = self.gin(x, data.edge_index)
        state = x.unsqueeze(0)
        for _ in range(2):
            messages = self.network(x, data.edge_index, data.edge_attr).relu()
            x, state = self.cell(messages.unsqueeze(0), state)
            x = x.squeeze(0)
        return self.out(self.pool(x, data.batch))


class OwnMessages(pyg.MessagePassing):
    """GCN as the tutorial writes it."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(aggr="add")
        self.lin, self.bias = nn.Linear(channels, out_channels, bias=False), nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        edge_index, _ = add_self_loops(edge_index, num_nodes=x.shape[0])
        scale = degree(edge_index[1], x.shape[0], dtype=x.dtype).rsqrt()
        norm = scale[edge_index[0]] * scale[edge_index[1]]
        return self.propagate(edge_index, x=self.lin(x), norm=norm) + self.bias

    def message(self, x_j: Tensor, norm: Tensor) -> Tensor:
        return norm.view(-1, 1) * x_j


class GatedGCN(pyg.GCNConv):
    """A subclass that multiplies the output."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, normalize=False)
        self.gate = nn.Parameter(torch.ones(out_channels))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        return self.gate * super().forward(x, edge_index, edge_weight)


class SkippingSAGE(pyg.SAGEConv):
    """A subclass with its own forward, which propagates by itself."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin_l(self.propagate(edge_index, x=(x, x), size=None)) + x[:, :1]


class SharperGAT(pyg.GATConv):
    """A subclass with another score."""

    def edge_update(self, alpha_j, alpha_i, edge_attr, index, ptr, dim_size):  # PyG reads the names
        return 2 * super().edge_update(alpha_j, alpha_i, edge_attr, index, ptr, dim_size)


class OwnLayers(nn.Module):
    """Subclasses and a layer of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.gated, self.skipping = GatedGCN(CHANNELS, HIDDEN), SkippingSAGE(HIDDEN, HIDDEN)
        self.sharper, self.own = SharperGAT(HIDDEN, HIDDEN), OwnMessages(HIDDEN, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for layer in (self.gated, self.skipping, self.sharper, self.own):
            x = layer(x, edge_index)
        return x


class Tied(nn.Module):
    """One map in two layers, one weight in two maps, one layer at two places, and a hook on messages."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(CHANNELS, HIDDEN)
        self.gcn, self.gat, self.sage = (
            pyg.GCNConv(HIDDEN, HIDDEN),
            pyg.GATConv(HIDDEN, HIDDEN),
            pyg.SAGEConv(HIDDEN, HIDDEN),
        )
        self.gat.lin, self.sage.lin_r.weight, self.again = self.gcn.lin, self.sage.lin_l.weight, self.gcn
        self.sage.register_message_forward_hook(lambda module, inputs, messages: 2 * messages)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.first(x)
        for layer in (self.gcn, self.gat, self.again, self.sage):
            x = layer(x, edge_index)
        return x


class Scripted(nn.Module):
    """Parts that TorchScript has compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled = torch.jit.script(pyg.GCNConv(CHANNELS, HIDDEN))
        network = torch.jit.script(nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN)))
        self.gin, self.gat = pyg.GINConv(network), pyg.GATConv(HIDDEN, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.gat(self.gin(self.compiled(x, edge_index), edge_index), edge_index)


class Aggregating(nn.Module):
    """GraphSAINT's model, whose aggregation is changed by name, and lists of aggregations."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([pyg.GraphConv(CHANNELS, HIDDEN), pyg.GraphConv(HIDDEN, HIDDEN, aggr="max")])
        self.several = pyg.SAGEConv(HIDDEN, HIDDEN, aggr=["mean", "max"])
        self.other = pyg.SAGEConv(HIDDEN, 3, aggr=pyg.MedianAggregation())

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        for conv in self.convs:
            conv.aggr = "mean"  # PyG has no setter: the module that aggregates stays
            x = conv(x, edge_index, edge_weight).relu()
        return self.other(self.several(x, edge_index), edge_index)


class Sampled(nn.Module):
    """Layers on blocks: pairs of sources and fewer targets, as samplers and TGN have them."""

    def __init__(self) -> None:
        super().__init__()
        self.sage = pyg.SAGEConv((CHANNELS, CHANNELS), HIDDEN)
        self.gat = pyg.GATConv((HIDDEN, HIDDEN), HIDDEN, add_self_loops=False)
        self.time = nn.Linear(1, 4)
        self.transformer = pyg.TransformerConv((HIDDEN, HIDDEN), 4, heads=2, edge_dim=EDGE_CHANNELS + 4)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        age = torch.linspace(0, 1, edge_attr.shape[0], dtype=x.dtype).unsqueeze(-1)
        edge_attr = torch.cat([edge_attr, self.time(age).cos()], dim=-1)
        for layer in (self.sage, self.gat, self.transformer):
            targets = x[: x.shape[0] - 4]
            inside = (edge_index[0] < x.shape[0]) & (edge_index[1] < targets.shape[0])
            more = (edge_attr[inside],) if layer is self.transformer else ()
            x = layer((x, targets), edge_index[:, inside], *more)
        return x


class Relations(nn.Module):
    """Layers for typed edges, on embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.RGCNConv(NODES, HIDDEN, 3, num_bases=2)
        self.second = pyg.RGCNConv(HIDDEN, HIDDEN, 3, num_blocks=2, aggr="add")
        self.fast, self.attention = pyg.FastRGCNConv(HIDDEN, HIDDEN, 3), pyg.RGATConv(HIDDEN, 3, 3)

    def forward(self, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        x = None
        for layer in (self.first, self.second, self.fast, self.attention):
            x = layer(x, edge_index, edge_type)
        return x


TYPES = (["paper", "author"], [("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "by", "author")])


class TypedNodes(nn.Module):
    """Two types of nodes: HGT and HAN, or whatever takes dicts."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({"paper": nn.Linear(CHANNELS, HIDDEN), "author": nn.Linear(5, HIDDEN)})
        self.layers = nn.ModuleList(layers)

    def forward(self, x: dict[str, Tensor], edges: dict[Any, Tensor]) -> Tensor:
        x = {name: self.maps[name](rows).relu() for name, rows in x.items()}
        for layer in self.layers:
            x = layer(x, edges)
        return x["paper"]


class Homogeneous(nn.Module):
    """What ``to_hetero`` makes a model for several types of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.SAGEConv((-1, -1), HIDDEN)
        self.second = pyg.GATConv((-1, -1), 3, add_self_loops=False)
        self.lin = pyg.Linear(-1, 3)

    def forward(self, x: Any, edge_index: Any) -> Any:
        x = self.first(x, edge_index).relu()
        return self.second(x, edge_index) + self.lin(x)


def _two_types() -> tuple[dict[str, Tensor], dict[Any, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    counts = {"paper": 12, "author": 9}
    x = {
        name: torch.randn(counts[name], width, generator=generator, dtype=torch.double)
        for name, width in (("paper", CHANNELS), ("author", 5))
    }
    edges = {
        kind: torch.stack([torch.randint(counts[end], (30,), generator=generator) for end in (kind[0], kind[2])])
        for kind in TYPES[1]
    }
    return x, edges


def _sequential() -> nn.Module:
    return pyg.Sequential(
        "x, edge_index, batch",
        [
            (nn.Dropout(0.5), "x -> x"),
            (pyg.GCNConv(CHANNELS, HIDDEN), "x, edge_index -> x1"),
            nn.ReLU(inplace=True),
            (pyg.GATConv(HIDDEN, HIDDEN), "x1, edge_index -> x2"),
            nn.ReLU(inplace=True),
            (lambda x1, x2: [x1, x2], "x1, x2 -> xs"),
            (pyg.JumpingKnowledge("cat", HIDDEN, num_layers=2), "xs -> x"),
            (pyg.global_mean_pool, "x, batch -> x"),
            nn.Linear(2 * HIDDEN, 3),
        ],
    )


class Style(NamedTuple):
    """A model, its inputs, and the paths of the layers that become faster and that become L-CATs."""

    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    swapped: tuple[str, ...] = ()
    upgraded: tuple[str, ...] = ()


def _convs(*numbers: int, within: str = "convs") -> tuple[str, ...]:
    return tuple(f"{within}.{number}" for number in numbers)


def _with_edge_index(graph: Graph) -> EdgeIndex:
    edges, _ = EdgeIndex(graph.edge_index, sparse_size=(NODES, NODES)).sort_by("col")
    return edges


def styles() -> dict[str, Style]:
    """All models by name."""
    graph, batch, typed = make_graph(), make_batch(), _two_types()
    x, edges, weight, attr = graph
    generator = torch.Generator().manual_seed(1)
    series = torch.randn(NODES, CHANNELS, 3, generator=generator, dtype=torch.double)
    frames = torch.randn(2, 3, NODES, CHANNELS, generator=generator, dtype=torch.double)
    gcns, jumping = _convs(0, 1, 2), (*_convs(0, 1, 2), "last")
    unet = ("down_convs.0", "down_convs.1", "down_convs.2", "up_convs.0", "up_convs.1")
    hetero = [f"{name}.{'__'.join(kind)}" for name in ("first", "second") for kind in TYPES[1]]
    return {
        **{
            f"JKNet {mode}": Style(lambda mode=mode: JumpingKnowledge(mode), (x, edges), jumping, gcns)
            for mode in ("cat", "lstm", "max")
        },
        "sorted EdgeIndex": Style(lambda: JumpingKnowledge("cat"), (x, _with_edge_index(graph)), jumping, gcns),
        "graph U-net": Style(lambda: pyg.GraphUNet(CHANNELS, HIDDEN, 3, depth=2), (x, edges), unet, unet),
        "top-k pooling": Style(lambda: Pooled(pyg.GCNConv, pyg.TopKPooling), (batch,), _convs(0, 1), _convs(0, 1)),
        "SAG pooling": Style(
            lambda: Pooled(pyg.GraphConv, lambda width, ratio: pyg.SAGPooling(width, ratio, GNN=pyg.GATConv)),
            (batch,),
            (*_convs(0, 1), "pools.0.gnn", "pools.1.gnn"),
            ("pools.0.gnn", "pools.1.gnn"),
        ),
        "edge features": Style(
            EdgeFeatures, (x, edges, attr), ("first", "second", "third"), ("first", "second", "third")
        ),
        "DeeperGCN": Style(
            Deep,
            (x, edges, attr),
            ("layers.0.conv", "layers.1.conv", "layers.2.conv"),
            ("layers.0.conv", "layers.2.conv"),
        ),
        "checkpointed": Style(Checkpointed, (x, edges), _convs(0, 1, 2), _convs(0, 1)),
        "MixHop, EdgeConv, SuperGAT": Style(Mixed, (x, edges, weight), ("mix", "mix_more")),
        "EdgeCNN": Style(lambda: pyg.EdgeCNN(CHANNELS, HIDDEN, 2, 3), (x, edges)),
        "HGT": Style(lambda: TypedNodes(*(pyg.HGTConv(HIDDEN, HIDDEN, TYPES, 2) for _ in range(2))), typed),
        "HAN": Style(lambda: TypedNodes(pyg.HANConv(HIDDEN, HIDDEN, TYPES, heads=2)), typed),
        "A3TGCN": Style(Temporal, (series, edges, weight), *[_convs(0, 1, 2, within="gates")] * 2),
        "space and time": Style(SpaceTime, (frames, edges, weight), ("cheb", "gcn", "graph"), ("gcn",)),
        "SIGN": Style(Precomputed, (x, edges, weight)),
        "LightGCN": Style(Recommender, (edges, weight), gcns),
        "molecules": Style(Molecules, (batch,), ("gin",)),
        "Sequential": Style(_sequential, (batch.x, batch.edge_index, batch.batch), *[("module_1", "module_3")] * 2),
        "to_hetero": Style(
            lambda: pyg.to_hetero(Homogeneous(), TYPES, aggr="mean"), typed, tuple(hetero), tuple(hetero[3:])
        ),
        "own layers": Style(OwnLayers, (x, edges), ("gated", "skipping")),
        "tied": Style(Tied, (x, edges), ("gcn", "gat", "sage"), ("gcn", "gat")),
        "scripted parts": Style(Scripted, (x, edges), ("gin", "gat"), ("gat",)),
        "aggregations": Style(Aggregating, (x, edges, weight), _convs(0, 1)),
        "sampled": Style(Sampled, (x, edges, attr), ("sage", "gat", "transformer"), ("gat",)),
        "relations": Style(Relations, (edges, torch.arange(edges.shape[1]) % 3), ("first", "second")),
        "DataParallel": Style(
            lambda: nn.DataParallel(JumpingKnowledge("cat")),
            (x, edges),
            tuple(f"module.{path}" for path in jumping),
            tuple(f"module.{path}" for path in gcns),
        ),
        "compiled": Style(
            lambda: torch.compile(JumpingKnowledge("cat"), backend="eager"),
            (x, edges),
            tuple(f"_orig_mod.{path}" for path in jumping),
            tuple(f"_orig_mod.{path}" for path in gcns),
        ),
        "LINKX": Style(lambda: pyg.LINKX(NODES, CHANNELS, HIDDEN, 3, num_layers=2), (x, edges, weight), ("edge_lin",)),
        "PMLP": Style(lambda: pyg.PMLP(CHANNELS, HIDDEN, 3, 2), (x, edges), ("conv",)),
    }
