"""What the service's page would show, from what was noted; in room that strangers cannot fill."""

import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.cloud.telemetry.happened import (
    activated,
    audited,
    batch,
    closed,
    frame,
    link,
    opened,
    refused,
)
from tests.protos.web.asking import ask, connected, serving

from isthmus.web import Board, Device, Patience, WebConfig, encode_board
from isthmus.web.board import MOST_TEXT
from isthmus.web.config import LEAST_TOKEN
from isthmus.web.events import MOST_EVENTS
from isthmus.web.messages import MOST_HEAD_BYTES, MOST_HEADERS
from isthmus_cloud.telemetry import Unloaded
from isthmus_cloud.telemetry.dashboard import DashboardObserver, service_routes
from isthmus_cloud.telemetry.dashboard_devices import MOST_DEVICES
from isthmus_cloud.telemetry.health import Health

HOSTILE = "<script>alert(1)</script>" + "\u202e" + "x" * 10_000


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> DashboardObserver:
    return DashboardObserver("net", clock=clock)


def totals(board: Board) -> dict[str, float | None]:
    return {total.name: total.value for total in board.totals}


def only_device(board: DashboardObserver) -> Device:
    devices = board.snapshot().devices
    assert devices is not None
    (device,) = devices
    return device


def texts(board: DashboardObserver) -> list[str]:
    return [event.text for event in board.snapshot().events]


def test_a_device_appears_with_its_link_and_candidate(
    board: DashboardObserver, clock: Clock
) -> None:
    board.note(opened())
    board.note(link(5e6, 12.0))
    clock.now_s += 10
    for _ in range(3):
        board.note(frame("cut-3", rung=1))
    board.note(frame("input", rung=0))
    device = only_device(board)
    assert (device.identity, device.session, device.peer) == ("cam-1", "5e55", "ipv4:10.0.0.9:4711")
    assert (device.bandwidth_bps, device.rtt_ms) == (5e6, 12.0)
    assert (device.candidate, device.shares) == ("input@0", {"cut-3@1": 3, "input@0": 1})
    assert (device.since_s, device.heard_s, device.until_s) == (10.0, 0.0, None)
    assert (device.answered, device.errors, device.answers_per_s) == (4, 0, 0.4)
    clock.now_s += 52
    assert only_device(board).answers_per_s == pytest.approx(4 / 62)
    clock.now_s += 13
    assert only_device(board).shares == {}
    assert only_device(board).candidate == "input@0"


@pytest.mark.parametrize("nonsense", [0.0, -1.0, float("nan"), float("inf")])
def test_a_link_of_no_sense_is_none(board: DashboardObserver, nonsense: float) -> None:
    board.note(opened())
    board.note(link(nonsense, nonsense))
    assert (only_device(board).bandwidth_bps, only_device(board).rtt_ms) == (None, None)


def test_a_device_that_left_stays_for_a_while_with_the_reason(
    board: DashboardObserver, clock: Clock
) -> None:
    board.note(opened())
    board.note(closed("its network changed"))
    clock.now_s += 5
    assert (only_device(board).until_s, only_device(board).why) == (5.0, "its network changed")
    assert totals(board.snapshot())["devices"] == 0
    board.note(opened(resumed=True))
    assert (only_device(board).until_s, only_device(board).why) == (None, "")
    board.note(closed())
    clock.now_s += 601
    assert board.snapshot().devices == []


def test_a_session_that_was_taken_over_is_still_here(board: DashboardObserver) -> None:
    board.note(opened())
    board.note(opened(resumed=True))
    board.note(closed("superseded"))
    assert only_device(board).until_s is None
    assert totals(board.snapshot())["devices"] == 1


def test_a_crowd_is_counted_and_the_last_of_it_shown() -> None:
    board = DashboardObserver("net", most_devices=3)
    board.note(opened(session="stays", identity="stays"))
    board.note(opened(session="gone", identity="gone"))
    board.note(closed(session="gone", identity="gone"))
    for index in range(50):
        board.note(opened(session=f"s{index}", identity=f"d{index}"))
        board.note(frame(session="stays"))
    snapshot = board.snapshot()
    assert snapshot.devices is not None
    assert [device.session for device in snapshot.devices] == ["s48", "s49", "stays"]
    assert snapshot.devices_left_out == 48
    assert totals(snapshot)["devices"] == 51


def test_where_the_time_goes_adds_up(board: DashboardObserver) -> None:
    board.note(frame(queue_ms=1.0, decode_ms=2.0, run_ms=3.0, total_ms=10.0))
    board.note(frame(queue_ms=3.0, decode_ms=2.0, run_ms=5.0, total_ms=9.0))
    snapshot = board.snapshot()
    (share,) = snapshot.candidates
    assert snapshot.stages == ["queue", "decode", "run", "rest"]
    assert share.parts_ms == [2.0, 2.0, 4.0, 2.0]
    assert (share.mean_ms, share.mean_bytes) == (9.5, 1000.0)


