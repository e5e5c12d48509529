"""Programs and files that run without lcat: ONNX by both exporters, torch.export, AOTInductor, torch.jit.trace."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
import torch_geometric.nn as pyg

import lcat.nn
import lcat.ops
from lcat.nn import models
from tests.support.layers import LAYERS
from tests.support.layers import MODELS as MODEL_NAMES

MODELS = [f"models.{name}" for name in MODEL_NAMES]
# A graph with a self-loop and parallel edges, one without, and one with all pairs twice.
X, EDGES = torch.randn(6, 8), torch.tensor([[0, 1, 2, 3, 3, 5, 5], [1, 2, 2, 0, 1, 4, 4]])
NO_LOOPS = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 5]])
OTHERS = [
    (torch.randn(4, 8), torch.tensor([[0, 1], [1, 0]])),
    (torch.randn(9, 8), torch.arange(9).repeat(18).view(9, 18).t().reshape(2, -1)[:, ::2].contiguous()),
    (torch.randn(9, 8), torch.randint(0, 9, (2, 40))),
]
# Refuses what belongs to lcat or PyG, and compares the outputs of each program in a folder with those in its file.
LOADER = """
import sys, torch, pathlib
class Refusing:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("lcat", "torch_geometric"):
            raise AssertionError(name)
sys.meta_path.insert(0, Refusing())
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.pt2")):
    aoti = "aoti" in path.name
    program = torch._inductor.aoti_load_package(str(path)) if aoti else torch.export.load(path).module()
    for x, edges, expected in torch.load(path.with_suffix(".tensors")):
        torch.testing.assert_close(program(x, edges), expected, rtol=1e-5, atol=1e-5)
    print(path.name)
"""


def make(name, **options):
    torch.manual_seed(1)
    if name.startswith("models."):
        return getattr(models, name.removeprefix("models."))(8, 16, num_layers=2, out_channels=4, **options).eval()
    return getattr(lcat.nn, name)(8, 4, **options).eval()


def sizes():
    return {0: torch.export.Dim("nodes", min=2)}, {1: torch.export.Dim("edges", min=2)}


def outputs(net):
    with torch.no_grad():
        return [(x, edges, net(x, edges)) for x, edges in [(X, EDGES), (X, NO_LOOPS), *OTHERS]]


def names_of_operators(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


@pytest.fixture
def run_onnx():
    """Export by one of the exporters, run by onnxruntime on every graph, and compare."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)

    def run(net, path, example, dynamo):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dynamo:
                torch.onnx.export(net, example, path, dynamo=True, dynamic_shapes=sizes(), verbose=False)
            else:
                torch.onnx.export(
                    net,
                    example,
                    path,
                    dynamo=False,
                    input_names=["x", "edge_index"],
                    dynamic_axes={"x": {0: "nodes"}, "edge_index": {1: "edges"}},
                )
        session = onnxruntime.InferenceSession(path)
        names = [node.name for node in session.get_inputs()]
        for x, edges, expected in outputs(net):
            (out,) = session.run(None, dict(zip(names, (x.numpy(), edges.numpy()), strict=True)))
            torch.testing.assert_close(torch.from_numpy(out), expected, rtol=1e-4, atol=1e-5)

    return run


@pytest.mark.parametrize("name", [*LAYERS, "models.LCAT"])
def test_onnx_by_torch_export(name, run_onnx, tmp_path):
    run_onnx(make(name), str(tmp_path / "net.onnx"), (X, EDGES), dynamo=True)


@pytest.mark.parametrize("name", [*LAYERS, *MODELS])
def test_onnx_by_torch_script(name, run_onnx, tmp_path):
    run_onnx(make(name), str(tmp_path / "net.onnx"), (X, EDGES), dynamo=False)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{"add_self_loops": False}, {"heads": 2, "concat": False}], ids=str)
def test_onnx_from_a_graph_without_self_loops(name, options, run_onnx, tmp_path):
    """Runs on graphs with self-loops all the same: what the example has not, others have."""
    if "heads" in options and name == "GCNConv":
        options = {"bias": False}
    run_onnx(make(name, **options), str(tmp_path / "net.onnx"), (X, NO_LOOPS), dynamo=False)


@pytest.mark.parametrize("name", ["GCNConv", "GATConv", "GATv2Conv"])
def test_the_expected_outputs_are_those_of_pyg(name):
    net, theirs = make(name), getattr(pyg, name)(8, 4).eval()
    theirs.load_state_dict(net.state_dict())
    for x, edges, out in outputs(net):
        torch.testing.assert_close(theirs(x, edges), out)


@pytest.mark.parametrize("name", LAYERS)
def test_a_trace_of_a_graph_without_self_loops_removes_those_of_others(name):
    net = make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, (X, NO_LOOPS), check_trace=False)
    for x, edges, expected in outputs(net):
        torch.testing.assert_close(traced(x, edges), expected)


@pytest.mark.parametrize("strict", [True, False])
def test_exported_programs_load_without_lcat(strict, tmp_path):
    names = [*LAYERS, "models.LCAT"]
    for name in names:
        net = make(name)
        program = torch.export.export(net, (X, EDGES), dynamic_shapes=sizes(), strict=strict)
        assert not [operator for operator in names_of_operators(program) if "lcat" in operator]
        torch.export.save(program, tmp_path / f"{name}.pt2")
        torch.save(outputs(net), tmp_path / f"{name}.tensors")
    done = subprocess.run([sys.executable, "-c", LOADER, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(f"{name}.pt2" for name in names)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # torch's own packaging
@pytest.mark.long
@pytest.mark.parametrize("name", ["GCNConv", "LCATv2Conv"])
def test_aot_inductor_packages_load_without_lcat(name, tmp_path):
    net = make(name)
    program = torch.export.export(net, (X, EDGES), dynamic_shapes=sizes())
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "aoti.pt2"))
    torch.save(outputs(net), tmp_path / "aoti.tensors")
    done = subprocess.run([sys.executable, "-c", LOADER, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(lcat.ops.native_status().instruction_set is None, reason="no compiled kernels")
@pytest.mark.parametrize("name", ["GCNConv", "LCATConv", "LCATv2Conv", "models.GATv2"])
def test_kernels_by_name_in_a_program_for_use_inside_lcat(name):
    net = make(name)
    with lcat.ops.use_implementation("native"):
        program = torch.export.export(net, (X, EDGES), dynamic_shapes=sizes())
    assert [operator for operator in names_of_operators(program) if "lcat" in operator]
    for x, edges, expected in outputs(net):
        torch.testing.assert_close(program.module()(x, edges), expected)


def test_dropout_of_an_exported_training_step_is_plain_too():
    net = make("models.LCAT", dropout=0.5).train()
    program = torch.export.export(net, (X, EDGES))
    assert not [operator for operator in names_of_operators(program) if "lcat" in operator]


@pytest.mark.skipif(lcat.ops.native_status().instruction_set is None, reason="no compiled kernels")
def test_compiled_models_keep_the_kernels():
    torch._dynamo.reset()  # what other tests have compiled counts up to a limit
    graphs = []

    def look(module, example):
        graphs.append(module)
        return module.forward

    torch.compile(make("LCATConv"), backend=look, fullgraph=True)(X, EDGES)
    assert [node for graph in graphs for node in graph.graph.nodes if "lcat" in str(node.target)]
