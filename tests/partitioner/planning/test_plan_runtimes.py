"""What a plan says of the runtimes that its heads run on, and what a bundle has for them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.partitioner.conftest import QUICK, Planned, ignore
from tests.partitioner.networks import Builder, saved
from tests.partitioner.profiles.test_node_times import made_up
from tests.partitioner.workshop import made_up_costs

from isthmus import RuntimeName
from isthmus_partitioner import ModelCard, Network, SampleSets, load_model, render_plan
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.parts.twins import TwinRefusedError
from isthmus_partitioner.planning.node_costs import NodeCosts
from isthmus_partitioner.planning.plan import Groundwork, make_plan
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles.profile import profile_of
from isthmus_partitioner.profiles.runtime_choice import TFLITE, RuntimeNote, RuntimeTime

PlanOf = Callable[..., Planned]


def note(network: str, runtime: RuntimeName, *unfit: RuntimeName) -> RuntimeNote:
    times = (RuntimeTime(runtime="litert", ms=4.0), RuntimeTime(runtime="onnxruntime", ms=8.4))
    why = f"why {network}"
    return RuntimeNote(network=network, runtime=runtime, times=times, reason=why, unfit=unfit)


LITERT: Mapping[str, RuntimeNote] = {"fp32": note("fp32", "litert")}


def fp32_alone(network: Network) -> Precision:
    point = Point(name="fp32", kind="fp32", fp32_groups=(), ms=1, divergence=0, agreement=1)
    return Precision((point,), (point,), point, "told to", 0, None, network.model, 1.0, None)


@pytest.fixture
def odd(tmp_path: Path) -> Network:
    """It has an op that TFLite does not cover."""
    build = Builder()
    first = build.op("Relu", [build.conv(build.picture(), "a", (3, 8), stride=4)], "first")
    build.op("Mish", [build.conv(first, "b", (8, 8))], "odd")
    build.classes("odd", 8)
    return load_model(saved(build.model(opset=18), tmp_path / "odd.onnx"))


def planned(
    network: Network,
    sets: SampleSets,
    folder: Path,
    runtimes: Mapping[str, RuntimeNote],
    costs: NodeCosts | None = None,
    unused: tuple[str, ...] = (),
) -> Planned:
    costs = costs or made_up_costs(network, slower=4)
    profile = profile_of(network, costs, made_up(network), "a cloud", "fp32")
    metric = metric_for("classify", network.outputs)
    precision = fp32_alone(network)
    card = ModelCard("tiny")
    known = Groundwork(network, precision, profile, costs, sets, metric, card, runtimes, unused)
    return Planned(make_plan(known, QUICK, folder, ignore), folder)


def test_chains_run_on_what_was_chosen_and_the_device_has_both_forms(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    """Networks that no chain of the bundle divides are not spoken of."""
    both = {**LITERT, "int8": note("int8", "litert")}
    made = planned(network, sets, tmp_path, both)
    manifest, record = made.plan.manifest, made.plan.record
    assert [chain.runtime for chain in manifest.chains] == ["litert"] * len(manifest.chains)
    sides = {entry.path: entry.side for entry in manifest.files}
    for segment in (segment for chain in manifest.chains for segment in chain.segments):
        assert segment.tflite is not None
        assert sides[segment.tflite.file] == sides[segment.file] == "device"
    assert record.runtimes == tuple(both.values())
    assert "why fp32" in record.why
    assert "why int8" not in record.why
    shown = render_plan(made.plan).splitlines()
    assert "Chains: fp32 on LiteRT." in shown
    (row,) = (line.split() for line in shown if line.startswith("fp32 ") and "8.40" in line)
    assert row == ["fp32", "8.40", "*4.00"]


def told_to_stay_onnx(made: Planned) -> str:
    """What a plan says of its one chain, which has no other form."""
    manifest = made.plan.manifest
    assert {chain.runtime for chain in manifest.chains} == {"onnxruntime"}
    assert not [entry.path for entry in manifest.files if entry.path.endswith(".tflite")]
    assert not list(made.parts.rglob("*.tflite"))
    (told,) = (line for line in made.plan.record.notes if "ONNX Runtime alone" in line)
    assert f"Note: {told}" in render_plan(made.plan)
    return told


def test_an_op_that_tflite_does_not_cover_leaves_the_chain_onnx_and_the_plan_says_so(
    odd: Network, sets: SampleSets, tmp_path: Path
) -> None:
    on_onnx = {"fp32": note("fp32", "onnxruntime")}
    told = told_to_stay_onnx(planned(odd, sets, tmp_path / "parts", on_onnx))
    assert told.startswith("chain fp32 runs on ONNX Runtime alone: device/fp32-")
    assert "Mish" in told


def test_times_of_a_form_that_a_chain_does_not_have_are_no_plan(
    odd: Network, sets: SampleSets, tmp_path: Path
) -> None:
    with pytest.raises(TwinRefusedError, match=r"device/fp32-\d.onnx .*Mish") as raised:
        planned(odd, sets, tmp_path / "parts", LITERT)
    assert raised.value.network == "fp32"


def test_no_form_is_written_that_must_not_answer(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    unfit = {"fp32": note("fp32", "onnxruntime", *TFLITE)}
    made = planned(network, sets, tmp_path, unfit)
    told = told_to_stay_onnx(made)
    assert told.endswith("alone: LiteRT and tflite-runtime are unfit for it")
    assert {chain.unfit for chain in made.plan.manifest.chains} == {TFLITE}


def test_a_chain_names_what_must_not_run_the_form_that_it_has(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    made = planned(network, sets, tmp_path, {"fp32": note("fp32", "litert", "tflite-runtime")})
    for chain in made.plan.manifest.chains:
        assert (chain.runtime, chain.unfit) == ("litert", ("tflite-runtime",))
        assert all(segment.tflite is not None for segment in chain.segments)
    assert "Chains: fp32 on LiteRT (unfit: tflite-runtime)." in render_plan(made.plan).splitlines()


def test_networks_that_run_on_nothing_are_noted(
    network: Network, sets: SampleSets, tmp_path: Path
) -> None:
    made = planned(network, sets, tmp_path, LITERT, unused=("nothing may answer for int8",))
    assert "nothing may answer for int8" in made.plan.record.notes


@pytest.mark.parametrize(("pace", "is_free"), [(0.0, True), (1.0, False)])
def test_encoding_takes_its_time_by_the_pace_of_the_device_and_not_by_its_runtime(
    network: Network, sets: SampleSets, tmp_path: Path, pace: float, is_free: bool
) -> None:
    """A pace of nothing shows what is multiplied by it: encoding is, heads are not."""
    known = made_up_costs(network, slower=4)
    costs = replace(known, paces={"fp32": pace, "int8": pace})
    made = planned(network, sets, tmp_path, LITERT, costs).plan
    for candidate in made.candidates:
        figures = candidate.figures
        if candidate.encodings and candidate.id != "input-raw":
            assert (figures.encode_ms == 0) is is_free
        assert (figures.edge_ms > 0) is (candidate.precision != "none")
    assert made.manifest.edge_factor == pace
