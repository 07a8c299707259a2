"""One server under all its loads: what the generator is asked, what is made of its answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.bench.serve.made_up import LOAD

from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import Ask
from isthmus_bench.serve.figures import AT_SLO, FULL, MANY, ONE, Row
from isthmus_bench.serve.measuring import Measurer
from isthmus_bench.serve.services import Server
from isthmus_bench.serve.subject import DEEPEST, MIXED, Subject
from isthmus_bench.starvation import StolenTime

CAPACITY = 40  # devices


class Generator:
    """Answers as a service would that bears `CAPACITY` devices; some loads are `hiccups`."""

    def __init__(self, hiccups: Sequence[int] = ()) -> None:
        self.asked: list[dict[str, Any]] = []
        self._hiccups = list(hiccups)

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        self.asked.append({"do": verb, **fields})
        devices = fields["devices"]
        is_late = devices > CAPACITY
        if devices in self._hiccups:
            self._hiccups.remove(devices)
            is_late = True
        changes = {"p95_ms": 80.0 if is_late else 20.0, "answers_per_s": 5.0 * devices}
        answer: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(LOAD, **changes))
        return answer

    @property
    def open_loads(self) -> list[int]:
        return [each["devices"] for each in self.asked if each["fps"]]


class Stolen(StolenTime):
    """So much was stolen."""

    def __init__(self, share: float) -> None:
        self._share = share

    def share(self) -> float:
        return self._share


@pytest.fixture
def config(serve_config: ServeBenchConfig) -> ServeBenchConfig:
    return replace(serve_config, devices=8, many=4, trials=12, slo_ms=50.0)


def measured(
    config: ServeBenchConfig,
    subject: Subject,
    cloud: Server,
    generator: Generator,
    share: float = 0.0,
    sends: str = DEEPEST,
) -> Row:
    row = Row("ours", sends, "split")
    measurer = Measurer(config, subject, generator, lambda: Stolen(share))
    measurer.measure(row, Ask(sends, "split"), cloud, 0)
    return row


def test_a_row_has_every_load_and_the_most_devices_that_are_borne(
    config: ServeBenchConfig, subject: Subject, cloud: Server
) -> None:
    generator = Generator()
    row = measured(config, subject, cloud, generator)
    sizes = [(each["devices"], each["window"]) for each in generator.asked[:3]]
    assert sizes == [(1, 1), (8, 1), (8, 4)]
    assert [len(row.loads[kind]) for kind in (ONE, FULL, MANY, AT_SLO)] == [1, 1, 1, 1]
    (most,) = row.devices_at_slo
    assert 36 <= most <= CAPACITY
    assert row.loads[AT_SLO][0].answers_per_s == 5.0 * most
    assert len(row.all_loads) == len(generator.asked)


def test_the_next_round_begins_where_the_last_one_ended(
    config: ServeBenchConfig, subject: Subject, cloud: Server
) -> None:
    generator = Generator()
    row = Row("ours", DEEPEST, "split", devices_at_slo=[39])
    Measurer(config, subject, generator).measure(row, Ask(DEEPEST, "split"), cloud, 1)
    assert generator.open_loads[0] == 39


def test_devices_at_different_cuts_are_never_one_device(
    config: ServeBenchConfig, subject: Subject, cloud: Server
) -> None:
    generator = Generator()
    row = measured(config, subject, cloud, generator, sends=MIXED)
    assert row.loads[ONE] == []
    assert len(generator.asked[0]["cases"]) == 2


def test_what_neighbours_starved_is_tried_once_more(
    config: ServeBenchConfig, subject: Subject, cloud: Server
) -> None:
    measured(config, subject, cloud, usual := Generator())
    begin = usual.open_loads[0]
    unlucky = measured(config, subject, cloud, Generator([begin]), share=0.0)
    starved = Generator([begin])
    lucky = measured(config, subject, cloud, starved, share=0.2)
    assert starved.open_loads[:2] == [begin, begin]
    assert lucky.devices_at_slo[0] >= 36
    assert unlucky.devices_at_slo[0] < begin


def test_few_devices_send_for_longer_so_that_a_percentile_means_something(
    config: ServeBenchConfig, subject: Subject, cloud: Server
) -> None:
    generator = Generator()
    config = replace(config, seconds=2.0, warm_s=0.5, fps=5.0, trial_frames=150)
    measured(config, subject, cloud, generator)
    took = {each["devices"]: each["seconds"] for each in generator.asked if each["fps"]}
    assert took[7] == pytest.approx(0.5 + 150 / 35)
    assert min(took.values()) == took[max(took)] == 2.5
    generator.asked.clear()
    measured(replace(config, trial_frames=10_000), subject, cloud, generator)
    assert {each["seconds"] for each in generator.asked if each["fps"]} == {0.5 + 6.0}
