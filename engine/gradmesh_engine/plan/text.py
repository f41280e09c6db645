"""A plan as text a person can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gradmesh_engine.plan.types import ADD_SECONDS, CALL_SECONDS, Plan, Slot


def human_bytes(count: float) -> str:
    """Bytes with a binary unit, three digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    raise AssertionError


def human_flops(count: float) -> str:
    """FLOPs with a decimal unit, three digits."""
    for unit in ("", "k", "M", "G", "T"):
        if count < 1000 or unit == "T":
            return f"{count:.3g} {unit}FLOP"
        count /= 1000
    raise AssertionError


def human_seconds(count: float) -> str:
    """Seconds with a unit, three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e-6:.3g} µs"


def plan_text(plan: Plan, seconds: Sequence[float | None] = ()) -> str:
    """Split axis, stages, blocks, bytes and FLOPs; the time each stage is expected to take on one core.

    Args:
        plan: the plan.
        seconds: what each stage took when it ran last, None where it has not.
    """
    graph = plan.graph
    lines = [
        f"plan of {len(graph.nodes)} nodes, {len(graph.inputs)} inputs, {len(graph.outputs)} outputs: "
        f"{human_flops(plan.flops)}, {human_bytes(plan.touched_bytes)} touched, "
        f"peak {human_bytes(plan.peak_bytes)} beyond inputs and outputs"
    ]
    split = plan.split
    if split is None:
        lines.append("split axis: none, everything runs whole")
    else:
        on_axis = [f"%{i}.{plan.dims[i]}" for i in range(len(graph.inputs)) if plan.dims[i] is not None]
        lines.append(
            f"split axis: {split.length} rows (dim of inputs {', '.join(on_axis) or 'none'}), "
            f"{split.blocks} blocks of {split.block} rows in {split.groups} groups of {split.blocks_per_group}"
        )
    for stage in plan.stages:
        took = seconds[stage.index] if stage.index < len(seconds) else None
        measured = "" if took is None else f", took {human_seconds(took)} last"
        calls = len(stage.whole) + len(stage.body) * (1 if split is None else split.blocks)
        expected = plan.estimates[stage.index] * ADD_SECONDS + calls * CALL_SECONDS
        lines.append(f"stage {stage.index}: about {human_seconds(expected)} on one core{measured}")
        if stage.whole:
            lines.append(f"  once: {_ops(plan, stage.whole)}")
        if stage.body:
            lines.append(f"  per block: {_ops(plan, stage.body)}")
            lines.append(f"    reads {_slots(plan, stage.reads)}")
        if stage.partials:
            listed = ", ".join(f"%{p.value} {graph.specs[p.value]} ({p.kind})" for p in stage.partials)
            lines.append(f"    partials {listed}")
        if stage.stores:
            lines.append(f"    stores {_slots(plan, stage.stores)}")
    return "\n".join(lines)


def _ops(plan: Plan, nodes: tuple[int, ...]) -> str:
    counts = Counter(plan.graph.nodes[i].op for i in nodes)
    return f"{len(nodes)} nodes (" + ", ".join(f"{op} ×{n}" if n > 1 else op for op, n in counts.items()) + ")"


def _slots(plan: Plan, slots: tuple[Slot, ...]) -> str:
    def one(slot: Slot) -> str:
        how = "whole" if slot.dim is None else "block by block" if slot.packed else f"by dim {slot.dim}"
        return f"%{slot.value} {plan.graph.specs[slot.value]} {how}"

    return ", ".join(map(one, slots)) or "nothing"
