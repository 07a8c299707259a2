"""The chain of segments is the head network; a tail takes up what came over the wire."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.partitioner.networks import CLASSES, pictures

from isthmus import Quantisation, SymbolCoder, Symbols, TensorEncoder, decode_tensor
from isthmus_partitioner import Network, PictureSets, Quantised
from isthmus_partitioner.boundary import Boundary, boundaries, wire_ladder
from isthmus_partitioner.boundary import quantised as in_symbols
from isthmus_partitioner.build import tail_feed
from isthmus_partitioner.propose import activations
from isthmus_partitioner.runtime import open_session, run_batches
from isthmus_partitioner.segments import boundary_spec, device_chain, tail_model

SEVERAL = pictures(6, seed=3)
FloatArray = NDArray[np.float32]


def answers_of(model: onnx.ModelProto, feed: dict[str, NDArray[np.generic]]) -> FloatArray:
    return run_batches(open_session(model, threads=1), feed)[0].astype(np.float32)


@pytest.fixture(params=["fp32", "int8"])
def head(request: pytest.FixtureRequest, network: Network, quantised: Quantised) -> onnx.ModelProto:
    """The network that the device runs, in both precisions."""
    assert quantised.int8 is not None
    return network.model if request.param == "fp32" else quantised.int8


@pytest.fixture
def ends(network: Network, quantised: Quantised, head: onnx.ModelProto) -> tuple[Boundary, ...]:
    return boundaries(head, network.cuts, quantised.ranges)


def run_chain(models: list[onnx.ModelProto]) -> list[NDArray[np.generic]]:
    """What each segment gives when each is fed with what the one before gave."""
    results: list[NDArray[np.generic]] = [SEVERAL]
    for model in models:
        session = open_session(model, threads=1)
        results.append(run_batches(session, {session.get_inputs()[0].name: results[-1]})[0])
    return results[1:]


def test_every_cut_has_a_boundary(network: Network, ends: tuple[Boundary, ...]) -> None:
    assert [end.cut for end in ends] == list(network.cuts)


def test_the_whole_chain_answers_like_the_undivided_head(
    network: Network, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    whole = answers_of(head, {"picture": SEVERAL})
    chain = run_chain(device_chain(network, head, ends))[-1].astype(np.float32)
    assert np.abs(chain - whole).max() < 0.03


def test_a_cut_is_run_the_first_segments(
    network: Network, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    """However the chain is divided before it, a boundary's tensor is the same.

    In an fp32 head each boundary before it rounds to 8 bits, which moves it a little.
    """
    most = 8 if head is network.model else 1
    full = run_chain(device_chain(network, head, ends))
    for depth, end in enumerate(ends[1:], start=1):
        alone = run_chain(device_chain(network, head, [end]))
        assert alone[0].dtype == np.uint8
        difference = alone[0].astype(int) - full[depth].astype(int)
        assert np.abs(difference).max() <= most


def test_segments_hand_each_other_the_uint8_tensor_that_crosses(
    network: Network, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    chain = device_chain(network, head, ends)
    for before, after in pairwise(chain):
        assert before.graph.output[0].name == after.graph.input[0].name
        assert before.graph.output[0].type == after.graph.input[0].type
    assert [m.graph.output[0].name for m in chain[:-1]] == [b.symbols for b in ends]


def test_a_network_without_cuts_is_one_segment(network: Network) -> None:
    (only,) = device_chain(network, network.model, [])
    assert np.array_equal(
        answers_of(only, {"picture": SEVERAL}), answers_of(network.model, {"picture": SEVERAL})
    )


def over_the_wire(
    symbols: NDArray[np.uint8], end: Boundary, encoding: Symbols
) -> NDArray[np.uint8]:
    coder = SymbolCoder()
    encoder = TensorEncoder(boundary_spec(end), encoding, end.quantisation, coder)
    items = [
        decode_tensor(encoder.encode(item[None]), boundary_spec(end), encoding, coder)
        for item in symbols
    ]
    return np.concatenate(items)


def test_a_tail_finishes_what_came_over_the_wire(
    network: Network, sets: PictureSets, head: onnx.ModelProto, ends: tuple[Boundary, ...]
) -> None:
    """tail(decode(encode(head))) answers nearly like the unsplit fp32 network."""
    unsplit = answers_of(network.model, {"picture": SEVERAL})
    real = activations(network, ends, sets.fitted)
    chain = run_chain(device_chain(network, head, ends))
    for end, symbols in zip(ends, chain, strict=False):
        finer, coarser = wire_ladder(real[end.cut.tensor], end.quantisation)
        for encoding, tolerance in ((finer, 0.12), (coarser, 0.35)):
            wire = over_the_wire(symbols.view(np.uint8), end, encoding)
            feed = tail_feed(wire, encoding.step, encoding.zero_point)
            got = answers_of(tail_model(network, end), feed)
            assert got.shape == (len(SEVERAL), CLASSES)
            assert np.abs(got - unsplit).max() < tolerance


def test_a_tail_takes_symbols_step_and_zero_point(network: Network, quantised: Quantised) -> None:
    end = boundaries(network.model, network.cuts, quantised.ranges)[0]
    tail = tail_model(network, end)
    assert [info.name for info in tail.graph.input] == ["symbols", "step", "zero_point"]
    ranks = [len(info.type.tensor_type.shape.dim) for info in tail.graph.input]
    assert ranks == [4, 0, 0]


def test_a_tails_bias_is_added_behind_the_dequantise(
    network: Network, quantised: Quantised
) -> None:
    end = boundaries(network.model, network.cuts, quantised.ranges)[0]
    symbols = np.full((2, *end.cut.shape), 7, np.uint8)
    bias = np.full((1, end.cut.shape[0], 1, 1), 3.0, np.float32)
    shifted = answers_of(tail_model(network, end, bias), tail_feed(symbols, 1.0, 0))
    plain = answers_of(tail_model(network, end), tail_feed(symbols + 3, 1.0, 0))
    assert np.abs(shifted - plain).max() < 1e-6


def test_the_tail_of_the_input_is_the_whole_network(network: Network) -> None:
    tail = tail_model(network, None)
    assert [info.name for info in tail.graph.input] == ["picture"]
    assert np.array_equal(
        answers_of(tail, {"picture": SEVERAL}), answers_of(network.model, {"picture": SEVERAL})
    )


def test_steps_are_a_quarter_and_half_a_deviation_with_zero_in_place() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    fine = Quantisation(scale=0.01, zero_point=128)
    finer, coarser = wire_ladder(values, fine)
    assert (finer.levels, finer.zero_point) == (256, 128)
    assert (coarser.levels, coarser.zero_point) == (16, 8)
    assert finer.step == pytest.approx(values.std() / 4, rel=1e-6)
    assert coarser.step == pytest.approx(values.std() / 2, rel=1e-6)
    positive = wire_ladder(np.abs(values), Quantisation(scale=0.01, zero_point=0))
    assert [encoding.zero_point for encoding in positive] == [0, 0]


def test_symbols_are_those_of_quantize_linear(network: Network, quantised: Quantised) -> None:
    end = boundaries(network.model, network.cuts, quantised.ranges)[0]
    real = activations(network, (end,), SEVERAL)[end.cut.tensor]
    (first, *_) = run_chain(device_chain(network, network.model, [end]))
    assert np.abs(in_symbols(real, end.quantisation).astype(int) - first.astype(int)).max() <= 1
