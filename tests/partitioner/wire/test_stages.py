"""A stage makes the symbols that calibration counted on, and the tail undoes what it did."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tests.partitioner import branched
from tests.partitioner.conftest import samples_of
from tests.partitioner.serving import run_in_order

from isthmus import (
    HOLD,
    Quantisation,
    Symbols,
    TensorSpec,
    quantised,
)
from isthmus_partitioner import Network, PlanConfig
from isthmus_partitioner.graph.surgery import assemble, initialisers, nodes_between, spec_info
from isthmus_partitioner.parts.boundary import Boundary, ChainCut, HeadGraph
from isthmus_partitioner.parts.segments import tail_model
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.wire.ladder import wire_ladder
from isthmus_partitioner.wire.stages import quantises, ready_stage, stage_is_needed, wire_spec
from isthmus_partitioner.wire.transform import PLAIN, Transform, principal

FloatArray = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

SHAPE = (4, 6, 5)
CUT = TensorSpec(name="cut", data_type="float32", shape=SHAPE)
FLOATS = Boundary(CUT, "cut", None)
INTEGERS = Boundary(CUT, "cut_integers", Quantisation(scale=1 / 64, zero_point=100))
ORDER = Transform(order=np.asarray([2, 0, 3, 1]))
# Orthonormal, and exact in float32 whatever the order of additions.
HADAMARD: FloatArray = np.float32(0.5) * np.asarray(
    [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32
)
MEAN = np.asarray([0.5, -0.25, 0, 1], np.float32)
ROTATION = Transform(components=HADAMARD, mean=MEAN)
BOTTLENECK = Transform(components=HADAMARD[1:3], mean=MEAN)
# Half steps fall between two symbols: they tell how a runtime rounds.
FINE = Symbols(levels=256, step=1 / 32, zero_point=90)
EXACT = (FINE, Symbols(levels=16, step=0.25, zero_point=6))


def integers() -> UInt8Array:
    """Three items of what an int8 head gives; as real numbers, multiples of 1/64."""
    normal = np.random.default_rng(0).normal(100, 60, (3, *SHAPE))
    return normal.round().clip(0, 255).astype(np.uint8)


def real(values: UInt8Array) -> FloatArray:
    return (values.astype(np.float32) - np.float32(100)) / np.float32(64)


def quantize_linear() -> onnx.ModelProto:
    """The operator, alone."""
    node = helper.make_node("QuantizeLinear", ["values", "step", "zero_point"], ["symbols"])
    inputs = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, ["N", *SHAPE]),
        helper.make_tensor_value_info("step", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("zero_point", TensorProto.UINT8, []),
    ]
    outputs = [helper.make_tensor_value_info("symbols", TensorProto.UINT8, ["N", *SHAPE])]
    graph = helper.make_graph([node], "lone", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def scalars_of(encoding: Symbols) -> tuple[NDArray[np.generic], ...]:
    return np.asarray(encoding.step, np.float32), np.asarray(encoding.zero_point, np.uint8)


@dataclass(frozen=True)
class Case:
    """A boundary, what is done to its channels, and the stage of the two."""

    boundary: Boundary
    transform: Transform

    def wire(
        self,
        encoding: Symbols,
        given: NDArray[np.generic] | None = None,
        previous: UInt8Array | None = None,
        hold: float = 0.0,
    ) -> UInt8Array:
        """The symbols of `given`, or of what the chain hands over."""
        stage = ready_stage(self.boundary, self.transform)
        values = self.given() if given is None else given
        return stage.wire(values, encoding, previous, hold).view(np.uint8)

    def given(self) -> NDArray[np.generic]:
        """What the chain hands over."""
        values = integers()
        return real(values) if self.boundary.quantisation is None else values

    def sent(self) -> FloatArray:
        """What is quantised."""
        return self.transform.forward(real(integers()))

    def ladder(self) -> tuple[Symbols, ...]:
        """Every rung of the default configuration, and two with steps that leave ties."""
        return wire_ladder(self.sent(), PlanConfig().steps, None) + EXACT


QUANTISING = [
    pytest.param(Case(FLOATS, PLAIN), id="floats"),
    pytest.param(Case(FLOATS, ORDER), id="floats, ordered"),
    pytest.param(Case(FLOATS, ROTATION), id="floats, rotated"),
    pytest.param(Case(FLOATS, BOTTLENECK), id="floats, projected"),
    pytest.param(Case(INTEGERS, ROTATION), id="integers, rotated"),
    pytest.param(Case(INTEGERS, BOTTLENECK), id="integers, projected"),
]


@pytest.mark.parametrize("encoding", EXACT)
def test_symbols_are_those_of_quantize_linear_ties_included(encoding: Symbols) -> None:
    values = 8 * real(integers())
    tied = np.concatenate([values, np.rint(values * 16) * np.float32(encoding.step / 2)])
    expected = run_in_order(quantize_linear(), tied, *scalars_of(encoding))
    clipped = expected.view(np.uint8).clip(0, encoding.levels - 1)
    assert np.array_equal(quantised(tied, encoding), clipped)
    assert 0 < np.count_nonzero(clipped == encoding.levels - 1) < clipped.size


@pytest.mark.parametrize("case", QUANTISING)
def test_a_stage_gives_the_symbols_of_every_rung_bit_by_bit(case: Case) -> None:
    for encoding in case.ladder():
        symbols = case.wire(encoding)
        assert symbols.dtype == np.uint8
        assert np.array_equal(symbols, quantised(case.sent(), encoding))


@pytest.mark.parametrize("case", [*QUANTISING, pytest.param(Case(INTEGERS, ORDER), id="ordered")])
def test_a_stage_gives_what_the_manifest_will_say_of_the_wire(case: Case) -> None:
    spec, symbols = wire_spec(case.boundary, case.transform), case.wire(FINE)
    assert (str(symbols.dtype), symbols.shape[1:]) == (spec.data_type, spec.shape)
    assert spec.shape == case.transform.wire_shape(SHAPE)
    assert symbols.flags.c_contiguous


def test_a_projection_of_any_kind_is_off_by_no_more_than_rounding() -> None:
    """Two ways to add up may end on two sides of a border between symbols, very rarely."""
    transform = principal(np.random.default_rng(1).normal(size=(3, *SHAPE)).astype(np.float32), 1.0)
    case = Case(FLOATS, transform)
    for encoding in wire_ladder(case.sent(), PlanConfig().steps, None):
        expected = quantised(case.sent(), encoding).astype(int)
        off = np.abs(case.wire(encoding).astype(int) - expected)
        assert off.max() <= 1
        assert np.count_nonzero(off) <= 2


def test_of_integers_only_the_order_changes() -> None:
    case = Case(INTEGERS, ORDER)
    assert np.array_equal(case.wire(FINE), integers()[:, ORDER.order])


def test_integers_as_they_are_need_no_stage() -> None:
    assert not stage_is_needed(INTEGERS, PLAIN)
    assert not quantises(INTEGERS, PLAIN)
    assert wire_spec(INTEGERS, PLAIN) == INTEGERS.spec


@pytest.mark.parametrize("case", QUANTISING)
def test_what_is_no_plain_integer_is_quantised_by_its_stage(case: Case) -> None:
    assert stage_is_needed(case.boundary, case.transform)
    assert quantises(case.boundary, case.transform)


@pytest.mark.parametrize("case", QUANTISING)
@pytest.mark.parametrize("hold", [0.6, HOLD, 2.0])
def test_a_value_within_hold_steps_of_its_symbol_keeps_it(case: Case, hold: float) -> None:
    random = np.random.default_rng(0)
    for encoding in case.ladder():
        now = case.sent()
        fresh = quantised(now, encoding)
        moved = fresh + random.integers(-3, 4, fresh.shape)
        before = moved.clip(0, encoding.levels - 1).astype(np.uint8)
        held = (before.astype(np.float32) - encoding.zero_point) * np.float32(encoding.step)
        stays = np.abs(now - held) <= np.float32(encoding.step) * np.float32(hold)
        expected = np.where(stays, before, fresh)
        assert 0 < np.count_nonzero(expected != fresh) < fresh.size
        assert np.count_nonzero(expected != before) > 0
        stuck = case.wire(encoding, None, before, hold)
        assert np.array_equal(stuck, expected)


def test_a_value_at_exactly_hold_steps_keeps_its_symbol() -> None:
    encoding = Symbols(levels=16, step=0.5, zero_point=8)
    case = Case(FLOATS, PLAIN)
    before = np.full((1, *SHAPE), 9, np.uint8)  # stands for 0.5
    at, beyond = np.float32(0.5 + 0.75 * 0.5), np.float32(0.5 + 0.76 * 0.5)
    for value, symbol in ((at, 9), (beyond, 10)):
        given = np.full((1, *SHAPE), value, np.float32)
        assert set(case.wire(encoding, given, before, 0.75).flat) == {symbol}


@pytest.mark.parametrize("case", QUANTISING)
@pytest.mark.parametrize("nothing", [0, 255])
def test_without_hold_no_symbol_sticks_whatever_came_before(case: Case, nothing: int) -> None:
    """Where there was no frame before, one element of anything stands for all."""
    garbage = np.full((1, 1, 1, 1), nothing, np.uint8)
    wire_shape = (3, *case.transform.wire_shape(SHAPE))
    whole = np.full(wire_shape, nothing, np.uint8)
    for encoding in case.ladder():
        expected = quantised(case.sent(), encoding)
        for previous in (garbage, whole):
            symbols = case.wire(encoding, None, previous)
            assert np.array_equal(symbols, expected)


@pytest.mark.parametrize("name", ["boundary", "previous", "hold", "step", "real", "sent", "fresh"])
def test_a_boundary_may_have_any_name(name: str) -> None:
    for known in (None, INTEGERS.quantisation):
        case = Case(Boundary(CUT, name, known), ROTATION)
        assert np.array_equal(case.wire(FINE), quantised(case.sent(), FINE))


@pytest.fixture(scope="module")
def stem(network: Network) -> ChainCut:
    """The first cut of the fp32 head: 8 channels behind a ReLU."""
    found = HeadGraph(network, network.model).at(branched.cut_behind(network, "stem.relu"))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def values(network: Network, stem: ChainCut) -> FloatArray:
    spec = stem.boundaries[0].tensor
    found = activations(network, (spec,), samples_of(4, 3, "some"))[spec.name]
    return found.view(np.float32)


def received(
    network: Network, cut: ChainCut, transform: Transform, symbols: UInt8Array, step: Symbols
) -> FloatArray:
    """The cut's tensor as the tail has it."""
    spec = cut.boundaries[0].tensor
    tail = tail_model(network, cut, [transform])
    nodes = nodes_between(tail.graph, [], [spec.name])
    output = spec_info(spec, network.batches)
    front = assemble(tail, nodes, tail.graph.input, [output], initialisers(tail.graph))
    scalars = np.float32(step.step), np.uint8(step.zero_point)
    return run_in_order(front, symbols, *map(np.asarray, scalars)).view(np.float32)


