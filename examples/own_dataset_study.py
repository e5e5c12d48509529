"""Compare the layers on your own data set.

    python examples/own_dataset_study.py [FOLDER]

The same works from the command line: save a PyG ``Data`` with x, edge_index, y and, if you have them, train_mask,
val_mask and test_mask by ``torch.save(data, "mine.pt")``, then run ``lcat study --dataset mine.pt``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torch_geometric.data import Data

from lcat.data import NodeDataset, random_splits
from lcat.study import Study, make_plan, run_study


def my_graph() -> Data:
    """Replace this by your data. Here: three classes on a ring; each node has edges to nearby nodes of any class."""
    generator = torch.Generator().manual_seed(0)
    n = 240
    y = torch.arange(n) % 3
    x = torch.nn.functional.one_hot(y, 3) + 0.8 * torch.randn(n, 3, generator=generator)
    steps = torch.tensor([1, 3, 6, 9])
    source = torch.arange(n).repeat_interleave(4)
    target = (source + steps.repeat(n)) % n
    edges = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    return Data(x=x, edge_index=edges, y=y)


def main(folder: str | Path) -> Study:
    data = my_graph()
    # Every seed draws its own stratified split. To use your own masks, replace random_splits by splits_from_masks.
    dataset = NodeDataset("rings", data, random_splits(data.y, (0.5, 0.25, 0.25)), metric="accuracy")
    plan = make_plan(
        datasets=["rings"],
        own=["rings"],
        layers=["gcn", "gat", "cat", "lcat"],
        seeds=range(2),
        overrides={"epochs": 30, "hidden_channels": 16, "heads": 4},
    )
    study = run_study(plan, folder, own={"rings": dataset}, engine="inline").study
    for row in study.compare().summary.itertuples():
        print(f"{row.layer:5} {100 * row.test:.1f} ± {100 * row.std:.1f} %{'  <- best' if row.best else ''}")
    for path in study.report():
        print(f"wrote {path}")
    return study


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="rings-"))
