"""Mini-batches of a graph that is too large for whole steps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lcat._text import counted
from lcat.study.models.fields import Whole
from lcat.study.models.one_line import Record

__all__ = ["Batching", "BatchingKind", "Evaluation"]

#: What a batch is made of.
BatchingKind = Literal["neighbor", "cluster"]
#: How models are measured.
Evaluation = Literal["auto", "layerwise", "whole"]


class Batching(Record):
    """How the steps of a study see a graph.

    Attributes:
        kind: ``"neighbor"``: ``batch_size`` training nodes (a setting, as ``lr``) with sampled neighborhoods, one hop
            for every layer; ``"cluster"``: the nodes of a few parts of a partition, with the edges between them.
        num_neighbors: sampled for each node, the same number in every hop, or one number per hop; own models have as
            many hops as there are numbers.
        num_parts: of the partition.
        parts_per_batch: of a batch.
        evaluation: how models are measured, always without samples: ``"layerwise"`` in bounded memory, for all layers
            of lcat, and own models whose layers are known (a model of PyG, or one with ``layer_steps()``, see
            :class:`lcat.train.LayerStep`); ``"whole"`` in one call; ``"auto"`` by layers where that is possible.

    Example:
        >>> from lcat.study import Batching
        >>> Batching(kind="neighbor", num_neighbors=[10, 5]).neighbors_of(2)
        [10, 5]
    """

    kind: BatchingKind
    num_neighbors: tuple[Whole, ...] = (10,)
    num_parts: Whole = Field(default=10, ge=1)
    parts_per_batch: Whole = Field(default=1, ge=1)
    evaluation: Evaluation = "auto"

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, values: Any) -> Any:
        return {"kind": values} if isinstance(values, str) else values

    @field_validator("num_neighbors", mode="before")
    @classmethod
    def _one_or_several(cls, values: Any) -> Any:
        return (values,) if isinstance(values, (int, str)) else values

    @field_validator("num_neighbors")
    @classmethod
    def _positive(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not values or min(values) < 1:
            raise ValueError(f"num_neighbors must be at least 1 in every hop; got {list(values)}")
        return values

    @model_validator(mode="after")
    def _parts_fit(self) -> Batching:
        if self.parts_per_batch > self.num_parts:
            raise ValueError(
                f"parts_per_batch must be at most num_parts; got {self.parts_per_batch} and {self.num_parts}"
            )
        return self

    def neighbors_of(self, num_layers: int | None) -> list[int]:
        """The numbers of neighbors of a model with so many layers; of an own model that is not known.

        Raises:
            ValueError: if they are given for another number of hops.
        """
        if num_layers is None:
            return list(self.num_neighbors)
        if len(self.num_neighbors) == 1:
            return list(self.num_neighbors) * num_layers
        if len(self.num_neighbors) != num_layers:
            raise ValueError(
                f"num_neighbors has a number for each of {counted(len(self.num_neighbors), 'hop')}, and the model has "
                f"{counted(num_layers, 'layer')}: write one number for all hops, or one per layer"
            )
        return list(self.num_neighbors)
