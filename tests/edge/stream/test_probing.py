"""Probes measure a link that carries no frames: rarely, and sized for it."""

import pytest

from isthmus.session import Echoed
from isthmus_edge.link import LinkEstimate, LinkEstimator
from isthmus_edge.stream.probing import (
    IDLE_S,
    OPENING_PROBES,
    PROBE_BYTES,
    WANTED_S,
    Probing,
    fitting_bytes,
)

LINK = LinkEstimate(bandwidth_bps=2e6, rtt_ms=40)


@pytest.fixture
def probing() -> Probing:
    probing = Probing(LinkEstimator())
    probing.padding_bytes(LINK, 0.0, idle=True)  # the clock starts with the first beat
    return probing


def test_an_idle_link_is_probed_now_and_then(probing: Probing) -> None:
    beats = [0.4 * count for count in range(1, 60)]
    padded = [at for at in beats if probing.padding_bytes(LINK, at, idle=True)]
    assert len(padded) == int(beats[-1] / IDLE_S)


def test_it_is_probed_more_often_while_that_could_change_a_decision(probing: Probing) -> None:
    probing.wanted = True
    assert probing.padding_bytes(LINK, WANTED_S - 0.01, idle=True) == 0
    assert probing.padding_bytes(LINK, WANTED_S, idle=True) > 0
    assert probing.padding_bytes(LINK, WANTED_S + 0.1, idle=True) == 0


def test_frames_measure_the_link_by_themselves(probing: Probing) -> None:
    probing.wanted = True
    for at in (1.0, 2.0, 3.0):
        probing.note_frame()
        assert probing.padding_bytes(LINK, at, idle=True) == 0
    assert probing.padding_bytes(LINK, 3.0 + WANTED_S, idle=False) == 0
    assert probing.padding_bytes(LINK, 3.0 + WANTED_S, idle=True) > 0


@pytest.mark.parametrize(
    ("mbps", "size"), [(None, PROBE_BYTES[0]), (0.01, 2_000), (2, 12_500), (1000, 32_000)]
)
def test_a_probe_is_sized_for_its_link_within_bounds(mbps: float | None, size: int) -> None:
    link = None if mbps is None else LinkEstimate(bandwidth_bps=mbps * 1e6, rtt_ms=40)
    assert fitting_bytes(link) == size


def test_a_stream_opens_with_beats_and_is_measured_by_its_first_probes() -> None:
    probing = Probing(LinkEstimator())
    paddings = probing.opening()
    assert [padding > 0 for padding in paddings] == [False, False, False, True]
    follows = []
    for beat_id in range(1, OPENING_PROBES + 1):
        assert not probing.measured.is_set()
        probing.sent(beat_id, beat_id, PROBE_BYTES[0])
        follows.append(probing.echoed(Echoed(beat_id, 1.0, 0.0), 1.0))
    assert follows == [True] * (OPENING_PROBES - 1) + [False]
    assert probing.measured.is_set()
    probing.begin()
    assert not probing.measured.is_set()
