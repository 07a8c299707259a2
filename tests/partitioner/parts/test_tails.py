"""Tails are paths through one network: where cuts nest they share its parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.crossings import FINE, crossing
from tests.partitioner.networks import saved, two_branches
from tests.partitioner.parts.test_segments import PLACES

from isthmus import ModelError, TensorSpec, left_to_answer
from isthmus_partitioner import Network, load_model
from isthmus_partitioner.cuts.cut import NetworkCut
from isthmus_partitioner.parts import tails
from isthmus_partitioner.parts.boundary import HeadGraph
from isthmus_partitioner.parts.build import input_cut
from isthmus_partitioner.parts.segments import tail_inputs, tail_model, whole_model
from isthmus_partitioner.parts.tails import (
    OpenTail,
    TailCut,
    part_model,
    places_behind,
    write_tails,
)
from isthmus_partitioner.parts.together import frames_of
from isthmus_partitioner.runtime import AnyArray, open_session
from isthmus_partitioner.wire.transform import Transform

Read = Callable[[onnx.ModelProto], Network]


def place(*head: int, crosses: str = "x") -> NetworkCut:
    """A place of which only the head counts, and what lies there."""
    spec = TensorSpec(name=crosses, data_type="float32", shape=(1,))
    return NetworkCut(head=frozenset(head), tensors=(spec,), answers=(), macs_share=0.0)


def behind(*cuts: NetworkCut, unjoinable: Sequence[str] = ()) -> dict[tuple[int, ...], object]:
    """By head, that of the place its part leads to."""
    found = places_behind(cuts, unjoinable)
    return {
        tuple(sorted(h)): None if c is None else tuple(sorted(c.head)) for h, c in found.items()
    }


def test_each_of_nested_places_leads_to_the_next() -> None:
    found = behind(place(0, 1, 2), place(), place(0), place(0, 1, 2, 3))
    assert found == {(): (0,), (0,): (0, 1, 2), (0, 1, 2): (0, 1, 2, 3), (0, 1, 2, 3): None}
    assert list(found) == sorted(found, key=len)


def test_a_place_beside_the_others_leads_to_the_first_that_is_behind_it() -> None:
    found = behind(place(), place(0, 1), place(0, 2), place(0, 1, 2), place(0, 1, 2, 3))
    assert found[0, 1] == found[0, 2] == (0, 1, 2)


def test_a_place_that_none_is_behind_leads_to_the_end() -> None:
    found = behind(place(), place(0, 1), place(0, 1, 2), place(3))
    assert found[3,] is None
    assert found[()] == (0, 1), "the way with the most parts"


def test_of_one_place_there_is_one_part() -> None:
    assert behind(place(0), place(0)) == {(0,): None}


def test_no_part_leads_to_where_a_batch_could_not_go_on() -> None:
    cuts = place(), place(0, crosses="folded"), place(0, 1)
    found = behind(*cuts, unjoinable=["folded"])
    assert found == {(): (0, 1), (0,): (0, 1), (0, 1): None}


class Case:
    """A network of some branches with all its tails, and frames of three items."""

    def __init__(self, folder: Path, model: onnx.ModelProto, places: Sequence[Sequence[str]]):
        (folder / "cloud").mkdir()
        self.folder = folder
        self.network = load_model(saved(model, folder / "model.onnx"))
        found = {"+".join(p): branched.cut_behind(self.network, *p) for p in places}
        inner = [crossing(self.network, cut, f"at {name}") for name, cut in found.items()]
        self.cuts = {cut.id: cut for cut in (input_cut(self.network), *inner)}
        self.files = write_tails(self.network, list(self.cuts.values()), folder)
        self.samples = branched.items(self.network, 3, 4, "some")
        self.frames = frames_of(self.network, list(self.cuts.values()), self.samples)

    def tail(self, cut: str) -> OpenTail:
        files = self.files[cut]
        return OpenTail(files, {f: open_session(self.folder / f, threads=1) for f in files})

    def graphs(self, cut: str) -> list[onnx.GraphProto]:
        return [onnx.load(self.folder / file).graph for file in self.files[cut]]

    def left(self, cut: str) -> list[str]:
        answers = self.cuts[cut].cut.answers
        return [spec.name for spec in left_to_answer(self.network.outputs, answers)]

    @property
    def feeds(self) -> list[dict[str, AnyArray]]:
        return list(self.samples.feeds(self.network.inputs))


@pytest.fixture(scope="module", params=PLACES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    build, places = PLACES[request.param]
    return Case(tmp_path_factory.mktemp("tails"), build(), places)


@pytest.fixture(scope="module", params=[name for name in PLACES if name != "mask"])
def nested(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Only of places each of which is behind the one before: ids and mask lie side by side."""
    build, places = PLACES[request.param]
    return Case(tmp_path_factory.mktemp("nested"), build(), places)


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two branches and what joins them."""
    places = (("stem.relu",), ("left.relu",), ("right.relu",), ("joined",))
    return Case(tmp_path_factory.mktemp("forked"), two_branches(), places)


def run(model: onnx.ModelProto, feed: Mapping[str, AnyArray], names: list[str]) -> list[AnyArray]:
    return open_session(model, threads=1).run(names, feed)


def test_the_parts_behind_the_input_answer_as_the_unsplit_network(case: Case) -> None:
    names = case.left("input")
    for frame, feed in zip(case.frames["input"], case.feeds, strict=True):
        found = case.tail("input").run(frame)
        wanted = run(whole_model(case.network), feed, names)
        assert all(np.allclose(found[n], v, atol=1e-6) for n, v in zip(names, wanted, strict=True))


def test_the_parts_behind_a_cut_answer_as_its_tail_in_one_piece(case: Case) -> None:
    for name, cut in case.cuts.items():
        if name == "input":
            continue
        for frame in case.frames[name]:
            found = case.tail(name).run(frame)
            for output, wanted in zip(case.left(name), in_one_piece(case, cut, frame), strict=True):
                assert np.allclose(found[output], wanted, atol=1e-6)


def in_one_piece(case: Case, cut: TailCut, frame: Mapping[str, AnyArray]) -> list[AnyArray]:
    """What the cut's tail answers as one graph, whose steps are scalars."""
    at = HeadGraph(case.network, case.network.model).at(cut.cut)
    assert at is not None
    biases = dict.fromkeys(range(len(at.boundaries)), np.full((), 1 / 4, np.float32))
    fed: dict[str, AnyArray] = {}
    for names, tensor in zip(tail_inputs(at.boundaries), cut.tensors, strict=True):
        symbols, *scales = (frame[name] for name in tensor.feeds)
        fed |= zip(names, (symbols, *(each.reshape(()) for each in scales)), strict=True)
    return run(tail_model(case.network, at, None, biases), fed, case.left(cut.id))


