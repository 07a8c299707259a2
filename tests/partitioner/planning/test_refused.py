"""Where the runtime refuses a part there is no cut; the plan goes on, and says which and why."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.partitioner import branched
from tests.partitioner.conftest import QUICK, Planned, ignore
from tests.partitioner.networks import pictures, saved
from tests.partitioner.profiles.test_node_times import made_up
from tests.partitioner.undecided import RATE, SIZES, undecided, undecided_items
from tests.partitioner.workshop import Workshop, made_up_costs

from isthmus import ModelError, TensorSpec
from isthmus_partitioner import ModelCard, Network, SampleSets, load_model
from isthmus_partitioner.agreement.metrics import metric_for
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.values import activations
from isthmus_partitioner.planning import sizes
from isthmus_partitioner.planning.plan import Groundwork, make_plan
from isthmus_partitioner.planning.refused import require_parts, try_accepted
from isthmus_partitioner.planning.trying import Tried
from isthmus_partitioner.precision.front import Point
from isthmus_partitioner.precision.search import Precision
from isthmus_partitioner.profiles.profile import profile_of


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    path = saved(undecided(), tmp_path_factory.mktemp("undecided") / "undecided.onnx")
    return load_model(path, SIZES)


@pytest.fixture(scope="module")
def undecided_sets(network: Network) -> SampleSets:
    return SampleSets(
        fitted=undecided_items(network, 8, 1, "one"),
        held_back=undecided_items(network, 4, 3, "two"),
        evaluation=undecided_items(network, 9, 2, "three"),
    )


def planned(network: Network, sets: SampleSets, folder: Path, most: int = 4) -> Planned:
    """A plan for a slow device with fp32 heads."""
    metric = metric_for("classify", network.outputs)
    costs = made_up_costs(network, here_ms=1, slower=300)
    fp32 = Point(name="fp32", kind="fp32", fp32_groups=(), ms=1, divergence=0, agreement=1)
    model = network.model
    precision = Precision((fp32,), (fp32,), fp32, "told to", 0, None, model, 1.0, None)
    profile = profile_of(network, costs, made_up(network), "a cloud", "fp32")
    known = Groundwork(network, precision, profile, costs, sets, metric, ModelCard("undecided"))
    return Planned(make_plan(known, replace(QUICK, max_cuts=most), folder, ignore), folder)


def feed_of(network: Network) -> dict[str, object]:
    items = undecided_items(network, 1, 1, "one")
    return dict(next(items.feeds(network.inputs)))


def test_a_network_of_open_sizes_states_none_in_its_parts(network: Network) -> None:
    assert network.is_open
    shown = {spec.name: network.info(spec) for spec in network.tensors.values()}
    assert not shown["first"].type.tensor_type.HasField("shape")
    assert shown["rate"].type.tensor_type.HasField("shape")  # a scalar, as a Loop has to know
    dims = shown["picture"].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [0, 0, 0, 0]


def test_tensors_inside_can_be_looked_at_though_no_size_fits_every_branch(
    network: Network,
) -> None:
    found = activations(
        network, list(network.tensors.values()), undecided_items(network, 2, 1, "one")
    )
    assert found["picture"].shape == (2, *pictures(1).shape[1:])
    assert set(found["rate"]) == {RATE}
    assert found["first"].shape == found["second"].shape == (2, 8, 8, 8)


@pytest.mark.parametrize(
    "tensors", [("is_high", "stem.relu"), ("is_high", "first"), ("second",), ("wide.relu",)]
)
def test_such_a_network_can_be_cut_anywhere(tensors: Sequence[str], network: Network) -> None:
    cut = branched.cut_behind(network, *tensors)
    heads = {"fp32": HeadGraph(network, network.model)}
    require_parts(network, heads, feed_of(network), cut)  # type: ignore[arg-type]
    stated = replace(network, is_open=False)
    with pytest.raises(ModelError, match=r"Squeeze|LSTM"):
        require_parts(stated, heads, feed_of(network), cut)  # type: ignore[arg-type]


def test_a_plan_of_such_a_network_has_cuts_that_answer_as_the_network_does(
    network: Network, undecided_sets: SampleSets, tmp_path: Path
) -> None:
    found = planned(network, undecided_sets, tmp_path)
    measured = {candidate.cut: candidate for candidate in found.plan.candidates}
    assert measured.keys() > {"input", "local"}
    assert not [note for note in found.plan.record.notes if note.startswith("no cut at")]
    finest = [candidate.rungs[0].figures for cut, candidate in measured.items() if cut != "input"]
    assert min(figures.agreement for figures in finest) > 0.8


def test_a_tail_is_timed_with_the_value_that_it_decides_on(
    network: Network, undecided_sets: SampleSets, tmp_path: Path
) -> None:
    """Zero in its place would be the branch that nothing fits."""
    workshop = Workshop(network, undecided_sets, tmp_path)
    cut = branched.cut_behind(network, "is_high", "stem.relu")
    tried = workshop.tried([cut], workshop.heads("fp32"))
    (candidate,) = tried.candidates
    assert candidate.cut == "is_high-and-1-more"
    assert candidate.figures.tail_ms > 0


def test_where_nothing_can_be_looked_at_the_plan_is_local_or_the_input(
    network: Network, undecided_sets: SampleSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inputs_only(network: Network, specs: Sequence[TensorSpec], items: object) -> object:
        if all(spec in network.inputs for spec in specs):
            return activations(network, specs, items)  # type: ignore[arg-type]
        raise ModelError("no such rank")

    monkeypatch.setattr(sizes, "activations", inputs_only)
    found = planned(network, undecided_sets, tmp_path)
    assert {candidate.cut for candidate in found.plan.candidates} == {"input", "local"}
    notes = [note for note in found.plan.record.notes if note.startswith("no cut at")]
    assert "no cut at first: no such rank" in notes
    assert "no cut at second: no such rank" in notes


def cut(name: str) -> NetworkCut:
    spec = TensorSpec(name=name, data_type="float32", shape=(4,), batch_axis=0)
    return NetworkCut(frozenset({ord(name)}), (spec,), (), 0.5)


class Runtime:
    """Refuses cuts of these names, and these together; remembers what was tried."""

    def __init__(self, *refused: str, together: str = "none") -> None:
        self._refused, self._together = refused, set(together)
        self.tried: list[str] = []

    def check(self, one: NetworkCut) -> None:
        if one.title in self._refused:
            raise ModelError(f"{one.title} has no rank")

    def try_cuts(self, cuts: Sequence[NetworkCut]) -> Tried:
        self.tried.append("".join(one.title for one in cuts))
        for one in cuts:
            self.check(one)
        if self._together <= {one.title for one in cuts}:
            raise ModelError("not these together")
        return Tried(layout=self.tried[-1])


def test_where_nothing_is_refused_cuts_are_tried_once() -> None:
    runtime = Runtime()
    tried, notes = try_accepted(runtime.try_cuts, [cut("a"), cut("b")], runtime.check)
    assert (tried.layout, notes, runtime.tried) == ("ab", (), ["ab"])


def test_the_others_are_tried_without_a_cut_that_is_refused() -> None:
    runtime = Runtime("b")
    tried, notes = try_accepted(runtime.try_cuts, [cut("a"), cut("b"), cut("c")], runtime.check)
    assert tried.layout == "ac"
    assert notes == ("no cut at b: b has no rank",)


def test_cuts_that_do_only_alone_are_all_dropped() -> None:
    runtime = Runtime("b", together="ac")
    tried, notes = try_accepted(runtime.try_cuts, [cut("a"), cut("b"), cut("c")], runtime.check)
    assert runtime.tried == ["abc", "ac", ""]
    assert tried.layout == ""
    assert notes == (
        "no cut at b: b has no rank",
        "no cut at a: not these together",
        "no cut at c: not these together",
    )


def test_a_network_that_cannot_even_be_tried_undivided_is_refused() -> None:
    runtime = Runtime(together="")
    with pytest.raises(ModelError, match="not these together"):
        try_accepted(runtime.try_cuts, [cut("a")], runtime.check)
