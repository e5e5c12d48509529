"""Use L-CAT in a model that was written for PyG's GATConv: change only the class.

python examples/drop_in.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv

from lcat.data import Split, csbm
from lcat.nn import LCATConv
from lcat.train import FitConfig, fit, seed_everything


class Net(torch.nn.Module):
    """An ordinary model with two attention layers. Only ``conv`` changes."""

    def __init__(self, conv: type, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, 8, heads=4)
        self.conv2 = conv(4 * 8, out_channels, heads=1)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        x = F.elu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index)


def main() -> dict[str, float]:
    data = csbm(n=300, q=0.3, regime="hard", seed=0)
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    accuracy = {}
    for conv in (GATConv, LCATConv):
        seed_everything(0)
        model = Net(conv, data.num_features, 2)
        result = fit(model, data, split, FitConfig(epochs=40, lr=0.02))
        accuracy[conv.__name__] = result.test
        print(f"{conv.__name__:9} test accuracy {100 * result.test:.1f} %")
    for name, (lambda1, lambda2) in result.lambdas.items():
        print(
            f"  {name}: lambda1 {lambda1:.2f} (0: uniform mean, 1: attention), lambda2 {lambda2:.2f} (0: GAT, 1: CAT)"
        )

    # GAT is the special case lambda1 = 1, lambda2 = 0, so a GAT checkpoint gives the same numbers.
    gat, same = (
        GATConv(data.num_features, 8, heads=4),
        LCATConv(data.num_features, 8, heads=4, lambda1=1.0, lambda2=0.0),
    )
    same.load_state_dict(gat.state_dict())
    difference = float((gat(data.x, data.edge_index) - same(data.x, data.edge_index)).abs().max().detach())
    print(f"largest difference to GATConv at lambda = (1, 0): {difference:.1e}")
    accuracy["difference"] = difference
    return accuracy


if __name__ == "__main__":
    main()
