"""The figures of the device's bench as JSON."""

from dataclasses import asdict
from typing import Any

from isthmus_bench.edge.devices import Device
from isthmus_bench.edge.figures import (
    CutDifference,
    EdgeBenchResult,
    MemoryRow,
    ModelResult,
    NetworkTimes,
    RuntimeRow,
)
from isthmus_bench.edge.install import Install
from isthmus_bench.edge.spread import Spread
from isthmus_bench.edge.subject import Kind
from isthmus_bench.edge.verdict import headline, misses, outside_weights

__all__ = ["edge_json"]


def edge_json(result: EdgeBenchResult) -> dict[str, Any]:
    """The figures; those of the first model stand at the top, too.

    `rss_…_mb` and `memory_ratio_…` are what stays of `memory_of`, int8 on ONNX Runtime where that
    was measured; `memory` has all others. `import_ms` is of a fresh environment, `import_ms_here`
    (and without `installs` both) of the Python in which the runtime was measured. A figure that was
    not measured is null.
    """
    first = _model(result, result.models[0])
    config = asdict(result.config)
    return {
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        **{
            name: config[name]
            for name in ("weighings", "processes", "turns", "calibration", "inputs")
        },
        **first,
        "install_mb": _installed(result, "onnxruntime"),
        "not_installed": result.not_installed,
        "installs": [_install(install) for install in result.installs],
        "models": [first, *(_model(result, model) for model in result.models[1:])],
        "misses": list(misses(result)),
    }


def _model(result: EdgeBenchResult, model: ModelResult) -> dict[str, Any]:
    rows = {row.runtime: row for row in model.runtimes}
    return {
        "model": model.model,
        "metric": model.metric,
        **_first_figures(result, model),
        "runtimes": [_runtime(result, each, rows.get(each.runtime)) for each in result.devices],
        "memory": [_memory(model, row) for row in model.memory],
        "outside_weights": [
            asdict(each) | {"is_worth_it": each.is_worth_it} for each in outside_weights(model)
        ],
        "yardstick": [asdict(cut) for cut in model.yardstick],
        "notes": list(model.notes),
    }


def _first_figures(result: EdgeBenchResult, model: ModelResult) -> dict[str, Any]:
    """Those of one runtime and precision by keys of their own."""
    chosen = headline(model)
    figures: dict[str, Any] = {"memory_of": None if chosen is None else " on ".join(chosen[::-1])}
    kinds: tuple[tuple[str, Kind], ...] = (("", "chain"), ("_prefixes", "prefixes"))
    for count in result.config.candidates:
        title = f"{count}_candidate{'' if count == 1 else 's'}"
        for suffix, kind in kinds:
            row = chosen and model.weighed(*chosen, kind, count)
            figures[f"rss_{title}{suffix}_mb"] = _median(row.settled if row else None)
            figures[f"load_ms_{title}{suffix}"] = _median(row.load_ms if row else None)
            if kind == "chain":
                figures[f"memory_ratio_{count}"] = model.ratio(row) if row else None
                figures[f"rss_{title}_peak_mb"] = _median(row.peak if row else None)
    whole = chosen and model.weighed(*chosen, "whole", 0)
    figures["rss_full_model_mb"] = _median(whole.settled if whole else None)
    figures["load_ms_full_model"] = _median(whole.load_ms if whole else None)
    return figures


def _runtime(result: EdgeBenchResult, device: Device, row: RuntimeRow | None) -> dict[str, Any]:
    here = result.imports_here.get(device.runtime)
    times = result.imports.get(device.runtime, here)
    figures: dict[str, Any] = {
        "name": device.runtime,
        "version": device.version or None,
        "problem": device.problem,
        "import_ms": None if times is None else times.with_runtime_ms.median,
        "import_ms_spread": None if times is None else times.with_runtime_ms.spread,
        "import_edge_ms": None if times is None else times.edge_ms.median,
        "import_ms_here": None if here is None else here.with_runtime_ms.median,
        "install_mb": _installed(result, device.runtime),
    }
    return figures | _measured(row or RuntimeRow(runtime=device.runtime))


def _measured(row: RuntimeRow) -> dict[str, Any]:
    worst: CutDifference | None = row.worst_cut
    int8 = row.int8 or NetworkTimes()
    ratio = row.int8_ratio
    figures: dict[str, Any] = {}
    for name, times in (("fp32", row.fp32), ("int8", int8)):
        figures |= {
            f"{name}_ms": _median(times.whole),
            f"{name}_ms_spread": None if times.whole is None else times.whole.spread,
            f"{name}_chain_ms": _median(times.chain),
            f"{name}_inside_chain_ms": _median(times.inside),
        }
    return figures | {
        "int8_vs_fp32": ratio,
        "int8_is_used": None if ratio is None else ratio < 1,
        "agreement": row.int8_agreement,
        "fp32_agreement": row.fp32_agreement,
        "mean_steps": None if worst is None else worst.mean_steps,
        "equal_share": None if worst is None else worst.equal_share,
        "cuts": [asdict(cut) for cut in row.cuts],
        "problems": list(row.problems),
    }


def _memory(model: ModelResult, row: MemoryRow) -> dict[str, Any]:
    ratios = {"ratio": model.ratio(row), "anonymous_ratio": model.anonymous_ratio(row)}
    return asdict(row) | ratios


def _install(install: Install) -> dict[str, Any]:
    figures = asdict(install)
    del figures["python"]
    return figures | {"extra": install.extra.name, "runtime": install.extra.runtime}


def _installed(result: EdgeBenchResult, runtime: str) -> float | None:
    found = (each.install_mb for each in result.installs if each.extra.runtime == runtime)
    return next(found, None)


def _median(value: Spread | None) -> float | None:
    return None if value is None else value.median