def test_a_tail_undoes_an_order_exactly(
    network: Network, stem: ChainCut, values: FloatArray
) -> None:
    transform = Transform(order=np.asarray([3, 1, 7, 0, 2, 6, 5, 4]))
    stage = ready_stage(stem.boundaries[0], transform)
    for encoding in wire_ladder(values, PlanConfig().steps, None):
        symbols = stage.wire(values, encoding).view(np.uint8)
        arrived = received(network, stem, transform, symbols, encoding)
        plain = quantised(values, encoding).astype(np.float32) - encoding.zero_point
        assert np.array_equal(arrived, plain * np.float32(encoding.step))


def test_a_tail_undoes_a_whole_projection_up_to_rounding(
    network: Network, stem: ChainCut, values: FloatArray
) -> None:
    """Rotations keep lengths: what rounding did to C channels is at most half a step each."""
    transform = principal(values, 1.0)
    stage = ready_stage(stem.boundaries[0], transform)
    sent = transform.forward(values)
    for encoding in wire_ladder(sent, (1 / 8, 1 / 2, 1), None):
        arrived = received(
            network, stem, transform, stage.wire(values, encoding).view(np.uint8), encoding
        )
        lengths = np.sqrt(np.square(arrived - values).sum(axis=1))
        assert lengths.max() <= encoding.step / 2 * 8**0.5 * 1.001


