"""How ways to answer are predicted, and which items stand for all."""

from pathlib import Path

import numpy as np
import pytest
from tests.partitioner.networks import SIZE, residual, saved

from isthmus import open_bundle
from isthmus_bench.plan.measuring import Link, ways_of
from isthmus_bench.plan.subject import representative
from isthmus_edge.policy.choice import FRAME_OVERHEAD_BYTES
from isthmus_partitioner import Samples, load_model


def test_a_way_is_predicted_by_the_figures_of_the_plan(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    ways = ways_of(manifest, (), (), 0)
    raw, local = ways["input-raw"], ways[manifest.local.id]
    assert (raw.kind, local.kind) == ("cloud-only", "local")
    assert raw.answer_bytes == sum(spec.nbytes for spec in manifest.outputs)
    assert ways_of(manifest, (), (), 1)["input-raw"].answer_bytes == 8
    figures = raw.candidate.figures
    terms = raw.predicted(Link(1.0, 40.0))
    sent = figures.payload_bytes + raw.answer_bytes + 2 * FRAME_OVERHEAD_BYTES
    assert terms.wire_ms == pytest.approx(40 + sent * 8e-3)
    assert (terms.device_ms, terms.cloud_ms) == (figures.device_ms, figures.cloud_ms)
    assert local.predicted(Link(1.0, 40.0)).wire_ms == 0


def test_kinds_are_told_apart(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle, "device").manifest
    splits = [c for c in manifest.candidates if c.precision != "none" and not c.is_local]
    ways = ways_of(manifest, (splits[0].id,), (manifest.local,), 0)
    assert ways[splits[0].id].kind == "fp32 wire"
    assert ways[manifest.local.id].kind == "edge-only"
    assert {ways[c.id].kind for c in splits[1:]} <= {"split"}


def test_few_items_have_the_median_of_all_and_the_middle_comes_first(tmp_path: Path) -> None:
    network = load_model(saved(residual(), tmp_path / "net.onnx"))
    noise = np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 3)).astype(np.uint8)
    items = np.zeros_like(noise)
    for row in range(9):  # the more rows of noise, the more bytes
        items[row, : 3 * row] = noise[row, : 3 * row]
    shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    samples = Samples({"picture": items[shuffled]}, ("one",) * 9)
    rows = [shuffled[row] for row in representative(network, samples, 3)]
    assert rows[0] == 4
    assert sorted(rows) == [1, 4, 7]
    assert len(representative(network, samples, 20)) == 9
