"""A probe finds the coarsest step that a cut's answers bear."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from tests.partitioner import branched
from tests.partitioner.networks import Builder

from isthmus import ModelError
from isthmus_partitioner import Network
from isthmus_partitioner.agreement.metrics import Closeness, Metric, metric_for
from isthmus_partitioner.parts.boundary import ChainCut, HeadGraph
from isthmus_partitioner.planning import probe as probing
from isthmus_partitioner.planning.probe import PROBED_STEPS, Probe

Read = Callable[[onnx.ModelProto], Network]


def weighed(gain: float) -> onnx.ModelProto:
    """Logits grow by `gain` behind `stem.relu`: what was rounded there does, too."""
    build = Builder()
    stem = build.op("Relu", [build.conv(build.picture(), "stem", (3, 8), stride=4)], "stem.relu")
    build.conv(stem, "last", (8, 12), stride=2)
    build.op("Mul", ["last", build.constant("gain", np.asarray(gain, np.float32))], "louder")
    build.classes("louder", 12)
    return build.model()


def at(network: Network, *tensors: str) -> ChainCut:
    head = HeadGraph(network, network.model)
    found = head.at(branched.cut_behind(network, *tensors))
    assert found is not None
    return found


def step(network: Network, most: float, *tensors: str, metric: Metric | None = None) -> float:
    judge = metric or metric_for("classify", network.outputs[-1:])
    probe = Probe(network, branched.items(network, 6, 5, "held back"), judge, most)
    found = probe.step(at(network, *tensors))
    assert found is not None
    assert not probe.refused
    return found


def test_a_cut_that_needs_a_finer_step_gets_one(read: Read) -> None:
    gentle, steep = (step(read(weighed(gain)), 0.01, "stem.relu") for gain in (0.1, 3.0))
    assert gentle == max(PROBED_STEPS)
    assert min(PROBED_STEPS) <= steep < gentle


def test_the_coarsest_step_is_enough_where_anything_is_allowed(read: Read) -> None:
    assert step(read(weighed(30.0)), 100.0, "stem.relu") == max(PROBED_STEPS)


def test_where_no_step_is_fine_enough_the_finest_is_the_answer(read: Read) -> None:
    assert step(read(weighed(30.0)), 1e-12, "stem.relu") == min(PROBED_STEPS)


class Counting:
    """Refuses the first `bad` answers that it sees."""

    name = "counted"

    def __init__(self, bad: int) -> None:
        self.seen, self._bad = 0, bad

    def closeness(
        self, reference: object, answers: object, sources: Sequence[str] = ()
    ) -> Closeness:
        self.seen += 1
        return Closeness(1.0, 1.0, 1.0, divergence=float(self.seen <= self._bad))


@pytest.mark.parametrize("bad", range(len(PROBED_STEPS)))
def test_steps_are_tried_from_the_coarsest_on_until_one_is_fine_enough(
    bad: int, read: Read
) -> None:
    metric = Counting(bad)
    found = step(read(weighed(1.0)), 0.5, "stem.relu", metric=metric)
    assert found == PROBED_STEPS[-1 - bad]
    assert metric.seen == bad + 1


@pytest.mark.parametrize(
    ("build", "tensors"),
    [
        (branched.u_net, ("deep",)),
        (branched.with_gain, ("stem.relu",)),
        (branched.masked, ("hidden", "is_there")),
        (branched.passing_through, ("features",)),
        (branched.with_early_answer, ("stem.relu", "early")),
    ],
)
def test_cuts_of_any_kind_can_be_probed(
    build: Callable[[], onnx.ModelProto], tensors: Sequence[str], read: Read
) -> None:
    assert step(read(build()), 100.0, *tensors) == max(PROBED_STEPS)


@pytest.mark.parametrize("task", ["classify", "tensor"])
def test_a_metric_may_look_at_what_the_head_has_answered(task: str, read: Read) -> None:
    network = read(branched.with_early_answer())
    metric = metric_for(task, network.outputs)  # type: ignore[arg-type]
    assert step(network, 100.0, "stem.relu", "early", metric=metric) == max(PROBED_STEPS)


def test_a_cut_whose_tail_is_refused_has_no_step_but_a_reason(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = read(branched.u_net())
    held_back = branched.items(network, 4, 5, "held back")
    probe = Probe(network, held_back, metric_for("classify", network.outputs), 100.0)
    monkeypatch.setattr(probing, "open_session", refuse)
    assert probe.step(at(network, "deep")) is None
    assert list(probe.refused.items()) == [("wide + deep", "no such rank")]


def refuse(*_: object, **__: object) -> object:
    """A runtime that takes nothing."""
    raise ModelError("no such rank")
