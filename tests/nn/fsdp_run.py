"""What test_fsdp.py runs in two processes: every layer, sharded, does what it does whole."""

from __future__ import annotations

import copy
import sys
import warnings

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType, fully_shard
from torch.distributed.tensor import DTensor

import lcat.nn

EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 1, 2], [1, 2, 3, 4, 5, 0, 0, 0]])
WHOLE = StateDictOptions(full_state_dict=True)


def train(model, module, x):
    """One step of AdamW on ``module``, which wraps ``model`` or is it; returns the output."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    out = module(x, EDGES)
    out.square().sum().backward()
    optimizer.step()
    return out.detach()


def assert_same(actual, expected, what):
    assert list(actual) == list(expected), what
    for name, value in expected.items():
        assert actual[name].shape == value.shape, f"{what}: {name}"
        difference = (actual[name] - value).abs().max().item()
        assert difference < 1e-6, f"{what}: {name} is off by {difference}"


def check(layer, mesh):
    """``layer`` whole, with fully_shard, and with FSDP."""
    name = type(layer).__name__
    is_learned = "learned" in repr(layer)
    torch.manual_seed(1)
    x = torch.randn(6, 4)
    whole = copy.deepcopy(layer)
    before = whole.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    out = train(whole, whole, x)
    after = whole.state_dict()

    sharded = copy.deepcopy(layer)
    fully_shard(sharded, mesh=mesh)
    assert all(isinstance(parameter, DTensor) for parameter in sharded.parameters())
    assert_same(get_model_state_dict(sharded, options=WHOLE), before, f"{name}, fully_shard, before")
    torch.testing.assert_close(train(sharded, sharded, x), out)
    assert_same(get_model_state_dict(sharded, options=WHOLE), after, f"{name}, fully_shard, after")
    assert "learned" in repr(sharded) or not is_learned
    if is_learned:
        assert float(sharded.lambda1.detach()) == float(whole.lambda1.detach())
    set_model_state_dict(sharded, dict(before), options=WHOLE)  # torch writes into it
    torch.testing.assert_close(sharded(x, EDGES), layer(x, EDGES))

    for original in (True, False):
        flat = FullyShardedDataParallel(
            copy.deepcopy(layer), process_group=mesh.get_group(), use_orig_params=original,
            device_id=torch.device("cpu"),
        )  # fmt: skip
        what = f"{name}, FSDP with use_orig_params={original}"
        torch.testing.assert_close(train(layer, flat, x), out, msg=what)
        assert "learned" in repr(flat) or not is_learned
        with FullyShardedDataParallel.state_dict_type(flat, StateDictType.FULL_STATE_DICT):
            assert_same(flat.state_dict(), after, what)
            flat.load_state_dict(before)
        check_reading(flat, layer, is_learned, what)
        torch.testing.assert_close(flat(x, EDGES), layer(x, EDGES), msg=what)


def check_reading(flat, layer, is_learned, what):
    """A scalar whose number is elsewhere is not read, and the error says how to read it."""
    if not is_learned:
        return
    raw = flat.module.raw_lambda1
    if raw.numel() == 1 and raw.untyped_storage().nbytes() > 0:  # the whole of it is on this process
        assert float(flat.module.lambda1.detach()) == float(layer.lambda1.detach()), what
    else:
        with pytest.raises(RuntimeError, match="summon_full_params"):
            flat.module.lambda1  # noqa: B018
    with FullyShardedDataParallel.summon_full_params(flat):
        assert float(flat.module.lambda1.detach()) == float(layer.lambda1.detach()), what


def main():
    """Check the layers that are named on the command line."""
    warnings.filterwarnings("ignore")
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for name in sys.argv[1:]:
        torch.manual_seed(0)
        check(getattr(lcat.nn, name)(4, 3), mesh)
        if dist.get_rank() == 0:
            print(name, "is the same", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
