"""Layers from checkpoints of the L-CAT code published with the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from torch import Tensor
from typing_extensions import Required, Unpack

from lcat._text import hint
from lcat.nn import _checks
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._options import Flow
from lcat.nn.lcat_conv import LCATConv
from lcat.nn.lcatv2_conv import LCATv2Conv

__all__ = ["from_published"]

PublishedMode: TypeAlias = Literal["gcn", "gat", "cat", "lcat", "gcngat", "gatcat"]


class PublishedOptions(TypedDict, total=False):
    """The arguments of the published constructors, and ``neighbor_aggr``."""

    in_channels: Required[int | tuple[int, int]]
    out_channels: Required[int]
    heads: int
    mode: PublishedMode
    negative_slope: float
    add_self_loops: bool
    bias: bool
    share_weights_score: bool
    share_weights_value: bool
    aggr: Literal["mean"]
    flow: Flow
    neighbor_aggr: NeighborAggregation


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


def from_published(
    family: Literal["plain"],
    version: Literal["v1", "v2"],
    state_dict: Mapping[str, Tensor],
    **kwargs: Unpack[PublishedOptions],
) -> LCATConv | LCATv2Conv:
    r"""A layer that computes what a layer of the published L-CAT code (github.com/psanch21/LCAT) computes.

    That code's layers have a bias in every projection, separate projections for sources, targets and values
    (unless ``share_weights_*`` is set), and fix or learn the two scalars by ``mode``: "gcn" (0, 0), "gat" (1, 0),
    "cat" (1, 1), "lcat" (both learned), "gcngat" (lambda2 = 0), "gatcat" (lambda1 = 1, lambda2 learned).

    It computes what that code computes, which differs from the paper's formula in two places:

    - With PyG 2.1 and later the neighbors' *mean* takes the place of their sum in the averages: the code sets
      ``self.aggr = "add"`` for that step, which PyG no longer reads. ``neighbor_aggr="mean"``, the default here,
      does the same; a checkpoint that was trained with an older PyG needs ``neighbor_aggr="sum"``.
    - In mode "gcngat" the learned scalar is never applied, and gets no gradient: the layer is a GAT, and the
      checkpoint's scalar is left out. ``LCATConv(lambda2=0.0)`` is the layer that this name describes.

    Args:
        family: "plain".
        version: "v1" or "v2".
        state_dict: the published layer's ``state_dict``.
        **kwargs: the published constructor's arguments: ``in_channels``, ``out_channels``, ``heads``, ``mode``,
            ``negative_slope``, ``add_self_loops``, ``bias``, ``share_weights_score``, ``share_weights_value``,
            ``aggr`` ("mean" only), MessagePassing's ``flow``; and ``neighbor_aggr``, see above.

    Returns:
        an :class:`~lcat.nn.LCATConv` or :class:`~lcat.nn.LCATv2Conv` with the checkpoint's numbers.

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
    if family != "plain":
        raise ValueError(f"'family' is {family!r}; it takes 'plain'")
    if version not in ("v1", "v2"):
        raise ValueError(f"'version' is {version!r}; it takes 'v1' or 'v2'")
    options = _options(dict(kwargs))
    shared_score, shared_value = options.pop("share_weights_score"), options.pop("share_weights_value")
    options |= {"share_weights": shared_score, "share_values": shared_value}
    layer: LCATConv | LCATv2Conv
    layer = LCATConv(**options, score_bias=options["bias"]) if version == "v1" else LCATv2Conv(**options)
    state = _renamed(state_dict, version, shared_score=shared_score, shared_value=shared_value)
    if kwargs.get("mode") == "gcngat":
        state.pop("raw_lambda1", None)
    expected = set(layer.state_dict())
    if set(state) != expected:
        raise ValueError(
            f"the state_dict does not fit a published {version} layer with {kwargs}: missing "
            f"{sorted(expected - set(state)) or 'nothing'}, left over {sorted(set(state) - expected) or 'nothing'} "
            f"(names as in lcat); check 'mode', 'bias' and the 'share_weights_*' arguments"
        )
    layer.load_state_dict(state)
    return layer


def _options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The published constructor's arguments in terms of ours."""
    missing = [name for name in ("in_channels", "out_channels") if name not in kwargs]
    if missing:
        raise ValueError(f"from_published needs the constructor's {' and '.join(map(repr, missing))}")
    mode = kwargs.pop("mode", "gcn")
    if mode not in _MODES:
        raise ValueError(f"'mode' is {mode!r}{hint(mode, _MODES)}; it takes {', '.join(map(repr, _MODES))}")
    aggr = kwargs.pop("aggr", "mean")
    if aggr != "mean":
        raise ValueError(f"'aggr' is {aggr!r}; the published plain layers take 'mean'")
    options: dict[str, Any] = {
        "heads": 1,
        "negative_slope": 0.2,
        "add_self_loops": True,
        "bias": True,
        "share_weights_score": False,
        "share_weights_value": False,
        "neighbor_aggr": "mean",
    }
    known = {*options, "in_channels", "out_channels", "flow", "mode", "aggr"}
    unknown = sorted(set(kwargs) - known)
    if unknown:
        raise ValueError(
            f"from_published does not know {', '.join(unknown)}{hint(unknown[0], known)}; it takes "
            f"{', '.join(sorted(known))}"
        )
    options |= kwargs
    for name in ("add_self_loops", "bias", "share_weights_score", "share_weights_value"):
        options[name] = _checks.read_flag("from_published", name, options[name])
    options["lambda1"], options["lambda2"] = _MODES[mode]
    return options


def _renamed(
    state_dict: Mapping[str, Tensor], version: Literal["v1", "v2"], *, shared_score: bool, shared_value: bool
) -> dict[str, Tensor]:
    """The published names in terms of ours; tensors that are shared there appear once here."""
    names = {"lmbda_": "raw_lambda1", "lmbda2_": "raw_lambda2"}
    if version == "v1":
        names |= _V1_NAMES
    state = {}
    for name, tensor in state_dict.items():
        owner, dot, rest = name.rpartition(".")
        if version == "v1":
            owner = {
                "lin_l": "lin" if shared_score else "lin_src",
                "lin_r": "lin" if shared_score else "lin_dst",
            }.get(owner, owner)
        if owner == "lin_v":
            if shared_value:
                continue  # the same tensors as lin_l
            owner = "lin_value"
        state[names.get(name, f"{owner}{dot}{rest}")] = tensor
    return state
