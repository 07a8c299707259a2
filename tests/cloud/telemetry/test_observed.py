"""All observers together, from the first happening to the end."""

import logging

import pytest
from tests.cloud.telemetry.records import activated, done, refused
from tests.collector import collecting

from isthmus.tracing import TraceSettings
from isthmus_cloud.telemetry import Happening
from isthmus_cloud.telemetry.observed import observed


class Listener:
    """Somebody else who wants to hear."""

    def __init__(self) -> None:
        self.heard: list[Happening] = []

    def note(self, happening: Happening) -> None:
        self.heard.append(happening)


async def test_each_observer_hears_and_tells_what_is_left_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = Listener()
    happenings: list[Happening] = [activated(), done(), *(refused() for _ in range(30))]
    with collecting() as collector, caplog.at_level(logging.INFO, "isthmus_cloud"):
        traces = TraceSettings(endpoint=collector.endpoint)
        async with observed(traces, [listener]) as everybody:
            for happening in happenings:
                everybody.observer.note(happening)
            _, body = everybody.metrics.text()
        assert collector.names == ["cloud.frame", "decode", "queue", "tail"]
    assert listener.heard == happenings
    assert b'isthmus_refusals_total{why="token"} 30.0' in body
    words = [record.getMessage() for record in caplog.records]
    assert words == ["activated", *["refused"] * 20, "left_out"]
