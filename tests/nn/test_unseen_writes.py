"""Writes to edges and features that torch does not count: no layer may use what it has remembered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lcat.nn
import lcat.ops
from tests.support.graphs import edge_formats
from tests.support.layers import LAYERS, TWO_HOPS

SCRIPT = Path(__file__).with_name("distributed_writes.py")
ROOT = Path(__file__).parents[2]
EDGES = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 3]])


def through_numpy(tensor):
    tensor.numpy()[0, 1] = 3


def through_data(tensor):
    tensor.data[0, 1] = 3


def through_dlpack(tensor):
    torch.from_dlpack(tensor.detach())[0, 1] = 3


def through_the_array_it_was_made_of(tensor):
    torch.from_numpy(tensor.numpy())[0, 1] = 3


def two_writes_that_keep_the_sum(tensor):
    array = tensor.numpy()
    array[0, 0], array[0, 1] = array[0, 1], array[0, 0]


def counted(tensor):
    tensor[0, 1] = 3


WRITES = [
    through_numpy,
    through_data,
    through_dlpack,
    through_the_array_it_was_made_of,
    two_writes_that_keep_the_sum,
    counted,
]


@pytest.fixture(params=["default", "naive"])
def implementation(request):
    if request.param == "default":
        yield
    else:
        with lcat.ops.use_implementation(request.param):
            yield


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("add_self_loops", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_edges(name, add_self_loops, write):
    layer, x, edges = getattr(lcat.nn, name)(5, 2, add_self_loops=add_self_loops), torch.randn(4, 5), EDGES.clone()
    before = layer(x, edges)
    write(edges)
    assert not torch.equal(edges, EDGES)
    after, expected = layer(x, edges), layer(x, edges.clone())
    assert torch.equal(after, expected)
    assert not torch.allclose(after, before)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("add_self_loops", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_a_write_between_the_passes_does_not_reach_the_backward_pass(name, add_self_loops):
    layer, x = getattr(lcat.nn, name)(5, 2, add_self_loops=add_self_loops), torch.randn(4, 5, requires_grad=True)
    edges = EDGES.clone()
    (expected,) = torch.autograd.grad(layer(x, EDGES.clone()).square().sum(), x)
    out = layer(x, edges)
    through_numpy(edges)
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("form", edge_formats(EDGES, 4, 4))
@pytest.mark.parametrize("name", ["GCNConv", "LCATConv"])
def test_every_format(name, form):
    layer, x = getattr(lcat.nn, name)(5, 2), torch.randn(4, 5)
    edge_input, _ = edge_formats(EDGES, 4, 4)[form]
    layer(x, edge_input)
    if form in ("csr", "csc"):
        tensor = edge_input.col_indices() if form == "csr" else edge_input.row_indices()
    else:
        tensor = edge_input._indices() if form == "coo" else edge_input
        tensor = tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
    array = tensor.numpy().reshape(-1)
    array[-1] = (array[-1] + 1) % 4
    plain = tensor.clone() if form != "EdgeIndex_by_col" else edge_input.as_tensor().clone()
    if form in ("coo", "csr", "csc"):
        plain = edge_input.clone()
    torch.testing.assert_close(layer(x, edge_input), layer(x, plain))


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", TWO_HOPS)
def test_features_of_a_kept_sum(name, write):
    layer = getattr(lcat.nn, name)(5, 2, cache_neighbor_sum=True)
    x, edges = torch.randn(4, 5), EDGES.clone()
    before = layer(x, edges)
    write(x)
    after = layer(x, edges)
    assert torch.equal(after, layer(x.clone(), edges.clone()))
    assert not torch.allclose(after, before)


@pytest.mark.long
def test_collectives_and_buffers_of_two_processes():
    """Each case that the run finds wrong is a line on stderr."""
    if not torch.distributed.is_available():
        pytest.skip("torch without torch.distributed")
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1", str(SCRIPT),
        ],
        env={
            **os.environ,
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == 2, done.stdout
    assert "WRONG" not in done.stderr, done.stderr
