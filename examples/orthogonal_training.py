"""Train a deep GCN with orthogonal hidden weights, with one optimizer for the whole model.

    python examples/orthogonal_training.py

The graph has two blocks of nodes with noisy features. The model has eight GCN layers. Its hidden weight matrices stay
orthonormal, and AdamW updates the first layer, the last layer and the biases. There is one scheduler, one state_dict
and one call of ``step`` for both.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from lcat.optim import POGO, orthogonal_groups


class DeepGCN(nn.Module):
    """``depth`` graph convolutions without residual connections."""

    def __init__(self, features: int, hidden: int, classes: int, depth: int) -> None:
        super().__init__()
        widths = [features] + [hidden] * (depth - 1) + [classes]
        self.convs = nn.ModuleList(GCNConv(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs[:-1]:
            x = conv(x, edge_index).relu()
        return self.convs[-1](x, edge_index)


def two_blocks(nodes: int = 300, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features, edges and labels of a two-block graph."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(nodes) >= nodes // 2).long()
    probability = torch.where(labels[:, None] == labels[None], 0.03, 0.005)
    upper = (torch.rand(nodes, nodes, generator=generator) < probability).triu(1)
    edges = (upper | upper.T).nonzero().T.contiguous()
    x = torch.randn(nodes, 16, generator=generator) + 0.3 * (2 * labels[:, None] - 1)
    return x, edges, labels


def main(epochs: int = 60, depth: int = 8) -> dict[str, float]:
    """Train, and return the final test accuracy and orthogonality error."""
    torch.manual_seed(0)
    x, edges, labels = two_blocks()
    train = torch.zeros(len(labels), dtype=torch.bool)
    train[::4] = True
    model = DeepGCN(16, 32, 2, depth)

    groups = orthogonal_groups(model, lr=1e-2, weight_decay=5e-4)
    print(groups)
    optimizer = POGO(groups, lr=0.1, base="vadam")
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, edges)[train], labels[train])
        loss.backward()
        optimizer.step()
        schedule.step()
        if epoch % 20 == 0:
            print(f"epoch {epoch:3d}  loss {loss.item():.3f}  |W W^T - I| {optimizer.orthogonality_error():.1e}")
    with torch.no_grad():
        accuracy = (model(x, edges).argmax(1) == labels)[~train].float().mean().item()
    print(f"test accuracy {accuracy:.3f}, |W W^T - I| {optimizer.orthogonality_error():.1e}")
    return {"accuracy": accuracy, "error": optimizer.orthogonality_error()}


if __name__ == "__main__":
    main()
