"""A figure that was measured several times."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over processes, and largest - smallest, in one unit; None of a single one."""

    median: float
    spread: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value or more."""
        return cls(median(values), max(values) - min(values) if len(values) > 1 else None)
