"""Several servers side by side: whose turn it is, what decides, and what is written down."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.bench.serve.made_up import LOAD, Standing, load

from isthmus import LinkError
from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import Ask
from isthmus_bench.serve.figures import AT_SLO, MANY, Row
from isthmus_bench.serve.measuring import Measurer
from isthmus_bench.serve.races import Runner, race
from isthmus_bench.serve.subject import DEEPEST, Subject

FPS = 5.0
STRONG, WEAK, NOBODY = 1, 2, 3
MOST = {STRONG: 40, WEAK: 10, NOBODY: 0}  # devices, by process
GONE = 4


def ignore(_said: str) -> None:
    """Nobody reads the progress."""


def fails(_runner: Runner, error: LinkError) -> None:
    """Nobody may fail."""
    raise error


class Generator:
    """Answers as services with these processes would; the loads with the numbers `hiccups` are late
    whatever they are."""

    def __init__(self, hiccups: Sequence[int] = ()) -> None:
        self.asked: list[tuple[int, int]] = []
        self._hiccups = set(hiccups)

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        assert fields["fps"] == FPS
        pid, devices = fields["pid"], fields["devices"]
        if pid not in MOST:
            raise LinkError("the server has gone")
        is_late = devices > MOST[pid] or len(self.asked) in self._hiccups
        self.asked.append((pid, devices))
        p95_ms = 80.0 if is_late else 20.0
        answer = msgspec.structs.replace(LOAD, p95_ms=p95_ms, answers_per_s=FPS * devices)
        made: dict[str, Any] = msgspec.to_builtins(answer)
        return made


@pytest.fixture
def config(serve_config: ServeBenchConfig) -> ServeBenchConfig:
    return replace(serve_config, trials=12, slo_ms=50.0, fps=FPS)


@pytest.fixture
def runners(config: ServeBenchConfig) -> list[Runner]:
    """A strong server and a weak one, which answered 150 frames a second in closed loops."""
    return [runner(config, pid, 150.0) for pid in (STRONG, WEAK)]


def runner(config: ServeBenchConfig, pid: int, rate: float, known: Sequence[int] = ()) -> Runner:
    row = Row(f"server {pid}", DEEPEST, "split", devices_at_slo=list(known))
    row.loads[MANY].append(load(answers_per_s=rate))
    return Runner.of(row, Ask(DEEPEST, "split"), Standing("nowhere", pid), config)


def test_each_gets_what_it_bears_and_the_load_that_showed_it(
    config: ServeBenchConfig, subject: Subject, runners: list[Runner]
) -> None:
    generator, said = Generator(), list[str]()
    race(Measurer(config, subject, generator), runners, 0, said.append, fails)
    strong, weak = (each.row for each in runners)
    assert 38 <= strong.devices_at_slo[0] <= MOST[STRONG]
    assert 9 <= weak.devices_at_slo[0] <= MOST[WEAK]
    for row in (strong, weak):
        (borne,) = row.loads[AT_SLO]
        assert borne.answers_per_s == FPS * row.devices_at_slo[0]
    assert len(strong.all_loads) + len(weak.all_loads) == len(generator.asked)
    assert said[0] == "turn 1, 2 of 2 go on"


def test_all_take_turns_and_none_is_always_the_first(
    config: ServeBenchConfig, subject: Subject, runners: list[Runner]
) -> None:
    generator = Generator()
    race(Measurer(config, subject, generator), runners, 0, ignore, fails)
    assert [pid for pid, _ in generator.asked[:6]] == [STRONG, WEAK, WEAK, STRONG, STRONG, WEAK]


def test_a_search_begins_near_what_a_closed_loop_got_or_where_the_round_before_ended(
    config: ServeBenchConfig,
) -> None:
    assert runner(config, WEAK, 150.0).ladder.devices == 24
    assert runner(config, WEAK, 150.0, known=[20, 0]).ladder.devices == 24
    assert runner(config, WEAK, 150.0, known=[0, 20]).ladder.devices == 20


def test_one_hiccup_decides_nothing_and_two_do(config: ServeBenchConfig, subject: Subject) -> None:
    for hiccups, most in (([0], range(38, 41)), ([0, 2], range(22, 24))):
        alone = runner(config, STRONG, 150.0)
        generator = Generator(hiccups)
        race(Measurer(config, subject, generator), [alone], 0, ignore, fails)
        assert generator.asked[:3] == [(STRONG, 24)] * 3
        assert alone.row.devices_at_slo[0] in most


def test_a_server_that_bears_nothing_has_no_load_of_that_round(
    config: ServeBenchConfig, subject: Subject
) -> None:
    none = runner(config, NOBODY, 10.0)
    race(Measurer(config, subject, Generator()), [none], 0, ignore, fails)
    assert (none.row.devices_at_slo, none.row.loads[AT_SLO]) == ([0], [])


def test_a_server_that_fails_leaves_the_race_and_the_others_go_on(
    config: ServeBenchConfig, subject: Subject, runners: list[Runner]
) -> None:
    gone, told = runner(config, GONE, 150.0), list[tuple[Runner, str]]()

    def failed(who: Runner, error: LinkError) -> None:
        told.append((who, str(error)))

    race(Measurer(config, subject, Generator()), [gone, *runners], 0, ignore, failed)
    assert told == [(gone, "the server has gone")]
    assert gone.row.devices_at_slo == []
    assert [len(each.row.devices_at_slo) for each in runners] == [1, 1]
    with pytest.raises(LinkError, match="has gone"):
        race(Measurer(config, subject, Generator()), [gone], 0, ignore, fails)
