"""Run by test_unseen_writes.py in two processes: collectives that write to edges and features without being counted.

Prints one line for each case in which a layer's output is not that for a copy of the edges.
"""

from __future__ import annotations

import faulthandler
import sys
from contextlib import nullcontext
from itertools import product

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch_geometric import EdgeIndex

import lcat.nn
from lcat.ops import use_implementation

FAMILIES = ("GCN2Conv", "PNAConv", "GINConv", "GraphConv", "SAGEConv", "TransformerConv")  # have other arguments
LAYERS = [name for name in lcat.nn.__all__ if name.endswith("Conv") and not name.endswith(FAMILIES)]

OLD = torch.tensor([[2, 2, 0, 3], [0, 1, 3, 2]])
NEW = torch.tensor([[0, 1, 1, 3], [1, 2, 3, 0]])
COLLECTIVES = ("broadcast", "scatter", "recv", "all_reduce")


def collective(how: str, tensor: torch.Tensor, new: torch.Tensor, rank: int) -> None:
    """Turn ``tensor`` of rank 1 into ``new``, which is that of rank 0."""
    if rank == 0:
        tensor.copy_(new)
    if how == "scatter":
        dist.scatter(tensor, [new, new] if rank == 0 else None, 0)
    elif how == "broadcast":
        dist.broadcast(tensor, 0)
    elif how == "all_reduce":
        dist.all_reduce(tensor)
    elif rank == 0:
        dist.send(tensor, 1)
    else:
        dist.recv(tensor, 0)


def formats() -> dict[str, tuple]:
    """The input of the layer, the tensor that is written to, and its new contents."""
    edges, narrow, inside, column = OLD.clone(), OLD.int(), OLD.clone(), OLD[0].clone()
    matrix = torch.sparse_csr_tensor(torch.arange(5), column, torch.ones(4), (4, 4))
    coo = torch.sparse_coo_tensor(OLD.clone(), torch.ones(4), (4, 4), is_coalesced=True)
    return {
        "edge_index": (edges, edges, NEW),
        "int32": (narrow, narrow, NEW.int()),
        "EdgeIndex": (EdgeIndex(inside, sparse_size=(4, 4)), inside, NEW),
        "csr": (matrix, matrix.col_indices(), NEW[0].clone()),
        "coo": (coo, coo._indices(), NEW),
    }


def fresh(edge_input: torch.Tensor) -> torch.Tensor:
    return edge_input.as_tensor().clone() if isinstance(edge_input, EdgeIndex) else edge_input.clone()


def report(*case: object) -> None:
    print("WRONG", *case, file=sys.stderr, flush=True)


class WithBuffer(torch.nn.Module):
    def __init__(self, conv: torch.nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("edges", OLD.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x, self.edges)


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    x = torch.randn(4, 8)
    layers = {name: getattr(lcat.nn, name)(8, 3, add_self_loops=False) for name in LAYERS}
    cases = [*product(COLLECTIVES, formats(), (None, "naive"), ("GCNConv", "LCATConv"))]
    cases += product(("broadcast",), ("edge_index",), (None, "naive"), LAYERS)
    for how, form, implementation, name in cases:
        edges, tensor, new = formats()[form]
        if how == "all_reduce":  # a sum of zeros and the new edges
            tensor.zero_()
        with use_implementation(implementation) if implementation else nullcontext():
            layers[name](x, edges)
            collective(how, tensor, new, rank)
            got, expected = layers[name](x, edges), layers[name](x, fresh(edges))
        if rank == 1 and not (torch.equal(tensor, new) and torch.equal(got, expected)):
            report(how, form, implementation, name)
    for name, layer in layers.items():
        net = DistributedDataParallel(WithBuffer(layer), find_unused_parameters=True)
        net(x)
        if rank == 0:
            net.module.edges.copy_(NEW)
        out = net(x)
        if not torch.equal(net.module.edges, NEW) or not torch.equal(out, layer(x, NEW.clone())):
            report("buffer of DDP", name)
    for name in ("CATConv", "LCATConv", "CATv2Conv", "LCATv2Conv"):
        layer = getattr(lcat.nn, name)(8, 3, cache_neighbor_sum=True)
        features, edges = x.clone(), OLD.clone()
        layer(features, edges)
        if rank == 0:
            features.mul_(3).add_(1)
        dist.broadcast(features, 0)
        if not torch.equal(layer(features, edges), layer(features.clone(), edges.clone())):
            report("features", name)
    print(f"done {rank}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(150, exit=True)  # where two processes wait for each other
    main()
