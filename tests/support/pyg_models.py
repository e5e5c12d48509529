"""Models as users of PyG write them, made of PyG's classes only, on a small graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.nn.models.basic_gnn import BasicGNN

CHANNELS, HIDDEN, NODES, EDGES, EDGE_CHANNELS = 6, 8, 23, 90, 3


class Inputs(NamedTuple):
    """One graph with loops, parallel edges and a node without edges."""

    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    edge_attr: Tensor


def make_inputs(dtype: torch.dtype = torch.double, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(NODES - 1, (2, EDGES), generator=generator)
    edges = edges[:, edges[0] != edges[1]]
    # One loop per node: of parallel ones PyG gives all a gradient, though only one of them has an effect.
    edges = torch.cat([edges, edges[:, :4], torch.tensor([[3, 5], [3, 5]])], dim=1)
    edges = edges[:, torch.randperm(edges.shape[1], generator=generator)]
    x = torch.randn(NODES, CHANNELS, generator=generator, dtype=dtype)
    weight = torch.rand(edges.shape[1], generator=generator, dtype=dtype) + 0.1
    attr = torch.randn(edges.shape[1], EDGE_CHANNELS, generator=generator, dtype=dtype)
    return Inputs(x, edges, weight, attr)


class Stack(nn.Module):
    """Layers with ReLU between them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, edge_index: Tensor, **keywords: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, edge_index, **keywords).relu()
        return x


class DeepStack(nn.Module):
    """DeeperGCN's order of normalization, activation and layer, around GCNConv."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(CHANNELS, HIDDEN)
        self.layers = nn.ModuleList(
            pyg.DeepGCNLayer(pyg.GCNConv(HIDDEN, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), block=block, dropout=0.0)
            for block in ("res+", "res", "dense")
        )
        self.decoder = nn.Linear(2 * HIDDEN, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.encoder(x)
        for layer in self.layers:
            x = layer(x, edge_index)
        return self.decoder(x)


class GCNII(nn.Module):
    """GCNII: every layer sees the first features."""

    def __init__(self, shared: bool = True) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(CHANNELS, HIDDEN), nn.Linear(HIDDEN, 3)
        self.layers = nn.ModuleList(
            pyg.GCN2Conv(HIDDEN, alpha=0.1, theta=0.5, layer=number + 1, shared_weights=shared) for number in range(4)
        )

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        x = x_0 = self.first(x).relu()
        for layer in self.layers:
            x = layer(x, x_0, edge_index, edge_weight).relu()
        return self.last(x)


class TwoTypes(nn.Module):
    """A HeteroConv: half of the nodes are of another type."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = pyg.HeteroConv(
            {
                ("a", "to", "a"): pyg.GCNConv(-1, HIDDEN),
                ("a", "to", "b"): pyg.GATConv((-1, -1), HIDDEN, add_self_loops=False),
                ("b", "to", "a"): pyg.SAGEConv((-1, -1), HIDDEN),
                ("b", "to", "b"): pyg.GATv2Conv(-1, HIDDEN),
            },
            aggr="sum",
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out = self.conv(*two_types(x, edge_index))
        return torch.cat([out["a"], out["b"]])


def two_types(x: Tensor, edge_index: Tensor) -> tuple[dict[str, Tensor], dict[tuple[str, str, str], Tensor]]:
    """The graph with its first half of nodes as type a, the others as type b."""
    half = NODES // 2
    is_b = edge_index >= half
    edges = {}
    for source, first in (("a", ~is_b[0]), ("b", is_b[0])):
        for target, second in (("a", ~is_b[1]), ("b", is_b[1])):
            start = torch.tensor([[0 if source == "a" else half], [0 if target == "a" else half]])
            edges[source, "to", target] = edge_index[:, first & second] - start
    return {"a": x[:half], "b": x[half:]}, edges


