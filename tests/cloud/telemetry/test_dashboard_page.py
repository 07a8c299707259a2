"""The live page in a browser: what happens in the service is seen there, and nothing leaves it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest
from tests.cloud.telemetry.happened import activated, audited, batch, closed, frame, link, opened
from tests.commands import PATIENCE_S, until
from tests.partitioner.report.chromium import Browser, Page
from tests.protos.web.asking import TOKEN
from tests.protos.web.browsing import WebThread, a_browser, shown, text_of

from isthmus.web import Feed, Route, WebConfig, encode_board
from isthmus_cloud.telemetry.dashboard import DashboardObserver, service_routes

HOSTILE = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u202e"
STATE = "document.documentElement.dataset.state"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with a_browser(tmp_path_factory) as browser:
        yield browser


@pytest.fixture
def board() -> DashboardObserver:
    return DashboardObserver("net of tests", words=lambda: {"provider": "CPU"})


@pytest.fixture
def served(board: DashboardObserver) -> Iterator[WebThread]:
    with WebThread(service_routes(board, period_s=0.05)) as served:
        yield served


@pytest.fixture
def page(browser: Browser, served: WebThread) -> Iterator[Page]:
    """The page, live; in the end it has complained of nothing and asked nobody else."""
    page = opened_page(browser, served)
    yield page
    assert page.complaints() == []
    asked = {url for url in page.requested() if not url.startswith("data:")}
    assert asked == {f"{served.url}/", f"{served.url}/events"}
    page.call("Page.navigate", url="about:blank")


def opened_page(browser: Browser, served: WebThread) -> Page:
    page = browser.page().open(f"{served.url}/")
    shown(page, f"{STATE} === 'live'")
    return page


def row(part: str) -> str:
    return f"document.querySelector('#devices tbody tr')?.innerText.includes({part!r})"


def test_a_device_that_comes_is_seen_with_its_link_and_then_leaves(
    page: Page, board: DashboardObserver
) -> None:
    assert text_of(page, "h1") == "net of tests"
    assert "provider CPU" in text_of(page, ".facts")
    assert "No device has come yet" in text_of(page, "#devices-section")
    assert "No model is served yet" in text_of(page, "#models-section")
    board.note(opened())
    board.note(link(5e6, 12.0))
    shown(page, row("cam-1"))
    assert "5 Mbit/s" in text_of(page, "#devices tbody")
    assert "12 ms round trip" in text_of(page, "#devices tbody")
    assert "cam-1 came from ipv4:10.0.0.9" in text_of(page, "#events")
    board.note(closed("its battery is empty"))
    shown(page, row("gone"))
    assert "its battery is empty" in text_of(page, "#devices tbody")


def test_another_candidate_is_seen_and_both_have_their_share(
    page: Page, board: DashboardObserver
) -> None:
    board.note(opened())
    for _ in range(3):
        board.note(frame("cut-3"))
    shown(page, row("cut-3@0"))
    assert text_of(page, "#candidates tbody").splitlines()[0].startswith("cut-3@0")
    board.note(frame("input"))
    shown(page, row("input@0"))
    used = text_of(page, "#candidates tbody")
    assert "75 %" in used
    assert "25 %" in used
    widths = page.evaluate(
        "[...document.querySelector('#candidates .split .parts').children]"
        ".map((part) => parseFloat(part.style.width))"
    )
    assert widths == pytest.approx([20.0, 10.0, 60.0, 10.0])
    assert "queue 2 · decode 1 · run 6 · rest 1 ms" in used


def test_an_error_is_seen_as_an_event_and_counted(page: Page, board: DashboardObserver) -> None:
    board.note(opened())
    board.note(frame(outcome="answered"))
    board.note(frame(outcome="too_late"))
    board.note(frame(outcome="too_late"))
    shown(page, "document.querySelector('#events .warning')?.innerText.includes('too late')")
    assert "\N{MULTIPLICATION SIGN}2" in text_of(page, "#events .warning")
    tiles = text_of(page, "#totals").split("\n")
    told = dict(zip(tiles[::2], tiles[1::2], strict=True))
    assert (told["frames ended"], told["answered"], told["errors"]) == ("3", "1", "2")
    assert told["of them too late"] == "2"


def test_batches_models_and_agreement_have_their_sections(
    page: Page, board: DashboardObserver
) -> None:
    board.note(activated())
    board.note(batch(8))
    for agrees in (True, True, True, False):
        board.note(audited(agrees=agrees))
    shown(page, "document.querySelector('#agreement li')?.innerText.includes('75 % of 4')")
    assert "8 frames" in text_of(page, "#batches")
    assert "active" in text_of(page, "#models tbody")


def test_what_a_stranger_calls_itself_is_text(page: Page, board: DashboardObserver) -> None:
    who = {"identity": HOSTILE, "session": HOSTILE}
    board.note(opened(**who, peer=HOSTILE, model=HOSTILE, version=HOSTILE))
    board.note(frame(HOSTILE, **who))
    board.note(frame(outcome=HOSTILE, **who))
    board.note(closed(HOSTILE, **who))
    shown(page, row("<script>"))
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    assert "\u202e" not in text_of(page)
    assert "\\u{202e}" in text_of(page, "#devices tbody")


def test_rows_that_stay_are_not_made_anew(page: Page, board: DashboardObserver) -> None:
    board.note(opened())
    shown(page, row("cam-1"))
    page.evaluate("document.querySelector('#devices tbody tr').kept = 'yes'")
    board.note(opened(identity="a-device-before-it", session="0"))
    shown(page, row("a-device-before-it"))
    kept = "[...document.querySelectorAll('#devices tbody tr')].map((each) => each.kept ?? 'no')"
    assert page.evaluate(kept) == ["no", "yes"]


def test_a_pause_holds_the_page_and_its_end_shows_what_came_meanwhile(
    page: Page, board: DashboardObserver
) -> None:
    page.evaluate("document.getElementById('pause').click()")
    assert page.evaluate(f"[{STATE}, document.getElementById('pause').ariaPressed]") == [
        "paused", "true",
    ]  # fmt: skip
    board.note(opened())
    page.evaluate(
        "new Promise((told) => { const own = new EventSource('events');"
        " own.onmessage = ({data}) => { if (data.includes('cam-1')) { own.close(); told() } } })"
    )
    assert "No device has come yet" in text_of(page, "#devices-section")
    page.evaluate("document.getElementById('pause').click()")
    shown(page, row("cam-1"))
    assert page.evaluate(STATE) == "live"


def test_a_server_that_comes_back_is_seen_again(
    browser: Browser, served: WebThread, board: DashboardObserver
) -> None:
    page = opened_page(browser, served)
    served.end()
    shown(page, f"{STATE} === 'lost'")
    assert "connection lost" in text_of(page, "#state")
    board.note(opened())
    served.begin()
    shown(page, row("cam-1"))
    assert page.evaluate(STATE) == "live"
    others = [each for each in page.complaints() if "ERR_" not in each]
    assert others == [], "but that nobody answered"
    page.call("Page.navigate", url="about:blank")


def test_a_server_that_says_nothing_is_told_from_one_that_lives(
    browser: Browser, board: DashboardObserver
) -> None:
    may_go_on = threading.Event()
    told: list[bytes] = []

    async def make() -> bytes:
        if told:
            await asyncio.to_thread(may_go_on.wait, PATIENCE_S)
        told.append(encode_board(board.snapshot()))
        return told[-1]

    routes = service_routes(board) | {"/events": Route(Feed(make, period_s=0.05))}
    with WebThread(routes) as served:
        page = opened_page(browser, served)
        page.evaluate(
            "((own) => { performance.now = () => own() + 6000 })(performance.now.bind(performance))"
        )
        shown(page, f"{STATE} === 'silent'")
        assert text_of(page, "#state").startswith("silent for ")
        may_go_on.set()
        shown(page, f"{STATE} === 'live'")
        assert page.complaints() == []
        page.call("Page.navigate", url="about:blank")


def test_a_tab_in_the_background_costs_the_server_nothing(
    page: Page, served: WebThread, board: DashboardObserver
) -> None:
    hide = (
        "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert served.watchers == 1
    page.evaluate(hide.format("true"))
    until(lambda: served.watchers == 0, "nobody looks")
    board.note(opened())
    page.evaluate(hide.format("false"))
    shown(page, row("cam-1"))


def test_who_is_turned_away_for_now_comes_back_by_itself(
    browser: Browser, board: DashboardObserver
) -> None:
    settings = WebConfig(listen="127.0.0.1:0", max_event_streams=1)
    with WebThread(service_routes(board, period_s=0.05), settings) as served:
        with closing(HTTPConnection(served.url.removeprefix("http://"))) as first:
            first.request("GET", "/events")
            with first.getresponse():
                page = browser.page().open(f"{served.url}/")
                shown(page, f"{STATE} === 'lost'")
        shown(page, f"{STATE} === 'live'")
        page.call("Page.navigate", url="about:blank")


def test_a_page_whose_cookie_is_of_no_use_any_more_asks_for_the_token(
    browser: Browser, board: DashboardObserver
) -> None:
    settings = WebConfig(listen="127.0.0.1:0", token=TOKEN)
    with WebThread(service_routes(board, period_s=0.05), settings) as served:
        page = browser.page()
        page.call("Network.clearBrowserCookies")
        page.open(f"{served.url}/")
        sign_in(browser, page, TOKEN)
        shown(page, f"{STATE} === 'live'")
        served.end()
        seen = len(browser.events)
        served.begin(token=f"another-{TOKEN}")
        browser.await_event("Page.loadEventFired", session_of(browser), seen)
        assert "Token of this page" in text_of(page)
        page.call("Page.navigate", url="about:blank")


def test_a_phone_scrolls_tables_and_not_the_page(page: Page, board: DashboardObserver) -> None:
    board.note(opened(identity="a-name-" * 20, session="5e55" * 30))
    board.note(link(5e6, 12.0))
    board.note(frame("a-very-long-name-of-a-candidate" * 3))
    shown(page, row("a-name"))
    page.size(360, 740)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    boxes = "[...document.querySelectorAll('.scroll')].filter((b) => b.scrollWidth > b.clientWidth)"
    assert page.evaluate(f"{boxes}.length") >= 1


def test_the_theme_follows_the_system_and_the_button(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.call("Emulation.setEmulatedMedia", features=[feature])
        page.drawn()
        seen.append(page.evaluate(ground))
    assert seen[0] != seen[1]
    for colour in seen:
        page.evaluate("document.getElementById('theme').click()")
        assert page.evaluate(ground) == colour


def test_charts_tables_and_buttons_have_names_for_who_cannot_see_them(
    page: Page, board: DashboardObserver
) -> None:
    board.note(opened())
    board.note(frame())
    shown(page, row("cut-3"))
    unnamed = page.evaluate(
        "[...document.querySelectorAll('[role=img]:not([aria-hidden]), [role=region], button')]"
        ".filter((each) => !(each.ariaLabel || each.innerText.trim()))"
        ".map((each) => each.outerHTML)"
    )
    assert unnamed == []
    assert page.evaluate("document.getElementById('state').getAttribute('role')") == "status"
    heads = "[...document.querySelectorAll('table th')].every((cell) => cell.scope)"
    assert page.evaluate(heads)


def test_nothing_else_may_run_or_be_asked(browser: Browser, served: WebThread) -> None:
    page = opened_page(browser, served)
    outside = "http://isthmus.invalid/"
    assert (
        page.evaluate(f"fetch('{outside}').then(() => 'let through', () => 'refused')") == "refused"
    )
    page.evaluate(
        "document.body.append("
        "Object.assign(document.createElement('script'), {text: 'window.hacked = 1'}))"
    )
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert sum("Content Security Policy" in complaint for complaint in page.complaints()) >= 2
    page.call("Page.navigate", url="about:blank")


def test_who_has_the_token_signs_in_and_who_has_not_does_not(
    browser: Browser, board: DashboardObserver
) -> None:
    settings = WebConfig(listen="127.0.0.1:0", token=TOKEN)
    with WebThread(service_routes(board, period_s=0.05), settings) as served:
        page = browser.page()
        page.call("Network.clearBrowserCookies")
        page.open(f"{served.url}/")
        enter(page, "not the token at all")
        shown(page, "document.getElementById('answer').innerText.includes('not the token')")
        sign_in(browser, page, TOKEN)
        shown(page, f"{STATE} === 'live'")
        assert page.evaluate("document.cookie") == "", "no script can read it"
        assert TOKEN not in page.evaluate("location.href")
        page.call("Page.navigate", url="about:blank")


def session_of(browser: Browser) -> str:
    """Of the page that was loaded last."""
    loads = [event for event in browser.events if event["method"] == "Page.loadEventFired"]
    return str(loads[-1]["sessionId"])


def sign_in(browser: Browser, page: Page, token: str) -> None:
    seen = len(browser.events)
    enter(page, token)
    browser.await_event("Page.loadEventFired", session_of(browser), seen)


def enter(page: Page, token: str) -> None:
    page.evaluate(
        f"document.getElementById('token').value = {token!r};"
        "document.querySelector('button[type=submit]').click()"
    )
