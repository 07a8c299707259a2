"""The figures that stand for a run, by their keys."""

from dataclasses import dataclass

from isthmus_bench.scale.figures import Case, Counts, ScaleResult
from isthmus_bench.scale.fleets import IN_PROCESS, RAY_ONE, RAY_TWO, TWO_PROCESSES

AIMS = {"scaling_2": 1.7, "sim_vs_real_p99_error": 0.15}

__all__ = ["AIMS", "Scores", "case_name", "compared", "misses", "scores_of"]


@dataclass(frozen=True, slots=True)
class Scores:
    """None where it was not measured.

    `hop_overhead_ms_p50`: what the median frame of the deepest cut takes longer on Ray than
    in-process, with tails that compute. `scaling_2`: answers/s of 2 replicas beside 1, with tails
    that sleep; `scaling_efficiency_2`: half of it; `scaling_processes_2`: of 2 processes without
    Ray beside 1. `lost` to `late`: frames of all real loads; refused ones had an error.
    `unsent` ones were due and never sent. `sim_vs_real_p99_error`: of the simulation, the greatest
    of `compared` cases, without its sign; those that are `not_compared` have too few frames, or so
    many without an answer that there is no p99.
    """

    hop_overhead_ms_p50: float | None
    scaling_2: float | None
    scaling_efficiency_2: float | None
    scaling_processes_2: float | None
    unsent: int
    lost: int
    doubled: int
    wrong: int
    late: int
    refused: int
    accepted: int
    answered: int
    sim_vs_real_p99_error: float | None
    not_compared: tuple[str, ...]
    kills_hurt: int | None


def scores_of(result: ScaleResult) -> Scores:
    """Of one run."""
    loads = [load for row in (*result.fleets, *result.real) for load in row.loads]
    loads += [load for row in result.hops for load in row.loads]
    if result.kills is not None:
        loads.append(result.kills.load)
    counts = Counts.of(loads)
    two = _ratio(result, RAY_TWO, RAY_ONE)
    errors = [abs(each.p99_error or 0.0) for each in compared(result)]
    return Scores(
        hop_overhead_ms_p50=result.hops[0].hop_ms.median if result.hops else None,
        scaling_2=two,
        scaling_efficiency_2=None if two is None else two / 2,
        scaling_processes_2=_ratio(result, TWO_PROCESSES, IN_PROCESS),
        unsent=counts.unsent,
        lost=counts.lost,
        doubled=counts.doubled,
        wrong=counts.wrong,
        late=counts.late,
        refused=counts.refused,
        accepted=counts.accepted,
        answered=counts.answered,
        sim_vs_real_p99_error=max(errors, default=None),
        kills_hurt=None if result.kills is None else result.kills.hurt,
        not_compared=tuple(case_name(case) for case in result.cases if case.p99_error is None),
    )


def case_name(case: Case) -> str:
    """For people."""
    return f"{case.fleet}, {case.devices} devices"


def compared(result: ScaleResult) -> list[Case]:
    """The cases whose error counts: all of which both p99 are known, of enough frames."""
    return [case for case in result.cases if case.p99_error is not None]


def misses(scores: Scores) -> list[str]:
    """What misses its aim, in words."""
    found = []
    if scores.scaling_2 is not None and scores.scaling_2 < AIMS["scaling_2"]:
        found.append(f"2 replicas answer {scores.scaling_2:.2f} times as much as 1; aim 1.7")
    error = scores.sim_vs_real_p99_error
    if error is not None and error > AIMS["sim_vs_real_p99_error"]:
        found.append(f"the simulated p99 is off by up to {error:.0%}; aim 15 %")
    found += [f"{case} has no p99 to compare" for case in scores.not_compared]
    counts = {"lost": scores.lost, "doubled": scores.doubled, "wrong": scores.wrong}
    counts |= {"late": scores.late, "never sent": scores.unsent}
    found += [f"{count} frames {name}; aim 0" for name, count in counts.items() if count]
    if scores.kills_hurt == 0:
        found.append("no kill has cost a call: they show nothing")
    return found


def _ratio(result: ScaleResult, name: str, to: str) -> float | None:
    rows = [result.fleet(name), result.fleet(to)]
    rates = [row.answers_per_s for row in rows if row is not None]
    if len(rates) < 2 or rates[0] is None or rates[1] is None or not rates[1].median:
        return None
    return rates[0].median / rates[1].median
