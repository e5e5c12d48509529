"""What every test runs under."""

from __future__ import annotations

import contextlib
import gc
import os
import sys

# One thread a worker: pytest-xdist runs a worker a core, and more threads than cores only take turns.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)
# Importing ogb would start a thread that asks PyPI for a newer version; without this package it does not.
sys.modules["outdated"] = None  # type: ignore[assignment]


def pytest_collection_finish():
    """Keep all that is loaded by now out of collections of garbage: studies ask for one before each cell, and it would
    look at every object of torch and of all tests, for a second or two.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _spared_collections():
    """The same for what the modules before have loaded and compiled."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _strict_torch():
    """Fresh seeds, and torch's deterministic mode: no operation may depend on the order of threads, and every
    ``torch.empty`` is filled with NaN, so that an element which nobody writes shows.
    """
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(1)


@pytest.fixture
def small_files():
    """``with small_files(1000):`` no file gets longer than 1000 bytes, as on a full disk."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited(size):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
