"""Layers from checkpoints of the L-CAT code published with the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from torch import Tensor
from typing_extensions import Unpack

from lcat._text import hint
from lcat.nn import _checks
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._options import Flow
from lcat.nn._principal_neighborhood import Scaler
from lcat.nn._published_scaling import PublishedScaling
from lcat.nn.lcat_conv import LCATConv
from lcat.nn.lcat_gcn2_conv import LCATGCN2Conv, LCATv2GCN2Conv
from lcat.nn.lcat_pna_conv import LCATPNAConv, LCATv2PNAConv
from lcat.nn.lcatv2_conv import LCATv2Conv

__all__ = ["from_published"]

PublishedMode: TypeAlias = Literal["gcn", "gat", "cat", "lcat", "gcngat", "gatcat"]


class PublishedOptions(TypedDict, total=False):
    """The arguments of the published constructors, and ``neighbor_aggr``; each family takes some of them."""

    in_channels: int | tuple[int, int]
    out_channels: int
    heads: int
    mode: PublishedMode
    negative_slope: float
    add_self_loops: bool
    bias: bool
    share_weights_score: bool
    share_weights_value: bool
    # plain
    aggr: Literal["mean"]
    flow: Flow
    neighbor_aggr: NeighborAggregation
    # gcn2
    channels: int
    alpha: float
    theta: float | None
    layer: int | None
    normalize: bool
    # pna
    aggregators: Sequence[str]
    scalers: Sequence[Scaler]
    deg: Tensor


# mode of the published constructor -> (lambda1, lambda2)
_MODES: dict[PublishedMode, tuple[float | None, float | None]] = {
    "gcn": (0.0, 0.0),
    "gat": (1.0, 0.0),
    "cat": (1.0, 1.0),
    "lcat": (None, None),
    "gcngat": (1.0, 0.0),  # its lambda1 is never applied, see from_published
    "gatcat": (1.0, None),
}
_V1_NAMES = {"att_l": "att_src", "att_r": "att_dst"}


_COMMON: dict[str, Any] = {
    "heads": 1,
    "negative_slope": 0.2,
    "bias": True,
    "share_weights_score": False,
    "share_weights_value": False,
}
# family -> the arguments that its constructors need, and the defaults of the others
_FAMILIES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "plain": (("in_channels", "out_channels"), {**_COMMON, "add_self_loops": True, "neighbor_aggr": "mean"}),
    "gcn2": (
        ("channels", "alpha"),
        {**_COMMON, "theta": None, "layer": None, "normalize": True, "add_self_loops": True},
    ),
    "pna": (("in_channels", "out_channels", "aggregators", "scalers", "deg"), dict(_COMMON)),
}


def from_published(
    family: Literal["plain", "gcn2", "pna"],
    version: Literal["v1", "v2"],
    state_dict: Mapping[str, Tensor],
    **kwargs: Unpack[PublishedOptions],
) -> LCATConv | LCATv2Conv:
    r"""A layer that computes what a layer of the published L-CAT code (github.com/psanch21/LCAT) computes.

    That code's layers have a bias in every projection, separate projections for sources, targets and values
    (unless ``share_weights_*`` is set), and fix or learn the two scalars by ``mode``: "gcn" (0, 0), "gat" (1, 0),
    "cat" (1, 1), "lcat" (both learned), "gcngat" (lambda2 = 0), "gatcat" (lambda1 = 1, lambda2 learned).

    It computes what that code computes, which differs from the paper's formulas in some places:

    - plain: With PyG 2.1 and later the neighbors' *mean* takes the place of their sum in the averages: the code sets
      ``self.aggr = "add"`` for that step, which PyG no longer reads. ``neighbor_aggr="mean"``, the default here,
      does the same; a checkpoint that was trained with an older PyG needs ``neighbor_aggr="sum"``.
    - In mode "gcngat" the learned scalar is never applied, and gets no gradient: the layer is a GAT, and the
      checkpoint's scalar is left out. ``LCATConv(lambda2=0.0)`` is the layer that this name describes.
    - gcn2 (GCNII): added self-loops have weight 1, not that of the normalization (``loop_weight=1.0``). The matrix of
      the identity mapping is that of the values' map, and the checkpoint's ``bias`` is never added, and left out.
    - pna: ``deg`` is read as a list of degrees, not as their histogram. The standard deviation is
      ``sqrt(relu(var) + 1e-5)``, and a node without in-edges has degree 1 in all scalers.

    Args:
        family: "plain", "gcn2" (L-CAT with GCNII) or "pna" (L-CAT with PNA).
        version: "v1" or "v2".
        state_dict: the published layer's ``state_dict``.
        **kwargs: the published constructor's arguments. All: ``heads``, ``mode``, ``negative_slope``, ``bias``,
            ``share_weights_score``, ``share_weights_value``. plain: ``in_channels``, ``out_channels``,
            ``add_self_loops``, ``aggr`` ("mean" only), MessagePassing's ``flow``; and ``neighbor_aggr``, see above.
            gcn2: ``channels``, ``alpha``, ``theta``, ``layer``, ``normalize``, ``add_self_loops``; as there,
            ``share_weights_value`` must be True. pna: ``in_channels``, ``out_channels``, ``aggregators``, ``scalers``,
            ``deg``; as there, ``bias`` must be False.

    Returns:
        a layer with the checkpoint's numbers: :class:`~lcat.nn.LCATConv`, :class:`~lcat.nn.LCATGCN2Conv`,
        :class:`~lcat.nn.LCATPNAConv`, or its v2.

    Raises:
        ValueError: an unknown family, version, mode or argument, or a ``state_dict`` that does not fit.

    Example:
        >>> import torch
        >>> from lcat.nn import from_published
        >>> state = {"att": torch.ones(1, 1, 2), "bias": torch.zeros(2)}
        >>> for name in ("lin_l", "lin_r", "lin_v"):
        ...     state |= {f"{name}.weight": torch.eye(2), f"{name}.bias": torch.zeros(2)}
        >>> from_published("plain", "v2", state, in_channels=2, out_channels=2, mode="cat")
        LCATv2Conv(2, 2, heads=1, lambda1=1, lambda2=1)
    """
    if not isinstance(family, str):
        raise TypeError(
            f"expected 'family' as a name ({', '.join(map(repr, _FAMILIES))}), got {type(family).__name__}: write "
            "from_published('plain', 'v1', state_dict, ...)"
        )
    if family not in _FAMILIES:
        known = ", ".join(map(repr, _FAMILIES))
        raise ValueError(f"'family' is {family!r}{hint(family, _FAMILIES)}; it takes {known}")
    if version not in ("v1", "v2"):
        raise ValueError(f"'version' is {version!r}; it takes 'v1' or 'v2'")
    options = _options(family, dict(kwargs))
    shared_score, shared_value = options.pop("share_weights_score"), options.pop("share_weights_value")
    options |= {"share_weights": shared_score, "share_values": shared_value}
    layer = _make(family, version, options)
    state = _renamed(state_dict, family, version, shared_score=shared_score, shared_value=shared_value)
    if kwargs.get("mode") == "gcngat":
        state.pop("raw_lambda1", None)
    if family == "gcn2":
        state.pop("bias", None)
    # Not part of those checkpoints: the average degrees come from ``deg``.
    state |= {name: value for name, value in layer.state_dict().items() if name.startswith("aggr_module.")}
    expected = set(layer.state_dict())
    if set(state) != expected:
        raise ValueError(
            f"the state_dict does not fit a published {version} layer with {kwargs}: missing "
            f"{sorted(expected - set(state)) or 'nothing'}, left over {sorted(set(state) - expected) or 'nothing'} "
            f"(names as in lcat); check 'mode', 'bias' and the 'share_weights_*' arguments"
        )
    layer.load_state_dict(state)
    return layer


def _make(family: str, version: str, options: dict[str, Any]) -> LCATConv | LCATv2Conv:
    """The layer of our own, before it gets the checkpoint's numbers."""
    bias = options.pop("bias")
    if family == "gcn2":
        options["loop_weight"] = 1.0 if options["add_self_loops"] else None
        if version == "v1":
            return LCATGCN2Conv(**options, score_bias=bias)
        return LCATv2GCN2Conv(**options, bias=bias)
    if family == "pna":
        layer: LCATPNAConv | LCATv2PNAConv
        layer = LCATPNAConv(**options, bias=bias) if version == "v1" else LCATv2PNAConv(**options, bias=bias)
        layer.aggr_module = PublishedScaling(options["aggregators"], options["scalers"], options["deg"])
        return layer
    if version == "v1":
        return LCATConv(**options, bias=bias, score_bias=bias)
    return LCATv2Conv(**options, bias=bias)


