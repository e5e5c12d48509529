"""Settings by recipe: the plain ones of lcat, those of the layers' papers, and those that published tuning found."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from lcat._text import hint
from lcat.study.models.defaults import default_hyper_parameters
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import layer_spec

__all__ = ["RECIPE_NAMES", "RecipeName", "recipe_hyper_parameters"]

RecipeName = Literal["plain", "paper", "tuned", "tuned-gcn", "tuned-sage", "tuned-gat"]
#: Names of recipes.
RECIPE_NAMES: tuple[RecipeName, ...] = get_args(RecipeName)
#: Data sets whose plain settings are those of the papers of GCN and GAT.
_PAPER = ("cora", "citeseer", "pubmed")


class _Tuned(NamedTuple):
    """A row of "Classic GNNs are Strong Baselines" (NeurIPS 2024; repository LUOyk1999/tunedGNN)."""

    lr: float
    hidden_channels: int
    num_layers: int
    dropout: float
    norm: str
    residual: bool
    epochs: int
    weight_decay: float
    linear_in: bool = False


# data set -> rows of GCN, GraphSAGE and GAT
_TUNED: dict[str, tuple[_Tuned, _Tuned, _Tuned]] = {
    "cora": (
        _Tuned(0.001, 512, 3, 0.7, "none", False, 500, 5e-4),
        _Tuned(0.001, 256, 3, 0.7, "none", False, 500, 5e-4),
        _Tuned(0.001, 512, 3, 0.2, "none", True, 500, 5e-4),
    ),
    "citeseer": (
        _Tuned(0.001, 512, 2, 0.5, "none", False, 500, 0.01),
        _Tuned(0.001, 512, 3, 0.2, "none", False, 500, 0.01),
        _Tuned(0.001, 256, 3, 0.5, "none", True, 500, 0.01),
    ),
    "computers": (
        _Tuned(0.001, 512, 3, 0.5, "layer", False, 1000, 5e-5),
        _Tuned(0.001, 64, 4, 0.3, "layer", False, 1000, 5e-5),
        _Tuned(0.001, 64, 2, 0.5, "layer", False, 1000, 5e-5),
    ),
    "photo": (
        _Tuned(0.001, 256, 6, 0.5, "layer", True, 1000, 5e-5),
        _Tuned(0.001, 64, 6, 0.2, "layer", True, 1000, 5e-5),
        _Tuned(0.001, 64, 3, 0.5, "layer", True, 1000, 5e-5),
    ),
    "cs": (
        _Tuned(0.001, 512, 2, 0.3, "layer", True, 1500, 5e-4),
        _Tuned(0.001, 512, 2, 0.5, "layer", True, 1500, 5e-4),
        _Tuned(0.001, 256, 1, 0.3, "layer", True, 1500, 5e-4),
    ),
    "physics": (
        _Tuned(0.001, 64, 2, 0.3, "layer", True, 1500, 5e-4),
        _Tuned(0.001, 64, 2, 0.7, "batch", True, 1500, 5e-4),
        _Tuned(0.001, 256, 2, 0.7, "batch", True, 1500, 5e-4),
    ),
    "wiki-cs": (
        _Tuned(0.001, 256, 3, 0.5, "layer", False, 1000, 0.0),
        _Tuned(0.001, 256, 2, 0.7, "layer", False, 1000, 0.0),
        _Tuned(0.001, 512, 2, 0.7, "layer", True, 1000, 0.0),
    ),
    "chameleon-filtered": (
        _Tuned(0.005, 512, 5, 0.2, "none", False, 200, 0.001),
        _Tuned(0.01, 256, 4, 0.7, "batch", True, 200, 0.001),
        _Tuned(0.01, 256, 2, 0.7, "batch", True, 200, 0.001),
    ),
    "squirrel-filtered": (
        _Tuned(0.01, 256, 4, 0.7, "batch", True, 500, 5e-4),
        _Tuned(0.01, 256, 3, 0.7, "batch", True, 500, 5e-4),
        _Tuned(0.005, 512, 7, 0.5, "batch", True, 500, 5e-4),
    ),
    "amazon-ratings": (
        _Tuned(0.001, 512, 4, 0.5, "batch", True, 2500, 0.0),
        _Tuned(0.001, 512, 9, 0.5, "batch", True, 2500, 0.0),
        _Tuned(0.001, 512, 4, 0.5, "batch", True, 2500, 0.0),
    ),
    "minesweeper": (
        _Tuned(0.01, 64, 12, 0.2, "batch", True, 2000, 0.0),
        _Tuned(0.01, 64, 15, 0.2, "batch", True, 2000, 0.0),
        _Tuned(0.01, 64, 15, 0.2, "batch", True, 2000, 0.0),
    ),
    "roman-empire": (
        _Tuned(0.001, 512, 9, 0.5, "batch", True, 2500, 0.0, True),
        _Tuned(0.001, 256, 9, 0.3, "batch", False, 2500, 0.0, True),
        _Tuned(0.001, 512, 10, 0.3, "batch", True, 2500, 0.0, True),
    ),
    "questions": (
        _Tuned(3e-5, 512, 10, 0.3, "none", True, 1500, 0.0, True),
        _Tuned(3e-5, 512, 6, 0.2, "layer", False, 1500, 0.0, True),
        _Tuned(3e-5, 512, 3, 0.2, "layer", True, 1500, 0.0, True),
    ),
}
#: Data sets whose features tunedGNN divides by their sum in each node; lcat loads these as they are stored.
_NORMALIZED = ("computers", "photo", "cs", "physics")
#: Which of the three rows is whose.
_ROWS = ("gcn", "sage", "gat")


def recipe_hyper_parameters(recipe: str, dataset: str, layer: str) -> HyperParameters:
    """The settings of a layer of lcat on a data set by a recipe.

    ``"plain"``: :func:`lcat.study.default_hyper_parameters`. ``"paper"``: those of the papers of GCN and GAT, for the
    data sets that these have. ``"tuned"``: those of tunedGNN for GCN and GraphSAGE; attention layers, L-CAT among
    them, have those of GAT. Features are divided by their sum in each node where they are there. ``"tuned-gcn"``,
    ``"tuned-sage"`` and ``"tuned-gat"``: every layer has those of that one.
    All epochs run, and the one that validates best counts.

    Args:
        recipe: its name.
        dataset: a name as a study knows it.
        layer: a name of ``lcat.study.LAYERS``.

    Raises:
        ValueError: if there is no such recipe, or it has no settings for the data set or layer.

    Example:
        >>> from lcat.study.models.recipes import recipe_hyper_parameters
        >>> [
        ...     recipe_hyper_parameters("tuned", "photo", layer).num_layers
        ...     for layer in ("gcn", "gat", "lcat")
        ... ]
        [6, 3, 3]
    """
    if recipe not in RECIPE_NAMES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPE_NAMES)}{hint(recipe, RECIPE_NAMES)}; got {recipe!r}")
    if recipe == "plain":
        return default_hyper_parameters(dataset, layer)
    known = _PAPER if recipe == "paper" else tuple(_TUNED)
    if dataset not in known:
        raise ValueError(
            f"the recipe {recipe} has no settings for {dataset}{hint(dataset, known)}; it has some for "
            f'{", ".join(known)}: take recipe = "plain" for others'
        )
    spec = layer_spec(layer)
    if spec.variant == "theory":
        raise ValueError(f"the recipe {recipe} is for layers that are trained, which {layer} is not")
    if recipe == "paper":
        return default_hyper_parameters(dataset, layer)
    whose = recipe.removeprefix("tuned-")
    if whose == recipe:
        whose = "gat" if spec.attention else spec.family
    settings = _tuned(_TUNED[dataset][_ROWS.index(whose)], bias=whose != "gat")
    return HyperParameters(**settings, normalize_features=dataset in _NORMALIZED)


def _tuned(row: _Tuned, *, bias: bool) -> dict[str, Any]:
    """The settings of a row; attention layers have one head, GAT no bias there."""
    settings = {**row._asdict(), "residual": "linear" if row.residual else "none", "linear_out": True}
    settings |= {"patience": None, "activation": "relu", "attention_dropout": 0.0, "heads": 1}
    return {**settings, "bias": bias}
