"""What the device's bench shows: tables for people."""

from collections.abc import Iterator

from isthmus_bench.cells import NONE, number, spread, table
from isthmus_bench.comparison import EDGE_FP32
from isthmus_bench.edge.comparing import REFERENCE
from isthmus_bench.edge.figures import (
    CutDifference,
    EdgeBenchResult,
    MemoryRow,
    ModelResult,
    RuntimeRow,
)
from isthmus_bench.edge.spread import Spread
from isthmus_bench.edge.verdict import MEMORY_AIM, misses, outside_weights
from isthmus_bench.starvation import caution
from isthmus_edge.runtimes import RUNTIME_NAMES

__all__ = ["edge_lines"]

_YARDSTICK = "ONNX Runtime unoptimised"
_KINDS = {
    "whole": "one network, undivided",
    "chain": "nested, one chain of segments",
    "prefixes": "baseline: a model each, and the whole",
    "mapped": "undivided, weights mapped",
    "inside": "the chain, weights inside",
}


def edge_lines(result: EdgeBenchResult) -> Iterator[str]:
    """The report, line by line."""
    config = result.config
    yield f"Measured on {result.machine}; every figure below is of this run."
    yield from caution(result.stolen_share)
    yield (
        f"One thread. Fresh processes take turns, {config.weighings} to weigh and "
        f"{config.processes} to time each: medians, ± is largest - smallest. Times are processor "
        "time, MB 10^6 bytes."
    )
    for device in result.devices:
        if device.problem is not None:
            yield f"{device.runtime}: not measured: {device.problem}"
    for model in result.models:
        yield from ("", f"{model.model}", *(f"   note: {note}" for note in model.notes))
        yield from ("", "a. Resident memory beyond the process that has run a tiny network, MB")
        yield from _memory(model)
        yield from ("", "b. Weights in a file that is mapped, beside weights inside (ONNX Runtime)")
        yield from (f"   {each.sentence()}" for each in outside_weights(model))
        yield from (
            "",
            f"c. The whole network, ms; agreement: {model.metric}, {config.inputs} items",
        )
        yield from _times(model)
        yield from ("", "d. Integers of the int8 network beside ONNX Runtime's, cut by cut")
        yield from _integers(model)
    yield from ("", "e. To install and to import")
    yield from _installs(result)
    yield from ("", "What misses its aim:", *_missed(result))


def _memory(model: ModelResult) -> Iterator[str]:
    headers = ("runtime", "network", "held as", "candidates", "stays", "±", "/ whole",
               "in no file", "/ whole", "highest", "load ms")  # fmt: skip
    yield from table(headers, [_memory_cells(model, row) for row in _ordered(model)], left=3)
    problems = (f"{r.precision} on {r.runtime}: {r.problem}" for r in model.memory if r.problem)
    yield from (f"   not measured: {problem}" for problem in dict.fromkeys(problems))
    yield (
        f"   / whole: to one undivided network, aimed at {MEMORY_AIM:g} or less. The baseline "
        "finishes a frame with the whole network."
    )


def _ordered(model: ModelResult) -> list[MemoryRow]:
    kinds = list(_KINDS)

    def place(row: MemoryRow) -> tuple[object, ...]:
        runtime = RUNTIME_NAMES.index(row.runtime)
        return runtime, row.precision, row.candidates > 0, kinds.index(row.kind), row.candidates

    return sorted(model.memory, key=place)


def _memory_cells(model: ModelResult, row: MemoryRow) -> tuple[str, ...]:
    named = (row.runtime, row.precision, _KINDS[row.kind], str(row.candidates or NONE))
    if row.settled is None:
        return (*named, *[NONE] * 7)
    return (
        *named,
        f"{row.settled.median:.1f}",
        number(row.settled.spread, 1),
        number(model.ratio(row), 2),
        _median(row.anonymous, 1),
        number(model.anonymous_ratio(row), 2),
        _median(row.peak, 1),
        _median(row.load_ms, 0),
    )


