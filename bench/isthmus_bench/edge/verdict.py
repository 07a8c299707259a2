"""What the figures say: aims that were met or missed, and whether weights belong in a file."""

from collections.abc import Iterator
from dataclasses import dataclass

from isthmus import RuntimeName
from isthmus_bench.edge.figures import EdgeBenchResult, MemoryRow, ModelResult, RuntimeRow
from isthmus_bench.edge.subject import Precision

__all__ = [
    "INSTALL_AIMS_MB",
    "MEMORY_AIM",
    "OutsideWeights",
    "headline",
    "misses",
    "outside_weights",
]

MOST_STEPS = 1.0  # integers may be from ONNX Runtime's in the mean, at any cut
MEMORY_AIM = 1.2  # candidates together / the network undivided, however many they are
INSTALL_AIMS_MB: dict[RuntimeName, float] = {
    "onnxruntime": 190.0,
    "litert": 180.0,
    "tflite-runtime": 135.0,
}
_WORTH = 0.05  # of the memory must be saved
_HARM = 0.05  # longer may a frame take for it


@dataclass(frozen=True, slots=True)
class OutsideWeights:
    """Weights in a page-aligned file beside the longest chain, to weights inside its segments.

    Ratios, below 1 is less. `is_worth_it`: memory is saved and a frame takes no longer.
    """

    precision: Precision
    candidates: int
    settled: float
    anonymous: float | None
    load: float
    latency: float | None

    @property
    def is_worth_it(self) -> bool:
        """Saves memory that counts, and costs no time that counts."""
        slower = 0.0 if self.latency is None else self.latency - 1
        return self.settled <= 1 - _WORTH and slower <= _HARM

    def sentence(self) -> str:
        """The recommendation."""
        verdict = "write them outside" if self.is_worth_it else "leave them inside"
        frame = "" if self.latency is None else f", a frame {self.latency:.2f} of the time"
        own = "" if self.anonymous is None else f" ({self.anonymous:.2f} of what is in no file)"
        return (
            f"{self.precision}, {self.candidates} candidates: {self.settled:.2f} of the memory"
            f"{own}, loading {self.load:.2f} of the time{frame}: {verdict}"
        )


def headline(model: ModelResult) -> tuple[RuntimeName, Precision] | None:
    """The runtime and precision that the first figures are of: int8 on ONNX Runtime, or nearest."""
    whole = [row for row in model.memory if row.kind == "whole" and row.settled is not None]
    order = sorted(whole, key=lambda row: (row.runtime != "onnxruntime", row.precision != "int8"))
    return (order[0].runtime, order[0].precision) if order else None


def outside_weights(model: ModelResult) -> tuple[OutsideWeights, ...]:
    """For each precision, in ONNX Runtime."""
    found = []
    for precision in ("fp32", "int8"):
        count = max((row.candidates for row in model.memory), default=0)
        inside, outside = (
            model.weighed("onnxruntime", precision, kind, count) for kind in ("inside", "chain")
        )
        if inside is not None and outside is not None:
            found.append(_compared(model, inside, outside))
    return tuple(found)


def misses(result: EdgeBenchResult) -> Iterator[str]:
    """What is not as it should be, a sentence each."""
    for model in result.models:
        for row in model.memory:
            ratio = model.ratio(row) if row.kind == "chain" else None
            if ratio is not None and ratio > MEMORY_AIM:
                yield (
                    f"{model.model}, {row.precision} on {row.runtime}: {row.candidates} candidates "
                    f"take {ratio:.2f} times the memory of the undivided network, "
                    f"aimed at {MEMORY_AIM:g} or less"
                )
        for judged in (_slow_int8, _far_integers):
            yield from (f"{model.model}: {line}" for line in map(judged, model.runtimes) if line)
    for install in result.installs:
        extra, aim = install.extra, INSTALL_AIMS_MB[install.extra.runtime]
        if install.install_mb > aim:
            yield f"isthmus[{extra.name}] takes {install.install_mb:.0f} MB, aimed at {aim:.0f}"


def _slow_int8(row: RuntimeRow) -> str | None:
    ratio = row.int8_ratio
    if ratio is None or ratio < 1:
        return None
    return f"int8 on {row.runtime} takes {ratio:.2f} times as long as fp32: not used here"


def _far_integers(row: RuntimeRow) -> str | None:
    worst = row.worst_cut
    if worst is None or worst.mean_steps <= MOST_STEPS:
        return None
    return (
        f"integers of {row.runtime} at {worst.share:.0%} of the work are {worst.mean_steps:.2f} "
        f"steps from ONNX Runtime's in the mean, aimed at {MOST_STEPS:g} or less"
    )


def _compared(model: ModelResult, inside: MemoryRow, outside: MemoryRow) -> OutsideWeights:
    row = next(row for row in model.runtimes if row.runtime == "onnxruntime")
    times = row.fp32 if inside.precision == "fp32" else row.int8
    latency = None
    if times is not None and times.chain is not None and times.inside is not None:
        latency = times.chain.median / times.inside.median
    pairs = [
        (inside.settled, outside.settled),
        (inside.anonymous, outside.anonymous),
        (inside.load_ms, outside.load_ms),
    ]
    settled, anonymous, load = (
        None if one is None or other is None or one.median <= 0 else other.median / one.median
        for one, other in pairs
    )
    return OutsideWeights(
        inside.precision, inside.candidates, settled or 1.0, anonymous, load or 1.0, latency
    )
