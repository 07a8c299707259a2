"""Whether a trace was measured, and in which direction: what its name says, or where it is from.

The measured traces beside the checkout are called `…_up` or `…_dl`, with `_x0.1` behind it where
their rate was scaled, and the made-up ones `synthetic_…`. Of other names nothing is known.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from isthmus_bench.adapt.config import typical_excerpt
from isthmus_bench.traces import Trace, builtin_traces

__all__ = ["Origin", "origin_of", "origins_of"]

_MEASURED = re.compile(r"_(?P<way>up|dl)(?P<scaled>_?x[0-9.]+)?$")
_WAYS: dict[str, Literal["up", "down"]] = {"up": "up", "dl": "down"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`scaled`: its rates are not as they were measured, but a multiple of them."""

    kind: Literal["measured", "synthetic", "unknown"]
    direction: Literal["up", "down", "any", "unknown"]
    scaled: bool = False

    @property
    def is_measured_uplink(self) -> bool:
        """Measured in the direction that counts most here, at the rates of the trace."""
        return self.kind == "measured" and self.direction == "up" and not self.scaled

    @property
    def words(self) -> str:
        """For people."""
        match self.kind:
            case "measured":
                return f"measured {self.direction}link{', scaled' if self.scaled else ''}"
            case "synthetic":
                return "synthetic"
            case _:
                return "of unknown origin"


def origin_of(name: str) -> Origin:
    """What the name of a trace or of an excerpt (`NAME[START+SECONDSs]`) says."""
    name = name.partition("[")[0]
    if name.startswith("synthetic_"):
        return Origin(kind="synthetic", direction="any")
    if found := _MEASURED.search(name):
        way = _WAYS[found["way"]]
        return Origin(kind="measured", direction=way, scaled=found["scaled"] is not None)
    return Origin(kind="unknown", direction="unknown")


def origins_of(excerpts: Sequence[Trace], seconds: float) -> Mapping[str, Origin]:
    """Of each excerpt, by its name. Built-in traces are known by what is in them."""
    builtin = {typical_excerpt(trace, seconds) for trace in builtin_traces()}
    made_up = Origin(kind="synthetic", direction="any")
    return {
        trace.name: made_up if trace in builtin else origin_of(trace.name) for trace in excerpts
    }
