"""Several services: one ends, drains or refuses, and the device goes on at the next."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.commands import until
from tests.edge.fakes import FakeService, SlowRest, frame_error, marked_answer
from tests.edge.stream.clouds import Names, install, refuse
from tests.tinybundle import tiny_pictures

from isthmus import LinkError, PeerError
from isthmus.session import UpdateOffered
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Pace, Service
from isthmus_edge.contact import MOST_REASONS, LinkNews
from isthmus_edge.events import Events
from isthmus_edge.stream import uplink
from isthmus_edge.stream.ways import Way, Ways

PATIENT = 20.0
PICTURE = tiny_pictures(1)[0]
ONE, TWO = "10.0.0.1", "10.0.0.2"
BOTH = f"{ONE}:50051,{TWO}:50051"

Services = dict[str, FakeService]


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    services = {ONE: FakeService(), TWO: FakeService()}
    install(monkeypatch, services)
    return services


@contextmanager
def opened(
    bundle: Path,
    cloud: str = BOTH,
    events: list[str] | None = None,
    pace: Pace | None = None,
    **settings: object,
) -> Iterator[Agent]:
    common = {"candidate": "cut-16", "insecure": True, "patience_ms": 6e4, "balance": False}
    config = AgentConfig(bundle=bundle, cloud=cloud, **(common | settings))  # type: ignore[arg-type]
    on_event = None if events is None else events.append
    with Agent.open(config, pace=pace, on_event=on_event) as agent:
        yield agent


def where(agent: Agent) -> str:
    """The address of the service that the agent is connected to."""
    service = agent.stats().service
    return "" if service is None else service.address.rpartition(":")[0]


def other(ip: str) -> str:
    return TWO if ip == ONE else ONE


def test_a_device_whose_service_ends_is_at_the_next_at_once(
    tiny_bundle: Path, services: Services
) -> None:
    with opened(tiny_bundle) as agent:
        first = where(agent)
        services[first].hang_up()
        until(lambda: where(agent) == other(first), "it is at the other one")
        assert agent.infer(PICTURE).place == "cloud"
    assert services[first].connects == services[other(first)].connects == 1


def test_the_session_goes_along_and_what_the_other_service_does_not_hold_is_sent_there(
    tiny_bundle: Path, services: Services
) -> None:
    """A stranger holds nothing: every frame that the device has not begun is sent once more."""
    for service in services.values():
        service.respond = lambda _: None
    pace = SlowRest()
    with opened(tiny_bundle, pace=pace, video="off") as agent:
        first = where(agent)
        futures = [agent.submit(PICTURE) for _ in range(3)]
        until(lambda: len(services[first].frames) == 3, "all are sent")
        services[other(first)].respond = marked_answer
        services[first].hang_up()
        places = [future.result(PATIENT).place for future in futures[1:]]
        pace.go_on.set()  # with the rest of the first one, if the device had begun it
        begun = futures[0].result(PATIENT).place == "device"
        sent_again = agent.stats().sent_again
    (hello,) = services[other(first)].hellos
    assert hello.session_id == services[first].hellos[0].session_id
    assert list(hello.unanswered) == [1, 2, 3]
    assert all(frame.again for frame in services[other(first)].frames)
    assert (places, sent_again) == (["cloud", "cloud"], 2 if begun else 3)


def test_a_service_that_hangs_is_left_when_its_silence_is_noticed(
    tiny_bundle: Path, services: Services
) -> None:
    with opened(tiny_bundle, silence_s=0.3) as agent:
        first = where(agent)
        services[first].reachable = False  # its stream stays, and nothing comes of it
        until(lambda: where(agent) == other(first), "it is at the other one")
        assert agent.infer(PICTURE).place == "cloud"


def test_a_drain_leads_to_the_next_when_all_is_answered(
    tiny_bundle: Path, services: Services
) -> None:
    with opened(tiny_bundle) as agent:
        first = where(agent)
        services[first].respond = lambda _: None
        future = agent.submit(PICTURE)
        until(lambda: len(services[first].frames) == 1, "it is sent")
        services[first].say(pb.CloudMessage(drain=pb.Drain(grace_ms=1000)))
        until(lambda: agent.stats().link_state == "draining", "the drain is heeded")
        services[first].say(marked_answer(services[first].frames[0]))
        assert future.result(PATIENT).place == "cloud"
        services[first].hang_up()  # as a service does when nothing is in flight any more
        until(lambda: where(agent) == other(first), "it is at the other one")


@pytest.mark.parametrize("how", ["full", "rate"])
def test_a_service_that_is_full_is_left_alone_for_as_long_as_it_asks(
    tiny_bundle: Path, services: Services, how: str
) -> None:
    full = pb.Error(code=pb.ERROR_CODE_OVERLOADED, message="full", retry_after_ms=50_000)
    if how == "full":
        services[ONE].greeting = pb.CloudMessage(error=full)
    else:
        refuse(services[ONE], "RESOURCE_EXHAUSTED", retry_after_s=50.0)
    with opened(tiny_bundle) as agent:
        for _ in range(3):
            assert where(agent) == TWO
            before = agent.stats().connects
            services[TWO].hang_up()
            until(lambda b=before: agent.stats().connects > b, "it is back")  # type: ignore[misc]
    assert services[ONE].connects <= 1


def test_a_service_with_another_bundle_sends_the_device_on_to_the_next(
    tiny_bundle: Path, services: Services
) -> None:
    error = pb.Error(code=pb.ERROR_CODE_BUNDLE_MISMATCH, message="another one")
    services[ONE].greeting = pb.CloudMessage(error=error)
    with opened(tiny_bundle) as agent:
        assert where(agent) == TWO
        assert agent.infer(PICTURE).place == "cloud"


def test_only_where_all_refuse_the_device_is_refused(tiny_bundle: Path, services: Services) -> None:
    error = pb.Error(code=pb.ERROR_CODE_BUNDLE_MISMATCH, message="another one")
    for service in services.values():
        service.greeting = pb.CloudMessage(error=error)
    with pytest.raises(PeerError, match="another one"), opened(tiny_bundle, require_cloud=True):
        pass
    assert [service.connects for service in services.values()] == [1, 1]


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        ("UNAUTHENTICATED", "token"),
        ("PERMISSION_DENIED", "token"),
        ("RESOURCE_EXHAUSTED", "more places"),
    ],
)
def test_a_device_that_is_not_let_in_says_so_once_and_answers_alone(
    tiny_bundle: Path,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: str,
    way_out: str,
) -> None:
    monkeypatch.setattr(uplink, "REFUSED_S", 0.02)
    events: list[str] = []
    refuse(services[ONE], status)
    with opened(tiny_bundle, f"{ONE}:50051", events) as agent:
        until(lambda: services[ONE].connects > 2, "it asks again")
        assert agent.stats().link_state == "refused"
        assert agent.infer(PICTURE).place == "device"
    (event,) = events
    assert [each.message for each in caplog.records if each.levelname == "WARNING"] == [event]
    assert f"{status}: not you" in event
    assert way_out in event


@pytest.mark.parametrize("refusing", [ONE, TWO])
def test_that_one_refuses_is_told_at_once_where_the_other_is_not_there(
    tiny_bundle: Path, services: Services, refusing: str
) -> None:
    """Whichever of them is asked first."""
    events: list[str] = []
    refuse(services[refusing], "UNAUTHENTICATED")
    services[other(refusing)].reachable = False
    with opened(tiny_bundle, events=events) as agent:
        assert agent.infer(PICTURE).place == "device"
    (refusal,) = [event for event in events if "refused by the cloud" in event]
    assert f"{refusing}:50051: the cloud does not let this device in" in refusal


@pytest.mark.parametrize("refusing", [ONE, TWO])
def test_that_one_refuses_is_no_news_where_the_other_lets_the_device_in(
    tiny_bundle: Path, services: Services, refusing: str
) -> None:
    events: list[str] = []
    refuse(services[refusing], "UNAUTHENTICATED")
    with opened(tiny_bundle, events=events) as agent:
        assert agent.infer(PICTURE).place == "cloud"
    assert events == []


def test_who_is_not_let_in_asks_again_rarely(
    tiny_bundle: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests_s: list[float] = []
    failed = Ways.failed

    def noted(self: Ways, way: Way, least_s: float = 0.0) -> None:
        rests_s.append(least_s)
        failed(self, way, least_s)

    monkeypatch.setattr(Ways, "failed", noted)
    refuse(services[ONE], "UNAUTHENTICATED")
    with opened(tiny_bundle, f"{ONE}:50051") as agent:
        assert agent.infer(PICTURE).place == "device"
    assert rests_s == [uplink.REFUSED_S]
    assert uplink.REFUSED_S >= 10


def test_each_of_several_that_refuse_is_told_once_until_one_lets_the_device_in() -> None:
    texts: list[str] = []
    news = LinkNews(Events(texts.append), lambda: None)
    for _ in range(3):
        for reason in ("a: UNAUTHENTICATED", "b: UNAUTHENTICATED"):
            news.state("refused", reason)
            news.state("down", reason)
    assert [text.rpartition(": ")[0][-1] for text in texts] == ["a", "b"]
    news.state("up", "connected to a")
    news.state("refused", "a: UNAUTHENTICATED")
    assert len(texts) == 3


def test_a_refusal_is_told_whatever_kept_the_link_down_before() -> None:
    texts: list[str] = []
    news = LinkNews(Events(texts.append), lambda: None)
    for number in range(MOST_REASONS + 1):
        news.state("down", f"10.0.0.{number}: the cloud is not there")
    news.state("refused", "a: UNAUTHENTICATED")
    assert len(texts) == 1


def test_why_the_link_is_down_is_logged_once_for_each_reason_and_changes_nothing_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "isthmus.edge")
    changes: list[str] = []
    news = LinkNews(Events(), lambda: changes.append("changed"))
    for state, reason in (("up", "to a"), ("down", "a left"), *[("down", "a is away")] * 3):
        news.state(state, reason)  # type: ignore[arg-type]
    assert caplog.messages == ["link up: to a", "link down: a left", "link down: a is away"]
    assert len(changes) == 2


def test_a_device_that_must_have_a_cloud_and_is_not_let_in_does_not_open(
    tiny_bundle: Path, services: Services
) -> None:
    for service in services.values():
        refuse(service, "UNAUTHENTICATED")
    with (
        pytest.raises(
            LinkError, match=r"10\.0\.0\.1:50051 or 10\.0\.0\.2:50051: .*UNAUTHENTICATED"
        ),
        opened(tiny_bundle, require_cloud=True),
    ):
        pass


def test_a_name_that_stands_for_two_is_two_addresses(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {ONE: FakeService(), TWO: FakeService()}
    names = Names(cloud=(ONE, TWO))
    install(monkeypatch, services, names)
    with opened(tiny_bundle, "dns:cloud:50051") as agent:
        for _ in range(2):
            before = where(agent)
            services[before].hang_up()
            until(lambda b=before: where(agent) == other(b), "at the other one")  # type: ignore[misc]
    assert names.asked == ["cloud"]


def test_all_are_down_and_one_comes_back(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {ONE: FakeService(), TWO: FakeService()}
    install(monkeypatch, services, Names(cloud=(ONE, TWO)))
    with opened(tiny_bundle, "cloud:50051") as agent:
        for service in services.values():
            service.reachable = False
        services[where(agent)].hang_up()
        until(lambda: agent.stats().link_state == "down", "none is there")
        assert agent.infer(PICTURE).place == "device"
        services[TWO].reachable = True
        until(lambda: where(agent) == TWO, "one is back")
        assert agent.infer(PICTURE).place == "cloud"


def test_a_name_that_is_not_known_yet_is_no_end(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = {ONE: FakeService()}
    names = Names(cloud=None)
    install(monkeypatch, services, names)
    with opened(tiny_bundle, "cloud:50051") as agent:
        assert agent.infer(PICTURE).place == "device"
        names.known["cloud"] = (ONE,)
        until(lambda: where(agent) == ONE, "it is known and reached")
    with pytest.raises(LinkError, match="the name nowhere is not known"):
        opened(tiny_bundle, "nowhere:50051", require_cloud=True).__enter__()


# What else the service says


def test_a_frame_that_is_refused_for_a_while_keeps_the_others_here_for_so_long(
    tiny_bundle: Path, services: Services
) -> None:
    refusal = frame_error(pb.ERROR_CODE_OVERLOADED)

    def overloaded(frame: pb.Frame) -> pb.CloudMessage:
        message = refusal(frame)
        message.error.retry_after_ms = 50_000
        return message

    with opened(tiny_bundle, f"{ONE}:50051") as agent:
        services[ONE].respond = overloaded
        assert agent.infer(PICTURE).place == "device"
        services[ONE].respond = marked_answer
        for _ in range(3):
            assert agent.infer(PICTURE).place == "device"
        stats = agent.stats()
        assert (stats.link_state, stats.link) == ("up", None)
        assert agent.decide().candidate.is_local
        assert len(services[ONE].frames) == 1
        services[ONE].hang_up()  # on another stream the service begins anew
        until(lambda: agent.stats().connects == 2, "it is back")
        assert agent.infer(PICTURE).place == "cloud"


def test_a_refusal_without_a_time_holds_back_nothing(tiny_bundle: Path, services: Services) -> None:
    with opened(tiny_bundle, f"{ONE}:50051") as agent:
        services[ONE].respond = frame_error(pb.ERROR_CODE_OVERLOADED)
        assert agent.infer(PICTURE).place == "device"
        services[ONE].respond = marked_answer
        assert agent.infer(PICTURE).place == "cloud"


def test_another_version_is_told_once_and_kept_in_the_figures(
    tiny_bundle: Path, services: Services
) -> None:
    events: list[str] = []
    offer = pb.Update(model="lite0", version="7", bundle_fingerprint="ab" * 32)
    with opened(tiny_bundle, f"{ONE}:50051", events) as agent:
        for _ in range(2):
            services[ONE].say(pb.CloudMessage(update=offer))
        until(lambda: agent.stats().update is not None, "the offer is heard")
        assert agent.stats().update == UpdateOffered("lite0", "7", "ab" * 32)
        assert agent.infer(PICTURE).place == "cloud"
    (event,) = events
    assert "lite0 7 (bundle abababababab)" in event


def test_the_figures_say_where_the_device_is_and_what_its_model_is_called_there(
    tiny_bundle: Path, services: Services
) -> None:
    greeting = services[ONE].greeting
    assert greeting is not None
    greeting.welcome.model, greeting.welcome.version = "lite0\x1b[2J", "6"
    with opened(tiny_bundle, f"{ONE}:50051") as agent:
        service = agent.stats().service
    assert service == Service(
        address=f"{ONE}:50051", provider="fake", model="lite0?[2J", version="6"
    )
    assert agent.stats().service is None


def test_heartbeats_say_what_the_device_believes_of_its_link(
    tiny_bundle: Path, services: Services
) -> None:
    reports: list[pb.LinkReport] = []

    def hear(message: pb.EdgeMessage) -> None:
        if message.heartbeat.HasField("link"):
            reports.append(message.heartbeat.link)

    services[ONE].heard = hear
    with opened(tiny_bundle, f"{ONE}:50051") as agent:
        until(lambda: bool(reports), "a heartbeat with a report")
        link = agent.stats().link
    assert link is not None
    assert reports[-1].bandwidth_bps > 0
    assert reports[-1].rtt_ms >= 0
