"""The primitives that every layer is made of, as functions on tensors.

======================  ==============================================================================
:func:`aggregate`       :math:`y_i = \\sum_{j \\to i} w_{ij} x_j`
:func:`attend_v1`       attention with the score LeakyReLU(s_j + t_i) of GAT
:func:`attend_v2`       attention with the score att . LeakyReLU(k_j + q_i) of GATv2
======================  ==============================================================================

and :func:`dropout`, which keeps no mask.

Each folder holds one primitive in several implementations with the same signature; ``naive.py`` reads like
the formula and is what all others are tested against. :func:`explain` says which one is used, and why.
"""

from __future__ import annotations

from lcat.ops._native import NativeStatus, native_status
from lcat.ops.aggregate import aggregate
from lcat.ops.attend_v1 import attend_v1
from lcat.ops.attend_v2 import attend_v2
from lcat.ops.dispatch import Choice, explain, use_implementation
from lcat.ops.dropout import dropout

__all__ = [
    "Choice",
    "NativeStatus",
    "aggregate",
    "attend_v1",
    "attend_v2",
    "dropout",
    "explain",
    "native_status",
    "use_implementation",
]
