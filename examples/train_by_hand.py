"""Train an L-CAT layer in a custom training loop in plain PyTorch, and print the lambdas that it learns.

python examples/train_by_hand.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lcat.data import csbm
from lcat.nn import LCATConv


def main() -> dict[str, float]:
    torch.manual_seed(0)
    # Neighbors have either class with the same probability: their mean says nothing, so attention must select them.
    data = csbm(n=300, p=0.5, q=0.5, regime="easy", seed=0)

    # A node has about 150 neighbors here, so an initial lambda2 near 1 / 150 is in effect between GAT and CAT.
    layer = LCATConv(data.num_features, 2, heads=4, concat=False, lambda2_init=0.01)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)

    for epoch in range(61):
        layer.train()
        optimizer.zero_grad()
        logits = layer(data.x, data.edge_index)
        loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()

        if epoch % 20 == 0:
            layer.eval()
            with torch.no_grad():
                right = layer(data.x, data.edge_index).argmax(dim=-1) == data.y
                lambda1, lambda2 = layer.lambda1.item(), layer.lambda2.item()
            test = right[data.test_mask].float().mean().item()
            print(
                f"epoch {epoch:2}  loss {loss.item():.3f}  test {100 * test:5.1f} %  lambda {lambda1:.3f} {lambda2:.4f}"
            )
    return {"test": test, "lambda1": lambda1, "lambda2": lambda2}


if __name__ == "__main__":
    main()
