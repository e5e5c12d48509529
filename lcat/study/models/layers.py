"""The layers a study compares, by name, and the models that are built from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch import nn
from torch_geometric.nn.models.basic_gnn import BasicGNN

from lcat.nn import (
    CATConv,
    CATv2Conv,
    GATConv,
    GATv2Conv,
    GCNConv,
    LCATConv,
    LCATv2Conv,
    SAGEConv,
    TransformerConv,
    models,
)
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.hyper import RECIPE_SETTINGS, HyperParameters
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.models.own_hyper import own_arguments
from lcat.study.models.own_model import OwnModel, find_model, is_model_text
from lcat.study.models.recipe_model import RecipeModel
from lcat.study.models.theory import TheoryModel

__all__ = ["DEFAULT_LAYERS", "LAYERS", "THEORY_LAYERS", "LayerSpec", "build_model", "layer_spec", "layer_title"]


# The closed form has no hidden layers and nothing to drop or normalize, and learns single numbers, which do not decay.
_NOT_IN_CLOSED_FORM = {
    *RECIPE_SETTINGS,
    "hidden_channels",
    "heads",
    "num_layers",
    "dropout",
    "input_dropout",
    "normalize_features",
    "attention_dropout",
    "norm",
    "weight_decay",
}


@dataclass(frozen=True)
class LayerSpec:
    """One layer of the comparison.

    Attributes:
        name: name on the command line and in tables.
        summary: one line on what it computes.
        attention: it has heads and takes attention dropout.
        learns_lambda: its lambda1 and lambda2 are learned.
        arguments: of the model beyond the common ones.
        conv: class of the layer; ``None`` for the closed-form scores of :mod:`lcat.study.models.theory`.
        model: class in ``lcat.nn.models`` of plain models; ``None`` takes a :class:`RecipeModel` for those as well.
        without: settings that mean nothing to it, beside those that follow from the other attributes.
        edge_values: what it takes of a graph: ``"edge_weight"``, ``"edge_attr"``.
        own: it is a model of the user, of which nothing is known but its name.
    """

    name: str
    summary: str
    _: KW_ONLY
    attention: bool
    learns_lambda: bool = False
    arguments: tuple[tuple[str, Any], ...] = ()
    conv: Callable[..., nn.Module] | None = None
    model: Callable[..., BasicGNN] | None = None
    without: tuple[str, ...] = ()
    edge_values: tuple[str, ...] = ("edge_weight", "edge_attr")
    own: bool = False

    @property
    def family(self) -> str:
        """``"gcn"``, ``"gat"``, ``"cat"`` or ``"lcat"``; ``"own"`` for own models."""
        if self.own:
            return "own"
        return self.name.split("-")[0].removesuffix("v2")

    @property
    def version(self) -> int | None:
        """1 for scores as in GAT, 2 as in GATv2; ``None`` for layers without scores, such as GCN."""
        if self.family in ("gcn", "transformer") or not self.attention:
            return None
        return 2 if self.name.split("-")[0].endswith("v2") else 1

    @property
    def variant(self) -> str:
        """What follows the family's name: ``"mean"``, ``"theory"``, or nothing."""
        return "" if self.own else self.name.partition("-")[2]

    @property
    def uses_edge_features(self) -> bool:
        """Its scores depend on features of edges: it has scores, and does not multiply them by 0."""
        return self.attention and self.conv is not None and ("lambda1", 0.0) not in self.arguments

    @property
    def title(self) -> str:
        """As papers write it: ``"GCN"``, ``"L-CATv2"``, ``"GAT (theory)"``."""
        if self.own or self.family not in _TITLES:
            return self.name
        family = _TITLES[self.family]
        return f"{family}{'v2' if self.version == 2 else ''}{f' ({self.variant})' if self.variant else ''}"

    def settings_that_matter(self, point: dict[str, Any]) -> dict[str, Any]:
        """What of a point of a grid or search changes this layer: heads mean nothing to GCN.

        Of an own model it is not known here, and everything is returned; see :mod:`lcat.study.models.own_hyper`.
        """
        if self.own:
            return dict(point)
        without = {*self.without}
        without |= set() if self.attention else {"heads", "attention_dropout", "separate_self"}
        without |= set() if self.learns_lambda else {"lambda1_init", "lambda2_init"}
        if self.conv is None:
            without |= _NOT_IN_CLOSED_FORM
        elif not self.learns_lambda:
            without |= {"scalar_lr"}
        return {name: value for name, value in point.items() if name not in without}


