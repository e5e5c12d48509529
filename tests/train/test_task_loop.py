"""Training on a task of one's own; studies test what it computes."""

from __future__ import annotations

import pytest

from lcat.data import csbm
from lcat.nn import models
from lcat.train import fit_task


def test_a_graph_in_place_of_a_task():
    data = csbm(n=60, seed=0)
    with pytest.raises(TypeError, match=r"fit\(model, data, split\) trains on a graph"):
        fit_task(models.GAT(data.num_features, 4, 2, out_channels=2), data)
