"""Compare the layers on a data set of your own.

    python examples/own_dataset_study.py [FOLDER]

From the command line the same works with a file: ``lcat study --dataset mine.pt``, where ``mine.pt`` is
``torch.save(data, "mine.pt")`` of a PyG ``Data`` with x, edge_index, y and perhaps train_mask, val_mask, test_mask.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch_geometric.data import Data

from lcat.data import NodeDataset, random_splits
from lcat.study import SummaryRow, make_plan, run, summarize, write_report


def my_graph() -> Data:
    """Your data goes here; this one is three groups on a ring, each node linked to near nodes of any group."""
    generator = torch.Generator().manual_seed(0)
    n = 240
    y = torch.arange(n) % 3
    x = torch.nn.functional.one_hot(y, 3) + 0.8 * torch.randn(n, 3, generator=generator)
    steps = torch.tensor([1, 3, 6, 9])
    source = torch.arange(n).repeat_interleave(4)
    target = (source + steps.repeat(n)) % n
    edges = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    return Data(x=x, edge_index=edges, y=y)


def main(folder: str | Path) -> list[SummaryRow]:
    data = my_graph()
    # Every seed draws its own stratified split; splits_from_masks would hand out masks of your own instead.
    dataset = NodeDataset("rings", data, random_splits(data.y, (0.5, 0.25, 0.25)), metric="accuracy")
    plan = make_plan(
        datasets=["rings"],
        own=["rings"],
        layers=["gcn", "gat", "cat", "lcat"],
        seeds=range(2),
        overrides={"epochs": 30, "hidden_channels": 16, "heads": 4},
    )
    results = []
    for result in run(plan, own={"rings": dataset}):
        results.append(result)
        print(f"{result.cell.layer:5} seed {result.cell.seed}: test {100 * result.fit.test:.1f} %")
    rows = summarize(results)
    for row in rows:
        print(f"{row.layer:5} {100 * row.test:.1f} ± {100 * row.test_std:.1f} %{'  <- best' if row.best else ''}")
    for path in write_report(plan, results, folder):
        print(f"wrote {path}")
    return rows


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="rings-"))