_TITLES = {"gcn": "GCN", "gat": "GAT", "cat": "CAT", "lcat": "L-CAT", "sage": "GraphSAGE", "transformer": "Transformer"}

_SPECS = (
    LayerSpec("gcn", "GCN, symmetric normalization", attention=False, conv=GCNConv, model=models.GCN),
    LayerSpec(
        "gcn-mean",
        "uniform mean over the neighbors and the node, the published comparison's GCN",
        attention=True,
        arguments=(("lambda1", 0.0), ("lambda2", 0.0)),
        conv=LCATConv,
        model=models.LCAT,
    ),
    LayerSpec("gat", "GAT", attention=True, conv=GATConv, model=models.GAT),
    LayerSpec("gatv2", "GATv2", attention=True, conv=GATv2Conv, model=models.GATv2),
    LayerSpec("cat", "CAT: GAT that scores neighborhood averages", attention=True, conv=CATConv, model=models.CAT),
    LayerSpec(
        "catv2", "CATv2: GATv2 that scores neighborhood averages", attention=True, conv=CATv2Conv, model=models.CATv2
    ),
    LayerSpec(
        "lcat",
        "L-CAT: learns where between GCN, GAT and CAT",
        attention=True,
        learns_lambda=True,
        conv=LCATConv,
        model=models.LCAT,
    ),
    LayerSpec(
        "lcatv2",
        "L-CATv2: learns where between GCN, GATv2 and CATv2",
        attention=True,
        learns_lambda=True,
        conv=LCATv2Conv,
        model=models.LCATv2,
    ),
)
_BESIDE = (
    LayerSpec(
        "sage",
        "GraphSAGE: the node and the mean of its neighbors, each with weights of its own; without edge weights",
        attention=False,
        conv=SAGEConv,
        without=("self_loops",),
        edge_values=(),
    ),
    LayerSpec(
        "transformer",
        "TransformerConv: scaled dot products as attention, and the node with weights of its own; without edge weights",
        attention=True,
        conv=TransformerConv,
        without=("self_loops", "separate_self"),
        edge_values=("edge_attr",),
    ),
)
_THEORY = (
    LayerSpec(
        "gat-theory",
        "GAT with the closed-form scores of the theory",
        attention=True,
        arguments=(("lambda1", 1.0), ("lambda2", 0.0)),
    ),
    LayerSpec(
        "cat-theory",
        "CAT with the closed-form scores of the theory",
        attention=True,
        arguments=(("lambda1", 1.0), ("lambda2", 1.0)),
    ),
    LayerSpec(
        "lcat-theory",
        "L-CAT with the closed-form scores of the theory; learns lambda alone",
        attention=True,
        learns_lambda=True,
        arguments=(("lambda1", None), ("lambda2", None)),
    ),
)

#: Every layer by name.
LAYERS: dict[str, LayerSpec] = {spec.name: spec for spec in (*_SPECS, *_BESIDE, *_THEORY)}
#: Those that exist on ``csbm:`` data sets only, where the scores are known in closed form.
THEORY_LAYERS: tuple[str, ...] = tuple(spec.name for spec in _THEORY)
#: Those that a study compares where it names none.
DEFAULT_LAYERS: tuple[str, ...] = tuple(spec.name for spec in _SPECS)


def layer_spec(name: str) -> LayerSpec:
    """The layer of this name, or that of an own model, whose file may be gone.

    Example:
        >>> from lcat.study.models.layers import layer_spec
        >>> layer_spec("gat").family, layer_spec("MyNet").family
        ('gat', 'own')
    """
    spec = LAYERS.get(name)
    return LayerSpec(name, "an own model", attention=False, learns_lambda=True, own=True) if spec is None else spec


def layer_title(name: str) -> str:
    """A layer as papers write it; names of other layers stay as they are.

    Example:
        >>> from lcat.study.models.layers import layer_title
        >>> layer_title("lcatv2"), layer_title("gcn-mean"), layer_title("mine")
        ('L-CATv2', 'GCN (mean)', 'mine')
    """
    return LAYERS[name].title if name in LAYERS else name


