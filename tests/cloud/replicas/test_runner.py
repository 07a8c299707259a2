"""What a replica makes of a call, without Ray."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.cloud.device import Head, Truth
from tests.cloud.replicas.lines import spec_of
from tests.tinybundle import PROBABILITIES

from isthmus import Bundle, BundleError, ConfigError
from isthmus.v1 import split_pb2 as pb
from isthmus_cloud.answering.packed import Packed, Plain
from isthmus_cloud.engines.cores import Cores
from isthmus_cloud.engines.ort import OrtEngine
from isthmus_cloud.replicas import runner as runner_module
from isthmus_cloud.replicas.calls import Asked, Call, Outcome, Reply, Run, release
from isthmus_cloud.replicas.runner import Begun, Runner

CUT_OF = {"input-raw": "input", "input-jpeg-q95": "input", "cut-256": "cut", "cut-16": "cut"}


@pytest.fixture(scope="module")
def runner(bundle: Bundle) -> Iterator[Runner]:
    runner = Runner(spec_of(bundle), lambda _: None)
    yield runner
    runner.close()


def asked(frame: pb.Frame, stream: str = "", left_ms: float | None = None) -> Asked:
    is_of_film = frame.mark > 0 or frame.reference > 0
    packed = Packed(
        frame.candidate,
        frame.SerializeToString(),
        stream=stream if is_of_film else "",
        mark=frame.mark,
        reference=frame.reference,
    )
    return Asked(CUT_OF.get(frame.candidate, "cut"), packed, left_ms)


def answered(runner: Runner, *frames: Asked) -> Reply:
    begun = runner.begin(Call(list(frames)))
    reply = runner.run(begun, "here")
    runner.end(begun)
    return reply


def answer(outcome: Outcome) -> np.ndarray:
    """The only output; there was no problem."""
    assert outcome.problem is None
    return outcome.outputs[PROBABILITIES.name].array()


def problem(outcome: Outcome) -> tuple[str, str]:
    assert outcome.problem is not None
    assert not outcome.outputs
    return outcome.problem.kind, outcome.problem.text


def test_frames_of_all_candidates_are_run_as_one_batch_and_get_their_own_answers(
    runner: Runner, head: Head, bundle: Bundle
) -> None:
    frames = [head.frame(candidate, 1, place) for place, candidate in enumerate(CUT_OF)]
    reply = answered(runner, *map(asked, frames))
    assert reply.replica == "here"
    for frame, outcome in zip(frames, reply.outcomes, strict=True):
        assert np.allclose(answer(outcome), Truth(bundle).of(frame), atol=1e-6)
        assert outcome.batch == 4
        assert min(outcome.decode_ms, outcome.run_ms) > 0
    (last,) = (run for run in reply.runs if run.part == "cloud/tail-1.onnx")
    assert sorted(last.places) == [0, 1, 2, 3]
    assert {run.part for run in reply.runs} == set(runner.describe().parts)


def test_an_item_is_plain_tensors(runner: Runner, head: Head) -> None:
    tensors = {"picture": Plain.of(head.pictures[3])}
    (outcome,) = answered(runner, Asked("input", Packed(tensors=tensors))).outcomes
    assert np.allclose(answer(outcome), head.unsplit(3), atol=1e-6)


def test_what_is_wrong_costs_one_frame_each(runner: Runner, head: Head) -> None:
    right, damaged, rung, candidate = (head.frame("cut-16", place) for place in range(1, 5))
    damaged.payloads[0].data = b"damaged"
    rung.rung = 9
    candidate.candidate = "local"
    short = Plain("uint8", (1, 32, 32, 3), b"short")
    reply = answered(
        runner,
        asked(damaged),
        asked(rung),
        asked(candidate),
        Asked("no cut", Packed("cut-16", right.SerializeToString())),
        Asked("input", Packed(tensors={"picture": short})),
        asked(right, left_ms=0.0),
        asked(right, left_ms=60_000.0),
    )
    *wrong, last = reply.outcomes
    kinds, texts = zip(*map(problem, wrong), strict=True)
    assert kinds == ("wire", "wire", "wire", "model", "wire", "too late")
    words = ("'boundary'", "rung 9", "'local'", "'no cut'", "5 bytes are no uint8", "not run")
    assert all(word in text for word, text in zip(words, texts, strict=True))
    assert (last.problem, last.batch) == (None, 1)


def test_frames_of_a_film_are_decoded_in_their_order_in_and_between_calls(
    runner: Runner, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-16", 7), Truth(bundle)
    outcomes: list[Outcome] = []
    for low, high in ((1, 4), (4, 7)):
        outcomes += answered(runner, *(asked(f, "in order") for f in film[low:high])).outcomes
    for frame, outcome in zip(film[1:], outcomes, strict=True):
        assert np.allclose(answer(outcome), truth.of(frame), atol=1e-6)


def test_calls_that_run_side_by_side_are_decoded_as_they_began(
    runner: Runner, head: Head, bundle: Bundle
) -> None:
    film, truth = head.film("cut-16", 3), Truth(bundle)
    begun = [runner.begin(Call([asked(frame, "side by side")])) for frame in film[1:]]
    replies = [runner.run(each, "here") for each in reversed(begun)]
    for each in begun:
        runner.end(each)
    for frame, reply in zip(film[1:], reversed(replies), strict=True):
        assert np.allclose(answer(reply.outcomes[0]), truth.of(frame), atol=1e-6)


def test_what_overtook_what_it_refers_to_is_told_from_what_came_in_order(
    runner: Runner, head: Head
) -> None:
    key_frame, *differences = (asked(frame, "overtaken") for frame in head.film("cut-16", 5)[1:])
    assert not runner.lacks(Call([asked(head.frame("cut-16")), key_frame, *differences]))
    assert runner.lacks(Call(differences[:1]))
    answered(runner, key_frame)
    assert runner.lacks(Call([differences[1], differences[0]]))
    assert runner.lacks(Call(differences[1:]))
    runner.end(runner.begin(Call(differences[:1])))  # it has come, and is not decoded yet
    assert not runner.lacks(Call(differences[1:]))


def test_what_has_come_is_not_waited_for_although_nothing_of_it_is_kept(
    runner: Runner, head: Head
) -> None:
    film = [asked(frame, "of no use") for frame in head.film("cut-16", 5)]
    answered(runner, film[1])
    (refused,) = answered(runner, film[3]).outcomes
    assert problem(refused)[0] == "key frame needed"
    assert not runner.lacks(Call([film[4]]))
    assert not runner.lacks(Call([film[2]]))  # whose reference is older


def test_a_difference_to_what_is_not_here_asks_for_a_key_frame(runner: Runner, head: Head) -> None:
    film = head.film("cut-16", 3)
    answered(runner, asked(film[1], "one"))
    (outcome,) = answered(runner, asked(film[2], "other")).outcomes
    kind, text = problem(outcome)
    assert kind == "key frame needed"
    assert "send it again as a key frame" in text


def test_answers_that_are_too_many_for_one_reply_are_errors_of_their_frames(
    runner: Runner, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [asked(head.frame("cut-16", sequence)) for sequence in (1, 2, 3)]
    each_bytes = answer(answered(runner, frames[0]).outcomes[0]).nbytes
    monkeypatch.setattr(runner_module, "MOST_ANSWERS_BYTES", 2 * each_bytes)
    *fit, last = answered(runner, *frames).outcomes
    assert all(answer(outcome).nbytes == each_bytes for outcome in fit)
    kind, text = problem(last)
    assert (kind, "a smaller --max-batch" in text) == ("model", True)


def test_those_that_join_may_be_more_than_pays_here(bundle: Bundle, head: Head) -> None:
    """A front end goes by what one replica has measured."""
    runner = Runner(msgspec.structs.replace(spec_of(bundle), max_batch=2), lambda _: None)
    frames = [head.frame("input-raw"), *(head.frame("cut-16", 1, place) for place in range(3))]
    reply = answered(runner, *map(asked, frames))
    for frame, outcome in zip(frames, reply.outcomes, strict=True):
        assert np.allclose(answer(outcome), Truth(bundle).of(frame), atol=1e-6)
    assert [run.places for run in reply.runs if run.part == "cloud/tail-1.onnx"] == [[0, 1], [2, 3]]


class Closing(OrtEngine):
    """Notes when it is closed."""

    def __init__(self, closed: list[str]) -> None:
        super().__init__(Cores(1))
        self._closed = closed

    def close(self) -> None:
        self._closed.append("closed")
        super().close()


def test_it_is_closed_when_the_last_call_has_let_go_of_it(
    bundle: Bundle, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by `__del__`, which Ray calls of a model while calls of it run."""
    closed: list[str] = []
    monkeypatch.setattr(runner_module, "open_engine", lambda *_: Closing(closed))
    runner = Runner(spec_of(bundle), lambda _: None)
    begun = runner.begin(Call([asked(head.frame("cut-16"))]))
    run = partial(runner.run, begun, "here")
    assert not hasattr(runner, "__del__")
    del runner
    assert (run().outcomes[0].problem, closed) == (None, [])
    del run
    assert closed == ["closed"]