class ToHetero(nn.Module):
    """A model that ``to_hetero`` has copied for each type of edges."""

    def __init__(self) -> None:
        super().__init__()

        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv1 = pyg.SAGEConv((-1, -1), HIDDEN)
                self.conv2 = pyg.GATConv((-1, -1), 3, add_self_loops=False)
                self.lin = pyg.Linear(-1, 3)

            def forward(self, x: Any, edge_index: Any) -> Any:
                x = self.conv1(x, edge_index).relu()
                return self.conv2(x, edge_index) + self.lin(x)

        types = [(source, "to", target) for source in "ab" for target in "ab"]
        self.model = pyg.to_hetero(Two(), (["a", "b"], types))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out = self.model(*two_types(x, edge_index))
        return torch.cat([out["a"], out["b"]])


class GPS(nn.Module):
    """A graph transformer with local attention."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(CHANNELS, HIDDEN)
        self.layers = nn.ModuleList(
            pyg.GPSConv(HIDDEN, pyg.GATConv(HIDDEN, HIDDEN // 2, heads=2), heads=2, norm="layer_norm") for _ in range(2)
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, edge_index)
        return x


class PlainSubclass(pyg.GATConv):
    """A subclass that changes no step."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, edge_index: Tensor, **keywords: Any) -> Tensor:
        return self.scale * super().forward(x, edge_index, **keywords)