def _options(family: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The published constructor's arguments in terms of ours."""
    needed, defaults = _FAMILIES[family]
    missing = [name for name in needed if name not in kwargs]
    if missing:
        raise ValueError(f"from_published needs the constructor's {' and '.join(map(repr, missing))}")
    mode = kwargs.pop("mode", "gcn")
    if mode not in _MODES:
        raise ValueError(f"'mode' is {mode!r}{hint(mode, _MODES)}; it takes {', '.join(map(repr, _MODES))}")
    also = {"mode", "aggr", "flow"} if family == "plain" else {"mode"}
    known = {*defaults, *needed, *also}
    unknown = sorted(set(kwargs) - known)
    if unknown:
        raise ValueError(
            f"from_published does not know {', '.join(unknown)}{hint(unknown[0], known)}; it takes "
            f"{', '.join(sorted(known))}"
        )
    aggr = kwargs.pop("aggr", "mean")
    if aggr != "mean":
        raise ValueError(f"'aggr' is {aggr!r}; the published plain layers take 'mean'")
    options = {**defaults, **kwargs}
    for name in ("add_self_loops", "bias", "share_weights_score", "share_weights_value"):
        if name in options:
            options[name] = _checks.read_flag("from_published", name, options[name])
    if family == "gcn2" and not options["share_weights_value"]:
        raise ValueError("'share_weights_value' is False; the published layers with GCNII take True")
    if family == "pna" and options["bias"]:
        raise ValueError("'bias' is True; the published layers with PNA take False")
    options["lambda1"], options["lambda2"] = _MODES[mode]
    return options


def _renamed(
    state_dict: Mapping[str, Tensor], family: str, version: str, *, shared_score: bool, shared_value: bool
) -> dict[str, Tensor]:
    """The published names in terms of ours; tensors that are shared there appear once here."""
    names = {"lmbda_": "raw_lambda1", "lmbda2_": "raw_lambda2"}
    owners = {"lin": "lin_out", "post_nns": "post_nns.0.0"} if family == "pna" else {}
    if version == "v1":
        names |= _V1_NAMES
        owners |= {"lin_l": "lin" if shared_score else "lin_src", "lin_r": "lin" if shared_score else "lin_dst"}
    state = {}
    for name, tensor in state_dict.items():
        owner, dot, rest = name.rpartition(".")
        if owner == "lin_v" and shared_value:
            continue  # the same tensors as lin_l
        owner = "lin_value" if owner == "lin_v" else owners.get(owner, owner)
        state[names.get(name, f"{owner}{dot}{rest}")] = tensor
    return state
