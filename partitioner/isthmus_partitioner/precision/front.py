"""Mixes of precisions that were measured, the best of them, and the rule that picks one."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

__all__ = ["Kind", "Point", "choose", "choose_integer_only", "pareto"]

Kind = Literal["fp32", "int8", "mixed"]

WORTH_IT = 0.97  # of fp32's time: an int8 part has to gain more than two runs differ by
SAME_TIME = 1.05  # timings of whole networks repeat to a few percent


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A mix as it was measured on this machine.

    `fp32_groups` are the fused groups left in fp32 of those that could be int8. `ms` is the whole
    network for one item on one thread; divergence and agreement are the metric's on held-back
    items, against the fp32 network. `kind`: "int8" leaves no group that could be int8 in fp32.
    """

    name: str
    kind: Kind
    fp32_groups: tuple[str, ...]
    ms: float
    divergence: float
    agreement: float


def pareto(points: Iterable[Point]) -> tuple[Point, ...]:
    """Those than which no other is both faster and more faithful; the fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ms, p.divergence)):
        if not front or point.divergence < front[-1].divergence:
            front.append(point)
    return tuple(front)


def choose(points: Sequence[Point], budget: float) -> tuple[Point, str]:
    """The rule: the fastest within the budget of divergence, fp32 where nothing is faster.

    Of those that take as long as the fastest (within 5 %, which is what timings repeat to) the
    most faithful is taken. `points` holds the fp32 network.
    """
    (fp32,) = (point for point in points if point.kind == "fp32")
    faster = [p for p in points if p.kind != "fp32" and p.ms < WORTH_IT * fp32.ms]
    within = [p for p in faster if p.divergence <= budget]
    if not faster:
        return fp32, f"int8 is not faster here; {_figures(points, fp32)}"
    if not within:
        return (
            fp32,
            f"no int8 part keeps the divergence within {budget:g}; {_figures(faster, fp32)}",
        )
    fastest = min(within, key=lambda p: p.ms)
    same = [p for p in within if p.ms <= SAME_TIME * fastest.ms]
    best = min(same, key=lambda p: (p.divergence, p.ms))
    return best, f"the fastest with a divergence of at most {budget:g}; {_figures([best], fp32)}"


def choose_integer_only(points: Sequence[Point]) -> tuple[Point, str]:
    """The most faithful of the networks that are int8 throughout."""
    integer = [point for point in points if point.kind == "int8"]
    best = min(integer, key=lambda p: (p.divergence, p.ms))
    return best, f"the device computes in integers only; divergence {best.divergence:.4f}"


def _figures(points: Sequence[Point], fp32: Point) -> str:
    others = [point for point in points if point is not fp32]
    if not others:
        return f"nothing was built beside fp32 ({fp32.ms:.1f} ms)"
    best = min(others, key=lambda p: (p.ms, p.divergence))
    return (
        f"{best.name}: divergence {best.divergence:.4f}, {best.ms:.1f} ms (fp32 {fp32.ms:.1f} ms)"
    )
