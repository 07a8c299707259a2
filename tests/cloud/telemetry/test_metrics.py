"""What Prometheus is told: right numbers, bounded labels, little work for a frame."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics
from tests.cloud.telemetry.records import (
    activated,
    audited,
    call_lost,
    closed,
    done,
    one_of_each,
    opened,
    ran,
    refused,
    retired,
)

from isthmus_cloud.telemetry.metrics import Levels, PrometheusObserver
from isthmus_cloud.telemetry.series import DeploymentSeries, Families

V1 = {"model": "lite0", "version": "v1"}
MOVES = {"Activated", "Retired", "Unloaded"}
CUT = V1 | {"candidate": "cut-16"}
Value = Callable[..., float | None]


@pytest.fixture
def observer() -> PrometheusObserver:
    """Of a service that has one version of one model."""
    observer = PrometheusObserver()
    observer.note(activated())
    return observer


@pytest.fixture
def value(observer: PrometheusObserver) -> Value:
    """The value of `isthmus_NAME` with these labels, None where there is no such series."""

    def value(name: str, **labels: str) -> float | None:
        found: float | None = observer.registry.get_sample_value(f"isthmus_{name}", labels)
        return found

    return value


def test_an_answered_frame_is_counted_with_its_times_and_bytes(
    observer: PrometheusObserver, value: Value
) -> None:
    for _ in range(3):
        observer.note(done())
    assert value("frames_total", outcome="answered", **CUT) == 3
    assert value("frame_up_bytes_sum", **CUT) == 9000
    assert value("frame_down_bytes_sum", **CUT) == 1200
    assert value("queue_seconds_sum", **CUT) == pytest.approx(0.006)
    assert value("decode_seconds_sum", **CUT) == pytest.approx(0.003)
    assert value("tail_seconds_sum", **CUT) == pytest.approx(0.024)
    assert value("frame_seconds_sum", **CUT) == pytest.approx(0.036)
    assert value("frame_seconds_bucket", le="0.01", **CUT) == 0
    assert value("frame_seconds_bucket", le="0.02", **CUT) == 3


def test_a_late_frame_counts_its_wait_and_nothing_that_it_did_not_have(
    observer: PrometheusObserver, value: Value
) -> None:
    observer.note(done(outcome="too_late", queue_ms=0.0, total_ms=500.0))
    observer.note(done(outcome="bad_frame"))
    assert value("frames_total", outcome="too_late", **CUT) == 1
    assert value("frames_total", outcome="bad_frame", **CUT) == 1
    assert value("queue_seconds_count", **CUT) == 1
    assert value("queue_seconds_sum", **CUT) == 0.5
    assert value("frame_up_bytes_count", **CUT) == 2
    assert value("frame_seconds_count", **CUT) == value("tail_seconds_count", **CUT) == 0
    assert value("frame_down_bytes_count", **CUT) == value("decode_seconds_count", **CUT) == 0


def test_a_batch_is_counted_by_part(observer: PrometheusObserver, value: Value) -> None:
    observer.note(ran())
    part = V1 | {"part": "cloud/tail-1.onnx"}
    assert value("batch_items_sum", **part) == 4
    assert value("batch_clients_sum", **part) == 2
    assert value("part_run_seconds_sum", **part) == 0.008
    assert value("batch_items_bucket", le="2.0", **part) == 0


def test_calls_are_counted_that_were_lost_with_a_replica(
    observer: PrometheusObserver, value: Value
) -> None:
    observer.note(call_lost(frames=8))
    observer.note(call_lost(frames=1))
    assert value("replica_calls_lost_total", **V1) == 2


def test_streams_refusals_and_audits_are_counted(
    observer: PrometheusObserver, value: Value
) -> None:
    for happening in (
        opened(),
        opened(resumed=True),
        closed(),
        refused("token"),
        refused("token"),
        audited(),
        audited(agrees=False),
        audited(compared=False, agrees=False),
    ):
        observer.note(happening)
    assert value("streams_opened_total", resumed="false", **V1) == 1
    assert value("streams_opened_total", resumed="true", **V1) == 1
    assert value("streams_closed_total", **V1) == 1
    assert value("refusals_total", why="token") == 2
    for verdict in ("agree", "disagree", "uncompared"):
        assert value("audits_total", verdict=verdict, **V1) == 1


def test_the_active_version_is_one_and_the_one_before_is_none(
    observer: PrometheusObserver, value: Value
) -> None:
    observer.note(activated("v2", previous="v1"))
    assert value("active", **V1) == 0
    assert value("active", model="lite0", version="v2") == 1
    observer.note(activated("v1", previous="v2"))
    assert value("active", **V1) == 1
    assert value("activations_total", **V1) == 2


def test_levels_are_asked_for_when_the_metrics_are_read() -> None:
    levels = {"streams": 3, "parked": 1, "waiting": 7, "bytes": 1000}
    observer = PrometheusObserver()
    observer.watch(
        Levels(
            streams=lambda: levels["streams"],
            sessions_parked=lambda: levels["parked"],
            frames_waiting=lambda: levels["waiting"],
            bytes_in_flight=lambda: levels["bytes"],
        )
    )
    read = observer.registry.get_sample_value
    assert read("isthmus_streams") == 3
    levels["streams"] = 4
    assert read("isthmus_streams") == 4
    assert read("isthmus_sessions_parked") == 1
    assert read("isthmus_frames_waiting") == 7
    assert read("isthmus_bytes_in_flight") == 1000


def label_values(observer: PrometheusObserver) -> set[str]:
    """Every value of every label but the buckets'."""
    return {
        text
        for family in observer.registry.collect()
        for sample in family.samples
        for name, text in sample.labels.items()
        if name != "le"
    }


