"""Own data sets from tables: pandas frames and CSV files, with errors that say where in the file."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from lcat.data import DataError, from_csv, from_frames, load_file

NODES = """id,age,label,income,split
ann,31,b,2.5,train
bob,25,a,1.9,train
cy,47,b,3.1,val
dee,52,,2.2,
eve,33,a,2.0,test
"""
EDGES = """source,target,weight,years
ann,bob,1,3
bob,cy,0.5,1
cy,cy,1,0
ann,bob,2,4
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "edges.csv").write_text(EDGES)
    return tmp_path / "nodes.csv"


def test_a_csv_file_says_everything(files):
    own = load_file(files)
    data = own.data
    assert own.name == "nodes"
    assert torch.allclose(data.x, torch.tensor([[31, 2.5], [25, 1.9], [47, 3.1], [52, 2.2], [33, 2]]))
    assert data.y.tolist() == [1, 0, 1, -1, 0]
    assert data.edge_index.tolist() == [[0, 1, 2, 0], [1, 2, 2, 1]]
    assert data.edge_weight.tolist() == [1, 0.5, 1, 2]
    assert data.edge_attr.tolist() == [[3], [1], [0], [4]]
    split = own.split(0)
    assert [part.nonzero().view(-1).tolist() for part in (split.train, split.val, split.test)] == [[0, 1], [2], [4]]
    assert own.steps == (
        "features: age, income",
        "1 node without a label",
        "classes numbered: a is 0, b is 1",
        "features of edges: years",
    )


def test_both_directions_once(files):
    own = from_csv(files, undirected=True)
    assert own.data.edge_index.tolist() == [[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]]
    # The first of two equal edges counts; its reverse has its values.
    assert own.data.edge_weight.tolist() == [1, 1, 0.5, 0.5, 1]
    assert own.data.edge_attr.tolist() == [[3], [3], [1], [1], [0]]
    assert own.steps[-2:] == ("2 reverses of edges added", "1 repetition of edges left out")


