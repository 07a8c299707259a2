"""Random plans, goals and links for properties of the policy, and how far inputs have moved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, log

from hypothesis import strategies as st
from tests import candidates

from isthmus import Candidate, Symbols
from isthmus_edge.link import LinkEstimate
from isthmus_edge.policy.choice import Decision, Situation, decide
from isthmus_edge.policy.cost import Goal
from isthmus_edge.policy.forecast import FARTHEST
from isthmus_edge.policy.vitals import LIMIT_C, WARM_RANGE_C, Vitals

SYMBOLS = Symbols(levels=16, step=0.5, zero_point=8)
FLOOR = 0.95

__all__ = [
    "FLOOR",
    "SYMBOLS",
    "Plan",
    "State",
    "at_break_even",
    "course",
    "goals",
    "moved",
    "plans",
    "some_steps",
    "states",
    "walks",
]


@dataclass(frozen=True)
class Plan:
    """Candidates, what the device needs behind their cuts, and the least time of any of them."""

    pool: tuple[Candidate, ...]
    rest_ms: dict[str, float]

    @property
    def least_ms(self) -> float:
        """No frame is answered sooner, whatever the link."""
        return min(
            c.figures.device_ms + min(c.figures.cloud_ms, self.rest_ms[c.id]) for c in self.pool
        )


@dataclass(frozen=True)
class State:
    """The inputs that move; logarithms where they scale, milliseconds where they add."""

    ln_mbps: float
    spread: float
    rtt_ms: float
    rtt_spread_ms: float
    queue_ms: float
    ln_device: float
    ln_cloud: float
    ln_weight: float

    def but(self, **changes: float) -> "State":
        """The same with some inputs changed."""
        return replace(self, **changes)

    def seen(self, plan: Plan, in_use: str | None = None) -> Situation:
        """The situation of a device with that plan."""
        scale = exp(self.ln_device)
        heat = exp(self.ln_weight) - 1
        link = LinkEstimate(
            bandwidth_bps=1e6 * exp(self.ln_mbps),
            rtt_ms=self.rtt_ms,
            bandwidth_spread=self.spread,
            rtt_spread_ms=self.rtt_spread_ms,
        )
        return Situation(
            link=link,
            device_scale=scale,
            cloud_scale=exp(self.ln_cloud),
            queue_ms=self.queue_ms,
            answer_bytes=400,
            rest_ms={name: rest * scale for name, rest in plan.rest_ms.items()},
            vitals=Vitals(temperature_c=LIMIT_C - WARM_RANGE_C * (1 - heat)),
            in_use=in_use,
        )


def moved(a: State, b: State, least_ms: float) -> float:
    """How far the inputs moved, as docs/policy.md counts it; `least_ms` holds for both states."""
    scaled = (
        abs(b.ln_mbps - a.ln_mbps)
        + abs(b.ln_device - a.ln_device)
        + abs(b.ln_cloud - a.ln_cloud)
        + abs(b.ln_weight - a.ln_weight)
    )
    added = abs(b.rtt_ms - a.rtt_ms) + abs(b.queue_ms - a.queue_ms)
    widened_ms = abs(b.rtt_spread_ms - a.rtt_spread_ms)
    return (
        scaled
        + 2 * FARTHEST * abs(b.spread - a.spread)
        + (added + 2 * FARTHEST * widened_ms) / least_ms
    )


_RANGES = {
    "ln_mbps": (log(0.02), log(200)),
    "spread": (0.0, 1.5),
    "rtt_ms": (0.0, 300.0),
    "rtt_spread_ms": (0.0, 60.0),
    "queue_ms": (0.0, 300.0),
    "ln_device": (-1.0, 1.5),
    "ln_cloud": (-1.0, 3.0),
    "ln_weight": (0.0, log(2)),
}


def _split(index: int) -> st.SearchStrategy[tuple[Candidate, float]]:
    def built(share: float, whole_ms: float, size: int, cloud_ms: float) -> Candidate:
        step = candidates.rung(
            SYMBOLS, edge_ms=share * whole_ms, payload_bytes=size, cloud_ms=cloud_ms
        )
        return candidates.candidate(f"c{index}", step, kept=True)

    shares = st.floats(0.02, 1.0)
    return shares.flatmap(
        lambda share: st.tuples(
            st.builds(
                built,
                st.just(share),
                st.just(400.0),
                st.integers(200, 120_000),
                st.floats(1.0, 60.0),
            ),
            st.just(400.0 * (1 - share) + 1.0),
        )
    )


def plans(most: int = 12) -> st.SearchStrategy[Plan]:
    """`local`, `input` and up to `most` - 2 splits of a network that takes about 400 ms."""
    local = candidates.candidate("local", candidates.rung(None, edge_ms=400.0), kept=True)

    def whole(splits: list[tuple[Candidate, float]]) -> Plan:
        pool = (local, *(candidate for candidate, _ in splits))
        return Plan(pool, {"local": 0.0} | {c.id: rest for c, rest in splits})

    return st.integers(1, most - 1).flatmap(
        lambda count: st.tuples(*(_split(index) for index in range(count))).map(
            lambda splits: whole(list(splits))
        )
    )


def goals() -> st.SearchStrategy[Goal]:
    """Every kind of goal, above a floor that all candidates meet."""
    return st.builds(
        Goal,
        st.sampled_from(["latency", "throughput"]),
        st.just(FLOOR),
        st.none() | st.floats(5.0, 2_000.0),
        st.sampled_from(["full", "saver"]),
    )


def states() -> st.SearchStrategy[State]:
    """Any situation."""
    return st.builds(State, **{name: st.floats(*span) for name, span in _RANGES.items()})


def walks(start: State, steps: Sequence[tuple[str, float]]) -> Iterator[State]:
    """From `start`, one input after another moves by a share of its range, and stays within it."""
    here = {name: getattr(start, name) for name in _RANGES}
    yield start
    for name, share in steps:
        low, high = _RANGES[name]
        here[name] = min(max(here[name] + share * (high - low), low), high)
        yield State(**here)


def some_steps(largest: float = 0.1) -> st.SearchStrategy[list[tuple[str, float]]]:
    """What `walks` takes; bandwidth moves most often."""
    names = st.sampled_from([*_RANGES, *["ln_mbps"] * 8])
    return st.lists(st.tuples(names, st.floats(-largest, largest)), min_size=1, max_size=60)


def at_break_even(plan: Plan, goal: Goal, state: State) -> State:
    """The state with the bandwidth at which the choice changes; any where it never does.

    If a cost jumped anywhere, it would be found here.
    """

    def chosen(ln_mbps: float) -> str:
        return decide(plan.pool, state.but(ln_mbps=ln_mbps).seen(plan), goal).candidate.id

    low, high = _RANGES["ln_mbps"]
    below = chosen(low)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if chosen(middle) == below else (low, middle)
    return state.but(ln_mbps=low)


def course(plan: Plan, path: Sequence[State | None], goal: Goal) -> list[Decision]:
    """The decisions along a path, each with the last one's candidate in use; None is no link."""
    made: list[Decision] = []
    for state in path:
        in_use = made[-1].candidate.id if made else None
        seen = Situation(link=None, in_use=in_use) if state is None else state.seen(plan, in_use)
        made.append(decide(plan.pool, seen, goal))
    return made
