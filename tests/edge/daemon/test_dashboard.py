"""The daemon's live page: what the device knows of itself is seen there, and only where allowed."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import PATIENCE_S
from tests.edge.daemon.files import (
    ANSWERS,
    CONTROL,
    open_agent,
    put_picture,
    stats_of,
    tell,
    until_soon,
    write_config,
)
from tests.partitioner.report.chromium import Browser
from tests.protos.web.asking import TOKEN, Wire, ask, connected, serving
from tests.protos.web.browsing import WebThread, a_browser, shown, text_of

from isthmus import ConfigError, LinkError
from isthmus.web import Board, Route, WebServer
from isthmus_cli.edge_status import status_lines
from isthmus_edge import AgentConfig, Answer
from isthmus_edge.answer import Switch, Timings
from isthmus_edge.audit.verdicts import AuditCount, AuditStats
from isthmus_edge.daemon import Daemon, Status, ask_status, daemon, parse_config
from isthmus_edge.daemon.boards import FrameWatch, Watched
from isthmus_edge.daemon.dashboard import device_routes
from isthmus_edge.daemon.parts import close_parts, open_parts
from isthmus_edge.daemon.reload import take_over
from isthmus_edge.daemon.settings import read_config
from isthmus_edge.daemon.status import AgentStatus, Counts, LinkStatus
from isthmus_edge.policy.vitals import Vitals

WALL_S = 1_700_000_000.0
LISTEN = '[dashboard]\nlisten = "127.0.0.1:0"\n'
HOSTILE = "<script>window.hacked=1</script>\udcff"


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers stay as pytest has set them up."""
    monkeypatch.setattr(daemon, "start_logging", lambda _: None)


class Clock:
    now_s = 500.0

    def __call__(self) -> float:
        return self.now_s


def status_of(**more: Any) -> Status:
    usual: dict[str, Any] = {
        "version": "1", "pid": 1, "state": "running", "config": "edge.toml", "uptime_s": 60.0,
        "bundle": {"path": "/b", "model": "net", "fingerprint": "f" * 64},
        "agent": AgentStatus(
            answers=True, candidate="cut-3", rung=1, switches=2,
            link=LinkStatus(state="up", bandwidth_bps=5e6, rtt_ms=20.0),
        ),
        "counts": Counts(accepted=9, answered_cloud=5, answered_device=2, errors=1, pending=1),
        "rss_bytes": 90_000_000, "endpoint": ["unix:/oip.sock"], "sources": [], "output": None,
        "reloads": 0, "reload_fault": None, "events": [],
    }  # fmt: skip
    return Status(**(usual | more))


def answered(latency_ms: float = 20.0, **timings: float) -> "Future[Answer]":
    told = Timings(**timings)
    place = "cloud" if told.network_ms is not None else "device"
    answer = Answer(1, {"y": np.zeros(1)}, "cut-3", 1, place, latency_ms, 4000, (), told)  # type: ignore[arg-type]
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


def filled(watch: FrameWatch, **more: Any) -> Board:
    return watch.fill(status_of(**more), stats_of(), Vitals(), WALL_S)


def totals(board: Board) -> dict[str, float | None]:
    return {total.name: total.value for total in board.totals}


def test_the_page_says_what_the_status_says() -> None:
    board = filled(FrameWatch())
    told = totals(board)
    assert (board.kind, board.title, board.state, board.devices) == (
        "device",
        "net",
        "running",
        None,
    )
    assert (told["accepted"], told["answered by the cloud"], told["answered here"]) == (9, 5, 2)
    assert (told["errors"], told["under way"], told["switches"]) == (1, 1, 2)
    assert (told["bandwidth"], told["round trip"], told["memory"]) == (5e6, 20.0, 9e7)
    facts = {fact.name: fact.text for fact in board.facts}
    assert facts == {
        "bundle": "f" * 12, "link": "up", "in use": "cut-3@1", "endpoint": "unix:/oip.sock",
    }  # fmt: skip


