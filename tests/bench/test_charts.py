"""The demo's pictures."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isthmus.errors import ConfigError
from isthmus_bench.charts import Line, LiveFrame, Phase, draw_envelope, draw_live_run
from isthmus_bench.envelope_chart import best_stretches, spread

LINES = (
    Line("local int8", 150.0, 0, kept=True, meets_floor=True),
    Line("cut 7", 90.0, 5_600, kept=True, meets_floor=True),
    Line("JPEG q95", 54.0, 22_000, kept=True, meets_floor=True),
    Line("JPEG q85", 53.0, 12_800, kept=True, meets_floor=False),
    Line("local fp32", 300.0, 0, kept=False, meets_floor=True),
)
FRAMES = (
    LiveFrame(0.1, 60.0, "JPEG q95", "cloud"),
    LiveFrame(1.2, 900.0, "JPEG q95", "cloud"),
    LiveFrame(1.5, 151.0, "local int8", "device"),
)
PHASES = (Phase(0.0, 1.0, "18.88 Mbit/s"), Phase(1.0, 2.0, "0.2 Mbit/s"), Phase(2.0, 2.1, "off"))

_CANDIDATES = st.lists(
    st.builds(
        Line,
        name=st.just("a candidate"),
        fixed_ms=st.floats(1.0, 1000.0),
        payload_bytes=st.integers(0, 1_000_000),
        kept=st.booleans(),
        meets_floor=st.booleans(),
    ),
    max_size=8,
)


def _envelope(path: Path) -> None:
    draw_envelope(path, LINES, [0.2, 1.1, 5.85, 18.88], "Envelope")


def _live_run(path: Path) -> None:
    draw_live_run(path, FRAMES, PHASES, "Live run")


@pytest.mark.parametrize("draw", [_envelope, _live_run])
def test_a_chart_is_a_png_that_can_be_read_on_a_screen(
    tmp_path: Path, draw: Callable[[Path], None]
) -> None:
    path = tmp_path / "chart.png"
    draw(path)
    with Image.open(path) as picture:
        picture.verify()
        assert picture.format == "PNG"
        assert 1000 <= picture.width <= 2500
        assert 600 <= picture.height <= 1500
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_chart_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "chart.png"
    path.write_bytes(b"old")
    _live_run(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_charts_of_a_single_point_and_of_nothing_that_meets_the_floor_are_drawn(
    tmp_path: Path,
) -> None:
    draw_envelope(tmp_path / "envelope.png", LINES[3:4], [], "Only below the floor")
    draw_live_run(tmp_path / "live.png", FRAMES[:1], [], "One frame")
    for name in ("envelope.png", "live.png"):
        with Image.open(tmp_path / name) as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=1 << 20)
            assert colours is not None
            assert len(colours) > 20


@pytest.mark.parametrize("draw", [_envelope, _live_run])
def test_a_path_that_cannot_be_written_is_named_with_the_way_out(
    tmp_path: Path, draw: Callable[[Path], None]
) -> None:
    path = tmp_path / "nowhere" / "chart.png"
    with pytest.raises(ConfigError, match=r"nowhere/chart\.png: cannot be written .*folder"):
        draw(path)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    folder_in_the_way = tmp_path / "chart.png"
    folder_in_the_way.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        _live_run(folder_in_the_way)
    assert list(tmp_path.iterdir()) == [folder_in_the_way]


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no candidate to draw"):
        draw_envelope(tmp_path / "chart.png", [], [1.0], "Empty")
    with pytest.raises(ConfigError, match="no frame to draw"):
        draw_live_run(tmp_path / "chart.png", [], PHASES, "Empty")


def test_latency_is_the_fixed_part_and_the_payload_over_the_bandwidth() -> None:
    assert Line("x", 50.0, 25_000, kept=True, meets_floor=True).latency_ms(2.0) == 150.0


def test_the_best_candidate_changes_where_the_lines_cross() -> None:
    stretches = best_stretches(LINES)
    assert [stretch.line.name for stretch in stretches] == ["local int8", "cut 7", "JPEG q95"]
    crossings = [stretch.to_mbps for stretch in stretches]
    assert crossings == pytest.approx([5_600 * 8e-3 / 60, 16_400 * 8e-3 / 36, 50.0])


@given(_CANDIDATES, st.floats(0.0, 1.0))
def test_the_envelope_is_nowhere_above_a_candidate_that_meets_the_floor(
    lines: list[Line], position: float
) -> None:
    stretches = best_stretches(lines)
    allowed = [line for line in lines if line.meets_floor]
    assert bool(stretches) == bool(allowed)
    if not stretches:
        return
    mbps = 0.1 * 500.0**position
    best = next(s.line for s in stretches if mbps <= s.to_mbps * (1 + 1e-8))
    least_ms = min(line.latency_ms(mbps) for line in allowed)
    assert best.latency_ms(mbps) == pytest.approx(least_ms, rel=1e-6)


@given(st.lists(st.floats(0.0, 1.0), max_size=20))
def test_labels_keep_their_order_and_their_distance(positions: list[float]) -> None:
    places = spread(sorted(positions), gap=0.05)
    assert len(places) == len(positions)
    for lower, upper in pairwise(places):
        assert upper - lower >= 0.05 - 1e-9


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([0.1, 0.5, 0.9], gap=0.05) == [0.1, 0.5, 0.9]
