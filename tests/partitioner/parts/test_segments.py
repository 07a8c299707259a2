"""The chain of segments is the head network; a tail takes up what came over the wire."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.partitioner.networks import CLASSES, pictures
from tests.partitioner.serving import run_stage

from isthmus import CutTensor, Symbols
from isthmus_partitioner import Network, PictureSets, Quantised
from isthmus_partitioner.parts.boundary import Boundary, boundaries
from isthmus_partitioner.parts.segments import device_chain, tail_model, whole_model
from isthmus_partitioner.planning.propose import activations
from isthmus_partitioner.precision.mixed import fp32_then_int8
from isthmus_partitioner.runtime import open_session, run_batches
from isthmus_partitioner.wire.fitting import tail_feed
from isthmus_partitioner.wire.ladder import wire_ladder
from isthmus_partitioner.wire.stages import quantises, stage_model, wire_spec
from isthmus_partitioner.wire.through import through_the_wire
from isthmus_partitioner.wire.transform import PLAIN

SEVERAL = pictures(6, seed=3)
FloatArray = NDArray[np.float32]
AnyArray = NDArray[np.generic]


def answers_of(model: onnx.ModelProto, feed: dict[str, AnyArray]) -> FloatArray:
    return run_batches(open_session(model, threads=1), feed)[0].astype(np.float32)


@pytest.fixture(params=["fp32", "mixed", "int8"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def head(precision: str, network: Network, quantised: Quantised) -> onnx.ModelProto:
    """The network that the device runs, in each precision; the mixed one is int8 behind `sum`."""
    assert quantised.int8 is not None
    if precision == "mixed":
        return fp32_then_int8(network.model, quantised.int8, "sum")
    return network.model if precision == "fp32" else quantised.int8


@pytest.fixture
def ends(network: Network, head: onnx.ModelProto) -> tuple[Boundary, ...]:
    return boundaries(head, network.cuts)


def run_chain(models: list[onnx.ModelProto]) -> list[AnyArray]:
    """What each segment gives when each is fed with what the one before gave."""
    results: list[AnyArray] = [SEVERAL]
    for model in models:
        session = open_session(model, threads=1)
        results.append(run_batches(session, {session.get_inputs()[0].name: results[-1]})[0])
    return results[1:]


def off_by(one: AnyArray, other: AnyArray) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


def test_every_cut_has_a_boundary(network: Network, ends: tuple[Boundary, ...]) -> None:
    assert [end.cut for end in ends] == list(network.cuts)


def test_boundaries_are_floats_in_the_fp32_part_and_integers_behind_it(
    ends: tuple[Boundary, ...], precision: str
) -> None:
    tensors = [end.cut.tensor for end in ends]
    floats = {"fp32": len(ends), "mixed": tensors.index("sum"), "int8": 0}[precision]
    kinds = ["float32"] * floats + ["uint8"] * (len(ends) - floats)
    assert [end.spec.data_type for end in ends] == kinds
    for end, kind in zip(ends, kinds, strict=True):
        assert end.spec.shape == end.cut.shape
        assert (end.quantisation is None) == (kind == "float32")
        assert (end.spec.name == end.cut.tensor) == (kind == "float32")


def test_the_whole_chain_answers_like_the_undivided_head(
    network: Network, head: onnx.ModelProto, ends: tuple[Boundary, ...], precision: str
) -> None:
    """Floats are handed on as they are; integers may round otherwise where a fusion is cut."""
    whole = answers_of(head, {"picture": SEVERAL})
    chain = run_chain(device_chain(network, head, ends))[-1]
    assert off_by(chain, whole) < {"fp32": 1e-5, "mixed": 0.03, "int8": 0.03}[precision]


def test_a_cut_is_run_the_first_segments(
    network: Network, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    """However the chain is divided before it, a boundary's tensor is the same."""
    full = run_chain(device_chain(network, head, ends))
    for depth, end in enumerate(ends[1:], start=1):
        alone = run_chain(device_chain(network, head, [end]))[0]
        assert alone.dtype == end.spec.data_type
        assert off_by(alone, full[depth]) <= (1e-4 if end.quantisation is None else 1)


def test_segments_hand_each_other_the_boundaries(
    network: Network, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    chain = device_chain(network, head, ends)
    for before, after in pairwise(chain):
        assert before.graph.output[0].name == after.graph.input[0].name
        assert before.graph.output[0].type == after.graph.input[0].type
    assert [m.graph.output[0].name for m in chain[:-1]] == [end.name for end in ends]


def test_a_network_without_cuts_is_one_segment(network: Network) -> None:
    (only,) = device_chain(network, network.model, [])
    assert np.array_equal(
        answers_of(only, {"picture": SEVERAL}), answers_of(network.model, {"picture": SEVERAL})
    )


def over_the_wire(
    network: Network, boundary: Boundary, values: AnyArray, encoding: Symbols
) -> AnyArray:
    """What arrives of the chain's values [n,*shape]: stage, codec and back."""
    integers = not quantises(boundary, PLAIN)
    tensor = CutTensor(
        boundary=boundary.spec,
        wire=wire_spec(boundary, PLAIN),
        quantisation=boundary.quantisation if integers else None,
        stage=None if integers else "stage",
    )
    if integers:
        return through_the_wire(values, tensor, encoding)[0]
    stage = stage_model(boundary, PLAIN, network.model)
    return through_the_wire(values, tensor, encoding, lambda v: run_stage(stage, v, encoding))[0]


def test_a_tail_finishes_what_came_over_the_wire(
    network: Network, sets: PictureSets, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    """tail(decode(encode(stage(head)))) answers nearly like the unsplit fp32 network."""
    unsplit = answers_of(network.model, {"picture": SEVERAL})
    real = activations(network, ends, sets.fitted)
    chain = run_chain(device_chain(network, head, ends))
    for end, values in zip(ends, chain, strict=False):
        ladder = wire_ladder(real[end.cut.tensor], (1 / 4, 1 / 2), end.quantisation)
        for encoding, tolerance in zip(ladder, (0.12, 0.35), strict=True):
            wire = over_the_wire(network, end, values, encoding)
            got = answers_of(tail_model(network, end), tail_feed(wire, encoding))
            assert got.shape == (len(SEVERAL), CLASSES)
            assert off_by(got, unsplit) < tolerance


def test_a_tail_takes_symbols_step_and_zero_point(network: Network) -> None:
    tail = tail_model(network, boundaries(network.model, network.cuts)[0])
    assert [info.name for info in tail.graph.input] == ["symbols", "step", "zero_point"]
    ranks = [len(info.type.tensor_type.shape.dim) for info in tail.graph.input]
    assert ranks == [4, 0, 0]


def test_a_tails_bias_is_added_behind_the_dequantise(network: Network) -> None:
    end = boundaries(network.model, network.cuts)[0]
    units = Symbols(levels=256, step=1.0, zero_point=0)
    symbols = np.full((2, *end.cut.shape), 7, np.uint8)
    bias = np.full((1, end.cut.shape[0], 1, 1), 3.0, np.float32)
    shifted = answers_of(tail_model(network, end, PLAIN, bias), tail_feed(symbols, units))
    plain = answers_of(tail_model(network, end), tail_feed(symbols + np.uint8(3), units))
    assert off_by(shifted, plain) < 1e-6


def test_the_tail_of_the_input_is_the_whole_network(network: Network) -> None:
    tail = whole_model(network)
    assert [info.name for info in tail.graph.input] == ["picture"]
    assert np.array_equal(
        answers_of(tail, {"picture": SEVERAL}), answers_of(network.model, {"picture": SEVERAL})
    )
