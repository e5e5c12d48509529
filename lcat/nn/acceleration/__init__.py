"""``lcat.accelerate``: layers of PyG run on lcat, in the model that they are in."""

from __future__ import annotations

from lcat.nn.acceleration import _difference as _difference  # each of these registers its layers
from lcat.nn.acceleration import _layers as _layers
from lcat.nn.acceleration import _pna as _pna
from lcat.nn.acceleration import _relations as _relations
from lcat.nn.acceleration import _seam as _seam
from lcat.nn.acceleration._report import AccelerationReport, LeftLayer, SwappedLayer
from lcat.nn.acceleration._swap import (
    UPGRADED_FROM,
    accelerate,
    accelerated,
    class_before_swap,
    restore,
    restore_layer,
)
from lcat.nn.acceleration._walk import class_name, named_layers

__all__ = [
    "UPGRADED_FROM",
    "AccelerationReport",
    "LeftLayer",
    "SwappedLayer",
    "accelerate",
    "accelerated",
    "class_before_swap",
    "class_name",
    "named_layers",
    "restore",
    "restore_layer",
]
