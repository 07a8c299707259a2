"""Cuts are proposed where a forecast of them is best at some bandwidth."""

from collections.abc import Callable, Mapping, Sequence

import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import ignore
from tests.partitioner.workshop import branched_sets, made_up_costs

from isthmus_partitioner import Network, SampleSets
from isthmus_partitioner.cuts.network_dag import network_dag
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.planning import propose
from isthmus_partitioner.planning.envelope import Offer
from isthmus_partitioner.planning.node_costs import NodeCosts
from isthmus_partitioner.planning.probe import PROBED_STEPS, Probe
from isthmus_partitioner.planning.propose import Forecast, Proposer, best_at, widest
from isthmus_partitioner.planning.sizes import tensor_sizes
from isthmus_partitioner.precision.search import Precision

Read = Callable[[onnx.ModelProto], Network]
LOCAL = Offer("local", 1000.0, 0, 0)
RAW = Offer("input-raw", 0.0, 3072, 10.0)


class Told(Probe):
    """Says of each cut the step that it was told to."""

    def __init__(self, steps: Callable[[ChainCut], float]) -> None:
        self._steps = steps

    def step(self, cut: ChainCut) -> float:
        return self._steps(cut)


COARSE = Told(lambda _: 1.0)


def proposer(
    network: Network, sets: SampleSets, int8: onnx.ModelProto | None = None, cloud: float = 0.01
) -> Proposer:
    places = network_dag(network)
    known = {spec.name: spec for spec in network.inputs} | dict(network.tensors)
    tensors = [known[tensor.name] for tensor in places.dag.tensors if tensor.is_cuttable]
    sizes, _ = tensor_sizes(network, tensors, sets.fitted, PROBED_STEPS, ignore)
    heads = {} if int8 is None else {"int8": HeadGraph(network, int8)}
    heads["fp32"] = HeadGraph(network, network.model)
    return Proposer(network, places, heads, made_up_costs(network, cloud=cloud), sizes, 0)


@pytest.fixture(scope="module")
def known(network: Network, sets: SampleSets, quantised: Precision) -> Proposer:
    return proposer(network, sets, quantised.int8)


def names(
    found: tuple[Sequence[object], Sequence[Forecast]], forecasts: bool = False
) -> list[tuple[str, ...]]:
    cuts, foreseen = found
    if forecasts:
        return [forecast.tensors for forecast in foreseen]
    return [tuple(spec.name for spec in cut.tensors) for cut in cuts]  # type: ignore[attr-defined]


def test_every_cut_is_foreseen_in_every_precision_and_at_every_step(known: Proposer) -> None:
    _, forecasts = known.propose([LOCAL, RAW], 2, 0.0, COARSE)
    by_key: dict[str, list[Forecast]] = {}
    for forecast in forecasts:
        by_key.setdefault(f"{forecast.precision}:{forecast.key}", []).append(forecast)
    assert {"int8:stem.relu", "fp32:stem.relu", "fp32:sum"} <= by_key.keys()
    for own in by_key.values():
        assert [forecast.step for forecast in own] == list(PROBED_STEPS)
        sizes = [forecast.payload_bytes for forecast in own]
        assert sizes == sorted(sizes, reverse=True)
        assert len({(f.edge_ms, f.tail_ms, f.macs_share) for f in own}) == 1


def test_where_an_early_cut_saves_nearly_everything_it_is_proposed(known: Proposer) -> None:
    assert ("stem.relu",) in names(known.propose([LOCAL, RAW], 2, 0.0, COARSE))


def test_no_more_cuts_are_proposed_than_were_asked_for(known: Proposer) -> None:
    for most in (0, 1, 2):
        found = names(known.propose([LOCAL, RAW], most, 0.0, COARSE))
        assert min(most, 1) <= len(found) <= most


