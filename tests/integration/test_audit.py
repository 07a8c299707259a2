"""The guard with real processes: what has drifted is left, what is honest is left alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.commands import PATIENCE_S, Cloud, until
from tests.doctored import Damage, build_doctored_bundle
from tests.edge.fakes import PlannedPace
from tests.tinybundle import tiny_pictures

from isthmus import open_bundle
from isthmus_edge import Agent, AgentConfig, Answer

PICTURES = tiny_pictures(40)
CHECKS = 30  # three times what it takes to find what is wholly broken


@contextmanager
def guarded(bundle: Path, on_event: Callable[[str], None]) -> Iterator[Agent]:
    """An agent that has every frame audited, and its cloud; the plan's times hold."""
    with Cloud(bundle) as cloud:
        config = AgentConfig(
            bundle=bundle,
            cloud=cloud.address,
            require_cloud=True,
            rate_control=False,  # the coarsest rung that the floor allows
            audit_share=1.0,
            connect_timeout_s=PATIENCE_S,
            silence_s=PATIENCE_S,
            patience_ms=PATIENCE_S * 1e3,
        )
        pace = PlannedPace(open_bundle(bundle, "device").manifest)
        with Agent.open(config, pace=pace, on_event=on_event) as agent:
            yield agent


def answers_until(agent: Agent, done: Callable[[Agent, Answer], bool], what: str) -> list[Answer]:
    """One frame after the other until it is done."""
    answers: list[Answer] = []
    numbers = count()

    def one_more() -> bool:
        answers.append(agent.infer(PICTURES[next(numbers) % len(PICTURES)]))
        return done(agent, answers[-1])

    until(one_more, what)
    return answers


def ways(answers: list[Answer]) -> list[tuple[str, int]]:
    """Candidates and rungs in the order of their first use.

    But for `local`: a machine that stands still for a moment looks like a link that is dead.
    """
    used = ((answer.candidate, answer.rung) for answer in answers)
    return [way for way in dict.fromkeys(used) if way[0] != "local"]


def doctored(tiny_bundle: Path, tmp_path: Path, damage: Damage) -> Path:
    return build_doctored_bundle(tiny_bundle, tmp_path / "bundle", damage)


def test_an_honest_plan_is_left_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    events: list[str] = []
    with guarded(doctored(tiny_bundle, tmp_path, "none"), events.append) as agent:
        answers = answers_until(
            agent, lambda agent, _: agent.stats().audits.checked >= CHECKS, "enough verdicts"
        )
        stats = agent.stats()
    assert ways(answers) == [("cut", 1)]
    assert stats.audits.agreed == stats.audits.checked
    assert list(stats.audits.by_rung) == ["cut@1"]
    assert (events, stats.events) == ([], ())


def test_a_rung_that_has_drifted_gives_way_to_a_finer_one(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    events: list[str] = []
    with guarded(doctored(tiny_bundle, tmp_path, "coarse rung"), events.append) as agent:
        found = answers_until(agent, lambda _, answer: answer.rung == 0, "the finer rung")
        later = answers_until(
            agent,
            lambda agent, _: _checked(agent, "cut@0") >= CHECKS,
            "enough verdicts on the finer rung",
        )
        stats = agent.stats()
    assert ways(found) == [("cut", 1), ("cut", 0)]
    assert ways(later) == [("cut", 0)]
    assert len(events) == len(stats.events) == 1
    assert events[0].startswith("drift: cut@1 ")
    assert stats.audits.by_rung["cut@1"].has_drifted
    assert not stats.audits.by_rung["cut@0"].has_drifted


def test_a_cut_that_is_wrong_at_every_rung_gives_way_to_the_whole_input(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    events: list[str] = []
    with guarded(doctored(tiny_bundle, tmp_path, "tail"), events.append) as agent:
        answers = answers_until(
            agent, lambda _, answer: answer.candidate == "input-raw", "the whole input"
        )
        stats = agent.stats()
    assert ways(answers) == [("cut", 1), ("cut", 0), ("input-raw", 0)]
    assert [line.split()[1] for line in events] == ["cut@1", "cut@0"]
    assert [event.text for event in stats.events] == events
    # Verdicts change no answer that was given.
    in_cloud = sum(answer.candidate != "local" for answer in answers)
    assert (stats.answered_cloud, stats.accepted) == (in_cloud, len(answers))


def _checked(agent: Agent, rung: str) -> int:
    known = agent.stats().audits.by_rung.get(rung)
    return 0 if known is None else known.checked
