"""Goals in words: the objective, the link, and each constraint that is in force."""

from typing import Any

import msgspec
import pytest

from isthmus_partitioner.planning.envelope import Span
from isthmus_partitioner.planning.records import GoalsRecord
from isthmus_partitioner.report.words import goals_words

BARE = GoalsRecord(
    objectives=("latency", "throughput"),
    min_agreement=0.95,
    deadline_ms=None,
    max_edge_memory_bytes=None,
    privacy_depth=0.0,
    no_raw_input=False,
    candidates=None,
    bandwidth=Span(10e3, 1e9),
    rtt_ms=0.0,
    answer_top_k=0,
)


def test_without_constraints_only_objective_link_and_floor_are_told() -> None:
    assert goals_words(BARE) == (
        "least latency or most frames/s from 0.01 Mbit/s to 1000 Mbit/s with a round trip of 0 ms, "
        "agreement at least 0.95"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objectives": ("edge-energy",)}, "least energy on the device from "),
        ({"bandwidth": Span(1e6, 2e7), "rtt_ms": 40}, " 1 Mbit/s to 20 Mbit/s with a round trip"),
        ({"rtt_ms": 40}, "a round trip of 40 ms,"),
        ({"min_agreement": 1.0}, ", agreement at least 1"),
        ({"deadline_ms": 12.5}, ", latency at most 12.5 ms"),
        ({"max_edge_memory_bytes": 500_000}, ", heads of at most 500 KB on the device"),
        ({"privacy_depth": 0.3}, ", 30.0% of the multiply-accumulates before what is sent"),
        ({"no_raw_input": True}, ", no raw input sent"),
        ({"candidates": 3}, ", at most 3 candidates beside local"),
        ({"answer_top_k": 5}, ", the 5 highest values of an answer's rows come back"),
    ],
)
def test_what_is_in_force_is_told(changes: dict[str, Any], words: str) -> None:
    assert words not in goals_words(BARE)
    assert words in goals_words(msgspec.structs.replace(BARE, **changes))
