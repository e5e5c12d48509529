"""What a worker process does: take a cell from its pipe, train, send the result back; end with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait

import torch
from tqdm import tqdm

from lcat.study._folder import OutputError
from lcat.study.plan.cell import Cell
from lcat.study.running.engines.base import CellRunner, Progress, Setup
from lcat.study.store.result import CellResult
from lcat.train import History

__all__ = ["READY", "serve"]

#: First message of a worker.
READY = "ready"
#: Seconds between two reports of progress.
_INTERVAL = 0.5


def serve(pipe: Connection, setup: Setup, device: str) -> None:
    """Serve cells until the pipe closes.

    Args:
        pipe: to the parent, for nobody else.
        setup: data and threads.
        device: of this worker.
    """
    # Ctrl-C reaches the whole process group; ending the study is up to the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # held by the parent while it started this process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    _end_with_parent()
    # tqdm would make a semaphore of the system, which a killed worker leaves behind.
    tqdm.set_lock(threading.RLock())
    torch.set_num_threads(setup.threads)
    runner = CellRunner(setup, device)
    report = _Reporter(pipe)
    try:
        pipe.send(READY)
        while True:
            cell = pipe.recv()
            if cell is None:
                return
            try:
                answer: CellResult | OutputError = runner.run(cell, report)
            except OutputError as error:
                answer = error  # ends the study, which is up to the parent
            pipe.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, and what it did not take is run again by the next one


class _Reporter:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._next = 0.0

    def __call__(self, cell: Cell, epoch: int, history: History) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL
            self._pipe.send(Progress(cell, epoch, cell.hyper.epochs, history.val[-1], cell.metric_name))


def _end_with_parent() -> None:
    """End this process as soon as its parent does, however that ended: a cell without a driver is for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