def test_a_daemon_that_opened_nothing_yet_has_a_page() -> None:
    nothing: dict[str, Any] = {"bundle": None, "agent": None, "counts": None, "state": "starting"}
    board = FrameWatch().fill(status_of(**nothing), None, Vitals(), WALL_S)
    assert (board.title, board.state, board.agreement) == ("isthmus edge", "starting", None)
    assert totals(board)["accepted"] == 0


def test_an_agent_that_does_not_answer_is_seen() -> None:
    silent = AgentStatus(
        answers=False, candidate=None, rung=None, switches=0, link=LinkStatus(state="down")
    )
    assert filled(FrameWatch(), agent=silent).state == "running, but its agent does not answer"


def test_where_the_time_of_answers_went_adds_up() -> None:
    watch = FrameWatch(Clock())
    watch.ended(
        answered(
            20.0, queue_ms=1.0, head_ms=4.0, encode_ms=1.0, network_ms=6.0,
            cloud_queue_ms=1.0, cloud_decode_ms=0.5, cloud_tail_ms=2.5,
        )
    )  # fmt: skip
    watch.ended(answered(30.0, queue_ms=1.0, head_ms=4.0, rest_ms=20.0))
    by_name = {share.name: share for share in filled(watch).candidates}
    assert by_name["cut-3@1"].parts_ms == [1.0, 4.0, 1.0, 6.0, 1.0, 0.5, 2.5, 0.0, 4.0]
    assert by_name["cut-3@1, finished here"].parts_ms[-2:] == [20.0, 5.0]
    assert filled(watch).stages[-2:] == ["device rest", "rest"]
    for share in by_name.values():
        assert sum(share.parts_ms) == share.mean_ms


def test_errors_and_frames_taken_back_are_counted() -> None:
    clock = Clock()
    watch = FrameWatch(clock)
    failed: Future[Answer] = Future()
    failed.set_exception(LinkError("gone"))
    cancelled: Future[Answer] = Future()
    cancelled.cancel()
    watch.ended(failed)
    watch.ended(cancelled)
    clock.now_s += 1
    trends = {trend.name: trend.values[-1] for trend in filled(watch).trends}
    assert (trends["answers"], trends["errors"]) == (0.0, 2.0)


def test_the_link_has_a_past_of_the_seconds_in_which_somebody_looked() -> None:
    clock = Clock()
    watch = FrameWatch(clock)
    filled(watch)
    clock.now_s += 2
    trends = {trend.name: trend.values for trend in filled(watch).trends}
    assert trends["bandwidth"][-3:] == [None, 5e6, None]
    assert trends["round trip"][-2:] == [20.0, None]
    assert "temperature" not in trends


def test_heat_and_battery_are_told_where_the_device_knows_them() -> None:
    vitals = Vitals(load=0.5, temperature_c=84.0, battery_share=0.25)
    board = FrameWatch().fill(status_of(), stats_of(), vitals, WALL_S)
    told = {total.name: (total.value, total.unit, total.tone) for total in board.totals}
    assert told["temperature"] == (84.0, "°C", "bad")
    assert told["battery"] == (0.25, "share", "plain")
    assert told["load a core"] == (0.5, "", "plain")


def test_audits_have_a_row_of_all_and_one_for_each_rung() -> None:
    audits = AuditStats(10, 8, 1, 0, {"cut-3@1": AuditCount(10, 8, has_drifted=True)})
    board = FrameWatch().fill(status_of(), stats_of(audits=audits), Vitals(), WALL_S)
    assert board.agreement is not None
    rows = [(e.name, e.compared, e.agreed, e.not_compared, e.has_drifted) for e in board.agreement]
    assert rows == [("", 10, 8, 1, False), ("cut-3@1", 10, 8, 0, True)]


