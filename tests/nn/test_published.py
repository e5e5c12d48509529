"""from_published against numbers of the published code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lcat.nn import LCATConv, from_published

HERE = Path(__file__).parent

# Gradients whose published float32 numbers are more than 1e-5 away from what float64 gives, by case.
# Saturated: 1 - lambda below 2e-4 keeps few digits in float32, in the same way there and here.
SATURATED = {
    "c029": {"raw_lambda1"},
    "c040": {"raw_lambda2"},
    "c042": {"raw_lambda2"},
    "c072": {"raw_lambda1"},
    "c073": {"raw_lambda1"},
    "c078": {"raw_lambda2"},
    "c089": {"raw_lambda2"},
    "c114": {"raw_lambda2"},
    "c127": {"raw_lambda1"},
}
# Standard deviations of nearly equal messages (PNA): the mean of the squares minus the square of the mean keeps few
# digits in float32, in the same way there and here.
NEARLY_EQUAL = {
    "c130": {"grad_x", "lin_value.weight"},
    "c131": {"grad_x", "raw_lambda2", "lin_value.weight"},
    "c143": {"grad_x", "raw_lambda2", "att", "lin_l.weight", "lin_r.weight", "lin_value.weight"},
}
# Cancelling: a sum whose terms nearly all cancel; float32 leaves what the order of the sum makes of it.
CANCELLING = {
    "c017": {"att_dst", "lin_dst.weight", "lin_dst.bias"},
    "c043": {"raw_lambda2"},
    "c044": {"raw_lambda2"},
    "c075": {"raw_lambda1"},
}
# Bounds other than 1e-5. A score's gradient is a difference of two dot products that the compiled kernels round apart:
# 0.99e-5 here with AVX2, 1.01e-5 with AVX-512, where plain torch has 0.3e-5. That of lambda2 is a sum that cancels:
# plain torch is 0.75e-5 away from float64, the kernels 1.05e-5, the published number 0.27e-5 to the other side.
BOUNDS = {("c018", "att_src"): 1.2e-5, ("c090", "raw_lambda2"): 1.5e-5}
# Gradients of PNA's deviations, with the matrix products of several processors: the largest difference seen is 2e-4
# (c121, c143) and 6e-5 (the others), where the same cases are below 1e-5 on some. All other gradients of PNA keep 1e-5.
DEVIATIONS = {
    "c121": (5e-4, {"grad_x", "lin_value.weight"}),
    "c124": (1e-4, {"grad_x", "lin_value.weight"}),
    "c127": (1e-4, {"att_dst", "att_src", "lin_dst.weight", "lin_value.weight", "raw_lambda1"}),
    "c130": (1e-4, {"grad_x", "raw_lambda2", "att_src", "lin_src.weight", "lin_value.weight"}),
    "c131": (1e-4, {"grad_x", "raw_lambda2", "lin_src.weight", "lin_value.weight"}),
    "c137": (1e-4, {"grad_x", "lin_l.weight", "lin_value.weight"}),
    "c139": (1e-4, {"grad_x", "raw_lambda1", "raw_lambda2", "att", "lin_l.weight", "lin_value.weight"}),
    "c143": (5e-4, {"grad_x", "raw_lambda2", "att", "lin_l.weight", "lin_r.weight", "lin_value.weight"}),
}
BOUNDS |= {(case, name): bound for case, (bound, names) in DEVIATIONS.items() for name in names}


def _archives():
    """A few cases travel with the tests; the whole archive is read where LCAT_TEST_FIXTURES says it is."""
    yield HERE / "published_cases.npz"
    folder = os.environ.get("LCAT_TEST_FIXTURES")
    if folder:
        yield Path(folder) / "reference_lcat.npz"


def _cases():
    for path in _archives():
        archive = np.load(path)
        for case in json.loads(str(archive["cases"])):
            name = f"{path.stem}-{case['id']}-{case['family']}-{case['version']}-{case['kwargs']['mode']}"
            yield pytest.param(path, case, id=name)


@pytest.mark.parametrize(("path", "case"), list(_cases()))
def test_outputs_and_all_gradients(path, case):
    archive, prefix = np.load(path), case["id"]

    def part(folder):
        start = f"{prefix}/{folder}/"
        return {name[len(start) :]: archive[name] for name in archive.files if name.startswith(start)}

    state = {name: torch.from_numpy(value) for name, value in part("state").items()}
    kwargs = dict(case["kwargs"])
    if "deg" in kwargs:
        kwargs["deg"] = torch.tensor(kwargs["deg"])
    edges, results = torch.from_numpy(archive[f"{prefix}/edge_index"]), []
    for dtype in (torch.float32, torch.float64):
        layer = from_published(case["family"], case["version"], state, **kwargs).to(dtype)
        x = torch.from_numpy(archive[f"{prefix}/x"]).to(dtype).requires_grad_()
        initial = (torch.from_numpy(archive[f"{prefix}/x_0"]).to(dtype),) if case["family"] == "gcn2" else ()
        out = layer(x, *initial, edges)
        out.backward(torch.from_numpy(archive[f"{prefix}/cotangent"]).to(dtype))
        computed = {"out": out.detach(), "grad_x": x.grad}
        for name, parameter in layer.named_parameters():
            computed[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        results.append(computed)
    ours, exact = results

    expected = {name: archive[f"{prefix}/{name}"] for name in ("out", "grad_x")}
    expected |= {_our_name(name, case): value for name, value in part("grad").items()}
    assert len(expected) > 4

    def is_in(*tables):
        return any(name in table.get(prefix, ()) for table in tables)

    for name, theirs in expected.items():
        scale = max(float(np.abs(theirs).max()), 1e-4)
        truth = exact[name].numpy()
        difference = float(np.abs(ours[name].numpy() - theirs).max()) / scale
        rounding = float(np.abs(truth - theirs).max()) / scale
        inexact, cancelling = is_in(SATURATED, NEARLY_EQUAL), is_in(CANCELLING)
        if inexact or cancelling:
            # PNA's average of log-degrees is float32 also here, and its last bit depends on the processor.
            assert 0.99e-5 < rounding < 2e-2, f"{name} in float64: off by {rounding:.2g}"
        else:
            assert rounding < 1e-5, f"{name} in float64: off by {rounding:.2g}"
        # Where the published number is one rounding among others, ours must be nearer to float64's.
        bound = BOUNDS.get((prefix, name), 1e-5)
        nearer = float(np.abs(ours[name].numpy() - truth).max()) / scale < rounding
        assert difference < bound or (cancelling and nearer), f"{name}: off by {difference:.2g}, of {bound:.2g}"


def _our_name(name, case):
    owner, _, rest = name.rpartition(".")
    kwargs, v1 = case["kwargs"], case["version"] == "v1"
    plain = {"lmbda_": "raw_lambda1", "lmbda2_": "raw_lambda2"} | (
        {"att_l": "att_src", "att_r": "att_dst"} if v1 else {}
    )
    if not owner:
        return plain.get(name, name)
    if owner == "lin_v":
        owner = "lin_value"
    elif owner in ("lin", "post_nns"):  # of PNA
        owner = {"lin": "lin_out", "post_nns": "post_nns.0.0"}[owner]
    elif v1:
        owner = "lin" if kwargs.get("share_weights_score") else {"lin_l": "lin_src", "lin_r": "lin_dst"}[owner]
    return f"{owner}.{rest}"


def test_the_sum_of_older_pyg_can_be_asked_for():
    torch.manual_seed(0)
    source = LCATConv(4, 3, share_weights=False, share_values=False, score_bias=True, lambda1=1.0, lambda2=1.0)
    names = {"att_src": "att_l", "att_dst": "att_r"}
    owners = {"lin_src": "lin_l", "lin_dst": "lin_r", "lin_value": "lin_v"}
    state = {}
    for name, value in source.state_dict().items():
        owner, dot, rest = name.rpartition(".")
        state[names.get(name, f"{owners.get(owner, owner)}{dot}{rest}")] = value
    x, edges = torch.randn(5, 4), torch.tensor([[0, 1, 2, 3, 0], [1, 2, 1, 1, 4]])
    layer = from_published("plain", "v1", state, in_channels=4, out_channels=3, mode="cat", neighbor_aggr="sum")
    assert torch.equal(layer(x, edges), source(x, edges))
    as_run = from_published("plain", "v1", state, in_channels=4, out_channels=3, mode="cat")
    assert not torch.allclose(as_run(x, edges), source(x, edges))


def test_arguments_in_another_order():
    with pytest.raises(TypeError, match="write from_published"):
        from_published({}, "v1", {})
