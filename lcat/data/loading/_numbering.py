"""Numbers 0, 1, 2, ... for the nodes of a sample, in the order in which they are found."""

from __future__ import annotations

import torch
from torch import Tensor

# Up to so many nodes a table of all of them is kept (int64, at most 128 MiB); beyond, the sample's own are sorted.
TABLE_LIMIT = 1 << 24
_UNSEEN = torch.iinfo(torch.int64).max


class TableNumbering:
    """Numbers kept in a table with one entry per node of the whole graph: O(1) per node, O(N) memory.

    Args:
        table: ``[N]`` from :meth:`new_table`; :meth:`release` puts it back into that state.
        keys: ``[n]`` the first nodes; they get the numbers 0 .. n - 1, duplicates the first of theirs.
    """

    def __init__(self, table: Tensor, keys: Tensor) -> None:
        self._table = table
        self._parts = [keys]
        table.scatter_reduce_(0, keys, torch.arange(keys.numel()), "amin")
        self.count = keys.numel()

    @staticmethod
    def new_table(num_nodes: int) -> Tensor:
        """A table in which no node has a number."""
        return torch.full((num_nodes,), _UNSEEN)

    def add(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of ``keys``, and those of them that had none before, in the order of their new numbers."""
        table = self._table
        fresh = keys[table.index_select(0, keys) == _UNSEEN]
        # The first of equal keys wins: a provisional number above all numbers in use tells its position.
        position = torch.arange(self.count, self.count + fresh.numel())
        table.scatter_reduce_(0, fresh, position, "amin")
        new = fresh[table.index_select(0, fresh) == position]
        table.index_copy_(0, new, torch.arange(self.count, self.count + new.numel()))
        self._parts.append(new)
        self.count += new.numel()
        return table.index_select(0, keys), new

    def release(self) -> Tensor:
        """The table, empty again."""
        self._table.index_fill_(0, torch.cat(self._parts), _UNSEEN)
        return self._table


class SortedNumbering:
    """The same numbers from sorted keys: O(log n) per node, memory of the sample only. Keys may be any int64."""

    def __init__(self, keys: Tensor) -> None:
        self.count = keys.numel()
        ordered, order = torch.sort(keys, stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        self._keys, self._numbers = ordered[first], order[first]

    def add(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`TableNumbering.add`."""
        unique, inverse = torch.unique(keys, return_inverse=True)
        first = torch.full_like(unique, _UNSEEN).scatter_reduce_(0, inverse, torch.arange(keys.numel()), "amin")
        position = torch.searchsorted(self._keys, unique).clamp_(max=max(self._keys.numel() - 1, 0))
        known = (
            self._keys.index_select(0, position) == unique if self._keys.numel() else torch.zeros_like(unique).bool()
        )
        new = (~known).nonzero().flatten()
        new = new[torch.argsort(first.index_select(0, new))]
        numbers = torch.empty_like(unique)
        numbers[known] = self._numbers.index_select(0, position[known])
        numbers[new] = torch.arange(self.count, self.count + new.numel())
        self.count += new.numel()
        merged = torch.cat([self._keys, unique[new]])
        self._keys, order = torch.sort(merged)
        self._numbers = torch.cat([self._numbers, numbers[new]])[order]
        return numbers.index_select(0, inverse), unique[new]
