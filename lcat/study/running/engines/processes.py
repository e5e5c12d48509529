"""Cells in worker processes of this machine, which share out its cores and GPUs."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from lcat._text import counted
from lcat.study._folder import OutputError
from lcat.study.plan.cell import Cell
from lcat.study.plan.settings import RunSettings
from lcat.study.running.engines.base import (
    Engine,
    EngineError,
    Event,
    Finished,
    Note,
    Progress,
    Setup,
    devices,
    local_slots,
)
from lcat.study.running.engines.worker import READY, serve
from lcat.study.store.result import CellResult

__all__ = ["ProcessEngine"]

_SPAWN = multiprocessing.get_context("spawn")
#: Seconds that a worker gets to end by itself.
_PATIENCE = 2.0
#: What asks a study to end.
_ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    device: str
    ready: bool = False
    cell: Cell | None = None


class ProcessEngine(Engine):
    """Starts fresh processes (``spawn``), each with a pipe of its own and a fixed number of threads.

    A worker that dies, by a signal or because memory is missing, is replaced, and its cell runs again up to ``retries``
    times; then the cell has failed. Workers end when this process does, however it ends. Pipes are not shared, so that
    a worker killed while it sends harms nobody else.

    Args:
        setup: data, threads, device.
        workers: cells at a time; by default one per GPU, or as many as the cores serve.
        retries: how often a cell runs again whose worker died.

    Raises:
        EngineError: if own data sets or models cannot be sent to other processes.
    """

    def __init__(self, setup: Setup, workers: int | None = None, retries: int = 2) -> None:
        self._setup = setup
        self._devices = devices(setup.device)
        self._slots = local_slots(workers, setup.threads, setup.device)
        self._retries = retries
        self._workers: list[_Worker] = []
        self._queue: deque[Cell] = deque()
        self._deaths: dict[str, int] = {}
        self._events: list[Event] = []  # not handed out yet, so that Ctrl-C while they come in loses none
        self._error: OutputError | None = None
        _check_models(setup)
        try:
            pickle.dumps(setup.own)
        except Exception as error:
            raise EngineError(
                f"own data sets cannot be sent to other processes ({error}); run with engine inline, or make their "
                "splits with functions that a module names"
            ) from None

    @classmethod
    def of(cls, setup: Setup, settings: RunSettings) -> ProcessEngine:
        """The engine with the workers and retries of the settings."""
        return cls(setup, workers=settings.workers, retries=settings.retries)

    @property
    def slots(self) -> int:
        """Number of workers."""
        return self._slots

    def submit(self, cell: Cell) -> None:
        """Give the cell to an idle worker, a new one if there is room, or put it into the queue."""
        self._queue.append(cell)
        self._hand_out()

    def wait(self, timeout: float) -> list[Event]:
        """Messages of workers, and what became of those that died."""
        if self._error is not None:  # results that came with it have been handed out
            raise self._error
        self._hand_out()
        sources: list[Any] = [worker.pipe for worker in self._workers]
        sources += [worker.process.sentinel for worker in self._workers]
        ready = set(wait(sources, timeout))
        for worker in list(self._workers):
            # The pipe first: a worker may have died after it had sent its result.
            if worker.pipe in ready or worker.process.sentinel in ready:
                self._receive(worker)
        self._hand_out()
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """End the workers, by force those that do not listen."""
        self._queue.clear()
        for worker in self._workers:
            worker.pipe.close()  # an idle worker ends by itself at that
            if worker.cell is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()

    def _hand_out(self) -> None:
        for _ in range(len(self._queue)):
            worker = next((worker for worker in self._workers if worker.cell is None), None)
            if worker is None:
                if len(self._workers) >= self._slots:
                    return
                worker = self._start()
            worker.cell = self._queue.popleft()
            # A worker that has just died shows by its sentinel, and its cell is taken back then.
            with suppress(OSError):
                worker.pipe.send(worker.cell)

    def _start(self) -> _Worker:
        taken = [worker.device for worker in self._workers]
        device = min(self._devices, key=taken.count)
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=serve, args=(theirs, self._setup, device), daemon=True, name="lcat-worker")
        try:
            with _held_signals(), _environment(self._setup.threads):
                process.start()
                worker = _Worker(process, ours, device)
                self._workers.append(worker)
        except OSError as error:
            raise EngineError(f"a worker process cannot be started: {error}") from error
        finally:
            theirs.close()  # ours alone, so that the pipe ends with the worker
        return worker

    def _receive(self, worker: _Worker) -> None:
        try:
            while worker.pipe.poll():
                message = worker.pipe.recv()
                if message == READY:
                    worker.ready = True
                elif isinstance(message, Progress):
                    self._events.append(message)
                elif isinstance(message, CellResult):
                    self._events.append(Finished(message))
                    worker.cell = None
                elif isinstance(message, OutputError):
                    self._error = message
        except (EOFError, OSError, pickle.UnpicklingError):
            # Killed, perhaps in the middle of a message. Without its pipe it is of no use even if it lives.
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        if not worker.process.is_alive():
            self._events.append(self._worker_ended(worker))

    def _worker_ended(self, worker: _Worker) -> Event:
        self._workers.remove(worker)
        code, cell = worker.process.exitcode or 0, worker.cell
        how = _how_it_ended(code)
        worker.pipe.close()
        worker.process.close()
        if not worker.ready and code > 0:
            self.close()
            raise EngineError(
                f"a worker process ended before it was ready ({how}); its message is above. A script that starts a "
                "study needs the line: if __name__ == '__main__':"
            )
        if cell is None:
            return Note(f"an idle worker ended ({how})")
        count = self._deaths[cell.key] = self._deaths.get(cell.key, 0) + 1
        if count <= self._retries:
            self._queue.appendleft(cell)
            return Note(f"a worker died ({how}) and its cell runs again", cell)
        error = EngineError(f"the worker of this cell died {counted(count, 'time')}, the last time by {how}")
        return Finished(CellResult(cell, None, "".join(traceback.format_exception_only(error))))


def _check_models(setup: Setup) -> None:
    """Registered models are found by their import path in other processes.

    Raises:
        EngineError: if they have none there.
    """
    for name, ref in setup.models.refs.items():
        if ref.build is None:
            continue
        problem = ""
        if ref.build.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
            problem = "it was written into a notebook or a prompt"
        try:
            pickle.dumps(ref.build)
        except Exception as error:
            problem = str(error)
        if problem:
            raise EngineError(
                f"the model {name} cannot be sent to other processes ({problem}): run with engine inline, or put it "
                f"into a file and name that in the plan, as in {name}=models.py:MyNet"
            )


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, out of memory perhaps" if name == "SIGKILL" else name


@contextmanager
def _held_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM come after the start of a worker, which else lacks what it reads and prints a traceback.

    The worker inherits that they are blocked, so that Ctrl-C does not end its imports, with a traceback, either.
    """
    waiting: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # where Python runs all handlers
        handlers = {number: signal.signal(number, lambda got, _: waiting.append(got)) for number in _ENDING}
    try:
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # its start lets signals through
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            yield
        finally:
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for got in dict.fromkeys(waiting):
            signal.raise_signal(got)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Thread numbers for libraries that read them when they are loaded."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
