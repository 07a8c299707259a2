"""The demo's comparison over links, as plain data: rows, and what they say about the policy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from isthmus import Candidate, Picture, Raw

Figure = Literal["latency", "throughput"]
WITHIN = 0.10  # the policy's choice may be this much worse than the best row

__all__ = [
    "EDGE_FP32",
    "WITHIN",
    "Figure",
    "LinkComparison",
    "Row",
    "Verdict",
    "policy_holds",
    "row_name",
]

EDGE_FP32 = "edge-only fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to answer a frame on one link, as measured."""

    name: str
    candidate: str | None
    latency_ms: float
    throughput_fps: float
    payload_bytes: int
    agreement: float
    meets_floor: bool
    chosen: bool
    chosen_throughput: bool

    def cost(self, figure: Figure) -> float:
        """What is to be small: ms a frame, or ms between frames."""
        return self.latency_ms if figure == "latency" else 1e3 / self.throughput_fps


@dataclass(frozen=True, slots=True)
class Verdict:
    """The policy's choice against the best row that meets the floor, and the best split's place.

    `excess` is how much worse the choice is than the best (0: it is the best).
    """

    figure: Figure
    chosen: Row
    best: Row
    excess: float
    best_split: Row | None
    best_other: Row

    def sentences(self) -> list[str]:
        """In plain words."""
        unit = "least latency" if self.figure == "latency" else "most frames/s"
        if not self.chosen.meets_floor:
            choice = (
                f"{unit}: the policy chose {self.chosen.name}, which misses the agreement floor"
            )
        elif self.excess == 0:
            choice = f"{unit}: the policy chose {self.chosen.name}, the best row"
        else:
            choice = (
                f"{unit}: the policy chose {self.chosen.name}, {self.excess:.1%} behind "
                f"{self.best.name}"
            )
        if self.best_split is None:
            return [choice, "  no split meets the agreement floor"]
        return [choice, f"  {self._about_splitting(self.best_split)}"]

    def _about_splitting(self, split: Row) -> str:
        other = self.best_other
        figures = f"{_shown(split, self.figure)} against {_shown(other, self.figure)}"
        ratio = other.cost(self.figure) / split.cost(self.figure)
        times = f"{ratio:.2f} times the " + ("speed" if self.figure == "latency" else "frames/s")
        verdict = "splitting wins" if ratio > 1 else "splitting does not win here"
        return (
            f"{verdict}: {split.name}, {split.payload_bytes} bytes a frame, {figures} of "
            f"{other.name} ({times})"
        )


@dataclass(frozen=True, slots=True)
class LinkComparison:
    """All rows of one link."""

    mbps: float
    rtt_ms: float
    believed_mbps: float | None
    rows: Sequence[Row]

    def verdict(self, figure: Figure) -> Verdict:
        """Judge the policy by the rows that meet the agreement floor."""
        fit = [row for row in self.rows if row.meets_floor]
        best = min(fit, key=lambda row: row.cost(figure))
        chosen = next(
            r for r in self.rows if (r.chosen if figure == "latency" else r.chosen_throughput)
        )
        splits = [row for row in fit if _is_split(row)]
        others = [row for row in fit if not _is_split(row)]
        best_split = min(splits, key=lambda row: row.cost(figure), default=None)
        best_other = min(others, key=lambda row: row.cost(figure))
        excess = chosen.cost(figure) / best.cost(figure) - 1
        return Verdict(figure, chosen, best, excess, best_split, best_other)

    def table(self) -> str:
        """For people; `<` marks the policy's choices."""
        body = [
            (
                row.name,
                f"{row.latency_ms:.0f}",
                f"{row.throughput_fps:.2f}",
                f"{row.payload_bytes}",
                f"{row.agreement:.3f}",
                "yes" if row.meets_floor else "no",
                _marks(row),
            )
            for row in self.rows
        ]
        headers = ("", "latency ms", "frames/s", "bytes", "agreement", "floor", "policy's choice")
        numbers = ("left", "right", "right", "right", "right", "left", "left")
        return tabulate(body, headers, disable_numparse=True, colalign=numbers)


def row_name(candidate: Candidate) -> str:
    """A candidate's row, in the words of the literature."""
    match candidate.encodings:
        case ():
            return f"edge-only {candidate.precision}"
        case (Raw(),):
            return "cloud-only raw"
        case (Picture(format=name, quality=quality),):
            shown = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}[name]
            return f"cloud-only {shown} {'lossless' if quality is None else f'q{quality}'}"
        case _ if candidate.precision == "none":
            return f"cloud-only {candidate.id}"
        case _:
            return f"split {candidate.id}"


def policy_holds(comparisons: Iterable[LinkComparison]) -> bool:
    """Whether the policy's choice is within WITHIN of the best on every link, for both figures."""
    figures: tuple[Figure, Figure] = ("latency", "throughput")
    verdicts = [c.verdict(figure) for c in comparisons for figure in figures]
    return all(v.chosen.meets_floor and v.excess <= WITHIN for v in verdicts)


def _is_split(row: Row) -> bool:
    return row.name.startswith("split ")


def _shown(row: Row, figure: Figure) -> str:
    return (
        f"{row.latency_ms:.0f} ms" if figure == "latency" else f"{row.throughput_fps:.2f} frames/s"
    )


def _marks(row: Row) -> str:
    marks = []
    if row.chosen:
        marks.append("< latency")
    if row.chosen_throughput:
        marks.append("< frames/s")
    return " ".join(marks)
