"""Models of several layers on PyG's BasicGNN: activation, norm, jumping knowledge, dropout, trimming.

Every model takes :class:`torch_geometric.nn.models.basic_gnn.BasicGNN`'s arguments and passes all others to its
layers. Attention models follow PyG's GAT: with ``concat=True`` (the default) hidden layers have
``hidden_channels // heads`` features per head, and the last layer averages its heads if it makes the output.
"""

from __future__ import annotations

from typing import Any, Final

from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.models.basic_gnn import BasicGNN

from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.lcat_conv import CATConv, LCATConv
from lcat.nn.lcatv2_conv import CATv2Conv, LCATv2Conv

__all__ = ["CAT", "GAT", "GCN", "LCAT", "CATv2", "GATv2", "LCATv2"]


class GCN(BasicGNN):
    """Layers of :class:`~lcat.nn.GCNConv`.

    Example:
        >>> from lcat.nn.models import GCN
        >>> GCN(16, 32, num_layers=2, out_channels=7, dropout=0.5)
        GCN(16, 7, num_layers=2)
    """

    supports_edge_weight: Final[bool] = True
    supports_edge_attr: Final[bool] = False
    supports_norm_batch: bool

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer."""
        return GCNConv(in_channels, out_channels, **kwargs)


class _AttentionModel(BasicGNN):
    supports_edge_weight: Final[bool] = True
    supports_edge_attr: Final[bool] = True
    supports_norm_batch: bool

    _layer: type[MessagePassing]

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer; ``out_channels`` counts all heads where they are concatenated."""
        return self._make_layer(self._layer, in_channels, out_channels, kwargs)

    def _make_layer(
        self, layer: type[MessagePassing], in_channels: Any, out_channels: int, kwargs: dict[str, Any]
    ) -> MessagePassing:
        heads, concat = kwargs.pop("heads", 1), kwargs.pop("concat", True)
        if getattr(self, "_is_conv_to_out", False):
            concat = False
        if concat and out_channels % heads != 0:
            raise ValueError(
                f"{type(self).__name__} has {out_channels} channels in a layer, which {heads} heads cannot share: make "
                f"'hidden_channels' a multiple of 'heads', or use concat=False"
            )
        width = out_channels // heads if concat else out_channels
        kwargs.setdefault("dropout", self.dropout.p)
        return layer(in_channels, width, heads=heads, concat=concat, **kwargs)


class GAT(_AttentionModel):
    """Layers of :class:`~lcat.nn.GATConv` (``v2=True`` as in PyG: of :class:`~lcat.nn.GATv2Conv`).

    Example:
        >>> from lcat.nn.models import GAT
        >>> GAT(16, 32, num_layers=2, out_channels=7, heads=8, dropout=0.6)
        GAT(16, 7, num_layers=2)
    """

    _layer = GATConv

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer; ``out_channels`` counts all heads where they are concatenated."""
        layer = GATv2Conv if kwargs.pop("v2", False) else GATConv
        return self._make_layer(layer, in_channels, out_channels, kwargs)


class GATv2(_AttentionModel):
    """Layers of :class:`~lcat.nn.GATv2Conv`."""

    _layer = GATv2Conv


class CAT(_AttentionModel):
    """Layers of :class:`~lcat.nn.CATConv`."""

    _layer = CATConv


class CATv2(_AttentionModel):
    """Layers of :class:`~lcat.nn.CATv2Conv`."""

    _layer = CATv2Conv


class LCAT(_AttentionModel):
    """Layers of :class:`~lcat.nn.LCATConv`; ``lambda1`` and ``lambda2`` fix or learn the scalars of all layers.

    Example:
        >>> from lcat.nn.models import LCAT
        >>> model = LCAT(16, 32, num_layers=2, out_channels=7, heads=8)
        >>> [round(conv.lambda1.item(), 2) for conv in model.convs]
        [0.5, 0.5]
    """

    _layer = LCATConv


class LCATv2(_AttentionModel):
    """Layers of :class:`~lcat.nn.LCATv2Conv`; ``lambda1`` and ``lambda2`` fix or learn the scalars of all layers."""

    _layer = LCATv2Conv
