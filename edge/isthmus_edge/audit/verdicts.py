"""What the service said of audited answers, counted by candidate and rung."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus_edge.audit.drift import Drift

__all__ = ["AuditCount", "AuditStats", "Verdicts"]


@dataclass(frozen=True, slots=True)
class AuditCount:
    """Of one rung: how many answers were compared, how many agreed, and whether it has drifted."""

    checked: int
    agreed: int
    has_drifted: bool


@dataclass(frozen=True, slots=True)
class AuditStats:
    """`checked` answers were compared, of which `agreed` did. `not_compared` came back without a
    comparison; `dropped` were sampled and not sent, or nothing came back. `by_rung` has them by
    ``CANDIDATE@RUNG``."""

    checked: int = 0
    agreed: int = 0
    not_compared: int = 0
    dropped: int = 0
    by_rung: Mapping[str, AuditCount] = field(default_factory=dict)


@dataclass(slots=True)
class _Course:
    drift: Drift
    checked: int = 0
    agreed: int = 0


class Verdicts:
    """Those of one agent, against its agreement floor (0-1)."""

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._courses: dict[str, _Course] = {}
        self.not_compared = 0
        self.dropped = 0

    def add(self, rung: str, *, agrees: bool) -> str | None:
        """An answer was compared; if that made it a drift of the rung, one line about it."""
        course = self._courses.setdefault(rung, _Course(Drift(self._floor)))
        course.checked += 1
        course.agreed += agrees
        if not course.drift.add(agrees=agrees):
            return None
        share = course.agreed / course.checked
        return (
            f"drift: {rung} agreed with the unsplit model on {course.agreed} of {course.checked} "
            f"audited frames ({share:.0%}), the floor is {self._floor:g}; it and coarser rungs "
            "are not trusted any more"
        )

    def stats(self) -> AuditStats:
        """The counts so far."""
        by_rung = {
            rung: AuditCount(course.checked, course.agreed, course.drift.is_declared)
            for rung, course in self._courses.items()
        }
        return AuditStats(
            checked=sum(count.checked for count in by_rung.values()),
            agreed=sum(count.agreed for count in by_rung.values()),
            not_compared=self.not_compared,
            dropped=self.dropped,
            by_rung=by_rung,
        )