def test_each_part_reads_what_crossed_or_was_made_and_makes_each_tensor_once(case: Case) -> None:
    for name, cut in case.cuts.items():
        held = {feed for tensor in cut.tensors for feed in tensor.feeds}
        for graph in case.graphs(name):
            makes = {info.name for info in graph.output}
            assert {info.name for info in graph.input} <= held
            assert not makes & held or makes & held <= {s.name for s in case.network.inputs}
            held |= makes
        assert set(case.left(name)) <= held


def test_where_all_cuts_nest_no_node_of_the_network_lies_in_two_parts(nested: Case) -> None:
    """The cloud holds the network once."""
    parts = {file for files in nested.files.values() for file in files if "/tail-" in file}
    ran = [n.name for file in sorted(parts) for n in onnx.load(nested.folder / file).graph.node]
    assert sorted(ran) == sorted(node.name for node in nested.network.model.graph.node)


def test_nested_cuts_share_all_parts_behind_the_deeper_one(nested: Case) -> None:
    paths = [[f for f in files if "/tail-" in f] for files in nested.files.values()]
    longest = max(paths, key=len)
    assert len(longest) == len(nested.cuts)
    assert all(longest[-len(path) :] == path for path in paths)


def test_cuts_beside_each_other_meet_behind_both(forked: Case) -> None:
    left, right = (forked.files[f"at {name}.relu"] for name in ("left", "right"))
    joined = forked.files["at joined"]
    assert left[-1] == right[-1] == joined[-1]
    assert left[1] != right[1], "each has a part of its own first"
    stem = forked.files["at stem.relu"]
    assert stem[2:] in {left[1:], right[1:]}, "the stem's part leads to one of them"


def test_cuts_beside_each_other_answer_as_the_unsplit_network(forked: Case) -> None:
    for name in forked.cuts:
        for frame, feed in zip(forked.frames[name], forked.feeds, strict=True):
            (output,) = forked.left(name)
            (wanted,) = run(whole_model(forked.network), feed, [output])
            found = forked.tail(name).run(frame)[output]
            assert np.allclose(found, wanted, atol=0.2)
            assert name != "input" or np.allclose(found, wanted, atol=1e-6)


def test_what_a_head_has_answered_no_part_behind_it_makes(tmp_path: Path) -> None:
    build, places = PLACES["early"]
    case = Case(tmp_path, build(), places)
    makes = {n: [i.name for g in case.graphs(n) for i in g.output] for n in case.cuts}
    assert makes["input"].count("early") == makes["at stem.relu"].count("early") == 1
    assert "early" not in makes["at early"] + makes["at last.relu+early"]


