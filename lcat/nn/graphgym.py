"""Layers for GraphGym, PyG's tool for experiments that are described in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.graphgym import register
from torch_geometric.graphgym.config import cfg
from torch_geometric.graphgym.models.layer import GeneralLayer, new_layer_config
from torch_geometric.nn import Linear
from torch_geometric.nn.aggr import Aggregation

from lcat.nn import _checks
from lcat.nn._principal_neighborhood import Scaler
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.gin_conv import GINConv
from lcat.nn.graph_conv import GraphConv
from lcat.nn.lcat_conv import CATConv, LCATConv
from lcat.nn.lcat_gcn2_conv import LCATGCN2Conv, LCATv2GCN2Conv
from lcat.nn.lcat_pna_conv import LCATPNAConv, LCATv2PNAConv
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
    "lcatgcn2conv": LCATGCN2Conv,
    "lcatv2gcn2conv": LCATv2GCN2Conv,
    "lcatpnaconv": LCATPNAConv,
    "lcatv2pnaconv": LCATv2PNAConv,
}
_OF_GCNII = (LCATGCN2Conv, LCATv2GCN2Conv)
_OF_PNA = (LCATPNAConv, LCATv2PNAConv)
_WITHOUT_HEADS = (GCNConv, SAGEConv, GraphConv, GINConv)
_WITHOUT_WEIGHTS = (TransformerConv, SAGEConv, GINConv)
_STAGE = "stack"
_FIRST = "features_of_the_first_layer"  # of a batch, as long as the stage runs


def register_graphgym(
    *,
    prefix: str = "lcat_",
    heads: int = 1,
    alpha: float = 0.1,
    theta: float | None = 0.5,
    deg: Tensor | None = None,
    aggregators: Sequence[str | Aggregation] = ("mean", "min", "max", "std"),
    scalers: Sequence[Scaler] = ("identity", "amplification", "attenuation"),
) -> list[str]:
    """Register the layers in GraphGym, for ``gnn.layer_type`` in its configuration.

    The names are those of the classes in small letters after ``prefix``, as GraphGym names PyG's layers:
    ``lcat_gcnconv``, ``lcat_gatconv``, ``lcat_lcatconv``, and so on. A layer gets the features, edges and, if the
    batch has some and the layer takes them, ``edge_weight``. ``lcat_ginconv`` has the network of GraphGym's own GIN.
    Call it before GraphGym creates the model. A second call replaces the layers of the first.

    Two families need more than GraphGym passes to a layer:

    - ``lcat_lcatgcn2conv``, ``lcat_lcatv2gcn2conv``: the features of the first layer, and the number of each layer. So
      there is a stage, ``gnn.stage_type: lcat_stack``, which is GraphGym's ``stack`` and passes them. These layers keep
      the number of features, so ``gnn.layers_pre_mp`` is at least 1.
    - ``lcat_lcatpnaconv``, ``lcat_lcatv2pnaconv``: the in-degrees of the training set. Call
      ``register_graphgym(deg=LCATPNAConv.get_degree_histogram(loaders[0]))`` after GraphGym's ``create_loader()``.

    Args:
        prefix: beginning of the names.
        heads: number of heads of the attention layers. They are concatenated, so GraphGym's ``gnn.dim_inner`` (and the
            number of outputs) must be a multiple of it.
        alpha, theta: of :class:`~lcat.nn.LCATGCN2Conv`.
        deg, aggregators, scalers: of :class:`~lcat.nn.LCATPNAConv`.

    Returns:
        the names of the layers.

    Raises:
        TypeError, ValueError: ``prefix`` is no string, ``heads`` no positive int, or a name is already that of
            another layer or stage.

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
    stage = f"{prefix}{_STAGE}"
    for name in names:
        _check_free(register.layer_dict, name, "layer", _GraphGymLayer)
    _check_free(register.stage_dict, stage, "stage", _InitialResidualStage)
    for name, layer in names.items():
        options: dict[str, Any] = {} if layer in _WITHOUT_HEADS else {"heads": heads}
        if layer in _OF_GCNII:
            options |= {"alpha": alpha, "theta": theta}
        elif layer in _OF_PNA:
            options |= {"deg": deg, "aggregators": list(aggregators), "scalers": list(scalers)}
        attributes = {"layer": layer, "options": options, "stage": stage}
        register.layer_dict[name] = type(layer.__name__, (_GraphGymLayer,), attributes)
    register.stage_dict[stage] = _InitialResidualStage
    return list(names)


