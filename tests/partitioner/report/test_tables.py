"""Tables for people: every candidate with its reason, every rung, every layer."""

import msgspec
import pytest
from tests import candidates
from tests.partitioner.conftest import Planned, ignore

from isthmus import Encoding, Lossless, Picture, Raw, Symbols
from isthmus_partitioner import (
    Network,
    PictureSets,
    Plan,
    Quantised,
    profile,
    render_plan,
    render_profile,
)
from isthmus_partitioner.planning.plan import TransformNote
from isthmus_partitioner.wire.bottleneck import Verdict

VERDICT = Verdict(
    tensor="wide",
    channels=32,
    kept_channels=4,
    extra_macs=2_500_000,
    bytes_ratio=0.625,
    is_kept=True,
)
INCOMPARABLE = msgspec.structs.replace(VERDICT, bytes_ratio=None, is_kept=False)


def sections(plan: Plan) -> tuple[list[str], list[str], list[str]]:
    """Lines of the candidates, of the ladders, and of what became of the channels."""
    head, ladders = render_plan(plan).split("\nLadders: ")
    table, notes = ladders.split("\n\n", 1)
    return head.splitlines(), table.splitlines()[3:], notes.splitlines()


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


def test_a_plan_without_ladders_is_shown(planned: Planned) -> None:
    local = planned.plan.manifest.local
    manifest = msgspec.structs.replace(planned.plan.manifest, candidates=(local,))
    plan = msgspec.structs.replace(planned.plan, manifest=manifest, rejected=(), transforms=())
    assert "nothing sent" in render_plan(plan)


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
    plan = msgspec.structs.replace(planned.plan, rejected=(other,))
    (line,) = (row for row in sections(plan)[0] if row.split()[:1] == ["other"])
    assert f" {words} " in line


def with_note(plan: Plan, verdict: Verdict | None) -> Plan:
    note = TransformNote(cut="wide", transform="as it is", has_bias=True, bottleneck=verdict)
    return msgspec.structs.replace(plan, transforms=(note,))


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (None, "wide: as it is"),
        (
            VERDICT,
            "wide: as it is; PCA 32 -> 4 channels, 2.50 MMAC more on each side: "
            "0.62x the bytes at equal KL, kept",
        ),
        (
            INCOMPARABLE,
            "wide: as it is; PCA 32 -> 4 channels, 2.50 MMAC more on each side: "
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


def test_a_profile_shows_every_layer_and_every_cut(
    network: Network, quantised: Quantised, sets: PictureSets
) -> None:
    lines = render_profile(profile(network, quantised, sets, ignore)).splitlines()
    for cut in network.cuts:
        assert any(line.startswith(f"{cut.tensor} ") for line in lines)
    assert any(line.startswith("inner ") and " Conv " in line for line in lines)
