"""Functions of lcat.ogb with arguments of another kind."""

import pytest
import torch

from lcat.data import load_ogb, write_standin
from lcat.ogb import build_node_model, default_settings, leaderboard_block, main, run_seeds

SETTINGS = default_settings("ogbn-arxiv", epochs=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("ogb")
    write_standin("ogbn-arxiv", root)
    return load_ogb("ogbn-arxiv", root, download=False, progress=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "ogbn-arxiv"}, "expected 'dataset' as lcat.data.load_ogb returns it, got str"),
        ({"settings": {"epochs": 1}}, "expected 'settings' of type lcat.ogb.Settings, got dict: default_settings"),
        (
            {"settings": default_settings("ogbn-products")},
            "expected settings of ogbn-arxiv, got those of ogbn-products",
        ),
        ({"seeds": 3}, "expected seeds as a list of whole numbers in .*, got 3"),
        ({"seeds": "0-9"}, "expected seeds as a list of whole numbers in .*, got '0-9'"),
        ({"seeds": []}, r"expected seeds as a list of whole numbers in .*, got \[\]"),
        ({"seeds": [0, 1.5]}, "expected seeds as a list of whole numbers"),
        ({"seeds": [-1]}, "expected seeds as a list of whole numbers"),
    ],
)
def test_runs_of_other_things(dataset, tmp_path, change, words):
    arguments = {"dataset": dataset, "settings": SETTINGS, "seeds": [0], **change}
    with pytest.raises((TypeError, ValueError), match=words):
        run_seeds(*arguments.values(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_models_and_blocks_of_nothing(dataset):
    with pytest.raises(TypeError, match=r"expected 'graph' as lcat.ogb.node_graph returns it, a Data, got Tensor"):
        build_node_model(SETTINGS, torch.ones(3, 4), 40)
    with pytest.raises(
        ValueError, match="expected the results of at least one seed, as run_seeds returns them, got none"
    ):
        leaderboard_block(dataset, SETTINGS, [], command="lcat")
    with pytest.raises(TypeError, match=r"as a list of texts, got '--epochs 1': pass \['--epochs', '1'\]"):
        main("ogbn-arxiv", "--epochs 1")
