"""The relay's lines of JSON."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import ConfigError
from isthmus_bench.relay_protocol import changed_shape, described, parsed_command
from isthmus_bench.shaping import LinkShape

_RATES = st.one_of(st.just(math.inf), st.floats(0.0, 1e10))


@given(_RATES, _RATES, st.floats(0.0, 1e4))
def test_a_shape_survives_the_way_over_json(uplink: float, downlink: float, rtt_ms: float) -> None:
    shape = LinkShape(uplink_bps=uplink, downlink_bps=downlink, rtt_ms=rtt_ms)
    line = json.dumps(described(shape), allow_nan=False).encode()
    back = changed_shape(LinkShape(), parsed_command(line))
    assert back.uplink_bps == pytest.approx(uplink)
    assert back.downlink_bps == pytest.approx(downlink)
    assert back.rtt_ms == rtt_ms


def test_a_key_left_out_stays_as_it_was() -> None:
    before = LinkShape.symmetric(5.0, 40.0)
    after = changed_shape(before, {"uplink_mbps": 1})
    assert after == LinkShape(uplink_bps=1e6, downlink_bps=5e6, rtt_ms=40.0)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"full speed\n", "not a line of JSON"),
        (b'{"rate": 5}\n', "uplink_mbps, downlink_mbps, rtt_ms"),
        (b"[1, 2]\n", "uplink_mbps, downlink_mbps, rtt_ms"),
        (b"{}\n", "uplink_mbps, downlink_mbps, rtt_ms"),
        (b'{"reset": false}\n', '"reset": true'),
        (b'{"rtt_ms": "fast"}\n', "rtt_ms is 'fast'"),
        (b'{"uplink_mbps": true}\n', "uplink_mbps is True"),
        (b'{"downlink_mbps": -2}\n', "downlink_bps is -2000000"),
        (b'{"rtt_ms": null}\n', "rtt_ms is inf"),
    ],
)
def test_a_bad_command_is_refused_with_the_way_out(line: bytes, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        changed_shape(LinkShape(), parsed_command(line))