def test_a_tensor_that_skips_parts_is_read_by_its_name(tmp_path: Path) -> None:
    build, places = PLACES["skip"]
    case = Case(tmp_path, build(), places)
    reads = [[info.name for info in graph.input] for graph in case.graphs("at wide")]
    assert reads[1] == ["wide"]
    assert "wide" not in reads[2] + reads[3]
    assert reads[4] == ["wide", "up"]


def test_what_crosses_as_it_is_needs_no_entry(case: Case) -> None:
    for name, cut in case.cuts.items():
        first, *rest = case.files[name]
        assert ("/entry-" in first) is bool(cut.arrivals)
        assert not [file for file in rest if "/entry-" in file]


def test_two_cuts_at_one_place_have_an_entry_each_and_the_same_parts(
    network: Network, tmp_path: Path
) -> None:
    (tmp_path / "cloud").mkdir()
    cut = branched.cut_behind(network, "stem.relu")
    order = Transform(order=np.arange(8)[::-1].copy())
    cuts = [crossing(network, cut, "plain"), crossing(network, cut, "ordered", [order])]
    files = write_tails(network, [input_cut(network), *cuts], tmp_path)
    assert files["plain"][0] != files["ordered"][0]
    assert files["plain"][1:] == files["ordered"][1:] == files["input"][1:]


def test_a_place_where_nothing_new_is_needed_has_no_part_of_its_own(network: Network) -> None:
    """A head of nodes that what is behind does not need."""
    at = branched.cut_behind(network, "stem.relu")
    same = NetworkCut(at.head | {max(at.head) + 1}, at.tensors, at.answers, at.macs_share)
    assert part_model(network, at, same) is None
    assert part_model(network, at, None) is not None


def test_a_part_that_the_runtime_refuses_leads_to_the_end(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cloud").mkdir()
    outputs = {spec.name for spec in network.outputs}

    def picky(model: onnx.ModelProto, *, threads: int) -> object:
        if not {info.name for info in model.graph.output} & outputs:
            raise ModelError("no such end")
        return open_session(model, threads=threads)

    monkeypatch.setattr(tails, "open_session", picky)
    cut = crossing(network, branched.cut_behind(network, "stem.relu"), "stem")
    files = write_tails(network, [input_cut(network), cut], tmp_path)
    assert files == {
        "input": ("cloud/tail-0.onnx",),
        "stem": ("cloud/entry-stem.onnx", "cloud/tail-1.onnx"),
    }


def test_an_entry_undoes_order_projection_and_step_and_adds_the_bias(
    network: Network, tmp_path: Path
) -> None:
    (tmp_path / "cloud").mkdir()
    cut = branched.cut_behind(network, "stem.relu")
    random = np.random.default_rng(1)
    order = Transform(order=random.permutation(8))
    basis = np.linalg.qr(random.standard_normal((8, 8)))[0][:5].astype(np.float32)
    projection = Transform(components=basis, mean=random.random(8).astype(np.float32))
    for transform in (order, projection):
        tail = crossing(network, cut, "stem", [transform])
        entry = next(iter(write_tails(network, [tail], tmp_path)["stem"]))
        symbols = random.integers(0, 256, (2, *tail.tensors[0].wire.shape), np.uint8)
        steps, zeros = np.asarray([0.5, 2.0], np.float32), np.asarray([3, 70], np.uint8)
        values: list[AnyArray] = [symbols, steps, zeros]
        feed = dict(zip(tail.tensors[0].feeds, values, strict=True))
        (found,) = open_session(tmp_path / entry, threads=1).run(["stem.relu"], feed)
        shifted = symbols.astype(np.float32) - zeros.reshape(2, 1, 1, 1)
        real = shifted * steps.reshape(2, 1, 1, 1)
        assert np.allclose(found, transform.backward(real) + 1 / 4, atol=1e-4)


def symbols_of(case: Case) -> Iterator[str]:
    """Names of what is quantised on the wire."""
    for cut in case.cuts.values():
        yield from (arrival.feeds[0] for arrival in cut.arrivals)


def test_frames_of_real_items_have_steps_of_their_own(case: Case) -> None:
    for name in set(symbols_of(case)):
        for cut, frames in case.frames.items():
            if name in frames[0] and cut != "input":
                steps = [float(frame[f"{name}/step"][0]) for frame in frames]
                assert steps[0] == FINE.step
                assert len(set(steps)) == len(frames)