def test_what_a_stranger_writes_is_never_a_label(observer: PrometheusObserver) -> None:
    before = label_values(observer)
    for number in range(200):
        text = f'x{number}"\n<script>'
        observer.note(done(candidate=text, outcome="unknown_candidate", session=text))
        observer.note(done(candidate=text, outcome=text, identity=text))
        observer.note(done(model=text, version=text))
        observer.note(opened(session=text, identity=text, peer=text))
    assert label_values(observer) - before == {"other", "unknown_candidate", "false"} - before
    of_strangers = V1 | {"candidate": "other", "outcome": "unknown_candidate"}
    assert observer.registry.get_sample_value("isthmus_frames_total", of_strangers) == 200


def test_reasons_and_parts_are_bounded(observer: PrometheusObserver) -> None:
    for number in range(500):
        observer.note(refused(f"why-{number}"))
        observer.note(ran(part=f"part-{number}"))
    values = label_values(observer)
    assert len([each for each in values if each.startswith("why-")]) == 32
    assert len([each for each in values if each.startswith("part-")]) == 64
    assert observer.registry.get_sample_value("isthmus_refusals_total", {"why": "other"}) == 468


def test_a_version_that_is_retired_leaves_no_series(observer: PrometheusObserver) -> None:
    empty = label_values(PrometheusObserver())
    for happening in [*one_of_each(), retired(), retired("never there")]:
        observer.note(happening)
    assert label_values(observer) - empty == {"token"}
    observer.note(done())  # the last frame of a version that has just gone
    assert "v1" not in label_values(observer)


def test_a_thread_that_still_counts_in_a_retired_version_brings_nothing_back() -> None:
    registry = CollectorRegistry()
    series = DeploymentSeries(Families(registry), ("lite0", "v1"), ["cut-16"])
    series.end()
    for happening in (done(), done(outcome="internal"), done(candidate="of a stranger")):
        series.frame(happening)
    series.batch(ran())
    series.closed.inc()
    assert [sample for each in registry.collect() for sample in each.samples if sample.labels] == []


def test_a_version_that_is_activated_again_keeps_its_counts(
    observer: PrometheusObserver, value: Value
) -> None:
    observer.note(done())
    observer.note(activated())
    assert value("frames_total", outcome="answered", **CUT) == 1


def test_a_frame_that_is_one_of_many_looks_no_label_up(
    observer: PrometheusObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children of the client library are looked up under a lock, by tuples that are made anew."""
    looked_up: list[tuple[Any, ...]] = []
    labels = MetricWrapperBase.labels

    def counted(self: Any, *values: Any, **more: Any) -> Any:
        looked_up.append(values)
        return labels(self, *values, **more)

    monkeypatch.setattr(MetricWrapperBase, "labels", counted)
    everything = [
        *one_of_each(),
        done(outcome="too_late"),
        done(candidate="of a stranger"),
        done(version="of a stranger"),
    ]
    busy = [each for each in everything if type(each).__name__ not in MOVES]
    for happening in busy:
        observer.note(happening)
    assert looked_up
    looked_up.clear()
    for happening in busy * 10:
        observer.note(happening)
    assert looked_up == []


def test_many_threads_lose_no_count(observer: PrometheusObserver, value: Value) -> None:
    def work() -> None:
        for number in range(200):
            observer.note(done())
            observer.note(refused(f"why-{number}"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value("frames_total", outcome="answered", **CUT) == 800
    assert value("refusals_total", why="why-0") == 4


def test_the_page_is_in_the_format_that_the_scraper_asks_for(observer: PrometheusObserver) -> None:
    for happening in one_of_each()[:-1]:
        observer.note(happening)
    plain, body = observer.text()
    assert plain.startswith("text/plain")
    frames = {each.name: each for each in plain_metrics(body.decode())}["isthmus_frames"]
    assert sum(each.value for each in frames.samples if each.name.endswith("_total")) == 1

    kind, body = observer.text("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    families = open_metrics(body.decode())  # type: ignore[no-untyped-call]
    assert "isthmus_frames" in {each.name for each in families}


def test_the_registry_of_the_process_is_left_alone(observer: PrometheusObserver) -> None:
    PrometheusObserver()  # a second one in the same process collides with nothing
    assert [each for each in REGISTRY.collect() if each.name.startswith("isthmus")] == []
    assert observer.registry is not REGISTRY
