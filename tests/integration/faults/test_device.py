"""The device dies, does not read, sends rubbish, or lives in another time."""

import random
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.cloud.device import Head
from tests.integration.faults.clock import AHEAD, BACK
from tests.integration.faults.processes import (
    MARGIN_BYTES,
    CountedCloud,
    FilmingDevice,
    assert_near,
    jump,
)
from tests.integration.faults.raw_device import RawDevice, tally_of
from tests.integration.faults.settling import Settle
from tests.integration.faults.tally import Count, Lasting
from tests.integration.faults.traffic import CANDIDATES, WINDOW, opened

from isthmus import open_bundle
from isthmus.v1 import split_pb2 as pb

MANY = 200_000  # frames: more than flow control lets out to a service that does not read


@pytest.mark.fault("device killed")
def test_what_the_server_holds_for_killed_devices_is_freed(
    tiny_bundle: Path, settle: Settle, lasting: Lasting
) -> None:
    flags, killed = ("--resume-s", lasting(0.5, 10.0)), int(lasting(1, 3))
    with (
        CountedCloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud,
        opened(tiny_bundle, cloud.address) as survivor,
    ):
        survivor.flow_until_answered_by("cloud")
        cloud.note_level()
        with ExitStack() as stack:
            made = (FilmingDevice(tiny_bundle, cloud.address) for _ in range(killed))
            filming = [stack.enter_context(device) for device in made]
            for device in filming:
                device.answered_by("cloud", 2 * WINDOW)
            level = cloud.counts()
            for device in filming:
                device.process.kill()
            survivor.flow(lambda: cloud.counts().sessions == 1, "their sessions are gone")
        tally = settle(survivor, cloud)
        end = cloud.counts()
    assert level.sessions == 1 + killed
    assert end.rss_bytes < level.rss_bytes + MARGIN_BYTES
    assert end.threads <= level.threads
    assert tally.accepted == tally.cloud


@pytest.mark.fault("slow reader")
def test_a_device_that_does_not_read_is_held_back_and_the_others_are_served(
    tiny_bundle: Path, settle: Settle, count: Count
) -> None:
    bundle = open_bundle(tiny_bundle, "device")
    frame = Head(open_bundle(tiny_bundle, "cloud")).frame("input-raw")
    with (
        CountedCloud(tiny_bundle, "127.0.0.1:0", "--resume-s", 0.5) as cloud,
        opened(tiny_bundle, cloud.address) as other,
    ):
        other.flow_until_answered_by("cloud")
        before = cloud.counts()
        cloud.note_level()
        with RawDevice(cloud.address, "slow", bundle.fingerprint) as device:
            device.flood(frame, MANY)
            assert device.taken_until_stuck() < MANY
            other.flow_until_answered_by("cloud", 2 * WINDOW)
            held = cloud.counts()
            ends = device.end_flood()
            ends += device.all_outcomes(settled_through=device.flooded)
        slow = tally_of(device.flooded, ends)
        count(slow)
        other.flow(lambda: cloud.counts().sessions == 1, "its session is gone")
        tally = settle(other, cloud)
    assert held.rss_bytes < before.rss_bytes + MARGIN_BYTES
    assert held.bytes_in_flight <= WINDOW * 2 * frame.ByteSize()  # payloads and tensors
    assert tally.accepted == tally.cloud
    assert slow.balances, slow
    assert slow.cloud > 0
    assert {kind for _, kind in ends} <= {"result", "ERROR_CODE_OVERLOADED"}


@pytest.mark.fault("corrupt frame")
def test_corrupt_frames_end_one_by_one_and_the_others_are_served(
    tiny_bundle: Path, settle: Settle, count: Count, lasting: Lasting
) -> None:
    bundle = open_bundle(tiny_bundle, "device")
    head, chance = Head(open_bundle(tiny_bundle, "cloud")), random.Random(5)
    frames = int(lasting(100, 400))
    with (
        CountedCloud(tiny_bundle) as cloud,
        opened(tiny_bundle, cloud.address) as other,
        RawDevice(cloud.address, "corrupt", bundle.fingerprint) as device,
    ):
        other.flow_until_answered_by("cloud")
        cloud.note_level()
        ends = []
        for sequence in range(1, frames + 1):
            device.send(frame=_corrupt(head.frame(chance.choice(CANDIDATES), sequence), chance))
            ends.append(device.outcome())
            assert ends[-1][0] == sequence
            if sequence % 20 == 0:
                other.send(1)
        ends += device.all_outcomes(settled_through=frames)
        corrupt = tally_of(frames, ends)
        count(corrupt)
        tally = settle(other, cloud, sessions=2)
    assert {kind for _, kind in ends} <= {
        "result",
        "ERROR_CODE_BAD_FRAME",
        "ERROR_CODE_UNKNOWN_CANDIDATE",
    }
    assert corrupt.balances, corrupt
    assert corrupt.errors > 0
    assert tally.accepted == tally.cloud


@pytest.mark.fault("device's clock jumps")
def test_the_devices_clock_may_jump(tiny_bundle: Path, count: Count) -> None:
    with (
        CountedCloud(tiny_bundle, "127.0.0.1:0", "--resume-s", 0.5) as cloud,
        FilmingDevice(tiny_bundle, cloud.address) as device,
    ):
        device.answered_by("cloud", 2 * WINDOW)
        cloud.note_level()
        level_bytes = device.rss_bytes()
        for way in (AHEAD, BACK):
            jump(device, way)
            device.answered_by("cloud", 2 * WINDOW)
        assert_near(device.rss_bytes(), level_bytes)
        tally = device.tally()
        count(tally)
        cloud.assert_at_level(sessions=0)
        streams = cloud.complaints().count("stream_opened")
    assert streams >= 2  # ahead: the link counts as silent
    assert tally.balances, tally


def _corrupt(frame: pb.Frame, chance: random.Random) -> pb.Frame:
    """Some of its bytes are others, or missing, or it says that it is something else."""
    payload = frame.payloads[0]
    data = bytearray(payload.data)
    match chance.randrange(5):
        case 0:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[chance.randrange(len(data)) :]
        case 2:
            data += bytes(chance.randrange(1, 5000))
        case 3:
            payload.mask_bytes = chance.randrange(1, 2**32)
        case _:
            frame.candidate += "?"
    payload.data = bytes(data)
    return frame
