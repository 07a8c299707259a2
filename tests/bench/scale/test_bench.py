"""The whole bench on a tiny bundle and one plain process; the devices are in this process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from isthmus import ConfigError
from isthmus_bench.scale.bench import run_scale_bench
from isthmus_bench.scale.config import ScaleConfig, quick_scale
from isthmus_bench.scale.data import scale_json
from isthmus_bench.scale.fleets import IN_PROCESS, KINDS
from isthmus_bench.scale.load import bear
from isthmus_bench.scale.orders import ScaleOrder
from isthmus_bench.scale.report import scale_lines


class Here:
    """Does in this process what that with the devices does; JSON between them, too."""

    def do(self, verb: str, *, busy_s: float = 0.0, **fields: Any) -> dict[str, Any]:
        line = msgspec.json.encode({"do": verb, **fields})
        made = asyncio.run(bear(msgspec.json.decode(line, type=ScaleOrder)))
        answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
        return answer


@contextmanager
def here(_module: str) -> Iterator[Here]:
    yield Here()


def test_a_run_measures_a_fleet_and_simulates_it_and_others(
    scale_config: ScaleConfig, tmp_path: Path
) -> None:
    said: list[str] = []
    kinds = [kind for kind in KINDS if kind.name == IN_PROCESS or kind.ray]
    config = replace(scale_config, work=tmp_path)
    result = run_scale_bench(config, said.append, kinds, here)
    (row,) = result.fleets
    assert row.kind.name == IN_PROCESS
    assert [len(each) for each in (row.one, row.closed, row.opened)] == [1, 1, 1]
    assert [case.fleet for case in result.cases] == [IN_PROCESS]
    assert result.cases[0].turns[0].simulated(0.99) is not None
    assert {row.devices for row in result.sizing} == {20, 3_000}
    assert {row.cut for row in result.sizing} == {tail.cut for tail in result.tails}
    figures = scale_json(result)
    assert (figures["lost"], figures["doubled"], figures["wrong"]) == (0, 0, 0)
    assert figures["accepted"] == figures["answered"] > 0
    assert figures["hop_overhead_ms_p50"] is None
    assert "--no-ray" in result.not_run["Ray"]
    assert f"round 1/1: {IN_PROCESS}" in said
    assert "Not run:" in "\n".join(scale_lines(result))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "vgg"}, "no model is called 'vgg'"),
        ({"slo_ms": 0.0}, "slo_ms is 0; allowed: above 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"rounds": 0}, "rounds is 0; allowed: 1 or more"),
        ({"replica_price": -1.0}, "replica_price is -1; allowed: 0 or more"),
        ({"kills": -1}, "kills is -1"),
        ({"fleets": ()}, "fleets are"),
        ({"fleets": (0,)}, "1 device or more"),
        ({"loads": (1.0,)}, "between 0 and 1"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(quick_scale(Path("work")), **changes)


def test_a_folder_without_traces_is_refused_before_anything_is_measured(
    scale_config: ScaleConfig, tmp_path: Path
) -> None:
    config = replace(scale_config, traces=tmp_path)
    with pytest.raises(ConfigError, match=r"no index\.json names a trace"):
        run_scale_bench(config, pytest.fail, (), here)
