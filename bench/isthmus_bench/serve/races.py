"""The greatest load that each of several servers bears, found side by side.

A machine that others use, too, is faster in one minute than in the next: servers that were measured
one after the other would differ by that. So all of them are up, and take turns, one load each; at
each load two turns of three decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

from isthmus import LinkError
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import Ask
from isthmus_bench.serve.figures import AT_SLO, MANY, Row
from isthmus_bench.serve.ladder import Ladder
from isthmus_bench.serve.measuring import Measurer
from isthmus_bench.serve.orders import Load
from isthmus_bench.serve.services import Server

_ENOUGH = 2  # turns of one kind, of at most three
_NEAR = 0.8  # of what a closed loop gets: where the search begins

__all__ = ["Runner", "race"]


@dataclass(slots=True, eq=False)
class Runner:
    """A server in a race: where its search is, and how the load that is tried now is borne."""

    row: Row
    ask: Ask
    server: Server
    ladder: Ladder
    in_time: list[Load] = field(default_factory=list)
    late: int = 0
    borne: Load | None = None

    @classmethod
    def of(cls, row: Row, ask: Ask, server: Server, config: ServeBenchConfig) -> "Runner":
        """It begins with what was found in the round before, or near what a closed loop got."""
        begin = row.devices_at_slo[-1] if row.devices_at_slo else 0
        begin = begin or ceil(_NEAR * row.loads[MANY][-1].answers_per_s / config.fps)
        return cls(row, ask, server, Ladder(begin, config.trials))

    def load(self, measurer: Measurer, round_number: int) -> Load:
        """One turn at `ladder.devices`."""
        return measurer.open_load(
            self.row, self.ask, self.server, self.ladder.devices, round_number
        )

    def took(self, load: Load, slo_ms: float) -> None:
        """How that was borne."""
        if load.p95_ms is not None and load.p95_ms <= slo_ms:
            self.in_time.append(load)
        else:
            self.late += 1
        if len(self.in_time) >= _ENOUGH:
            self.borne = self.in_time[-1]
        elif self.late < _ENOUGH:
            return
        self.ladder.tried(is_borne=len(self.in_time) >= _ENOUGH)
        self.in_time, self.late = [], 0

    def end(self) -> None:
        """Write down what was found."""
        self.row.devices_at_slo.append(self.ladder.borne)
        if self.borne is not None:
            self.row.loads[AT_SLO].append(self.borne)


def race(
    measurer: Measurer,
    runners: Sequence[Runner],
    round_number: int,
    say: Callable[[str], None],
    failed: Callable[[Runner, LinkError], None],
) -> None:
    """Turns of all, until the greatest load of each is known, which their rows get; `say` hears of
    every turn. `failed` hears of a server that fails, which leaves the race unless this raises."""
    turn, gone = 0, list[Runner]()
    while left := [each for each in runners if not each.ladder.is_done and each not in gone]:
        say(f"turn {turn + 1}, {len(left)} of {len(runners)} go on")
        for index in range(len(left)):
            runner = left[(index + turn) % len(left)]
            try:
                runner.took(runner.load(measurer, round_number), measurer.config.slo_ms)
            except LinkError as error:
                failed(runner, error)
                gone.append(runner)
        turn += 1
    for runner in runners:
        if runner not in gone:
            runner.end()
