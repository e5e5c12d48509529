"""Own models: found by name, their settings read from their signature, their mistakes named."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Literal

import pytest
import torch
from torch import nn

from lcat.study import HyperParameters, PlanError, build_model, default_hyper_parameters, make_plan, register_model
from lcat.study.models import own_model
from lcat.study.models.own_model import find_model, model_name
from lcat.study.models.own_settings import as_pairs
from lcat.study.models.own_signature import read_signature

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, num_classes, width=16, depth: int = 2, dropout=0.5, act="relu", fn=torch.relu):
        super().__init__()
        self.lin = nn.Sequential(nn.Linear(in_channels, width), nn.Linear(width, num_classes))
        self.made_with = dict(width=width, depth=depth, dropout=dropout, act=act)

    def forward(self, x, edge_index):
        return self.lin(x)

class Wide(Net):
    def __init__(self, in_channels, num_classes, **settings):
        self.settings = settings
        super().__init__(in_channels, num_classes)

def make(i, c, hidden_channels, *, heads=2):
    return Net(i, c, width=hidden_channels * heads)

number = 3
"""


@pytest.fixture
def net_file(tmp_path, monkeypatch):
    """``nets.py`` in the folder of the call, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NET)
    return tmp_path / "nets.py"


@pytest.fixture
def registry():
    """A registry that is emptied again."""
    before = dict(own_model.REGISTERED)
    own_model.REGISTERED.clear()
    yield
    own_model.REGISTERED.clear()
    own_model.REGISTERED.update(before)


def plan_with(*layers, **change):
    return make_plan(**{"datasets": ["csbm:easy,n=60"], "layers": ["gcn", *layers], "seeds": [0], **change})


def cells_of(plan, layer):
    return [cell for cell in plan.cells() if cell.layer == layer]


def test_names():
    assert [model_name(text) for text in ("a/b.py:Net", "p.m:Net.make", "old=b.py:Net", "gcn", "C:/x/b.py:Net")] == [
        "Net",
        "make",
        "old",
        "gcn",
        "Net",
    ]


def test_settings_are_those_of_the_signature(net_file):
    plan = plan_with("nets.py:Net", overrides={"width": 8, "epochs": 3}, grid={"depth": [1, 3], "lr": [0.1]})
    cells = cells_of(plan, "Net")
    assert [dict(cell.hyper.own) for cell in cells] == [{"act": "relu", "depth": d, "width": 8} for d in (1, 3)]
    assert {cell.hyper.dropout for cell in cells} == {0.5}  # a name that lcat knows is kept there
    assert {cell.hyper.lr for cell in cells} == {0.1}
    assert len(cells_of(plan, "gcn")) == 1
    assert cells_of(plan, "gcn")[0].hyper.own == ()
    model = build_model("nets.py:Net", 4, 2, cells[1].hyper)
    assert model.gnn.made_with == {"width": 8, "depth": 3, "dropout": 0.5, "act": "relu"}


def test_a_shared_name_is_overridden_for_all_layers_and_none_is_lost(net_file):
    plan = plan_with("nets.py:Net", "nets.py:make", "nets.py:Wide", overrides={"dropout": 0.1, "heads": 4, "width": 5})
    net, make, wide = (cells_of(plan, name)[0].hyper for name in ("Net", "make", "Wide"))
    assert (net.dropout, dict(net.own)["width"]) == (0.1, 5)
    assert build_model("nets.py:make", 4, 2, make).gnn.lin[0].out_features == make.hidden_channels * 4
    # A model that takes any settings gets those of models that the plan names, and no others.
    assert build_model("nets.py:Wide", 4, 2, wide).gnn.settings == {"dropout": 0.1, "heads": 4, "width": 5}


def test_settings_without_a_default(net_file):
    hyper = default_hyper_parameters("csbm:easy", "nets.py:make")
    assert hyper.hidden_channels == default_hyper_parameters("csbm:easy", "gcn").hidden_channels
    net_file.write_text(NET + "\nclass Needs(Net):\n    def __init__(self, i, c, rank: int): super().__init__(i, c)\n")
    hyper = default_hyper_parameters("csbm:easy", "nets.py:Needs")
    with pytest.raises(ValueError, match=r"Needs has no default for rank: set it in \[overrides\], or --set rank"):
        build_model("nets.py:Needs", 4, 2, hyper)
    with pytest.raises(PlanError, match=r"Needs has no default for rank: set it in \[overrides\], or --set rank"):
        plan_with("nets.py:Needs")
    assert dict(cells_of(plan_with("nets.py:Needs", overrides={"rank": 3}), "Needs")[0].hyper.own) == {"rank": 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overrides": {"widht": 3}}, ["no setting 'widht' (did you mean width?)", "of Net: width, depth, act"]),
        ({"grid": {"depht": [1]}}, ["grid", "did you mean depth?"]),
        ({"search": {"space": {"dept": [1]}}}, ["search.space", "did you mean depth?"]),
        ({"search": {"space": {"depth": {"low": 1.5, "high": 3}}}}, ["depth takes whole numbers"]),
        ({"overrides": {"depth": 1.5}}, ["overrides: depth: must be a whole number; got 1.5"]),
        ({"grid": {"act": [1]}}, ["act", "must be text; got 1"]),
        ({"overrides": {"width": {"a": 1}}}, ["width", "must be text, a number"]),
        ({"overrides": {"width": 3}, "grid": {"width": [1, 2]}}, ["grid and overrides both set width"]),
        ({"layers": ["nets.py:Nett"]}, ["nets.py has no 'Nett' (did you mean Net?); it has Net, Wide, make"]),
        ({"layers": ["net.py:Net"]}, ["there is no file net.py (looked for as"]),
        ({"layers": ["no_pk.nets:Net"]}, ["there is no module no_pk.nets (no no_pk in"]),
        ({"layers": ["nets.py"]}, ["there is no layer 'nets.py'", "your own as in models.py:MyNet"]),
        ({"layers": ["nets.py:"]}, ["expected"]),
        ({"layers": ["nets.py:number"]}, ["nets.py:number must be a class, or a function that makes a model"]),
        ({"layers": ["nets.py:Net", "./nets.py:Net"]}, ["both be called Net", "as in new=./nets.py:Net"]),
        ({"layers": ["GAT=nets.py:Net"]}, ["GAT is what tables call the layer gat", "mine=models.py:MyNet"]),
    ],
)
def test_mistakes_are_named_before_anything_runs(net_file, change, words):
    with pytest.raises(PlanError) as caught:
        plan_with(**{"layers": ["gcn", "nets.py:Net"], **change})
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_search_knows_the_kinds(net_file):
    space = {"depth": {"low": 1, "high": 3}, "width": [4, 8], "dropout": {"low": 0, "high": 0.5}}
    plan = plan_with("nets.py:Net", search={"space": space, "trials": 2})
    assert [plan.number_type("Net", name) for name in ("depth", "dropout", "act")] == [int, float, None]
    assert plan.settings_that_matter("gcn", space) == {"dropout": space["dropout"]}
    assert plan.settings_that_matter("Net", space) == space


def test_a_file_that_cannot_be_imported_fails_where_it_is_made(net_file):
    net_file.write_text("import no_such_package\n")
    plan = plan_with("nets.py:Net", overrides={"width": 3})
    with pytest.raises(ImportError, match=r"nets.py:Net cannot be imported: ModuleNotFoundError: No module named"):
        build_model("nets.py:Net", 4, 2, cells_of(plan, "Net")[0].hyper)
    net_file.write_text("raise SystemExit(3)\n")
    assert isinstance(find_model("nets.py:Net").problem, SystemExit)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        ("def forward(self, x, adj, other): return x", r"Net.forward must take \(x, edge_index\).*\(x, adj, other\)"),
        ("def forward(self, x): return x", r"must take \(x, edge_index\)"),
        ("def forward(self, x, edge_weight): return x", "must take x and edge_index first"),
    ],
)
def test_the_forward_is_checked(net_file, forward, words):
    net_file.write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        f"    def __init__(self, i, c): super().__init__()\n    {forward}\n"
    )
    with pytest.raises(TypeError, match=words):
        build_model("nets.py:Net", 4, 2, HyperParameters())


@pytest.mark.parametrize("made", ["None", "nn.Linear", "3"])
def test_what_is_no_model_is_named(net_file, made):
    net_file.write_text(f"from torch import nn\ndef make(i, c): return {made}\n")
    with pytest.raises(TypeError, match=r"nets.py:make must make a torch.nn.Module; it returned"):
        build_model("nets.py:make", 4, 2, HyperParameters())


def test_edges_are_handed_over_where_the_forward_takes_them(net_file):
    net_file.write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self, i, c, edge_dim): super().__init__(); self.edge_dim = edge_dim\n"
        "    def forward(self, x, edge_index, edge_attr=None, edge_weight=None): return edge_attr, edge_weight\n"
    )
    from torch_geometric.data import Data

    model = build_model("nets.py:Net", 4, 2, HyperParameters(), edge_dim=3)
    model.use_edge_values(Data(edge_attr=torch.ones(2, 3), edge_weight=torch.ones(2)))
    attr, weight = model(torch.ones(3, 4), torch.tensor([[0, 1], [1, 2]]))
    assert (model.gnn.edge_dim, attr.shape, weight.shape) == (3, (2, 3), (2,))


def test_packages(net_file, monkeypatch):
    (net_file.parent / "own_package_of_a_test").mkdir()
    (net_file.parent / "own_package_of_a_test" / "__init__.py").write_text("")
    net_file.rename(net_file.parent / "own_package_of_a_test" / "nets.py")
    (net_file.parent / "own_package_of_a_test" / "parts.py").write_text("WIDTH = 3\n")
    path = list(sys.path)
    first = find_model("own_package_of_a_test.nets:Net", net_file.parent)
    assert first.source.file.endswith("nets.py")
    assert sys.path == path
    del sys.modules["own_package_of_a_test"], sys.modules["own_package_of_a_test.nets"]


def test_entry_points(monkeypatch):
    point = EntryPoint(
        name="linear-of-a-package", value="tests.study.models.test_own_models:Plain", group="lcat.models"
    )
    own_model._of_packages.cache_clear()
    monkeypatch.setattr(own_model, "entry_points", lambda group: [point] if group == "lcat.models" else [])
    try:
        plan = plan_with("linear-of-a-package", overrides={"rank": 2})
        assert dict(cells_of(plan, "linear-of-a-package")[0].hyper.own) == {"rank": 2}
        with pytest.raises(PlanError, match="did you mean linear-of-a-package"):
            plan_with("linear-of-package")
    finally:
        own_model._of_packages.cache_clear()


class Plain(nn.Linear):
    def __init__(self, i, c, rank=1):
        super().__init__(i, c)

    def forward(self, x, edge_index):
        return super().forward(x)


def test_registered_models(registry):
    register_model("plain", Plain)
    register_model("plain", Plain)
    assert plan_with("plain", grid={"rank": [1, 2]}).hypers("csbm:easy,n=60", "plain")[1].own == (("rank", 2),)
    with pytest.raises(ValueError, match="registered already"):
        register_model("plain", nn.Linear)
    with pytest.raises(ValueError, match="what tables call the layer gat"):
        register_model("GAT", Plain)
    with pytest.raises(ValueError, match="expected a name of letters"):
        register_model("a b", Plain)
    with pytest.raises(TypeError, match="made already"):
        register_model("made", Plain(1, 2))
    with pytest.raises(TypeError, match="must take the numbers of features and classes first"):
        register_model("none", lambda: None)


def test_the_source_is_known_by_its_hash(net_file):
    first = find_model("nets.py:Net").source
    assert (first.file, first.text) == (str(net_file), NET)
    # What it imports from beside it counts, and where the folder lies does not.
    hashes = set()
    for number, text in enumerate(("other = 1", "other = 2", "other = 1")):
        folder = net_file.parent / f"copy{number}"
        folder.mkdir()
        (folder / "parts_of_a_test.py").write_text(f"from torch import nn\nclass Part(nn.Linear): {text}\n")
        (folder / "nets.py").write_text("from parts_of_a_test import Part\n" + NET)
        hashes.add(find_model(f"copy{number}/nets.py:Net").source.hash)
        del sys.modules["parts_of_a_test"]
    assert len(hashes) == 2
    assert first.hash not in hashes


def annotated(
    i,
    c,
    a: int | None = None,
    b: Literal["x", "y"] = "x",
    d: float = 1,
    e: bool = False,
    f=None,
    g: NoSuchType = 0,  # noqa: F821
):
    """Not called."""


def test_kinds_by_annotation():
    def other(i, c, a: int | None = None, b: Literal["x", "y"] = "x", d: float = 1, e: bool = False, f=None):
        """Not called."""

    settings, takes_any = read_signature(other, "other")
    assert not takes_any
    assert [settings[name].checked("none") for name in "af"] == [None, None]
    assert type(settings["d"].checked(2)) is float
    assert settings["a"].checked(2.0) == 2
    for name, value in (("a", 1.5), ("b", "z"), ("e", 1), ("d", True), ("d", None), ("e", "true")):
        with pytest.raises(ValueError, match="must be"):
            settings[name].checked(value)
    assert settings["f"].checked([1, [2, "a"]]) == (1, (2, "a"))
    assert set(read_signature(annotated, "annotated")[0]) == set("abdefg")


NAMED = """
from torch import nn