def build_model(
    layer: str,
    in_channels: int,
    out_channels: int,
    hyper: HyperParameters,
    *,
    edge_dim: int | None = None,
    own: OwnModel | None = None,
) -> nn.Module:
    """The model of one cell.

    ``hyper.hidden_channels`` is the width of a hidden layer, all heads together: GCN and an attention layer of
    one study have the same width unless their own defaults say otherwise. The last layer averages its heads.

    Args:
        layer: a name of :data:`LAYERS`, or an own model: ``"models.py:MyNet"``, a registered name.
        in_channels: number of features.
        out_channels: number of classes.
        hyper: its settings.
        edge_dim: number of features of an edge, for layers whose scores use them; ``None`` without any.
        own: an own model that has been found already.

    Raises:
        ValueError: for an unknown layer.

    Example:
        >>> from lcat.study.models.classifier import NodeClassifier
        >>> from lcat.study.models.hyper import HyperParameters
        >>> from lcat.study.models.layers import build_model
        >>> model = build_model("lcat", 16, 3, HyperParameters(hidden_channels=32, heads=8))
        >>> len(model.gnn.convs)
        2
    """
    if not isinstance(hyper, HyperParameters):
        raise TypeError(
            f"expected 'hyper' of type HyperParameters, got {type(hyper).__name__}: HyperParameters(...) makes one"
        )
    if own is None and layer not in LAYERS and is_model_text(layer):
        own = find_model(layer)
    if own is not None:
        return OwnClassifier(own.make(in_channels, out_channels, own_arguments(own, hyper), edge_dim), own.name)
    if layer not in LAYERS:
        raise ValueError(f"layer must be one of {', '.join(LAYERS)}; got {layer!r}")
    spec = LAYERS[layer]
    arguments: dict[str, Any] = dict(spec.arguments)
    if spec.learns_lambda:
        arguments.update(lambda1_init=hyper.lambda1_init, lambda2_init=hyper.lambda2_init)
    if spec.conv is None:
        return TheoryModel(in_channels, **arguments)
    if spec.model is None or hyper.is_recipe:
        gnn = _recipe_model(spec, in_channels, out_channels, hyper, edge_dim=edge_dim, arguments=arguments)
        return NodeClassifier(gnn, hyper.input_dropout, hyper.normalize_features)
    if spec.attention:
        arguments["heads"] = hyper.heads
        if spec.uses_edge_features:
            arguments["edge_dim"] = edge_dim
    gnn = spec.model(
        in_channels,
        hyper.hidden_channels,
        hyper.num_layers,
        out_channels=out_channels,
        dropout=hyper.dropout,
        act="elu" if spec.attention else "relu",
        norm=_NORMS[hyper.norm],
        **arguments,
    )
    if spec.attention and hyper.attention_dropout is not None:
        # PyG's attention models know one probability for the features between layers and for the attention.
        for conv in gnn.convs:
            conv.dropout = hyper.attention_dropout
    return NodeClassifier(gnn, hyper.input_dropout, hyper.normalize_features)


def _recipe_model(
    spec: LayerSpec,
    in_channels: int,
    out_channels: int,
    hyper: HyperParameters,
    *,
    edge_dim: int | None,
    arguments: dict[str, Any],
) -> RecipeModel:
    assert spec.conv is not None
    layer = spec.conv
    options: dict[str, Any] = {**arguments, "bias": hyper.bias}
    if "self_loops" not in spec.without:
        options["add_self_loops"] = hyper.self_loops
    if spec.attention:
        dropout = hyper.dropout if hyper.attention_dropout is None else hyper.attention_dropout
        options |= {"heads": hyper.heads, "dropout": dropout}
        if "separate_self" not in spec.without:
            options |= {"separate_self": hyper.separate_self, "edge_dropout": hyper.edge_dropout}
        if spec.uses_edge_features:
            options["edge_dim"] = edge_dim

    def make_conv(before: int, after: int, hidden: bool) -> nn.Module:
        if not spec.attention:
            return layer(before, after, **options)
        width = after // hyper.heads if hidden else after
        return layer(before, width, concat=hidden, **options)

    return RecipeModel(
        make_conv,
        in_channels=in_channels,
        hidden_channels=hyper.hidden_channels,
        out_channels=out_channels,
        num_layers=hyper.num_layers,
        dropout=hyper.dropout,
        activation=hyper.activation or ("elu" if spec.attention else "relu"),
        norm=hyper.norm,
        norm_first=hyper.norm_first,
        residual=hyper.residual,
        linear_in=hyper.linear_in,
        linear_out=hyper.linear_out,
        jk=hyper.jk,
        drop_edges=0.0 if "edge_dropout" in options else hyper.edge_dropout,
        edge_values=spec.edge_values,
    )


_NORMS = {"none": None, "batch": "BatchNorm", "layer": "LayerNorm"}
