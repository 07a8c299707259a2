"""Who may look: rebound names, other pages and strangers may not."""

import pytest
from tests.protos.web.asking import TOKEN

from isthmus.web import Reply, Request, WebConfig
from isthmus.web.door import Door
from isthmus.web.page import sign_in_page

EVERYWHERE = "0.0.0.0:8080"


def door(**settings: object) -> Door:
    return Door(WebConfig(**settings), sign_in_page())  # type: ignore[arg-type]


def asked(host: str = "127.0.0.1:8080", **headers: str) -> Request:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request(method="GET", path="/", headers={"host": host} | named)


def status(reply: Reply | None) -> int:
    return 200 if reply is None else reply.status.value


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "LOCALHOST:99", "[::1]:8080", "[::1]", "10.1.2.3", "board.lan"],
)
def test_addresses_and_our_own_names_are_served(host: str) -> None:
    assert door(hosts=("Board.lan",)).refusal(asked(host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "",
        ":8080",
        "localhost.",
        "x@y",
    ],
)
def test_a_name_that_somebody_made_to_point_here_is_not(host: str) -> None:
    assert status(door().refusal(asked(host))) == 421
    assert status(door(listen=EVERYWHERE, insecure=True).refusal(asked(host))) == 421


def test_with_a_token_any_name_will_do() -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert door(token=TOKEN).refusal(asked("gpu.example", **bearer)) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_others_may_send_here_and_load_nothing(site: str) -> None:
    own = door()
    assert status(own.refusal(asked(sec_fetch_site=site, sec_fetch_mode="cors"))) == 403
    assert status(own.refusal(asked(sec_fetch_site=site, sec_fetch_mode="no-cors"))) == 403
    assert own.refusal(asked(sec_fetch_site=site, sec_fetch_mode="navigate")) is None
    assert own.refusal(asked(sec_fetch_site="same-origin", sec_fetch_mode="cors")) is None


def test_a_browser_that_names_no_site_is_known_by_the_origin() -> None:
    own = door()
    assert status(own.refusal(asked(origin="http://evil.example"))) == 403
    assert status(own.refusal(asked(origin="null"))) == 403
    assert own.refusal(asked(origin="http://127.0.0.1:8080")) is None
    # Behind a proxy the host is another one; the browser's own word counts.
    proxied = asked(origin="https://dash.example", sec_fetch_site="same-origin")
    assert own.refusal(proxied) is None


@pytest.mark.parametrize(
    "shown",
    ["", TOKEN, "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ü"],
)
def test_who_has_no_token_is_told_how_to_send_it(shown: str) -> None:
    refusal = door(token=TOKEN).refusal(asked(authorization=shown))
    assert refusal is not None
    assert refusal.status.value == 401
    assert refusal.headers["Www-Authenticate"].startswith("Bearer")
    assert TOKEN.encode() not in refusal.encoded()


def test_a_browser_without_a_cookie_gets_the_page_that_asks_for_the_token() -> None:
    refusal = door(token=TOKEN).refusal(asked(accept="text/html,*/*"))
    assert refusal is not None
    assert (refusal.status.value, b"<form" in refusal.body) == (401, True)


def cookie_of(own: Door, token: str = TOKEN) -> tuple[int, str]:
    reply = own.login(asked(authorization=f"bearer {token}"))
    return reply.status.value, reply.headers.get("Set-Cookie", "")


def test_the_cookie_opens_the_door_it_was_made_for_and_is_not_the_token() -> None:
    own = door(token=TOKEN)
    given, cookie = cookie_of(own)
    assert given == 204
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert TOKEN not in cookie
    pair = cookie.partition(";")[0]
    assert own.refusal(asked(cookie=f'odd="a b; {pair}; last=1')) is None
    assert door(token=TOKEN).refusal(asked(cookie=pair)) is None, "after a restart, too"
    assert status(own.refusal(asked(cookie=f"{pair}0"))) == 401
    name, _, value = pair.partition("=")
    assert status(own.refusal(asked(cookie=f"{name}x={value}"))) == 401
    assert status(door(token=f"{TOKEN}2").refusal(asked(cookie=pair))) == 401


def test_no_cookie_for_who_guesses_and_none_where_none_is_needed() -> None:
    assert cookie_of(door(token=TOKEN), "guess") == (401, "")
    assert cookie_of(door()) == (404, "")


def test_over_tls_the_cookie_never_goes_in_the_clear(tmp_path: object) -> None:
    secure = door(token=TOKEN, tls_certificate="c.pem", tls_key="k.pem")
    assert cookie_of(secure)[1].endswith("; SameSite=Strict; Secure")
