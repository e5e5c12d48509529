"""Training in several processes: started by torchrun, on CPUs (gloo) or on GPUs (nccl)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lcat._device import read_device
from lcat._numbers import as_int
from lcat._text import hint

__all__ = ["Processes", "processes"]

_T = TypeVar("_T")

# Numbers in one message; a copy of so many gradients is made on the way.
_BUCKET = 1 << 24
# What torchrun sets in every process.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them; made by :func:`processes`.

    Args:
        rank: number of this process, from 0.
        world_size: how many there are.
        device: what this one computes on.

    Raises:
        TypeError: the device is no name of one.
        ValueError: the numbers are no integers, or there is no process ``rank`` of ``world_size``; or the device is not
            available.

    Example:
        >>> from lcat.train import Processes
        >>> Processes().sum([2.0, 3.0])
        [2.0, 3.0]
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009

    def __post_init__(self) -> None:
        rank, world_size = as_int(self.rank), as_int(self.world_size)
        if rank is None or world_size is None or not 0 <= rank < world_size:
            raise ValueError(
                f"expected a 'rank' from 0 and below 'world_size', the number of processes; got rank={self.rank!r} and "
                f"world_size={self.world_size!r}: lcat.train.processes() makes both from what torchrun sets"
            )
        plain = {"rank": rank, "world_size": world_size, "device": read_device(self.device)}
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def _is_alone(self) -> bool:
        """True where there is nobody to exchange anything with."""
        if self.world_size == 1:
            return True
        if not dist.is_initialized():
            raise RuntimeError(
                f"there are {self.world_size} processes, but torch.distributed has not been started in this one: use "
                f"the group of `with lcat.train.processes() as group` inside of its block"
            )
        return False

    @property
    def is_main(self) -> bool:
        """True in the one process that prints and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module, find_unused_parameters: bool = False) -> nn.Module:
        """The model in ``DistributedDataParallel``, which averages gradients; as it is where there is one process.

        For training loops of your own; :func:`fit_minibatch` uses :meth:`share_weights` and :meth:`sum_gradients`.

        Args:
            model: on this process's device.
            find_unused_parameters: needed where a step may leave a parameter out.
        """
        if self._is_alone:
            return model
        return DistributedDataParallel(
            model,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            find_unused_parameters=find_unused_parameters,
        )

    def share_weights(self, model: nn.Module) -> None:
        """Give all processes the main process's parameters and buffers.

        Raises:
            ValueError: the models of two processes have other parameters or buffers.
        """
        if self._is_alone:
            return
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        names = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in tensors.items()]
        if any(other != names for other in self.gather(names)):
            raise ValueError("the processes have models with other parameters: build the same model in all of them")
        for tensor in tensors.values():
            self._from_main(tensor)

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the main process's buffers, such as the statistics of BatchNorm."""
        if not self._is_alone:
            for buffer in model.buffers():
                self._from_main(buffer)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes; a parameter that none of them has used keeps ``None``."""
        if self._is_alone:
            return
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        used = torch.tensor([parameter.grad is not None for parameter in learned], dtype=torch.uint8)
        used = used.to(self.device)
        dist.all_reduce(used, op=dist.ReduceOp.MAX)
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter, is_used in zip(learned, used.tolist(), strict=True):
            if is_used:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                by_type.setdefault(parameter.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            _sum_in_buckets(gradients)

    def _from_main(self, tensor: Tensor) -> None:
        sent = tensor.detach().contiguous()
        if sent.data_ptr() == tensor.data_ptr():
            sent = sent.clone()
        dist.broadcast(sent, src=0)
        # By torch's own copy, which counts as a change: what was computed from the tensor is then out of date.
        tensor.detach().copy_(sent)

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums of numbers over all processes, in double precision, the same in all of them."""
        if self._is_alone:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        result: list[float] = total.tolist()
        return result

    def broadcast(self, value: Any) -> Any:
        """The main process's value (any picklable one), in all processes."""
        if self._is_alone:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self._is_alone:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def all_or_none(self, function: Callable[[], object]) -> None:
        """Call ``function`` in every process and wait for all; where it fails in one, all fail.

        Raises:
            RuntimeError: in the other processes, if it raised in one.
        """
        error = None
        try:
            function()
        except Exception as caught:
            error = caught
        messages = self.gather(None if error is None else str(error))
        if error is not None:
            raise error
        for rank, message in enumerate(messages):
            if message is not None:
                raise RuntimeError(f"process {rank} failed: {message}")

    def on_main(self, function: Callable[[], _T]) -> _T:
        """``function()`` of the main process, in all processes; where it fails, all fail.

        Without the latter the others would wait for a process that is gone.

        Raises:
            RuntimeError: in the other processes, if it raised in the main one.
        """
        value, error = None, None
        if self.is_main:
            try:
                value = function()
            except Exception as caught:
                error = caught
        value, message = self.broadcast((value, None if error is None else str(error)))
        if error is not None:
            raise error
        if message is not None:
            raise RuntimeError(f"process 0 failed: {message}")
        result: _T = value
        return result