def test_frames_are_answered_or_have_an_error_of_a_kind(board: DashboardObserver) -> None:
    for outcome in ("answered", "answered", "too_late", "overloaded", "too_late"):
        board.note(frame(outcome=outcome))
    told = totals(board.snapshot())
    assert (told["frames ended"], told["answered"], told["errors"]) == (5, 2, 3)
    assert (told["of them too late"], told["of them overloaded"]) == (2, 1)
    assert [(e.level, e.count) for e in board.snapshot().events] == [("warning", 1), ("warning", 2)]


def test_seconds_have_their_answers_and_errors(board: DashboardObserver, clock: Clock) -> None:
    for outcome in ("answered", "too_late", "answered", "internal", "answered"):
        board.note(frame(outcome=outcome))
    clock.now_s += 1
    trends = {trend.name: trend.values[-2:] for trend in board.snapshot().trends}
    assert (trends["answers"], trends["errors"]) == ([0.0, 3.0], [0.0, 2.0])


def test_a_defect_is_an_error_and_the_rest_is_a_warning(board: DashboardObserver) -> None:
    board.note(frame(outcome="internal"))
    board.note(frame(outcome="too_late"))
    assert {event.level for event in board.snapshot().events} == {"error", "warning"}


def test_a_frame_that_its_device_took_back_is_no_error(
    board: DashboardObserver, clock: Clock
) -> None:
    board.note(opened())
    for outcome in ("answered", "cancelled", "cancelled"):
        board.note(frame(outcome=outcome))
    told = totals(board.snapshot())
    assert (told["frames ended"], told["taken back"], told["errors"]) == (3, 2, 0)
    assert only_device(board).errors == 0
    assert [event.level for event in board.snapshot().events] == ["info"]
    clock.now_s += 1
    (errors,) = (each.values for each in board.snapshot().trends if each.name == "errors")
    assert errors[-1] == 0.0


def test_a_model_that_was_unloaded_is_not_the_active_one_any_more(board: DashboardObserver) -> None:
    board.note(activated())
    assert [each.is_active for each in board.snapshot().models or []] == [True]
    board.note(Unloaded(model="net", version="v1", identity="anna"))
    assert board.snapshot().models == []
    texts = [event.text for event in board.snapshot().events]
    assert "net: no new device gets it any more, asked for by anna" in texts


def test_a_frame_with_an_error_names_no_candidate(board: DashboardObserver) -> None:
    board.note(opened())
    board.note(frame(HOSTILE, outcome="unknown_candidate"))
    assert board.snapshot().candidates == []
    assert only_device(board).candidate is None
    assert only_device(board).errors == 1


def test_batches_models_and_agreement(board: DashboardObserver) -> None:
    board.note(activated())
    board.note(opened())
    for size in (1, 8, 8):
        board.note(batch(size))
    for agrees in (True, True, False):
        board.note(audited(agrees=agrees))
    board.note(audited(compared=False))
    board.note(frame())
    snapshot = board.snapshot()
    assert snapshot.batches is not None
    assert [(each.size, each.runs) for each in snapshot.batches] == [(1, 1), (8, 2)]
    assert snapshot.agreement is not None
    (agreement,) = snapshot.agreement
    assert (agreement.name, agreement.compared, agreement.agreed, agreement.not_compared) == (
        "net v1", 3, 2, 1,
    )  # fmt: skip
    assert snapshot.models is not None
    (model,) = snapshot.models
    assert (model.model, model.version, model.is_active) == ("net", "v1", True)
    assert (model.streams, model.answered) == (1, 1)


def test_an_old_version_is_shown_until_its_last_stream_has_moved(board: DashboardObserver) -> None:
    board.note(activated("v1"))
    board.note(opened())
    board.note(activated("v2", previous="v1"))

    def served() -> list[tuple[str, bool, int]]:
        models = board.snapshot().models or []
        return [(each.version, each.is_active, each.streams) for each in models]

    assert served() == [("v1", False, 1), ("v2", True, 0)]
    board.note(opened(version="v2", resumed=True))
    board.note(closed("it has a newer version"))
    assert served() == [("v2", True, 1)]


def test_events_tell_who_came_who_was_refused_and_what_is_active(board: DashboardObserver) -> None:
    board.note(activated("v2", previous="v1"))
    board.note(opened())
    board.note(opened(session="77", identity="", resumed=True))
    board.note(refused("rate", identity="cam-2"))
    board.note(audited(agrees=False))
    board.note(closed())
    assert texts(board) == [
        "net: version v2 is active, before it v1",
        "cam-1 came from ipv4:10.0.0.9",
        "77 came back from ipv4:10.0.0.9",
        "cam-2 was turned away (ipv4:10.0.0.9): rate",
        "5e55: an audited answer is not that of the unsplit model",
        "cam-1 left: it went away",
    ]
    assert totals(board.snapshot())["refused"] == 1


