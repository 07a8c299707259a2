"""The link is cut, half-open, stalls or flaps, while a camera sends frames."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.commands import until
from tests.integration.faults.processes import MARGIN_BYTES, CountedCloud
from tests.integration.faults.settling import Settle
from tests.integration.faults.tally import Lasting
from tests.integration.faults.traffic import WINDOW, SlowRests, Traffic, opened

from isthmus_bench.relay import LinkShape, Relay


@pytest.fixture(scope="module")
def cloud(tiny_bundle: Path) -> Iterator[CountedCloud]:
    """One for all, since these faults leave it alone; each test begins with an idle one."""
    with CountedCloud(tiny_bundle) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def shared_relay(cloud: CountedCloud) -> Iterator[Relay]:
    with Relay(cloud.address) as relay:
        yield relay


@pytest.fixture
def relay(cloud: CountedCloud, shared_relay: Relay) -> Relay:
    """As new, also after a test that failed."""
    shared_relay.half_open(False)
    shared_relay.refuse(False)
    shared_relay.shape(LinkShape())
    shared_relay.reset()
    until(lambda: cloud.holds_only(0), "no session is left of the test before")
    return shared_relay


@pytest.fixture
def answered_before(cloud: CountedCloud, relay: Relay) -> int:
    """Frames that tails were asked for before this test."""
    return cloud.counts().answering


@pytest.fixture
def traffic(tiny_bundle: Path, cloud: CountedCloud, relay: Relay) -> Iterator[Traffic]:
    with opened(tiny_bundle, relay.address, patience_ms=500.0) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.note_level()
        yield traffic


@pytest.fixture
def slow_traffic(
    tiny_bundle: Path, cloud: CountedCloud, relay: Relay, answered_before: int
) -> Iterator[Traffic]:
    """Of a device on which the link is back before it has finished what was under way."""
    with opened(tiny_bundle, relay.address, pace=SlowRests()) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.note_level()
        yield traffic


def is_down(traffic: Traffic) -> Callable[[], bool]:
    return lambda: traffic.agent.stats().link_state == "down"


@pytest.mark.fault("link cut")
def test_frames_are_answered_while_the_link_is_cut_and_after(
    cloud: CountedCloud, relay: Relay, traffic: Traffic, settle: Settle, lasting: Lasting
) -> None:
    relay.refuse()
    relay.reset()
    traffic.flow(is_down(traffic), "the link is known to be down")
    traffic.flow_for(lasting(0.4, 10.0))
    relay.refuse(False)
    traffic.flow_until_answered_by("cloud")
    tally = settle(traffic, cloud)
    assert min(tally.cloud, tally.device) > 0


@pytest.mark.fault("link half-open")
def test_a_half_open_link_is_found_out_and_replaced(
    cloud: CountedCloud, relay: Relay, traffic: Traffic, settle: Settle, lasting: Lasting
) -> None:
    relay.half_open()
    traffic.flow(is_down(traffic), "the link is known to be down")
    traffic.flow_for(lasting(0.1, 5.0))
    relay.half_open(False)
    traffic.flow_until_answered_by("cloud")
    tally = settle(traffic, cloud)
    assert min(tally.cloud, tally.device) > 0


@pytest.mark.fault("link stalls")
def test_a_link_that_stalls_without_a_close_costs_no_frame(
    cloud: CountedCloud, relay: Relay, traffic: Traffic, settle: Settle, lasting: Lasting
) -> None:
    relay.shape(LinkShape(uplink_bps=0, downlink_bps=0))
    traffic.send(WINDOW)
    late = traffic.answered_by("device") + WINDOW
    traffic.flow(lambda: traffic.answered_by("device") >= late, "the device answers what is late")
    traffic.flow_for(lasting(0.0, 5.0))
    relay.shape(LinkShape())
    traffic.flow_until_answered_by("cloud")
    tally = settle(traffic, cloud)
    assert min(tally.cloud, tally.device) > 0


@pytest.mark.fault("link flaps")
def test_flaps_in_a_row_cost_no_frame_and_no_doubled_work(
    cloud: CountedCloud,
    relay: Relay,
    answered_before: int,
    slow_traffic: Traffic,
    settle: Settle,
    lasting: Lasting,
) -> None:
    traffic, flaps = slow_traffic, int(lasting(8, 50))
    for flap in range(1, flaps + 1):
        traffic.flow_until_answered_by("cloud", 1)
        if flap % 2:
            lose_frames(relay, traffic)
        else:
            lose_answers(cloud, relay, traffic)
        relay.shape(LinkShape())
        traffic.flow(has_connected(traffic, flap + 1), "the link is up again")
        if flap == flaps // 4:
            level = cloud.counts()
    traffic.flow_until_answered_by("cloud")
    tally = settle(traffic, cloud)
    end = cloud.counts()
    assert end.answering - answered_before <= tally.accepted  # no tail ran twice, although ...
    assert 0 < traffic.agent.stats().sent_again <= flaps * WINDOW  # ... frames were sent twice,
    assert traffic.resumed > 0  # ... and answers were
    assert end.rss_bytes < level.rss_bytes + MARGIN_BYTES


def lose_frames(relay: Relay, traffic: Traffic) -> None:
    """Reset the link when the device has sent a window of frames, and the server has none."""
    relay.shape(LinkShape(uplink_bps=0))
    traffic.fill()
    relay.reset()


def lose_answers(cloud: CountedCloud, relay: Relay, traffic: Traffic) -> None:
    """Reset the link when the server has a window of frames, and the device none of the answers."""
    relay.shape(LinkShape(downlink_bps=0))
    enough = cloud.counts().answering + WINDOW
    traffic.fill()
    until(
        lambda: cloud.counts().answering >= enough or traffic.agent.stats().link_state != "up",
        "the server has the frames",
    )
    relay.reset()


def has_connected(traffic: Traffic, times: int) -> Callable[[], bool]:
    return lambda: traffic.agent.stats().connects >= times
