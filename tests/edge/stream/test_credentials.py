"""What a device shows a service: read for each connection, told to nobody else."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import msgspec
import pytest
from tests.commands import until
from tests.edge.doctor.certificates import Certificate, make_certificate
from tests.edge.stream.clouds import Names
from tests.edge.stream.doors import Door, door
from tests.tinybundle import tiny_pictures

from isthmus import ConfigError, LinkError
from isthmus_edge import Agent, AgentConfig, Credentials
from isthmus_edge.daemon.statusing import agent_status
from isthmus_edge.stream import lookup, uplink, ways
from isthmus_edge.stream.addresses import Target

PICTURE = tiny_pictures(1)[0]
TOKEN, OTHER = "opensesame-0123456789", "another-9876543210"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for certificates."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def for_the_name(made: Path) -> Certificate:
    """A service's, which is for its name and for no address."""
    return make_certificate(made / "service", names="DNS:cloud.example")


@pytest.fixture(scope="module")
def of_a_device(made: Path) -> Certificate:
    return make_certificate(made / "device", names="DNS:camera-7")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@contextmanager
def opened(bundle: Path, cloud: str, **settings: object) -> Iterator[Agent]:
    config = AgentConfig(bundle=bundle, cloud=cloud, candidate="cut-16", **settings)  # type: ignore[arg-type]
    with Agent.open(config) as agent:
        yield agent


# What may be given


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token": "a", "token_file": Path("b")}, "token and token_file: give one"),
        ({"token": ""}, "token: this is no token"),
        ({"token": "two words"}, "token: this is no token"),
        ({"token": "für"}, "token: this is no token"),
        ({"token": "a\r\nx-role: operator"}, "token: this is no token"),
        ({"token": "x" * 5000}, "token: this is no token"),
        ({"tls_certificate": Path("a")}, "tls_certificate and tls_key go together"),
        ({"tls_key": Path("a")}, "tls_certificate and tls_key go together"),
        ({"tls_certificate": Path("a"), "tls_key": Path("b")}, "over TLS only"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        Credentials(**settings)  # type: ignore[arg-type]
    assert "operator" not in str(refused.value)


def test_a_token_beyond_this_machine_needs_tls_or_the_word_that_plain_text_will_do() -> None:
    far = {"bundle": Path("b"), "cloud": "10.0.0.1:1", "token": TOKEN}
    with pytest.raises(ConfigError, match="the token could be read on the way") as refused:
        AgentConfig(**far)  # type: ignore[arg-type]
    assert TOKEN not in str(refused.value)
    AgentConfig(**far, insecure=True)  # type: ignore[arg-type]
    AgentConfig(**far, tls_ca=Path("ca.pem"))  # type: ignore[arg-type]
    AgentConfig(bundle=Path("b"), cloud="127.0.0.1:1", token=TOKEN)


def test_one_of_several_addresses_that_is_far_counts() -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1:1' is not this machine"):
        AgentConfig(bundle=Path("b"), cloud=("127.0.0.1:1", "10.0.0.1:1"))


def test_secrets_stand_in_no_repr(token_file: Path) -> None:
    config = AgentConfig(bundle=Path("b"), cloud="127.0.0.1:1", token=TOKEN)
    read = Credentials(token_file=token_file).read()
    assert read.token == TOKEN
    for shown in (config, config.credentials, read):
        assert TOKEN not in repr(shown)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "this is no token"), (b"\xff\xfe", "this is no token"), (b"a\nb", "this is no token")],
)
def test_a_file_that_holds_no_token_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"token: {words}"):
        Credentials(token_file=file).read()


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"x" * 100_000)
    with pytest.raises(ConfigError, match="more than 4,096 bytes"):
        Credentials(token_file=file).read()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(ConfigError, match="FIFO"):
        Credentials(token_file=tmp_path / "token").read()


@pytest.mark.parametrize("name", ["tls_ca", "tls_certificate"])
def test_a_file_that_is_no_pem_is_named(
    tmp_path: Path, for_the_name: Certificate, name: str
) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    pem = for_the_name.pem
    whole = Credentials(tls_ca=pem, tls_certificate=pem, tls_key=for_the_name.key)
    with pytest.raises(ConfigError, match=f"x.pem: holds nothing in PEM format.*{name}"):
        replace(whole, **{name: tmp_path / "x.pem"}).read()  # type: ignore[arg-type]


def test_what_cannot_be_read_at_the_opening_is_an_error_of_the_settings(tiny_bundle: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"none: No such file.*token_file"),
        opened(tiny_bundle, "127.0.0.1:1", token_file=Path("none")),
    ):
        pass


# What a service sees


def test_the_token_goes_with_the_connection(tiny_bundle: Path) -> None:
    with door(TOKEN) as here, opened(tiny_bundle, here.address, token=TOKEN) as agent:
        assert agent.infer(PICTURE).place == "cloud"
    assert here.shown == [f"Bearer {TOKEN}"]


