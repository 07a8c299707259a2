"""How many frames were accepted, and how each of them ended."""

import json
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from typing import Self

__all__ = ["Count", "Lasting", "Tally"]


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of frames. `lost` never ended, `twice` ended more than once, `wrong` were answered
    with something else than what their candidate gives.
    """

    accepted: int
    cloud: int
    device: int
    errors: int
    lost: int = 0
    twice: int = 0
    wrong: int = 0

    @property
    def balances(self) -> bool:
        """Every accepted frame ended, once, and rightly."""
        ended = self.cloud + self.device + self.errors
        return self.accepted == ended and (self.lost, self.twice, self.wrong) == (0, 0, 0)

    def __add__(self, other: "Tally") -> "Tally":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Tally(*(one + another for one, another in pairs))

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Self:
        """The tally that `line` wrote."""
        return cls(**json.loads(line))


Count = Callable[[Tally], None]
Lasting = Callable[[float, float], float]  # of a short and a full duration the one that is wanted
