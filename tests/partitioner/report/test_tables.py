"""Tables for people: every candidate with its reason, every rung, every layer."""

import msgspec
import pytest
from tests import candidates
from tests.partitioner.conftest import Planned
from tests.partitioner.profiles.test_node_times import made_up
from tests.partitioner.workshop import made_up_costs

from isthmus import Encoding, Lossless, Picture, Raw, Symbols
from isthmus_partitioner import Network, Plan, render_plan, render_profile
from isthmus_partitioner.planning.records import TransformNote
from isthmus_partitioner.profiles.profile import profile_of
from isthmus_partitioner.profiles.runtime_choice import RuntimeNote, RuntimeTime
from isthmus_partitioner.report.words import goals_words
from isthmus_partitioner.wire.bottleneck import Verdict

VERDICT = Verdict(
    tensor="wide",
    channels=32,
    kept_channels=4,
    extra_macs=2_500_000,
    bytes_ratio=0.625,
    is_kept=True,
)
WAYS = "wide: as it is, channels sorted by entropy"
INCOMPARABLE = msgspec.structs.replace(VERDICT, bytes_ratio=None, is_kept=False)


def sections(plan: Plan) -> tuple[list[str], list[str], list[str]]:
    """Lines of the candidates, of the ladders, and of what became of the channels."""
    head, ladders = render_plan(plan).split("\nLadders: ")
    table, notes = ladders.split("\n\n", 1)
    return head.split("\n\n")[1].splitlines()[2:], table.splitlines()[3:], notes.splitlines()


def with_record(plan: Plan, **changes: object) -> Plan:
    return msgspec.structs.replace(plan, record=msgspec.structs.replace(plan.record, **changes))


def test_every_candidate_is_shown_with_its_reason(planned: Planned) -> None:
    table, _, _ = sections(planned.plan)
    for candidate in planned.plan.candidates:
        (line,) = (row for row in table if row[1:].split()[:1] == [candidate.id])
        assert candidate.reason in line
        assert line.startswith("*") == candidate.kept
        assert str(candidate.figures.payload_bytes) in line.split()


def test_every_ladder_is_shown_with_a_star_where_it_begins(planned: Planned) -> None:
    _, ladders, _ = sections(planned.plan)
    shown = {row.split()[0]: row.split()[1:] for row in ladders}
    laddered = {c.id: c for c in planned.plan.candidates if len(c.rungs) > 1}
    assert laddered
    assert shown.keys() == laddered.keys()
    for name, candidate in laddered.items():
        figures = [(r.figures.payload_bytes, r.figures.agreement) for r in candidate.rungs]
        expected = [f"{size}/{agreement:.3f}" for size, agreement in figures]
        expected[candidate.chosen] = f"*{expected[candidate.chosen]}"
        assert shown[name] == expected


def test_what_the_plan_was_for_stands_above_its_candidates(planned: Planned) -> None:
    record = planned.plan.record
    lines = render_plan(planned.plan).splitlines()
    place = lines.index(f"Goals: {goals_words(record.goals)}.")
    assert lines[place + 1].startswith(f"{planned.plan.manifest.model_name}: ")


def test_a_plan_without_ladders_is_shown(planned: Planned) -> None:
    local = planned.plan.manifest.local
    manifest = msgspec.structs.replace(planned.plan.manifest, candidates=(local,))
    plan = msgspec.structs.replace(planned.plan, manifest=manifest)
    bare = with_record(plan, rejected=(), transforms=(), gaps=(), why=(), front=())
    assert "nothing sent" in render_plan(bare)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        (Raw(), "raw"),
        (Lossless(), "lossless"),
        (Picture(format="jpeg", quality=85), "JPEG q85"),
        (Picture(format="avif", quality=1), "AVIF q1"),
        (Picture(format="webp", quality=None), "WebP lossless"),
        (Symbols(levels=16, step=0.125, zero_point=3), "16 levels, step 0.125"),
    ],
)
def test_an_encoding_is_shown_in_words(planned: Planned, encoding: Encoding, words: str) -> None:
    other = candidates.candidate("other", candidates.rung(encoding))
    plan = with_record(planned.plan, rejected=(other,))
    (line,) = (row for row in sections(plan)[0] if row.split()[:1] == ["other"])
    assert f" {words} " in line


def with_note(plan: Plan, verdict: Verdict | None) -> Plan:
    ways = ("as it is", "channels sorted by entropy")
    note = TransformNote(cut="wide", transforms=ways, has_bias=True, bottleneck=verdict)
    return with_record(plan, transforms=(note,), notes=())


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (None, WAYS),
        (
            VERDICT,
            WAYS + "; PCA 32 -> 4 channels, 2.50 MMAC more on each side: "
            "0.62x the bytes at equal KL, kept",
        ),
        (
            INCOMPARABLE,
            WAYS + "; PCA 32 -> 4 channels, 2.50 MMAC more on each side: "
            "no KL that both reach, not kept",
        ),
    ],
)
def test_what_became_of_a_cuts_channels_is_said(
    planned: Planned, verdict: Verdict | None, line: str
) -> None:
    assert sections(with_note(planned.plan, verdict))[2] == [line]