def test_events_and_switches_are_told_by_their_age() -> None:
    clock = Clock()
    watch = FrameWatch(clock)
    watch.agent_opened()
    clock.now_s += 100
    events = [
        {"time_s": WALL_S - 50, "level": "warning", "event": "source_lost", "source": "cam"},
        {"time_s": WALL_S - 5, "level": "warning", "event": "agent", "message": "drift: …"},
        {"time_s": WALL_S + 9, "level": "info", "event": "running"},
    ]
    switches = (
        Switch(10.0, None, "local", "the first"),
        Switch(70.0, "local", "cut-3", "a faster link"),
    )
    stats = stats_of(switches=switches)
    board = watch.fill(status_of(events=events), stats, Vitals(), WALL_S)
    assert [(event.at_s, event.level, event.text) for event in board.events] == [
        (90.0, "info", "candidate local: the first"),
        (50.0, "warning", "source lost source=cam"),
        (30.0, "info", "candidate cut-3, before it local: a faster link"),
        (5.0, "warning", "drift: …"),
        (0.0, "info", "running"),
    ]


def parsed(folder: Path, dashboard: str) -> object:
    text = f'[agent]\nbundle = "x"\n[endpoint]\nunix = "o"\n[dashboard]\n{dashboard}\n'
    return parse_config(text, folder / "edge.toml").dashboard.config()


def test_there_is_no_page_unless_somebody_says_where(tmp_path: Path) -> None:
    assert parsed(tmp_path, "") is None
    assert parsed(tmp_path, 'listen = "127.0.0.1:0"') is not None


@pytest.mark.parametrize(
    ("dashboard", "words"),
    [
        ('listen = "0.0.0.0:8080"', r"line 6, \[dashboard\]: listening on 0.0.0.0:8080 would show"),
        ('listen = "here"', r"line 6, \[dashboard\]: .*HOST:PORT"),
        (
            'listen = "localhost:1"\ntoken_file = "none"',
            r"line 7, \[dashboard\]: .*none: cannot be",
        ),
        ('listen = "localhost:1"\ntls_key = "k"', r"TLS needs both"),
        ('lisen = "localhost:1"', r"line 6.*unknown key 'lisen'; did you mean 'listen'"),
        ("listen = 80", r"line 6.*listen = 80: use text in quotes"),
    ],
)
def test_a_page_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, dashboard: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        parsed(tmp_path, dashboard)


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    config = parsed(tmp_path, 'listen = "localhost:1"\ntoken_file = "token"\nhosts = ["a.lan"]')
    assert (getattr(config, "token", ""), getattr(config, "hosts", ())) == (TOKEN, ("a.lan",))


async def test_a_reload_that_changes_the_page_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    parts = await open_parts(read_config(write_config(tmp_path, tiny_bundle)), open_agent, tell)
    changed = read_config(write_config(tmp_path, tiny_bundle, LISTEN))
    with pytest.raises(ConfigError, match=r"\[dashboard\] cannot change.*restart"):
        await take_over(parts, changed, open_agent, tell)
    await close_parts(parts, tell)


async def test_probes_say_whether_it_runs() -> None:
    states = iter(("starting", "running", "reloading", "stopping"))

    async def status() -> Status:
        return status_of(state=next(states))

    async with serving(routes=device_routes(FrameWatch(), status, stats_of)) as server:
        seen = [(await ask(server, "/readyz")).status for _ in range(4)]
        assert seen == [503, 200, 200, 503]
        assert (await ask(server, "/livez")).status == 200


async def test_a_watched_agent_is_the_agent(tiny_bundle: Path, tmp_path: Path) -> None:
    config = AgentConfig(bundle=tiny_bundle, heed_vitals=False)
    agent = await asyncio.to_thread(open_agent, config)
    watch = FrameWatch()
    watched = Watched(agent, watch)
    picture = np.zeros(agent.manifest.inputs[0].shape, np.uint8)
    answer = await asyncio.wrap_future(watched.submit(picture))
    assert watched.manifest is agent.manifest
    assert (await asyncio.to_thread(watched.stats)).accepted == 1
    await asyncio.to_thread(watched.close, PATIENCE_S)
    (share,) = filled(watch).candidates
    assert (share.name, share.frames) == (f"{answer.candidate}@{answer.rung}", 1)
    assert share.mean_ms == answer.latency_ms


