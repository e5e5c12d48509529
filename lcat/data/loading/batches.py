"""Which seed nodes make up which batch: a fixed function of a seed, whatever the number of workers or processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from lcat._numbers import as_int, as_plain, read_bool
from lcat._seeds import derive_seed

__all__ = ["SeedBatch", "SeedBatches"]


@dataclass(frozen=True)
class SeedBatch:
    """One batch before sampling.

    Args:
        positions: ``[B]`` int64 positions in the loader's input nodes.
        seed: what the draws of this batch start from.
    """

    positions: Tensor
    seed: int


class SeedBatches(Sampler[SeedBatch]):
    """Batches of the positions ``0 .. count - 1``; epoch ``e`` is shuffled by a generator seeded with ``(seed, e)``.

    With ``world_size`` processes, every batch is distributed to them in turn, so that together they see the batches
    that one process would see. A process may get one position fewer than another, or none.

    Args:
        count: number of seed nodes.
        batch_size: seed nodes per batch, those of all processes together.
        shuffle: a new order in every epoch; else ``0, 1, 2, ...``.
        drop_last: leave out the last batch of an epoch if it is smaller.
        seed: any whole number.
        rank, world_size: which of how many processes this is.

    Raises:
        TypeError: for a seed that is no whole number.
        ValueError: for a batch size below 1, a rank that is not below ``world_size``, no whole numbers, or a
            ``shuffle`` or ``drop_last`` that is neither true nor false.

    Example:
        >>> from lcat.data import SeedBatches
        >>> batches = SeedBatches(5, batch_size=2, shuffle=True, seed=1)
        >>> [len(batch.positions) for batch in batches]
        [2, 2, 1]
        >>> first = [batch.positions.tolist() for batch in batches.epoch(3)]
        >>> first == [batch.positions.tolist() for batch in batches.epoch(3)]
        True
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        # Plain numbers, also where they are NumPy's: checkpoints keep them.
        seed = as_plain(seed)
        derive_seed(seed, "order")  # refuses what is no seed
        counts = {"count": count, "rank": rank, "world_size": world_size}
        for name, value in counts.items():
            whole = as_int(value)
            if whole is None:
                raise ValueError(f"{name} must be a whole number; got {value!r}")
            counts[name] = whole
        count, rank, world_size = counts.values()
        size = as_int(batch_size)
        if size is None:
            raise ValueError(f"batch_size must be a whole number, 1 or more; got {batch_size!r}")
        batch_size = size
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more; got {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in 0 .. world_size - 1 = {world_size - 1}; got {rank}")
        if count < 0:
            raise ValueError(f"count must be 0 or more; got {count}")
        self.count = count
        self.batch_size = batch_size
        self.shuffle = read_bool("shuffle", shuffle)
        self.drop_last = read_bool("drop_last", drop_last)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._next = (0, 0)

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def signature(self) -> dict[str, int | bool | str]:
        """What the batches follow from, in plain values, the same in all processes; checkpoints keep it."""
        return {
            "count": self.count,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "seed": self.seed,
        }

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """What the next iteration runs over: an epoch, without its first ``batch`` batches."""
        self._next = self.check_place(epoch, batch)

    def check_place(self, epoch: int, batch: int) -> tuple[int, int]:
        """The two as plain numbers; ValueError for a place where no iteration can start."""
        first, number = as_int(epoch), as_int(batch)
        if first is None or number is None:
            raise ValueError(f"epoch and batch must be whole numbers, 0 or more; got epoch {epoch!r}, batch {batch!r}")
        if first < 0 or not 0 <= number <= len(self):
            raise ValueError(f"an epoch has {len(self)} batches; got epoch {epoch}, batch {batch}")
        return first, number

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[SeedBatch]:
        """The batches of one epoch, from number ``batch`` on."""
        epoch, batch = self.check_place(epoch, batch)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            order = torch.randperm(self.count, generator=generator)
        else:
            order = torch.arange(self.count)
        for number in range(batch, len(self)):
            positions = order[number * self.batch_size : (number + 1) * self.batch_size]
            own = positions[self.rank :: self.world_size]
            yield SeedBatch(own, derive_seed(self.seed, "draws", epoch, number, self.rank))

    def __iter__(self) -> Iterator[SeedBatch]:
        # A generator, so that an epoch counts when its first batch is asked for: DataLoader makes more iterators of
        # its batch sampler than it uses.
        epoch, batch = self._next
        self._next = (epoch + 1, 0)
        yield from self.epoch(epoch, batch)


def one_epoch(loader: Iterable[Any], batches: SeedBatches, epoch: int, batch: int) -> Iterator[Any]:
    """One epoch of the loader over these batches, whatever it is asked for before the first batch is taken."""
    batches.check_place(epoch, batch)

    def run() -> Iterator[Any]:
        batches.start_at(epoch, batch)
        yield from loader

    return run()