@pytest.mark.parametrize("verdict", [None, VERDICT, INCOMPARABLE])
def test_a_verdict_survives_json(planned: Planned, verdict: Verdict | None) -> None:
    plan = with_note(planned.plan, verdict)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_a_candidate_of_several_tensors_shows_all_encodings(planned: Planned) -> None:
    both = candidates.rung(Lossless())
    both = msgspec.structs.replace(both, encodings=(Lossless(), Raw()))
    plan = with_record(planned.plan, rejected=(candidates.candidate("other", both),))
    (line,) = (row for row in sections(plan)[0] if row.split()[:1] == ["other"])
    assert " lossless + raw " in line


def test_predicted_stands_beside_measured_with_how_far_it_was_off(planned: Planned) -> None:
    (gap, *_) = planned.plan.record.gaps
    known = msgspec.structs.replace(
        gap,
        cut="somewhere",
        predicted_edge_ms=1.5,
        measured_edge_ms=1.0,
        predicted_tail_ms=2.0,
        measured_tail_ms=4.0,
    )
    shown = render_plan(with_record(planned.plan, gaps=(known,)))
    (line,) = (row.split() for row in shown.splitlines() if row.startswith("somewhere"))
    assert line == ["somewhere", "1.50", "1.00", "+50%", "2.00", "4.00", "-50%"]


def test_the_front_the_reasons_and_the_notes_are_shown(planned: Planned) -> None:
    shown = render_plan(with_record(planned.plan, notes=("few items",))).splitlines()
    for point in planned.plan.record.front:
        assert any(line.startswith(f"{point.name} ") for line in shown)
    assert all(f"- {line}" in shown for line in planned.plan.record.why)
    assert "Note: few items" in shown


def test_a_profile_shows_every_layer_that_takes_time(network: Network) -> None:
    costs = made_up_costs(network, slower=2)
    shown = render_profile(profile_of(network, costs, made_up(network), "a server", "mixed"))
    lines = shown.splitlines()
    assert lines[0].endswith("one item: fp32 2000.0 ms, mixed 1000.0 ms")
    assert lines[1] == "Cloud: a server; one item: fp32 10.0 ms"
    (inner,) = (line.split() for line in lines if line.startswith("inner "))
    assert inner[1:4] == ["Conv", "3072x8x8", "14.2"]
    small = made_up_costs(network, here_ms=1e-9)
    nothing = render_profile(profile_of(network, small, made_up(network), "a server", "mixed"))
    assert not any(line.startswith("inner ") for line in nothing.splitlines())


NOTE = RuntimeNote(
    network="head",
    runtime="litert",
    times=(RuntimeTime(runtime="litert", ms=4.0), RuntimeTime(runtime="onnxruntime", ms=8.4)),
    reason="on the device LiteRT runs the int8 heads 2.1 times as fast as ONNX Runtime",
)


def test_each_network_is_shown_on_each_runtime_with_a_star_where_it_runs(
    network: Network, planned: Planned
) -> None:
    plain = msgspec.structs.replace(
        NOTE, network="fp32", runtime="onnxruntime", times=NOTE.times[1:]
    )
    costs = made_up_costs(network)
    known = profile_of(network, costs, made_up(network), "a server", "mixed", (plain, NOTE))
    shown = render_profile(known).splitlines()
    assert f"{NOTE.reason}." in shown
    plan = with_record(planned.plan, runtimes=(plain, NOTE), precision="mixed")
    for lines in (shown, render_plan(plan).splitlines()):
        (title,) = (line for line in lines if line.startswith("whole network (ms; * runs it)"))
        assert title.split()[-3:] == ["ONNX", "Runtime", "LiteRT"]
        assert ["fp32", "*8.40"] in [line.split() for line in lines]
        assert ["mixed", "8.40", "*4.00"] in [line.split() for line in lines]


def test_what_must_not_run_a_network_is_marked(planned: Planned) -> None:
    unfit = msgspec.structs.replace(NOTE, runtime="onnxruntime", unfit=("litert",))
    shown = render_plan(with_record(planned.plan, runtimes=(unfit,), precision="mixed"))
    assert "whole network (ms; * runs it, ! is unfit)" in shown
    assert ["mixed", "*8.40", "!4.00"] in [line.split() for line in shown.splitlines()]


def test_the_runtime_of_each_chain_is_shown(planned: Planned) -> None:
    manifest = planned.plan.manifest
    chains = tuple(msgspec.structs.replace(c, runtime="litert") for c in manifest.chains)
    plan = msgspec.structs.replace(
        planned.plan, manifest=msgspec.structs.replace(manifest, chains=chains)
    )
    (line,) = (row for row in render_plan(plan).splitlines() if row.startswith("Chains: "))
    assert line == f"Chains: {', '.join(f'{chain.id} on LiteRT' for chain in chains)}."


def test_what_the_tails_are_and_what_dividing_them_costs_is_shown(planned: Planned) -> None:
    manifest = planned.plan.manifest
    graphs = {part for cut in manifest.cuts for part in cut.tail}
    assert manifest.batched
    (line,) = (
        line
        for line in render_plan(with_record(planned.plan, parts_ratio=1.04)).splitlines()
        if line.startswith("Tails: ")
    )
    assert f"made of {len(graphs)} graph" in line
    assert "frames go together" in line
    assert line.endswith("In parts they take +4% of the time in one graph.")