def test_features_can_be_scaled(files):
    own = from_csv(files, scale=True)
    assert torch.allclose(own.data.x.mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(own.data.x.std(0, correction=0), torch.ones(2), atol=1e-6)
    assert "features scaled" in own.steps[-1]
    constant = from_frames({"x": [3.3, 3.3], "label": [0, 1]}, {"source": [0], "target": [1]}, scale=True)
    assert constant.data.x.tolist() == [[0], [0]]


def test_frames_and_files_agree(files):
    nodes, edges = pd.read_csv(files), pd.read_csv(files.with_name("edges.csv"))
    one, two = from_csv(files), from_frames(nodes, edges)
    for key in ("x", "y", "edge_index", "edge_weight", "edge_attr"):
        assert torch.equal(one.data[key], two.data[key]), key
    assert one.steps == two.steps
    assert torch.equal(one.split(0).train, two.split(0).train)


@pytest.mark.parametrize("names", [[7, 3, 5], [7.0, 3.0, 5.0], ["7", "3", "5"], pd.array([7, 3, 5], dtype="Int64")])
def test_names_of_nodes_are_the_same_as_texts_and_numbers(names):
    nodes = pd.DataFrame({"id": names, "x": [1, 2, 3], "label": [0, 1, 0]})
    edges = pd.DataFrame({"src": [7, 3], "dst": ["3", "5"]})
    assert from_frames(nodes, edges).data.edge_index.tolist() == [[0, 1], [1, 2]]


def test_without_names_nodes_are_numbered():
    nodes = pd.DataFrame({"x": [1, 2, 3], "label": [0, 1, 0]}, index=[10, 11, 12])
    edges = pd.DataFrame({"from": [0], "to": [2]})
    assert from_frames(nodes.reset_index(drop=True), edges).data.edge_index.tolist() == [[0], [2]]


@pytest.mark.parametrize(
    ("labels", "y", "steps"),
    [
        ([0, 2, 1], [0, 2, 1], ()),
        ([2001, 1999, 2001], [1, 0, 1], ("classes numbered: 1999 is 0, 2001 is 1",)),
        ([10, 9, -1], [1, 0, -1], ("1 node without a label", "classes numbered: 9 is 0, 10 is 1")),
        ([True, False, None], [1, 0, -1], ("1 node without a label",)),
        (pd.array([1, pd.NA, 0], dtype="Int64"), [1, -1, 0], ("1 node without a label",)),
        ([2**60, 2**60 + 1, 2**60], [0, 1, 0], (f"classes numbered: {2**60} is 0, {2**60 + 1} is 1",)),
        (["1e30", "7", "7.0"], [1, 0, 0], ("classes numbered: 7 is 0, 1000000000000000019884624838656 is 1",)),
        (pd.Categorical(["b", None, "a"]), [1, -1, 0], ("1 node without a label", "classes numbered: a is 0, b is 1")),
    ],
)
def test_labels_are_numbered(labels, y, steps):
    own = from_frames(pd.DataFrame({"x": [1, 2, 3], "label": labels}), {"source": [0], "target": [1]})
    assert own.data.y.tolist() == y
    assert own.steps[1:] == steps


@pytest.mark.parametrize(
    ("file", "old", "new", "match"),
    [
        ("nodes.csv", "47", "old", r"nodes\.csv, line 4, column age: expected a number, got 'old': write words as"),
        ("nodes.csv", "47", "", r"nodes\.csv, line 4, column age: expected a number, got nothing"),
        ("nodes.csv", "47", "nan", r"line 4, column age: expected a number, got 'nan'"),
        ("nodes.csv", "47", "inf", r"line 4, column age: expected a number, got 'inf'"),
        ("nodes.csv", "cy,", "bob,", r"line 4, column id: expected a name that no other node has, got 'bob'"),
        ("nodes.csv", "cy,", ",", r"line 4, column id: expected the name of a node, got nothing"),
        ("nodes.csv", "val", "valley", r"line 4, column split: expected train, val or test, .* got 'valley'"),
        ("nodes.csv", "3.1,val", "3.1,val,7", r"nodes\.csv, line 4: expected 5 values, one per name .*, got 6"),
        ("nodes.csv", "age", "", r"nodes\.csv: expected a name for column 2 of 5, got an empty one"),
        ("nodes.csv", "age", "income", r"expected columns of different names, got 'income' twice"),
        ("nodes.csv", "label", "lbl", r"nodes\.csv: expected a column with labels, .* got id, age, lbl, income, split"),
        ("nodes.csv", NODES, "", r"nodes\.csv: expected names of columns, got nothing"),
        ("nodes.csv", NODES, "id,label\n", r"nodes\.csv: .* got no rows"),
        ("nodes.csv", NODES, "id,label\na,0\nb,1\n", r"expected a column of numbers, .* got id, label"),
        ("nodes.csv", "ann,31", 'ann,"31', r"nodes\.csv, line \d+: this is no CSV"),
        ("edges.csv", "cy,cy", "cy,zed", r"edges\.csv, line 4, column target: expected the name of a node.*zed"),
        ("edges.csv", "0.5,1", "half,1", r"edges\.csv, line 3, column weight: expected a number, got 'half'"),
        ("edges.csv", "0.5,1", "0.5,one", r"edges\.csv, line 3, column years: expected a number, got 'one'"),
        ("edges.csv", "source", "begin", r"edges\.csv: expected columns source and target .* got begin, target"),
    ],
)  # fmt: skip
def test_wrong_files_are_named_by_line_and_column(files, file, old, new, match):
    path = files.with_name(file)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=match) as caught:
        load_file(files)
    assert "\n" not in str(caught.value)


def test_lines_are_those_of_the_file(files):
    """Empty lines and cells of several lines count."""
    files.write_text('id,x,label\n\nann,1,"two\nlines"\n\nbob,none,b\n')
    with pytest.raises(DataError, match="line 6, column x: expected a number, got 'none'"):
        load_file(files)


def test_files_that_are_no_text_or_missing(files):
    files.write_bytes(b"id,x,label\nann,1,a\nb\xff,2,b\n")
    with pytest.raises(DataError, match=r"nodes\.csv, line 3: expected text in UTF-8"):
        load_file(files)
    files.with_name("edges.csv").unlink()
    files.write_text(NODES)
    with pytest.raises(DataError, match=r"there is no file .*edges\.csv"):
        load_file(files)
    files.rename(files.with_name("table.csv"))
    with pytest.raises(DataError, match=r"table\.csv: expected a file of nodes with 'nodes' in its name"):
        load_file(files.with_name("table.csv"))


