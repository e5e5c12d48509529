"""A data set of PyG where one of its graphs is expected."""

import pytest
from torch_geometric.datasets import FakeDataset

from lcat.data import (
    Split,
    csbm,
    from_data,
    neighbor_loader,
    noisy_edges,
    noisy_features,
    partition_loader,
    partition_nodes,
    random_walk_loader,
)
from lcat.nn.models import GAT
from lcat.train import NodeClasses, WholeGraph, fit

DATA = csbm(n=60, seed=0)
SPLIT = Split(DATA.train_mask, DATA.val_mask, DATA.test_mask)


@pytest.mark.parametrize(
    "call",
    [
        lambda dataset: fit(GAT(4, 8, 2), dataset, SPLIT),
        lambda dataset: NodeClasses(dataset, SPLIT),
        lambda dataset: WholeGraph(dataset, {"val": DATA.val_mask, "test": DATA.test_mask}),
        lambda dataset: neighbor_loader(dataset, [2]),
        lambda dataset: random_walk_loader(dataset, 8, 2, 2),
        lambda dataset: partition_loader(dataset, 2),
        lambda dataset: partition_loader(dataset, 2, part=DATA.y),
        lambda dataset: partition_nodes(dataset, 2),
        lambda dataset: noisy_edges(dataset, 0.1, 0),
        lambda dataset: noisy_features(dataset, 0.1, 0),
        lambda dataset: from_data(dataset),
    ],
)
@pytest.mark.parametrize("graphs", [1, 2])
def test_the_way_to_one_graph_is_said(call, graphs):
    with pytest.raises(
        (TypeError, ValueError), match=r"got (a )?FakeDataset: pass one of its graphs, as in dataset\[0\]$"
    ):
        call(FakeDataset(graphs))
