"""What the doctor says of the way to a cloud."""

import errno
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace
from tests.edge.doctor.certificates import (
    LASTING,
    OVER,
    TO_COME,
    Listener,
    make_certificate,
)
from tests.edge.doctor.clouds import ChattyCloud, FakeCloud, FakeNetwork, SilentCloud, refusal
from tests.edge.doctor.machine import assert_bad, states
from tests.protos.session import messages as say

from isthmus import ConfigError, encode_manifest
from isthmus.bundle import read_manifest
from isthmus.session import ServiceSession
from isthmus.v1 import split_pb2 as pb
from isthmus_edge.doctor import conversation
from isthmus_edge.doctor.finding import Finding
from isthmus_edge.doctor.link import LinkLook
from isthmus_edge.doctor.network import Address
from isthmus_edge.doctor.own_certificate import OwnCertificate
from isthmus_edge.doctor.surroundings import Surroundings
from isthmus_edge.stream.addresses import Target
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.probing import PROBE_BYTES
from isthmus_edge.stream.wording import MISMATCH_WAY_OUT

HERE = Address("IPv4", "127.0.0.1", 50051)
SIX = Address("IPv6", "::1", 50051)


def look(
    cloud: FakeCloud | None = None,
    network: FakeNetwork | None = None,
    bundle: Path | None = None,
    host: str = "localhost",
    insecure: bool = False,
    credentials: Credentials | None = None,
) -> list[Finding]:
    made = cloud or FakeCloud()
    return list(
        LinkLook(
            cloud=Target(host, 50051),
            insecure=insecure,
            credentials=credentials or Credentials(),
            bundle=bundle,
            around=Surroundings(clock_s=made.clock),
            network=network or FakeNetwork([HERE]),
            transport=made,
        ).look()
    )


def really(port: int) -> list[Finding]:
    """Over real sockets and gRPC."""
    return list(LinkLook(cloud=Target("127.0.0.1", port)).look())


def test_a_good_link_is_fine_to_its_end(tiny_bundle: Path) -> None:
    cloud = FakeCloud()
    found = look(cloud, bundle=tiny_bundle)
    steps = ("name", "tcp", "tls", "service", "rtt", "rate")
    assert states(found) == {f"link.{step}": "ok" for step in steps}
    assert cloud.is_closed


@pytest.mark.parametrize(
    ("up_bps", "down_bps", "rtt_s"),
    [(1e5, 1e5, 0.3), (5e6, 50e6, 0.04), (50e6, 5e6, 0.04), (400e6, 400e6, 0.002)],
)
def test_rates_and_round_trip_are_those_of_the_link(
    tiny_bundle: Path, up_bps: float, down_bps: float, rtt_s: float
) -> None:
    *_, trip, rate = look(FakeCloud(up_bps, rtt_s, down_bps), bundle=tiny_bundle)
    assert rate.figures["up_bps"] == pytest.approx(up_bps, rel=0.05)
    assert rate.figures["down_bps"] == pytest.approx(down_bps, rel=0.05)
    small_s = 20 * 8 * (1 / up_bps + 1 / down_bps)  # a heartbeat each way, both below 20 bytes
    assert trip.figures["rtt_min_ms"] == pytest.approx((rtt_s + small_s) * 1e3, rel=0.05)


def test_both_rates_are_told_each_with_its_direction(tiny_bundle: Path) -> None:
    rate = look(FakeCloud(up_bps=2e6, down_bps=8e6), bundle=tiny_bundle)[-1]
    assert rate.text.startswith("2.0 Mbit/s up, 8.0 down; by the plan")


def test_a_service_that_pads_no_answers_leaves_the_rate_down_open(tiny_bundle: Path) -> None:
    """One from before `answer_bytes` skips the field."""
    rate = look(FakeCloud(gives_bytes=0), bundle=tiny_bundle)[-1]
    assert rate.state == "ok"
    assert rate.figures["down_bps"] is None
    assert rate.figures["up_bps"] == pytest.approx(10e6, rel=0.05)
    assert "down not measured: the service is older" in rate.text


def test_what_came_down_counts_and_not_what_was_asked_for(tiny_bundle: Path) -> None:
    rate = look(FakeCloud(gives_bytes=1000), bundle=tiny_bundle)[-1]
    assert rate.figures["down_bps"] == pytest.approx(20e6, rel=0.05)


def test_a_burst_each_way_follows_one_small_probe_and_is_bounded(tiny_bundle: Path) -> None:
    """However fast the link is: eight heartbeats, none above what an agent's probe may have."""
    cloud = FakeCloud(up_bps=1e12, down_bps=1e12)
    look(cloud, bundle=tiny_bundle)
    least, most = PROBE_BYTES
    bursts = [least, *[most] * 8]
    assert [len(beat.padding) for beat in cloud.heard if beat.padding] == bursts
    assert [beat.answer_bytes for beat in cloud.heard if beat.answer_bytes] == bursts


