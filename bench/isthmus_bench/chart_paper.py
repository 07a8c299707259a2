"""What the charts share: colours, the latency axis, and writing a whole picture or none."""

import tempfile
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from isthmus.errors import ConfigError

__all__ = ["COLOURS", "FAINT", "INK", "PALE", "STYLE", "latency_axis", "latency_text", "save"]

# Okabe and Ito's colours, told apart with any kind of colour vision, without their pale yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8E", "#000000")
INK = "#222222"
FAINT = "#8C8C8C"
PALE = "#BDBDBD"
# Any: newer releases of matplotlib type the keys one by one, older ones do not.
STYLE: Any = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def latency_axis(axes: Axes) -> None:
    """Dress a logarithmic y axis: ticks at 1, 2, 5, written in ms and s."""
    axes.set_ylabel("latency of a frame")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda latency_ms, _: latency_text(latency_ms)))
    axes.grid(visible=True, axis="y", zorder=0)
    axes.tick_params(length=3)


def latency_text(latency_ms: float) -> str:
    """Three digits, in ms below a second and in s above."""
    return f"{latency_ms / 1e3:.3g} s" if latency_ms >= 1000 else f"{latency_ms:.3g} ms"


def save(figure: Figure, path: Path) -> None:
    """Write under a temporary name first: whoever looks sees a whole picture or none.

    Raises `ConfigError` if `path` cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            whole = Path(folder) / path.name
            figure.savefig(whole, format="png", dpi=150)
            whole.replace(path)
    except OSError as error:
        raise ConfigError(
            f"chart {path}: cannot be written ({error.strerror}); give a path in a folder that"
            " exists and that you may write to"
        ) from error
