"""What a lane asks of its device and its link, with processes that only remember."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.bench.adapt.made_up import SCENE, policy
from tests.tinybundle import build_tiny_bundle

from isthmus import open_bundle
from isthmus_bench.adapt import lane
from isthmus_bench.adapt.lane import Lane
from isthmus_bench.adapt.subjects import Built
from isthmus_bench.traces import Trace

DRIVE = Trace("drive", (0.0, 1.0), (5.0, 2.0), 40.0)
TOLD = {
    "frames": [],
    "accepted": 0,
    "lost": 0,
    "doubled": 0,
    "switches": [],
    "device_s": 0.0,
    "unplanned_s": 0.0,
}
ANSWERS: dict[str, dict[str, Any]] = {
    "warm-up": {"connects": 4},
    "start": {"begin": 7.0},
    "finish": TOLD,
}


class Process:
    """A cloud, a relay and a device at once; `done` has what each was told, in order."""

    address = "127.0.0.1:1"

    def __init__(self) -> None:
        self.done: list[tuple[str, dict[str, Any]]] = []
        self._carried = iter((1_000, 4_500))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def do(self, verb: str, **fields: Any) -> dict[str, Any]:
        self.done.append((verb, fields))
        return ANSWERS.get(verb, {})

    def shape(self, _shape: object) -> None:
        self.done.append(("shape", {}))

    def reset(self) -> None:
        self.done.append(("reset", {}))

    def play(self, _trace: Trace) -> None:
        self.done.append(("play", {}))

    def carried_bytes(self) -> dict[str, int]:
        self.done.append(("count", {}))
        return {"uplink": next(self._carried), "downlink": 99}


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process()
    for kind in ("CloudProcess", "Relay", "EdgeProcess"):
        monkeypatch.setattr(lane, kind, lambda *_, **__: process)
    return process


@pytest.fixture
def opened(process: Process, tmp_path: Path) -> Iterator[Lane]:
    bundle = open_bundle(build_tiny_bundle(tmp_path), "device")
    with Lane(Built("net", bundle, tmp_path, 1, 0), SCENE) as opened:
        yield opened


def test_a_device_settles_on_a_later_stream_than_the_one_that_is_broken(
    opened: Lane, process: Process
) -> None:
    opened.open(policy("ours"), 5.0, 40.0)
    verbs = [verb for verb, _ in process.done]
    assert verbs.index("warm-up") < verbs.index("reset") < verbs.index("settle")
    assert dict(process.done)["settle"]["after"] == 4


def test_a_run_is_waited_for_as_long_as_its_frames_take(opened: Lane, process: Process) -> None:
    opened.start({"frames": 1200, "fps": 4.0})
    opened.finish()
    assert dict(process.done)["finish"] == {"busy_s": 300.0}


def test_what_the_link_carried_during_a_run_was_sent(opened: Lane, process: Process) -> None:
    run = opened.run(policy("ours"), DRIVE, 0)
    assert run.sent_bytes == 3_500
    verbs = [verb for verb, _ in process.done]
    assert verbs[verbs.index("play") :] == ["play", "count", "start", "finish", "close", "count"]