def _times(model: ModelResult) -> Iterator[str]:
    edge_only = next((r.fp32.whole for r in model.runtimes if r.runtime == REFERENCE), None)
    headers = ("runtime", "network", "ms", "±", "/ fp32", f"/ {EDGE_FP32}", "as a chain",
               "agreement", "")  # fmt: skip
    cells = [each for row in model.runtimes for each in _time_cells(row, edge_only)]
    yield from table(headers, cells, left=2)
    yield f"   {EDGE_FP32}: the undivided network on ONNX Runtime."
    for row in model.runtimes:
        yield from (f"   {row.runtime}: {problem}" for problem in row.problems)


def _time_cells(row: RuntimeRow, edge_only: Spread | None) -> Iterator[tuple[str, ...]]:
    base = row.fp32.whole
    for name, times, agreement in (
        ("fp32", row.fp32, row.fp32_agreement),
        ("int8", row.int8, row.int8_agreement),
    ):
        if times is None or times.whole is None:
            yield (row.runtime, name, *[NONE] * 6, "not measured")
            continue
        is_slow = name == "int8" and (row.int8_ratio or 0) >= 1
        yield (
            row.runtime,
            name,
            f"{times.whole.median:.2f}",
            number(times.whole.spread, 2),
            _ratio(times.whole, base),
            _ratio(times.whole, edge_only),
            _ratio(times.chain, times.whole),
            NONE if agreement is None else f"{agreement:.3f}",
            "not used" if is_slow else "",
        )


def _integers(model: ModelResult) -> Iterator[str]:
    """A column for each way to compute them: mean difference in steps, share of equal ones."""
    titles: dict[str, tuple[CutDifference, ...]] = {
        row.runtime: row.cuts for row in model.runtimes if row.cuts and row.runtime != REFERENCE
    }
    if model.yardstick:
        titles[_YARDSTICK] = model.yardstick
    if not titles:
        yield "   none: no int8 network, or no second runtime"
        return
    shares = sorted({cut.share for cuts in titles.values() for cut in cuts})
    cells = []
    for share in shares:
        found = [next((c for c in cuts if c.share == share), None) for cuts in titles.values()]
        cells.append(
            (
                f"{share:.0%} of the work",
                *(
                    NONE if c is None else f"{c.mean_steps:.2f} ({c.equal_share:.1%})"
                    for c in found
                ),
            )
        )
    yield from table(("cut at", *titles), cells, left=1)
    yield "   Mean difference in steps (share of equal integers); every runtime goes its own way"
    yield "   from the input on. The last column is the yardstick: one runtime beside itself."


def _installs(result: EdgeBenchResult) -> Iterator[str]:
    for runtime, why in result.not_installed.items():
        yield f"   {runtime}: not installed or not imported: {why}"
    by_runtime = {install.extra.runtime: install for install in result.installs}
    cells = []
    for device in result.devices:
        install = by_runtime.get(device.runtime)
        times, here = (each.get(device.runtime) for each in (result.imports, result.imports_here))
        cells.append(
            (
                device.runtime,
                NONE if install is None else f"isthmus[{install.extra.name}]",
                number(None if install is None else install.install_mb, 0),
                number(None if install is None else install.runtime_mb, 0),
                NONE if times is None else spread(times.edge_ms, 0),
                NONE if times is None else spread(times.with_runtime_ms, 0),
                NONE if here is None else spread(here.with_runtime_ms, 0),
            )
        )
    headers = ("runtime", "extra", "MB beyond Python", "of these its own", "import ms",
               "with the runtime", "the same here")  # fmt: skip
    yield from table(headers, cells, left=2)
    yield "   Imports in fresh interpreters, all environments in turns, files in memory; here: in"
    yield "   the Pythons that gave the figures above."


def _missed(result: EdgeBenchResult) -> list[str]:
    return [f"   {line}" for line in misses(result)] or ["   nothing that was measured"]


def _median(value: Spread | None, digits: int) -> str:
    return number(None if value is None else value.median, digits)


def _ratio(one: Spread | None, other: Spread | None) -> str:
    return NONE if one is None or other is None else f"{one.median / other.median:.2f}"
