"""What a plan strives for and must hold to, which candidates do, and the nearest if none does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, isfinite, log10
from typing import Any, get_args

from isthmus import Candidate, ConfigError
from isthmus_partitioner.planning.envelope import (
    FASTEST_BPS,
    SLOWEST_BPS,
    Span,
    Stages,
    amount,
    latency_curve,
    rate_words,
)
from isthmus_partitioner.planning.objectives import Objective

__all__ = [
    "DEFAULT_GOALS",
    "Breach",
    "Goals",
    "InfeasibleError",
    "breaches_of",
    "deadline_span",
    "infeasible",
]

_LEAST_OCTAVES = 0.1  # a deadline that is met over less of bandwidth is of no use


class InfeasibleError(ConfigError):
    """No candidate meets all constraints; the message names what binds and the nearest plan.

    `nearest` are the goals that are relaxed as little as it takes, `candidate` the id of what then
    meets them.
    """

    def __init__(self, message: str, nearest: "Goals", candidate: str) -> None:
        super().__init__(message)
        self.nearest, self.candidate = nearest, candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What a plan strives for, and the constraints that it must hold to.

    `objective` is what candidates are chosen by; None keeps what is best in latency or in frames/s.
    `min_agreement` (0-1) is the floor, `deadline_ms` bounds the latency, `max_edge_memory_bytes`
    what a head takes on the device. At least a share of `privacy_depth` (0-1) of the
    multiply-accumulates has to lie before whatever leaves the device; `no_raw_input` refuses what
    has none before it. At most `candidates` are kept beside `local`. `bandwidth_bps` is the range
    of interest; `rtt_ms` the round trip of the link, of which 0 favours splitting most. With an
    `answer_top_k` above 0 so many values of a row come back from the cloud, else all.
    """

    objective: Objective | None = None
    min_agreement: float = 0.95
    deadline_ms: float | None = None
    max_edge_memory_bytes: int | None = None
    privacy_depth: float = 0.0
    no_raw_input: bool = False
    candidates: int | None = None
    bandwidth_bps: tuple[float, float] = (SLOWEST_BPS, FASTEST_BPS)
    rtt_ms: float = 0.0
    answer_top_k: int = 0

    def __post_init__(self) -> None:
        known = get_args(Objective)
        self._check("objective", self.objective in {None, *known}, ", ".join(known))
        self._check("min_agreement", 0 <= self.min_agreement <= 1, "0-1")
        for name in ("deadline_ms", "max_edge_memory_bytes"):
            value = getattr(self, name)
            self._check(name, value is None or (isfinite(value) and value > 0), "above 0")
        self._check("privacy_depth", 0 <= self.privacy_depth <= 1, "0-1")
        self._check("candidates", self.candidates is None or self.candidates >= 1, "1 or more")
        low, high = self.bandwidth_bps
        allowed = f"a lower and a higher one between {SLOWEST_BPS:g} and {FASTEST_BPS:g}"
        self._check("bandwidth_bps", SLOWEST_BPS <= low < high <= FASTEST_BPS, allowed)
        self._check("rtt_ms", isfinite(self.rtt_ms) and self.rtt_ms >= 0, "0 or more")
        self._check("answer_top_k", self.answer_top_k >= 0, "0 (all values) or more")

    def _check(self, key: str, is_right: bool, allowed: str) -> None:
        if not is_right:
            raise ConfigError(f"{key} is {getattr(self, key)}; allowed: {allowed}")

    @property
    def range(self) -> Span:
        """The bandwidths of interest."""
        return Span(*self.bandwidth_bps)


DEFAULT_GOALS = Goals()


@dataclass(frozen=True, slots=True)
class Breach:
    """One constraint that a candidate does not meet: a field of the goals, and why, in words.

    With `relaxed` instead of what the goals ask it is met; `distance` is how far that is, as a
    share of what was asked.
    """

    field: str
    words: str
    relaxed: Any
    distance: float


def breaches_of(candidate: Candidate, macs_share: float, goals: Goals) -> tuple[Breach, ...]:
    """The constraints that a candidate does not meet; `macs_share` (0-1) lies before its cut.

    Where it does not meet the agreement floor, the others are judged at the rung that a lower floor
    would lead to.
    """
    found = []
    if candidate.rung_for(goals.min_agreement) is None:
        found.append(_agreement(candidate, goals.min_agreement))
        goals = _relaxed(goals, found)
    begun = candidate.at_floor(goals.min_agreement)
    if not candidate.is_local:
        found += _privacy(macs_share, goals)
    found += _memory(begun, goals)
    return (*found, *_deadline(begun, goals))


def _agreement(candidate: Candidate, least: float) -> Breach:
    figures = candidate.rungs[0].figures
    words = (
        f"below the agreement floor {least:g}: {figures.agreement:.3f} "
        f"[{figures.agreement_low:.3f}, {figures.agreement_high:.3f}]"
    )
    if figures.agreement_high >= least:
        words += ", more evaluation inputs would decide"
    relaxed = floor(figures.agreement * 1e3) / 1e3
    return Breach("min_agreement", words, relaxed, 1 - relaxed / least)


