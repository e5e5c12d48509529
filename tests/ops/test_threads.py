"""Same bits on any number of threads; forked processes and Python threads."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lcat.ops import _native
from tests.ops.cases import (
    Call,
    aggregate_call,
    dot_attention_call,
    gat_attention_call,
    gatv2_attention_call,
    make_graph,
)

pytestmark = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")


def calls() -> list[Call]:
    graph = make_graph("hub", sources=500, targets=400, edges=60_000)  # enough for eight threads
    return [
        aggregate_call(graph, 2, 16, torch.float32, "head"),
        gat_attention_call(graph, 2, 16, torch.float32, "target score weight dropout"),
        gatv2_attention_call(graph, 2, 16, torch.float32, "values attr weight dropout"),
        gatv2_attention_call(graph, 8, 8, torch.float32, "weight dropout"),
        gatv2_attention_call(graph, 4, 48, torch.float32, ""),
        dot_attention_call(graph, 2, 16, torch.float32, "attr weight dropout"),
        dot_attention_call(graph, 4, 48, torch.float32, ""),
    ]


def run(call: Call) -> dict[str, torch.Tensor]:
    torch.manual_seed(9)
    return call.run("native")


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_bits_do_not_depend_on_threads(threads: int) -> None:
    for call in calls():
        torch.set_num_threads(1)
        alone = run(call)
        torch.set_num_threads(threads)
        for _ in range(5):
            together = run(call)
            for name, expected in alone.items():
                assert torch.equal(together[name], expected), name


TASKS = Path("/proc/self/task")
WAKE_THREADS = """
import os, torch
from lcat.graph import Graph
from lcat.ops import aggregate, gat_attention, gatv2_attention

def calls(nodes, edges, heads, width):
    graph = Graph(torch.randint(nodes, (edges,)), torch.randint(nodes, (edges,)), nodes, nodes)
    x, score, att = torch.zeros(nodes, heads, width), torch.zeros(nodes, heads), torch.zeros(heads, width)
    def run():
        aggregate(x, graph), gat_attention(score, score, x, graph), gatv2_attention(x, x, x, att, graph)
    torch.set_num_threads(1)
    run()  # what else starts with a first call
    torch.set_num_threads(8)
    before = len(os.listdir("/proc/self/task"))
    run()
    return len(os.listdir("/proc/self/task")) - before

print(calls(200, 1_000, 8, 8), calls(2_000, 200_000, 8, 32))
"""


@pytest.mark.skipif(not TASKS.is_dir(), reason="counts the threads of a process")
def test_little_work_wakes_no_threads() -> None:
    done = subprocess.run([sys.executable, "-c", WAKE_THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "7"]


def test_results_do_not_depend_on_the_order_of_edges() -> None:
    graph = make_graph("random", edges=300)
    order = torch.randperm(graph.num_edges)
    shuffled = type(graph)(graph.source[order], graph.target[order], graph.num_sources, graph.num_targets)
    one = gatv2_attention_call(graph, 2, 16, torch.float32, "").run("native")
    two = gatv2_attention_call(shuffled, 2, 16, torch.float32, "").run("native")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_python_threads() -> None:
    torch.set_num_threads(2)
    call = gatv2_attention_call(
        make_graph("hub", sources=500, targets=400, edges=6_000), 2, 16, torch.float32, "values"
    )
    expected = call.run("native")

    def work(_: int) -> bool:
        with torch.enable_grad():
            outputs = call.run("native")
        return all(torch.equal(outputs[name], expected[name]) for name in expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(40)))


class _Results(Dataset):
    """Each item is computed in the worker, on two threads."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        torch.set_num_threads(2)
        return self.call.run("native")["out"]


def test_forked_loader_workers() -> None:
    torch.set_num_threads(2)
    call = gat_attention_call(make_graph("hub", sources=500, targets=400, edges=6_000), 2, 16, torch.float32, "target")
    expected = call.run("native")["out"]  # the parent's threads exist before it forks
    for _ in range(2):
        loader = DataLoader(_Results(call), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
        assert all(torch.equal(out, expected) for out in loader)
    assert torch.equal(call.run("native")["out"], expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_in_the_middle_of_a_run() -> None:
    """A child forked while other threads are inside the kernels starts its own threads."""
    torch.set_num_threads(2)
    call = gat_attention_call(make_graph("hub", sources=500, targets=400, edges=6_000), 2, 16, torch.float32, "target")
    expected = call.run("native")["out"]
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(lambda: [call.run("native") for _ in range(20)]) for _ in range(2)]
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                with torch.no_grad():
                    out = call.function(**call.tensors)
                os._exit(0 if torch.equal(out, expected) else 1)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
        for job in busy:
            job.result()
