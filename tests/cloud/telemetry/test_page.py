"""The page on observability names what there is, and nothing else."""

import io
import json
import logging
import re
from dataclasses import replace

import pytest
from tests.cloud.telemetry.observability import ALWAYS, PAGE, logged, rows, words
from tests.cloud.telemetry.records import (
    activated,
    audited,
    done,
    one_of_each,
    opened,
    ran,
    refused,
)
from tests.spans import Kept

from isthmus.tracing import TraceContext, format_traceparent
from isthmus_cloud.telemetry.logs import LogObserver, start_logging
from isthmus_cloud.telemetry.metrics import PrometheusObserver
from isthmus_cloud.telemetry.spans import SpanObserver

pytestmark = pytest.mark.usefixtures("loggers")


def test_the_page_and_the_registry_agree() -> None:
    observer = PrometheusObserver()
    for happening in one_of_each()[:-1]:
        observer.note(happening)
    there = {}
    for family in observer.registry.collect():
        if family.name.startswith("isthmus_") and not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels}
            there[name] = (family.type, sorted(labels - {"le"}))
    listed = {
        name: (kind, sorted(words(labels)))
        for name, kind, labels, _ in rows("Metrics")
        if name != "metric"
    }
    assert listed == there


def test_every_metric_that_a_question_asks_for_is_there() -> None:
    listed = {row[0] for row in rows("Metrics")}
    asked = set(re.findall(r"isthmus_\w+", PAGE.split("```\nsum(")[1].split("```")[0]))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert bare
    assert bare <= listed


def test_the_page_and_the_log_agree() -> None:
    stream = io.StringIO()
    start_logging("json", logging.DEBUG, stream)
    observer, hasty = LogObserver(), LogObserver(lines_per_s=1)
    for happening in [
        *one_of_each(),
        opened(resumed=True),
        replace(activated("v2", "v1"), identity="anna"),
        done(outcome="internal"),
        audited(agrees=False),
        refused(identity="camera-7"),
    ]:
        observer.note(happening)
    hasty.note(refused())
    hasty.note(refused())
    hasty.flush()
    told: dict[str, set[str]] = {}
    for line in map(json.loads, stream.getvalue().splitlines()):
        told.setdefault(line["event"], set()).update(line)
    listed = logged()
    for event in ("pushed", "removed", "not_done", "reloaded"):
        del listed[event]  # `tests/cloud/test_asked.py` and `test_reloading.py` have a store
    for event in ("listening", "draining", "stopped"):
        del listed[event]  # `tests/cli/test_cloud.py` has a process
    listed["frame"] = listed["frame_failed"]
    del listed["service, log"]
    assert {event: fields - ALWAYS for event, fields in told.items()} == listed


def attributes(kept: Kept) -> dict[str, set[str]]:
    """Those of each kind of span that has some."""
    return {
        span.name: {name.removeprefix("isthmus.") for name in span.attributes}
        for span in kept.spans
        if span.attributes
    }


def test_the_page_and_the_services_spans_agree() -> None:
    kept = Kept()
    observer = SpanObserver(kept.provider)
    traceparent = format_traceparent(TraceContext(trace_id=1, span_id=2, is_sampled=True))
    observer.note(ran(traceparents=(traceparent,)))
    observer.note(done(traceparent=traceparent))
    listed = {
        row[0]: set(words(row[1])) for row in rows("Traces") if "." in row[0] or row[0] == "tail"
    }
    assert attributes(kept) == listed
    drawn = PAGE.split("## Traces")[1].split("```")[1]
    assert [span.name for span in kept.spans if span.name not in drawn] == []
