"""Figures of a model on a whole graph."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from lcat.data import csbm
from lcat.nn.models import GAT
from lcat.train import WholeGraph


def test_measures_the_parts():
    data = csbm(n=200, seed=0)
    model = GAT(data.num_features, 8, 1, 2).eval()
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask.nonzero().flatten()}, rows=50)
    figures = evaluate(model)
    with torch.no_grad():
        logits = model(data.x, data.edge_index)
    for part, mask in (("val", data.val_mask), ("test", data.test_mask)):
        assert figures[part] == pytest.approx(float((logits.argmax(1) == data.y)[mask].double().mean()))
    assert figures["val_loss"] == pytest.approx(float(F.cross_entropy(logits[data.val_mask], data.y[data.val_mask])))
    many = Data(x=data.x, edge_index=data.edge_index, y=torch.randint(0, 2, (200, 3)).float(), num_nodes=200)
    figures = WholeGraph(many, {"test": data.test_mask}, lambda logits, y: 0.25)(GAT(data.num_features, 8, 1, 3))
    assert figures == {"test": 0.25}