def test_a_tail_gives_back_what_a_bottleneck_holds(
    network: Network, stem: ChainCut, values: FloatArray
) -> None:
    transform = principal(values, 0.9)
    stage = ready_stage(stem.boundaries[0], transform)
    (encoding,) = wire_ladder(transform.forward(values), (1 / 8,), None)
    arrived = received(
        network, stem, transform, stage.wire(values, encoding).view(np.uint8), encoding
    )
    held = transform.backward(transform.forward(values))
    lengths = np.sqrt(np.square(arrived - held).sum(axis=1))
    assert lengths.max() <= encoding.step / 2 * 8**0.5 * 1.001
    assert np.abs(held - values).max() > encoding.step


def test_ids_need_no_stage_and_are_no_symbols() -> None:
    ids = Boundary(TensorSpec(name="ids", data_type="int64", shape=(128,)), "ids", None)
    assert not stage_is_needed(ids, PLAIN)
    assert not quantises(ids, PLAIN)
    assert wire_spec(ids, PLAIN) == ids.spec


@pytest.mark.parametrize("batch_axis", [None, 1])
def test_a_stage_keeps_the_batch_where_the_network_has_it(batch_axis: int | None) -> None:
    """A batch in the second dimension, as in recurrent networks, or none at all."""
    spec = TensorSpec(name="state", data_type="float32", shape=(2, 64), batch_axis=batch_axis)
    boundary = Boundary(spec, "state", None)
    values = np.random.default_rng(0).standard_normal(spec.graph_shape).astype(np.float32)
    symbols = ready_stage(boundary, PLAIN).wire(values, FINE)
    assert wire_spec(boundary, PLAIN).graph_shape == symbols.shape == spec.graph_shape
    assert np.array_equal(symbols, quantised(values, FINE))
