"""The pictures of the demo. Needs matplotlib; nothing else in the bench does."""

from isthmus_bench.envelope_chart import Line, draw_envelope
from isthmus_bench.live_chart import LiveFrame, Phase, draw_live_run

__all__ = ["Line", "LiveFrame", "Phase", "draw_envelope", "draw_live_run"]