class Base(nn.Module):
    def __init__(self, **made_with):
        super().__init__()
        self.made_with = made_with

    def forward(self, x, edge_index):
        return x

class Third(Base):
    def __init__(self, in_channels, hidden_channels=64, out_channels=2):
        super().__init__(i=in_channels, hidden=hidden_channels, o=out_channels)

class Swapped(Base):
    def __init__(self, num_classes, in_channels, hidden_channels=64):
        super().__init__(i=in_channels, hidden=hidden_channels, o=num_classes)

class Keywords(Base):
    def __init__(self, *, n_classes, num_features, hidden_channels=64):
        super().__init__(i=num_features, hidden=hidden_channels, o=n_classes)

class Short(Base):
    def __init__(self, nfeat, hidden_channels, nclass):
        super().__init__(i=nfeat, hidden=hidden_channels, o=nclass)

class Second(Base):
    def __init__(self, i, n_cls, hidden_channels=64, out_channels=3, out_dim=4):
        super().__init__(i=i, hidden=hidden_channels, o=n_cls)

class Places(Base):
    def __init__(self, a, b, hidden_channels=64, out_dim=4):
        super().__init__(i=a, hidden=hidden_channels, o=b)

class Hidden(Base):
    def __init__(self, in_channels, hidden_channels, size=2):
        super().__init__()

