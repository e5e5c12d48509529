"""Sparse features: where they are found, and their maps and dropout, as on the dense matrix, without grouping twice."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.nn.functional as F

from lcat.graph import Graph
from lcat.ops import dropout, sparse_features, sparse_linear
from lcat.ops._aggregate import sparse_features as module

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")


def features(rows=40, width=30, dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(rows, width, dtype=dtype) * (torch.rand(rows, width) < 0.1)
    x[3] = 0  # a node without any
    return x


def parameters(width=30, out=5, dtype=torch.float64):
    torch.manual_seed(1)
    return torch.randn(out, width, dtype=dtype, requires_grad=True), torch.randn(out, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(40, 30), (1, 30), (0, 30), (5, 1)])
def test_values_and_gradients(shape, dtype):
    x, (weight, bias) = features(max(shape[0], 4), shape[1], dtype)[: shape[0]], parameters(shape[1], dtype=dtype)
    expected, out = F.linear(x, weight, bias), sparse_linear(x.to_sparse_csr(), weight, bias)
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(out)
    for one, other in zip(
        torch.autograd.grad(out, (weight, bias), grad), torch.autograd.grad(expected, (weight, bias), grad), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_equal_entries_count_twice():
    x = torch.sparse_csr_tensor(torch.tensor([0, 2]), torch.tensor([1, 1]), torch.tensor([2.0, 3.0]), (1, 2))
    assert sparse_linear(x, torch.tensor([[10.0, 1.0]])).tolist() == [[5.0]]


def test_second_gradients():
    weight, _ = parameters(6, 3)
    matrix = features(5, 6).to_sparse_csr()
    assert torch.autograd.gradgradcheck(lambda w: sparse_linear(matrix, w).square(), (weight,))


def test_later_steps_group_nothing(monkeypatch):
    weight, _ = parameters()
    matrix = features().to_sparse_csr()
    sparse_linear(matrix, weight).sum().backward()

    def fail(*arguments, **options):
        raise AssertionError("grouped again")

    monkeypatch.setattr("lcat.graph._build", fail)
    monkeypatch.setattr(Graph, "grouped", fail)
    for _ in range(2):
        sparse_linear(matrix, weight).sum().backward()
        sparse_linear(dropout(matrix, 0.5), weight).sum().backward()


def test_new_contents_are_seen():
    weight, _ = parameters(2, 1)
    matrix = torch.tensor([[0.0, 3.0]], dtype=torch.float64).to_sparse_csr()
    first = sparse_linear(matrix, weight)
    matrix.col_indices().zero_()
    assert torch.equal(sparse_linear(matrix, weight), first / weight[0, 1] * weight[0, 0])


def test_gradients_of_the_features_are_torchs():
    (weight, _), matrix = parameters(), features().to_sparse_csr().requires_grad_()
    sparse_linear(matrix, weight).sum().backward()
    assert matrix.grad is not None


def test_half_types_and_autocast():
    weight, _ = parameters(dtype=torch.float32)
    x = features(dtype=torch.float32)
    expected = F.linear(x, weight)
    half = sparse_linear(x.to_sparse_csr().to(torch.bfloat16), weight.bfloat16())
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sparse_linear(x.to_sparse_csr(), weight), expected)


def test_dropout_keeps_or_scales_what_is_stored():
    x = (features(400, 100) != 0).double()
    matrix = x.to_sparse_csr()
    torch.manual_seed(0)
    out = dropout(matrix, 0.25).to_dense()
    assert set(out.unique().tolist()) == {0.0, 1 / 0.75}
    share = float(out.count_nonzero() / x.count_nonzero())
    assert abs(share - 0.75) < 5 * (0.1875 / float(x.count_nonzero())) ** 0.5
    assert bool((x[out != 0] != 0).all())
    assert dropout(matrix, 0.25, training=False) is matrix
    assert dropout(matrix, 0.0) is matrix


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((torch.ones(2, 3), torch.ones(1, 3)), ValueError, "to_sparse_csr"),
        ((torch.eye(3).to_sparse(), torch.ones(1, 3)), ValueError, "layout torch.sparse_coo"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(1, 4)), ValueError, r"\[out, 3\]"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(3)), ValueError, r"\[out, 3\]"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(2, 3), torch.ones(1)), ValueError, r"'bias' of shape \[2\]"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(2, 3), torch.ones(3, 2)), ValueError, r"'bias' of shape \[2\]"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(2, 3), torch.ones(2).double()), ValueError, "'bias' of one dtype"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(2, 3), 0.0), TypeError, "'bias' as a tensor, got float"),
        (([1.0], torch.ones(1, 3)), TypeError, "'x' as a tensor, got list"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(1, 3, device="meta")), ValueError, "of one device"),
        ((torch.eye(3).to_sparse_csr(), torch.ones(1, 3).double()), ValueError, "of one dtype"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        sparse_linear(*arguments)


def bags_of_words(width=200, share=0.03, dtype=torch.float32):
    torch.manual_seed(0)
    return (torch.rand(11_000, width) * (torch.rand(11_000, width) < share)).to(dtype)


def test_which_features_are_sparse():
    x = bags_of_words()
    matrix = sparse_features(x)
    assert sparse_features(x) is matrix
    assert torch.equal(matrix.to_dense(), x)
    assert sparse_features(x.double()) is not None
    others = [
        bags_of_words(100),
        bags_of_words(share=0.2),
        x.half(),
        x[:1000],
        x.t(),
        x[None],
        x.clone().requires_grad_(),
    ]
    assert [sparse_features(other) for other in others] == [None] * len(others)
    assert sparse_features(torch.nn.Parameter(x, requires_grad=False)) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert sparse_features(x) is None
    with torch.inference_mode():
        assert sparse_features(x.clone()) is None
        assert sparse_features(bags_of_words()) is None
        assert sparse_features(x) is matrix


def test_rows_that_were_not_looked_at_count():
    x = bags_of_words()
    x[1::2] = 1.0
    assert sparse_features(x) is None


@pytest.mark.parametrize("write", ["torch", "data", "numpy"])
def test_writes_are_seen(write):
    x = bags_of_words()
    sparse_features(x)
    target = {"torch": x, "data": x.data, "numpy": x.numpy()}[write]
    target[7, 7] = 5.0
    assert float(sparse_features(x).to_dense()[7, 7]) == 5.0


def test_dense_features_are_looked_at_once(monkeypatch):
    x = torch.ones(11_000, 200)
    assert sparse_features(x) is None
    monkeypatch.setattr(module, "_matrix_of", lambda x: pytest.fail("looked at again"))
    assert sparse_features(x) is None


def test_a_matrix_lives_as_long_as_its_features():
    x = bags_of_words()
    sparse_features(x)
    number = id(x)
    assert number in module._seen
    del x
    gc.collect()
    assert number not in module._seen


def test_a_matrix_made_in_inference_mode_trains_later():
    x, weight = bags_of_words(), torch.randn(3, 200, requires_grad=True)
    with torch.inference_mode():
        matrix = sparse_features(x)
    assert sparse_features(x) is matrix
    sparse_linear(matrix, weight).sum().backward()
    torch.testing.assert_close(weight.grad[0], x.sum(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3000, 201), (130, 4097), (5000, 128)])
def test_entries_are_those_of_torch(shape, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype) * (torch.rand(shape) < 0.02)
    x[0, 0], x[1, -1], x[2] = float("nan"), -1e-300 if dtype == torch.float64 else -1e-40, -0.0
    matrix, expected = module._matrix_of(x), x.to_sparse_csr()
    for part in ("crow_indices", "col_indices"):
        assert torch.equal(getattr(matrix, part)(), getattr(expected, part)())
    assert torch.equal(matrix.values().nan_to_num(9), expected.values().nan_to_num(9))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(module._matrix_of(x).col_indices(), expected.col_indices())
    finally:
        torch.set_num_threads(threads)


def test_without_compiled_kernels(monkeypatch):
    x = bags_of_words()
    monkeypatch.setattr(module._native, "STATUS", module._native.NativeStatus(None, None, "none"))
    assert torch.equal(module._matrix_of(x).to_dense(), x)
    assert module._matrix_of(bags_of_words(share=0.08)) is None
