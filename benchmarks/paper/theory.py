"""The theory of CAT on contextual stochastic block models: accuracy, and where attention goes.

    python benchmarks/paper/theory.py
    python benchmarks/paper/theory.py --quick

Accuracy: ``plans/theory.toml``. Attention: for some of its graphs, the share of a node's attention (self-loops aside)
that stays inside its class, averaged over nodes and heads of the first layer, for closed-form scores and for trained
layers; beside it the share of its edges that do. GAT should tell the edges of the two kinds apart with easy features,
CAT with hard ones and few edges between classes.
"""

from __future__ import annotations

from typing import Any

import _paper
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.data import Split, csbm
from lcat.study import LAYERS, build_model, default_hyper_parameters
from lcat.train import fit, seed_everything

PARTS = (_paper.Part("theory", "theory"),)
KINDS = ("gat", "cat", "lcat", "gat-theory", "cat-theory", "lcat-theory")
REGIMES, PROBABILITIES, SEEDS = ("easy", "hard"), (0.1, 0.2, 0.3, 0.4), (0, 1, 2)


def inside(edge_index: Tensor, weights: Tensor, data: Data) -> float:
    """Mean share of the weights ``[E]`` or ``[E, H]`` into a node, self-loops aside, from nodes of its class."""
    source, target = edge_index
    other = source != target
    source, target = source[other], target[other]
    values = weights[other].double().reshape(len(source), -1)
    same = (data.y[source] == data.y[target]).double().unsqueeze(-1)
    total = values.new_zeros(data.num_nodes, values.size(1)).index_add_(0, target, values)
    share = values.new_zeros(data.num_nodes, values.size(1)).index_add_(0, target, values * same)
    # A node that attends to itself alone, in floating point, has no share.
    return float((share[total > 0] / total[total > 0]).mean())


def attention(kind: str, data: Data, seed: int) -> float:
    """The share of the attention of one layer, trained where it learns anything but scalars."""
    dataset = "csbm:easy"
    hyper = default_hyper_parameters(dataset, kind)
    seed_everything(seed)
    model: nn.Module = build_model(kind, data.num_features, 2, hyper)
    fit(model, data, Split(data.train_mask, data.val_mask, data.test_mask), hyper.fit_config(), seed=seed)
    conv = model.conv if LAYERS[kind].variant == "theory" else model.gnn.convs[0]
    model.eval()
    with torch.no_grad():
        _, (edge_index, alpha) = conv(data.x, data.edge_index, return_attention_weights=True)
    return inside(edge_index, alpha, data)


def shares(quick: bool) -> list[dict[str, Any]]:
    """A row per regime, probability, layer and seed."""
    rows = []
    for regime in REGIMES:
        for q in PROBABILITIES[:1] if quick else PROBABILITIES:
            for seed in SEEDS[:1] if quick else SEEDS:
                data = csbm(n=200 if quick else 1000, q=q, regime=regime, seed=seed)
                edges = inside(data.edge_index, torch.ones(data.num_edges), data)
                row = {"regime": regime, "q": q, "seed": seed, "edges": edges}
                row |= {kind: attention(kind, data, seed) for kind in KINDS}
                rows.append({name: _paper.plain(value) for name, value in row.items()})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run, print, write."""
    options = _paper.make_parser(__doc__).parse_args()
    _paper.only_whole_data_sets(options)
    studies = {part.name: study for part in PARTS if (study := _paper.run_part(part, options)) is not None}
    report: dict[str, Any] = {"rows": [], "attention": [] if options.collect else shares(options.quick)}
    for study in studies.values():
        report["rows"] = _paper.rows_of(study.compare().summary, ("dataset", "layer", "runs", "test", "std"))
    _paper.write(__file__, options, studies, report)


if __name__ == "__main__":
    main()
