"""The layers of lcat.nn by name: a new one takes part in every test that runs over them."""

from __future__ import annotations

import lcat.nn
from lcat.nn._attention import AttentionConv

# Layers of PyG on the primitives: their arguments are not those of the family, and they have tests of their own.
OF_PYG = ("GINConv", "GraphConv", "SAGEConv", "TransformerConv")
# Layers with arguments of other families, which are not made as ``layer(in_channels, out_channels)``.
FAMILIES = ["LCATGCN2Conv", "LCATPNAConv", "LCATv2GCN2Conv", "LCATv2PNAConv"]
LAYERS = [name for name in lcat.nn.__all__ if name.endswith("Conv") and name not in (*OF_PYG, *FAMILIES)]
ATTENTION = [name for name in LAYERS if issubclass(getattr(lcat.nn, name), AttentionConv)]
# Their scores use averages, so features reach nodes two edges away.
TWO_HOPS = [name for name in ATTENTION if "CAT" in name]
# Models that take the arguments of all others; those of the families need more.
FAMILY_MODELS = ["LCATGCN2", "LCATPNA", "LCATv2GCN2", "LCATv2PNA"]
MODELS = [name for name in lcat.nn.models.__all__ if name not in FAMILY_MODELS]
