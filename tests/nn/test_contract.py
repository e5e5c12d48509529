"""All layers keep the contract of a layer; PyG's layers are run through it as a third party's."""

# ruff: noqa: RUF012 - the declarations of a suite are read, never written

from __future__ import annotations

import pytest
import torch_geometric.nn as pyg

import lcat.nn
from lcat.testing import LayerContract
from tests.support.layers import LAYERS

NO_CSC = "PyG refuses matrices in CSC layout"
TORCH_ERROR = "the error is torch's own and does not name the argument"


class LcatContract(LayerContract):
    """What the layers of lcat.nn declare; those without attention declare less."""

    name = ""
    heads = 2
    out_channels = 6
    without_self_loops = {"add_self_loops": False}
    dropout = {"dropout": 0.5}
    edge_weight = {}
    edge_attr = {"edge_dim": 3}
    pairs = {}
    static = {}

    def layer(self, **options):
        return getattr(lcat.nn, self.name)(self.in_channels, 3, heads=2, **options)

    def reference(self, layer, x, edge_index):
        """PyG's own steps, with every message formed."""
        handle = layer.register_message_forward_hook(lambda *args: None)
        out = layer(x, edge_index)
        handle.remove()
        return out


class PyGReference(LcatContract):
    """Layers with a namesake in PyG are compared with it."""

    def reference(self, layer, x, edge_index):
        theirs = getattr(pyg, self.name)(self.in_channels, 3, heads=2).double()
        theirs.load_state_dict(layer.state_dict())
        return theirs(x, edge_index)


class TestGCNConv(LcatContract):
    name, out_channels = "GCNConv", 3
    dropout = edge_attr = pairs = None

    def layer(self, **options):
        return lcat.nn.GCNConv(self.in_channels, 3, **options)

    def reference(self, layer, x, edge_index):
        theirs = pyg.GCNConv(self.in_channels, 3).double()
        theirs.load_state_dict(layer.state_dict())
        return theirs(x, edge_index)


class TestGATConv(PyGReference):
    name = "GATConv"


class TestGATv2Conv(PyGReference):
    name = "GATv2Conv"


class TestCATConv(LcatContract):
    name, hops = "CATConv", 2


class TestCATv2Conv(LcatContract):
    name, hops = "CATv2Conv", 2


class TestLCATConv(LcatContract):
    name, hops = "LCATConv", 2


class TestLCATv2Conv(LcatContract):
    name, hops = "LCATv2Conv", 2


class TestPyGGCNConv(LayerContract):
    out_channels = 3
    edge_weight = {}
    static = {}
    without_self_loops = {"add_self_loops": False}
    unsupported = {
        "test_edges_as_coo": "PyG's numbers are others for a matrix of a graph with self-loops",
        "test_edges_as_csr": "PyG's numbers are others for a matrix of a graph with self-loops",
        "test_edges_as_csc": NO_CSC,
        "test_names_x_of_another_width": TORCH_ERROR,
        "test_names_edges_beyond_the_nodes": TORCH_ERROR,
        "test_names_negative_edges": TORCH_ERROR,
        "test_names_edges_that_are_no_integers": TORCH_ERROR,
        "test_names_edges_that_are_transposed": TORCH_ERROR,
        "test_names_edge_weights_of_another_length": TORCH_ERROR,
    }

    def layer(self, **options):
        return pyg.GCNConv(self.in_channels, 3, **options)


class TestPyGGATConv(LayerContract):
    out_channels = 6
    dropout = {"dropout": 0.5}
    edge_attr = {"edge_dim": 3}
    pairs = {}
    without_self_loops = {"add_self_loops": False}
    unsupported = {
        "test_edges_as_coo": "PyG's numbers are others for a matrix with parallel edges",
        "test_edges_as_csr": "PyG's numbers are others for a matrix with parallel edges",
        "test_edges_as_csc": NO_CSC,
        "test_names_x_of_another_width": TORCH_ERROR,
        "test_names_edges_that_are_transposed": TORCH_ERROR,
        "test_names_edge_features_of_another_length": TORCH_ERROR,
    }

    def layer(self, **options):
        return pyg.GATConv(self.in_channels, 3, heads=2, **options)


class TestPyGGATv2Conv(TestPyGGATConv):
    def layer(self, **options):
        return pyg.GATv2Conv(self.in_channels, 3, heads=2, **options)


SUITES = [
    TestGCNConv,
    TestGATConv,
    TestGATv2Conv,
    TestCATConv,
    TestCATv2Conv,
    TestLCATConv,
    TestLCATv2Conv,
    TestPyGGCNConv,
    TestPyGGATConv,
    TestPyGGATv2Conv,
]


def test_every_layer_has_a_suite():
    assert {suite.name for suite in SUITES if issubclass(suite, LcatContract)} == set(LAYERS)


@pytest.mark.long
@pytest.mark.parametrize("suite", SUITES)
def test_compiles_as_one_graph(suite):
    slow = suite()
    slow.slow = True
    slow.test_compiles_as_one_graph()
