"""``lcat.upgrade``: the GCN and GAT layers of a model become L-CAT layers that begin as what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
import torch_geometric.nn as pyg
from torch import nn
from torch.nn import Parameter
from torch.nn.parameter import UninitializedParameter
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.inits import glorot

from lcat._text import hint
from lcat.nn._checks import read_flag
from lcat.nn._lcat import LCATMixin
from lcat.nn.acceleration import (
    UPGRADED_FROM,
    AccelerationReport,
    LeftLayer,
    SwappedLayer,
    class_before_swap,
    class_name,
    named_layers,
    restore_layer,
)
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.lcat_conv import LCATConv
from lcat.nn.lcatv2_conv import LCATv2Conv
from lcat.nn.upgraded_gcn_conv import UpgradedGCNConv

__all__ = ["Corner", "UpgradeReport", "UpgradedLayer", "upgrade"]

Corner: TypeAlias = Literal["gcn", "gat", "cat"]

_LAMBDAS: dict[Corner, tuple[float, float]] = {"gcn": (0.0, 0.0), "gat": (1.0, 0.0), "cat": (1.0, 1.0)}
_GCN: tuple[type, ...] = (pyg.GCNConv, GCNConv)
_GAT: tuple[type, ...] = (pyg.GATConv, GATConv)
_GATV2: tuple[type, ...] = (pyg.GATv2Conv, GATv2Conv)
# What modules keep for themselves; parameters and modules are put in place one by one.
_OF_MODULE = frozenset({"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
# What PyG reads from the steps of a class.
_OF_CLASS = frozenset({"inspector", "_user_args", "_fused_user_args", "_edge_user_args", "fuse"})
_STEPS = (
    "propagate",
    "edge_updater",
    "message",
    "aggregate",
    "message_and_aggregate",
    "update",
    "edge_update",
    "forward",
)


@dataclass(frozen=True)
class UpgradedLayer(SwappedLayer):
    """A layer that is an L-CAT now.

    Attributes:
        becomes: the name of its class now.
        begins_as: where it begins: "GCN", "GAT" or "CAT".
    """

    becomes: str
    begins_as: str


@dataclass(frozen=True)
class UpgradeReport(AccelerationReport):
    """What :func:`lcat.nn.upgrade` has upgraded and what it has left, by the path in the model.

    Attributes:
        swapped: the layers that are L-CATs now, :class:`UpgradedLayer`.
        left: the message passing layers that are as they were, each with the reason.
        parameters: the new parameters: the scalars, and the attention vectors of what was a GCN. An optimizer that was
            made before does not have them: ``optimizer.add_param_group({"params": list(report.parameters)})``.
    """

    parameters: tuple[Parameter, ...] = ()
    _function: ClassVar[str] = "lcat.upgrade"
    _block: ClassVar[str] = "it upgrades for good. The way back is a copy, copy.deepcopy(model), made before"

    def _headline(self) -> str:
        return super()._headline().replace("swapped", "upgraded", 1)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = super()._rows()
        for number, layer in enumerate(self.swapped):
            assert isinstance(layer, UpgradedLayer)
            rows[number] = ("upgraded", *rows[number][1:3], f"{layer.becomes}, begins as {layer.begins_as}")
        return rows


class _Plan(NamedTuple):
    """A layer, the layer that it becomes (without memory for parameters), and where that begins."""

    path: str
    layer: Any
    template: Any
    lambdas: tuple[float, float]
    begins_as: str


def upgrade(model: nn.Module, start: Corner = "gat", *, lambdas_per_head: bool = False) -> UpgradeReport:
    """Make L-CAT layers of the GCN and GAT layers of a model; they begin as exactly what they were.

    GATConv becomes :class:`~lcat.nn.LCATConv` at lambda1 = 1, lambda2 = 0, GATv2Conv becomes
    :class:`~lcat.nn.LCATv2Conv`, and GCNConv :class:`~lcat.nn.upgraded_gcn_conv.UpgradedGCNConv` at lambda1 = 0, PyG's
    layers and lcat's alike. Outputs are those of before up to rounding, and the two scalars of each layer are learned
    from there on, see ``parametrization="reflected"`` of :class:`~lcat.nn.LCATConv`: the ends of the range have a
    gradient.

    Layers are changed in place: the object stays, and so do its parameters (the very objects), hooks, mode, device,
    types and names; its class and its parameters change. The way back is a copy made before, ``before =
    copy.deepcopy(model)``; :func:`lcat.restore` undoes :func:`lcat.accelerate` only, and warns if that was not called.

    Args:
        model: any module, or a single layer; a shared layer is upgraded once. Accelerated layers are upgraded, too.
        start: where GAT layers begin; only "gat" keeps their outputs: "gcn" begins at a uniform mean over the in-edges,
            "cat" at scores of averages, with the weights of the GAT. A GCN layer begins as itself in any case; on the
            side of CAT (lambda2 = 1) with "cat", else on that of GAT (lambda2 = 0).
        lambdas_per_head: each head learns its own scalars.

    Returns:
        what was upgraded and what was left, and why, by path in the model, and the new parameters.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: ``start`` is unknown, or the model is wrapped for several processes already.

    Example:
        >>> import lcat
        >>> from torch_geometric.nn import GAT
        >>> model = GAT(8, 16, num_layers=2)
        >>> report = lcat.upgrade(model)
        >>> print(report)
        2 layers upgraded, 0 layers left as they were
          upgraded  convs.0  GATConv  LCATConv, begins as GAT
          upgraded  convs.1  GATConv  LCATConv, begins as GAT
        >>> model.convs[0]
        LCATConv(8, 16, heads=1, lambda1=learned(1.000), lambda2=learned(0.000))
    """
    _check(model, start)
    lambdas_per_head = read_flag("upgrade", "lambdas_per_head", lambdas_per_head)
    left: list[LeftLayer] = []
    plans: list[_Plan] = []
    for path, layer in named_layers(model):
        if not isinstance(layer, (MessagePassing, torch.jit.ScriptModule)):
            continue  # DirGNNConv, for example, whose layers are upgraded by themselves
        name = class_name(layer)
        reason = _reason_to_leave(layer)
        if reason is None:
            try:
                plan = _plan(path, layer, start, lambdas_per_head)
                reason = _computed(plan)
                if reason is None:
                    plans.append(plan)
            except (TypeError, ValueError) as error:  # attributes that were changed after the layer was made
                reason = f"no L-CAT can be made with its options: {error}"
        if reason is not None:
            left.append(LeftLayer(path, name, reason))
    upgraded, parameters = [], []
    for plan in plans:  # all of them can be made
        name = type(plan.layer).__name__
        with torch.inference_mode(False):  # a parameter that is made in inference mode never gets a gradient
            parameters += _install(plan)
        upgraded.append(UpgradedLayer(plan.path, name, type(plan.layer).__name__, plan.begins_as))
    return UpgradeReport(tuple(upgraded), tuple(left), tuple(parameters))


def _check(model: Any, start: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"expected 'model' of type torch.nn.Module, got {type(model).__name__}: pass a model or a layer"
        )
    known = get_args(Corner)
    if start not in known:
        raise ValueError(f"'start' is {start!r}{hint(start, known)}; it takes {', '.join(map(repr, known))}")
    for path, module in model.named_modules():
        if isinstance(module, nn.parallel.DistributedDataParallel):
            raise ValueError(
                f"{path or 'the model'} is wrapped in DistributedDataParallel, which would not add up the gradients of "
                f"new parameters: upgrade the model first"
            )


def _reason_to_leave(layer: Any) -> str | None:
    """Why a layer stays as it is; ``None`` for one that becomes an L-CAT."""
    if isinstance(layer, torch.jit.ScriptModule):
        return "it is compiled by TorchScript"
    cls = class_before_swap(layer)
    if isinstance(layer, LCATMixin):
        return "already an L-CAT, whose scalars can be learned: lambda1 = None"
    if cls not in _GCN + _GAT + _GATV2:
        base = next((base for base in cls.__mro__ if base in _GCN + _GAT + _GATV2), None)
        if base is None:
            return "it is no GCN or GAT, which are corners of L-CAT"
        if cls.__module__.startswith("torch."):
            return "its own parameters are parametrized: upgrade the model first"
        return f"{cls.__name__} is a class of its own: derive it from a layer of lcat in place of {base.__name__}"
    for name in _STEPS:
        step = layer.__dict__.get(name)
        if step is not None and getattr(step, "__self__", None) is not layer:
            return f"'{name}' was replaced on this layer"
    if layer.explain:
        return "an explainer works with it"
    if layer.decomposed_layers > 1:
        return f"decomposed_layers={layer.decomposed_layers} splits messages by features"
    if cls in _GCN and layer.node_dim not in (-2, 0):
        return f"node_dim is {layer.node_dim}, and attention takes nodes first"
    for name, parameter in layer.named_parameters():
        if type(parameter) not in (Parameter, UninitializedParameter):
            return f"its parameter '{name}' is a {type(parameter).__name__}: upgrade the model before it is distributed"
    return None


def _plan(path: str, layer: Any, start: Corner, per_head: bool) -> _Plan:
    cls = class_before_swap(layer)
    lambdas = (0.0, 1.0 if start == "cat" else 0.0) if cls in _GCN else _LAMBDAS[start]
    common = {
        "lambda1_init": lambdas[0],
        "lambda2_init": lambdas[1],
        "lambdas_per_head": per_head,
        "bias": layer.bias is not None,
        "flow": layer.flow,
        "add_self_loops": layer.add_self_loops,
    }
    with torch.device("meta"):  # no memory, no random numbers: the layer has its parameters
        if cls in _GCN:
            options = {name: getattr(layer, name) for name in ("improved", "cached", "normalize")}
            template: Any = UpgradedGCNConv(layer.in_channels, layer.out_channels, **options, **common)
            return _Plan(path, layer, template, lambdas, "GCN")
        names = ("heads", "concat", "negative_slope", "dropout", "edge_dim", "fill_value")
        options = {name: getattr(layer, name) for name in names}
        options["residual"] = getattr(layer, "res", None) is not None
        for name in ("separate_self", "symmetric_norm", "edge_dropout"):
            if hasattr(layer, name):  # layers of lcat
                options[name] = getattr(layer, name)
        if cls in _GATV2:
            options["share_weights"] = layer.lin_r is layer.lin_l
        made = LCATv2Conv if cls in _GATV2 else LCATConv
        template = made(layer.in_channels, layer.out_channels, parametrization="reflected", **options, **common)
    begins_as = {"gcn": "a mean", "gat": "GAT", "cat": "CAT"}[start]
    return _Plan(path, layer, template, lambdas, begins_as)


def _computed(plan: _Plan) -> str | None:
    """That something of the layer is no parameter of its own, as after pruning; ``None`` if all are."""
    own = plan.layer._parameters
    for name, empty in plan.template._parameters.items():
        if empty is not None and name not in own and hasattr(plan.layer, name):
            return f"its '{name}' is no parameter (pruned, normalized or a buffer): upgrade the model first"
    return None


def _install(plan: _Plan) -> list[Parameter]:
    """Change the class of a layer; its new parameters."""
    layer, template = plan.layer, plan.template
    restore_layer(layer)
    attributes = layer.__dict__
    is_gcn = type(layer) in _GCN
    ignores_edge_attr = type(layer) in _GAT
    for name in _STEPS:  # PyG binds a class's own steps to instances in some cases
        attributes.pop(name, None)
    for name, value in template.__dict__.items():
        is_new = name not in attributes and name not in layer._modules and name not in layer._parameters
        if name not in _OF_MODULE and (is_new or name in _OF_CLASS):
            attributes[name] = value
    if is_gcn:
        layer.node_dim = template.node_dim
    attributes[UPGRADED_FROM] = type(layer).__name__
    layer.__class__ = type(template)
    if ignores_edge_attr and layer.edge_dim is None:
        layer._ignores_unused_edge_attr = True  # as PyG's GATConv does
    like = next(parameter for parameter in layer.parameters())
    new: list[Parameter] = []
    for name, empty in template._parameters.items():
        if name in layer._parameters:
            continue
        parameter = None
        if empty is not None:
            parameter = Parameter(torch.empty(empty.shape, dtype=like.dtype, device=like.device))
            new.append(parameter)
            if name == "raw_lambda1":
                nn.init.constant_(parameter, plan.lambdas[0])
            elif name == "raw_lambda2":
                nn.init.constant_(parameter, plan.lambdas[1])
            else:  # of a GCN: it has no effect before lambda1 has left 0, and lambda1 leaves only if it is not zero
                glorot(parameter)
        layer.register_parameter(name, parameter)
    return new
