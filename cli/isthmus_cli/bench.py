"""`isthmus bench WHAT`: the figures behind the documentation, for anybody to measure again."""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus import ConfigError
from isthmus_bench.adapt.bench import run_adapt_bench
from isthmus_bench.adapt.config import ADAPT_MODELS, AdaptBenchConfig, quick_adapt
from isthmus_bench.adapt.report import adapt_json, adapt_lines
from isthmus_bench.cut.bench import CutBenchConfig, run_cut_bench
from isthmus_bench.cut.report import cut_json, cut_lines
from isthmus_bench.edge.bench import run_edge_bench
from isthmus_bench.edge.config import EDGE_MODELS, EdgeBenchConfig, quick_edge
from isthmus_bench.edge.data import edge_json
from isthmus_bench.edge.report import edge_lines
from isthmus_bench.link.bench import LinkBenchConfig, run_link_bench
from isthmus_bench.link.report import link_json, link_lines
from isthmus_bench.plan.bench import run_plan_bench
from isthmus_bench.plan.config import PLAN_MODELS, PlanBenchConfig, quick_bench
from isthmus_bench.plan.report import plan_json, plan_lines
from isthmus_bench.precision.bench import (
    PRECISION_MODELS,
    PrecisionBenchConfig,
    run_precision_bench,
)
from isthmus_bench.precision.report import precision_json, precision_lines
from isthmus_bench.scale.bench import run_scale_bench
from isthmus_bench.scale.data import scale_json
from isthmus_bench.scale.report import scale_lines
from isthmus_bench.serve.bench import run_serve_bench
from isthmus_bench.serve.config import SERVE_MODEL
from isthmus_bench.serve.data import serve_json
from isthmus_bench.serve.report import serve_lines
from isthmus_bench.traces import read_trace
from isthmus_bench.wire.bench import WireBenchConfig, run_wire_bench
from isthmus_bench.wire.report import wire_json, wire_lines
from isthmus_bench.wire.subjects import SUBJECT_NAMES
from isthmus_cli import bench_scale, bench_serve
from isthmus_cli.console import Steps, check_writable, sigterm_as_ctrl_c, write_file

