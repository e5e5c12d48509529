"""How a layer computes: derivatives, number types, memory, repeatability."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.func import functional_call

from lcat.testing._layer_tools import LayerTools

__all__ = ["NumberClauses"]


@contextmanager
def _nan_in_new_memory() -> Iterator[None]:
    """Fill every ``torch.empty`` with NaN (for integers the largest one)."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


class NumberClauses(LayerTools):
    """Right derivatives, every number type, no side effects."""

    def test_gradients(self) -> None:
        """Gradients of all inputs and parameters are those of finite differences, in float64."""
        x, edge_index = self.example()
        layer, edge_inputs = self.with_edge_inputs(), self.edge_inputs(edge_index.shape[1])
        parameters = dict(layer.named_parameters())
        inputs = {"x": x, **edge_inputs, **{name: p.detach().clone() for name, p in parameters.items()}}
        for tensor in inputs.values():
            tensor.requires_grad_()
        call = self.output

        def function(*tensors: Tensor) -> Tensor:
            values = dict(zip(inputs, tensors, strict=True))
            state = {f"layer.{name}": values[name] for name in parameters}
            edges = {name: values[name] for name in edge_inputs}
            out: Tensor = functional_call(caller, state, (values["x"], edge_index), edges)
            return out

        class Caller(torch.nn.Module):
            """The layer behind ``call``, so that its parameters can be replaced."""

            def __init__(self) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, x: Tensor, edges: Tensor, **edge_inputs: Tensor) -> Tensor:
                """Call the layer."""
                return call(self.layer, x, edges, **edge_inputs)

        caller = Caller()
        try:
            torch.autograd.gradcheck(function, tuple(inputs.values()), atol=1e-6, rtol=1e-5)
        except RuntimeError as error:  # GradcheckError is one
            raise AssertionError(f"gradients of {', '.join(inputs)} (in this order): {error}") from None

    def test_writes_all_of_its_memory(self) -> None:
        """No output and no gradient shows memory that nobody wrote: with NaN in it they are the same."""
        x, edge_index = self.example()
        for edges in (edge_index, edge_index[:, :0]):
            for options in ({}, self.without_self_loops):
                expected = self.gradients(self.make(**options), x, edges.clone())
                with _nan_in_new_memory():
                    actual = self.gradients(self.make(**options), x, edges.clone())
                for name, tensor in expected.items():
                    assert bool(torch.isfinite(actual[name]).all()), f"{name} shows memory that was never written"
                    self.assert_close(actual[name], tensor, f"{name} with NaN in new memory")

    def test_leaves_its_inputs_alone(self) -> None:
        """Neither the forward nor the backward pass writes into an input."""
        x, edge_index = self.example()
        inputs = self.edge_inputs(edge_index.shape[1])
        tensors = {"x": x, "edge_index": edge_index, **inputs}
        before = {name: (tensor.clone(), tensor._version) for name, tensor in tensors.items()}
        for tensor in (x, *inputs.values()):
            tensor.requires_grad_()
        self.output(self.with_edge_inputs(), x, edge_index, **inputs).square().sum().backward()
        for name, (value, version) in before.items():
            assert torch.equal(tensors[name].detach(), value), f"{name} was changed"
            assert tensors[name]._version == version, f"{name} was written"

    def test_float32(self) -> None:
        """In float32 the numbers are those of float64 to ``close_float32``, in the type of the features."""
        self._assert_type(torch.float32, self.close_float32)

    def test_bfloat16(self) -> None:
        """In bfloat16 the numbers are those of float64 to ``close_bfloat16``, in the type of the features."""
        self._assert_type(torch.bfloat16, self.close_bfloat16)

    def test_repeats_bit_for_bit(self) -> None:
        """In evaluation mode two calls give the same bits, output and gradients."""
        x, edge_index = self.example()
        layer = self.make()
        first, second = (self.gradients(layer, x, edge_index) for _ in range(2))
        for name, tensor in first.items():
            assert torch.equal(tensor, second[name]), f"{name} differs from call to call in evaluation mode"

    def test_strides_of_x_do_not_matter(self) -> None:
        """Features that are not contiguous in memory give the same numbers."""
        x, edge_index = self.example()
        layer = self.make()
        strided = x.repeat(1, 2)[:, : self.in_channels]
        self.assert_close(self.output(layer, strided, edge_index), self.output(layer, x, edge_index), "strided x")
        turned = x.t().contiguous().t()
        self.assert_close(self.output(layer, turned, edge_index), self.output(layer, x, edge_index), "transposed x")

    def _assert_type(self, dtype: torch.dtype, tolerance: float) -> None:
        x, edge_index = self.example()
        # The numbers are rounded first, so that only the arithmetic differs.
        layer, exact = self.make(dtype), self.make(dtype).double()
        out = self.output(layer, x.to(dtype), edge_index)
        assert out.dtype == dtype, f"expected {dtype}, got {out.dtype}"
        self.assert_close(out, self.output(exact, x.to(dtype).double(), edge_index), str(dtype), tolerance)
        out.float().sum().backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in layer.parameters()), (
            f"gradients in {dtype} are not finite"
        )
