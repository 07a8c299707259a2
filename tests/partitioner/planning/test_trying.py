"""What is proposed is built and judged: int8 only where it gains, nested cuts in one chain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK
from tests.partitioner.networks import two_branches
from tests.partitioner.workshop import Workshop, branched_sets, made_up_costs

from isthmus import Chain
from isthmus_partitioner import Goals, Network
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.planning import trying
from isthmus_partitioner.planning.node_costs import ALL_INT8
from isthmus_partitioner.planning.plan import local_chain
from isthmus_partitioner.planning.trying import Tried
from isthmus_partitioner.runtime import open_session, run_items

Read = Callable[[onnx.ModelProto], Network]
Clock = Callable[[Mapping[str, Sequence[float]]], None]


class MadeUpTimer:
    """Says of each chain what it was told to, whatever it takes.

    Of chains that only tell what dividing costs, and were not told: that it costs nothing.
    """

    def __init__(self, times: Mapping[str, Sequence[float]]) -> None:
        self._times, self._chains = times, dict[str, int]()

    def add(self, chain: Chain, folder: Path) -> None:
        assert all((folder / segment.file).is_file() for segment in chain.segments)
        self._chains[chain.id] = len(chain.segments)

    def prefixes_ms(self, _rounds: int = 1) -> dict[str, tuple[float, ...]]:
        times = {name: self._of(name) for name in self._chains}
        assert all(len(times[name]) == count for name, count in self._chains.items())
        return {name: (0.0, *taken) for name, taken in times.items()}

    def _of(self, name: str) -> Sequence[float]:
        if name in self._times:
            return self._times[name]
        kind, *places = name.split(".")
        first = int(places[-1]) if kind == "lone" else 1
        assert kind in {"lone", "shared"}
        return [first + index for index in range(self._chains[name])]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set what chains take: the ends of their segments in ms."""

    def set_times(times: Mapping[str, Sequence[float]]) -> None:
        monkeypatch.setattr(trying, "ChainTimer", lambda _feed: MadeUpTimer(times))

    return set_times


@pytest.fixture
def shop(read: Read, tmp_path: Path) -> Workshop:
    network = read(branched.u_net())
    return Workshop(network, branched_sets(network), tmp_path)


PLACES = ("wide", "deep", "joined")


def tried(shop: Workshop, *precisions: str) -> Tried:
    cuts = [branched.cut_behind(shop.network, name) for name in PLACES]
    return shop.tried(cuts, shop.heads(*precisions))


def found(result: Tried) -> dict[str, str]:
    """The precision of each candidate."""
    assert {c.cut for c in result.candidates} == result.cuts.keys()
    return {c.id: c.precision for c in result.candidates}


def test_int8_heads_that_are_faster_are_all_that_is_built(shop: Workshop, clock: Clock) -> None:
    clock({"int8": (1, 2, 3, 4), "fp32": (2, 4, 6, 8)})
    result = tried(shop, "int8", "fp32")
    assert found(result) == {"wide": "int8", "wide-and-1-more": "int8", "joined": "int8"}
    assert {cut.chain for cut in result.cuts.values()} == {"int8"}
    assert [c.figures.edge_ms for c in result.candidates] == [1, 2, 3]


def test_an_int8_head_that_is_slower_gives_way_to_the_fp32_one(
    shop: Workshop, clock: Clock
) -> None:
    clock({"int8": (3, 5, 5.5, 7), "fp32": (2, 4, 6, 8)})
    result = tried(shop, "int8", "fp32")
    assert found(result) == {"joined": "int8", "wide-fp32": "fp32", "wide-and-1-more-fp32": "fp32"}
    edge_ms = {c.id: c.figures.edge_ms for c in result.candidates}
    assert edge_ms == {"joined": 5.5, "wide-fp32": 2, "wide-and-1-more-fp32": 4}


def test_a_device_on_which_int8_is_slower_gets_fp32_heads_though_it_is_faster_here(
    shop: Workshop, clock: Clock
) -> None:
    """What was timed here is carried over by what the device took in each precision."""
    clock({"int8": (1, 2, 3, 4), "fp32": (2, 4, 6, 8)})
    known = made_up_costs(shop.network)
    slow_int8 = {"fp32": known.here["fp32"] * 2, "int8": known.here["int8"] * 6}
    costs = replace(known, device=slow_int8)
    cuts = [branched.cut_behind(shop.network, name) for name in PLACES]
    result = shop.tried(cuts, shop.heads("int8", "fp32"), costs)
    assert set(found(result).values()) == {"fp32"}
    assert [c.figures.edge_ms for c in result.candidates] == [4, 8, 12]
    assert [(t.int8_ms, t.fp32_ms) for t in result.head_times] == [(6, 4), (12, 8), (18, 12)]