def test_a_replica_of_some_tails_knows_no_others(bundle: Bundle, head: Head) -> None:
    runner = Runner(spec_of(bundle, cuts=("cut",)), lambda _: None)
    reply = answered(runner, asked(head.frame("input-raw")), asked(head.frame("cut-16")))
    assert problem(reply.outcomes[0]) == ("model", "this replica has no tail of 'input'")
    assert reply.outcomes[1].problem is None
    assert set(runner.describe().parts) == {"cloud/entry-cut.onnx", "cloud/tail-1.onnx"}


def test_it_says_what_front_ends_have_to_know(runner: Runner) -> None:
    described = runner.describe()
    assert (described.release, described.provider) == (release(), "CPUExecutionProvider")
    last = described.parts["cloud/tail-1.onnx"]
    assert (last.inputs, last.outputs) == ({"relu_0": "tensor(float)"}, ("probabilities",))
    assert len(last.measured) == len(last.took_ms) > 0


def test_another_bundle_than_the_services_is_refused_with_both_fingerprints(
    bundle: Bundle, other_bundle: Path
) -> None:
    spec = msgspec.structs.replace(spec_of(bundle), path=str(other_bundle))
    with pytest.raises(BundleError, match=f"the service has {bundle.fingerprint[:12]}; give all"):
        Runner(spec, lambda _: None)


def test_another_release_is_refused(bundle: Bundle) -> None:
    spec = msgspec.structs.replace(spec_of(bundle), release="0.0.1")
    with pytest.raises(ConfigError, match=f"runs Isthmus {release()}, Isthmus 0.0.1 is asked for"):
        Runner(spec, lambda _: None)


def test_an_engine_that_is_none_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="engine is 'abacus'"):
        Runner(msgspec.structs.replace(spec_of(bundle), engine="abacus"), lambda _: None)


def test_it_knows_for_how_long_its_oldest_call_has_been_running(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, seen_s = [100.0], []

    class Slow(Runner):
        def _run(self, begun: Begun) -> list[Run]:
            now_s[0] += 70.0
            seen_s.append(self.longest_s())
            return []

    runner = Slow(spec_of(bundle), lambda _: None)
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    runner.run(Begun(Call([])), "here")
    assert (seen_s, runner.longest_s()) == ([70.0], 0.0)