@pytest.mark.parametrize(("separator", "words"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_are_named(files, separator, words):
    files.write_text(NODES.replace(",", separator))
    way_out = re.escape(f"pandas.read_csv(file, sep={separator!r}) and pass the frame to from_frames")
    with pytest.raises(DataError, match=f"line 1: expected names separated by commas, got {words}; read .* {way_out}"):
        from_csv(files)


def test_byte_order_mark_of_excel(files):
    files.write_bytes(b"\xef\xbb\xbf" + NODES.encode())
    assert load_file(files).num_classes == 2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"label": "klass"}, r"the frame of nodes: there is no column 'klass' \(did you mean class\?\)"),
        ({"source": "a"}, "the frame of edges: there is no column 'a'"),
        ({"drop": ["xx"]}, "there is no column 'xx' to drop"),
    ],
)
def test_wrong_columns(arguments, match):
    nodes = pd.DataFrame({"x": [1, 2], "class": [0, 1]})
    with pytest.raises(DataError, match=match):
        from_frames(nodes, {"source": [0], "target": [1]}, **arguments)


def test_columns_are_named_by_the_caller_or_left_out():
    nodes = {"key": ["a", "b"], "kind": [1, 0], "words": ["one", "two"], "x": [1, 2]}
    edges = {"u": ["a"], "v": ["b"], "when": ["today"]}
    own = from_frames(nodes, edges, node_id="key", label="kind", source="u", target="v", drop=["words", "when"])
    assert own.data.x.tolist() == [[1], [2]]
    assert own.data.edge_index.tolist() == [[0], [1]]


@pytest.mark.parametrize("frame", [7, None, {"x": 3}, {"x": [1, 2], "label": [1]}, {}, {"x": [], "label": []}])
def test_what_is_no_frame(frame):
    with pytest.raises(DataError, match="the frame of nodes: expected"):
        from_frames(frame, {"source": [0], "target": [0]})


def test_the_index_of_a_frame_names_the_nodes():
    nodes = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "label": [0, 1, 0, 1]})
    edges = {"source": [3, 1], "target": [2, 3]}
    for frame in (nodes.iloc[[3, 1, 2]], nodes[nodes.x > 0], nodes.sample(frac=1, random_state=1)):
        own = from_frames(frame, edges)
        assert own.data.x[own.data.edge_index].flatten().tolist() == [3, 1, 2, 3]
        assert own.steps[0] == "nodes named by the index of the frame"
    names = pd.Index(["a", "b", "c", "d"], name="id")
    for node_id in (None, "id"):
        own = from_frames(nodes.set_index(names), {"source": ["a"], "target": ["d"]}, node_id=node_id)
        assert own.data.edge_index.tolist() == [[0], [3]]
        assert own.steps[0] == "nodes named by the index id of the frame"


def test_a_plain_index_and_a_column_id_say_what_they_did_before():
    nodes = pd.DataFrame({"x": [0.0, 1.0], "label": [0, 1]}, index=[0, 1])
    assert from_frames(nodes, {"source": [0], "target": [1]}).steps[0] == "features: x"
    with_ids = nodes.assign(id=["a", "b"]).set_index(pd.Index([7, 8]))
    assert from_frames(with_ids, {"source": ["a"], "target": ["b"]}).data.edge_index.tolist() == [[0], [1]]


def test_names_that_the_index_does_not_have():
    nodes = pd.DataFrame({"x": [0.0, 1.0], "label": [0, 1]})
    edges = {"source": [0], "target": [5]}
    with pytest.raises(DataError, match=r"got 5: without a column id the names of the nodes are 0 to 1; add such"):
        from_frames(nodes, edges)
    with pytest.raises(DataError, match=r"got 5: without a column id the index .* nodes\.reset_index\(drop=True\)"):
        from_frames(nodes.iloc[::-1], edges)
    with pytest.raises(DataError, match=r"row 1, index: expected a name that no other node has, got 0: .*reset_index"):
        from_frames(nodes.set_index(pd.Index([0, 0])), edges)


SEVERAL = {
    "id": ["a", "b", "c", "d", "e", "f"],
    "size": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "height": [1.5, None, 2.5, 3.0, None, 1.0],
    "weight": [10, 20, None, 40, None, 60],
}
ENDS = {"source": ["a", "b", "c"], "target": ["b", "c", "d"]}