class Nhid(Base):
    def __init__(self, nfeat, nhid, size):
        super().__init__()

class Backwards(Base):
    def __init__(self, size, in_channels):
        super().__init__()

class NoFeatures(Base):
    def __init__(self, hidden_channels, num_classes):
        super().__init__()
"""


@pytest.mark.parametrize("name", ["Third", "Swapped", "Keywords", "Short", "Second", "Places"])
def test_numbers_of_features_and_classes_go_by_name(net_file, name):
    net_file.write_text(NAMED)
    plan = plan_with(f"nets.py:{name}", overrides={"hidden_channels": 8})
    cell = cells_of(plan, name)[0]
    model = build_model(f"nets.py:{name}", 5, 3, cell.hyper)
    assert model.gnn.made_with == {"i": 5, "hidden": 8, "o": 3}


def test_a_model_with_the_signature_of_pyg(net_file):
    layer = "PyG=torch_geometric.nn:GAT"
    cell = cells_of(plan_with(layer, overrides={"hidden_channels": 8, "num_layers": 3}), "PyG")[0]
    model = build_model(layer, 5, 3, cell.hyper).gnn
    assert (model.in_channels, model.hidden_channels, model.num_layers, model.out_channels) == (5, 8, 3, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Hidden", "number of classes .* second parameter is hidden_channels"),
        ("Nhid", "number of classes .* second parameter is nhid"),
        ("Backwards", "number of classes .* second parameter is in_channels"),
        ("NoFeatures", "number of features .* first parameter is hidden_channels"),
    ],
)
def test_a_setting_in_place_of_the_number_of_classes(net_file, name, words):
    net_file.write_text(NAMED)
    with pytest.raises(PlanError, match=words):
        plan_with(f"nets.py:{name}")


def test_own_pairs():
    assert as_pairs({"b": [1], "a": None}) == (("a", None), ("b", (1,)))
    assert HyperParameters(own={"a": 1}) == HyperParameters(own=[["a", 1]])
    for wrong in ({"a": object()}, 3, [1], [["a", 1, 2]]):
        with pytest.raises(ValueError, match="own"):
            HyperParameters(own=wrong)
    assert hash(HyperParameters(own={"a": [1, 2]})) == hash(HyperParameters(own={"a": (1, 2)}))


def test_keys_of_cells_are_those_of_before():
    """Stores that were written before own models and recipes have these keys."""
    from lcat.study import Cell

    cell = Cell(dataset="cora", layer="gcn", seed=0, hyper=HyperParameters(lambda1_init=0.5, lambda2_init=0.5))
    assert (cell.key, cell.config_key, cell.model_key) == ("a99feda3363af648", "7697c892c2e1964b", "7fdd7f60491d76ab")