DESCRIPTION = """\
Measure again what the documentation says. Every figure stands beside its baselines of the
same run.

  wire   our codec beside zlib, zstd, lz4, blosc2, ZFP, JPEG-LS, JPEG XL on the cut tensors of
         real networks; beside JPEG, WebP, AVIF and H.264 of the picture at equal error;
         rate control on a stepping budget; mutated frames. About fifteen minutes. Needs
         pip install 'isthmus[bench,wire-bench]'.
  cut    the search for every cut that is best at some bandwidth, timed on large real graphs and
         on made-up ones of 1,000 to 100,000 nodes, beside flows over the whole graph. Two
         minutes, half a minute with --quick.
  precision
         the mix of fp32 and int8 that the search finds for four real networks, beside fp32 and
         all-int8: time, divergence and agreement on inputs of sources that it never saw, and the
         front. Five minutes. Needs pip install 'isthmus[bench,wire-bench]'.
  plan   what plans promise, and what is measured, on emulated links and imitated slow devices:
         the chosen candidate beside all others, edge-only, cloud-only, and the cuts of other
         planners, all of them run. Two hours; an hour with --quick and all cells named, four
         minutes with --quick alone. Needs pip install 'isthmus[bench,wire-bench]'.
  link   how true the link emulator is: rates, round trips, outages and traces that are asked
         for, beside what is measured; as root also the kernel's own shaper. Two minutes, half
         a minute with --quick.
  adapt  the running policy on replayed traces, beside an EWMA policy and, pinned, every candidate
         that the plan keeps, edge-only and cloud-only, each at the coarsest rung that meets the
         agreement floor; regret against an oracle; what an outage and a switch cost. An hour; six
         minutes with --quick.
  edge   what a device needs: memory of 1, 4 and 8 candidates as a chain of segments, beside a
         model each and beside one undivided network; time to load; fp32 and int8 on every
         runtime that is installed, with agreement and the integers that cross; install size and
         import time of each extra. Five minutes; one with --quick --skip-install.
  serve  the cloud service under many simulated devices: unbatched, in batches, in batches across
         cuts, the whole model; beside a bare gRPC loop, other servers that pip installs, and the
         engine alone. Answers/s within a time limit, latency, processor time, memory of an idle
         device. Half an hour; three minutes with --quick, which leaves out the other servers.
  scale  beyond one machine: one process, two, and front ends of a Ray cluster with one and two
         replicas, whose tails sleep so that two cores can hold them; what the hop costs; replicas
         that are killed under load. Then a simulation with what was measured, its error beside
         the real fleets, and with it the replicas, p99 and price of fleets of 100 to 1,000,000
         devices. Half an hour; six minutes with --quick. Needs pip install 'isthmus[bench,ray]';
         without Ray, or with --no-ray, the rest is measured.
"""
EXAMPLES = """\
  isthmus bench wire
  isthmus bench wire --models efficientnet-lite0 --frames 0 --json wire.json
  isthmus bench cut --quick --json cut.json
  isthmus bench precision --models minilm --budget 0.01 --json precision.json
  isthmus bench plan --quick
  isthmus bench plan --models resnet50-thin --links 5.85 18.88 --slow-downs 20 --json plan.json
  isthmus bench link --quick
  isthmus bench adapt --trace drive.csv --seconds 60 --json adapt.json
  isthmus bench edge --json edge.json
  isthmus bench edge --quick --skip-install --tflite-python .venv-tflite/bin/python
  isthmus bench serve --json serve.json
  isthmus bench serve --quick --bundle lite0.bundle --slo-ms 30
  isthmus bench scale --json scale.json
  isthmus bench scale --no-ray --quick --slo-ms 80 --fleets 500 50000 --replica-price 0.4
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]

_DEFAULTS, _PRECISION, _PLAN = WireBenchConfig(), PrecisionBenchConfig(), PlanBenchConfig()
_OUT = Path("isthmus-adapt")
_ADAPT, _EDGE = AdaptBenchConfig(out=_OUT), EdgeBenchConfig()
_FLAGS: dict[str, dict[str, Any]] = {
    "wire": {
        "models": None,
        "floor": _DEFAULTS.floor,
        "inputs": _DEFAULTS.inputs,
        "frames": _DEFAULTS.frames,
        "fuzz_frames": _DEFAULTS.fuzz_frames,
    },
    "cut": {"quick": False},
    "precision": {
        "models": None,
        "budget": _PRECISION.budget,
        "inputs": _PRECISION.inputs,
    },
    "plan": {"models": None, "links": None, "slow_downs": None, "quick": False},
    "link": {"quick": False},
    "adapt": {
        "models": None,
        "trace": None,
        "seconds": None,
        "repeats": None,
        "lanes": None,
        "out": None,
        "resume": False,
        "quick": False,
    },
    "edge": {
        "models": None,
        "inputs": _EDGE.inputs,
        "skip_install": False,
        "tflite_python": None,
        "quick": False,
    },
    "serve": bench_serve.FLAGS,
    "scale": bench_scale.FLAGS,
}

_Report = tuple[Iterable[str], dict[str, Any]]
_Measure = Callable[[Steps], _Report]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("what", choices=list(_FLAGS), help="what to measure")
    add(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"wire: some of {', '.join(SUBJECT_NAMES)}; "
        f"precision: some of {', '.join(PRECISION_MODELS)}; "
        f"plan: any of the catalogue (default: {', '.join(PLAN_MODELS)}); "
        f"adapt: likewise (default: {', '.join(ADAPT_MODELS)}); "
        f"edge: likewise (default: {', '.join(EDGE_MODELS)}); "
        f"serve, scale: one of them (default: {SERVE_MODEL})",
    )
    add("--links", type=float, nargs="+", metavar="MBPS", help=f"plan: {_shown(_PLAN.links_mbps)}")
    slow_downs = f"plan: how many times slower the device is ({_shown(_PLAN.slow_downs)})"
    add("--slow-downs", type=float, nargs="+", metavar="N", help=slow_downs)
    add("--floor", type=float, default=_DEFAULTS.floor, help="agreement (default %(default)s)")
    add("--budget", type=float, default=_PRECISION.budget, help="precision: %(default)s")
    add("--inputs", type=int, default=_DEFAULTS.inputs, help="a model (default %(default)s)")
    add("--frames", type=int, default=_DEFAULTS.frames, help="a clip, 0: none (%(default)s)")
    add(
        "--fuzz-frames",
        type=int,
        default=_DEFAULTS.fuzz_frames,
        help="mutated frames (default %(default)s)",
    )
    add("--trace", type=Path, nargs="+", metavar="FILE", help="adapt: CSV t_s,mbps, or mahimahi")
    add("--seconds", type=float, metavar="S", help="adapt: of each trace")
    add("--repeats", type=int, metavar="N", help="adapt: runs of everything")
    add("--lanes", type=int, metavar="N", help="adapt: runs side by side")
    add("--out", type=Path, metavar="DIR", help=f"adapt: charts and runs ({_OUT})")
    add("--resume", action="store_true", help="adapt: use finished runs of --out again")
    add("--skip-install", action="store_true", help="edge: install nothing, sizes not measured")
    tflite_python = "edge: that has tflite-runtime (.venv-tflite/bin/python beside the checkout)"
    add("--tflite-python", type=Path, metavar="PATH", help=tflite_python)
    bench_serve.add_flags(parser)
    bench_scale.add_flags(parser)
    quick = "cut, plan, link, adapt, edge, serve, scale: less, in fewer runs"
    add("--quick", action="store_true", help=quick)
    add("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    add("--quiet", action="store_true", help="no progress lines")
    parser.add_argument_group("defaults of each bench", _defaults())


def run(options: argparse.Namespace) -> int:
    """Run the bench and print its report."""
    sigterm_as_ctrl_c()  # its processes end with it
    _refuse_flags_of_others(options)
    measure = _MEASURES[options.what](options)
    if options.json is not None:
        check_writable(options.json)
    lines, figures = measure(Steps(quiet=options.quiet))
    print("\n".join(lines))
    if options.json is not None:
        write_file(options.json, json.dumps(figures, indent=1) + "\n")
    return 0


def _wire(options: argparse.Namespace) -> _Measure:
    config = WireBenchConfig(
        models=_DEFAULTS.models if options.models is None else tuple(options.models),
        floor=options.floor,
        inputs=options.inputs,
        frames=options.frames,
        fuzz_frames=options.fuzz_frames,
    )

    def measure(say: Steps) -> _Report:
        result = run_wire_bench(config, say)
        return wire_lines(result), wire_json(result)

    return measure


def _cut(options: argparse.Namespace) -> _Measure:
    def measure(say: Steps) -> _Report:
        result = run_cut_bench(CutBenchConfig.quick() if options.quick else CutBenchConfig(), say)
        return cut_lines(result), cut_json(result)

    return measure


def _precision(options: argparse.Namespace) -> _Measure:
    config = PrecisionBenchConfig(
        models=_PRECISION.models if options.models is None else tuple(options.models),
        budget=options.budget,
        inputs=options.inputs,
    )

    def measure(say: Steps) -> _Report:
        result = run_precision_bench(config, say)
        return precision_lines(result), precision_json(result)

    return measure


def _plan(options: argparse.Namespace) -> _Measure:
    given = {
        "models": options.models,
        "links_mbps": options.links,
        "slow_downs": options.slow_downs,
    }
    asked: dict[str, Any] = {
        name: tuple(values) for name, values in given.items() if values is not None
    }
    config = quick_bench(**asked) if options.quick else PlanBenchConfig(**asked)

    def measure(say: Steps) -> _Report:
        result = run_plan_bench(config, say)
        return plan_lines(result), plan_json(result)

    return measure


def _link(options: argparse.Namespace) -> _Measure:
    def measure(say: Steps) -> _Report:
        config = LinkBenchConfig.quick() if options.quick else LinkBenchConfig()
        result = run_link_bench(config, say)
        return link_lines(result), link_json(result)

    return measure


def _adapt(options: argparse.Namespace) -> _Measure:
    given = {
        "models": None if options.models is None else tuple(options.models),
        "traces": None if options.trace is None else tuple(read_trace(f) for f in options.trace),
    }
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    out = options.out or _OUT
    config = quick_adapt(out, **asked) if options.quick else AdaptBenchConfig(out=out, **asked)
    changes = {name: getattr(options, name) for name in ("seconds", "repeats", "lanes")}
    changes = {name: value for name, value in changes.items() if value is not None}
    config = replace(config, resume=options.resume, **changes)

    def measure(say: Steps) -> _Report:
        result = run_adapt_bench(config, say)
        return adapt_lines(result), adapt_json(result)

    return measure


def _edge(options: argparse.Namespace) -> _Measure:
    changes: dict[str, Any] = {
        "install": not options.skip_install,
        "tflite_python": options.tflite_python,
    }
    if options.models is not None:
        changes["models"] = tuple(options.models)
    if options.inputs != _EDGE.inputs:
        changes["inputs"] = options.inputs
    config = replace(quick_edge() if options.quick else _EDGE, **changes)

    def measure(say: Steps) -> _Report:
        result = run_edge_bench(config, say)
        return edge_lines(result), edge_json(result)

    return measure


def _serve(options: argparse.Namespace) -> _Measure:
    config = bench_serve.serve_config(options)

    def measure(say: Steps) -> _Report:
        result = run_serve_bench(config, say)
        return serve_lines(result), serve_json(result)

    return measure


def _scale(options: argparse.Namespace) -> _Measure:
    config = bench_scale.scale_config(options)

    def measure(say: Steps) -> _Report:
        result = run_scale_bench(config, say)
        return scale_lines(result), scale_json(result)

    return measure


_MEASURES: dict[str, Callable[[argparse.Namespace], _Measure]] = {
    "wire": _wire,
    "cut": _cut,
    "precision": _precision,
    "plan": _plan,
    "link": _link,
    "adapt": _adapt,
    "edge": _edge,
    "serve": _serve,
    "scale": _scale,
}


def _defaults() -> str:
    """What each bench does without a flag, and with --quick where that changes a flag's default."""
    plan, edge = quick_bench(), quick_edge()
    rows = {
        "wire": f"all its models, --floor {_DEFAULTS.floor} --inputs {_DEFAULTS.inputs} "
        f"--frames {_DEFAULTS.frames} --fuzz-frames {_DEFAULTS.fuzz_frames}",
        "precision": f"--models {' '.join(_PRECISION.models)}\n"
        f"--budget {_PRECISION.budget} --inputs {_PRECISION.inputs}",
        "plan": f"{_plan_flags(_PLAN)}\nwith --quick: {_plan_flags(plan)}",
        "adapt": f"--models {' '.join(_ADAPT.models)} --seconds {_ADAPT.seconds:g} "
        f"--repeats {_ADAPT.repeats}\n--lanes {_ADAPT.lanes} --out {_OUT}",
        "edge": f"{_edge_flags(_EDGE)}\nwith --quick: {_edge_flags(edge)}",
        "serve": bench_serve.DEFAULTS,
        "scale": bench_scale.DEFAULTS,
    }
    return "\n".join(
        f"{what if first else '':<11}{line}"
        for what, text in rows.items()
        for first, line in ((i == 0, line) for i, line in enumerate(text.splitlines()))
    )


def _plan_flags(config: PlanBenchConfig) -> str:
    return (
        f"--models {' '.join(config.models)}\n--links {_shown(config.links_mbps)} "
        f"--slow-downs {_shown(config.slow_downs)}"
    )


def _edge_flags(config: EdgeBenchConfig) -> str:
    return (
        f"--models {' '.join(config.models)} --inputs {config.inputs}; "
        f"{config.weighings} processes to weigh, {config.processes} to time"
    )


def _shown(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _refuse_flags_of_others(options: argparse.Namespace) -> None:
    """A flag that would change nothing is an error."""
    for what, flags in _FLAGS.items():
        for name, default in flags.items():
            is_known = name in _FLAGS[options.what]
            if not is_known and getattr(options, name) != default:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is for `isthmus bench {what}`; leave it out")