async def test_an_address_in_use_is_named_and_nothing_stays_behind(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    async with serving() as server:
        taken = server.addresses[0].removeprefix("http://")
        listen = f'[dashboard]\nlisten = "{taken}"\n'
        with pytest.raises(ConfigError, match=f"cannot listen on {taken}.*in use"):
            await Daemon(write_config(tmp_path, tiny_bundle, listen)).run()
    assert not (tmp_path / CONTROL).exists()


@asynccontextmanager
async def running(bundle: Path, folder: Path) -> AsyncIterator[str]:
    """A daemon with a page, in this process; its URL."""
    started = Daemon(write_config(folder, bundle, LISTEN))
    life = asyncio.create_task(started.run())
    await until_soon(lambda: started.state == "running", "it runs")
    status = await asyncio.to_thread(ask_status, folder / CONTROL)
    (running_event,) = (event for event in status.events if event["event"] == "running")
    assert running_event["dashboard"] == status.dashboard
    assert f"dashboard {status.dashboard[0]}" in list(status_lines(status))
    try:
        yield status.dashboard[0]
    finally:
        started.told_to_stop(signal.SIGTERM)
        assert await life == 0


class At(WebServer):
    """In place of the server, for who asks: only its address."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self._url,)


async def boards(wire: Wire) -> AsyncIterator[dict[str, Any]]:
    wire.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while True:
        yield json.loads(await wire.line(b"data: "))


async def test_a_picture_that_is_answered_is_seen_and_the_end_ends_the_stream(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    async with running(tiny_bundle, tmp_path) as url:
        put_picture(tmp_path / "in", "a.png")
        async with connected(At(url)) as wire:
            async for board in boards(wire):
                told = {total["name"]: total["value"] for total in board["totals"]}
                if board["candidates"] and told["answered here"]:
                    break
            assert (told["accepted"], told["answered here"], told["errors"]) == (1, 1, 0)
            assert "source directory running" in " ".join(
                f"{fact['name']} {fact['text']}" for fact in board["facts"]
            )
            assert board["events"][0]["text"].startswith("starting")
    assert len((tmp_path / ANSWERS).read_text().splitlines()) == 1
    with pytest.raises(ConnectionError):
        await ask(At(url), "/")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with a_browser(tmp_path_factory) as browser:
        yield browser


def test_a_browser_shows_the_device_and_no_section_that_it_has_not(browser: Browser) -> None:
    watch, events = FrameWatch(), [{"time_s": 0, "level": "error", "event": HOSTILE}]

    async def status() -> Status:
        return status_of(events=events, endpoint=[HOSTILE])

    routes: dict[str, Route] = device_routes(watch, status, stats_of, Vitals)
    with WebThread(routes) as served:
        page = browser.page().open(f"{served.url}/")
        shown(page, "document.documentElement.dataset.state === 'live'")
        watch.ended(answered(20.0, queue_ms=1.0, head_ms=4.0, network_ms=6.0))
        shown(page, "document.getElementById('candidates').innerText.includes('cut-3@1')")
        assert "head 4 · network 6" in text_of(page, "#candidates")
        hidden = (
            "[...document.querySelectorAll('section')].filter((s) => s.hidden).map((s) => s.id)"
        )
        assert page.evaluate(hidden) == ["devices-section", "batches-section", "models-section"]
        assert "<script>window.hacked=1</script>\\udcff" in text_of(page, "#events")
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.complaints() == []
        page.call("Page.navigate", url="about:blank")
