r"""The primitives that every layer is made of, as functions on tensors.

=======================  =====================================================================
:func:`aggregate`        :math:`y_i = \sum_{j \to i} w_{ij} x_j`, or the mean, minimum or maximum
:func:`gat_attention`    attention with the score LeakyReLU(source_score_j + target_score_i) of GAT
:func:`gatv2_attention`  attention with the score att . LeakyReLU(key_j + query_i) of GATv2
:func:`dot_attention`    attention with the score scale (query_i . key_j) of the Transformer
=======================  =====================================================================

and :func:`dropout`, which keeps no mask; :func:`draw_kept_edges` draws a dropout of whole edges; :func:`gat_scores` and
:func:`gat_attention_of_values` are the scores of GAT and its attention from the projected features alone.
:func:`sparse_features` finds features of which few are not zero, and :func:`sparse_linear` maps them;
:func:`is_transformed` says when a function must be plain torch.

Each folder holds one primitive in several implementations with the same signature; ``naive.py`` reads like
the formula and is what all others are tested against. :func:`explain` says which one is used, and why.
"""

from __future__ import annotations

from lcat.ops._aggregate import aggregate
from lcat.ops._aggregate.sparse_features import sparse_features, sparse_linear
from lcat.ops._dot_attention import dot_attention
from lcat.ops._edge_dropout import draw_kept_edges
from lcat.ops._feature_dropout import dropout
from lcat.ops._gat_attention import gat_attention
from lcat.ops._gat_attention.of_values import gat_attention_of_values, gat_scores
from lcat.ops._gatv2_attention import gatv2_attention
from lcat.ops._native import NativeStatus, native_status
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import Choice, Feature, explain, use_implementation

__all__ = [
    "Choice",
    "Feature",
    "NativeStatus",
    "aggregate",
    "dot_attention",
    "draw_kept_edges",
    "dropout",
    "explain",
    "gat_attention",
    "gat_attention_of_values",
    "gat_scores",
    "gatv2_attention",
    "is_transformed",
    "native_status",
    "sparse_features",
    "sparse_linear",
    "use_implementation",
]
