"""What all layers of lcat share as a PyG MessagePassing: when single messages must exist, and explainers."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn.conv import MessagePassing

from lcat.nn.neighborhood_statistic import StatisticInputs

_HOOKS = tuple(
    f"_{step}_forward_{when}"
    for step in ("propagate", "message", "aggregate", "message_and_aggregate", "edge_update")
    for when in ("pre_hooks", "hooks")
)
_STEPS = ("message", "aggregate", "update", "edge_update", "message_and_aggregate", "explain_message")


class DropInConv(MessagePassing):
    """A MessagePassing layer that calls :mod:`lcat.ops`, unless someone wants to see or change messages."""

    # TorchScript would compile them.
    __jit_unused_properties__ = ("statistic_depends_on",)
    # True for a user's class that overrides a step which lcat.ops would otherwise replace.
    _has_own_steps = False

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """``None``: the layer looks one hop far; see :class:`lcat.nn.NeighborhoodStatistic`."""
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        user_classes = [c for c in cls.__mro__ if not c.__module__.startswith(("lcat.nn.", "torch_geometric."))]
        cls._has_own_steps = any(step in c.__dict__ for c in user_classes for step in _STEPS)
        if "propagate" not in cls.__dict__:
            # For explainers PyG keeps the method that it finds when a class is first used. Without this, that may be
            # the code generated for a base class that was used before, which does not ask for a mask.
            cls.propagate = getattr(cls, "_orig_propagate", cls.propagate)

    def _wants_messages(self) -> bool:
        """True if PyG's own propagate must run: hooks, an explainer, another aggregation, or overridden steps.

        lcat.ops computes the same numbers without ever forming ``message()``, so these would not be seen.
        """
        if self.explain or self.decomposed_layers > 1 or self.aggr not in ("add", "sum"):
            return True
        if self._has_own_steps or any(step in self.__dict__ for step in _STEPS):
            return True
        return any(len(getattr(self, hooks)) > 0 for hooks in _HOOKS)

    def explain_message(self, inputs: Tensor, edge_index_i: Tensor, edge_index_j: Tensor) -> Tensor:
        """Multiply messages by the explainer's edge mask; the layer's own self-loops are not explained.

        PyG's version distinguishes loops from edges by comparing lengths, and confuses them where a graph has
        as many self-loops as nodes; this one compares the endpoints.
        """
        mask = self._masked_edges()
        if mask is None:
            raise ValueError(
                f"no edge mask is set on {self}: explainers set one through "
                f"torch_geometric.explain.algorithm.utils.set_masks before they run the model"
            )
        if self._replaces_self_loops():
            live = edge_index_i != edge_index_j
            mask = mask.new_ones(live.shape[0]).masked_scatter(live, mask[self._loop_mask])
        return inputs * mask.view(-1, *[1] * (inputs.dim() - 1))

    def _masked_edges(self) -> Tensor | None:
        """The explainer's mask as numbers, one per edge of the input; ``None`` if there is none."""
        if self._edge_mask is None:
            return None
        mask: Tensor = self._edge_mask
        return mask.sigmoid() if self._apply_sigmoid else mask

    def _replaces_self_loops(self) -> bool:
        return bool(self.add_self_loops)
