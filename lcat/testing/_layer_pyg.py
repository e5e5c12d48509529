"""What PyG's tools do with a layer: hooks, masks of explainers, torch.compile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lcat.testing._layer_tools import LayerTools

__all__ = ["PyGClauses"]


class PyGClauses(LayerTools):
    """A MessagePassing layer can be looked into; layers of other kinds skip these clauses."""

    def test_message_hooks_see_messages(self) -> None:
        """A pre-hook of ``message`` is called with one row per edge, and leaves the output as it is."""
        layer: Any = self._message_passing(self.make())
        x, edge_index = self.example()
        plain = self.output(layer, x, edge_index)
        rows: list[int] = []

        def hook(module: nn.Module, inputs: Any) -> None:  # noqa: ARG001
            arguments = inputs[-1] if isinstance(inputs[-1], dict) else {}
            for name, value in arguments.items():
                if isinstance(value, Tensor) and name.endswith("_j"):
                    rows.append(value.shape[layer.node_dim])

        handle = layer.register_message_forward_pre_hook(hook)
        self.assert_close(self.output(layer, x, edge_index), plain, "with a hook on messages")
        handle.remove()
        loops = int((edge_index[0] == edge_index[1]).sum())
        num_edges = edge_index.shape[1] - loops
        assert rows, "the hook on message was not called with messages (an argument that ends in _j)"
        assert max(rows) >= num_edges, f"expected a row for each of {num_edges} edges, got {max(rows)}"
        seen = len(rows)
        self.assert_close(self.output(layer, x, edge_index), plain, "after the hook was removed")
        assert len(rows) == seen, "the hook was called after it was removed"

    def test_message_hooks_change_messages(self) -> None:
        """What a hook of ``message`` returns takes the place of the messages."""
        layer: Any = self._message_passing(self.make())
        x, edge_index = self.example()
        plain = self.output(layer, x, edge_index)
        handle = layer.register_message_forward_hook(lambda module, inputs, out: torch.zeros_like(out))  # noqa: ARG005
        silent = self.output(layer, x, edge_index)
        handle.remove()
        assert float((silent - plain).detach().abs().max()) > self.close, "messages of zero change nothing"

    def test_mask_of_ones_changes_nothing(self) -> None:
        """An explainer's mask of ones leaves the output as it is."""
        layer = self._message_passing(self.make())
        x, edge_index = self.example()
        plain = self.output(layer, x, edge_index)
        masked = self._masked(layer, x, edge_index, torch.ones(edge_index.shape[1], dtype=x.dtype))
        self.assert_close(masked, plain, "a mask of ones")
        self.assert_close(self.output(layer, x, edge_index), plain, "after the mask was removed")

    def test_a_masked_edge_is_absent(self) -> None:
        """Where an edge is the only one of its target, an explainer's mask of zero is the graph without it."""
        layer = self._message_passing(self.make(**self.without_self_loops))
        x = self.random(5, self.in_channels)
        edge_index = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 0, 1, 4]])
        mask = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0], dtype=x.dtype)
        expected = self.output(layer, x, edge_index[:, :-1])
        self.assert_close(self._masked(layer, x, edge_index, mask), expected, "a masked edge")

    def test_compiles_as_one_graph(self) -> None:
        """``torch.compile(fullgraph=True)`` takes the layer, and it computes the same (slow: set ``slow = True``)."""
        if not self.slow:
            self.skip("slow; set slow = True to run it")
        x, edge_index = self.example()
        layer, call = self.make(), self.output
        expected = self.gradients(layer, x, edge_index)
        torch._dynamo.reset()
        compiled: Any = torch.compile(layer, backend="aot_eager", fullgraph=True)
        leaf = x.clone().requires_grad_()
        out = call(compiled, leaf, edge_index)
        self.assert_close(out, expected["out"], "compiled")
        (grad,) = torch.autograd.grad(out, leaf, self.random(*out.shape, seed=5))
        self.assert_close(grad, expected["x"], "compiled, gradient of x")

    def _message_passing(self, layer: nn.Module) -> nn.Module:
        from torch_geometric.nn import MessagePassing

        is_message_passing = isinstance(layer, MessagePassing)
        if not is_message_passing:
            self.skip(f"{type(layer).__name__} is no torch_geometric.nn.MessagePassing")
        return layer

    def _masked(self, layer: nn.Module, x: Tensor, edge_index: Tensor, mask: Tensor) -> Tensor:
        from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

        set_masks(layer, mask, edge_index, apply_sigmoid=False)
        try:
            return self.output(layer, x, edge_index)
        finally:
            clear_masks(layer)
