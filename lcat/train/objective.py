"""What a mini-batch is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

__all__ = ["NodeObjective"]

LossName = Literal["cross-entropy", "binary"]


class NodeObjective:
    """The loss of the nodes of a batch that are trained on: its sum, and how many they are.

    Sums and counts, not means: what is added up over accumulated batches and over processes then gives the mean over
    all nodes, whatever their shares.

    Args:
        loss: ``"cross-entropy"`` for one of C classes (``y`` ``[N]`` or ``[N, 1]`` integers); ``"binary"`` for T yes-no
            tasks (``y`` ``[N, T]``, 0 or 1), averaged over tasks; or ``f(logits, y) -> [B]``, one loss per node.
        mask: name of a mask in the batch that tells the nodes; by default they are the batch's seeds.
        edge_attr: pass the batch's ``edge_attr`` to the model.
        trim: compute in each layer only what later ones need (PyG's ``trim_to_layer``). For layers that look one hop
            far: GAT and GATv2. A layer of GCN, CAT or L-CAT looks at the in-edges of its sources too, and would see
            fewer of them.

    Raises:
        ValueError: for an unknown name; when called, for labels that are negative or of the wrong shape.

    Example:
        >>> from lcat.data import csbm, neighbor_loader
        >>> from lcat.nn.models import GAT
        >>> from lcat.train import NodeObjective
        >>> data = csbm(n=100, seed=0)
        >>> batch = next(iter(neighbor_loader(data, [5], batch_size=20)))
        >>> total, count = NodeObjective()(GAT(data.num_features, 8, num_layers=1, out_channels=2), batch)
        >>> count
        20
    """

    def __init__(
        self,
        loss: LossName | Callable[[Tensor, Tensor], Tensor] = "cross-entropy",
        *,
        mask: str | None = None,
        edge_attr: bool = False,
        trim: bool = False,
    ) -> None:
        if isinstance(loss, str) and loss not in get_args(LossName):
            raise ValueError(f"loss must be one of {', '.join(get_args(LossName))} or a function; got {loss!r}")
        self.loss = loss
        self.mask = mask
        self.edge_attr = edge_attr
        self.trim = trim

    def __call__(self, model: Callable[..., Tensor], batch: Any) -> tuple[Tensor, int]:
        """``(sum of the losses, number of nodes)`` of one batch."""
        options: dict[str, Any] = {"edge_attr": batch.edge_attr} if self.edge_attr else {}
        if self.trim:
            options["num_sampled_nodes_per_hop"] = batch.num_sampled_nodes
            options["num_sampled_edges_per_hop"] = batch.num_sampled_edges
        logits = model(batch.x, batch.edge_index, **options)
        rows = slice(0, batch.batch_size) if self.mask is None else batch[self.mask]
        logits, y = logits[rows], batch.y[rows]
        return self._losses(logits, y).sum(), y.shape[0]

    def _losses(self, logits: Tensor, y: Tensor) -> Tensor:
        if callable(self.loss):
            losses = self.loss(logits, y)
            if losses.shape != y.shape[:1]:
                raise ValueError(
                    f"expected one loss per node from 'loss', {list(y.shape[:1])}, got {list(losses.shape)}: the sum "
                    "is divided by the number of nodes later, so make the loss with reduction='none'"
                )
            return losses
        if self.loss == "binary":
            if y.shape != logits.shape:
                raise ValueError(
                    f"binary tasks need labels of the logits' shape {list(logits.shape)}; got {list(y.shape)}"
                )
            return F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none").mean(dim=1)
        if y.dim() == 2 and y.shape[1] == 1:
            y = y.squeeze(1)
        if y.dim() != 1 or y.is_floating_point():
            raise ValueError(f"cross-entropy needs integer labels [N] or [N, 1]; got {y.dtype} {list(y.shape)}")
        # On a GPU looking at the labels would wait for the device; there torch itself asserts.
        if y.device.type == "cpu" and y.numel() and (int(y.min()) < 0 or int(y.max()) >= logits.shape[1]):
            raise ValueError(
                f"labels must lie in 0 .. {logits.shape[1] - 1}; got {int(y.min())} .. {int(y.max())}: leave "
                "unlabeled nodes out of the seeds or the mask"
            )
        return F.cross_entropy(logits, y.long(), reduction="none")
