"""What is said of a trace's origin."""

import pytest

from isthmus_bench.adapt.config import typical_excerpt
from isthmus_bench.adapt.origin import origin_of, origins_of
from isthmus_bench.traces import Trace, builtin_traces


@pytest.mark.parametrize(
    ("name", "words", "is_measured_uplink"),
    [
        ("lte_driving_up", "measured uplink", True),
        ("lte_driving_up[12+30s]", "measured uplink", True),
        ("hsdpa_tram_dl[12+30s]", "measured downlink", False),
        ("5g_walk_dl_x0.1", "measured downlink, scaled", False),
        ("lte_driving_upx2", "measured uplink, scaled", False),
        ("synthetic_ramp_up", "synthetic", False),
        ("drive", "of unknown origin", False),
        ("my_upload", "of unknown origin", False),
    ],
)
def test_a_name_says_where_a_trace_is_from(name: str, words: str, is_measured_uplink: bool) -> None:
    found = origin_of(name)
    assert (found.words, found.is_measured_uplink) == (words, is_measured_uplink)


def test_built_in_traces_are_synthetic_and_others_of_their_names_are_not() -> None:
    excerpts = [typical_excerpt(trace, 5.0) for trace in builtin_traces()]
    assert {origin.kind for origin in origins_of(excerpts, 5.0).values()} == {"synthetic"}
    mine = Trace(excerpts[0].name, (0.0, 1.0), (1.0, 2.0), 40.0)
    assert origins_of([mine], 5.0)[mine.name].kind == "unknown"
