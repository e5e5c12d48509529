"""What a mini-batch is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch

from lcat._numbers import as_int, read_bool
from lcat.train._checks import call_loss, check_logits, check_loss, kind_of, warn_of_probabilities

__all__ = ["LossName", "NodeObjective", "edge_value_names", "edge_values"]

LossName = Literal["cross-entropy", "binary"]


class NodeObjective:
    """The loss of the nodes of a batch that are trained on: its sum, and how many they are.

    Sums and counts, not means: what is added up over accumulated batches and over processes then gives the mean over
    all nodes, whatever their shares.

    Args:
        loss: ``"cross-entropy"`` for one of C classes (``y`` ``[N]`` or ``[N, 1]`` integers); ``"binary"`` for T yes-no
            tasks (``y`` ``[N, T]``, 0 or 1, nan where unknown), averaged over the tasks whose labels are known, nodes
            without any left out; or ``f(logits, y) -> [B]``, one loss per node.
        mask: name of a mask in the batch that tells the nodes; by default they are the batch's seeds.
        edge_attr: pass the batch's ``edge_attr`` to the model.
        edge_weight: pass the batch's ``edge_weight`` to the model.
        trim: compute in each layer only what later ones need (PyG's ``trim_to_layer``). For layers that look one hop
            far: GAT and GATv2. A layer of GCN, CAT or L-CAT looks at the in-edges of its sources too, and would see
            fewer of them.

    Raises:
        TypeError: ``loss`` is neither a name nor a function.
        ValueError: for an unknown name; when called, for labels that are negative or of the wrong shape, and for losses
            that are not one per node, or nan because of a label.

    Example:
        >>> from lcat.data import csbm, neighbor_loader
        >>> from lcat.nn.models import GAT
        >>> from lcat.train import NodeObjective
        >>> data = csbm(n=100, seed=0)
        >>> batch = next(iter(neighbor_loader(data, [5], batch_size=20)))
        >>> total, count = NodeObjective()(
        ...     GAT(data.num_features, 8, num_layers=1, out_channels=2), batch
        ... )
        >>> count
        20
    """

    def __init__(
        self,
        loss: LossName | Callable[[Tensor, Tensor], Tensor] = "cross-entropy",
        *,
        mask: str | None = None,
        edge_attr: bool = False,
        edge_weight: bool = False,
        trim: bool = False,
    ) -> None:
        check_loss(loss, get_args(LossName))
        self.loss = loss
        self._called = False
        self.mask = mask
        self.edge_values = edge_value_names(edge_attr, edge_weight)
        self.trim = trim

    def signature(self) -> dict[str, Any]:
        """What the loss follows from; a resumed training is refused another one."""
        loss = self.loss if isinstance(self.loss, str) else getattr(self.loss, "__qualname__", kind_of(self.loss))
        return {"loss": loss, "mask": self.mask, "edge values": list(self.edge_values), "trim": self.trim}

    def __call__(self, model: Callable[..., Tensor], batch: Any) -> tuple[Tensor, int]:
        """``(sum of the losses, number of nodes)`` of one batch."""
        options: dict[str, Any] = {name: edge_values(batch, name, "a batch") for name in self.edge_values}
        if self.trim:
            if "num_sampled_nodes" not in batch:
                raise ValueError(
                    f"expected a batch of neighbor_loader, with the numbers of nodes per hop, for trim=True, got "
                    f"{kind_of(batch)} without 'num_sampled_nodes': leave trim out for other batches"
                )
            options["num_sampled_nodes_per_hop"] = batch.num_sampled_nodes
            options["num_sampled_edges_per_hop"] = batch.num_sampled_edges
        logits = model(batch.x, batch.edge_index, **options)
        check_logits(logits)
        if not self._called and self.loss == "cross-entropy":
            warn_of_probabilities(logits)
        self._called = True
        rows = _seeds(batch) if self.mask is None else self._rows(batch)
        if batch.y is None:
            raise ValueError("the batch has no labels 'y': put them into the data that the loader cuts batches from")
        return self.total(logits[rows], batch.y[rows])

    def _rows(self, batch: Any) -> Tensor:
        mask = batch.get(self.mask, None)
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = "none of this name" if mask is None else getattr(mask, "dtype", type(mask).__name__)
            raise ValueError(f"expected a boolean mask {self.mask!r} in the batch, got {got}")
        return mask

    def total(self, logits: Tensor, y: Tensor) -> tuple[Tensor, int]:
        """``(sum of the losses, number of nodes)`` of these logits and labels, nodes of unknown labels left out."""
        if callable(self.loss):
            return _of_function(self.loss, logits, y).sum(), y.shape[0]
        return _binary(logits, y) if self.loss == "binary" else _cross_entropy(logits, y)


def edge_value_names(edge_attr: bool, edge_weight: bool) -> tuple[str, ...]:
    """Names of what a model gets of the edges."""
    flags = {"edge_attr": read_bool("edge_attr", edge_attr), "edge_weight": read_bool("edge_weight", edge_weight)}
    return tuple(name for name, used in flags.items() if used)


def edge_values(graph: Any, name: str, what: str) -> Tensor:
    """``edge_attr`` or ``edge_weight`` of a graph, which an error calls ``what``; a ValueError where it has none."""
    values = graph.get(name, None)
    if not isinstance(values, Tensor):
        raise ValueError(
            f"expected {what} with {name!r}, got {kind_of(graph)} without: put it into the data, or leave out "
            f"{name}=True"
        )
    return values


def _seeds(batch: Any) -> slice:
    size = as_int(getattr(batch, "batch_size", None))
    # The batch_size of a Batch is the number of its graphs, not of its seeds.
    if size is None or isinstance(batch, Batch):
        raise ValueError(
            f"expected a batch with seeds (its first 'batch_size' nodes), got {kind_of(batch)} without: name the mask "
            "of the nodes to train on, for example objective=NodeObjective(mask='train_mask')"
        )
    return slice(0, size)


def _of_function(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, y: Tensor) -> Tensor:
    losses = call_loss(loss, logits, y)
    if not isinstance(losses, Tensor) or losses.shape != y.shape[:1]:
        got = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"expected one loss per node from 'loss', {list(y.shape[:1])}, got {got}: the sum "
            "is divided by the number of nodes later, so make the loss with reduction='none'"
        )
    if y.is_floating_point() and bool((losses.isnan() & y.isnan().reshape(y.shape[0], -1).any(dim=1)).any()):
        unknown = int(y.isnan().reshape(y.shape[0], -1).any(dim=1).sum())
        raise ValueError(
            f"{unknown} of {y.shape[0]} nodes have labels that are nan, and 'loss' returned nan for them: leave these "
            "nodes out of the seeds or the mask, or return 0 for what is unknown"
        )
    return losses


def _binary(logits: Tensor, y: Tensor) -> tuple[Tensor, int]:
    if y.shape != logits.shape or y.dim() != 2:
        raise ValueError(
            f"binary tasks need labels [nodes, tasks] of the logits' shape {list(logits.shape)}; got {list(y.shape)}"
        )
    known = ~y.isnan()
    complete = bool(known.all())
    y = y.to(logits.dtype)
    values = y if complete else torch.where(known, y, 0)
    if y.numel() and not (float(values.min()) >= 0 and float(values.max()) <= 1):
        raise ValueError(
            f"labels of binary tasks must be 0 or 1, or nan where unknown; got {float(values.min()):g} .. "
            f"{float(values.max()):g}"
        )
    losses = F.binary_cross_entropy_with_logits(logits, values, reduction="none")
    if complete:
        return losses.mean(dim=1).sum(), y.shape[0]
    tasks = known.sum(dim=1)
    # A product with 0 would keep nan of logits that nobody asks for.
    return (torch.where(known, losses, 0).sum(dim=1) / tasks.clamp(min=1)).sum(), int((tasks > 0).sum())


def _cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, int]:
    if y.dim() == 2 and y.shape[1] == 1:
        y = y.squeeze(1)
    if y.dim() != 1 or y.is_floating_point():
        unknown = f", {int(y.isnan().sum())} of them nan" if y.is_floating_point() else ""
        way_out = ": make them integers, and leave unlabeled nodes out of the seeds or the mask" if unknown else ""
        raise ValueError(
            f"cross-entropy needs integer labels [N] or [N, 1]; got {y.dtype} {list(y.shape)}{unknown}{way_out}"
        )
    # On a GPU looking at the labels would wait for the device; there torch itself asserts.
    if y.device.type == "cpu" and y.numel() and (int(y.min()) < 0 or int(y.max()) >= logits.shape[1]):
        raise ValueError(
            f"labels must lie in 0 .. {logits.shape[1] - 1}; got {int(y.min())} .. {int(y.max())}: leave "
            "unlabeled nodes out of the seeds or the mask"
        )
    return F.cross_entropy(logits, y.long(), reduction="sum"), y.shape[0]
