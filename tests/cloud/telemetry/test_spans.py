"""The service's spans: one tree for each frame, hung where the device said, with honest times."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from tests.cloud.telemetry.records import done, one_of_each, ran, refused
from tests.collector import collecting
from tests.spans import Kept, only, tree

from isthmus.otlp import sampler
from isthmus.tracing import TraceContext, TraceSettings, format_traceparent
from isthmus_cloud.telemetry.spans import SpanObserver
from isthmus_cloud.telemetry.tracing import tracing

MS = 10**6
BOOT_NS = 5_000 * 10**9  # monotonic
DAY_NS = 1_800_000_000 * 10**9
TRACE, SPAN = 0xABC, 0xDEF


def named(span_id: int = SPAN, *, is_sampled: bool = True) -> str:
    return format_traceparent(TraceContext(trace_id=TRACE, span_id=span_id, is_sampled=is_sampled))


class Service:
    """An observer whose two clocks stand still unless the test moves them."""

    def __init__(self, kept: Kept | None = None) -> None:
        self.kept = kept or Kept()
        self.now_ns, self.day_ns = BOOT_NS, DAY_NS
        self.observer = SpanObserver(self.kept.provider, lambda: self.now_ns, lambda: self.day_ns)
        self.note = self.observer.note

    def later(self, ms: float) -> None:
        """Time goes on."""
        self.now_ns += int(ms * MS)
        self.day_ns += int(ms * MS)

    def times(self, name: str) -> tuple[float, float]:
        """Begin and end of the only span of this name, in ms since the beginning."""
        span = only(self.kept.spans, name)
        assert span.start_time is not None
        assert span.end_time is not None
        return (span.start_time - DAY_NS) / MS, (span.end_time - DAY_NS) / MS


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_frame_hangs_from_the_devices_span(service: Service) -> None:
    service.later(12)
    service.note(done(received_ns=BOOT_NS, traceparent=named()))
    frame = only(service.kept.spans, "cloud.frame")
    assert frame.context.trace_id == TRACE
    assert frame.parent is not None
    assert (frame.parent.span_id, frame.parent.is_remote) == (SPAN, True)
    assert frame.kind is SpanKind.SERVER
    assert frame.status.status_code is StatusCode.UNSET
    assert frame.attributes == {
        "isthmus.identity": "camera-7",
        "isthmus.session": "5ad0c3",
        "isthmus.model": "lite0",
        "isthmus.version": "v1",
        "isthmus.sequence": 1,
        "isthmus.candidate": "cut-16",
        "isthmus.rung": 2,
        "isthmus.outcome": "answered",
        "isthmus.payload_bytes": 3000,
        "isthmus.answer_bytes": 400,
        "isthmus.batch": 4,
    }
    children = [each.name for each in service.kept.spans if each.parent == frame.context]
    assert children == ["queue", "decode", "tail"]


def test_spans_have_the_times_at_which_things_happened(service: Service) -> None:
    service.later(30)  # the record comes long after the frame
    service.note(done(received_ns=BOOT_NS, traceparent=named()))
    assert service.times("cloud.frame") == (0, 12)
    assert service.times("queue") == (0, 2)
    assert service.times("decode") == (2, 3)
    assert service.times("tail") == (3, 11)


def test_a_clock_that_was_set_bends_no_span(service: Service) -> None:
    service.later(12)
    service.day_ns -= 3600 * 10**9
    service.note(done(received_ns=BOOT_NS, traceparent=named()))
    begin, end = service.times("cloud.frame")
    assert end - begin == 12


def test_each_part_that_ran_is_a_span_of_its_own_linked_to_its_batch(service: Service) -> None:
    other = named(0x123)
    service.later(6)
    service.note(ran(part="entry", run_ms=2.0, size=1, traceparents=(named(),)))
    service.later(6)
    service.note(ran(part="tail-1", run_ms=4.0, traceparents=(named(), other, "nonsense")))
    service.later(1)
    service.note(done(received_ns=BOOT_NS, traceparent=named(), total_ms=13.0))
    spans = service.kept.spans
    entry, tail = (each for each in spans if each.name == "tail")
    first, second = (each for each in spans if each.name == "cloud.batch")
    for span, batch, part, size, times in (
        (entry, first, "entry", 1, (4, 6)),
        (tail, second, "tail-1", 4, (8, 12)),
    ):
        assert span.attributes == {"isthmus.part": part, "isthmus.batch": size}
        assert [link.context for link in span.links] == [batch.context]
        assert span.start_time == batch.start_time == DAY_NS + times[0] * MS
        assert span.end_time == batch.end_time == DAY_NS + times[1] * MS
    assert [link.context.span_id for link in second.links] == [SPAN, 0x123]
    assert second.parent is None
    assert second.attributes == {
        "isthmus.model": "lite0",
        "isthmus.version": "v1",
        "isthmus.part": "tail-1",
        "isthmus.provider": "CPUExecutionProvider",
        "isthmus.batch": 4,
        "isthmus.clients": 2,
    }


def test_what_ran_is_forgotten_with_its_frame(service: Service) -> None:
    service.note(ran(traceparents=(named(),)))
    service.note(done(traceparent=named()))
    service.kept.clear()
    service.note(done(traceparent=named(), queue_ms=0, decode_ms=0))
    assert [each.links for each in service.kept.spans if each.name == "tail"] == [()]


def test_frames_that_never_end_take_bounded_memory(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus_cloud.telemetry.spans.MOST_PENDING", 4)
    for number in range(1, 10):
        service.note(ran(traceparents=(named(number),)))
    service.kept.clear()
    for number in range(1, 10):
        service.note(done(traceparent=named(number)))
    tails = [each for each in service.kept.spans if each.name == "tail"]
    assert [bool(each.links) for each in tails] == [False] * 5 + [True] * 4


@pytest.mark.parametrize("outcome", ["too_late", "bad_frame", "internal"])
def test_a_frame_that_failed_says_so_and_shows_no_step_that_it_did_not_take(
    service: Service, outcome: str
) -> None:
    nothing = {"batch": 0, "queue_ms": 0.0, "decode_ms": 0.0, "run_ms": 0.0}
    service.note(done(outcome=outcome, traceparent=named(), **nothing))
    (frame,) = service.kept.spans
    assert frame.status.status_code is StatusCode.ERROR
    assert frame.status.description == outcome


def test_a_frame_that_was_taken_back_is_no_error(service: Service) -> None:
    service.note(done(outcome="cancelled", traceparent=named()))
    assert only(service.kept.spans, "cloud.frame").status.status_code is StatusCode.UNSET


def test_what_the_device_does_not_sample_is_not_recorded(service: Service) -> None:
    unsampled = named(is_sampled=False)
    service.note(ran(traceparents=(unsampled,)))
    service.note(done(traceparent=unsampled))
    assert service.kept.spans == []


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 52])
@pytest.mark.parametrize(("share", "spans"), [(1.0, 4), (0.0, 0)])
def test_frames_of_devices_that_trace_nothing_are_sampled_here(
    traceparent: str, share: float, spans: int
) -> None:
    kept = Kept(TracerProvider(sampler=sampler(share), shutdown_on_exit=False))
    service = Service(kept)
    service.note(done(traceparent=traceparent))
    assert len(kept.spans) == spans
    if spans:
        assert tree(kept.spans) == {"": ["cloud.frame"], "cloud.frame": ["queue", "decode", "tail"]}


def test_the_devices_word_counts_even_where_no_trace_begins() -> None:
    kept = Kept(TracerProvider(sampler=sampler(0.0), shutdown_on_exit=False))
    service = Service(kept)
    service.note(ran(traceparents=(named(),)))
    service.note(done(traceparent=named()))
    names = sorted(each.name for each in kept.spans)
    assert names == ["cloud.batch", "cloud.frame", "decode", "queue", "tail"]


def test_what_a_stranger_wrote_is_cut(service: Service) -> None:
    service.note(done(candidate="x" * 5000, outcome="y" * 5000, traceparent=named()))
    frame = only(service.kept.spans, "cloud.frame")
    assert frame.attributes is not None
    assert len(str(frame.attributes["isthmus.candidate"])) == 100
    assert len(str(frame.status.description)) == 100


def test_other_happenings_are_no_spans(service: Service) -> None:
    for happening in [*one_of_each(), refused()]:
        if type(happening).__name__ != "FrameDone":
            service.note(happening)
    assert service.kept.spans == []


async def test_spans_of_the_service_leave_for_the_collector() -> None:
    with collecting() as collector:
        async with tracing(TraceSettings(endpoint=collector.endpoint)) as observer:
            observer.note(done(traceparent=named()))
        assert collector.names == ["cloud.frame", "decode", "queue", "tail"]


def test_who_does_not_trace_loads_no_opentelemetry() -> None:
    program = (
        "import sys\n"
        "import isthmus_cloud, isthmus_cloud.telemetry.tracing, isthmus_cloud.telemetry.metrics\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran_ = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran_.stdout.strip() == "[]"
