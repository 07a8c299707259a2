"""The relay's lines of JSON."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigError
from isthmus_bench.relay.protocol import (
    Command,
    Count,
    HalfOpen,
    Play,
    Refuse,
    Reset,
    Reshape,
    Script,
    changed_shape,
    described,
    described_trace,
    parsed_command,
    parsed_script,
)
from isthmus_bench.relay.shape import LinkShape
from isthmus_bench.traces import Trace

_RATES = st.one_of(st.just(math.inf), st.floats(0.0, 1e10))
_MS = st.floats(0.0, 1e4)
_TRACE = Trace("t", (0.0, 0.5), (4.0, 0.0), 60.0)


def _parsed(command: object) -> Command:
    return parsed_command(json.dumps(command).encode())


@given(_RATES, _RATES, _MS, _MS, st.integers(0, 2**60))
def test_a_shape_survives_the_way_over_json(
    uplink: float, downlink: float, rtt_ms: float, jitter_ms: float, seed: int
) -> None:
    shape = LinkShape(
        uplink_bps=uplink,
        downlink_bps=downlink,
        rtt_ms=rtt_ms,
        jitter_ms=jitter_ms,
        stalls_per_s=0.5,
        stall_ms=250.0,
        seed=seed,
    )
    command = parsed_command(json.dumps(described(shape), allow_nan=False).encode())
    assert isinstance(command, Reshape)
    back = changed_shape(LinkShape(), command.changes)
    assert back.uplink_bps == pytest.approx(uplink)
    assert back.downlink_bps == pytest.approx(downlink)
    assert (back.rtt_ms, back.jitter_ms, back.seed) == (rtt_ms, jitter_ms, seed)
    assert (back.stalls_per_s, back.stall_ms) == (0.5, 250.0)


def test_a_key_left_out_stays_as_it_was() -> None:
    before = LinkShape.symmetric(5.0, 40.0)
    after = changed_shape(before, {"uplink_mbps": 1})
    assert after == LinkShape(uplink_bps=1e6, downlink_bps=5e6, rtt_ms=40.0)


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ({"rtt_ms": 5}, Reshape({"rtt_ms": 5})),
        ({"half_open": True}, HalfOpen(True)),
        ({"half_open": False}, HalfOpen(False)),
        ({"refuse": True}, Refuse(True)),
        ({"reset": True}, Reset()),
        ({"count": True}, Count()),
        ({"script": []}, Script(())),
        (
            {"script": [[0, {"reset": True}], [2.5, {"uplink_mbps": 0}]]},
            Script(((0.0, Reset()), (2.5, Reshape({"uplink_mbps": 0})))),
        ),
        ({"play": described_trace(_TRACE)}, Play(_TRACE)),
        (
            {"play": described_trace(_TRACE), "rtt_ms": 5, "direction": "uplink"},
            Play(Trace("t", _TRACE.times_s, _TRACE.mbps, 5.0), ("uplink",)),
        ),
    ],
)
def test_a_command_is_understood(command: object, meant: Command) -> None:
    assert _parsed(command) == meant


def test_a_trace_can_be_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t_s,mbps\n0,4\n0.5,0\n", encoding="utf-8")
    command = _parsed({"play": str(tmp_path / "t.csv"), "rtt_ms": 60})
    assert command == Play(_TRACE)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"full speed\n", "full speed is not a line of JSON"),
        (b"[" * 100_000, "not a line of JSON"),
        (b'{"rate": 5}\n', "uplink_mbps, downlink_mbps, rtt_ms"),
        (b"[1, 2]\n", "uplink_mbps, downlink_mbps, rtt_ms"),
        (b"{}\n", "uplink_mbps, downlink_mbps, rtt_ms"),
        (b'{"reset": false}\n', '"reset": true'),
        (b'{"reset": true, "rtt_ms": 5}\n', "cannot use"),
        (b'{"reset": true, "count": true}\n', "cannot use"),
        (b'{"count": false}\n', '"count": true'),
        (b'{"half_open": 1}\n', "half_open, refuse .true or false."),
        (b'{"refuse": null}\n', "half_open, refuse .true or false."),
        (b'{"rtt_ms": "fast"}\n', "rtt_ms is 'fast'"),
        (b'{"rtt_ms": null}\n', "rtt_ms is None; give a number$"),
        (b'{"uplink_mbps": true}\n', "uplink_mbps is True"),
        (b'{"downlink_mbps": -2}\n', "downlink_bps is -2000000"),
        (b'{"jitter_ms": -2}\n', "jitter_ms is -2"),
        (b'{"seed": 1.5}\n', "seed is 1.5; give a whole number"),
        (b'{"seed": null}\n', "seed is None"),
        (b'{"play": 5}\n', "play is 5; give the path of a trace"),
        (b'{"play": "/nowhere.csv"}\n', r"trace /nowhere\.csv: cannot be read"),
        (
            b'{"play": {"name": "t", "times_s": [0], "mbps": ["x"], "rtt_ms": 1}}',
            "play is .*lists of numbers",
        ),
        (b'{"play": {"name": "t", "times_s": [0], "mbps": [-1], "rtt_ms": 1}}', "trace t: .* -1"),
        (b'{"play": "x", "half_open": true}\n', "cannot use half_open beside play"),
        (b'{"script": 5}\n', "script is 5; give a list"),
        (b'{"script": "file"}\n', "script is 'file'; give a list"),
    ],
)
def test_a_bad_command_is_refused_with_the_way_out(line: bytes, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parsed_command(line)


@pytest.mark.parametrize(
    ("extra", "named"),
    [({"rtt_ms": -1}, "rtt_ms is -1"), ({"direction": "sideways"}, "direction is 'sideways'")],
)
def test_what_stands_beside_a_trace_is_checked(extra: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        _parsed({"play": described_trace(_TRACE), **extra})


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ([[0, {"reset": True}], [-1, {"reset": True}]], "step 2: .*seconds of 0 or more"),
        ([[math.nan, {"reset": True}]], "step 1: .*seconds of 0 or more"),
        ([[math.inf, {"reset": True}]], "step 1: .*seconds of 0 or more"),
        ([[0]], "step 1"),
        ([[5, {"reset": True}], [4, {"reset": True}]], "step 2: 4.0 s comes before 5.0 s"),
        ([[0, {"speed": 1}]], "step 1: relay: cannot use"),
        ([[0, {"script": []}]], "step 1: a script within a script"),
        ([[0, {"reset": True}]] * 100_001, "at most 100000"),
    ],
)
def test_a_bad_script_is_refused_with_the_step(steps: object, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parsed_script(steps)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ConfigError) as raised:
        _parsed({"x" * 10_000: 1})
    assert len(str(raised.value)) < 600
