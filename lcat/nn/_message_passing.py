"""What all layers of lcat share as a PyG MessagePassing: when single messages must exist, and explainers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from typing_extensions import Unpack

from lcat._edge_formats import EdgeList, read_edges
from lcat.nn import _steps
from lcat.nn._calls import CheckedCalls
from lcat.nn._options import (
    MessagePassingOptions,
    check_message_passing_values,
    unusable_aggregation,
)
from lcat.nn._scripting import cannot_be_scripted
from lcat.nn.neighborhood_statistic import StatisticInputs


class DropInConv(CheckedCalls, MessagePassing):
    """A MessagePassing layer that calls :mod:`lcat.ops`, unless someone wants to see or change messages.

    Where messages must exist, PyG's ``propagate`` runs, in its general form. PyG also generates one for each class when
    it is first used, and puts it there; lcat does not let it, because that code knows no explainer and no further
    arguments, and the classes that inherit it would get it or not, depending on what was used before.
    """

    # TorchScript would compile them.
    __jit_unused_properties__ = ("statistic_depends_on",)
    # The steps of the class as lcat ships it; subclasses of users inherit them.
    _shipped_steps: tuple[Any, ...]

    def __init__(self, **kwargs: Unpack[MessagePassingOptions]) -> None:
        check_message_passing_values(type(self), kwargs)
        try:
            super().__init__(**kwargs)
        except (TypeError, ValueError) as error:  # only the aggregation is not checked
            raise type(error)(unusable_aggregation(type(self), kwargs, error)) from None

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """``None``, as the layer looks one hop far; see :class:`lcat.nn.NeighborhoodStatistic`."""
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("lcat.nn."):
            cls._shipped_steps = _steps.shipped_steps(cls)

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        """PyG's constructor calls this to generate ``propagate`` and ``edge_updater`` for the class; see there."""

    def __prepare_scriptable__(self) -> Any:
        """``torch.jit.script`` asks for this before it compiles."""
        raise cannot_be_scripted(self)

    def _changed_since_made(self) -> str | None:
        """The aggregation; see :class:`~lcat.nn._calls.CheckedCalls`."""
        if self._modules.get("aggr_module", self) is None and type(self).aggregate is MessagePassing.aggregate:
            return f"'aggr_module' of {type(self).__name__} is None; it takes an aggregation of torch_geometric.nn.aggr"
        return None

    def _wants_messages(self) -> bool:
        """True if PyG's own propagate must run: hooks, an explainer, another aggregation, or replaced steps.

        lcat.ops computes the same numbers without ever forming ``message()``, so these would not be seen.
        """
        if self.explain or self.decomposed_layers > 1:
            return True
        if _steps.has_step_hooks(self) or _steps.has_other_steps(self, type(self)._shipped_steps):
            return True
        return not _steps.is_plain_sum(self._modules.get("aggr_module"))

    def _multiplies_matrix(self, edge_list: EdgeList) -> bool:
        """True if PyG's step ``message_and_aggregate`` must run: edges as a matrix, and it is replaced or hooked."""
        if edge_list.layout == "edge_index" or self.explain or not self.fuse:
            return False
        if _steps.has_fuse_hooks(self):
            return True
        return _steps.has_other_step(self, "message_and_aggregate", type(self)._shipped_steps)

    def edge_updater(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        """PyG's general form forgets ``size``, and shows hooks what it gets instead of what ``edge_update`` gets."""
        sizes = self._check_input(edge_index, size)
        collected = self._collect(self._edge_user_args, edge_index, sizes, kwargs)
        inputs = self.inspector.collect_param_data("edge_update", collected)
        for hook in self._edge_update_forward_pre_hooks.values():
            changed = hook(self, (edge_index, size, inputs))
            if changed is not None:
                edge_index, size, inputs = changed
        out: Tensor = self.edge_update(**inputs)
        for hook in self._edge_update_forward_hooks.values():
            changed = hook(self, (edge_index, size, inputs), out)
            out = out if changed is None else changed
        return out

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


def matrix_of(edge_list: EdgeList, edges: Tensor, values: Tensor | None, shape: tuple[int, int]) -> tuple[Any, Tensor]:
    """A matrix of the input's own format with ``values`` at ``edges``, and the edge of each of its entries."""
    source, target = edges
    # PyG takes every COO matrix for one in this order; the other formats are in their own.
    by_row = torch.argsort(target * shape[1] + source, stable=True)
    edges = edges[:, by_row]
    values = torch.ones(by_row.shape[0], device=edges.device) if values is None else values[by_row]
    matrix, _ = edge_list.with_values(edges, values, shape)
    numbered, order = edge_list.with_values(edges, by_row, shape)
    if order is None:
        order = read_edges(numbered, flow=edge_list.flow, name=edge_list.name).values
    assert order is not None
    return matrix, order