def test_several_targets():
    own = from_frames(pd.DataFrame(SEVERAL), ENDS, label=["height", "weight"])
    assert own.task == "node-regression"
    nan = math.nan
    expected = torch.tensor([[1.5, 10], [nan, 20], [2.5, nan], [3, 40], [nan, nan], [1, 60]])
    assert torch.equal(own.data.y.nan_to_num(-1), expected.nan_to_num(-1))
    assert own.data.x.tolist() == [[1], [2], [3], [4], [5], [6]]
    assert own.classes.tolist() == [0, 0, 0, 0, -1, 0]
    assert own.steps == (
        "features: size",
        "labels: height, weight",
        "1 node without a label",
        "2 single labels unknown",
    )
    assert not bool((own.split(0).train | own.split(0).val | own.split(0).test)[4])


def test_several_targets_in_files(tmp_path):
    pd.DataFrame(SEVERAL).to_csv(tmp_path / "nodes.csv", index=False)
    pd.DataFrame(ENDS).to_csv(tmp_path / "edges.csv", index=False)
    one = from_csv(tmp_path / "nodes.csv", label=["weight", "height"])
    assert one.data.y[0].tolist() == [10, 1.5]
    named = {"height": "label.height", "weight": "label.weight"}
    pd.DataFrame(SEVERAL).rename(columns=named).to_csv(tmp_path / "nodes.csv", index=False)
    two = from_csv(tmp_path / "nodes.csv")
    assert torch.equal(two.data.y.nan_to_num(-1), one.data.y.flip(1).nan_to_num(-1))
    assert "labels: label.height, label.weight" in two.steps
    alone = from_csv(tmp_path / "nodes.csv", label=["label.height"], drop=["label.weight"])
    assert alone.data.y.dim() == 1


def test_several_labels_of_0_and_1():
    nodes = {"x": [1.0, 2.0, 3.0], "tall": [0, 1, None], "old": [True, False, True]}
    own = from_frames(pd.DataFrame(nodes), {"source": [0], "target": [1]}, label=["tall", "old"])
    assert own.task == "node-multilabel"
    assert own.data.y[:2].tolist() == [[0, 1], [1, 0]]
    numbers = from_frames(nodes, {"source": [0], "target": [1]}, label=["tall", "old"], task="node-regression")
    assert numbers.task == "node-regression"


@pytest.mark.parametrize(
    ("label", "task", "words"),
    [
        (["height", "wight"], None, r"there is no column 'wight' \(did you mean weight"),
        ([], None, "the name of a column as label=, or several of them, got an empty list"),
        (["height", "height"], None, "different names of columns as label=, got 'height' twice"),
        (["height", "weight"], "node-classification", "expected one column of classes, got height, weight: several"),
        (["height", "id"], None, "row 0, column id: expected a number, got 'a': leave the cell empty"),
        (3, None, "there is no column 3"),
    ],
)
def test_several_labels_that_cannot_be_read(label, task, words):
    with pytest.raises(DataError, match=words):
        from_frames(pd.DataFrame(SEVERAL), ENDS, label=label, task=task)


TIMES_AND_COMPLEX = [
    pd.to_datetime(["2020", "2021", "2022", "2023"]),
    pd.to_timedelta([1, 2, 3, 4]),
    np.array([1j, 2, 3, 4]),
]


@pytest.mark.parametrize("values", TIMES_AND_COMPLEX)
def test_columns_that_only_look_like_numbers(values):
    nodes = pd.DataFrame({"id": [1, 2, 3, 4], "a": 1.0, "label": list("xyxy")})
    edges = pd.DataFrame({"source": [1, 2, 3, 4], "target": [2, 3, 4, 1]})
    with pytest.raises(DataError, match="the frame of nodes, row 0, column when: expected a number"):
        from_frames(nodes.assign(when=values), edges)
    with pytest.raises(DataError, match="the frame of edges, row 0, column when: expected a number"):
        from_frames(nodes, edges.assign(when=values))


EDGES_OF_SIX = pd.DataFrame({"source": [0, 1, 2, 3, 4, 5], "target": [1, 2, 3, 4, 5, 0]})
SIX = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6], "label": [0, 1, 0, 1, 0, 1]})


