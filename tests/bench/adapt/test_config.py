"""What the bench can be told, and which part of a trace it plays."""

from pathlib import Path
from typing import Any

import pytest

from isthmus import ConfigError
from isthmus_bench.adapt.config import AdaptBenchConfig, quick_adapt, typical_excerpt
from isthmus_bench.traces import Trace

OUT = Path("out")


def trace(*mbps: float, name: str = "made up") -> Trace:
    return Trace(name, tuple(float(second) for second in range(len(mbps))), mbps, 40.0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"models": ("vgg",)}, "models: vgg"),
        ({"models": ()}, "models: none"),
        ({"models": ("minilm", "minilm")}, "distinct"),
        ({"traces": ()}, "traces: none"),
        ({"traces": (trace(1.0), trace(2.0))}, "distinct"),
        ({"seconds": 0.5}, "seconds is 0.5"),
        ({"seconds": 1000.0}, "seconds"),
        ({"edge_factor": 0.0}, "edge_factor"),
        ({"fps": float("nan")}, "fps"),
        ({"deadline_ms": -1.0}, "deadline_ms"),
        ({"repeats": 0}, "repeats"),
        ({"lanes": 0}, "lanes"),
        ({"trials": 0}, "trials"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AdaptBenchConfig(out=OUT, **flags)


def test_there_are_traces_whether_or_not_any_lie_beside_the_checkout() -> None:
    excerpts = AdaptBenchConfig(out=OUT, seconds=3.0).excerpts
    assert len(excerpts) >= 3
    assert {round(excerpt.duration_s, 6) for excerpt in excerpts} == {3.0}


def test_an_excerpt_is_the_part_most_like_the_whole() -> None:
    # Half of the seconds are slow; only the windows around the change have both.
    found = typical_excerpt(trace(*[1.0] * 10, *[9.0] * 10), 4.0)
    assert [found.mbps_at(second) for second in range(4)] == [1.0, 1.0, 9.0, 9.0]


def test_a_short_trace_is_played_from_its_start() -> None:
    found = typical_excerpt(trace(1.0, 2.0), 4.0)
    assert [found.mbps_at(second) for second in range(4)] == [1.0, 2.0, 1.0, 2.0]


def test_quick_is_small_unless_more_is_asked_for() -> None:
    quick = quick_adapt(OUT)
    assert len(quick.models) == 1
    assert len(quick.excerpts) == 3
    asked = quick_adapt(OUT, models=("minilm",), traces=(trace(1.0),))
    assert (asked.models, len(asked.excerpts)) == (("minilm",), 1)
