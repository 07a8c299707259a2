"""Runs with latencies that a test chooses."""

from collections.abc import Mapping, Sequence
from typing import Any

from isthmus_bench.adapt.runs import EWMA, OURS, FrameEnd, Policy, Run, Scene
from isthmus_bench.adapt.scores import Cell, cells_of

SCENE = Scene(local_ms=100.0, fps=2.0, late_after_ms=200.0, seconds=2.0, tell_deadline=True)


def policy(name: str, *, counts: bool = True) -> Policy:
    if name in {OURS, EWMA}:
        return Policy(name=name, kind=name, title=name)  # type: ignore[arg-type]
    return Policy(name=name, kind="static", title=name, candidate=name, counts=counts)


def frames(latencies_ms: Sequence[float | None], *, fps: float = 2.0) -> tuple[FrameEnd, ...]:
    """One frame every 1/fps seconds; None is a frame without an answer."""
    return tuple(
        FrameEnd(
            tick_s=index / fps,
            latency_ms=latency_ms,
            candidate="" if latency_ms is None else "cut",
            place="nowhere" if latency_ms is None else "cloud",
            payload_bytes=0 if latency_ms is None else 100,
            error="dropped" if latency_ms is None else "",
        )
        for index, latency_ms in enumerate(latencies_ms)
    )


def run(name: str, latencies_ms: Sequence[float | None], **others: Any) -> Run:
    fields: dict[str, Any] = {
        "model": "net",
        "trace": "drive",
        "repeat": 0,
        "accepted": len(latencies_ms),
        "lost": 0,
        "doubled": 0,
        "switches": 0,
        "sent_bytes": 5000,
        "device_s": 1.0,
        "unplanned_s": 0.0,
    }
    return Run(policy=name, frames=frames(latencies_ms), **(fields | others))


def cell(
    latencies_ms: Mapping[str, Sequence[float | None]],
    *,
    below_floor: Sequence[str] = (),
    scene: Scene = SCENE,
    **others: Any,
) -> Cell:
    """A cell of one repeat; the EWMA policy takes what ours does unless told otherwise."""
    told = {EWMA: latencies_ms[OURS], **latencies_ms}
    policies = [policy(name, counts=name not in below_floor) for name in told]
    runs = [run(name, took, **others) for name, took in told.items()]
    (found,) = cells_of(policies, runs, scene)
    return found
