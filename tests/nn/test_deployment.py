"""Programs and files that run without lcat: ONNX by both exporters, torch.export, AOTInductor, torch.jit.trace."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import lcat
import lcat.nn
import lcat.ops
from lcat.nn import models
from tests.support.layers import ATTENTION, FAMILIES, LAYERS
from tests.support.layers import MODELS as MODEL_NAMES
from tests.support.long import long, quick_or_long

MODELS = [f"models.{name}" for name in MODEL_NAMES]
# A graph with a self-loop and parallel edges, one without, and one with all pairs twice.
X, EDGES = torch.randn(6, 8), torch.tensor([[0, 1, 2, 3, 3, 5, 5], [1, 2, 2, 0, 1, 4, 4]])
NO_LOOPS = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 5]])
OTHERS = [
    (torch.randn(4, 8), torch.tensor([[0, 1], [1, 0]])),
    (torch.randn(9, 8), torch.arange(9).repeat(18).view(9, 18).t().reshape(2, -1)[:, ::2].contiguous()),
    (torch.randn(9, 8), torch.randint(0, 9, (2, 40))),
]
ONE_OR_NONE = [(X[:n], torch.zeros(2, count, dtype=torch.long)) for n in (1, 3) for count in (0, 1)]
DEGREES = torch.tensor([1, 3, 2, 1])


class WithInitial(nn.Module):
    """A layer that takes the features of the first layer as well."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x, edge_index, edge_weight=None, edge_attr=None):
        return self.conv(x, x.tanh(), edge_index, edge_weight, edge_attr)


def _pna(name, **options):
    aggregators = ["mean", "min", "max", "std"]
    return getattr(lcat.nn, name)(8, 4, aggregators, ["identity", "amplification"], DEGREES, **options)


def _gcn2(name, **options):
    return WithInitial(getattr(lcat.nn, name)(8, 0.1, theta=0.5, layer=1, **options))


# Layers of other families, by what their test is called.
OF_FAMILIES = {
    "TransformerConv": lambda: lcat.nn.TransformerConv(8, 4, heads=2, beta=True),
    "SAGEConv": lambda: lcat.nn.SAGEConv(8, 4),
    "SAGEConv max": lambda: lcat.nn.SAGEConv(8, 4, aggr="max"),
    "GraphConv": lambda: lcat.nn.GraphConv(8, 4),
    "GraphConv min": lambda: lcat.nn.GraphConv(8, 4, aggr="min"),
    "GINConv": lambda: lcat.nn.GINConv(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4))),
    "LCATGCN2Conv": lambda: _gcn2("LCATGCN2Conv"),
    "LCATv2GCN2Conv": lambda: _gcn2("LCATv2GCN2Conv"),
    "LCATPNAConv": lambda: _pna("LCATPNAConv"),
    "LCATv2PNAConv": lambda: _pna("LCATv2PNAConv"),
    "accelerated GAT": lambda: accelerated(pyg.GAT(8, 4, num_layers=2)),
    "accelerated PNAConv": lambda: accelerated(pyg.PNAConv(8, 4, ["mean", "max"], ["identity"], DEGREES)),
}
# One of each kind for every run of the tests; the others are long.
QUICK = {"GCNConv", "GATConv", "LCATv2Conv", "TransformerConv", "SAGEConv max", "LCATGCN2Conv", "LCATPNAConv"}
# Only in packages, which are tested where time is left.
UPGRADED = {f"upgraded {name}": lambda name=name: upgraded(getattr(pyg, name)(8, 4)) for name in ("GCNConv", "GATConv")}
# What layers take beside x and edge_index.
WEIGHT, FEATURES = ["edge_weight"], ["edge_attr"]
EDGE_VALUES = {
    "GCNConv": WEIGHT,
    "GraphConv": WEIGHT,
    "TransformerConv": FEATURES,
    **dict.fromkeys([*ATTENTION, *FAMILIES], WEIGHT + FEATURES),
}


def accelerated(model):
    lcat.accelerate(model)
    return model


def upgraded(model):
    lcat.upgrade(model)
    lcat.nn.set_lambdas(model, lambda1=0.7, lambda2=0.3)
    return model


# Refuses what belongs to lcat or PyG, and compares the outputs of each program in a folder with those in its file.
LOADER = """
import sys, torch, pathlib
class Refusing:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("lcat", "torch_geometric"):
            raise AssertionError(name)
sys.meta_path.insert(0, Refusing())
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.pt2")):
    if path.name.startswith("traced"):
        program = torch.jit.load(path)
    elif path.name.startswith("aoti"):
        program = torch._inductor.aoti_load_package(str(path))
    else:
        program = torch.export.load(path).module()
    for x, edges, values, expected in torch.load(path.with_suffix(".tensors")):
        torch.testing.assert_close(program(x, edges, **values), expected, rtol=1e-5, atol=1e-5)
    print(path.name)
"""


