"""Small graphs in the files of public data sets, as PyG's classes read them."""

from __future__ import annotations

import pickle

import numpy as np
import scipy.sparse as sp


def write_planetoid(root, name="Cora"):
    """A ring of 520 nodes in the eight files of Planetoid: 4 training nodes (x), 516 in allx, 4 test nodes."""
    raw = root / "Planetoid" / name / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    features = sp.csr_matrix(generator.integers(0, 3, (520, 5)).astype(np.float32))
    onehot = np.eye(2, dtype=np.int32)[np.arange(520) % 2]
    graph = {i: [(i + 1) % 520, (i - 1) % 520] for i in range(520)}
    parts = {
        "x": features[:4],
        "tx": features[516:],
        "allx": features[:516],
        "y": onehot[:4],
        "ty": onehot[516:],
        "ally": onehot[:516],
        "graph": graph,
    }
    for part, value in parts.items():
        (raw / f"ind.{name.lower()}.{part}").write_bytes(pickle.dumps(value))
    (raw / f"ind.{name.lower()}.test.index").write_text("516\n517\n518\n519\n")
    return features.toarray()


def write_amazon(root):
    """A graph of 20 nodes in the file of Amazon Photo."""
    raw = root / "Amazon" / "Photo" / "raw"
    raw.mkdir(parents=True)
    features = sp.csr_matrix(np.random.default_rng(1).integers(0, 2, (20, 6)).astype(np.float32))
    ring = sp.csr_matrix((np.ones(20), (np.arange(20), (np.arange(20) + 1) % 20)), shape=(20, 20))
    np.savez(
        raw / "amazon_electronics_photo.npz",
        adj_data=ring.data,
        adj_indices=ring.indices,
        adj_indptr=ring.indptr,
        adj_shape=ring.shape,
        attr_data=features.data,
        attr_indices=features.indices,
        attr_indptr=features.indptr,
        attr_shape=features.shape,
        labels=np.arange(20) % 2,
    )
    return features.toarray()


def write_photo_split(root):
    """The fixed split of Amazon Photo, of 6 nodes."""
    (root / "splits").mkdir()
    np.savez(root / "splits" / "amazon-photo_split.npz", train=[0, 1, 2], valid=[3], test=[4, 5])
