"""One server in closed loops, and with cameras: what the generator is asked to do."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.bench.serve.made_up import LOAD, Standing

from isthmus_bench.serve.config import ServeBenchConfig
from isthmus_bench.serve.contestants import Ask
from isthmus_bench.serve.figures import AT_SLO, FULL, MANY, ONE, Row
from isthmus_bench.serve.measuring import Measurer
from isthmus_bench.serve.subject import DEEPEST, MIXED, Subject

SERVER = Standing("nowhere", 1)


class Generator:
    """Does nothing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        assert verb == "load"
        assert busy_s == fields["seconds"]
        self.asked.append(fields)
        answer: dict[str, Any] = msgspec.to_builtins(LOAD)
        return answer


@pytest.fixture
def config(serve_config: ServeBenchConfig) -> ServeBenchConfig:
    return replace(serve_config, devices=8, many=4)


def test_a_row_has_every_closed_loop(config: ServeBenchConfig, subject: Subject) -> None:
    generator, row = Generator(), Row("ours", DEEPEST, "split")
    Measurer(config, subject, generator).measure(row, Ask(DEEPEST, "split"), SERVER, 0)
    sizes = [(each["devices"], each["window"]) for each in generator.asked]
    assert sizes == [(1, 1), (8, 1), (8, 4)]
    assert {each["fps"] for each in generator.asked} == {0.0}
    assert [len(row.loads[kind]) for kind in (ONE, FULL, MANY, AT_SLO)] == [1, 1, 1, 0]
    assert len(row.all_loads) == 3


def test_devices_at_different_cuts_are_never_one_device(
    config: ServeBenchConfig, subject: Subject
) -> None:
    generator, row = Generator(), Row("ours", MIXED, "split")
    Measurer(config, subject, generator).measure(row, Ask(MIXED, "split"), SERVER, 0)
    assert row.loads[ONE] == []
    assert len(generator.asked[0]["cases"]) == 2


def test_few_devices_send_for_longer_so_that_a_percentile_means_something(
    config: ServeBenchConfig, subject: Subject
) -> None:
    config = replace(config, seconds=2.0, warm_s=0.5, fps=5.0, trial_frames=150)

    def seconds(devices: int, config: ServeBenchConfig) -> float:
        generator, row = Generator(), Row("ours", DEEPEST, "split")
        measurer = Measurer(config, subject, generator)
        measurer.open_load(row, Ask(DEEPEST, "split"), SERVER, devices, 0)
        (asked,) = generator.asked
        assert (asked["devices"], asked["fps"], len(row.all_loads)) == (devices, 5.0, 1)
        return float(asked["seconds"])

    assert seconds(7, config) == pytest.approx(0.5 + 150 / 35)
    assert seconds(100, config) == 2.5
    assert seconds(7, replace(config, trial_frames=10_000)) == 0.5 + 6.0
