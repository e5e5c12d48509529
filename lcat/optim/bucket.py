"""Parameters of one shape, dtype and device, updated in one batched call, with their state side by side."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lcat.optim.layout import Layout

__all__ = ["COMPUTE", "REAL", "STACK_ENTRIES", "STACK_TOTAL", "Bucket", "is_stackable", "make_buckets"]

#: on a CPU, parameters up to this many entries are stacked; larger ones fill the caches by themselves
STACK_ENTRIES = 4096
#: on an accelerator everything of one shape is stacked, up to this many entries per call
STACK_TOTAL = 1 << 26

REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64, torch.complex32: torch.float32}
COMPUTE = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}


class Bucket:
    """The ``N`` parameters of a bucket and their state.

    The state of every parameter stays an ordinary entry of ``optimizer.state[p]``; here those entries are
    views of one tensor ``(N, ...)``, so that a thousand small momentum buffers are one tensor to update and
    still a thousand tensors to save. An entry that was replaced from outside is stacked anew.

    Args:
        params: the parameters, of one shape, dtype and device.
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
            # The gathered weights are no longer needed, and the views of their memory exist already.
            gathered, views = self._scratch["weights"]
            if not self._is_same(stacked, gathered):
                gathered.copy_(stacked)
        else:
            views = stacked.unbind(0)
        if self.dtype.is_complex and any(param.is_conj() for param in self.params):  # which lists of tensors cannot be
            for param, view in zip(self.params, views, strict=True):
                param.copy_(view)
            return
        torch._foreach_copy_(self.params, list(views))

    @staticmethod
    def _is_same(a: Tensor, b: Tensor) -> bool:
        """Whether both are the same view of the same memory, so that a copy would change nothing."""
        if torch.compiler.is_compiling():
            return False
        return a.data_ptr() == b.data_ptr() and a.stride() == b.stride() and a.dtype == b.dtype

    def matrices(self, name: str) -> Tensor:
        """State shaped like the parameter, as ``(B, p, n)``: a view, update it in place."""
        return self.layout.wide(self.state(name, tuple(self.params[0].shape), self.dtype))

    def scalars(self, name: str) -> Tensor:
        """One real number per matrix: ``(N, *batch)``."""
        return self.state(name, self.layout.batch, self.real)

    @property
    def may_be_read(self) -> bool:
        """Whether reading a number costs nothing: on a CPU, outside of a compiler."""
        return self.device.type == "cpu" and not torch.compiler.is_compiling()

    def per_matrix(self, values: Tensor) -> Tensor:
        """``(N,)`` or ``(N, *batch)`` broadcastable against ``(B, p, n)``; a view unless values are repeated."""
        N, matrices = len(self.params), self.layout.matrices
        if values.numel() == N * matrices:
            return values.view(N * matrices, 1, 1)
        return values.view(N, 1).expand(N, matrices).reshape(N * matrices, 1, 1)

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
        first = entries[0]
        if len(entries) == 1 and isinstance(first, Tensor):
            return first.to(dtype=dtype, device=self.device).reshape(shape).contiguous()[None]
        zero = torch.zeros(shape, dtype=dtype, device=self.device)
        return torch.stack([zero if e is None else torch.as_tensor(e).to(zero).reshape(shape) for e in entries])

    @staticmethod
    def _is_view(entries: list[Any], stack: Tensor) -> bool:
        """Whether the single entry already has the memory of ``stack``."""
        first = entries[0]
        return len(entries) == 1 and isinstance(first, Tensor) and first.data_ptr() == stack.data_ptr() != 0

    def has(self, name: str) -> bool:
        """Whether every parameter has the state ``name``."""
        return all(name in state for state in self.states)

    def any_has(self, name: str) -> bool:
        """Whether at least one parameter has the state ``name``; that of the others is zero."""
        return any(name in state for state in self.states)

    def write(self, name: str, value: Tensor) -> None:
        """Set the state ``name`` of all matrices to ``value (B, ...)``."""
        value = value.reshape(len(self.params), *self.layout.batch, *value.shape[1:])
        self.state(name, tuple(value.shape[1:]), value.dtype).copy_(value)

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


def is_stackable(param: Tensor, foreach: bool | None) -> bool:
    """Whether parameters of this shape are stacked: as ``foreach`` says, where that is faster if it is None."""
    if foreach is not None:
        return foreach
    return param.device.type != "cpu" or param.numel() <= STACK_ENTRIES


def make_buckets(
    params: Sequence[Tensor],
    layouts: Sequence[Layout],
    states: Sequence[dict[str, Any]],
    foreach: bool | None,
    shared: bool = True,
) -> list[Bucket]:
    """Sort parameters into buckets, in the order in which they come.

    Args:
        params: the parameters.
        layouts: the layout of each.
        states: the dict in ``optimizer.state`` of each.
        foreach: whether to stack those of one shape; None where that is faster.
        shared: see :class:`Bucket`.
    """
    alike: dict[Any, list[int]] = {}
    for i, (param, layout) in enumerate(zip(params, layouts, strict=True)):
        key: Any = (i,)
        if is_stackable(param, foreach):
            key = (param.shape, param.dtype, param.device, layout)
        alike.setdefault(key, []).append(i)
    buckets = []
    for indices in alike.values():
        max_params = max(1, STACK_TOTAL // max(1, params[indices[0]].numel()))
        for start in range(0, len(indices), max_params):
            part = indices[start : start + max_params]
            members, their_states = [params[i] for i in part], [states[i] for i in part]
            buckets.append(Bucket(members, their_states, layouts[part[0]], shared=shared))
    return buckets