def test_a_token_that_was_exchanged_in_its_file_is_used_at_the_next_connection(
    tiny_bundle: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REFUSED_S", 0.02)
    with door(OTHER) as here, opened(tiny_bundle, here.address, token_file=token_file) as agent:
        until(lambda: agent.stats().link_state == "refused", "the old one is not let in")
        assert agent.infer(PICTURE).place == "device"
        token_file.write_text(OTHER)
        until(lambda: agent.stats().link_state == "up", "the new one is")
        assert agent.infer(PICTURE).place == "cloud"
    assert {here.shown[0], here.shown[-1]} == {f"Bearer {TOKEN}", f"Bearer {OTHER}"}


def test_a_token_file_that_goes_missing_costs_the_cloud_and_nothing_else(
    tiny_bundle: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REFUSED_S", 0.02)
    with door(OTHER) as here, opened(tiny_bundle, here.address, token_file=token_file) as agent:
        token_file.unlink()
        until(lambda: agent.stats().link_state == "refused", "it was not let in")
        assert agent.infer(PICTURE).place == "device"
        token_file.write_text(OTHER)
        until(lambda: agent.stats().link_state == "up", "it is back")


def test_the_token_is_told_to_nobody_else(
    tiny_bundle: Path, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with door(OTHER) as here, opened(tiny_bundle, here.address, token_file=token_file) as agent:
        stats = agent.stats()
        status = msgspec.json.encode(agent_status(stats, answers=True)).decode()
    assert stats.link_state == "refused"
    (event,) = stats.events
    assert "UNAUTHENTICATED: no such token" in event.text
    assert TOKEN not in f"{stats!r}{status}{caplog.text}"


def test_a_service_may_say_how_long_to_stay_away(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "REFUSED_S", 0.0)
    seen: list[float] = []
    failed = ways.Ways.failed

    def noted(self: ways.Ways, way: ways.Way, least_s: float = 0.0) -> None:
        seen.append(least_s)
        failed(self, way, least_s)

    monkeypatch.setattr(ways.Ways, "failed", noted)
    with door(TOKEN) as here:
        here.retry_after_ms = "25000"
        with opened(tiny_bundle, here.address) as agent:
            assert agent.infer(PICTURE).place == "device"
    assert seen == [25.0]


def test_the_certificate_must_be_for_the_name_and_not_for_the_address(
    tiny_bundle: Path, for_the_name: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device connects to the address that the name stands for."""
    names = Names(**{"cloud.example": ("127.0.0.1",), "evil.example": ("127.0.0.1",)})
    monkeypatch.setattr(ways, "SystemResolver", lambda: names)
    with door(TOKEN, for_the_name) as here:
        trust = {"tls_ca": for_the_name.pem, "token": TOKEN}
        with opened(tiny_bundle, f"dns:cloud.example:{here.port}", **trust) as agent:
            assert agent.infer(PICTURE).place == "cloud"
        with opened(tiny_bundle, f"dns:evil.example:{here.port}", **trust) as agent:
            assert agent.infer(PICTURE).place == "device"
    assert len(here.shown) == 1  # the token was not shown to who is somebody else


def test_a_device_shows_its_certificate_where_it_is_asked_for_one(
    tiny_bundle: Path, made: Path, of_a_device: Certificate
) -> None:
    service = make_certificate(made / "loopback")
    own = {"tls_certificate": of_a_device.pem, "tls_key": of_a_device.key}
    with door(None, service, client_ca=of_a_device) as here:
        with opened(tiny_bundle, here.address, tls_ca=service.pem, **own) as agent:
            assert agent.infer(PICTURE).place == "cloud"
        with opened(tiny_bundle, here.address, tls_ca=service.pem) as agent:
            assert agent.infer(PICTURE).place == "device"
    assert here.names == [(b"camera-7",)]


# Names


async def test_the_system_is_asked_for_addresses_and_a_name_that_it_does_not_know_is_an_error() -> (
    None
):
    resolve = lookup.SystemResolver()
    assert set(await resolve(Target("localhost", 1))) <= {"127.0.0.1", "::1"}
    with pytest.raises(LinkError, match=r"the name foo\.\.bar is not known"):
        await resolve(Target("foo..bar", 1))


async def test_a_name_server_that_hangs_is_given_up_and_not_asked_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on, asked = Event(), []

    def hang(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        go_on.wait(20)
        return []

    monkeypatch.setattr("socket.getaddrinfo", hang)
    monkeypatch.setattr(lookup, "LOOK_UP_AT_MOST_S", 0.01)
    resolve = lookup.SystemResolver()
    for _ in range(2):
        with pytest.raises(LinkError, match=r"within 0\.01 s where slow is"):
            await resolve(Target("slow", 1))
    go_on.set()
    assert asked == ["slow"]


def test_a_door_is_a_service(tiny_bundle: Path) -> None:
    with door() as here, opened(tiny_bundle, here.address) as agent:
        assert agent.infer(PICTURE).place == "cloud"
    assert isinstance(here, Door)
    assert here.shown == [None]