@pytest.mark.parametrize(
    "masks",
    [
        {"train_mask": [1, 1, 0, 0, 0, 0], "val_mask": [0, 0, 1, 1, 0, 0], "test_mask": [0, 0, 0, 0, 1, 1]},
        {
            "Train_Mask": ["True", "true", "False", "0", "0.0", "0"],
            "valid_mask": [0, 0, 1, 1, 0, 0],
            "test_mask": 4 * [False] + 2 * [True],
        },
    ],
)
def test_masks_are_the_split_and_no_features(masks, tmp_path):
    nodes = SIX.assign(**masks)
    nodes.to_csv(tmp_path / "nodes.csv", index=False)
    EDGES_OF_SIX.to_csv(tmp_path / "edges.csv", index=False)
    for own in (from_frames(nodes, EDGES_OF_SIX), from_csv(tmp_path / "nodes.csv")):
        assert own.data.x.tolist() == [[1], [2], [3], [4], [5], [6]]
        split = own.split(0)
        parts = [mask.nonzero().view(-1).tolist() for mask in (split.train, split.val, split.test)]
        assert parts == [[0, 1], [2, 3], [4, 5]]
        assert own.split_rule == "own masks"


def test_several_masks_are_several_splits():
    part = np.array([[0, 2], [0, 1], [1, 0], [1, 0], [2, 1], [2, 2]])
    masks = {
        f"{name}_mask.{number}": part[:, number] == of
        for number in (1, 0)
        for of, name in enumerate(("train", "val", "test"))
    }
    own = from_frames(SIX.assign(**masks), EDGES_OF_SIX)
    assert own.data.num_features == 1
    assert own.split(0).train.nonzero().view(-1).tolist() == [0, 1]
    assert own.split(1).train.nonzero().view(-1).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"train_mask": [1, 1, 0, 0, 0, 0]}, "come together or not at all; got only train"),
        ({"train_mask": [1, 2, 0, 0, 0, 0]}, "row 1, column train_mask: expected 0 or 1, or false or true, .*got 2"),
        ({"train_mask": [1, None, 0, 0, 0, 0]}, "row 1, column train_mask: expected 0 or 1, .*got nothing"),
        (
            {"train_mask": [1] * 6, "split": ["train"] * 6},
            r"the split once, got the columns split, train_mask: .*drop=",
        ),
        ({"val_mask": [1] * 6, "valid_mask": [1] * 6}, "each mask once, got val_mask, valid_mask"),
        (
            {
                f"{part}_mask.{number}": [1, 0, 1, 0, 1, 0]
                for part, number in (("train", 0), ("train", 1), ("val", 1), ("val", 5), ("test", 0))
            },
            r"masks of the same numbers for train, val and test, got train_mask.0, .*val_mask.5, .*drop=",
        ),
    ],
)
def test_masks_that_are_no_split(columns, words):
    with pytest.raises(DataError, match=words):
        from_frames(SIX.assign(**columns), EDGES_OF_SIX)


def test_masks_can_be_left_out_or_be_the_label():
    nodes = SIX.assign(train_mask=[1, 1, 0, 0, 0, 0])
    assert from_frames(nodes, EDGES_OF_SIX, drop=["train_mask"]).data.num_features == 1
    own = from_frames(nodes, EDGES_OF_SIX, label="train_mask", drop=["label"])
    assert own.data.y.tolist() == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("second", ["y", "Class", "target", "label.age"])
def test_of_two_columns_with_labels_none_is_a_feature(second):
    nodes = SIX.assign(**{second: SIX["label"]})
    with pytest.raises(
        DataError, match=rf"expected labels once, got label, {second}: .*label='label'.*drop=\['{second}'\]"
    ):
        from_frames(nodes, EDGES_OF_SIX)
    assert from_frames(nodes, EDGES_OF_SIX, drop=[second]).data.num_features == 1
    assert from_frames(nodes, EDGES_OF_SIX, label="label").data.num_features == 2


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["0", "1", "nan"], "row 2, column label: expected a number, got 'nan': leave the cell empty where the label"),
        (["a", " NaN", "b"], "row 1, column label: expected a label, got ' NaN': leave the cell empty"),
        (["0", "inf", "1"], "row 1, column label: expected a number, got 'inf'"),
        (["0.5", "1e300", "1"], r"row 1, column label: expected a number of at most 3.4e\+38, as float32 has, got"),
    ],
)
def test_labels_that_are_none(labels, words):
    with pytest.raises(DataError, match=words):
        from_frames(pd.DataFrame({"x": [1, 2, 3], "label": labels}), {"source": [0], "target": [1]})


def test_features_that_float32_does_not_hold():
    nodes = pd.DataFrame({"x": [1, -1e300, 3], "label": [0, 1, 0]})
    with pytest.raises(DataError, match=r"row 1, column x: expected a number of at most 3.4e\+38, .*got -1e\+300"):
        from_frames(nodes, {"source": [0], "target": [1]})
