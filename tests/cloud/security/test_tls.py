"""The service's certificate: what cannot be used is named, and a new one is taken up in service."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cloud.announcements import whole
from tests.cloud.device import GUARD_S
from tests.cloud.security.authority import VALID_DAYS, Authority, Pair
from tests.cloud.security.probe import Probe, ask, probing
from tests.cloud.wire import until

from isthmus import ConfigError
from isthmus_cloud import ServiceConfig
from isthmus_cloud.faces import tls
from isthmus_cloud.faces.tls import ServedCertificate
from isthmus_cloud.security import OpenDoor


class Clock:
    """Seconds that pass when somebody looks."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._now_s = 0.0

    def __call__(self) -> float:
        self._now_s += self._step_s
        return self._now_s


@pytest.fixture
def files(tmp_path: Path, server_pair: Pair) -> tuple[Path, Path]:
    return server_pair.write(tmp_path)


class Calendar:
    """Days from now on, as the test says."""

    def __init__(self, days: float) -> None:
        self.days = days

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.days)


def served(
    files: tuple[Path, Path], step_s: float = 2.0, calendar: Calendar | None = None
) -> ServedCertificate:
    return ServedCertificate(*files, clock=Clock(step_s), now=calendar or Calendar(0))


async def trusted_by(authority: Authority, address: str) -> bool:
    told = await ask(address, grpc.ssl_channel_credentials(authority.pem))
    return told.code is grpc.StatusCode.OK