def test_a_gain_within_what_timings_repeat_to_is_none(shop: Workshop, clock: Clock) -> None:
    clock({"int8": (1.98, 3, 4, 5), "fp32": (2, 4, 6, 8)})
    assert found(tried(shop, "int8", "fp32"))["wide-fp32"] == "fp32"


def test_cuts_share_a_chain_where_dividing_the_network_costs_little(
    shop: Workshop, clock: Clock
) -> None:
    clock({"fp32": (2, 4, 6, 8)})
    result = tried(shop, "fp32")
    assert result.chains.keys() == {"fp32"}
    assert result.layout.startswith("cuts share chains: heads of a chain take +0% ")
    left = {path.name.split("-")[0] for path in (shop.folder / "device").iterdir()}
    assert left.isdisjoint({"shared.0", "lone.0.1"})


def test_each_cut_gets_a_head_of_its_own_where_dividing_costs_too_much(
    shop: Workshop, clock: Clock
) -> None:
    alone = {f"lone.0.{depth}": (depth, 9) for depth in (1, 2, 3)}
    own = {"fp32": (1, 9), "fp32.2": (2, 9), "fp32.3": (3, 9)}
    clock({"shared.0": (1.1, 2.6, 3.9, 9), **alone, **own})
    result = tried(shop, "fp32")
    assert {cut.chain for cut in result.cuts.values()} == own.keys()
    assert result.layout.startswith("each cut has a head of its own: ")


def test_both_times_of_every_head_are_noted(shop: Workshop, clock: Clock) -> None:
    clock({"int8": (3, 3.5, 5.5, 7), "fp32": (2, 4, 6, 8)})
    noted = {t.tensors: (t.int8_ms, t.fp32_ms) for t in tried(shop, "int8", "fp32").head_times}
    assert noted == {("wide",): (3, 2), ("wide", "deep"): (3.5, 4), ("joined",): (5.5, 6)}


def test_an_int8_head_that_answers_too_badly_is_tried_in_fp32_too(
    shop: Workshop, clock: Clock
) -> None:
    clock({"int8": (1, 2, 3, 4), "fp32": (2, 4, 6, 8)})
    shop.config = replace(QUICK, goals=Goals(min_agreement=0.99))
    (model,) = (head.model for head in shop.heads("int8").values())
    heads = {"int8": HeadGraph(shop.network, ruined(model)), **shop.heads("fp32")}
    cuts = [branched.cut_behind(shop.network, name) for name in PLACES]
    result = shop.tried(cuts, heads)
    assert found(result) == {
        **dict.fromkeys(("wide", "wide-and-1-more", "joined"), "int8"),
        **dict.fromkeys(("wide-fp32", "wide-and-1-more-fp32", "joined-fp32"), "fp32"),
    }


def ruined(model: onnx.ModelProto) -> onnx.ModelProto:
    """An int8 network whose first layer sees nothing."""
    bad = onnx.ModelProto()
    bad.CopyFrom(model)
    (weights,) = (t for t in bad.graph.initializer if t.name == "first.w_quantized")
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(np.zeros_like(values), weights.name))
    return bad


def test_a_device_of_integers_gets_no_fp32_head_however_slow_int8_is(
    shop: Workshop, clock: Clock
) -> None:
    clock({"int8": (30, 50, 55, 70)})
    shop.config = replace(QUICK, integer_only=True)
    assert set(found(tried(shop, "int8")).values()) == {"int8"}


def test_a_ladder_is_not_measured_far_below_the_floor(shop: Workshop, clock: Clock) -> None:
    clock({"fp32": (2, 4, 6, 8)})
    shop.config = replace(QUICK, steps=(1, 2, 4, 6, 8, 10, 12), goals=Goals(min_agreement=1.0))
    result = tried(shop, "fp32")
    for candidate in result.candidates:
        below = [rung.figures.agreement < 1.0 for rung in candidate.rungs]
        assert len(candidate.rungs) < 7
        assert not any(one and other for one, other in pairwise(below[:-1]))


def test_times_are_carried_over_to_the_device_by_the_ratio_of_the_heads_nodes(
    shop: Workshop, clock: Clock
) -> None:
    clock({"fp32": (2, 4, 6, 8)})
    costs = made_up_costs(shop.network, slower=10)
    stem = sorted(branched.cut_behind(shop.network, "wide").head)
    costs.device["fp32"][stem] *= 3  # the device is worse still at the first layer
    cuts = [branched.cut_behind(shop.network, name) for name in PLACES]
    result = shop.tried(cuts, shop.heads("fp32"), costs)
    chain = result.chains["fp32"]
    assert chain.prefix_ms[0] == 0
    assert chain.prefix_ms[1] == pytest.approx(60)
    assert chain.prefix_ms[4] == pytest.approx(8 * costs.factor("fp32"))
    assert result.wholes["fp32"].figures.edge_ms == chain.prefix_ms[4]


