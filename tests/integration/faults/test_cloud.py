"""The cloud dies, comes back, is another one, refuses, or lives in another time."""

import signal
import time
from pathlib import Path

import pytest
from tests.commands import PATIENCE_S, Cloud, until
from tests.integration.faults.clock import AHEAD, BACK
from tests.integration.faults.cloud_process import JUMPS
from tests.integration.faults.processes import CountedCloud, jump
from tests.integration.faults.settling import Settle
from tests.integration.faults.traffic import WINDOW, opened

from isthmus import PeerError, open_bundle


@pytest.mark.fault("server killed")
def test_frames_in_flight_when_the_server_is_killed_are_answered(
    tiny_bundle: Path, settle: Settle
) -> None:
    with Cloud(tiny_bundle) as cloud, opened(tiny_bundle, cloud.address) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.process.send_signal(signal.SIGSTOP)  # or it might answer before it dies
        traffic.fill()
        cloud.process.kill()
        traffic.flow_until_answered_by("device", 2 * WINDOW)
        tally = settle(traffic)
    assert min(tally.cloud, tally.device) > 0


@pytest.mark.fault("server restarted")
def test_a_server_that_is_restarted_answers_again(tiny_bundle: Path, settle: Settle) -> None:
    with Cloud(tiny_bundle) as cloud, opened(tiny_bundle, cloud.address) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.process.send_signal(signal.SIGSTOP)
        traffic.fill()
        cloud.process.kill()
        cloud.ended()
        with CountedCloud(tiny_bundle, cloud.address) as new:
            traffic.flow_until_answered_by("cloud")
            new.note_level()
            traffic.flow_until_answered_by("cloud", 2 * WINDOW)
            tally = settle(traffic, new)
        assert traffic.agent.stats().connects >= 2
    assert min(tally.cloud, tally.device) > 0


@pytest.mark.fault("server restarted with another bundle")
def test_a_server_that_comes_back_with_another_bundle_is_left_alone(
    tiny_bundle: Path, other_bundle: Path, settle: Settle
) -> None:
    with Cloud(tiny_bundle) as cloud, opened(tiny_bundle, cloud.address) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.process.send_signal(signal.SIGSTOP)
        traffic.fill()
        cloud.process.kill()
        cloud.ended()
        with CountedCloud(other_bundle, cloud.address) as new:
            new.note_level()
            traffic.flow(
                lambda: traffic.agent.stats().link_state == "refused", "the link is refused"
            )
            before = traffic.answered_by("cloud")
            traffic.flow_until_answered_by("device")
            settle(traffic, new, sessions=0)
            assert traffic.answered_by("cloud") == before


@pytest.mark.fault("wrong fingerprint")
def test_a_device_with_another_bundle_is_refused_and_the_others_are_served(
    tiny_bundle: Path, other_bundle: Path, settle: Settle
) -> None:
    theirs = open_bundle(other_bundle, "device").fingerprint[:12]
    with CountedCloud(tiny_bundle) as cloud, opened(tiny_bundle, cloud.address) as traffic:
        traffic.flow_until_answered_by("cloud")
        cloud.note_level()
        for _ in range(3):
            alone = opened(other_bundle, cloud.address, require_cloud=True)
            with pytest.raises(PeerError, match=theirs), alone:
                pass
            traffic.flow_until_answered_by("cloud")
        tally = settle(traffic, cloud)  # it holds nothing of those it refused
    assert tally.accepted == tally.cloud


@pytest.mark.fault("server overloaded")
def test_frames_that_an_overloaded_server_refuses_are_answered_by_the_device(
    tiny_bundle: Path, settle: Settle
) -> None:
    one_frame = 11304  # bytes that the largest frame of the plan and its answer may take
    flags = ("--max-bytes-in-flight", one_frame)
    with (
        CountedCloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud,
        opened(tiny_bundle, cloud.address, patience_ms=PATIENCE_S * 1e3) as traffic,
    ):
        traffic.flow_until_answered_by("cloud")
        cloud.note_level()

        def refused() -> bool:
            """Frames that were read together, perhaps before the first of them was done."""
            cloud.process.send_signal(signal.SIGSTOP)
            traffic.fill()
            cloud.process.send_signal(signal.SIGCONT)
            until(lambda: traffic.agent.stats().pending == 0, "all have ended")
            return traffic.answered_by("device") > 0

        until(refused, "the service had too many frames at once")
        tally = settle(traffic, cloud)
    assert min(tally.cloud, tally.device) > 0


@pytest.mark.fault("server's clock jumps")
def test_the_servers_clock_may_jump(tiny_bundle: Path, settle: Settle) -> None:
    with (
        CountedCloud(tiny_bundle, "127.0.0.1:0", JUMPS) as cloud,
        opened(tiny_bundle, cloud.address) as traffic,
    ):
        traffic.flow_until_answered_by("cloud")
        cloud.note_level()
        traffic.send(WINDOW)

        def connects() -> int:
            return traffic.agent.stats().connects

        def reconnected() -> bool:
            """What was read right behind the jump counts as heard after it: then it jumps again."""
            jump(cloud, AHEAD)
            traffic.send(WINDOW)
            end_s = time.monotonic() + 3.0
            traffic.flow(lambda: connects() >= 2 or time.monotonic() > end_s, "three seconds")
            return connects() >= 2

        until(reconnected, "its stream was ended")
        traffic.flow_until_answered_by("cloud", 2 * WINDOW)
        # Because nothing was heard for so long; or, if it was just being written to, not read.
        until(lambda: "stream_closed" in cloud.complaints(), "it says that the stream has ended")
        traffic.send(WINDOW)
        jump(cloud, BACK)
        traffic.send(WINDOW)
        traffic.flow_until_answered_by("cloud", 2 * WINDOW)
        settle(traffic, cloud)
        assert "reloaded" not in cloud.complaints()