async def test_a_renewed_certificate_is_taken_up_without_a_restart(
    over_tls: ServiceConfig, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    new = Authority("new")
    async with probing(Probe(OpenDoor()), over_tls) as address:
        assert await trusted_by(authority, address)
        new.server().write(tmp_path)
        assert await trusted_by(new, address)
        assert not await trusted_by(authority, address)


async def test_open_connections_outlive_the_certificate(
    over_tls: ServiceConfig, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    async with probing(Probe(OpenDoor()), over_tls) as address:
        trust = grpc.ssl_channel_credentials(authority.pem)
        async with grpc.aio.secure_channel(address, trust) as channel:
            call: Any = channel.unary_unary("/p/who")
            await call(b"device")
            new = Authority("new")
            new.server().write(tmp_path)
            assert await trusted_by(new, address)
            await call(b"device")


async def test_other_client_authorities_are_taken_up_too(
    mutual: ServiceConfig, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    others = Authority("others")
    mine, theirs = (
        grpc.ssl_channel_credentials(authority.pem, pair.key, pair.certificate)
        for pair in (authority.client("camera"), others.client("camera"))
    )
    assert mutual.client_ca is not None
    async with probing(Probe(OpenDoor()), mutual) as address:
        assert (await ask(address, mine)).code is grpc.StatusCode.OK
        assert (await ask(address, theirs)).code is grpc.StatusCode.UNAVAILABLE
        mutual.client_ca.write_bytes(others.pem)
        assert (await ask(address, theirs)).code is grpc.StatusCode.OK
        assert (await ask(address, mine)).code is grpc.StatusCode.UNAVAILABLE


def test_a_pair_that_is_half_written_changes_nothing_and_is_told_once(
    files: tuple[Path, Path], authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = files
    now = served(files)
    new = authority.server()
    certificate.write_bytes(new.certificate)
    with caplog.at_level(logging.INFO):
        assert [now.renewed() for _ in range(3)] == [None] * 3
        (line,) = caplog.messages
        assert "cannot be used" in line
        assert line.endswith("the certificate before it stays in use")
        key.write_bytes(new.key)
        assert now.renewed() is not None
        assert now.renewed() is None
    assert caplog.messages[1:] == [
        f"new connections get the certificate that is in {certificate} now"
    ]


def test_files_are_not_looked_at_for_every_connection(
    files: tuple[Path, Path], authority: Authority, tmp_path: Path
) -> None:
    now = served(files, step_s=0.3)
    authority.server().write(tmp_path)
    looks = [now.renewed() is not None for _ in range(8)]
    assert looks == [False, False, False, True, False, False, False, False]


def test_what_was_found_between_connections_is_what_the_next_one_gets(
    files: tuple[Path, Path], authority: Authority, tmp_path: Path
) -> None:
    now = served(files, step_s=0.0)  # it is never time to look because of a connection
    authority.server().write(tmp_path)
    assert now.renewed() is None
    now.look()
    files[0].write_bytes(b"")
    now.look()
    assert now.renewed() is not None
    assert now.renewed() is None


@pytest.mark.parametrize("broken", ["tls_certificate", "client_ca"])
async def test_a_service_tells_what_cannot_be_used_though_nobody_comes(
    broken: str,
    mutual: ServiceConfig,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.01)
    config = replace(mutual, bundle=tiny_bundle, threads=1, provider="cpu")
    path: Path = getattr(config, broken)
    spoil = partial(path.write_bytes, b"")
    async with whole(config), asyncio.timeout(GUARD_S):
        spoil()
        await until(lambda: "the certificate before it stays in use" in caplog.text)
    (line,) = [each for each in caplog.messages if "stays in use" in each]
    assert str(path) in line


def test_a_certificate_that_is_gone_changes_nothing(files: tuple[Path, Path]) -> None:
    now = served(files)
    for path in files:
        path.unlink()
    assert now.renewed() is None


@pytest.mark.parametrize(
    ("mode", "lines"), [(0o600, 0), (0o640, 0), (0o644, 1)], ids=["600", "640", "644"]
)
def test_a_key_that_all_may_read_is_told(
    files: tuple[Path, Path], mode: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    files[1].chmod(mode)
    served(files)
    assert len(caplog.messages) == lines
    assert all(str(files[1]) in line and "chmod o=" in line for line in caplog.messages)


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_authorities_that_cannot_be_used_are_named(
    files: tuple[Path, Path], tmp_path: Path, content: bytes | None
) -> None:
    client_ca = tmp_path / "clients.pem"
    if content is not None:
        client_ca.write_bytes(content)
    with pytest.raises(ConfigError, match=r"clients\.pem cannot be used to check"):
        ServedCertificate(*files, client_ca)


async def test_a_service_with_such_authorities_does_not_start(
    mutual: ServiceConfig, tmp_path: Path
) -> None:
    broken = replace(mutual, client_ca=tmp_path / "gone.pem")
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        async with probing(Probe(OpenDoor()), broken):
            pass


def test_a_certificate_that_is_over_is_refused_with_its_date(files: tuple[Path, Path]) -> None:
    over = Calendar(VALID_DAYS + 1)
    with pytest.raises(ConfigError) as refused:
        served(files, calendar=over)
    until = datetime.now(UTC) + timedelta(days=VALID_DAYS)
    assert f"{files[0]} was valid until {until:%Y-%m-%d}" in str(refused.value)
    assert f"it is {over():%Y-%m-%d}" in str(refused.value)


def test_a_certificate_that_is_over_does_not_take_the_place_of_one_that_is_not(
    files: tuple[Path, Path], authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calendar = Calendar(0)
    now = served(files, calendar=calendar)
    authority.server().write(tmp_path)
    calendar.days = VALID_DAYS + 1
    assert now.renewed() is None
    assert caplog.messages[-1].endswith("the certificate before it stays in use")


@pytest.mark.parametrize(("days", "lines"), [(0, 0), (-15, 0), (-13, 1)])
def test_the_end_of_a_certificate_is_told_two_weeks_before(
    files: tuple[Path, Path], days: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    served(files, calendar=Calendar(days and VALID_DAYS + days))
    assert len(caplog.messages) == lines
    assert all(f"{files[0]} is valid until" in line for line in caplog.messages)


def test_the_end_is_told_once_a_day_to_a_service_that_runs(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    calendar = Calendar(VALID_DAYS - 20)
    now = served(files, calendar=calendar)
    told = []
    for days in (0, 7, 7.1, 7.9, 8.2, 9.3):
        calendar.days = VALID_DAYS - 20 + days
        assert now.renewed() is None
        told.append(len(caplog.messages))
    assert told == [0, 1, 1, 1, 2, 3]


def test_the_end_of_an_authority_is_told_too(
    files: tuple[Path, Path], authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(authority.pem + Authority("another").pem)
    ServedCertificate(*files, client_ca, now=Calendar(VALID_DAYS - 20))
    assert caplog.messages == []
    ServedCertificate(*files, client_ca, now=Calendar(VALID_DAYS - 10))
    _, *lines = caplog.messages
    starts = [f"{client_ca}: the authority CN={name} is valid" for name in ("authority", "another")]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


def test_a_certificate_that_is_not_valid_yet_is_told_and_used(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """The clock of this machine may be the one that is wrong."""
    served(files, calendar=Calendar(-3))
    (line,) = caplog.messages
    assert f"{files[0]} is valid from" in line
    assert "is the clock of this machine right?" in line
