"""Graphs to learn on: synthetic ones with a known winner, public ones by name, own ones, and splits."""

from __future__ import annotations

from lcat._names import METRIC_NAMES
from lcat.data.datasets.anything import as_dataset
from lcat.data.datasets.catalog import CATALOG, DatasetSpec, dataset_table
from lcat.data.datasets.convert import from_data
from lcat.data.datasets.csbm import csbm, csbm_distance
from lcat.data.datasets.files import load_file, read_file, read_links
from lcat.data.datasets.graph_dataset import GraphDataset, from_graphs, load_tu
from lcat.data.datasets.items import DataError
from lcat.data.datasets.link_dataset import LinkDataset, sample_no_links
from lcat.data.datasets.load import DatasetUnavailable, UnknownDataset, default_root, load, missing_files
from lcat.data.datasets.networkx_graphs import from_networkx
from lcat.data.datasets.node_dataset import NodeDataset, random_splits, splits_from_masks
from lcat.data.datasets.noise import noisy_edges, noisy_features
from lcat.data.datasets.tables import from_csv, from_frames
from lcat.data.loading.batches import SeedBatch, SeedBatches
from lcat.data.loading.loader import NodeBatchLoader, neighbor_loader
from lcat.data.loading.sampler import TorchNeighborSampler
from lcat.data.loading.subgraphs import (
    SeededLoader,
    SubgraphLoader,
    partition_loader,
    partition_nodes,
    random_walk_loader,
)
from lcat.data.ogb.load import OGBDataset, load_ogb, ogb_names
from lcat.data.ogb.standin import write_standin
from lcat.data.splits.folds import fold_numbers, fold_split, nested_split
from lcat.data.splits.splits import Split, SplitError, from_indices, load_split_file, random_split
from lcat.data.storage.csc import CSCGraph
from lcat.data.storage.feature_file import FeatureFile
from lcat.data.storage.feature_store import FileFeatureStore, FileGraphStore, open_stores

__all__ = [
    "CATALOG",
    "METRIC_NAMES",
    "CSCGraph",
    "DataError",
    "DatasetSpec",
    "DatasetUnavailable",
    "FeatureFile",
    "FileFeatureStore",
    "FileGraphStore",
    "GraphDataset",
    "LinkDataset",
    "NodeBatchLoader",
    "NodeDataset",
    "OGBDataset",
    "SeedBatch",
    "SeedBatches",
    "SeededLoader",
    "Split",
    "SplitError",
    "SubgraphLoader",
    "TorchNeighborSampler",
    "UnknownDataset",
    "as_dataset",
    "csbm",
    "csbm_distance",
    "dataset_table",
    "default_root",
    "fold_numbers",
    "fold_split",
    "from_csv",
    "from_data",
    "from_frames",
    "from_graphs",
    "from_indices",
    "from_networkx",
    "load",
    "load_file",
    "load_ogb",
    "load_split_file",
    "load_tu",
    "missing_files",
    "neighbor_loader",
    "nested_split",
    "noisy_edges",
    "noisy_features",
    "ogb_names",
    "open_stores",
    "partition_loader",
    "partition_nodes",
    "random_split",
    "random_splits",
    "random_walk_loader",
    "read_file",
    "read_links",
    "sample_no_links",
    "splits_from_masks",
    "write_standin",
]
