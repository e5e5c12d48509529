"""SIGKILL at random moments: nothing finished is lost, nothing finished runs twice, and resume needs no hand."""

from __future__ import annotations

import random
import sys
import time

import pytest

from lcat.study import Study, load_plan
from tests.study.running.killing import CELLS, Tally, Victim, quick_plan
from tests.study.study_support import trained

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")

# For one kill: each process, and each figure of the report, counts.
SMALL = """
datasets = ["csbm:easy,n=120"]
layers = ["gcn", "lcat"]
seeds = 5
[overrides]
epochs = 60
patience = "none"
[run]
workers = 1
"""


@pytest.fixture(scope="module")
def expected():
    """The numbers of an undisturbed run in this process."""
    return {result.cell.key: result.fit.history for result in trained(quick_plan())}


def check_complete(victim, expected):
    assert victim.wait() == 0, (victim.folder / "stderr.txt").read_text()
    victim.check()
    results = Study.load(victim.out).cell_results(history=True)
    assert len(results) == CELLS
    assert {result.cell.key: result.fit.history for result in results} == expected
    victim.tally.repeated += victim.repeated()


def kill_until(kills, folder, expected, seed, longest):
    """Kill ``kills`` times, in as many studies as that takes; the last one is left to end."""
    generator, tally, number = random.Random(seed), Tally(), 0
    victim = Victim(folder / "0", tally)
    try:
        victim.start()
        while sum(tally.kills.values()) < kills:
            # Each kind in turn, so that three kills are one of each.
            who = ("driver", "worker", "both")[sum(tally.kills.values()) % 3]
            time.sleep(generator.uniform(0.0, longest))
            before = len(victim.seen)
            hit = victim.kill(who, generator)
            if victim.process.poll() is not None:
                victim.check()
                tally.finished_before_kill += len(victim.seen) - before
                if not hit and len(victim.seen) == CELLS:
                    check_complete(victim, expected)
                    number += 1
                    victim = Victim(folder / str(number), tally)
                victim.start()
        check_complete(victim, expected)
    finally:
        victim.close()
    return tally, number + 1


def assert_nothing_wrong(tally):
    assert (tally.lost, tally.changed, tally.repeated, tally.orphans) == (0, 0, 0, 0)


@pytest.mark.long
def test_a_kill_of_the_driver_and_its_worker(tmp_path):
    victim = Victim(tmp_path / "victim", Tally())
    (victim.folder / "plan.toml").write_text(SMALL)
    plan = load_plan(victim.folder / "plan.toml")
    expected = {result.cell.key: result.fit.history for result in trained(plan, engine="inline")}
    try:
        victim.start()
        end = time.monotonic() + 120
        while not victim.seen and time.monotonic() < end:
            time.sleep(0.1)
            victim.check()
        assert victim.kill("both", random.Random(0))
        victim.start()
        assert victim.wait() == 0, (victim.folder / "stderr.txt").read_text()
        victim.check()
    finally:
        victim.close()
    assert {key: result.fit.history for key, result in victim.seen.items()} == expected
    victim.tally.repeated += victim.repeated()
    assert_nothing_wrong(victim.tally)


@pytest.mark.long
def test_three_kills(tmp_path, expected):
    tally, _ = kill_until(3, tmp_path, expected, seed=1, longest=7.0)
    assert tally.kills == {"driver": 1, "worker": 1, "both": 1}
    assert_nothing_wrong(tally)


@pytest.mark.long
def test_fifty_kills(tmp_path, expected):
    """pytest -m long tests/study/running/test_killing.py -s"""
    start = time.monotonic()
    tally, studies = kill_until(50, tmp_path, expected, seed=int(time.time()), longest=10.0)
    print(f"\n{tally}, {studies} studies of {CELLS} cells, {time.monotonic() - start:.0f} s")
    assert sum(tally.kills.values()) == 50
    assert_nothing_wrong(tally)
