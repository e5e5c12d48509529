"""Kill studies at random moments and look whether anything was lost or done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from lcat.study import CellResult, StudyPlan, make_plan
from lcat.study.store.journal import JOURNAL_NAME
from lcat.study.store.store import STORE_NAME, Store

#: Seconds in which a worker must be gone after its driver.
_GONE = 60.0  # on a busy machine, a worker that is being started takes long to notice

#: Of the plan below.
CELLS = 30
PLAN = """
datasets = ["csbm:easy,n=120", "csbm:hard,n=120,q=0.3"]
layers = ["gcn", "gat", "lcat"]
seeds = 5
[overrides]
epochs = 30
patience = "none"
[run]
workers = 2
"""


def quick_plan() -> StudyPlan:
    """30 quick cells, :data:`CELLS`."""
    return make_plan(
        datasets=["csbm:easy,n=120", "csbm:hard,n=120,q=0.3"],
        layers=["gcn", "gat", "lcat"],
        seeds=5,
        overrides={"epochs": 30, "patience": "none"},
    )


@dataclass
class Tally:
    """What was done and seen."""

    kills: dict[str, int] = field(default_factory=lambda: {"driver": 0, "worker": 0, "both": 0})
    runs: int = 0
    finished_before_kill: int = 0
    lost: int = 0
    changed: int = 0
    repeated: int = 0
    orphans: int = 0


class Victim:
    """One study in a folder, run by the command line in another process."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self.folder, self.tally = folder, tally
        folder.mkdir(parents=True)
        (folder / "plan.toml").write_text(PLAN)
        self.out = folder / "out"
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: dict[str, CellResult] = {}

    def start(self) -> None:
        """Start the driver, which goes on where the last one was killed."""
        command = [sys.executable, "-m", "lcat.cli", "study", "plan.toml", "--out", "out", "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        with (self.folder / "stderr.txt").open("ab") as errors:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=errors, env=environment
            )
        self.tally.runs += 1

    def kill(self, who: str, generator: random.Random) -> bool:
        """SIGKILL to ``driver``, a ``worker`` or ``both``; ``False`` if there was nobody to kill."""
        assert self.process is not None
        if self.process.poll() is not None:
            return False
        workers = [pid for pid in children(self.process.pid) if b"spawn_main" in command_of(pid)]
        targets = {"driver": [self.process.pid], "worker": [], "both": [self.process.pid]}[who]
        if who != "driver":
            if not workers:
                return False
            targets = [generator.choice(workers), *targets]
        for pid in targets:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
        self.tally.kills[who] += 1
        if who != "worker":
            self.process.wait()
            end = time.monotonic() + _GONE
            while any(alive(pid) for pid in workers) and time.monotonic() < end:
                time.sleep(0.05)
            self.tally.orphans += sum(alive(pid) for pid in workers)
        return True

    def check(self) -> None:
        """Whatever had a result before has the same one now."""
        store = self.out / STORE_NAME
        if not store.is_file() or (not self.seen and store.stat().st_size == 0):  # a driver is just making it
            return
        with Store(self.out) as opened:
            stored = {result.cell.key: result for result in opened.results(history=True)}
        self.tally.lost += len(set(self.seen) - set(stored))
        self.tally.changed += sum(stored[key] != result for key, result in self.seen.items() if key in stored)
        self.seen = stored

    def wait(self) -> int:
        """Let the driver come to its end."""
        assert self.process is not None
        return self.process.wait(timeout=300)

    def repeated(self) -> int:
        """Cells that were handed to a worker although they had finished before."""
        log = self.out / JOURNAL_NAME
        done: set[str] = set()
        count = 0
        for line in log.read_text().splitlines() if log.is_file() else []:
            event = json.loads(line)
            if event["event"] == "submit":
                count += event["key"] in done
            elif event["event"] == "done":
                done.add(event["key"])
        return count

    def close(self) -> None:
        """Nothing of this study keeps running."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> bytes:
    """Command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """The process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