def test_a_flood_of_strangers_is_one_event(board: DashboardObserver) -> None:
    for port in range(1000):
        board.note(refused(peer=f"ipv4:10.0.0.9:{port}"))
    (event,) = board.snapshot().events
    assert (event.count, event.level) == (1000, "warning")


def test_what_strangers_write_never_grows_the_page(board: DashboardObserver) -> None:
    for index in range(2000):
        name = f"{index}{HOSTILE}"
        who = {"session": name, "identity": name}
        board.note(opened(**who, peer=name, model=name, version=name))
        board.note(link(1e6, 1.0, **who))
        board.note(frame(name, **who, model=name, version=name))
        board.note(frame(name, name, **who, model=name, version=name))
        board.note(refused(name, identity=name, peer=name))
        board.note(closed(name, **who, model=name, version=name))
    assert len(encode_board(board.snapshot())) < 1_500_000
    assert totals(board.snapshot())["frames ended"] == 4000


def test_gauges_and_words_of_others_are_asked_when_somebody_looks(clock: Clock) -> None:
    waiting = [3.0]
    board = DashboardObserver(
        "net",
        gauges=lambda: {"frames waiting": waiting[0]},
        words=lambda: {"provider": "CPU"},
        clock=clock,
    )
    assert totals(board.snapshot())["frames waiting"] == 3.0
    waiting[0] = 5.0
    snapshot = board.snapshot("draining")
    assert totals(snapshot)["frames waiting"] == 5.0
    assert [(fact.name, fact.text) for fact in snapshot.facts] == [("provider", "CPU")]
    assert snapshot.state == "draining"


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


@pytest.mark.usefixtures("restless")
def test_threads_lose_no_frame_and_break_no_picture() -> None:
    ticks = itertools.count()
    board = DashboardObserver("net", clock=lambda: next(ticks) / 50)

    def note_many(thread: int) -> None:
        for index in range(500):
            board.note(opened(session=f"{thread} {index}"))
            board.note(frame(f"cut-{index}", session=f"{thread} {index}"))
            board.note(batch(index))

    with ThreadPoolExecutor(4) as pool:
        noting = [pool.submit(note_many, thread) for thread in range(4)]
        while not all(future.done() for future in noting):
            board.snapshot()
        for future in noting:
            future.result()
    assert totals(board.snapshot())["answered"] == 2000
    assert totals(board.snapshot())["devices"] == 2000


def test_the_limits_of_the_documentation_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text(encoding="utf-8")
    usual, patience = WebConfig(), Patience()
    for words in (
        f"{usual.max_connections} at once, {usual.max_event_streams} of them streams",
        f"{MOST_HEAD_BYTES // 1024} KiB and {MOST_HEADERS} headers, whole within "
        f"{patience.head_s:g} s",
        f"dropped after {patience.write_s:g} s",
        f"| devices remembered | {MOST_DEVICES};",
        f"| events | {MOST_EVENTS} of each level",
        f"cut at {MOST_TEXT} characters",
        f"has {LEAST_TOKEN} or more printable characters",
    ):
        assert words in text


async def routed(board: DashboardObserver, path: str, **more: Any) -> tuple[int, bytes]:
    async with serving(routes=service_routes(board, **more)) as server:
        answered = await ask(server, path, accept="application/openmetrics-text")
        return answered.status, answered.body


async def test_the_page_the_metrics_and_the_probes_have_their_paths(
    board: DashboardObserver,
) -> None:
    def metrics(accept: str) -> tuple[str, bytes]:
        return "text/plain", accept.encode()

    status, page = await routed(board, "/")
    assert (status, b"isthmus live" in page) == (200, True)
    assert await routed(board, "/metrics", metrics=metrics) == (
        200, b"application/openmetrics-text",
    )  # fmt: skip
    assert (await routed(board, "/metrics"))[0] == 404
    assert await routed(board, "/livez") == (200, b"ok\n")
    assert await routed(board, "/readyz") == (200, b"ok\n")
    health = Health()
    assert await routed(board, "/readyz", readiness=health) == (503, b"the service is starting\n")
    assert (await routed(board, "/livez", readiness=health))[0] == 200
    health.serving()
    assert (await routed(board, "/readyz", readiness=health))[0] == 200


async def test_events_are_boards(board: DashboardObserver) -> None:
    board.note(opened())
    health = Health()
    health.drain()
    routes = service_routes(board, readiness=health)
    async with serving(routes=routes) as server, connected(server) as wire:
        wire.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        message = await wire.line(b"data: ")
        assert b'"cam-1"' in message
        assert b'"state":"draining"' in message
