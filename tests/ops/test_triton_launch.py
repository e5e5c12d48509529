"""The way from a layer to a launch, without a GPU: everything Triton does short of the call into CUDA.

In a process of its own: this one may have told Triton to interpret.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

SCRIPT = Path(__file__).with_name("triton_driver.py")
AGGREGATE = Counter({"_aggregate.triton:_forward_kernel": 2, "_triton.tiles:_sum_kernel": 2})
ATTENTION = Counter(
    {
        "_gat_attention.triton:_forward_kernel": 1,
        "_triton.tiles:_softmax_kernel": 1,
        "_gat_attention.triton:_target_kernel": 1,
        "_gat_attention.triton:_source_kernel": 1,
        "_triton.tiles:_sum_kernel": 1,
    }
)
SCORES = Counter(
    {"_gat_attention.triton_scores:_scores_kernel": 1, "_gat_attention.triton_scores:_scores_backward_kernel": 1}
)
ATTENTION_V2 = Counter(
    {
        "_gatv2_attention.triton_kernels:forward_kernel": 1,
        "_triton.tiles:_softmax_kernel": 1,
        "_gatv2_attention.triton_kernels:target_kernel": 1,
        "_gatv2_attention.triton_kernels:source_kernel": 1,
        "_triton.tiles:_sum_kernel": 2,
    }
)
DOT_ATTENTION = Counter(
    {
        "_dot_attention.triton_kernels:forward_kernel": 1,
        "_triton.tiles:_softmax_kernel": 1,
        "_dot_attention.triton_kernels:target_kernel": 1,
        "_dot_attention.triton_kernels:source_kernel": 1,
        "_triton.tiles:_sum_kernel": 2,
    }
)
EXTREMES = Counter(
    {
        "_extremes.triton:_forward_kernel": 1,
        "_extremes.triton:_parts_kernel": 1,
        "_extremes.triton:_source_kernel": 1,
        "_triton.tiles:_sum_kernel": 1,
    }
)
LAUNCHES = {
    "GCNConv": AGGREGATE,
    "GATConv": SCORES + ATTENTION,
    "CATConv": AGGREGATE + SCORES + ATTENTION,
    "GATv2Conv": ATTENTION_V2,
    "LCATConv": AGGREGATE + SCORES + ATTENTION,
    "LCATv2Conv": AGGREGATE + ATTENTION_V2,
    "TransformerConv": DOT_ATTENTION,
    "SAGEConv": EXTREMES,
}
WITHOUT_HEADS = {"GCNConv", "SAGEConv"}
AVERAGING = {"CATConv", "LCATConv", "LCATv2Conv"}  # on the edges without self-loops, a second graph
# Operations of torch in forward and backward pass that start something on a device, besides: each takes as much time as
# all edges of a small graph. GCN: the linear map, the sum with the bias, and their gradients (2 products, 1 sum).
COMPUTING = {"GCNConv": 5, "GATConv": 6, "CATConv": 20, "GATv2Conv": 12, "LCATConv": 42, "LCATv2Conv": 47}
# Four linear maps, of queries, keys, values and own features; two, and a gradient divided by the number of ties.
COMPUTING |= {"TransformerConv": 20, "SAGEConv": 10}


@pytest.fixture(scope="module")
def printed() -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # The first of the path: other packages install one of the name of these tests.
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def rows(printed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in printed if "layer" in row]


def test_a_compiled_kernel_is_started_directly(printed):
    """Two launches a call: the rows, and the sums of those that were cut."""
    (direct,) = (row["direct"] for row in printed if "direct" in row)
    assert direct == {
        "first": 2,
        "the same again": 0,
        "another type": 2,
        "another width": 2,
        "one argument more": 1,
        "an address that is no multiple of 16": 1,
        "that again": 1,
        "the first once more": 0,
    }


def test_rows_are_never_cast(printed):
    """Neither the output nor its gradient, which all passes take in the type of the inputs."""
    rows = [row["rows"] for row in printed if "rows" in row]
    assert len(rows) == 9
    assert [row for row in rows if row["casts"]] == []


def test_every_layer_is_launched(rows):
    assert {(row["layer"], row["dropout"]) for row in rows} == {
        *((layer, 0.0) for layer in WITHOUT_HEADS),
        *((layer, dropout) for layer in LAUNCHES if layer not in WITHOUT_HEADS for dropout in (0.0, 0.6)),
    }


def test_launches_of_a_step(rows):
    for row in rows:
        assert row["first"]["launches"] == LAUNCHES[row["layer"]], row
        assert row["later"]["launches"] == row["first"]["launches"], row


def test_operations_of_a_step(rows):
    for row in rows:
        computing = Counter(row["later"]["computing"])
        assert computing.pop("randint", 0) == (row["dropout"] > 0), row  # the seed of the mask
        assert computing.total() == COMPUTING[row["layer"]], row


def test_a_later_step_sorts_nothing_and_waits_for_nothing(rows):
    for row in rows:
        assert (row["later"]["sorts"], row["later"]["waits"]) == (0, 0), row
        assert row["first"]["operations"] > row["later"]["operations"], row


def test_a_first_step_waits_once_and_sorts_once_for_each_direction(printed):
    """The edges of the input; those with self-loops are made of them. A schedule is one more short sort."""
    kinds = ("layer", "groups", "compiled")
    rows = [(kind, row[kind], row["first"]) for row in printed for kind in kinds if kind in row]
    assert {(kind, layer) for kind, layer, _ in rows} == {(kind, layer) for kind in kinds for layer in LAUNCHES}
    for kind, layer, first in rows:
        graphs = 2 if layer in AVERAGING else 1
        # An EdgeIndex has its groups. What is compiled is for graphs with self-loops, which are dead edges there.
        sorted_graphs = {"layer": 1, "groups": 0, "compiled": graphs}[kind]
        assert (first["waits"], first["sorts"]) == (1, 2 * sorted_graphs + 2 * graphs), (kind, layer)


def test_a_later_step_on_edges_in_groups_sorts_nothing_and_waits_for_nothing(printed):
    for row in printed:
        if "groups" in row:
            assert (row["later"]["sorts"], row["later"]["waits"]) == (0, 0), row
            assert row["later"]["launches"] == row["first"]["launches"] == LAUNCHES[row["groups"]], row


def test_a_later_step_of_a_compiled_layer_sorts_nothing_and_waits_for_nothing(printed):
    rows = [row for row in printed if "compiled" in row]
    assert {row["compiled"] for row in rows} == set(LAUNCHES)
    for row in rows:
        assert row["first"]["schedules"] > 0, row
        assert (row["later"]["schedules"], row["later"]["sorts"], row["later"]["waits"]) == (0, 0, 0), row
        assert row["later"]["launches"] == row["first"]["launches"], row
        assert row["first"]["operations"] > row["later"]["operations"], row
