"""Parameters of one shape, dtype and device, updated in one batched call, with their state side by side."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lcat.optim.layout import Layout

#: on a CPU, parameters up to this many entries are stacked; larger ones fill the caches by themselves
STACK_ENTRIES = 4096
#: on an accelerator everything of one shape is stacked, up to this many entries a call
STACK_TOTAL = 1 << 26

REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64, torch.complex32: torch.float32}
COMPUTE = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}


class Bucket:
    """The ``N`` parameters of a bucket and their state.

    The state of every parameter stays an ordinary entry of ``optimizer.state[p]``; here those entries are
    views of one tensor ``(N, ...)``, so that a thousand small momentum buffers are one tensor to update and
    still a thousand tensors to save. If somebody replaces an entry, it is stacked anew.

    Args:
        params: the parameters, alike in shape, dtype and device.
        states: their dicts in ``optimizer.state``.
        layout: their common layout.
        shared: whether state entries may be views of one tensor. Not under ``torch.compile``, which does not
            take mutated inputs that overlap: there the state is stacked and written back in every step.
    """

    def __init__(
        self, params: Sequence[Tensor], states: Sequence[dict[str, Any]], layout: Layout, shared: bool = True
    ) -> None:
        self.params, self.states, self.layout, self.shared = list(params), list(states), layout, shared
        self.dtype = COMPUTE.get(params[0].dtype, params[0].dtype)
        self.real = REAL.get(self.dtype, self.dtype)
        self.device = params[0].device
        self._stacks: dict[str, Tensor] = {}
        self._views: dict[str, Sequence[Tensor]] = {}
        self._scratch: dict[str, tuple[Tensor, Sequence[Tensor]]] = {}

    @property
    def step(self) -> Tensor:
        """Updates so far of each parameter, this one included: ``(N,)``."""
        return self.state("step", (), torch.float32)

    def gather(self, tensors: Sequence[Tensor], into: str) -> Tensor:
        """Parameters or gradients as ``(B, p, n)`` in the compute dtype; may alias them, so never write it.

        Several are stacked into memory that the bucket keeps under the name ``into``.
        """
        if len(tensors) == 1:
            return self.layout.wide(tensors[0][None].to(self.dtype))
        if not self.shared or any(t.dtype != self.dtype for t in tensors):
            return self.layout.wide(torch.stack([t.to(self.dtype) for t in tensors]))
        if into not in self._scratch:
            stacked = torch.stack(list(tensors))
            self._scratch[into] = stacked, stacked.unbind(0)
            return self.layout.wide(stacked)
        return self.layout.wide(torch.stack(list(tensors), out=self._scratch[into][0]))

    def scatter(self, X: Tensor) -> None:
        """Write ``X (B, p, n)`` into the parameters."""
        stacked = self.layout.narrow(X, tuple(self.params[0].shape))
        if len(self.params) == 1:
            if not self._is_same(stacked[0], self.params[0]):
                self.params[0].copy_(stacked[0])
            return
        if "weights" in self._scratch:
            # The gathered weights are spent; through them the views to copy from need no making.
            spent, views = self._scratch["weights"]
            if not self._is_same(stacked, spent):
                spent.copy_(stacked)
        else:
            views = stacked.unbind(0)
        torch._foreach_copy_(self.params, list(views))

    @staticmethod
    def _is_same(a: Tensor, b: Tensor) -> bool:
        """Whether both show the same memory in the same way, so that a copy would change nothing."""
        if torch.compiler.is_compiling():
            return False
        return a.data_ptr() == b.data_ptr() and a.stride() == b.stride() and a.dtype == b.dtype

    def matrices(self, name: str) -> Tensor:
        """State shaped like the parameter, as ``(B, p, n)``: a view, update it in place."""
        return self.layout.wide(self.state(name, tuple(self.params[0].shape), self.dtype))

    def scalars(self, name: str) -> Tensor:
        """One real number a matrix: ``(N, *batch)``."""
        return self.state(name, self.layout.batch, self.real)

    def per_matrix(self, values: Tensor) -> Tensor:
        """``(N,)`` or ``(N, *batch)`` broadcastable against ``(B, p, n)``; a view unless it must repeat."""
        N, b = len(self.params), self.layout.matrices
        if values.numel() == N * b:
            return values.view(N * b, 1, 1)
        return values.view(N, 1).expand(N, b).reshape(N * b, 1, 1)

    def state(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The state ``name`` of all parameters, ``(N, *shape)``, zero where it does not exist yet."""
        stack = self._stacks.get(name)
        if stack is not None and (not self.shared or self._untouched(name)):
            return stack
        entries = [state.get(name) for state in self.states]
        stack = self._stack(entries, shape, dtype)
        self._stacks[name] = stack
        if self.shared:
            views: Sequence[Any] = entries if self._is_view(entries, stack) else stack.unbind(0)
            self._views[name] = views
            for state, view in zip(self.states, self._views[name], strict=True):
                state[name] = view
        return stack

    def _untouched(self, name: str) -> bool:
        return all(map(operator.is_, [state.get(name) for state in self.states], self._views[name]))

    def _stack(self, entries: list[Any], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        only = entries[0]
        if len(entries) == 1 and isinstance(only, Tensor):
            return only.to(dtype=dtype, device=self.device).reshape(shape).contiguous()[None]
        zero = torch.zeros(shape, dtype=dtype, device=self.device)
        full = [zero if e is None else torch.as_tensor(e).to(zero).reshape(shape) for e in entries]
        return torch.stack(full)

    @staticmethod
    def _is_view(entries: list[Any], stack: Tensor) -> bool:
        """Whether the single entry already is the storage that ``stack`` shows."""
        only = entries[0]
        return len(entries) == 1 and isinstance(only, Tensor) and only.data_ptr() == stack.data_ptr() != 0

    def has(self, name: str) -> bool:
        """Whether every parameter has the state ``name``."""
        return all(name in state for state in self.states)

    def any_has(self, name: str) -> bool:
        """Whether a parameter has the state ``name``; that of the others, new ones, is zero."""
        return any(name in state for state in self.states)

    def write(self, name: str, value: Tensor, dtype: torch.dtype) -> None:
        """Set the state ``name`` of all parameters to ``value (N, ...)``."""
        self.state(name, tuple(value.shape[1:]), dtype).copy_(value)

    def commit(self) -> None:
        """Write state that is not shared back into the parameters' own entries."""
        if self.shared:
            return
        for name, stack in self._stacks.items():
            for state, value in zip(self.states, stack.unbind(0), strict=True):
                if name in state:
                    state[name].copy_(value)
                else:
                    state[name] = value.clone()


def stackable(param: Tensor, foreach: bool | None) -> bool:
    """Whether parameters of this shape gain from being stacked (``foreach=None``), or are told to be."""
    if foreach is not None:
        return foreach
    return param.device.type != "cpu" or param.numel() <= STACK_ENTRIES


def plan(
    params: Sequence[Tensor],
    layouts: Sequence[Layout],
    states: Sequence[dict[str, Any]],
    foreach: bool | None,
    shared: bool = True,
) -> list[Bucket]:
    """Sort parameters into buckets, in the order in which they come."""
    chosen: dict[Any, list[int]] = {}
    for i, (param, layout) in enumerate(zip(params, layouts, strict=True)):
        key: Any = (i,)
        if stackable(param, foreach):
            key = (param.shape, param.dtype, param.device, layout)
        chosen.setdefault(key, []).append(i)
    buckets = []
    for indices in chosen.values():
        most = max(1, STACK_TOTAL // max(1, params[indices[0]].numel()))
        for start in range(0, len(indices), most):
            part = indices[start : start + most]
            buckets.append(Bucket([params[i] for i in part], [states[i] for i in part], layouts[part[0]], shared))
    return buckets
