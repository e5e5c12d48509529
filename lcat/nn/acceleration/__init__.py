"""``lcat.accelerate``: layers of PyG run on lcat, in the model that they are in."""

from __future__ import annotations

from lcat.nn.acceleration import _difference as _difference  # each of these registers its layers
from lcat.nn.acceleration import _layers as _layers
from lcat.nn.acceleration import _pna as _pna
from lcat.nn.acceleration import _relations as _relations
from lcat.nn.acceleration import _seam as _seam
from lcat.nn.acceleration._report import AccelerationReport, LeftLayer, SwappedLayer
from lcat.nn.acceleration._swap import accelerate, accelerated, restore

__all__ = ["AccelerationReport", "LeftLayer", "SwappedLayer", "accelerate", "accelerated", "restore"]
