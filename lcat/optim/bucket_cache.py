"""The buckets of every group, kept from step to step while nothing changes."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lcat.optim.bucket import Bucket, make_buckets
from lcat.optim.changes import Form, form_of
from lcat.optim.layout import resolve

__all__ = ["BucketCache"]


class _Entry(NamedTuple):
    """What the buckets of a group were made for, and the buckets."""

    key: Any
    params: list[Tensor]
    states: list[dict[str, Any]]
    buckets: list[Bucket]


class BucketCache:
    """Buckets by the position of their group; a forgotten one is made anew when it is needed."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def clear(self) -> None:
        """Forget all buckets, e.g. because the state was replaced."""
        self._entries.clear()

    def buckets(
        self,
        index: int,
        group: dict[str, Any],
        params: list[Tensor],
        states: list[dict[str, Any]],
        form: Form | None = None,
    ) -> list[Bucket]:
        """The buckets of some parameters of a group.

        Args:
            index: position of the group.
            group: its options.
            params: those of its parameters that have a gradient.
            states: their dicts in ``optimizer.state``.
            form: their :func:`lcat.optim.changes.form_of`, if it is known.
        """
        layout_options = (group["matrix"], group["orientation"])
        if torch.compiler.is_compiling():
            # Dynamo traces through the cache of `resolve` with a warning, so it gets the function inside.
            layouts = [resolve.__wrapped__(tuple(p.shape), *layout_options) for p in params]
            return make_buckets(params, layouts, states, foreach=group["foreach"], shared=False)
        key = (group["foreach"], layout_options, form or form_of(params))
        entry = self._entries.get(index)
        if (
            entry is not None
            and entry.key == key
            and all(map(operator.is_, entry.params, params))
            and all(map(operator.is_, entry.states, states))
        ):
            return entry.buckets
        layouts = [resolve(tuple(p.shape), *layout_options) for p in params]
        buckets = make_buckets(params, layouts, states, foreach=group["foreach"])
        self._entries[index] = _Entry(key, list(params), states, buckets)
        return buckets
