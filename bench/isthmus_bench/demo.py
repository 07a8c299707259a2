"""The demo: the whole product once, on a real network, with every claim measured in the same run.

build a bundle -> cloud and device as two processes -> a shaped link between them
-> answers -> a table for each link -> a live run with a cut-off -> two charts
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from isthmus import Candidate, ConfigError, Manifest, Raw, describe_machine, open_bundle
from isthmus_bench.comparison import EDGE_FP32, LinkComparison, Row, row_name
from isthmus_bench.edge_process import ANSWERS_TOP_K
from isthmus_bench.live import LivePhase, LiveResult, run_live
from isthmus_bench.processes import CloudProcess, EdgeProcess
from isthmus_bench.relay import LinkShape, Relay
from isthmus_bench.starvation import StolenTime
from isthmus_edge.profiling import profile_kit
from isthmus_models import get_model
from isthmus_partitioner import (
    Devices,
    Goals,
    ModelCard,
    Plan,
    PlanConfig,
    Samples,
    Workbench,
    load_model,
)
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.samples import sets_of

__all__ = ["DemoConfig", "DemoResult", "run_demo"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What the demo does; the defaults are those of `make demo`.

    `edge_network_ms` is how long the whole int8 network takes on the imitated small board: a
    device that runs it in 5 ms never needs a cloud. `edge_factor` sets the factor itself. Links
    are in Mbit/s, both ways alike.
    """

    out: Path
    model: str = "efficientnet-lite0"
    edge_network_ms: float = 150.0
    edge_factor: float | None = None
    links_mbps: tuple[float, ...] = (18.88, 5.85, 1.1, 0.2)
    rtt_ms: float = 40.0
    live: tuple[LivePhase, ...] = (
        LivePhase(18.88, 3.0),
        LivePhase(1.1, 3.5),
        LivePhase(0.2, 3.5),
        LivePhase(0.0, 3.5),
        LivePhase(18.88, 3.0),
    )
    max_cuts: int = 4
    calibration: int = 24
    evaluation: int = 72

    def __post_init__(self) -> None:
        for name in ("edge_network_ms", "edge_factor"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}; it must be a number above 0")
        if not self.links_mbps or min(self.links_mbps) <= 0:
            raise ConfigError("links must be rates above 0 Mbit/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """All figures of one run."""

    machine: str
    stolen_share: float
    edge_factor: float
    plan: Plan
    answers: list[dict[str, Any]]
    agreement: dict[str, float]
    comparisons: list[LinkComparison]
    live: LiveResult

    @property
    def plan_agreement(self) -> float:
        """Share of right answers over the candidates the policy may choose, by the plan."""
        return _mean(c.figures.agreement for c in _eligible(self.plan.manifest))

    @property
    def demo_agreement(self) -> float:
        """The same share, of the answers that came back over the wire in this run."""
        return _mean(self.agreement[c.id] for c in _eligible(self.plan.manifest))


def run_demo(config: DemoConfig, say: Say) -> DemoResult:
    """Run it all; `say` gets a line for each step of the long work."""
    stolen = StolenTime()
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{config.out}: cannot be made ({error.strerror}); name another"
        ) from error
    model = get_model(config.model).build(config.out / f"{config.model}.onnx")
    plan, bundle = _build(config, model, say)
    manifest = open_bundle(bundle, "device").manifest
    say("starting the cloud and the device as two processes, with a link between them")
    with (
        CloudProcess(bundle) as cloud,
        Relay(cloud.address, LinkShape(rtt_ms=config.rtt_ms)) as relay,
        EdgeProcess(_edge_flags(config, bundle, model, relay.address)) as edge,
    ):
        say(f"cloud {cloud.announcement}")
        factor = edge.do("factor")["factor"]
        say(f"device slowed {factor:.1f} times")
        names = [c.id for c in manifest.candidates]
        say(f"agreement of {len(names)} candidates on {config.evaluation} pictures, over the wire")
        agreement = edge.do("agreement", candidates=names)["agreement"]
        relay.shape(LinkShape.symmetric(config.links_mbps[0], config.rtt_ms))
        answers = edge.do("answers")["answers"]
        bench = _LinkBench(config, manifest, agreement, edge, relay, say)
        comparisons = [bench.compare(mbps) for mbps in config.links_mbps]
        say("live run: " + " -> ".join(phase.label for phase in config.live))
        live = run_live(edge, relay, list(config.live), config.rtt_ms, say)
    return DemoResult(
        machine=describe_machine(),
        stolen_share=stolen.share(),
        edge_factor=factor,
        plan=plan,
        answers=answers,
        agreement=agreement,
        comparisons=comparisons,
        live=live,
    )


def _build(config: DemoConfig, model: Path, say: Say) -> tuple[Plan, Path]:
    """A fresh plan: every figure of the demo is of the same run."""
    work = config.out / "work"
    if work.exists():
        shutil.rmtree(work)
    known = get_model(config.model)
    network = load_model(model)
    workbench = Workbench(
        network,
        sets_of(
            Samples(*known.items("calibration", config.calibration)),
            Samples(*known.items("evaluation", config.evaluation)),
        ),
        metric_for(known.task, network.outputs),
        devices=Devices(measure=profile_kit),
        config=_plan_config(config),
        work=work,
        card=ModelCard(known.name, known.labels),
        progress=say,
    )
    bundle = workbench.build(config.out / f"{config.model}.bundle")
    return workbench.plan(), bundle


def _plan_config(config: DemoConfig) -> PlanConfig:
    """Half the ladder, JPEG alone and no projections: the defaults take a minute more."""
    whole = PlanConfig(
        goals=Goals(answer_top_k=ANSWERS_TOP_K),
        max_cuts=config.max_cuts,
        steps=(1 / 4, 3 / 8, 1 / 2, 3 / 4),
        pictures=("jpeg",),
        qualities=(95, 85),
        bottleneck=False,
    )
    if config.edge_factor is not None:
        return replace(whole, edge_factor=config.edge_factor)
    return replace(whole, edge_network_ms=config.edge_network_ms)


def _edge_flags(config: DemoConfig, bundle: Path, model: Path, cloud: str) -> dict[str, object]:
    flags: dict[str, object] = {
        "bundle": bundle,
        "cloud": cloud,
        "model": model,
        "pictures": config.evaluation,
    }
    if config.edge_factor is not None:
        return flags | {"factor": config.edge_factor}
    return flags | {"network-ms": config.edge_network_ms}


class _LinkBench:
    """Measures all rows of one link after the other."""

    def __init__(
        self,
        config: DemoConfig,
        manifest: Manifest,
        agreement: dict[str, float],
        edge: EdgeProcess,
        relay: Relay,
        say: Say,
    ) -> None:
        self._config = config
        self._manifest = manifest
        self._agreement = agreement
        self._edge = edge
        self._relay = relay
        self._say = say
        say("edge-only rows: fp32 and int8 on the slowed device")
        self._fp32 = edge.do("measure-fp32")
        self._local = edge.do("measure", candidate=manifest.local.id)

    def compare(self, mbps: float) -> LinkComparison:
        """Every row of one link. Edge-only rows do not depend on the link: measured once."""
        self._relay.shape(LinkShape.symmetric(mbps, self._config.rtt_ms))
        measured: dict[str, dict[str, Any]] = {}
        remote = [c for c in self._manifest.candidates if not c.is_local and (c.kept or _is_raw(c))]
        # The raw picture last: by then the device knows the link, and how long a frame takes.
        for candidate in sorted(remote, key=_is_raw):
            self._say(f"{mbps:g} Mbit/s: {row_name(candidate)}")
            measured[candidate.id] = self._edge.do("measure", candidate=candidate.id)
        choice = self._edge.do("choose")
        link = choice["link"]
        return LinkComparison(
            mbps=mbps,
            rtt_ms=self._config.rtt_ms,
            believed_mbps=None if link is None else link["bandwidth_bps"] / 1e6,
            rows=[
                self._row(None, self._fp32, choice),
                self._row(self._manifest.local.id, self._local, choice),
                *(self._row(c.id, measured[c.id], choice) for c in remote),
            ],
        )

    def _row(self, candidate: str | None, figures: dict[str, Any], choice: dict[str, Any]) -> Row:
        name = EDGE_FP32
        agreement = 1.0  # it is what agreement is measured against
        if candidate is not None:
            name = row_name(self._manifest.candidate(candidate))
            agreement = self._agreement[candidate]
        return Row(
            name=name,
            candidate=candidate,
            latency_ms=figures["latency_ms"],
            throughput_fps=figures["throughput_fps"],
            payload_bytes=figures["payload_bytes"],
            agreement=agreement,
            meets_floor=agreement >= self._manifest.agreement_floor,
            chosen=candidate is not None and candidate == choice["latency"],
            chosen_throughput=candidate is not None and candidate == choice["throughput"],
        )


def _is_raw(candidate: Candidate) -> bool:
    return candidate.encodings == (Raw(),)


def _eligible(manifest: Manifest) -> list[Any]:
    return [c for c in manifest.kept if c.figures.agreement >= manifest.agreement_floor]


def _mean(values: Any) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
