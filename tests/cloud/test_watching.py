"""What a page shows is remembered only where there is one, and its secrets are those of today."""

import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cloud.announcements import whole
from tests.edge.doctor.certificates import OVER, make_certificate
from tests.protos.web.asking import ask, connected, serving

from isthmus.web import WebConfig, WebServer
from isthmus_cloud import ServiceConfig
from isthmus_cloud.watching import Page, watched

FREE = "127.0.0.1:0"
FIRST, SECOND = "first-token-of-the-page", "another-token-of-the-page"


@dataclass(frozen=True)
class Renewing:
    """A page whose token is in `file`."""

    server: WebServer
    page: Page
    file: Path

    async def status(self, token: str) -> int:
        return (await ask(self.server, "/", authorization=f"Bearer {token}")).status


@pytest.fixture
async def renewing(tmp_path: Path) -> AsyncIterator[Renewing]:
    file = tmp_path / "token"
    file.write_text(FIRST, encoding="ascii")
    config = WebConfig(listen=FREE, token=FIRST)
    async with serving(config) as server:
        yield Renewing(server, Page(server, config, file), file)


async def test_a_new_token_holds_when_its_file_was_looked_at(renewing: Renewing) -> None:
    await renewing.page.look()
    assert (await renewing.status(FIRST), await renewing.status(SECOND)) == (200, 401)
    renewing.file.write_text(SECOND, encoding="ascii")
    await renewing.page.look()
    assert (await renewing.status(FIRST), await renewing.status(SECOND)) == (401, 200)


async def test_a_token_that_was_changed_during_the_start_holds_after_the_first_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud.watching")
    file = tmp_path / "token"
    file.write_text(SECOND, encoding="ascii")  # after FIRST was read from it
    config = WebConfig(listen=FREE, token=FIRST)
    async with serving(config) as server:
        now = Renewing(server, Page(server, config, file), file)
        await now.page.look()
        assert (await now.status(FIRST), await now.status(SECOND)) == (401, 200)
        await now.page.look()
    assert len(caplog.records) == 1


async def test_the_first_look_says_nothing_where_nothing_has_changed(
    renewing: Renewing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud.watching")
    await renewing.page.look()
    assert caplog.records == []


async def test_a_look_that_fails_is_logged_and_the_same_files_are_looked_at_again(
    renewing: Renewing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens: list[str | None] = []
    faults = [RuntimeError("a bug")]

    def use_token(token: str | None) -> None:
        if faults:
            raise faults.pop()
        tokens.append(token)

    monkeypatch.setattr(renewing.server, "use_token", use_token)
    renewing.file.write_text(SECOND, encoding="ascii")
    for _ in range(3):
        await renewing.page.look()
    assert "a bug" in caplog.text
    assert tokens == [SECOND]


@pytest.mark.parametrize("content", ["short", None])
async def test_a_token_file_that_is_none_is_told_once_and_changes_nothing(
    renewing: Renewing, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    if content is None:
        renewing.file.unlink()
    else:
        renewing.file.write_text(content, encoding="ascii")
    await renewing.page.look()
    await renewing.page.look()
    assert await renewing.status(FIRST) == 200
    (line,) = [each for each in caplog.records if each.name == "isthmus_cloud.watching"]
    assert str(renewing.file) in line.getMessage()
    assert "keeps" in line.getMessage()


async def test_a_new_certificate_holds_though_the_token_file_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "token"
    old, new = make_certificate(tmp_path / "old"), make_certificate(tmp_path / "new")
    config = WebConfig(listen=FREE, token=FIRST, tls_certificate=old.pem, tls_key=old.key)
    async with serving(config) as server:
        old.pem.write_bytes(new.pem.read_bytes())
        old.key.write_bytes(new.key.read_bytes())
        await Page(server, config, file).look()
        trusting = ssl.create_default_context(cafile=new.pem)
        answer = await ask(server, "/", authorization=f"Bearer {FIRST}", context=trusting)
    assert answer.status == 200


async def test_an_expired_certificate_is_not_taken_up_and_a_new_token_beside_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud.watching")
    file = tmp_path / "token"
    file.write_text(FIRST, encoding="ascii")
    made, over = make_certificate(tmp_path / "tls"), make_certificate(tmp_path / "over", OVER)
    trusting = ssl.create_default_context(cafile=made.pem)
    config = WebConfig(listen=FREE, token=FIRST, tls_certificate=made.pem, tls_key=made.key)
    async with serving(config) as server:
        page = Page(server, config, file)
        await page.look()
        over.pem.replace(made.pem)
        over.key.replace(made.key)
        file.write_text(SECOND, encoding="ascii")
        for _ in range(2):
            await page.look()
        answer = await ask(server, "/", authorization=f"Bearer {SECOND}", context=trusting)
    assert answer.status == 200
    taken, refused = caplog.messages
    assert taken == f"the page has its token from {file} again"
    assert "was valid until 2021-01-01" in refused
    assert refused.endswith("the page keeps the certificate before")


async def test_the_log_says_which_of_the_two_has_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "isthmus_cloud.watching")
    file = tmp_path / "token"
    file.write_text(FIRST, encoding="ascii")
    made, new = make_certificate(tmp_path / "tls"), make_certificate(tmp_path / "new")
    config = WebConfig(listen=FREE, token=FIRST, tls_certificate=made.pem, tls_key=made.key)
    async with serving(config) as server:
        page = Page(server, config, file)
        await page.look()
        new.pem.replace(made.pem)
        new.key.replace(made.key)
        await page.look()
    assert caplog.messages == [f"the page has its certificate from {made.pem} and {made.key} again"]


async def test_a_service_looks_at_its_pages_files_by_itself(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.watching.LOOK_S", 0.01)
    file = tmp_path / "token"
    file.write_text(FIRST, encoding="ascii")
    config = ServiceConfig(
        bundle=tiny_bundle,
        threads=1,
        provider="cpu",
        web=WebConfig(listen=FREE, token=FIRST),
        web_token_file=file,
    )
    async with whole(config) as service, connected(service.page) as wire:
        shown = f"Host: localhost\r\nAuthorization: Bearer {FIRST}\r\n\r\n".encode()
        wire.send(b"GET /events HTTP/1.1\r\n" + shown)
        board = await wire.line(b"data: ")
        assert b'"text":"CPUExecutionProvider"' in board
        file.write_text(SECOND, encoding="ascii")
        await wire.everything()  # it ends: this token is none any more


async def test_nothing_is_remembered_for_a_page_that_is_not_there(tiny_bundle: Path) -> None:
    plain = ServiceConfig(bundle=tiny_bundle, threads=1)
    async with watched(plain) as looked_at:
        assert looked_at.board is None
    shown = ServiceConfig(bundle=tiny_bundle, threads=1, web=WebConfig(listen=FREE))
    async with watched(shown) as looked_at:
        assert looked_at.board is not None
