"""A child process that tries one runtime: it may crash, hang or take all memory; the doctor lives.

`python -m isthmus_edge.doctor.trial tiny RUNTIME ROUNDS` runs the tiny network in fp32 and int8,
`… bundle RUNTIME BUNDLE` loads every segment of a bundle that the runtime can take. The last line
of its output is a `Trial` or a `Loading`.
"""

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec

from isthmus import ModelError
from isthmus.bundle import read_manifest
from isthmus.memory import resident_bytes
from isthmus_edge.doctor.tiny import FP32, INT8, OUTPUT, cosine, fp32_feed, int8_feed
from isthmus_edge.runtimes import AnyArray, Graph, GraphFiles, Runtime
from isthmus_edge.runtimes.tflite import TfliteRuntime

RUNS = 5  # of each precision in one round

__all__ = ["Loading", "Trial", "main", "try_bundle", "try_tiny"]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How the tiny network ran on one thread; times are medians of interleaved rounds, in ms."""

    version: str
    import_ms: float
    load_ms: float
    fp32_ms: float
    int8_ms: float
    agreement: float  # cosine between the answers of both precisions


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """What loading a bundle's segments came to; `refused`: the first line of each reason."""

    loaded: int
    refused: dict[str, str]
    load_ms: float
    grown_bytes: int


def try_tiny(runtime: Runtime, import_ms: float, rounds: int) -> Trial:
    """Load both precisions, compare their answers, then time them in turn."""
    begin = time.perf_counter()
    fp32, int8 = runtime.load(FP32, 1), runtime.load(INT8, 1)
    load_ms = (time.perf_counter() - begin) * 1e3
    feeds = fp32_feed(), int8_feed()
    agreement = cosine(int8.run(feeds[1], [OUTPUT])[0], fp32.run(feeds[0], [OUTPUT])[0])
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for graph, feed, taken in zip((fp32, int8), feeds, times, strict=True):
            taken.extend(_timed(graph, feed) for _ in range(RUNS))
    return Trial(
        version=runtime.version,
        import_ms=import_ms,
        load_ms=load_ms,
        fp32_ms=median(times[0]),
        int8_ms=median(times[1]),
        agreement=agreement,
    )


def try_bundle(runtime: Runtime, bundle: Path) -> Loading:
    """Load all segments, each once, and keep them until the end, as a device does."""
    manifest, _ = read_manifest(bundle)
    before, begin = resident_bytes(), time.perf_counter()
    graphs: list[Graph] = []
    refused: dict[str, str] = {}
    segments = {each.file: each for chain in manifest.chains for each in chain.segments}
    for segment in segments.values():
        files = GraphFiles.of(bundle, segment)
        problem = runtime.refusal(files)
        if problem is None:
            try:
                graphs.append(runtime.load(files, 1))
            except ModelError as error:
                problem = str(error)
        if problem is not None:
            refused[segment.file] = problem
    return Loading(
        loaded=len(graphs),
        refused=refused,
        load_ms=(time.perf_counter() - begin) * 1e3,
        grown_bytes=max(0, resident_bytes() - before),
    )


def _timed(graph: Graph, feed: dict[str, AnyArray]) -> float:
    begin = time.perf_counter()
    graph.run(feed, [OUTPUT])
    return (time.perf_counter() - begin) * 1e3


def _onnx_runtime() -> Runtime:
    module = importlib.import_module("isthmus_edge.runtimes.onnx_runtime")
    made: Runtime = module.OnnxRuntime()
    return made


def _litert() -> Runtime:
    module = importlib.import_module("ai_edge_litert.interpreter")
    return TfliteRuntime("litert", version("ai-edge-litert"), module)


def _tflite_runtime() -> Runtime:
    module = importlib.import_module("tflite_runtime.interpreter")
    return TfliteRuntime("tflite-runtime", version("tflite-runtime"), module)


_RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "onnxruntime": _onnx_runtime,
    "litert": _litert,
    "tflite-runtime": _tflite_runtime,
}


def main(arguments: Sequence[str]) -> None:
    """Whatever goes wrong ends the process with a traceback, whose last line the doctor tells."""
    kind, name, extra = arguments
    begin = time.perf_counter()
    runtime = _RUNTIMES[name]()
    import_ms = (time.perf_counter() - begin) * 1e3
    found: Trial | Loading
    if kind == "tiny":
        found = try_tiny(runtime, import_ms, int(extra))
    else:
        found = try_bundle(runtime, Path(extra))
    sys.stdout.write("\n" + msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
