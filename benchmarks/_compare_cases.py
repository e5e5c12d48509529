"""The cases of ``compare.py``, and the process of one commit that runs them on request.

Every case uses public names alone, those that both commits have; where a name has changed, both spellings are tried. A
process reads one JSON object per line from standard input and answers with one:

    {"prepare": NAME, "size": SIZE, "numbers": FILE}  ->  {"seconds": of one run}, and its numbers in FILE (torch.save)
    {"run": NUMBER}                                   ->  {"seconds": of NUMBER runs of the case that was prepared}

and ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# One run of a case: does the work, and returns the numbers that both commits must agree on.
Run = Callable[[], dict[str, Tensor]]
SIZES = {
    # of a graph: nodes, edges; heads and features of a layer
    "tiny": {"small": (200, 1_000), "medium": (400, 4_000), "width": (2, 4), "epochs": 2, "matrices": 2},
    "full": {
        "small": (20_000, 400_000),
        "medium": (170_000, 1_200_000),
        "width": (8, 16),
        "epochs": 40,
        "matrices": 32,
    },
}
LAYERS = ("GCNConv", "GATConv", "GATv2Conv", "CATConv", "LCATConv", "LCATv2Conv")


def _edges(nodes: int, edges: int) -> Tensor:
    """Random edges with skewed degrees, sorted by target as most data sets are."""
    draw = torch.Generator().manual_seed(0)
    source = (torch.rand(edges, generator=draw).square() * nodes).long()
    target = (torch.rand(edges, generator=draw).pow(1.5) * nodes).long()
    return torch.stack([source, target])[:, torch.argsort(target * nodes + source)]


def _layer(name: str, graph: str, size: dict[str, Any]) -> Run:
    """Forward and backward pass of one layer, its weights drawn from a seed."""
    import lcat.nn

    heads, features = size["width"]
    nodes, edges = size[graph]
    torch.manual_seed(0)
    layer_class = getattr(lcat.nn, name)
    if name == "GCNConv":
        layer = layer_class(features, heads * features)
    else:
        layer = layer_class(features, features, heads=heads)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            # The same numbers whatever a commit draws, in the order of its parameters.
            draw = torch.Generator().manual_seed(number)
            parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.1)
    x = torch.randn(nodes, features, generator=torch.Generator().manual_seed(1), requires_grad=True)
    edge_index = _edges(nodes, edges)
    names = ["x", *(name for name, _ in layer.named_parameters())]
    inputs = [x, *layer.parameters()]
    cotangent = torch.randn(nodes, heads * features, generator=torch.Generator().manual_seed(2))

    def run() -> dict[str, Tensor]:
        out = layer(x, edge_index)
        gradients = torch.autograd.grad(out, inputs, cotangent)
        return {"out": out.detach(), **dict(zip(names, gradients, strict=True))}

    return run


def _view(size: dict[str, Any]) -> Run:
    """A graph that is seen for the first time: checked, sorted, with degrees."""
    from lcat.graph import graph_view

    nodes, edges = size["small"]
    edge_index = _edges(nodes, edges)

    def run() -> dict[str, Tensor]:
        graph, _ = graph_view(edge_index.clone(), nodes, nodes)
        return {"pointer": _first(graph.by_target, "pointer", "indptr")}

    return run


def _sampler(size: dict[str, Any], **options: Any) -> Run:
    """An epoch of sampled batches, with their features."""
    from torch_geometric.data import Data

    from lcat.data import neighbor_loader

    nodes, edges = size["small"]
    x = torch.randn(nodes, 32, generator=torch.Generator().manual_seed(1))
    data = Data(x=x, edge_index=_edges(nodes, edges))
    torch.manual_seed(0)
    loader = neighbor_loader(data, [10, 5], batch_size=1024, shuffle=True, backend="torch", **options)

    def run() -> dict[str, Tensor]:
        batches = list(loader)
        return {"nodes": torch.cat([b.n_id for b in batches]), "edges": torch.cat([b.e_id for b in batches])}

    return run


def _inference(size: dict[str, Any]) -> Run:
    """Exact outputs of a model of two layers, block by block."""
    from lcat.nn.models import LCAT
    from lcat.train import layerwise_inference

    nodes, edges = size["small"]
    torch.manual_seed(0)
    model = LCAT(16, 16, num_layers=2, out_channels=4, heads=2).eval()
    x = torch.randn(nodes, 16, generator=torch.Generator().manual_seed(1))
    edge_index = _edges(nodes, edges)
    return lambda: {"out": layerwise_inference(model, x, edge_index, rows=max(1, nodes // 4))}


def _optimizer(size: dict[str, Any]) -> Run:
    """Steps of POGO on square weights, from the same start."""
    from lcat.optim import POGO

    draw = torch.Generator().manual_seed(0)
    starts = [torch.linalg.qr(torch.randn(64, 64, generator=draw))[0] for _ in range(size["matrices"])]
    gradients = [torch.randn(64, 64, generator=draw) for _ in starts]

    def run() -> dict[str, Tensor]:
        weights = [torch.nn.Parameter(start.clone()) for start in starts]
        optimizer = POGO(weights, lr=0.1, base="vadam")
        for _ in range(10):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimizer.step()
        return {"weights": torch.stack([weight.detach() for weight in weights])}

    return run


def _study(size: dict[str, Any]) -> Run:
    """A study of four layers in this process, its folder written anew."""
    from lcat.study import Study, make_plan, run_study

    epochs = {"epochs": size["epochs"]}
    options = {
        "datasets": ["csbm:hard,n=400,q=0.3"],
        "layers": ["gcn", "gat", "cat", "lcat"],
        "seeds": 2,
    }
    try:
        plan = make_plan(**options, overrides={**epochs, "hidden_channels": 16, "patience": None})
    except (ValueError, TypeError):  # PlanError is a ValueError; these names are older than 'hidden_channels'
        plan = make_plan(**options, overrides={**epochs, "hidden": 16})

    def run() -> dict[str, Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run_study(plan, Path(folder, "study"), engine="inline")
            if outcome.failed:
                raise RuntimeError(f"{outcome.failed} cells of the study failed")
            frame = Study.load(Path(folder, "study")).results().sort_values(["layer", "seed"])
        return {"test": torch.tensor(frame["test"].to_numpy(dtype=float))}

    return run


def _first(owner: Any, *names: str) -> Any:
    """The first attribute of these that ``owner`` has: one name of two commits."""
    for name in names:
        if hasattr(owner, name):
            return getattr(owner, name)
    raise AttributeError(f"{type(owner).__name__} has none of {', '.join(names)}")


CASES: dict[str, Callable[[dict[str, Any]], Run]] = {
    **{
        f"kernels/{graph}/{layer}": lambda size, layer=layer, graph=graph: _layer(layer, graph, size)
        for graph in ("small", "medium")
        for layer in LAYERS
    },
    "graph/view": _view,
    "sampler/epoch": _sampler,
    "sampler/replace": lambda size: _sampler(size, replace=True),
    "inference/LCAT": _inference,
    "optim/POGO": _optimizer,
    "study/inline": _study,
}


@contextmanager
def _protocol() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Answers go to standard output; whatever else would write there goes to standard error."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        yield lambda answer: print(json.dumps(answer), file=answers, flush=True)


def serve() -> None:
    """Answer requests until the input ends."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    import lcat

    run: Run | None = None
    with _protocol() as answer:
        answer({"lcat": str(Path(lcat.__file__).parent), "python": sys.version.split()[0], "torch": torch.__version__})
        for line in sys.stdin:
            request = json.loads(line)
            if "prepare" in request:
                run = CASES[request["prepare"]](SIZES[request["size"]])
                torch.save(run(), request["numbers"])
            assert run is not None, "'run' before 'prepare'"
            start = time.perf_counter()
            for _ in range(request.get("run", 1)):
                run()
            answer({"seconds": time.perf_counter() - start})


if __name__ == "__main__":
    serve()
