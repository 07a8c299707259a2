"""The figures of the bench: records of what was measured, before anybody makes tables of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus import RuntimeName
from isthmus_bench.edge.config import EdgeBenchConfig
from isthmus_bench.edge.devices import Device
from isthmus_bench.edge.importing import Import
from isthmus_bench.edge.install import Install
from isthmus_bench.edge.orders import Memory
from isthmus_bench.edge.spread import Spread
from isthmus_bench.edge.subject import Kind, Precision

__all__ = [
    "CutDifference",
    "EdgeBenchResult",
    "MemoryRow",
    "ModelResult",
    "NetworkTimes",
    "RuntimeRow",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """One way to hold so many candidates (0: the network undivided), in fresh processes.

    MB are 10^6 bytes of resident memory beyond the process in which the runtime has run a tiny
    network: what stays when everything has run, and at the highest. `anonymous` of what stays is in
    no file. None where the system does not tell. `load_ms`: processor time, files in memory. Or the
    `problem`.
    """

    runtime: RuntimeName
    precision: Precision
    kind: Kind
    candidates: int
    settled: Spread | None = None
    peak: Spread | None = None
    anonymous: Spread | None = None
    load_ms: Spread | None = None
    problem: str | None = None

    @classmethod
    def of(
        cls,
        key: tuple[RuntimeName, Precision, Kind, int],
        weighed: Sequence[Memory],
        problem: str | None,
    ) -> "MemoryRow":
        """From what each process said."""
        runtime, precision, kind, candidates = key
        if problem is not None or not weighed:
            return cls(
                runtime=runtime,
                precision=precision,
                kind=kind,
                candidates=candidates,
                problem=problem or "nothing was weighed",
            )
        anonymous = [m.anonymous_mb for m in weighed if m.anonymous_mb is not None]
        peaks = [m.peak_mb for m in weighed if m.peak_mb is not None]
        return cls(
            runtime=runtime,
            precision=precision,
            kind=kind,
            candidates=candidates,
            settled=Spread.of([m.settled_mb for m in weighed]),
            peak=Spread.of(peaks) if peaks else None,
            anonymous=Spread.of(anonymous) if anonymous else None,
            load_ms=Spread.of([m.load_ms for m in weighed]),
        )


@dataclass(frozen=True, slots=True)
class CutDifference:
    """Integers of one cut beside those of ONNX Runtime, all items and tensors together.

    `share` (0-1) of the work lies before it; `mean_steps` is the mean absolute difference,
    `equal_share` (0-1) of the integers are the same.
    """

    share: float
    mean_steps: float
    equal_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTimes:
    """ms for one item on one thread: medians over processes of the medians of their turns.

    Undivided, as the longest chain of segments, and as that with its weights inside the segments;
    None where that was not timed.
    """

    whole: Spread | None = None
    chain: Spread | None = None
    inside: Spread | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRow:
    """One network on one runtime; `int8` is None where there is no such network.

    Agreements with the unsplit fp32 network in ONNX Runtime, of evaluation items. `cuts` in order.
    `problems` say why a figure is missing.
    """

    runtime: RuntimeName
    fp32: NetworkTimes = NetworkTimes()
    int8: NetworkTimes | None = None
    fp32_agreement: float | None = None
    int8_agreement: float | None = None
    cuts: tuple[CutDifference, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def worst_cut(self) -> CutDifference | None:
        """The one whose integers are furthest apart."""
        return max(self.cuts, key=lambda cut: cut.mean_steps, default=None)

    @property
    def int8_ratio(self) -> float | None:
        """int8 / fp32; below 1, int8 is faster."""
        if self.int8 is None or self.int8.whole is None or self.fp32.whole is None:
            return None
        return self.int8.whole.median / self.fp32.whole.median


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """One model; `yardstick`: ONNX Runtime without its optimisations, beside itself with them."""

    model: str
    metric: str
    shares: tuple[float, ...]
    memory: tuple[MemoryRow, ...]
    runtimes: tuple[RuntimeRow, ...]
    yardstick: tuple[CutDifference, ...]
    notes: tuple[str, ...]

    def weighed(
        self, runtime: RuntimeName, precision: Precision, kind: Kind, candidates: int
    ) -> MemoryRow | None:
        """The row, where it was measured."""
        wanted = (runtime, precision, kind, candidates)
        rows = (r for r in self.memory if r.settled is not None)
        return next(
            (r for r in rows if (r.runtime, r.precision, r.kind, r.candidates) == wanted), None
        )

    def ratio(self, row: MemoryRow) -> float | None:
        """A row's memory to that of the undivided network of the same runtime and precision."""
        whole = self.weighed(row.runtime, row.precision, "whole", 0)
        return None if whole is None else _over(row.settled, whole.settled)

    def anonymous_ratio(self, row: MemoryRow) -> float | None:
        """The same of what is in no file."""
        whole = self.weighed(row.runtime, row.precision, "whole", 0)
        return None if whole is None else _over(row.anonymous, whole.anonymous)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeBenchResult:
    """All of one run. `not_installed` says, by runtime, why an extra is not among `installs`.

    `imports` are those of the fresh environments, `imports_here` of the Pythons of `devices`.
    """

    machine: str
    stolen_share: float
    config: EdgeBenchConfig
    devices: tuple[Device, ...]
    models: tuple[ModelResult, ...]
    imports_here: dict[RuntimeName, Import]
    imports: dict[RuntimeName, Import]
    installs: tuple[Install, ...]
    not_installed: dict[RuntimeName, str]


def _over(one: Spread | None, whole: Spread | None) -> float | None:
    if one is None or whole is None or whole.median <= 0:
        return None
    return one.median / whole.median