def with_answers_of(size: int, bundle: Path, folder: Path) -> Path:
    """The plan of a bundle, whose answers are said to take so many bytes."""
    manifest, _ = read_manifest(bundle)
    changed = []
    for each in manifest.candidates:
        rungs = [replace(r, figures=replace(r.figures, answer_bytes=size)) for r in each.rungs]
        changed.append(replace(each, rungs=tuple(rungs)))
    folder.mkdir()
    made = replace(manifest, candidates=tuple(changed))
    (folder / "bundle.json").write_bytes(encode_manifest(made))
    return folder


def test_what_answers_take_on_their_way_down_counts_for_a_frame(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    def best_ms(size: int) -> float:
        bundle = with_answers_of(size, tiny_bundle, tmp_path / str(size))
        found = look(FakeCloud(down_bps=8e6), bundle=bundle)[-1].figures["best_split_ms"]
        assert isinstance(found, float)
        return found

    assert best_ms(20_000) - best_ms(0) == pytest.approx(20.0, rel=0.05)  # a byte in a us


def test_a_link_that_is_too_slow_for_the_plan_is_found(tiny_bundle: Path) -> None:
    """The tiny plan's best split takes 38 ms of computing and 250 bytes, its `local` 100 ms."""
    assert_bad(look(FakeCloud(up_bps=20e3), bundle=tiny_bundle)[-1], "warn", "too slow")


def test_without_a_bundle_the_service_is_known_by_its_refusal() -> None:
    cloud = FakeCloud(greeting=refusal(pb.ERROR_CODE_BUNDLE_MISMATCH, "another bundle"))
    found = look(cloud)[-1]
    assert (found.id, found.state) == ("link.service", "ok")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (pb.ERROR_CODE_BUNDLE_MISMATCH, "BUNDLE_MISMATCH"),
        (pb.ERROR_CODE_PROTOCOL, "PROTOCOL"),
    ],
)
def test_a_service_that_refuses_this_device_is_found(
    tiny_bundle: Path, code: pb.ErrorCode, name: str
) -> None:
    cloud = FakeCloud(greeting=refusal(code, "not you"))
    found = look(cloud, bundle=tiny_bundle)[-1]
    assert_bad(found, "fail", "not you")
    assert found.figures["reason"] == name
    assert cloud.is_closed


def test_a_service_with_another_bundle_says_that_it_is_another_one(tiny_bundle: Path) -> None:
    """It knows no more than the fingerprints: the model may be another, too."""
    session = ServiceSession(say.terms(), say.LIMITS, 0.0)
    _, fingerprint = read_manifest(tiny_bundle)
    hello = say.hello()
    hello.hello.bundle_fingerprint = fingerprint
    (greeting,) = say.sent_out(session.received(hello, 0.0, 0))
    found = look(FakeCloud(greeting=greeting), bundle=tiny_bundle)[-1]
    assert_bad(found, "fail", fingerprint[:12], say.FINGERPRINT[:12], "another bundle")
    assert_bad(found, "fail", "model, plan or weights differ")
    assert found.way_out == MISMATCH_WAY_OUT
    assert found.text.endswith("differ")


def test_a_service_that_is_full_is_found(tiny_bundle: Path) -> None:
    cloud = FakeCloud(greeting=refusal(pb.ERROR_CODE_OVERLOADED, "1024 devices are served"))
    assert_bad(look(cloud, bundle=tiny_bundle)[-1], "fail", "1024 devices are served")


@pytest.mark.parametrize(
    ("token", "text", "way_out"),
    [
        (None, "lets nobody in without a token", "--token-file"),
        ("secret-token", "refuses this device's token", "isthmus tokens"),
    ],
)
def test_a_service_that_does_not_let_this_device_in_is_found(
    token: str | None, text: str, way_out: str
) -> None:
    cloud = FakeCloud(greeting="UNAUTHENTICATED: who are you?")
    found = look(cloud, credentials=Credentials(token=token))[-1]
    assert_bad(found, "fail", text, "who are you?")
    assert found.figures["reason"] == "UNAUTHENTICATED"
    assert way_out in str(found.way_out)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("dates", "state", "text"),
    [
        (LASTING, "ok", "valid for"),
        (OVER, "fail", "has expired"),
        (TO_COME, "fail", "not valid before"),
    ],
)
def test_the_devices_own_certificate_is_looked_at(
    tmp_path: Path, dates: tuple[str, str], state: str, text: str
) -> None:
    own = make_certificate(tmp_path / "own", dates, names="DNS:camera-7")
    found = OwnCertificate(certificate=own.pem, key=own.key, wall_s=time.time).look()
    assert (found.id, found.state) == ("link.certificate", state)
    assert text in found.text


