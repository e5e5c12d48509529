"""Operators called directly, and by saved-tensor hooks, with arguments that do not fit: an error, and no wild read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lcat.graph import graph_view
from lcat.ops import gat_attention, native_status
from tests.ops.test_operators import operator_arguments

pytestmark = pytest.mark.skipif(
    native_status().instruction_set is None, reason="the operators need the compiled kernels"
)

NAMES = ("aggregate", "gat_attention", "gatv2_attention", "dot_attention", "extremes")
ERRORS = (ValueError, RuntimeError, IndexError)


def packed(name: str, backward: bool) -> tuple[Any, list[str], list[Any]]:
    """An operator, the names of its arguments, and arguments that it takes."""
    arguments = [
        x.detach().clone() if isinstance(x, Tensor) else x for x in operator_arguments(name, "random")[backward].pack()
    ]
    operator = getattr(torch.ops.lcat, f"{name}_backward" if backward else name).default
    return operator, [argument.name for argument in operator._schema.arguments], arguments


def error_of(operator: Any, arguments: list[Any]) -> Exception | None:
    """What the operator raises, if it does."""
    try:
        operator(*arguments)
    except Exception as error:
        return error
    return None


def damaged(tensor: Tensor) -> list[Tensor]:
    """The same tensor in forms that do not fit."""
    forms = [tensor[:-1].clone(), torch.cat([tensor, tensor[:1]]), tensor.unsqueeze(0), tensor.to("meta")]
    forms += [tensor.to(torch.int16), tensor.to(torch.complex64), tensor.to(torch.bool)]
    if not tensor.is_floating_point():
        forms += [tensor.float()]
    freed = tensor.clone()
    freed.untyped_storage().resize_(tensor.nbytes - 1)
    return [*forms, freed]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_checked(name: str, backward: bool) -> None:
    operator, names, arguments = packed(name, backward)
    operator(*arguments)
    for position, argument in enumerate(arguments):
        if not isinstance(argument, Tensor):
            continue
        for tensor in damaged(argument):
            changed = [*arguments[:position], tensor, *arguments[position + 1 :]]
            what = f"{names[position]} as {list(tensor.shape)} {tensor.dtype} {tensor.device}"
            assert isinstance(error_of(operator, changed), ERRORS), what


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("value", [-1, 14, 10**9, -(2**31), 2**32 + 1])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_values_of_edges_are_checked(name: str, backward: bool, value: int, dtype: torch.dtype) -> None:
    """2**32 + 1 is a node that exists, once it is cut off to 32 bits."""
    if dtype == torch.int32 and abs(value) > 2**31:
        pytest.skip("int32 cannot hold it")
    operator, names, arguments = packed(name, backward)
    for position, argument in enumerate(arguments):
        part = names[position].removeprefix("by_target_").removeprefix("by_source_")
        if part not in ("indptr", "indices", "edge_ids"):
            continue
        unread = "by_source" if not backward else "by_target" if name == "gat_attention" else "none"
        if names[position].startswith(unread):
            continue  # kept for the backward pass, or for the derivative of that
        for slot in (0, 3, -1):
            index = argument.to(torch.int64 if part == "indptr" else dtype)
            if value == 14 and part == "indptr" and slot == -1:
                continue  # the number of edges: right there
            index[slot] = value
            changed = [*arguments[:position], index, *arguments[position + 1 :]]
            error = error_of(operator, changed)
            assert isinstance(error, IndexError), f"{names[position]}[{slot}] = {value}"
            assert "expected edges that fit" in str(error)


@pytest.mark.parametrize("name", NAMES)
def test_options_of_direct_calls(name: str) -> None:
    operator, names, arguments = packed(name, backward=True)
    for argument, value in (("needs", [True]), ("by_source_indptr", None), ("dropout", float("nan")), ("seed", None)):
        if argument not in names:
            continue
        changed = list(arguments)
        changed[names.index(argument)] = value
        if argument == "by_source_indptr":
            for part in ("indices", "edge_ids"):
                changed[names.index(f"by_source_{part}")] = None
        with pytest.raises(ValueError, match=argument.removesuffix("_indptr")):
            operator(*changed)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t[:1] if t.dim() == 3 else t, "expected 'value' of shape|expected 'out' of shape|source_score"),
        (lambda t: t.half() if t.dtype == torch.float32 else t, "as the forward pass returned them"),
        (lambda t: t.to("meta"), "got meta"),
    ],
    ids=["shorter", "half", "meta"],
)
def test_hooks_that_give_back_other_tensors(change, match: str) -> None:
    graph, _ = graph_view(torch.tensor([[0, 1, 2], [2, 2, 0]]), 3, 3)
    value = torch.randn(3, 2, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, change):
        out = gat_attention(torch.randn(3, 2), None, value, graph)
    with pytest.raises(ValueError, match=match):
        out.sum().backward()


def test_dropout_called_directly() -> None:
    seed = torch.tensor([1])
    for x, other_seed, p in (
        (torch.ones(4).half(), seed, 0.5),
        (torch.ones(4).long(), seed, 0.5),
        (torch.ones(4), seed, 2.0),
        (torch.ones(4), torch.tensor([]), 0.5),
        (torch.ones(4), seed.to("meta"), 0.5),
    ):
        with pytest.raises(ValueError, match="expected"):
            torch.ops.lcat.dropout(x, other_seed, p)
