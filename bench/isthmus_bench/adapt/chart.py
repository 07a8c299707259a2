"""One picture for a trace: the link, what the policy did about it, and what came of it."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isthmus_bench.adapt.runs import OURS, FrameEnd
from isthmus_bench.adapt.scores import Cell
from isthmus_bench.chart_paper import COLOURS, FAINT, INK, STYLE, latency_axis, save
from isthmus_bench.traces import Trace

__all__ = ["draw_cell"]

_DRAWN_S = 0.1
_MARKERS = {"cloud": "o", "device": "^"}


def draw_cell(path: Path, cell: Cell, trace: Trace) -> None:
    """Bandwidth, candidate in use and latencies over time, of the first repeat. Writes a PNG.

    Raises ConfigError if `path` cannot be written.
    """
    best = cell.best_static(fmean)
    title = next(policy.title for policy in cell.policies if policy.name == best)
    ours, other = cell.runs[OURS][0].frames, cell.runs[best][0].frames
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 7.2), layout="constrained")
        link, use, latency = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.1, 1.6))
        link.set_title(f"{cell.model} on {trace.name}, {trace.rtt_ms:g} ms")
        _draw_link(link, trace, cell.scene.seconds)
        _draw_use(use, ours)
        _draw_latencies(latency, ours, other, title)
        latency.axhline(cell.scene.late_after_ms, color=FAINT, lw=0.8, ls="--")
        latency.set_xlabel("time since the start of the trace, s")
        figure.legend(loc="outside lower left", ncols=2, frameon=False)
        save(figure, path)


def _draw_link(axes: Axes, trace: Trace, seconds: float) -> None:
    times_s = np.arange(0.0, seconds, _DRAWN_S)
    mbps = [trace.mbps_at(float(at_s)) for at_s in times_s]
    axes.fill_between(times_s, mbps, step="post", color="#DCE6F0", lw=0)
    axes.step(times_s, mbps, where="post", color=INK, lw=1)
    axes.set_ylabel("Mbit/s")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, seconds)


def _draw_use(axes: Axes, frames: Sequence[FrameEnd]) -> None:
    used = sorted({frame.candidate for frame in frames if frame.candidate})
    for row, name in enumerate(used):
        for place, marker in _MARKERS.items():
            ticks = [f.tick_s for f in frames if f.candidate == name and f.place == place]
            colour = COLOURS[row % len(COLOURS)]
            axes.plot(ticks, [row] * len(ticks), marker, color=colour, ms=4)
    axes.set_yticks(range(len(used)), used, fontsize=8)
    axes.set_ylim(-0.6, max(len(used) - 0.4, 0.6))
    axes.set_ylabel("ours")


def _draw_latencies(
    axes: Axes, ours: Sequence[FrameEnd], other: Sequence[FrameEnd], title: str
) -> None:
    for frames, colour, label in (
        (other, COLOURS[1], f"best static: {title}"),
        (ours, COLOURS[0], "ours"),
    ):
        answered = [(f.tick_s, f.latency_ms) for f in frames if f.latency_ms is not None]
        missing = [f.tick_s for f in frames if f.latency_ms is None]
        axes.plot(*zip(*answered, strict=True), "o-", color=colour, ms=3, lw=0.8, label=label)
        axes.plot(missing, [0.02] * len(missing), "x", color=colour, ms=5,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_yscale("log")
    latency_axis(axes)