def test_cuts_come_the_shallowest_first(known: Proposer) -> None:
    cuts, _ = known.propose([LOCAL, RAW], 5, 0.0, COARSE)
    depths = [len(cut.head) for cut in cuts]
    assert depths == sorted(set(depths))


def test_where_a_rival_is_better_everywhere_only_the_nearest_cuts_are_proposed(
    known: Proposer,
) -> None:
    free = Offer("free", 0.01, 0, 0)
    assert len(names(known.propose([LOCAL, free], 5, 0.0, COARSE))) == 2  # to show what it costs
    assert names(known.propose([LOCAL, free], 0, 0.0, COARSE)) == []


def test_nothing_shallower_than_allowed_may_leave_the_device(known: Proposer) -> None:
    cuts, forecasts = known.propose([LOCAL], 5, 0.5, COARSE)
    assert all(cut.macs_share >= 0.5 for cut in cuts)
    assert forecasts
    assert all(forecast.macs_share >= 0.5 for forecast in forecasts)


def test_cuts_are_judged_at_the_step_that_each_of_them_needs(
    known: Proposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe says 1/8 for `stem.relu`; at a coarser step its bytes would flatter it."""
    judged: dict[str, Offer] = {}

    def watched(rivals: Sequence[Offer], offers: Mapping[str, Offer], most: int) -> set[str]:
        judged.clear()
        judged.update(offers)
        return best_at(rivals, offers, most)

    monkeypatch.setattr(propose, "best_at", watched)
    told = Told(lambda cut: 1 / 8 if cut.boundaries[0].tensor.name == "stem.relu" else 1 / 2)
    _, forecasts = known.propose([LOCAL, RAW], 2, 0.0, told)
    assert "stem.relu" in judged
    for name, offer in judged.items():
        step = 1 / 8 if name == "stem.relu" else 1 / 2
        sizes = {f.payload_bytes for f in forecasts if f.key == name and f.step == step}
        assert offer.payload_bytes in sizes


def test_two_small_tensors_are_proposed_where_a_lone_one_is_large(read: Read) -> None:
    """`stem.relu` is larger than the picture, and behind `joined` little work is left."""
    network = read(branched.fork())
    cuts = proposer(network, branched_sets(network)).propose([LOCAL, RAW], 2, 0.0, COARSE)
    assert ("one", "two") in names(cuts)


def test_the_best_are_those_that_win_somewhere_and_else_those_that_come_nearest() -> None:
    local, good = Offer("local", 100, 0, 0), Offer("good", 10, 5_000, 1)
    bad, worse = Offer("bad", 110, 5_000, 1), Offer("worse", 500, 50_000, 1)

    def best(most: int, *offers: Offer) -> set[str]:
        return best_at([local], {offer.id: offer for offer in offers}, most)

    assert best(1, good, worse) == {"good"}
    assert best(5, bad, worse) == {"bad", "worse"}
    assert best(1, bad, worse) == {"bad"}
    assert best(5, good, bad, worse) == {"good", "bad"}
    assert best(0, good, bad) == set()


def test_the_widest_ranges_of_bandwidth_come_first() -> None:
    local, early, late = (
        Offer("local", 100, 0, 0),
        Offer("early", 10, 20_000, 1),
        Offer("late", 60, 5_000, 1),
    )
    assert widest([[local, early, late]], {"early", "late"}, 1) == {"early"}
    assert widest([[local, early, late]], {"early", "late"}, 2) == {"early", "late"}
    assert widest([[local, late]], {"early", "late"}, 2) == {"late"}


def test_node_costs_tell_heads_and_tails_apart(network: Network) -> None:
    costs: NodeCosts = made_up_costs(network, slower=4)
    cut = branched.cut_behind(network, "sum")
    assert costs.factor("fp32") == pytest.approx(4)
    assert costs.factor("fp32", cut.head) == pytest.approx(4)
    head, rest = costs.device_ms("fp32", cut.head), costs.cloud_ms(cut.head)
    assert head / 4 + rest / 0.01 == pytest.approx(1000)
