"""The public node-classification data sets that are known by name, and what each one means.

One row a data set: which PyG class reads it, where its files lie under a data folder, its metric, its split rule
and what is done to its features. Nothing here touches the disk or the network; :mod:`lcat.data.datasets.load` loads.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOG", "DatasetSpec", "dataset_table"]

PLANETOID_SPLIT = "public: 20 training nodes a class, 500 validation, 1000 test"
FIXED_FILE = "fixed 60/20/20 of splits/{file} if available, else random stratified 60/20/20 by seed"
RANDOM = "random stratified 60/20/20 by seed"
TEN_MASKS = "the 10 published masks, seed s takes number s mod 10"
ROW_NORMALIZED = "features divided by their sum in each node"
AS_STORED = "features as stored"
DENSE = "sparse features made dense"


@dataclass(frozen=True)
class DatasetSpec:
    """One row of the catalog.

    Attributes:
        name: the name it is asked for by, lower case.
        pyg_class: class in ``torch_geometric.datasets``; empty for a file that lcat reads itself.
        folder: its ``root``, under the data folder.
        pyg_name: ``name`` argument of the class, ``None`` where it takes none.
        raw: the raw files, under the data folder; with them in place no network is used.
        metric: ``"accuracy"`` or ``"roc-auc"``.
        split: the split rule, in words.
        split_file: file with a fixed split under ``splits/``, if there is one.
        normalize: divide the features of each node by their sum.
        undirected: the class stores directed edges, and both directions are made here.
        homepage: where the files come from.
        note: anything a user must know.
        kwargs: further arguments of the class.
    """

    name: str
    pyg_class: str
    folder: str
    pyg_name: str | None
    raw: tuple[str, ...]
    metric: str
    split: str
    homepage: str
    split_file: str | None = None
    normalize: bool = False
    undirected: bool = False
    dense: bool = False
    note: str = ""
    kwargs: tuple[tuple[str, object], ...] = ()

    @property
    def preprocessing(self) -> str:
        """What is done to features and edges, in words."""
        parts = [ROW_NORMALIZED if self.normalize else AS_STORED]
        if self.dense:
            parts.append(DENSE)
        if self.undirected:
            parts.append("both directions of every edge added")
        return "; ".join(parts)


def _planetoid(name: str, pyg_name: str) -> DatasetSpec:
    parts = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
    return DatasetSpec(
        name=name,
        pyg_class="Planetoid",
        folder="Planetoid",
        pyg_name=pyg_name,
        raw=tuple(f"Planetoid/{pyg_name}/raw/ind.{name}.{part}" for part in parts),
        metric="accuracy",
        split=PLANETOID_SPLIT,
        homepage="https://github.com/kimiyoung/planetoid",
        normalize=True,
    )


def _amazon(name: str, pyg_name: str, split_file: str) -> DatasetSpec:
    # Not row-normalized: a plain GCN on Photo then stays near 53 % where it reaches 93 % on the bags as they are.
    return DatasetSpec(
        name=name,
        pyg_class="Amazon",
        folder="Amazon",
        pyg_name=pyg_name,
        raw=(f"Amazon/{pyg_name}/raw/amazon_electronics_{name}.npz",),
        metric="accuracy",
        split=FIXED_FILE.format(file=split_file),
        split_file=split_file,
        homepage="https://github.com/shchur/gnn-benchmark",
    )


def _coauthor(name: str, pyg_name: str, split_file: str) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        pyg_class="Coauthor",
        folder="Coauthor",
        pyg_name=pyg_name,
        raw=(f"Coauthor/{pyg_name}/raw/ms_academic_{pyg_name[:3].lower()}.npz",),
        metric="accuracy",
        split=FIXED_FILE.format(file=split_file),
        split_file=split_file,
        homepage="https://github.com/shchur/gnn-benchmark",
    )


def _citation_full(name: str, pyg_name: str) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        pyg_class="CitationFull",
        folder="CitationFull",
        pyg_name=pyg_name,
        raw=(f"CitationFull/{pyg_name.lower()}/raw/{pyg_name.lower()}.npz",),
        metric="accuracy",
        split=RANDOM,
        homepage="https://github.com/abojchevski/graph2gauss",
    )


def _attributed(name: str, pyg_name: str, dense: bool = False, note: str = "") -> DatasetSpec:
    folder = f"AttributedGraphDataset/{pyg_name.lower()}/raw"
    return DatasetSpec(
        name=name,
        pyg_class="AttributedGraphDataset",
        folder="AttributedGraphDataset",
        pyg_name=pyg_name,
        raw=tuple(f"{folder}/{part}" for part in ("attrs.npz", "edgelist.txt", "labels.txt")),
        metric="accuracy",
        split=RANDOM,
        homepage="https://renchi.ac.cn/datasets/",
        normalize=True,
        undirected=True,
        dense=dense,
        note=note,
    )


def _heterophilous(name: str, pyg_name: str, metric: str) -> DatasetSpec:
    stem = name.replace("-", "_")
    return DatasetSpec(
        name=name,
        pyg_class="HeterophilousGraphDataset",
        folder="HeterophilousGraphDataset",
        pyg_name=pyg_name,
        raw=(f"HeterophilousGraphDataset/{stem}/raw/{stem}.npz",),
        metric=metric,
        split=TEN_MASKS,
        homepage="https://github.com/yandex-research/heterophilous-graphs",
    )


def _musae(name: str, pyg_class: str, file: str, metric: str = "accuracy", undirected: bool = False) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        pyg_class=pyg_class,
        folder=pyg_class,
        pyg_name=None,
        raw=(f"{pyg_class}/raw/{file}",),
        metric=metric,
        split=RANDOM,
        homepage="https://graphmining.ai/datasets/ptg",
        undirected=undirected,
    )


def _twitch(language: str) -> DatasetSpec:
    return DatasetSpec(
        name=f"twitch-{language.lower()}",
        pyg_class="Twitch",
        folder="Twitch",
        pyg_name=language,
        raw=(f"Twitch/{language}/raw/{language}.npz",),
        metric="roc-auc",
        split=RANDOM,
        homepage="https://graphmining.ai/datasets/ptg/twitch",
    )


def _geom_gcn(name: str, pyg_class: str, note: str = "") -> DatasetSpec:
    inner = f"{name}/geom_gcn/raw" if pyg_class == "WikipediaNetwork" else f"{name}/raw"
    files = ["out1_node_feature_label.txt", "out1_graph_edges.txt"]
    files += [f"{name}_split_0.6_0.2_{i}.npz" for i in range(10)]
    return DatasetSpec(
        name=name,
        pyg_class=pyg_class,
        folder=pyg_class,
        pyg_name=name,
        raw=tuple(f"{pyg_class}/{inner}/{file}" for file in files),
        metric="accuracy",
        split="the 10 published 48/32/20 masks, seed s takes number s mod 10",
        homepage="https://github.com/graphdml-uiuc-jlu/geom-gcn",
        undirected=True,
        normalize=True,
        note=note,
    )


def _filtered(name: str) -> DatasetSpec:
    stem = name.replace("-", "_")
    return DatasetSpec(
        name=name,
        pyg_class="",
        folder="filtered",
        pyg_name=None,
        raw=(f"filtered/{stem}.npz",),
        metric="accuracy",
        split=TEN_MASKS,
        homepage="https://github.com/yandex-research/heterophilous-graphs/tree/main/data",
        undirected=True,
        note="without duplicate nodes; not downloaded: put the file into DIR/filtered",
    )


_ROWS = (
    _planetoid("cora", "Cora"),
    _planetoid("citeseer", "CiteSeer"),
    _planetoid("pubmed", "PubMed"),
    _amazon("photo", "Photo", "amazon-photo_split.npz"),
    _amazon("computers", "Computers", "amazon-computer_split.npz"),
    _coauthor("cs", "CS", "coauthor-cs_split.npz"),
    _coauthor("physics", "Physics", "coauthor-physics_split.npz"),
    _heterophilous("roman-empire", "Roman-empire", "accuracy"),
    _heterophilous("amazon-ratings", "Amazon-ratings", "accuracy"),
    _heterophilous("minesweeper", "Minesweeper", "roc-auc"),
    _heterophilous("tolokers", "Tolokers", "roc-auc"),
    _heterophilous("questions", "Questions", "roc-auc"),
    _musae("github", "GitHub", "github.npz"),
    _musae("facebook", "FacebookPagePage", "facebook.npz"),
    _twitch("DE"),
    _twitch("EN"),
    _twitch("ES"),
    _twitch("FR"),
    _twitch("PT"),
    _twitch("RU"),
    _musae("lastfm-asia", "LastFMAsia", "lastfm_asia.npz", undirected=True),
    _musae("deezer-europe", "DeezerEurope", "deezer_europe.npz", metric="roc-auc", undirected=True),
    _citation_full("dblp", "DBLP"),
    _citation_full("cora-ml", "Cora_ML"),
    _citation_full("cora-full", "Cora"),
    _citation_full("citeseer-full", "CiteSeer"),
    _attributed("blogcatalog", "BlogCatalog"),
    _attributed("flickr-attr", "Flickr", dense=True, note="12,047 features, 0.4 GB once dense"),
    _attributed("wiki", "Wiki"),
    DatasetSpec(
        name="wiki-cs",
        pyg_class="WikiCS",
        folder="WikiCS",
        pyg_name=None,
        raw=("WikiCS/raw/data.json",),
        metric="accuracy",
        split="the 20 published training and validation masks, one test mask; seed s takes number s mod 20",
        homepage="https://github.com/pmernyei/wiki-cs-dataset",
        kwargs=(("is_undirected", True),),
    ),
    _geom_gcn("cornell", "WebKB"),
    _geom_gcn("texas", "WebKB"),
    _geom_gcn("wisconsin", "WebKB"),
    _geom_gcn("chameleon", "WikipediaNetwork", note="holds duplicate nodes across train and test"),
    _geom_gcn("squirrel", "WikipediaNetwork", note="holds duplicate nodes across train and test"),
    _filtered("chameleon-filtered"),
    _filtered("squirrel-filtered"),
)

#: Every known data set by name.
CATALOG: dict[str, DatasetSpec] = {spec.name: spec for spec in _ROWS}


def dataset_table() -> list[dict[str, str]]:
    """The catalog as rows of text: name, class, metric, split, preprocessing, homepage, note.

    Example:
        >>> from lcat.data import dataset_table
        >>> [row["metric"] for row in dataset_table() if row["name"] == "tolokers"]
        ['roc-auc']
    """
    return [
        {
            "name": spec.name,
            "class": (spec.pyg_class or "a file") + ("" if spec.pyg_name is None else f"({spec.pyg_name})"),
            "metric": spec.metric,
            "split": spec.split,
            "preprocessing": spec.preprocessing,
            "homepage": spec.homepage,
            "note": spec.note,
        }
        for spec in _ROWS
    ]
