"""The trace context on the wire, and spans on their way to a collector."""

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, SpanContext, TraceFlags
from tests.collector import collecting

from isthmus import ConfigError
from isthmus.otlp import sampler
from isthmus.tracing import (
    APPLICATION,
    TraceContext,
    TraceSettings,
    format_traceparent,
    parse_traceparent,
    span_export,
    trace_settings,
)

# The example of the standard.
EXAMPLE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IDS = EXAMPLE[3:52]


def test_the_example_of_the_standard_is_read_and_written() -> None:
    context = TraceContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C, span_id=0xB7AD6B7169203331, is_sampled=True
    )
    assert parse_traceparent(EXAMPLE) == context
    assert format_traceparent(context) == EXAMPLE


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
)
def test_what_is_written_is_read_back(trace_id: int, span_id: int, is_sampled: bool) -> None:
    context = TraceContext(trace_id=trace_id, span_id=span_id, is_sampled=is_sampled)
    assert parse_traceparent(format_traceparent(context)) == context


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)]
)
def test_only_the_last_flag_says_sampled(flags: str, is_sampled: bool) -> None:
    context = parse_traceparent(f"00-{IDS}-{flags}")
    assert context is not None
    assert context.is_sampled is is_sampled


@pytest.mark.parametrize("text", [f"01-{IDS}-01", f"cc-{IDS}-01-more", f"fe-{IDS}-01-"])
def test_of_later_versions_what_is_known_is_read(text: str) -> None:
    assert parse_traceparent(text) == parse_traceparent(EXAMPLE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        EXAMPLE.upper(),
        EXAMPLE + "-more",
        EXAMPLE + "\n",
        " " + EXAMPLE,
        f"ff-{IDS}-01",
        f"01-{IDS}-01more",
        f"01-{IDS}-01-" + "more" * 100,
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        EXAMPLE.replace("b7", "٣٣"),
        "x" * 100_000,
    ],
)
def test_what_is_no_context_is_none(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.text(alphabet="0123456789abcdef-٣\n\0", max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    context = parse_traceparent(text)
    assert context is None or text.startswith(format_traceparent(context)[2:52], 2)


@pytest.mark.parametrize(
    "endpoint", ["", "collector", "127.0.0.1:4317", "ftp://c:1", "http://c", "http://:4317",
                 "http://c:x", "http://c:99999"],
)  # fmt: skip
def test_an_endpoint_that_is_none_is_named(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="OTLP collector"):
        trace_settings(endpoint, 1.0)


def test_what_the_application_exports_is_left_to_it() -> None:
    assert trace_settings(APPLICATION, 0.5) is None
    assert trace_settings("http://[::1]:4317", 0.5) == TraceSettings(
        endpoint="http://[::1]:4317", share=0.5
    )


def test_without_the_extra_the_way_to_it_is_told() -> None:
    program = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from isthmus import ConfigError\n"
        "from isthmus.tracing import trace_settings\n"
        "for traces in ('application', 'http://127.0.0.1:4317'):\n"
        "    try:\n"
        "        trace_settings(traces, 1.0)\n"
        "    except ConfigError as error:\n"
        "        print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    told = ran.stdout.splitlines()
    assert len(told) == 2
    assert all("pip install 'isthmus[telemetry]'" in line for line in told)


def linked(*, is_sampled: bool) -> list[Link]:
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    return [Link(SpanContext(1, 2, is_remote=True, trace_flags=flags))]


def test_a_trace_begins_for_its_share_or_for_a_link_that_is_sampled() -> None:
    def decision(share: float, links: list[Link]) -> Decision:
        return sampler(share).should_sample(None, 7, "cloud.batch", links=links).decision

    assert decision(1.0, []) is Decision.RECORD_AND_SAMPLE
    assert decision(0.0, []) is Decision.DROP
    assert decision(0.0, linked(is_sampled=False)) is Decision.DROP
    assert decision(0.0, linked(is_sampled=True)) is Decision.RECORD_AND_SAMPLE


def test_spans_leave_for_the_collector_at_the_latest_at_the_end() -> None:
    with collecting() as collector:
        export = span_export(TraceSettings(endpoint=collector.endpoint), "isthmus-cloud")
        export.provider.get_tracer("test").start_span("frame").end()
        export.close()
    assert collector.names == ["frame"]
    (resource,) = collector.resources
    assert resource["service.name"] == "isthmus-cloud"
    assert resource["service.version"]


def test_a_collector_that_is_not_there_costs_spans_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("isthmus.otlp.EXPORT_S", 0.5)
    with caplog.at_level(logging.CRITICAL):
        export = span_export(TraceSettings(endpoint="http://127.0.0.1:1"), "isthmus-edge")
        tracer = export.provider.get_tracer("test")
        for _ in range(10):
            tracer.start_span("frame").end()
        export.close()
