"""Graph layers and models with PyG's signatures: one family, two scalars.

Layers: :class:`GCNConv`, :class:`GATConv`, :class:`GATv2Conv`, :class:`CATConv`, :class:`CATv2Conv`,
:class:`LCATConv`, :class:`LCATv2Conv`, and beside them :class:`TransformerConv`, :class:`SAGEConv`, :class:`GraphConv`
and :class:`GINConv`; L-CAT with GCNII :class:`LCATGCN2Conv`, :class:`LCATv2GCN2Conv`, and with PNA
:class:`LCATPNAConv`, :class:`LCATv2PNAConv`. Models on PyG's BasicGNN are in :mod:`lcat.nn.models`;
:func:`from_published` reads checkpoints of the published L-CAT code, :func:`from_dgl` those of DGL.
:class:`Dropout` is torch's, faster on CPUs.
:class:`NeighborhoodStatistic` describes layers that are computed block by block. :func:`accelerate` lets lcat run the
layers of a model of PyG, :func:`restore` undoes it; :func:`upgrade` makes L-CATs of its GCN and GAT layers.
:func:`lambdas` reads the scalars of a model, and others set, freeze, anneal, penalize and draw them.
"""

from __future__ import annotations

from lcat.nn import models
from lcat.nn.acceleration import AccelerationReport, accelerate, accelerated, restore
from lcat.nn.dgl_checkpoints import dgl_edge_weight, from_dgl
from lcat.nn.dropout import Dropout
from lcat.nn.edge_attention import attention_of_edges
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.gin_conv import GINConv
from lcat.nn.graph_conv import GraphConv
from lcat.nn.lcat_conv import CATConv, LCATConv
from lcat.nn.lcat_gcn2_conv import LCATGCN2Conv, LCATv2GCN2Conv
from lcat.nn.lcat_pna_conv import LCATPNAConv, LCATv2PNAConv
from lcat.nn.lcatv2_conv import CATv2Conv, LCATv2Conv
from lcat.nn.neighborhood_statistic import NeighborhoodStatistic
from lcat.nn.published import from_published
from lcat.nn.sage_conv import SAGEConv
from lcat.nn.scalar_penalty import lambda_penalty
from lcat.nn.scalar_schedule import LambdaSchedule
from lcat.nn.scalars import Lambdas, freeze_lambdas, lambda_parameters, lambdas, set_lambdas, unfreeze_lambdas
from lcat.nn.transformer_conv import TransformerConv
from lcat.nn.triangle import plot_triangle
from lcat.nn.upgrading import UpgradeReport, upgrade

__all__ = [
    "AccelerationReport",
    "CATConv",
    "CATv2Conv",
    "Dropout",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINConv",
    "GraphConv",
    "LCATConv",
    "LCATGCN2Conv",
    "LCATPNAConv",
    "LCATv2Conv",
    "LCATv2GCN2Conv",
    "LCATv2PNAConv",
    "LambdaSchedule",
    "Lambdas",
    "NeighborhoodStatistic",
    "SAGEConv",
    "TransformerConv",
    "UpgradeReport",
    "accelerate",
    "accelerated",
    "attention_of_edges",
    "dgl_edge_weight",
    "freeze_lambdas",
    "from_dgl",
    "from_published",
    "lambda_parameters",
    "lambda_penalty",
    "lambdas",
    "models",
    "plot_triangle",
    "restore",
    "set_lambdas",
    "unfreeze_lambdas",
    "upgrade",
]
