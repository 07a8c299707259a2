"""A live run: the latency of every frame while the link changes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isthmus.errors import ConfigError
from isthmus_bench.chart_paper import COLOURS, FAINT, INK, STYLE, latency_axis, latency_text, save

__all__ = ["LiveFrame", "Phase", "draw_live_run"]

_MARKERS = {"cloud": "o", "device": "^"}


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """One answered frame of a live run, `t_s` after its start."""

    t_s: float
    latency_ms: float
    candidate: str
    place: Literal["cloud", "device"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run during which the link stayed as it was."""

    start_s: float
    end_s: float
    label: str


def draw_live_run(
    path: Path, frames: Sequence[LiveFrame], phases: Sequence[Phase], title: str
) -> None:
    """Latency of every frame of a live run, by candidate and place, over the phases of the link.

    Writes a PNG. Raises `ConfigError` if there is no frame or `path` cannot be written.
    """
    if not frames:
        raise ConfigError(f"chart {path}: there is no frame to draw; give one at least")
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 5.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, pad=44)
        _frame_live_run(axes, frames, phases)
        _draw_phases(axes, frames, phases)
        _draw_frames(figure, axes, frames)
        save(figure, path)


def _frame_live_run(axes: Axes, frames: Sequence[LiveFrame], phases: Sequence[Phase]) -> None:
    ends_s = [phase.end_s for phase in phases] + [frame.t_s for frame in frames]
    starts_s = [phase.start_s for phase in phases] + [frame.t_s for frame in frames]
    margin_s = 0.01 * max(max(ends_s) - min(starts_s), 1.0)
    latencies = [frame.latency_ms for frame in frames]
    axes.set_yscale("log")
    axes.set_xlim(min(starts_s) - margin_s, max(ends_s) + margin_s)
    axes.set_ylim(min(latencies) / 1.6, max(latencies) * 1.6)
    axes.set_xlabel("time since the start of the run, s")
    latency_axis(axes)


def _draw_phases(axes: Axes, frames: Sequence[LiveFrame], phases: Sequence[Phase]) -> None:
    """Shaded bands, each with the link's label and the median latency of its frames on top."""
    first_s, last_s = axes.get_xlim()
    for index, phase in enumerate(phases):
        shade = "#EEF1F5" if index % 2 == 0 else "#FFFFFF"
        axes.axvspan(phase.start_s, phase.end_s, color=shade, lw=0, zorder=0)
        if index:
            axes.axvline(phase.start_s, color=FAINT, lw=0.8, zorder=1)
        within = [f.latency_ms for f in frames if phase.start_s <= f.t_s < phase.end_s]
        note = "no frame"
        if within:
            median_ms = statistics.median(within)
            note = f"median {latency_text(median_ms)}"
            axes.hlines(median_ms, phase.start_s, phase.end_s, color=INK, lw=1, alpha=0.5, zorder=2)
        share = (phase.end_s - phase.start_s) / (last_s - first_s)
        for text, height, weight, colour in (
            (phase.label, 1.06, "bold", INK),
            (note, 1.015, "normal", "#555555"),
        ):
            axes.text(
                *((phase.start_s + phase.end_s) / 2, height, text),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=colour,
                fontsize=max(6.0, min(10.0, 1000 * share / max(len(text), 1))),
                fontweight=weight,
            )


def _draw_frames(figure: Figure, axes: Axes, frames: Sequence[LiveFrame]) -> None:
    candidates = list(dict.fromkeys(frame.candidate for frame in frames))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(candidates)}
    handles = []
    for place, marker in _MARKERS.items():
        count = sum(frame.place == place for frame in frames)
        label = f"answered by the {place} ({count})"
        handles.append(Line2D([], [], color="#555555", marker=marker, ls="", label=label))
    for name in candidates:
        for place, marker in _MARKERS.items():
            chosen = [f for f in frames if f.candidate == name and f.place == place]
            axes.scatter(
                [f.t_s for f in chosen],
                [f.latency_ms for f in chosen],
                s=26,
                marker=marker,
                color=colours[name],
                edgecolor="white",
                linewidth=0.4,
                alpha=0.85,
                zorder=3,
            )
        handles.append(Line2D([], [], color=colours[name], marker="s", ls="", label=name))
    figure.legend(handles=handles, loc="outside lower left", ncols=5, frameon=False)
