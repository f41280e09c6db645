"""Which stored values are kept block by block: those whose blocks would not be contiguous otherwise."""

from __future__ import annotations

from dataclasses import replace

from gradmesh_engine.graph import Graph
from gradmesh_engine.plan.stages import Cut
from gradmesh_engine.plan.types import Slot, Stage


def pack(graph: Graph, cut: Cut) -> tuple[tuple[Stage, ...], frozenset[int]]:
    """The stages with packed slots, and the values those are of.

    Such a value is one dim of elements, each block's in C order, so that a block is read where it was
    written. Only blocks of later stages read it, by the same dim.
    """
    packed = set()
    stored = {slot.value for stage in cut.stages for slot in stage.stores}
    for value in stored.difference(graph.outputs):
        dim, shape = cut.dims[value], graph.specs[value].shape
        if dim is not None and any(size != 1 for size in shape[:dim]):
            packed.add(value)
    for stage in cut.stages:
        packed.difference_update(stage.whole_reads)
        packed.difference_update(slot.value for slot in stage.reads if slot.dim != cut.dims[slot.value])
    if not packed:
        return cut.stages, frozenset()

    def slot(given: Slot) -> Slot:
        if given.value not in packed:
            return given
        shape = graph.specs[given.value].shape
        assert given.dim is not None
        rest = graph.specs[given.value].size // max(shape[given.dim], 1)
        return Slot(given.value, 0, given.scale * rest, packed=True)

    stages = tuple(
        replace(stage, reads=tuple(map(slot, stage.reads)), stores=tuple(map(slot, stage.stores)))
        for stage in cut.stages
    )
    return stages, frozenset(packed)
