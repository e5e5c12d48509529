"""Cells as tasks of a Ray cluster: a running one, or a local one."""

from __future__ import annotations

import socket
import traceback
import uuid
from typing import Any

from lcat.study._folder import OutputError
from lcat.study.plan.cell import Cell
from lcat.study.plan.settings import RunSettings
from lcat.study.running.engines.base import CellRunner, Engine, EngineError, Event, Finished, Setup, cores
from lcat.study.store.result import CellResult

__all__ = ["RayEngine"]

#: Seconds in which a cluster must answer.
_ANSWER = 10.0


class RayEngine(Engine):
    """Each cell is a task that takes ``threads`` CPUs (and a GPU, on ``cuda``).

    Ray runs a task again whose worker or node died, up to ``retries`` times; then the cell has failed. Other nodes need
    lcat and the data sets: the folder ``data`` at the same path, or the network. The store is written by this process
    alone.

    Args:
        setup: data, threads, device.
        workers: cells at a time; by default as many as the cluster's CPUs (or GPUs) serve.
        retries: how often a cell runs again whose worker or node died.
        address: of a cluster, such as ``"auto"``, ``"127.0.0.1:6379"`` or ``"ray://host:10001"``; ``None`` starts one
            on this machine, which listens on 127.0.0.1 and ends with :meth:`close`.

    Raises:
        EngineError: if Ray is missing or the cluster cannot be reached.
    """

    def __init__(self, setup: Setup, workers: int | None = None, retries: int = 2, address: str | None = None) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise EngineError("the engine ray needs Ray: pip install 'lcat-gnn[ray]'") from None
        self._ray = ray
        self._gpus = 1 if setup.device.startswith("cuda") else 0
        self._threads = setup.threads
        self._started = not ray.is_initialized()
        if self._started:
            self._connect(address, max(1, workers or cores() // setup.threads) * setup.threads)
        elif address not in (None, "auto", ray.get_runtime_context().gcs_address):
            raise EngineError(f"this process is connected to another Ray cluster already; got address {address}")
        self._slots = workers
        self._task = ray.remote(_run).options(
            num_cpus=setup.threads, num_gpus=self._gpus, max_retries=retries, retry_exceptions=False
        )
        self._setup = ray.put(setup.with_absolute_paths())  # workers start where the cluster was started
        self._token = uuid.uuid4().hex
        self._running: dict[Any, Cell] = {}
        self._events: list[Event] = []  # not handed out yet, so that Ctrl-C while they come in loses none
        self._error: OutputError | None = None

    @classmethod
    def of(cls, setup: Setup, settings: RunSettings) -> RayEngine:
        """The engine with the workers, retries and address of the settings."""
        return cls(setup, workers=settings.workers, retries=settings.retries, address=settings.address)

    @property
    def slots(self) -> int:
        """Cells that the cluster has room for now; nodes may come and go."""
        if self._slots is not None:
            return self._slots
        resources = self._ray.cluster_resources()
        if self._gpus:
            return max(1, int(resources.get("GPU", 0)))
        return max(1, int(resources.get("CPU", 0)) // self._threads)

    def submit(self, cell: Cell) -> None:
        """Hand the cell to Ray."""
        self._running[self._task.remote(self._token, self._setup, cell)] = cell

    def wait(self, timeout: float) -> list[Event]:
        """Results that have come in."""
        if self._error is not None:  # results that came with it have been handed out
            raise self._error
        if self._running:
            # One is waited for, and all that are there by then are taken.
            references = list(self._running)
            self._ray.wait(references, num_returns=1, timeout=timeout)
            for reference in self._ray.wait(references, num_returns=len(references), timeout=0)[0]:
                self._receive(reference)
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Cancel what runs; end the cluster if it was started here."""
        if self._started and self._ray.is_initialized():
            self._ray.shutdown()
        else:
            for reference in self._running:
                self._ray.cancel(reference, force=True)
        self._running.clear()

    def _receive(self, reference: Any) -> None:
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # Its worker or node died too often, or it could not be sent.
            answer = CellResult(self._running[reference], None, "".join(traceback.format_exception(error)))
        del self._running[reference]
        if isinstance(answer, OutputError):
            self._error = answer
        else:
            self._events.append(Finished(answer))

    def _connect(self, address: str | None, cpus: int) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if address is None:
            # A new cluster even where the environment names one, and nothing that listens to others.
            options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
            options |= {"_node_ip_address": "127.0.0.1"}
        else:
            options["address"] = address
        try:
            _check_reachable(address)
            self._ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            where = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot be started here"
            raise EngineError(f"{where}: {reason}") from error


def _check_reachable(address: str | None) -> None:
    """Open and close a connection: Ray itself tries for minutes before it says that nobody answers.

    Raises:
        OSError: if nobody answers.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()


# One runner per worker process: the data set stays loaded from one cell to the next.
_RUNNERS: dict[str, CellRunner] = {}


def _run(token: str, setup: Setup, cell: Cell) -> CellResult | OutputError:
    if token not in _RUNNERS:
        _RUNNERS.clear()
        _RUNNERS[token] = CellRunner(setup)
    try:
        return _RUNNERS[token].run(cell)
    except OutputError as error:
        return error  # ends the study, which is up to the driver
