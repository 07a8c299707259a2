"""Latency over bandwidth: which candidate is the best on which link."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from isthmus.errors import ConfigError
from isthmus_bench.chart_paper import COLOURS, FAINT, INK, PALE, STYLE, latency_axis, save

__all__ = ["Line", "Stretch", "best_stretches", "draw_envelope", "spread"]

_BANDWIDTH_MBPS = (0.1, 50.0)
_GRID_STEPS = 600


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate: its latency over bandwidth is `fixed_ms` plus the time of its payload."""

    name: str
    fixed_ms: float
    payload_bytes: float
    kept: bool
    meets_floor: bool

    def latency_ms(self, bandwidth_mbps: float) -> float:
        """fixed_ms + payload_bytes * 8 / bandwidth."""
        return self.fixed_ms + self.payload_bytes * 8 / bandwidth_mbps / 1e3


def draw_envelope(
    path: Path, lines: Sequence[Line], links_mbps: Sequence[float], title: str
) -> None:
    """Latency over bandwidth of all candidates, the best at each bandwidth emphasised.

    Writes a PNG. Raises `ConfigError` if there is no line or `path` cannot be written.
    """
    if not lines:
        raise ConfigError(f"chart {path}: there is no candidate to draw; give one line at least")
    with rc_context(STYLE):
        figure = Figure(figsize=(10.5, 6.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title, pad=26)
        winners = best_stretches(lines)
        colours = _line_colours(lines, winners)
        _frame_envelope(axes, lines, winners)
        _draw_links(axes, links_mbps)
        _draw_lines(axes, lines, colours)
        _draw_winners(axes, winners, colours)
        _label_right_ends(axes, lines, colours)
        _envelope_legend(axes, lines, winners)
        save(figure, path)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range of bandwidth over which one candidate is the best."""

    line: Line
    from_mbps: float
    to_mbps: float


def best_stretches(lines: Sequence[Line]) -> list[Stretch]:
    """The lower envelope of the lines that meet the agreement floor, from slow to fast links.

    Exact: a best line stays best until the first crossing with one that sends more.
    """
    allowed = [line for line in lines if line.meets_floor]
    low, high = _BANDWIDTH_MBPS
    stretches: list[Stretch] = []
    while allowed and low < high:
        best = min(allowed, key=lambda line: (line.latency_ms(low), -line.payload_bytes))
        rivals = [line for line in allowed if line.fixed_ms < best.fixed_ms]
        crossings = [
            (line.payload_bytes - best.payload_bytes) * 8e-3 / (best.fixed_ms - line.fixed_ms)
            for line in rivals
        ]
        until = min((x for x in crossings if x > low * (1 + 1e-9)), default=high)
        stretches.append(Stretch(best, low, min(until, high)))
        low = until * (1 + 1e-9)
    return stretches


def _line_colours(lines: Sequence[Line], winners: Sequence[Stretch]) -> dict[str, str]:
    """Colours for the lines that can be chosen, the winners first; the others stay grey."""
    ranked = [stretch.line for stretch in winners] + [line for line in lines if line.kept]
    names = dict.fromkeys(line.name for line in ranked if line.meets_floor)
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def _frame_envelope(axes: Axes, lines: Sequence[Line], winners: Sequence[Stretch]) -> None:
    low, high = _BANDWIDTH_MBPS
    shown = [stretch.line for stretch in winners] or list(lines)
    least = min(line.latency_ms(high) for line in lines)
    most = max(line.latency_ms(low) for line in lines)
    best_at_slow = min(line.latency_ms(low) for line in shown)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    # Room for the ribbon below; what takes thirty times the best leaves the picture.
    axes.set_ylim(least / 2.2, min(most * 1.15, best_at_slow * 30))
    axes.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("bandwidth of the uplink, Mbit/s")
    latency_axis(axes)


def _draw_links(axes: Axes, links_mbps: Sequence[float]) -> None:
    for mbps in links_mbps:
        axes.axvline(mbps, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        axes.annotate(
            f"{mbps:g} Mbit/s",
            (mbps, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color="#555555",
        )


def _draw_lines(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    bandwidths = _bandwidths(*_BANDWIDTH_MBPS)
    for line in lines:
        latencies = [line.latency_ms(mbps) for mbps in bandwidths]
        if not line.meets_floor:
            axes.plot(bandwidths, latencies, color=PALE, linewidth=1.1, linestyle=(0, (4, 3)))
        elif line.name in colours:
            axes.plot(bandwidths, latencies, color=colours[line.name], linewidth=1.4, alpha=0.75)
        else:
            axes.plot(bandwidths, latencies, color=PALE, linewidth=1.0)


def _draw_winners(axes: Axes, winners: Sequence[Stretch], colours: dict[str, str]) -> None:
    """The envelope itself, and a ribbon at the foot that names the best candidate."""
    decades = math.log10(_BANDWIDTH_MBPS[1] / _BANDWIDTH_MBPS[0])
    foot = axes.get_xaxis_transform()
    for stretch in winners:
        colour = colours[stretch.line.name]
        bandwidths = _bandwidths(stretch.from_mbps, stretch.to_mbps)
        latencies = [stretch.line.latency_ms(mbps) for mbps in bandwidths]
        axes.plot(bandwidths, latencies, color=colour, linewidth=9, alpha=0.2, zorder=2)
        axes.plot(bandwidths, latencies, color=colour, linewidth=3, zorder=4)
        axes.axvspan(stretch.from_mbps, stretch.to_mbps, 0, 0.06, color=colour, lw=0, zorder=3)
        share = math.log10(stretch.to_mbps / stretch.from_mbps) / decades
        if share * 90 > len(stretch.line.name):  # wide enough for its name
            middle = math.sqrt(stretch.from_mbps * stretch.to_mbps)
            axes.text(
                *(middle, 0.028, stretch.line.name),
                transform=foot,
                ha="center",
                va="center",
                color="white",
                fontsize=9,
                fontweight="bold",
            )


def _label_right_ends(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    """The name of every line beside its end, moved apart where they would overlap."""
    high = _BANDWIDTH_MBPS[1]
    bottom, top = (math.log10(limit) for limit in axes.get_ylim())
    ends = sorted(lines, key=lambda line: line.latency_ms(high))
    heights = [(math.log10(line.latency_ms(high)) - bottom) / (top - bottom) for line in ends]
    for line, height, place in zip(ends, heights, spread(heights, gap=0.036), strict=True):
        colour = colours.get(line.name, FAINT)
        axes.annotate(
            line.name,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour,
            fontweight="bold" if line.name in colours else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.7,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending positions moved as little as possible so that neighbours are `gap` apart."""
    groups: list[tuple[float, int]] = []  # (middle, size)
    for position in positions:
        middle, size = position, 1
        while (
            groups and middle - (size - 1) / 2 * gap < groups[-1][0] + (groups[-1][1] + 1) / 2 * gap
        ):
            other, count = groups.pop()
            middle = (middle * size + other * count) / (size + count)
            size += count
        groups.append((middle, size))
    return [
        middle + (index - (size - 1) / 2) * gap for middle, size in groups for index in range(size)
    ]


def _envelope_legend(axes: Axes, lines: Sequence[Line], winners: Sequence[Stretch]) -> None:
    handles = []
    if winners:
        handles.append(Line2D([], [], color=INK, lw=3, label="best at this bandwidth"))
    if any(line.kept and line.meets_floor for line in lines):
        handles.append(Line2D([], [], color=INK, lw=1.4, label="kept in the plan"))
    if any(not line.kept and line.meets_floor for line in lines):
        handles.append(Line2D([], [], color=PALE, lw=1, label="not kept"))
    if any(not line.meets_floor for line in lines):
        style = (0, (4, 3))
        label = "below the agreement floor"
        handles.append(Line2D([], [], color=PALE, lw=1.1, linestyle=style, label=label))
    axes.legend(handles=handles, loc="upper right", frameon=True, framealpha=0.95, edgecolor="none")


def _bandwidths(low_mbps: float, high_mbps: float) -> list[float]:
    ratio = high_mbps / low_mbps
    return [low_mbps * ratio ** (i / _GRID_STEPS) for i in range(_GRID_STEPS + 1)]
