"""Which guard a service gets, and that changes of the tokens file reach it while it serves."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cloud.device import GUARD_S
from tests.cloud.wire import until

from isthmus import ConfigError
from isthmus_cloud import ServiceConfig
from isthmus_cloud.security import (
    Caller,
    CertificateGuard,
    DeniedError,
    DeviceDoor,
    Guard,
    OpenDoor,
    TokenGuard,
    doors,
    guarded,
)
from isthmus_cloud.security.tokens import Entry, Token, added, digest_of, new_token, revoked
from isthmus_cloud.security.tokens_file import change_tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.jsonl"


@pytest.fixture
def secret(path: Path) -> str:
    """The token of "camera", which is in the file."""
    secret = new_token()
    entry = Entry(name="camera", tokens=(Token(sha256=digest_of(secret)),))
    change_tokens(path, lambda entries: added(entries, entry), makes=True)
    return secret


def told(tokens: Path | None, *, client_ca: bool = False, loopback: bool = True) -> ServiceConfig:
    pem = Path("some.pem") if client_ca else None
    return ServiceConfig(
        bundle=Path(),
        listen="127.0.0.1:0" if loopback else "0.0.0.0:0",
        insecure=True,
        tls_certificate=pem,
        tls_key=pem,
        client_ca=pem,
        tokens=tokens,
        tokens_in_clear=True,
    )


def bearing(token: str, *names: str) -> Caller:
    return Caller(peer="p", metadata={"authorization": f"Bearer {token}"}, certificate_names=names)


@pytest.mark.parametrize(
    ("client_ca", "loopback", "kind"),
    [
        (False, True, OpenDoor),
        (False, False, DeviceDoor),
        (True, True, CertificateGuard),
        (True, False, CertificateGuard),
    ],
)
async def test_without_a_tokens_file_the_way_there_decides(
    *, client_ca: bool, loopback: bool, kind: type[OpenDoor]
) -> None:
    async with guarded(told(None, client_ca=client_ca, loopback=loopback)) as guard:
        assert type(guard) is kind


@pytest.mark.parametrize("loopback", [True, False])
async def test_with_a_tokens_file_tokens_are_asked_on_the_loopback_too(
    path: Path, secret: str, *, loopback: bool
) -> None:
    async with guarded(told(path, loopback=loopback)) as guard:
        assert guard.admit(bearing(secret), "device").name == "camera"
        with pytest.raises(DeniedError):
            guard.admit(Caller(peer="p"), "device")


async def test_with_both_the_certificate_must_have_the_same_name(path: Path, secret: str) -> None:
    async with guarded(told(path, client_ca=True)) as guard:
        assert guard.admit(bearing(secret, "camera"), "device").name == "camera"
        with pytest.raises(DeniedError, match="not of the same identity"):
            guard.admit(bearing(secret), "device")


async def test_without_the_file_the_service_does_not_start(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokens\.jsonl cannot be read: .* tokens add"):
        async with guarded(told(path)):
            pass


async def test_a_revoked_token_is_shut_out_while_the_service_runs(
    path: Path, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    use = TokenGuard.use

    def used(guard: TokenGuard, entries: Sequence[Entry]) -> None:
        use(guard, entries)
        loop.call_soon_threadsafe(heard.set)

    monkeypatch.setattr(doors, "REFRESH_S", 0.0)
    monkeypatch.setattr(TokenGuard, "use", used)
    async with guarded(told(path)) as guard, asyncio.timeout(GUARD_S):
        camera = guard.admit(bearing(secret), "device")
        guard.stream(camera)
        await heard.wait()
        heard.clear()
        change_tokens(path, lambda entries: revoked(entries, "camera"))
        await heard.wait()
        with pytest.raises(DeniedError):
            guard.admit(bearing(secret), "device")
        with pytest.raises(DeniedError):
            guard.frame(camera)


async def test_a_revocation_is_seen_while_all_shared_threads_are_busy(
    path: Path, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models are loaded on them."""
    monkeypatch.setattr(doors, "REFRESH_S", 0.0)
    loop, done = asyncio.get_running_loop(), threading.Event()
    shared = ThreadPoolExecutor(1)
    loop.set_default_executor(shared)
    busy = loop.run_in_executor(None, done.wait, GUARD_S)
    try:
        async with guarded(told(path)) as guard:
            change_tokens(path, lambda entries: revoked(entries, "camera"))
            await until(lambda: not lets_in(guard, secret))
    finally:
        done.set()
        assert await busy


async def test_a_file_that_could_not_be_taken_up_is_logged_and_read_again(
    path: Path, secret: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults, use = [RuntimeError("a bug")], TokenGuard.use

    def used(guard: TokenGuard, entries: Sequence[Entry]) -> None:
        if faults and not entries[0].tokens:
            raise faults.pop()
        use(guard, entries)

    monkeypatch.setattr(doors, "REFRESH_S", 0.0)
    monkeypatch.setattr(TokenGuard, "use", used)
    async with guarded(told(path)) as guard:
        change_tokens(path, lambda entries: revoked(entries, "camera"))
        await until(lambda: not lets_in(guard, secret))
    assert "a bug" in caplog.text


async def test_its_thread_has_a_name_of_its_own(path: Path, secret: str) -> None:
    before = {each.name for each in threading.enumerate()}
    async with guarded(told(path)):
        assert {each.name for each in threading.enumerate()} - before == {"isthmus-tokens_0"}


def lets_in(guard: Guard, secret: str) -> bool:
    try:
        guard.admit(bearing(secret), "device")
    except DeniedError:
        return False
    return True


async def test_nothing_is_left_running(path: Path, secret: str) -> None:
    before = asyncio.all_tasks()
    async with guarded(told(path)):
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"])
def test_tokens_do_not_cross_a_network_in_the_clear_unless_that_is_said(listen: str) -> None:
    tokens = Path("tokens.jsonl")
    with pytest.raises(ConfigError, match=r"in the clear.*--tokens-in-clear"):
        ServiceConfig(bundle=Path(), listen=listen, insecure=True, tokens=tokens)
    assert ServiceConfig(
        bundle=Path(), listen=listen, insecure=True, tokens=tokens, tokens_in_clear=True
    )
    pem = Path("some.pem")
    assert ServiceConfig(
        bundle=Path(), listen=listen, tokens=tokens, tls_certificate=pem, tls_key=pem
    )


def test_on_the_loopback_tokens_need_no_tls() -> None:
    assert ServiceConfig(bundle=Path(), tokens=Path("tokens.jsonl")).tokens


def test_without_tls_no_certificates_can_be_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"--client-ca.*--tls-cert, --tls-key"):
        ServiceConfig(bundle=Path(), client_ca=Path("clients.pem"))