class ScaledTransformer(pyg.TransformerConv):
    """A subclass that changes no step, with a parameter of its own."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        return self.scale * super().forward(x, edge_index, edge_attr)


class Transformer(BasicGNN):
    """PyG's basic model, with TransformerConv."""

    supports_edge_weight: Final[bool] = False
    supports_edge_attr: Final[bool] = True
    supports_norm_batch: Final[bool]

    def init_conv(self, in_channels: int, out_channels: int, **keywords: Any) -> pyg.TransformerConv:
        return pyg.TransformerConv(in_channels, out_channels // 2, heads=2, **keywords)


class OtherMessages(pyg.GATConv):
    """A subclass with messages of its own."""

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        return 2 * alpha.unsqueeze(-1) * x_j.tanh()


class Recurrent(nn.Module):
    """A GRU whose maps are graph convolutions, over three steps; the layers are shared between steps."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = pyg.GCNConv(CHANNELS + HIDDEN, 2 * HIDDEN)
        self.candidate = pyg.ChebConv(CHANNELS + HIDDEN, HIDDEN, K=2)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        state = x.new_zeros(x.shape[0], HIDDEN)
        for _ in range(3):
            update, reset = self.gates(torch.cat([x, state], dim=1), edge_index, edge_weight).sigmoid().chunk(2, dim=1)
            new = self.candidate(torch.cat([x, reset * state], dim=1), edge_index, edge_weight).tanh()
            state = update * state + (1 - update) * new
        return state


def _gae() -> nn.Module:
    class Autoencoder(pyg.GAE):
        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            z = self.encode(x, edge_index)
            return self.decode(z, edge_index).view(-1, 1)

    return Autoencoder(pyg.GCN(CHANNELS, HIDDEN, num_layers=2))


def _pna() -> nn.Module:
    degree = torch.tensor([1, 2, 5, 9, 4, 2])
    return pyg.PNA(
        CHANNELS,
        HIDDEN,
        2,
        aggregators=["mean", "min", "max", "std"],
        scalers=["identity", "amplification"],
        deg=degree,
    )


def _sequential() -> nn.Module:
    return pyg.Sequential(
        "x, edge_index",
        [
            (pyg.GCNConv(CHANNELS, HIDDEN), "x, edge_index -> x"),
            nn.ReLU(),
            (pyg.SGConv(HIDDEN, 3, K=2), "x, edge_index -> x"),
        ],
    )


class Case(NamedTuple):
    """A model, and the names of the inputs that it takes beside x and edge_index."""

    make: Callable[[], nn.Module]
    takes: tuple[str, ...] = ()


def _gin() -> nn.Module:
    return pyg.GIN(CHANNELS, HIDDEN, num_layers=2, out_channels=3, train_eps=True)


MODELS: dict[str, Case] = {
    "GCN": Case(lambda: pyg.GCN(CHANNELS, HIDDEN, num_layers=3, out_channels=3), ("edge_weight",)),
    "GAT": Case(lambda: pyg.GAT(CHANNELS, HIDDEN, num_layers=2, out_channels=3, heads=2)),
    "GATv2": Case(lambda: pyg.GAT(CHANNELS, HIDDEN, num_layers=2, out_channels=3, v2=True, edge_dim=3), ("edge_attr",)),
    "GAT with JK": Case(lambda: pyg.GAT(CHANNELS, HIDDEN, num_layers=3, out_channels=3, jk="cat")),
    "GAT with residuals": Case(lambda: pyg.GAT(CHANNELS, HIDDEN, num_layers=2, heads=4, residual=True)),
    "GraphSAGE": Case(lambda: pyg.GraphSAGE(CHANNELS, HIDDEN, num_layers=2, out_channels=3)),
    "GraphSAGE max": Case(lambda: pyg.GraphSAGE(CHANNELS, HIDDEN, num_layers=2, aggr="max", project=True)),
    "GIN": Case(_gin),
    "PNA": Case(_pna),
    "DeepGCN": Case(DeepStack),
    "GCNII": Case(GCNII, ("edge_weight",)),
    "GAE": Case(_gae),
    "HeteroConv": Case(TwoTypes),
    "to_hetero": Case(ToHetero),
    "GPS with a local GAT": Case(GPS),
    "TransformerConv": Case(
        lambda: Stack(
            pyg.TransformerConv(CHANNELS, 4, heads=2, edge_dim=EDGE_CHANNELS, beta=True),
            pyg.TransformerConv(8, 4, heads=2, edge_dim=EDGE_CHANNELS, concat=False),
        ),
        ("edge_attr",),
    ),
    "TransformerConv with JK": Case(lambda: Transformer(CHANNELS, HIDDEN, num_layers=2, out_channels=3, jk="cat")),
    "a subclass of TransformerConv": Case(
        lambda: Stack(ScaledTransformer(CHANNELS, 4, heads=2), ScaledTransformer(8, 4, root_weight=False))
    ),
    "a plain subclass": Case(lambda: Stack(PlainSubclass(CHANNELS, 4, heads=2))),
    "a subclass with other messages": Case(lambda: Stack(OtherMessages(CHANNELS, 4, heads=2))),
    "recurrent": Case(Recurrent, ("edge_weight",)),
    "Sequential": Case(_sequential),
    "ARMA": Case(lambda: Stack(pyg.ARMAConv(CHANNELS, 4, num_stacks=2, num_layers=2)), ("edge_weight",)),
    "APPNP": Case(
        lambda: pyg.Sequential(
            "x, edge_index", [(nn.Linear(CHANNELS, 3), "x -> x"), (pyg.APPNP(4, 0.1), "x, edge_index -> x")]
        )
    ),
    "TAG": Case(lambda: Stack(pyg.TAGConv(CHANNELS, 4, K=2), pyg.SSGConv(4, 3, alpha=0.1, K=2)), ("edge_weight",)),
    "LightGCN layers": Case(lambda: Stack(pyg.LGConv(), pyg.ClusterGCNConv(CHANNELS, 4))),
    "gated": Case(lambda: Stack(pyg.GatedGraphConv(HIDDEN, num_layers=2)), ("edge_weight",)),
    "directed": Case(lambda: Stack(pyg.DirGNNConv(pyg.SAGEConv(CHANNELS, 4)))),
}


def make_model(name: str, dtype: torch.dtype = torch.double) -> nn.Module:
    """A model with sizes known and dropout off, the same at each call."""
    torch.manual_seed(0)
    model = MODELS[name].make().to(dtype)
    with torch.no_grad():
        run(model, name, make_inputs(dtype))  # lazy sizes
    return model


def run(model: nn.Module, name: str, inputs: Inputs) -> Tensor:
    """The output of a model."""
    keywords = {key: getattr(inputs, key) for key in MODELS[name].takes}
    return model(inputs.x, inputs.edge_index, **keywords)


def loss_of(out: Tensor) -> Tensor:
    """A number that depends on all of the output."""
    target = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return F.mse_loss(out, target)