def test_every_chain_is_tried_as_a_whole(shop: Workshop, clock: Clock) -> None:
    clock({"int8": (1, 2, 3, 4), "fp32": (2, 4, 6, 8)})
    wholes = tried(shop, "int8", "fp32").wholes
    assert {name: c.figures.edge_ms for name, c in wholes.items()} == {"int8": 4, "fp32": 8}
    assert all(candidate.is_local for candidate in wholes.values())
    assert wholes["fp32"].figures.agreement == 1.0
    assert wholes["fp32"].figures.divergence == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("all_int8_ms", "chosen"),
    [(3.0, "all-int8"), (3.95, "int8"), (5.0, "int8")],
    ids=["faster", "as fast", "slower"],
)
def test_the_device_alone_takes_the_network_in_int8_throughout_where_that_gains_time(
    shop: Workshop, clock: Clock, all_int8_ms: float, chosen: str
) -> None:
    clock({"int8": (4,), "fp32": (8,), "all-int8": (all_int8_ms,)})
    (head,) = shop.heads("int8").values()
    result = shop.tried([], shop.heads("int8", "fp32"), wholes={ALL_INT8: head})
    assert local_chain(result, 0.0).plan.id == chosen


def test_the_network_in_int8_throughout_is_priced_by_its_own_times_on_its_own_runtime(
    shop: Workshop, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteRT makes heads much faster than here; this network's twin is unfit, so it stays ONNX."""
    clock({"int8": (4,), "fp32": (8,), "all-int8": (3,)})
    monkeypatch.setattr(trying, "chain_memory", lambda *_: (0, 10))
    known = made_up_costs(shop.network)
    costs = replace(
        known,
        device={**known.here, "int8": known.here["int8"] * 0.5, ALL_INT8: known.here[ALL_INT8] * 2},
        memory_here_bytes={"int8": 1, ALL_INT8: 1},
        memory_bytes={"int8": 1, ALL_INT8: 3},
    )
    (head,) = shop.heads("int8").values()
    result = shop.tried([], shop.heads("int8", "fp32"), costs, wholes={ALL_INT8: head})
    times = {name: chain.prefix_ms[-1] for name, chain in result.chains.items()}
    assert times == {"int8": 2, "fp32": 8, "all-int8": 6}
    assert local_chain(result, 0.0).plan.id == "int8"
    memory = {name: chain.memory_bytes[-1] for name, chain in result.chains.items()}
    assert memory == {"int8": 10, "fp32": 10, "all-int8": 30}


def test_without_cuts_there_is_one_segment_in_each_precision(shop: Workshop, clock: Clock) -> None:
    clock({"int8": (4,), "fp32": (8,)})
    result = shop.tried([], shop.heads("int8", "fp32"))
    assert (result.cuts, result.candidates) == ({}, [])
    assert {name: len(c.chain.segments) for name, c in result.chains.items()} == {
        "int8": 1,
        "fp32": 1,
    }
    assert result.input_tail_ms > 0


def test_cuts_that_do_not_nest_get_chains_of_their_own(read: Read, tmp_path: Path) -> None:
    """Left branch first, or right branch first: no order of segments serves both."""
    network = read(two_branches())
    shop = Workshop(network, branched_sets(network), tmp_path)
    names = ("stem.relu", "left.relu", "right.relu", "joined")
    cuts = [branched.cut_behind(network, name) for name in names]
    result = shop.tried(cuts, shop.heads("fp32"))
    assert {
        name: [len(at.cut.head) for at in c.plan.cuts] for name, c in result.chains.items()
    } == {
        "fp32": [len(cuts[index].head) for index in (0, 1, 3)],
        "fp32.2": [len(cuts[2].head)],
    }
    assert {cut.id: cut.chain for cut in result.cuts.values()} == {
        "stem.relu": "fp32",
        "stem.relu-and-1-more": "fp32",
        "joined": "fp32",
        "stem.relu-and-1-more-2": "fp32.2",
    }
    bundle, asked = shop.bundle(result), shop.sets.evaluation
    assert [chain.id for chain in bundle.manifest.chains] == ["fp32", "fp32.2"]
    whole = open_session(network.path, threads=1)
    reference = run_items(whole, asked.feeds(network.inputs), network.outputs)
    for name in result.cuts:
        candidate = bundle.manifest.candidate(name)
        served = bundle.serve(candidate, 0, asked)
        close = shop.metric.closeness(reference, served.answers)
        assert close.agreement == pytest.approx(candidate.rungs[0].figures.agreement)
        assert np.allclose(served.answers["answer"], reference["answer"], atol=0.1)
        finished = bundle.finish(candidate, asked)
        assert np.allclose(finished["answer"], reference["answer"], atol=1e-5)
