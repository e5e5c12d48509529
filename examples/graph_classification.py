"""Classify whole graphs: attention layers, then the sum over the nodes of each graph.

python examples/graph_classification.py                  # generated molecules: in which is an N bound to an O?
python examples/graph_classification.py --root data      # MUTAG (PyG downloads it into this folder if it is not there)
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.datasets import TUDataset
from torch_geometric.loader import DataLoader
from torch_geometric.nn import global_add_pool

import lcat.nn.models
from lcat.train import seed_everything


def molecule(label: int, generator: torch.Generator) -> Data:
    """A random tree of 8 to 15 atoms, each C, N or O. With label 1, some N is bound to an O; with label 0, none is."""
    while True:
        num_atoms = int(torch.randint(8, 16, (1,), generator=generator))
        parents = torch.tensor([int(torch.randint(atom, (1,), generator=generator)) for atom in range(1, num_atoms)])
        bonds = torch.stack([torch.arange(1, num_atoms), parents])
        kind = torch.randint(3, (num_atoms,), generator=generator)
        ends = kind[bonds].sort(dim=0).values
        if bool(((ends[0] == 1) & (ends[1] == 2)).any()) == bool(label):
            edge_index = torch.cat([bonds, bonds.flip(0)], dim=1)
            return Data(x=F.one_hot(kind, 3).float(), edge_index=edge_index, y=torch.tensor([label]))


class Net(torch.nn.Module):
    """Three L-CAT layers. The nodes of a batch of graphs are one large graph; ``batch`` says where each belongs."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.gnn = lcat.nn.models.LCAT(in_channels, hidden_channels=32, num_layers=3, heads=4, norm="batch")
        self.head = torch.nn.Linear(32, num_classes)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor, size: int) -> torch.Tensor:
        return self.head(global_add_pool(self.gnn(x, edge_index).relu(), batch, size))


def main(root: str | None = None, epochs: int = 30) -> dict[str, float]:
    seed_everything(0)
    if root is None:
        generator = torch.Generator().manual_seed(0)
        graphs = [molecule(label, generator) for label in [0, 1] * 150]
    else:
        graphs = list(TUDataset(root, "MUTAG").shuffle())
    held_out = len(graphs) // 5
    train, test = DataLoader(graphs[held_out:], batch_size=32, shuffle=True), DataLoader(graphs[:held_out], 256)
    model = Net(graphs[0].num_features, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    for epoch in range(1, epochs + 1):
        model.train()
        for data in train:
            optimizer.zero_grad()
            logits = model(data.x, data.edge_index, data.batch, data.num_graphs)
            loss = F.cross_entropy(logits, data.y)
            loss.backward()
            optimizer.step()

        model.eval()
        with torch.no_grad():
            right = sum(
                int((model(data.x, data.edge_index, data.batch, data.num_graphs).argmax(dim=-1) == data.y).sum())
                for data in test
            )
        accuracy = right / held_out
        if epoch % 10 == 0:
            print(f"epoch {epoch:2}  loss {loss.item():.3f}  test {100 * accuracy:5.1f} % of {held_out} graphs")
    return {"test": accuracy}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Classify whole graphs.")
    parser.add_argument("--root", help="folder of PyG's TUDataset; generated graphs if it is left out")
    main(parser.parse_args().root)