def _check_free(registered: dict[str, Any], name: str, what: str, own: type) -> None:
    value = registered.get(name)
    if value is not None and not (isinstance(value, type) and issubclass(value, own)):
        raise ValueError(f"GraphGym has a {what} {name!r} already, which is not of lcat: use another 'prefix'")


class _GraphGymLayer(torch.nn.Module):
    """A layer in GraphGym's form: made from a configuration, and called with a batch, which it changes."""

    layer: _Layer
    options: dict[str, Any]
    stage: str

    def __init__(self, layer_config: Any, **kwargs: Any) -> None:
        super().__init__()
        options = self.options | kwargs
        heads = options.get("heads", 1)
        dim_in, dim_out = layer_config.dim_in, layer_config.dim_out
        width, rest = divmod(dim_out, heads)
        if rest:
            raise ValueError(
                f"dim_out={dim_out} of a GraphGym layer is no multiple of heads={heads}, which "
                f"{self.layer.__name__} concatenates: change 'gnn.dim_inner', or register_graphgym(heads=...)"
            )
        bias = layer_config.has_bias
        if self.layer is GINConv:
            network = torch.nn.Sequential(Linear(dim_in, width), torch.nn.ReLU(), Linear(width, width))
            self.model: torch.nn.Module = GINConv(network, **options)
        elif self.layer in _OF_GCNII:
            self._check_initial_residual(options, dim_in, dim_out)
            self.model = self.layer(dim_out, **options)
        elif self.layer in _OF_PNA:
            if options["deg"] is None:
                raise ValueError(
                    f"{self.layer.__name__} lacks the in-degrees of the training set: call register_graphgym(deg="
                    f"{self.layer.__name__}.get_degree_histogram(loaders[0])) after GraphGym's create_loader()"
                )
            self.model = self.layer(dim_in, dim_out, head_channels=width, bias=bias, **options)
        else:
            self.model = self.layer(dim_in, width, bias=bias, **options)

    def _check_initial_residual(self, options: dict[str, Any], dim_in: int, dim_out: int) -> None:
        name = self.layer.__name__
        if "layer" not in options:
            raise ValueError(
                f"{name} lacks the features of the first layer, which GraphGym's stages do not pass: set "
                f"'gnn.stage_type' to {self.stage!r}"
            )
        if dim_in != dim_out:
            raise ValueError(
                f"{name} keeps the number of features, got dim_in={dim_in} and dim_out={dim_out}: set "
                f"'gnn.layers_pre_mp' to at least 1, for a linear map before the layers"
            )

    def forward(self, batch: Any) -> Any:
        weight = None if self.layer in _WITHOUT_WEIGHTS else getattr(batch, "edge_weight", None)
        keywords = {} if weight is None else {"edge_weight": weight}
        if self.layer in _OF_GCNII:
            keywords["x_0"] = batch[_FIRST]
        batch.x = self.model(batch.x, edge_index=batch.edge_index, **keywords)
        return batch


class _InitialResidualStage(torch.nn.Module):
    """GraphGym's stage "stack", which also numbers the layers and passes the features that the first one gets."""

    def __init__(self, dim_in: int, dim_out: int, num_layers: int) -> None:
        super().__init__()
        layer = register.layer_dict[cfg.gnn.layer_type]
        is_numbered = getattr(layer, "layer", None) in _OF_GCNII
        for number in range(num_layers):
            config = new_layer_config(
                dim_in if number == 0 else dim_out, dim_out, 1, has_act=True, has_bias=False, cfg=cfg
            )
            options = {"layer": number + 1} if is_numbered else {}
            self.add_module(f"layer{number}", GeneralLayer(cfg.gnn.layer_type, config, **options))

    def forward(self, batch: Any) -> Any:
        batch[_FIRST] = batch.x
        for layer in self.children():
            batch = layer(batch)
        del batch[_FIRST]
        if cfg.gnn.l2norm:
            batch.x = F.normalize(batch.x, p=2, dim=-1)
        return batch
