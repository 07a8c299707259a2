"""What the demo shows: text for people, JSON for programs, and two charts."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from isthmus_bench.charts import Line, LiveFrame, Phase, draw_envelope, draw_live_run
from isthmus_bench.comparison import WITHIN, Figure, LinkComparison, policy_holds, row_name
from isthmus_bench.demo import DemoConfig, DemoResult
from isthmus_bench.live import OUTAGE_LABEL
from isthmus_bench.starvation import caution

__all__ = ["demo_json", "demo_lines", "draw_charts"]

_FIGURES: tuple[Figure, ...] = ("latency", "throughput")


def demo_lines(result: DemoResult, config: DemoConfig) -> Iterator[str]:
    """The report, line by line."""
    yield f"Measured on {result.machine}; every figure below is of this run."
    aim = (
        "(--edge-factor)"
        if config.edge_factor is not None
        else f"so that the int8 network takes {config.edge_network_ms:.0f} ms as on a small board "
        "(--edge-network-ms)"
    )
    yield from caution(result.stolen_share, "figures")
    yield f"The device is slowed {result.edge_factor:.1f} times, {aim}."
    yield ""
    yield "a. Answers"
    yield from _answers(result)
    yield ""
    yield "b. Links"
    yield from _agreement(result)
    for comparison in result.comparisons:
        yield from _link(comparison)
    yield ""
    verdict = "yes" if policy_holds(result.comparisons) else "NO"
    yield f"   The policy's choice is within {WITHIN:.0%} of the best row everywhere: {verdict}"
    yield ""
    yield "c. Live run"
    yield from _live(result)


def _answers(result: DemoResult) -> Iterator[str]:
    for row in result.answers:
        verdict = "right" if row["right"] else "wrong"
        yield (
            f"   {row['picture']}: {row['label']} {row['probability']:.2f} ({verdict}; "
            f"{row['latency_ms']:.0f} ms, {row['candidate']}, {row['place']})"
        )
    right = sum(row["right"] for row in result.answers)
    yield f"   {right} of {len(result.answers)} right"


def _agreement(result: DemoResult) -> Iterator[str]:
    manifest = result.plan.manifest
    yield (
        "   Agreement: share of answers equal to those of the unsplit fp32 model, on "
        f"{result.plan.record.evaluation_items} pictures of photos that calibration has not seen; "
        f"floor {manifest.agreement_floor:g}."
    )
    yield (
        f"   Over all candidates the policy may choose: plan {result.plan_agreement:.3f}, "
        f"this run over the wire {result.demo_agreement:.3f}."
    )


def _link(comparison: LinkComparison) -> Iterator[str]:
    yield ""
    believed = comparison.believed_mbps
    shown = "unknown" if believed is None else f"{believed:.2f} Mbit/s"
    yield f"   {comparison.mbps:g} Mbit/s, {comparison.rtt_ms:g} ms round trip (believed: {shown})"
    yield ""
    yield from (f"   {line}" for line in comparison.table().splitlines())
    yield ""
    for figure in _FIGURES:
        yield from (f"   {line}" for line in comparison.verdict(figure).sentences())


def _live(result: DemoResult) -> Iterator[str]:
    live = result.live
    for index, (begin, end, label) in enumerate(live.phases):
        places = live.places_in(index)
        yield (
            f"   {begin:5.1f}-{end:4.1f} s  {label:>12}: {places['cloud']} frames answered by "
            f"the cloud, {places['device']} by the device"
        )
    for switch in live.switches:
        yield f"   {switch['at_s']:5.1f} s  {switch['before']} -> {switch['after']}"
        yield f"            {switch['reason']}"
    yield f"   {live.summary()}"


def demo_json(result: DemoResult, config: DemoConfig) -> dict[str, Any]:
    """The same figures for programs."""
    manifest = result.plan.manifest
    live = result.live
    return {
        "machine": result.machine,
        "stolen_share": result.stolen_share,
        "edge_factor": result.edge_factor,
        "agreement_floor": manifest.agreement_floor,
        "agreement": result.demo_agreement,
        "plan_agreement": result.plan_agreement,
        "answers": result.answers,
        "policy_within_10_percent": policy_holds(result.comparisons),
        "links": [_link_json(comparison) for comparison in result.comparisons],
        "live": {
            "accepted": live.accepted,
            "answered_cloud": live.answered_cloud,
            "answered_edge": live.answered_edge,
            "errors": live.errors,
            "lost": live.lost,
            "switches": live.switches,
            "phases": [
                {"start_s": begin, "end_s": end, "link": label, **live.places_in(index)}
                for index, (begin, end, label) in enumerate(live.phases)
            ],
        },
    }


def _link_json(comparison: LinkComparison) -> dict[str, Any]:
    verdicts = {figure: comparison.verdict(figure) for figure in _FIGURES}
    return {
        "mbps": comparison.mbps,
        "rtt_ms": comparison.rtt_ms,
        "believed_mbps": comparison.believed_mbps,
        "rows": [asdict(row) for row in comparison.rows],
        "policy": {
            figure: {"best": v.best.name, "chosen": v.chosen.name, "excess": v.excess}
            for figure, v in verdicts.items()
        },
    }


def draw_charts(result: DemoResult, config: DemoConfig) -> list[Path]:
    """The envelope and the live run as PNG files; their paths."""
    manifest = result.plan.manifest
    envelope, live = config.out / "envelope.png", config.out / "live.png"
    lines = [
        Line(
            row_name(c),
            c.figures.device_ms + c.figures.cloud_ms + (0.0 if c.is_local else config.rtt_ms),
            c.figures.payload_bytes,
            c.kept,
            c.figures.agreement >= manifest.agreement_floor,
        )
        for c in manifest.candidates
    ]
    title = f"Latency over bandwidth at {config.rtt_ms:g} ms round trip, from the plan's figures"
    draw_envelope(envelope, lines, list(config.links_mbps), title)
    names = {c.id: row_name(c) for c in manifest.candidates}
    frames = [
        LiveFrame(e.at_s, e.latency_ms, names[e.candidate], cast(Any, e.place))
        for e in result.live.events
    ]
    phases = [Phase(*span) for span in result.live.phases]
    title = f"A live run: the link steps, is {OUTAGE_LABEL}, and comes back"
    draw_live_run(live, frames, phases, title)
    return [envelope, live]
