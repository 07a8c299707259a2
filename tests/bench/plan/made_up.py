"""Rows and cells with figures that a test chooses."""

from typing import Any

from isthmus_bench.plan.cells import Cell, Kind, Row, Terms


def row(
    way: str,
    kind: Kind,
    measured_ms: float,
    *,
    predicted_ms: float | None = None,
    fps: float = 10.0,
    **others: Any,
) -> Row:
    """A kept row at the floor, predicted rightly, half of it device time and none cloud's."""
    expected_ms = measured_ms if predicted_ms is None else predicted_ms
    figures: dict[str, Any] = {
        "agreement": 1.0,
        "meets_floor": True,
        "is_kept": True,
        "payload_bytes": 100,
        "predicted": Terms(expected_ms / 2, expected_ms / 2, 0.0),
        "measured": Terms(measured_ms / 2, measured_ms / 2, 0.0),
        "spread": 0.1,
        "predicted_fps": fps,
        "measured_fps": fps,
        "planners": {},
    }
    return Row(way=way, kind=kind, measured_ms=measured_ms, **(figures | others))


def cell(*rows: Row, model: str = "net", link_mbps: float = 5.85, slow_down: float = 5.0) -> Cell:
    return Cell(model, link_mbps, slow_down, 41.0, rows)