def make(name, **options):
    torch.manual_seed(1)
    if name in OF_FAMILIES | UPGRADED:
        return (OF_FAMILIES | UPGRADED)[name]().eval()
    if name.startswith("models."):
        return getattr(models, name.removeprefix("models."))(8, 16, num_layers=2, out_channels=4, **options).eval()
    return getattr(lcat.nn, name)(8, 4, **options).eval()


def make_for(name, arguments):
    """The layer, with a map of edge features if they are among the arguments."""
    options = {"edge_dim": 5} if "edge_attr" in arguments else {}
    torch.manual_seed(1)
    if name in FAMILIES:
        return (_gcn2 if "GCN2" in name else _pna)(name, **options).eval()
    return getattr(lcat.nn, name)(8, 4, **options).eval()


def edge_values(names, edges):
    """Features and weights of edges, by the names of arguments."""
    return {name: torch.rand(edges.shape[1], *([5] if name == "edge_attr" else [])) for name in names}


def sizes():
    return {0: torch.export.Dim("nodes", min=2)}, {1: torch.export.Dim("edges", min=2)}


def export_with_edge_values(net, names, strict=False):
    nodes, number = sizes()
    return torch.export.export(
        net,
        (X, EDGES),
        edge_values(names, EDGES),
        dynamic_shapes={"x": nodes, "edge_index": number, **{name: {0: number[1]} for name in names}},
        strict=strict,
    )


ALL = [*LAYERS, *OF_FAMILIES, "models.LCAT"]


def outputs(net):
    return [(x, edges, out) for x, edges, _, out in cases(net)]


def cases(net, names=()):
    """Graphs of several sizes with values of edges, and what the layer computes of them."""
    torch.manual_seed(0)
    graphs = [(X, EDGES), (X, NO_LOOPS), *OTHERS, *ONE_OR_NONE]
    with torch.no_grad():
        inputs = [(x, edges, edge_values(names, edges)) for x, edges in graphs]
        return [(x, edges, values, net(x, edges, **values)) for x, edges, values in inputs]


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


@pytest.mark.parametrize("name", quick_or_long([*LAYERS, *OF_FAMILIES, "models.LCAT"], QUICK))
def test_onnx_by_torch_export(name, run_onnx, tmp_path):
    run_onnx(make(name), str(tmp_path / "net.onnx"), (X, EDGES), dynamo=True)


@pytest.mark.parametrize(
    "name",
    quick_or_long(
        [*LAYERS, *MODELS, *(name for name in OF_FAMILIES if name not in FAMILIES or "PNA" not in name)], QUICK
    ),
)
def test_onnx_by_torch_script(name, run_onnx, tmp_path):
    run_onnx(make(name), str(tmp_path / "net.onnx"), (X, EDGES), dynamo=False)


@pytest.mark.parametrize("make_layer", [lambda: _pna("LCATPNAConv"), lambda: _pna("LCATv2PNAConv")])
def test_minima_of_pyg_do_not_pass_the_old_exporter(make_layer, run_onnx, tmp_path):
    """PyG's scatter makes a tensor of a number that is a tensor there: PyG's own layer fails as well."""
    theirs = pyg.PNAConv(8, 4, ["min"], ["identity"], DEGREES)
    for net in (make_layer(), theirs):
        with pytest.raises(TypeError, match="must be Number, not Tensor"):
            run_onnx(net.eval(), str(tmp_path / "net.onnx"), (X, EDGES), dynamo=False)


@pytest.mark.parametrize("name", quick_or_long(LAYERS, QUICK))
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


@pytest.mark.parametrize(
    ("names", "strict"),
    [long(["LCATv2Conv"], True), (sorted(QUICK), False), long(ALL, True), long(ALL, False)],
    ids=["one-strict", "quick", "all-strict", "all"],
)
def test_exported_programs_load_without_lcat(names, strict, tmp_path):
    for name in names:
        net = make(name)
        program = torch.export.export(net, (X, EDGES), dynamic_shapes=sizes(), strict=strict)
        assert not [operator for operator in names_of_operators(program) if "lcat" in operator]
        torch.export.save(program, tmp_path / f"{name}.pt2")
        torch.save(cases(net), tmp_path / f"{name}.tensors")
    assert load_elsewhere(tmp_path) == sorted(f"{name}.pt2" for name in names)


