"""Layers for GraphGym, PyG's tool for experiments that are described in a file."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch_geometric.graphgym import register
from torch_geometric.nn import Linear

from lcat.nn import _checks
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.gin_conv import GINConv
from lcat.nn.graph_conv import GraphConv
from lcat.nn.lcat_conv import CATConv, LCATConv
from lcat.nn.lcatv2_conv import CATv2Conv, LCATv2Conv
from lcat.nn.sage_conv import SAGEConv
from lcat.nn.transformer_conv import TransformerConv

__all__ = ["register_graphgym"]

_Layer: TypeAlias = type[torch.nn.Module]
_LAYERS: dict[str, _Layer] = {
    "gcnconv": GCNConv,
    "gatconv": GATConv,
    "gatv2conv": GATv2Conv,
    "catconv": CATConv,
    "catv2conv": CATv2Conv,
    "lcatconv": LCATConv,
    "lcatv2conv": LCATv2Conv,
    "transformerconv": TransformerConv,
    "sageconv": SAGEConv,
    "graphconv": GraphConv,
    "ginconv": GINConv,
}
_WITHOUT_HEADS = (GCNConv, SAGEConv, GraphConv, GINConv)
_WITHOUT_WEIGHTS = (TransformerConv, SAGEConv, GINConv)


def register_graphgym(*, prefix: str = "lcat_", heads: int = 1) -> list[str]:
    """Register the layers in GraphGym, for ``gnn.layer_type`` in its configuration.

    The names are those of the classes in small letters after ``prefix``, as GraphGym names PyG's layers:
    ``lcat_gcnconv``, ``lcat_gatconv``, ``lcat_lcatconv``, and so on. A layer gets the features, edges and, if the
    batch has some and the layer takes them, ``edge_weight``. ``lcat_ginconv`` has the network of GraphGym's own GIN.
    ``LCATGCN2Conv`` and ``LCATPNAConv`` are not among them: GraphGym passes neither the features of the first layer
    nor the degrees of the training set. Call it before GraphGym creates the model. A second call replaces the
    layers of the first.

    Args:
        prefix: beginning of the names.
        heads: number of heads of the attention layers. They are concatenated, so GraphGym's ``gnn.dim_inner`` (and the
            number of outputs) must be a multiple of it.

    Returns:
        the names.

    Raises:
        TypeError, ValueError: ``prefix`` is no string, ``heads`` no positive int, or a name is already that of
            another layer.

    Complexity:
        constant.

    Example:
        >>> from lcat.nn.graphgym import register_graphgym
        >>> register_graphgym(heads=4)[:3]
        ['lcat_gcnconv', 'lcat_gatconv', 'lcat_gatv2conv']
    """
    if not isinstance(prefix, str):
        raise TypeError(f"expected 'prefix' as a string, got {prefix!r}")
    heads = _checks.read_size("register_graphgym", "heads", heads)
    names = {f"{prefix}{name}": layer for name, layer in _LAYERS.items()}
    for name in names:
        registered = register.layer_dict.get(name)
        if registered is not None and not (isinstance(registered, type) and issubclass(registered, _GraphGymLayer)):
            raise ValueError(f"GraphGym has a layer {name!r} already, which is not of lcat: use another 'prefix'")
    for name, layer in names.items():
        options = {} if layer in _WITHOUT_HEADS else {"heads": heads}
        register.layer_dict[name] = type(layer.__name__, (_GraphGymLayer,), {"layer": layer, "options": options})
    return list(names)


class _GraphGymLayer(torch.nn.Module):
    """A layer in GraphGym's form: made from a configuration, and called with a batch, which it changes."""

    layer: _Layer
    options: dict[str, Any]

    def __init__(self, layer_config: Any, **kwargs: Any) -> None:
        super().__init__()
        options = self.options | kwargs
        heads = options.get("heads", 1)
        width, rest = divmod(layer_config.dim_out, heads)
        if rest:
            raise ValueError(
                f"dim_out={layer_config.dim_out} of a GraphGym layer is no multiple of heads={heads}, which "
                f"{self.layer.__name__} concatenates: change 'gnn.dim_inner', or register_graphgym(heads=...)"
            )
        if self.layer is GINConv:
            network = torch.nn.Sequential(Linear(layer_config.dim_in, width), torch.nn.ReLU(), Linear(width, width))
            self.model: torch.nn.Module = GINConv(network, **options)
        else:
            self.model = self.layer(layer_config.dim_in, width, bias=layer_config.has_bias, **options)

    def forward(self, batch: Any) -> Any:
        weight = None if self.layer in _WITHOUT_WEIGHTS else getattr(batch, "edge_weight", None)
        batch.x = self.model(batch.x, batch.edge_index, **({} if weight is None else {"edge_weight": weight}))
        return batch
