"""L-CAT with GCNII and with PNA keep the contract of a layer."""

# ruff: noqa: RUF012 - the declarations of a suite are read, never written

from __future__ import annotations

import torch

import lcat.nn
from lcat.testing import LayerContract


class Family(LayerContract):
    """What both families declare, in both versions."""

    hops = 2
    out_channels = 6
    dropout = {"dropout": 0.5}
    edge_weight = {}
    edge_attr = {"edge_dim": 3}
    static = {}

    def reference(self, layer, x, edge_index):
        """PyG's own steps, with every message formed."""
        handle = layer.register_message_forward_hook(lambda *args: None)
        out = self.call(layer, x, edge_index)
        handle.remove()
        return out


class FirstIsInput:
    """As the first layer of a model, which gets one tensor twice."""

    def forward(self, x, edge_index, **kwargs):
        return super().forward(x, x, edge_index, **kwargs)


class First(FirstIsInput, lcat.nn.LCATGCN2Conv):
    pass


class FirstV2(FirstIsInput, lcat.nn.LCATv2GCN2Conv):
    pass


class GCN2(Family):
    without_self_loops = {"add_self_loops": False}
    base = First

    def layer(self, **options):
        options = {"heads": 2, "theta": 0.5, "layer": 2, **options}
        return self.base(self.in_channels, 0.3, **options)


class TestLCATGCN2Conv(GCN2):
    pass


class TestLCATv2GCN2Conv(GCN2):
    base = FirstV2


class PNA(Family):
    name = ""
    pairs = {}

    def layer(self, **options):
        options = {"heads": 2, **options}
        return getattr(lcat.nn, self.name)(
            self.in_channels, 6, ["sum", "mean", "min", "max", "var"], ["identity", "amplification"],
            torch.tensor([1, 3, 2, 1]), **options,
        )  # fmt: skip


class TestLCATPNAConv(PNA):
    name = "LCATPNAConv"


class TestLCATv2PNAConv(PNA):
    name = "LCATv2PNAConv"
