"""Default settings for every data set, in one table, and the study that runs when nothing is asked for.

They come from the papers of the layers where these say (Cora, CiteSeer, PubMed: Kipf and Welling 2017, Velickovic
et al. 2018) and were otherwise chosen on validation nodes alone. One row holds for all layers; a second, smaller row
holds what attention layers have of their own. Every figure of a study names the settings it was made with.
"""

from __future__ import annotations

from typing import Any

from lcat._text import hint
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import LAYERS
from lcat.study.models.own_hyper import own_base
from lcat.study.models.own_model import OwnModel, find_model, is_model_text

__all__ = ["DEMO_DATASETS", "DEMO_LAYERS", "default_hyper_parameters", "defaults_table", "own_defaults"]

#: What ``lcat study`` runs without arguments: one graph model in which each family wins and fails.
DEMO_DATASETS = (
    "csbm:easy,q=0.1,n=300",
    "csbm:easy,q=0.5,n=300",
    "csbm:hard,q=0.1,n=300",
    "csbm:hard,q=0.3,n=300",
)
DEMO_LAYERS = (
    "gcn",
    "gcn-mean",
    "gat",
    "gatv2",
    "cat",
    "catv2",
    "lcat",
    "lcatv2",
    "gat-theory",
    "cat-theory",
    "lcat-theory",
)

_CITATION = ("cora", "citeseer", "pubmed")
_CO_PURCHASE = ("photo", "computers")
_COAUTHOR = ("cs", "physics")
_HETEROPHILOUS = ("roman-empire", "amazon-ratings", "minesweeper", "tolokers", "questions")

# group -> (settings of every layer, what attention layers have of their own)
_TABLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "citation": (
        {"hidden_channels": 16, "dropout": 0.5, "input_dropout": 0.5, "lr": 0.01, "weight_decay": 5e-4, "epochs": 300},
        {"hidden_channels": 64, "heads": 8, "dropout": 0.6, "input_dropout": 0.6, "lr": 0.005, "epochs": 500},
    ),
    "co-purchase": (
        # Layer norm and dropout on the attention were chosen on Photo's validation nodes (two to four seeds a variant).
        {
            "hidden_channels": 64,
            "heads": 8,
            "dropout": 0.5,
            "norm": "layer",
            "lr": 0.01,
            "weight_decay": 5e-5,
            "epochs": 300,
        },
        {},
    ),
    "coauthor": (
        {
            "hidden_channels": 64,
            "heads": 8,
            "dropout": 0.5,
            "lr": 0.005,
            "weight_decay": 5e-4,
            "epochs": 200,
            "patience": 50,
        },
        {"attention_dropout": 0.0},
    ),
    "heterophilous": (
        {
            "hidden_channels": 64,
            "heads": 8,
            "num_layers": 3,
            "dropout": 0.2,
            "norm": "batch",
            "lr": 0.01,
            "weight_decay": 0.0,
        },
        {},
    ),
    "csbm": (
        # One layer, as in the theory. lambda2 starts where a node weighs about as much as its neighborhood of some
        # one hundred: from 0.5 on such a graph the averages already forget the node, and its gradient vanishes.
        {
            "hidden_channels": 8,
            "heads": 2,
            "num_layers": 1,
            "dropout": 0.0,
            "lr": 0.05,
            "weight_decay": 0.0,
            "epochs": 60,
        },
        {"lambda2_init": 0.01},
    ),
    "other": ({"hidden_channels": 64, "heads": 8, "dropout": 0.5, "lr": 0.01, "weight_decay": 5e-4, "epochs": 200}, {}),
}


def _group(dataset: str) -> str:
    if dataset.startswith("csbm:"):
        return "csbm"
    for group, names in (
        ("citation", _CITATION),
        ("co-purchase", _CO_PURCHASE),
        ("coauthor", _COAUTHOR),
        ("heterophilous", _HETEROPHILOUS),
    ):
        if dataset in names:
            return group
    return "other"


def default_hyper_parameters(dataset: str, layer: str) -> HyperParameters:
    """The settings of ``layer`` on ``dataset`` where nothing else is asked for.

    Args:
        dataset: a name as a study knows it; own data sets get the row "other".
        layer: a name of ``lcat.study.LAYERS``, or an own model such as ``"models.py:MyNet"``.

    Example:
        >>> from lcat.study import default_hyper_parameters
        >>> [
        ...     default_hyper_parameters("cora", layer).hidden_channels
        ...     for layer in ("gcn", "gat")
        ... ]
        [16, 64]
    """
    if not isinstance(dataset, str):
        raise TypeError(f"expected 'dataset' as the name of a data set, got {dataset!r}")
    if isinstance(layer, str) and layer not in LAYERS and is_model_text(layer):
        return own_defaults(dataset, find_model(layer))
    if layer not in list(LAYERS):  # of any type
        raise ValueError(f"there is no layer {layer!r}{hint(layer, LAYERS)}; layers are {', '.join(LAYERS)}")
    common, attention = _TABLE[_group(dataset)]
    return HyperParameters(**{**common, **(attention if LAYERS[layer].attention else {})})


def own_defaults(dataset: str, model: OwnModel) -> HyperParameters:
    """The settings of an own model: the training is that of all layers, the rest is said by its signature.

    Args:
        dataset: a name as a study knows it.
        model: the model.
    """
    return own_base(model, HyperParameters(**_TABLE[_group(dataset)][0]))


def defaults_table() -> list[dict[str, str]]:
    """The table of defaults as rows of text: data sets, settings, and what attention layers have of their own."""
    names = {
        "citation": ", ".join(_CITATION),
        "co-purchase": ", ".join(_CO_PURCHASE),
        "coauthor": ", ".join(_COAUTHOR),
        "heterophilous": ", ".join(_HETEROPHILOUS),
        "csbm": "csbm:...",
        "other": "all others, own data sets",
    }
    return [
        {"data sets": names[group], "all layers": _text(common), "attention layers": _text(attention) or "the same"}
        for group, (common, attention) in _TABLE.items()
    ]


def _text(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