def _privacy(macs_share: float, goals: Goals) -> Iterable[Breach]:
    if macs_share < goals.privacy_depth:
        words = (
            f"only {macs_share:.1%} of the multiply-accumulates lie before it, "
            f"the privacy depth is {goals.privacy_depth:.1%}"
        )
        relaxed = floor(macs_share * 1e3) / 1e3
        yield Breach("privacy_depth", words, relaxed, 1 - relaxed / goals.privacy_depth)
    if goals.no_raw_input and macs_share <= 0:
        yield Breach("no_raw_input", "it sends the raw input", False, 1.0)


def _memory(candidate: Candidate, goals: Goals) -> Iterable[Breach]:
    allowed, needed = goals.max_edge_memory_bytes, candidate.figures.memory_bytes
    if allowed is None or candidate.precision == "none":
        return
    if not needed:
        words = "what its head takes of the device's memory was not measured"
        yield Breach("max_edge_memory_bytes", words, None, inf)
    elif needed > allowed:
        what = "the whole network" if candidate.is_local else "its head"
        words = f"{what} takes {needed / 1e6:.1f} MB on the device, {allowed / 1e6:g} allowed"
        relaxed = ceil(needed / 1e5) * 100_000
        yield Breach("max_edge_memory_bytes", words, relaxed, relaxed / allowed - 1)


def _deadline(candidate: Candidate, goals: Goals) -> Iterable[Breach]:
    if goals.deadline_ms is None or deadline_span(candidate.figures, goals) is not None:
        return
    within = goals.range
    octaves = min(_LEAST_OCTAVES, within.octaves / 10)
    curve = latency_curve(candidate.figures, goals.rtt_ms)
    words = (
        f"{amount(curve.at(within.high_bps))} ms even at {rate_words(within.high_bps)}, "
        f"the deadline is {goals.deadline_ms:g} ms"
    )
    relaxed = _rounded_up(curve.at(within.high_bps / 2**octaves))
    yield Breach("deadline_ms", words, relaxed, relaxed / goals.deadline_ms - 1)


def deadline_span(stages: Stages, goals: Goals) -> Span | None:
    """The bandwidths of interest at which the deadline is met, if there are any."""
    within = goals.range
    if goals.deadline_ms is None:
        return within
    (line,) = latency_curve(stages, goals.rtt_ms).lines
    spare_ms = goals.deadline_ms - line.fixed
    if spare_ms < 0 or (line.sloped and line.sloped >= spare_ms * within.high_bps):
        return None
    from_bps = line.sloped / spare_ms if line.sloped else 0.0
    return Span(max(within.low_bps, from_bps), within.high_bps)


def infeasible(
    candidates: Sequence[Candidate], breaches: Mapping[str, Sequence[Breach]], goals: Goals
) -> InfeasibleError:
    """What to tell if each candidate has breaches (by id).

    The nearest is the one with the fewest constraints to relax; of these, by the least share.
    """

    def effort(candidate: Candidate) -> tuple[int, float, float]:
        own = breaches[candidate.id]
        return len(own), sum(breach.distance for breach in own), candidate.figures.device_ms

    candidate = min(candidates, key=effort)
    own = breaches[candidate.id]
    relaxed = _relaxed(goals, own)
    fields = [breach.field for breach in own]
    others = [text for name in _FLAGS if name not in fields and (text := _stated(goals, name))]
    message = (
        f"no candidate meets {' and '.join(_stated(goals, name) for name in fields)}"
        f"{' under ' if others else ''}{', '.join(others)}: "
        f"the nearest is {candidate.id} ({'; '.join(breach.words for breach in own)}); "
        f"nearest feasible plan: {_way_out(relaxed, fields)} ({_figures(candidate, relaxed)})"
    )
    return InfeasibleError(message, relaxed, candidate.id)


def _relaxed(goals: Goals, breaches: Iterable[Breach]) -> Goals:
    changes: dict[str, Any] = {breach.field: breach.relaxed for breach in breaches}
    return replace(goals, **changes)


_FLAGS: Mapping[str, tuple[str, float]] = {  # field: its flag, and the flag's unit
    "min_agreement": ("--min-agreement", 1),
    "deadline_ms": ("--deadline", 1),
    "max_edge_memory_bytes": ("--max-edge-memory", 1e6),
    "privacy_depth": ("--privacy-depth", 1),
    "no_raw_input": ("--no-raw-input", 1),
}


def _stated(goals: Goals, name: str) -> str:
    """A constraint as a flag; empty if it is not in force."""
    flag, unit = _FLAGS[name]
    value = getattr(goals, name)
    if not value:
        return ""
    return flag if value is True else f"{flag} {value / unit:g}"


def _way_out(relaxed: Goals, fields: Iterable[str]) -> str:
    return " ".join(_stated(relaxed, name) or f"no {_FLAGS[name][0]}" for name in fields)


def _figures(candidate: Candidate, goals: Goals) -> str:
    begun = candidate.at_floor(goals.min_agreement)
    bandwidth_bps = (deadline_span(begun.figures, goals) or goals.range).middle_bps
    latency_ms = latency_curve(begun.figures, goals.rtt_ms).at(bandwidth_bps)
    at = "" if candidate.is_local else f" at {rate_words(bandwidth_bps)}"
    return f"{candidate.id}, {amount(latency_ms)} ms{at}"


def _rounded_up(value: float) -> float:
    """To three digits, so that it is written as it is."""
    unit = 10.0 ** (floor(log10(value)) - 2)
    return float(f"{ceil(value / unit) * unit:.3g}")
