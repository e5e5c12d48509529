"""The training loop takes the optimizers of lcat.optim by name."""

from __future__ import annotations

import pytest
import torch

from lcat import optim
from lcat.nn import GCNConv, LCATConv
from lcat.train import build_optimizer, optimizer_names

NAMES = {
    "pogo": optim.POGO,
    "landing": optim.Landing,
    "landing-pc": optim.LandingPC,
    "rsgd": optim.RiemannianSGD,
    "radam": optim.RiemannianAdam,
    "rsdm": optim.RSDM,
    "slpg": optim.SLPG,
}


class Stack(torch.nn.Module):
    def __init__(self, *convs):
        super().__init__()
        self.convs = torch.nn.ModuleList(convs)

    def forward(self, x, edge_index):
        for conv in self.convs[:-1]:
            x = conv(x, edge_index).relu()
        return self.convs[-1](x, edge_index)


def three_layers():
    torch.manual_seed(0)
    return Stack(LCATConv(6, 4, heads=2), LCATConv(8, 4, heads=2), LCATConv(8, 3))


@pytest.mark.parametrize("name", NAMES)
def test_by_name(name):
    assert name in optimizer_names()
    model = three_layers()
    optimizer = build_optimizer(name, model, lr=0.01, weight_decay=5e-4)
    assert type(optimizer) is NAMES[name]
    orthogonal = [n for g in optimizer.param_groups if g["orthogonal"] for n in g["param_names"]]
    assert orthogonal == ["convs.1.lin.weight"]
    decays = {n: g["weight_decay"] for g in optimizer.param_groups for n in g["param_names"]}
    assert set(decays) == {n for n, _ in model.named_parameters()}
    for n, p in model.named_parameters():
        assert decays[n] == (5e-4 if p.numel() > 1 and n != "convs.1.lin.weight" else 0.0), n
    assert {g["lr"] for g in optimizer.param_groups if g["orthogonal"]} == {0.1}
    assert {g["lr"] for g in optimizer.param_groups if not g["orthogonal"]} == {0.01}
    x, edge_index = torch.randn(12, 6), torch.randint(0, 12, (2, 50))
    target, losses = torch.randint(0, 3, (12,)), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x, edge_index), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert optimizer.orthogonality_error() < 0.5


def test_the_part_of_the_model_can_be_chosen():
    model = three_layers()
    optimizer = build_optimizer("pogo", model, lr=0.01, include="convs.2.lin.weight", orthogonal_lr=0.3, base="sgd")
    assert optimizer.param_groups[0]["param_names"] == ["convs.2.lin.weight"]
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["base"]) == (0.3, "sgd")


def test_two_layers_have_the_first_constrained():
    model = Stack(GCNConv(6, 4), GCNConv(4, 3))
    assert build_optimizer("pogo", model, lr=0.01).param_groups[0]["param_names"] == ["convs.0.lin.weight"]
    with pytest.raises(optim.NoWeightToConstrain, match="no weight is left"):
        build_optimizer("pogo", model, lr=0.01, first=False)
