"""What torch is doing at the moment, where it takes a GPU to see it: with stand-ins for what torch answers."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from lcat import _tracing


@pytest.fixture
def gpu():
    """A GPU whose current stream is ``"the stream of the graphs"``, or another one."""
    stream = mock.MagicMock(device_index=0)
    with (
        mock.patch.object(torch.cuda, "is_initialized", return_value=True),
        mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=False) as capturing,
        mock.patch.object(torch.cuda, "current_stream", return_value=stream),
    ):
        yield SimpleNamespace(stream=stream, capturing=capturing)


def trees_with(manager):
    local = SimpleNamespace(tree_manager_containers={})
    return SimpleNamespace(local=local, get_manager=lambda index, create_if_none_exists: manager)


def test_no_gpu():
    assert not _tracing.allocates_for_cuda_graph()


def test_capture(gpu):
    gpu.capturing.return_value = True
    assert _tracing.allocates_for_cuda_graph()


@pytest.mark.parametrize("kind", ["warms up", "another stream", "no graphs on this device", "never imported"])
def test_the_runs_before_a_capture(kind, gpu):
    managers = {"warms up": SimpleNamespace(stream=gpu.stream), "another stream": SimpleNamespace(stream=object())}
    trees = None if kind == "never imported" else trees_with(managers.get(kind))
    with mock.patch.dict(sys.modules, {"torch._inductor.cudagraph_trees": trees}):
        assert _tracing.allocates_for_cuda_graph() == (kind == "warms up")


def test_threads_that_cannot_have_graphs(gpu):
    """torch refuses to answer in a thread that is not its own."""
    trees = pytest.importorskip("torch._inductor.cudagraph_trees")
    answers = []

    def ask():
        with mock.patch.object(trees, "get_manager", side_effect=AssertionError):
            answers.append(_tracing.allocates_for_cuda_graph())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]
