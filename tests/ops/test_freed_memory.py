"""Storages that were freed or shrunk beneath their tensors: an error that names the argument, never a wild read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lcat.graph import Graph, graph_view
from lcat.nn import GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv
from lcat.ops import aggregate, dropout, gat_attention, gatv2_attention, native_status, use_implementation
from tests.ops.cases import dot_attention_as_one

NODES, EDGES = 50, 400
IMPLEMENTATIONS = ["naive"] if native_status().instruction_set is None else ["native", "naive"]
SIZES = {
    aggregate: {"x": (NODES, 2, 16), "edge_weight": (EDGES, 2), "source_scale": (NODES,), "target_scale": (NODES,)},
    gat_attention: {
        "source_score": (NODES, 2),
        "target_score": (NODES, 2),
        "value": (NODES, 2, 16),
        "edge_score": (EDGES, 2),
        "edge_weight": (EDGES,),
    },
    gatv2_attention: {
        "key": (NODES, 2, 16),
        "query": (NODES, 2, 16),
        "value": (NODES, 2, 16),
        "att": (2, 16),
        "edge_attr": (EDGES, 3),
        "edge_matrix": (32, 3),
        "edge_weight": (EDGES,),
    },
    dot_attention_as_one: {
        "query": (NODES, 2, 16),
        "key": (NODES, 2, 16),
        "value": (NODES, 2, 16),
        "edge_attr": (EDGES, 3),
        "query_edge": (NODES, 2, 3),
        "edge_weight": (EDGES,),
    },
}
ARGUMENTS = [(primitive, name) for primitive, sizes in SIZES.items() for name in sizes]


def random_edges() -> Tensor:
    return torch.randint(NODES, (2, EDGES))


def random_graph() -> Graph:
    return graph_view(random_edges(), NODES, NODES)[0]


def shrink(tensor: Tensor, rest: int) -> None:
    tensor.untyped_storage().resize_(rest)


@pytest.mark.parametrize("rest", [0, 16])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("primitive", "name"), ARGUMENTS)
def test_arguments(primitive: Callable[..., Tensor], name: str, implementation: str, rest: int) -> None:
    tensors = {key: torch.randn(size) for key, size in SIZES[primitive].items()}
    shrink(tensors[name], rest)
    operator_names = {"edge_weight": "(edge_)?weight"}
    with (
        use_implementation(implementation),
        pytest.raises(RuntimeError, match=f"'{operator_names.get(name, name)}' with .* bytes of memory.*got {rest}"),
    ):
        primitive(**tensors, graph=random_graph())


@pytest.mark.skipif("native" not in IMPLEMENTATIONS, reason="no compiled kernels")
@pytest.mark.parametrize("rest", [0, 16])
@pytest.mark.parametrize(("primitive", "name"), ARGUMENTS)
def test_arguments_before_the_backward_pass(primitive: Callable[..., Tensor], name: str, rest: int) -> None:
    tensors = {key: torch.randn(size) for key, size in SIZES[primitive].items()}
    for key, tensor in tensors.items():
        tensor.requires_grad_("scale" not in key)
    out = primitive(**tensors, graph=random_graph())
    shrink(tensors[name], rest)
    with pytest.raises(RuntimeError, match=r"bytes of memory.*freed or shrunk"):
        out.sum().backward()


@pytest.mark.skipif("native" not in IMPLEMENTATIONS, reason="no compiled kernels")
def test_the_output_before_the_backward_pass() -> None:
    value = torch.randn(NODES, 2, 16, requires_grad=True)
    out = gat_attention(torch.randn(NODES, 2), None, value, random_graph())
    total = out.sum()
    shrink(out, 0)
    with pytest.raises(RuntimeError, match="'out' with"):
        total.backward()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("rest", [0, 16])
def test_edges(implementation: str, rest: int) -> None:
    edges = random_edges()
    graph, _ = graph_view(edges, NODES, NODES)
    shrink(edges, rest)
    with pytest.raises(RuntimeError, match="'edge_index' with"):
        graph_view(edges, NODES, NODES)
    with use_implementation(implementation), pytest.raises(RuntimeError, match="'source' with"):
        aggregate(torch.randn(NODES, 3), graph)
    for derived in ("by_target", "by_source", "in_degree"):
        with pytest.raises(RuntimeError, match="'source' with"):
            getattr(graph, derived)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_indices_of_a_matrix(layout: str) -> None:
    matrix = torch.sparse_coo_tensor(torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.ones(3), (3, 3))
    index = {"coo": lambda: matrix._indices(), "csr": lambda: matrix.col_indices(), "csc": lambda: matrix.row_indices()}
    if layout != "coo":
        matrix = matrix.to_sparse(layout=getattr(torch, f"sparse_{layout}"))
    shrink(index[layout](), 8)
    with pytest.raises(RuntimeError, match="'edge_index' with"):
        graph_view(matrix, None, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_dropout(dtype: torch.dtype) -> None:
    x = torch.ones(40, 8, dtype=dtype)
    shrink(x, 16)
    with pytest.raises(RuntimeError, match="'x' with"):
        dropout(x)


@pytest.mark.parametrize("rest", [0, 64])
@pytest.mark.parametrize("name", ["x", "edge_weight", "edge_attr"])
@pytest.mark.parametrize("layer", [GCNConv, GATConv, LCATConv, GATv2Conv, LCATv2Conv])
def test_layers(layer: type[torch.nn.Module], name: str, rest: int) -> None:
    """torch's own operations crash on such tensors."""
    if layer is GCNConv and name == "edge_attr":
        pytest.skip("GCNConv takes none")
    options = {"edge_dim": 3} if name == "edge_attr" else {}
    conv = layer(16, 8, **options)
    sizes = {"x": (NODES, 16), "edge_weight": (EDGES,), "edge_attr": (EDGES, 3)}
    arguments = {key: torch.randn(sizes[key]) for key in {"x", name}}
    shrink(arguments[name], rest)
    with pytest.raises(RuntimeError, match=f"'{name}' with .* bytes of memory"):
        conv(edge_index=random_edges(), **arguments)