def load_elsewhere(folder):
    """The files of a folder that another process has run, without lcat and PyG."""
    done = subprocess.run([sys.executable, "-c", LOADER, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("names", [sorted(QUICK), long([*LAYERS, *OF_FAMILIES])], ids=["quick", "all"])
def test_traces_load_without_lcat(names, tmp_path):
    for name in names:
        net = make(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(net, (X, NO_LOOPS), check_trace=False), tmp_path / f"traced {name}.pt2")
        torch.save(cases(net), tmp_path / f"traced {name}.tensors")
    assert load_elsewhere(tmp_path) == sorted(f"traced {name}.pt2" for name in names)


@pytest.mark.parametrize("name", quick_or_long(["GATConv", "LCATConv", "LCATv2Conv", *OF_FAMILIES], ["LCATv2Conv"]))
def test_one_compilation_for_graphs_of_all_sizes(name):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    net = make(name)
    compiled = torch.compile(net, backend=counter, fullgraph=True, dynamic=True)
    frames = []
    for x, edges, expected in outputs(net):
        torch.testing.assert_close(compiled(x, edges), expected, rtol=1e-5, atol=1e-5)
        if min(x.shape[0], edges.shape[1]) > 1:  # torch compiles sizes of 0 and 1 for themselves
            frames.append(counter.frame_count)
    assert frames == frames[:1] * len(frames)


@pytest.mark.parametrize(
    ("name", "arguments", "strict"),
    [
        case if case[0] in QUICK and not case[2] else long(*case)
        for case in (
            *(
                (name, [argument], strict)
                for name, both in EDGE_VALUES.items()
                for argument in both
                for strict in (True, False)
            ),
            *((name, EDGE_VALUES[name], False) for name in FAMILIES),
        )
    ],
)
def test_programs_with_features_or_weights_of_edges(name, arguments, strict):
    """Their number is one with that of the edges, and stays free."""
    net = make_for(name, arguments)
    program = export_with_edge_values(net, arguments, strict).module()
    for x, edges, values, expected in cases(net, arguments):
        torch.testing.assert_close(program(x, edges, **values), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["GCNConv", "LCATConv", "LCATv2Conv", "TransformerConv", "SAGEConv max", "LCATPNAConv"]
)
def test_a_program_takes_graphs_with_one_node_or_edge_and_without(name):
    """torch wants ranges of sizes to begin at 2, and does not hold a program to that."""
    net = make(name)
    program = torch.export.export(net, (X, EDGES), dynamic_shapes=sizes()).module()
    for x, edges in ONE_OR_NONE:
        torch.testing.assert_close(program(x, edges), net(x, edges))


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")  # torch's own packaging
@pytest.mark.long
@pytest.mark.parametrize("name", [*LAYERS, *OF_FAMILIES, *UPGRADED, "models.LCAT"])
def test_aot_inductor_packages_load_without_lcat(name, tmp_path):
    net = make(name)
    program = torch.export.export(net, (X, EDGES), dynamic_shapes=sizes())
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "aoti.pt2"))
    torch.save(cases(net), tmp_path / "aoti.tensors")
    assert load_elsewhere(tmp_path) == ["aoti.pt2"]


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")
@pytest.mark.long
@pytest.mark.parametrize("name", EDGE_VALUES)
def test_aot_inductor_packages_with_features_and_weights_of_edges(name, tmp_path):
    arguments = EDGE_VALUES[name]
    net = make_for(name, arguments)
    program = export_with_edge_values(net, arguments)
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "aoti.pt2"))
    torch.save(cases(net, arguments), tmp_path / "aoti.tensors")
    assert load_elsewhere(tmp_path) == ["aoti.pt2"]


@pytest.mark.long
@pytest.mark.parametrize("name", EDGE_VALUES)
def test_onnx_with_features_and_weights_of_edges(name, tmp_path):
    """By torch.export; names of inputs are those of the arguments."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    onnxruntime.set_default_logger_severity(3)
    arguments, path = EDGE_VALUES[name], str(tmp_path / "net.onnx")
    net = make_for(name, arguments)
    program = export_with_edge_values(net, arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(program, f=path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    names = [node.name for node in session.get_inputs()]
    assert set(names) == {"x", "edge_index", *arguments}
    for x, edges, values, expected in cases(net, arguments):
        arrays = {"x": x, "edge_index": edges, **values}
        (out,) = session.run(None, {name: arrays[name].numpy() for name in names})
        torch.testing.assert_close(torch.from_numpy(out), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(lcat.ops.native_status().instruction_set is None, reason="no compiled kernels")
@pytest.mark.parametrize("name", ["GCNConv", "LCATConv", "LCATv2Conv", "models.GATv2", *OF_FAMILIES])
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
