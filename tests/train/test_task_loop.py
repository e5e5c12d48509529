"""Training on a task of one's own; studies test what it computes."""

from __future__ import annotations

import pytest
import torch

from lcat.data import csbm
from lcat.nn import models
from lcat.train import Figures, fit_task


def test_a_graph_in_place_of_a_task():
    data = csbm(n=60, seed=0)
    with pytest.raises(TypeError, match=r"fit\(model, data, split\) trains on a graph"):
        fit_task(models.GAT(data.num_features, 4, 2, out_channels=2), data)


@pytest.mark.parametrize("norm", [torch.nn.BatchNorm1d(3), torch.nn.InstanceNorm1d(3)], ids=["batch", "instance"])
def test_a_batch_of_one_row_and_a_norm_that_needs_two(norm):
    class Alone:
        metric, higher_is_better = "mae", False

        def batches(self, epoch):
            return [torch.ones(1, 3, 1) if isinstance(norm, torch.nn.InstanceNorm1d) else torch.ones(1, 3)]

        def loss(self, model, batch):
            return model(batch).sum(), 1

        def measure(self, model):
            return Figures(0.0, 0.0, 0.0, 0.0)

    model = torch.nn.Sequential(norm, torch.nn.Flatten(), torch.nn.Linear(3, 1))
    with pytest.raises(
        ValueError, match=r"a batch of epoch 0 has one node or graph, .* needs two: choose another batch size"
    ):
        fit_task(model, Alone())