@contextlib.contextmanager
def processes(
    device: str | torch.device | None = None, backend: str | None = None, timeout_seconds: float = 1800.0
) -> Iterator[Processes]:
    """Join the processes that torchrun started, and leave them in order; a single process joins nobody.

    Start two on this machine with ``torchrun --standalone --nproc-per-node 2 script.py``; on several machines as
    torchrun's documentation says.

    Args:
        device: ``"cpu"`` or ``"cuda"``; by default GPU number ``LOCAL_RANK`` if there are as many, else the CPU.
        backend: ``"gloo"`` or ``"nccl"``; by default nccl on GPUs, gloo on CPUs.
        timeout_seconds: how long a process waits for the others before it gives up.

    Raises:
        ValueError: some but not all of torchrun's variables are set; there are fewer GPUs than processes; or the device
            is none of these.
        TypeError: the device is no name of one.

    Example:
        >>> from lcat.train import processes
        >>> with processes("cpu") as group:
        ...     group.rank, group.world_size, group.is_main
        (0, 1, True)
    """
    if "RANK" not in os.environ and "WORLD_SIZE" not in os.environ:
        yield Processes(device=_device(device, 0))
        return
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(f"the environment lacks {', '.join(missing)} beside RANK or WORLD_SIZE: start with torchrun")
    rank, world_size, local_rank = (int(os.environ[name]) for name in _VARIABLES[:3])
    own_device = _device(device, local_rank)
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    if world_size == 1:
        yield Processes(device=own_device)
        return
    dist.init_process_group(
        backend or ("nccl" if own_device.type == "cuda" else "gloo"),
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=timeout_seconds),
    )
    try:
        yield Processes(rank, world_size, own_device)
    finally:
        dist.destroy_process_group()


def _sum_in_buckets(gradients: list[Tensor]) -> None:
    """One message for many small gradients."""
    bucket: list[Tensor] = []
    for gradient in [*gradients, None]:
        if bucket and (gradient is None or sum(map(torch.numel, bucket)) + gradient.numel() > _BUCKET):
            flat = torch.cat([one.reshape(-1) for one in bucket])
            dist.all_reduce(flat)
            for one, total in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                one.copy_(total.view_as(one))
            bucket = []
        if gradient is not None:
            bucket.append(gradient)


def _device(wanted: str | torch.device | None, local_rank: int) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted is None:
        return torch.device("cuda", local_rank) if local_rank < gpus else torch.device("cpu")
    device = _known(wanted)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank)
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ValueError(
            f"device {device} was asked for and there are {gpus} GPUs: start fewer processes per machine, or use 'cpu'"
        )
    return device


def _known(wanted: str | torch.device) -> torch.device:
    """A device that a training can use, in place of torch's list of twenty."""
    accepted = ("cpu", "cuda", "mps")
    device: torch.device | None
    try:
        device = read_device(wanted)
    except ValueError:
        device = None
    if device is None or device.type not in accepted:
        is_gpu = str(wanted).lower().startswith("gpu")
        meant = " (did you mean cuda?)" if is_gpu else hint(wanted, accepted)
        raise ValueError(f"expected cpu, cuda, cuda:1 or mps as device, got {str(wanted)!r}{meant}")
    return device
