"""Figures as the cells of a report, and the report's tables."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from isthmus_bench.edge.spread import Spread

NONE = "-"

__all__ = ["NONE", "number", "spread", "table"]


def number(value: float | None, digits: int) -> str:
    """With so many digits after the point."""
    return NONE if value is None else f"{value:.{digits}f}"


def spread(value: Spread | None, digits: int) -> str:
    """The median, and behind ± largest - smallest if it was measured more than once."""
    if value is None or value.spread is None:
        return number(None if value is None else value.median, digits)
    return f"{value.median:.{digits}f} ± {value.spread:.{digits}f}"


def table(headers: Sequence[str], cells: Sequence[Sequence[str]], left: int = 0) -> Iterator[str]:
    """Lines, a little indented; none without `cells`. The first `left` columns hold words."""
    align = ["left"] * left + ["right"] * (len(headers) - left)
    if cells:
        made = tabulate(cells, headers, colalign=align, disable_numparse=True)
        yield from (f"   {line}" for line in made.splitlines())