def test_an_own_certificate_that_soon_expires_is_a_warning_beside_the_rest_of_the_way(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    own = make_certificate(tmp_path / "own", names="DNS:camera-7")
    soon = Surroundings(wall_s=lambda: 4102444800 - 5 * 86_400)  # its end is that of 2099
    shown = Credentials(tls_ca=own.pem, tls_certificate=own.pem, tls_key=own.key)
    with Listener(own) as listener:
        found = list(
            LinkLook(
                cloud=Target("127.0.0.1", listener.port), credentials=shown, around=soon
            ).look()
        )
    (certificate,) = [each for each in found if each.id == "link.certificate"]
    assert_bad(certificate, "warn", "5 more days")


def test_a_key_of_another_certificate_is_found(tmp_path: Path) -> None:
    one, other = (make_certificate(tmp_path / name) for name in ("one", "other"))
    with pytest.raises(ConfigError, match=r"certificate\.pem, .*key\.pem: .*its own key"):
        OwnCertificate(certificate=one.pem, key=other.key, wall_s=time.time).look()


def test_a_silent_service_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE_S", 0.001)
    network = FakeNetwork([HERE], {})
    assert_bad(look(SilentCloud(), network)[-1], "fail", "no Welcome within")


def test_a_service_that_talks_and_never_answers_is_found(tiny_bundle: Path) -> None:
    """Signs of life come every second, the echo after a hundred."""
    cloud = ChattyCloud()
    found = look(cloud, bundle=tiny_bundle)[-1]
    assert found.id == "link.service"
    assert_bad(found, "fail", "SILENT", "heartbeat")
    assert cloud.is_closed


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_slow_link_may_take_its_time_for_a_whole_burst(direction: str) -> None:
    """Sixteen kilobytes at 10 kbit/s are 13 s, and 1.6 s a heartbeat."""
    cloud = FakeCloud(up_bps=10e3, down_bps=10e3)
    with conversation.Conversation(cloud, "", cloud.clock) as talk:
        talk.greet()
        found = talk.up_bps() if direction == "up" else talk.down_bps()
    assert found == pytest.approx(10e3, rel=0.05)


@pytest.mark.parametrize("host", ["foo..bar", "x" * 64 + ".example"])
def test_what_can_be_no_name_is_found(host: str) -> None:
    (finding,) = LinkLook(cloud=Target(host, 1)).look()
    assert finding.id == "link.name"
    assert_bad(finding, "fail", host)


def test_a_bundle_that_is_not_there_ends_the_look_at_the_service(tmp_path: Path) -> None:
    found = look(bundle=tmp_path / "none.bundle")
    assert [finding.id for finding in found[:3]] == ["link.name", "link.tcp", "link.tls"]
    assert found[-1].id == "link.service"
    assert_bad(found[-1], "fail", "none.bundle")


def test_a_name_that_nobody_knows_is_found() -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    (finding,) = look(network=FakeNetwork(unknown))
    assert finding.id == "link.name"
    assert_bad(finding, "fail", "Name or service not known")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("timed out"), "silent"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
    ],
)
def test_a_dead_link_is_found_with_its_kind(error: OSError, reason: str) -> None:
    finding = look(network=FakeNetwork([HERE], {HERE.ip: error}))[-1]
    assert finding.id == "link.tcp"
    assert_bad(finding, "fail", "127.0.0.1")
    assert finding.figures["reason"] == reason


def test_one_dead_address_of_two_is_a_warning_and_the_other_is_used() -> None:
    network = FakeNetwork([SIX, HERE], {SIX.ip: TimeoutError("timed out")})
    found = {finding.id: finding for finding in look(network=network)}
    assert_bad(found["link.tcp"], "warn", "127.0.0.1 connects", "::1 (IPv6) does not")
    assert "link.tls" in found


def test_another_machine_without_a_certificate_is_not_talked_to() -> None:
    cloud = FakeCloud()
    finding = look(cloud, host="cloud.example")[-1]
    assert_bad(finding, "fail", "cloud.example", "no certificate")
    assert not cloud.is_closed  # nor opened


def test_plain_text_to_another_machine_is_a_warning_where_it_is_allowed() -> None:
    found = look(host="cloud.example", insecure=True)
    assert states(found)["link.tls"] == "warn"


def test_a_wrong_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    finding = really(port)[-1]
    assert_bad(finding, "fail", "nothing listens there")


@pytest.fixture
def other_grpc() -> Iterator[int]:
    """A gRPC server without a single service."""
    with ThreadPoolExecutor(1) as workers:
        server = grpc.server(workers)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield int(port)
        server.stop(None).wait()


def test_another_grpc_service_is_found(other_grpc: int) -> None:
    finding = really(other_grpc)[-1]
    assert_bad(finding, "fail", "UNIMPLEMENTED")
    assert "another service" in str(finding.way_out)


def test_a_service_that_is_no_grpc_is_found() -> None:
    with Listener(greeting=b"HTTP/1.0 400 Bad Request\r\n\r\n") as listener:
        finding = really(listener.port)[-1]
    assert finding.id == "link.service"
    assert_bad(finding, "fail", "UNAVAILABLE")


def test_a_service_that_speaks_tls_is_found_from_plain_text(tmp_path: Path) -> None:
    with Listener(make_certificate(tmp_path / "any")) as listener:
        finding = really(listener.port)[-1]
    assert finding.id == "link.service"
    assert finding.state == "fail"
    assert "--tls-ca" in str(finding.way_out)
