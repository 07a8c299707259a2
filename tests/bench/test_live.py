"""The live run, with a device and a link that follow a script, on a clock that the script moves."""

from typing import Any, cast

import pytest

from isthmus_bench import live
from isthmus_bench.live import LivePhase, LiveResult, run_live
from isthmus_bench.processes import EdgeProcess
from isthmus_bench.relay import LinkShape, Relay

PHASES = [LivePhase(18.88, 2.0), LivePhase(0.0, 2.0), LivePhase(18.88, 2.0)]
SECONDS_A_FRAME = 0.5


class Script:
    """Stands in for device, link and the `time` module: a frame every half second.

    While the link is cut off the device answers. `late` frames come out only after "stop",
    `missing` ones were accepted and never end, `claimed` ones are counted and never come out.
    """

    def __init__(self, *, late: int = 0, missing: int = 0, claimed: int = 0) -> None:
        self.now_s = 50.0
        self.frames: list[dict[str, Any]] = [{"event": "frame of an earlier run"}]
        self.shapes: list[tuple[float, LinkShape]] = []
        self.orders: list[str] = []
        self._late = late
        self._missing = missing
        self._claimed = claimed
        self._places = {"cloud": 0, "device": 0}

    def monotonic(self) -> float:
        return self.now_s

    def shape(self, shape: LinkShape) -> None:
        self.shapes.append((self.now_s, shape))

    def do(self, verb: str) -> dict[str, Any]:
        self.orders.append(verb)
        if verb == "live":
            return {"live": "running"}
        for _ in range(self._late):
            self.frames.append(self._frame())
        stats = {
            "accepted": sum(self._places.values()) + self._missing + self._claimed,
            "answered_cloud": self._places["cloud"],
            "answered_device": self._places["device"] + self._claimed,
            "errors": 0,
            "switches": [],
        }
        return {"live": stats}

    def watch(self, seconds: float) -> dict[str, Any] | None:
        self.now_s += min(SECONDS_A_FRAME, seconds)
        if seconds < SECONDS_A_FRAME:
            return None
        self.frames.append(self._frame())
        return self.frames[-1]

    def _frame(self) -> dict[str, Any]:
        place = "cloud" if self.shapes[-1][1].uplink_bps else "device"
        self._places[place] += 1
        return {
            "event": "frame",
            "sequence": sum(self._places.values()),
            "at": self.now_s,
            "latency_ms": 42.0,
            "candidate": "cut-16" if place == "cloud" else "local",
            "place": place,
        }


def played(
    script: Script, monkeypatch: pytest.MonkeyPatch, said: list[str] | None = None
) -> LiveResult:
    monkeypatch.setattr(live, "time", script)
    lines = [] if said is None else said
    return run_live(cast(EdgeProcess, script), cast(Relay, script), PHASES, 40.0, lines.append)


def test_the_link_takes_each_shape_in_turn_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script()
    result = played(script, monkeypatch)
    assert [(at_s - 50.0, shape.uplink_bps) for at_s, shape in script.shapes] == [
        (0.0, pytest.approx(18.88e6)),
        (2.0, 0.0),
        (4.0, pytest.approx(18.88e6)),
    ]
    assert {shape.rtt_ms for _, shape in script.shapes} == {40.0}
    assert all(shape.uplink_bps == shape.downlink_bps for _, shape in script.shapes)
    assert result.phases == [
        (0.0, 2.0, "18.88 Mbit/s"),
        (2.0, 4.0, "cut off"),
        (4.0, 6.0, "18.88 Mbit/s"),
    ]
    assert script.orders == ["live", "stop"]


def test_every_frame_is_counted_in_its_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    result = played(Script(), monkeypatch)
    assert [result.places_in(phase) for phase in range(3)] == [
        {"cloud": 4},
        {"device": 4},
        {"cloud": 4},
    ]
    assert [event.at_s for event in result.events] == [0.5 * n for n in range(1, 13)]
    assert (result.accepted, result.lost) == (12, 0)
    assert result.summary() == "accepted 12, answered 12 (cloud 8, device 4), lost 0"


def test_frames_that_end_after_the_last_phase_belong_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = played(Script(late=3), monkeypatch)
    assert result.places_in(2) == {"cloud": 7}
    assert (result.accepted, result.lost) == (15, 0)


def test_a_frame_that_never_came_out_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    result = played(Script(missing=2), monkeypatch)
    assert (result.accepted, result.lost) == (14, 2)
    assert result.summary().endswith("lost 2")


def test_an_answer_that_is_only_claimed_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's own count is not believed: the frame must have been handed over."""
    result = played(Script(claimed=1), monkeypatch)
    assert (result.accepted, result.lost) == (13, 1)


def test_each_change_of_link_and_of_candidate_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    played(Script(), monkeypatch, said)
    assert [line.partition(" s  ")[2].strip() for line in said] == [
        "link: 18.88 Mbit/s",
        "cut-16 in use, the cloud answers",
        "link: cut off",
        "local in use, the device answers",
        "link: 18.88 Mbit/s",
        "cut-16 in use, the cloud answers",
    ]
