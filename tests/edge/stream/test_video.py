"""Differences, key frames and sticking, seen from the device: what is sent, and when again."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.commands import until
from tests.edge.fakes import Decoder, FakeService, frame_error, marked_answer, wide_item
from tests.reference import Reference
from tests.tinybundle import tiny_pictures
from tests.videos import moving_video, still_video
from tests.widebundle import FEATURES

from isthmus import Manifest, Symbols, open_bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Agent, AgentConfig, Chains, Stages
from isthmus_edge.device.calloff import CallOff

Result = TypeVar("Result")

PATIENT = 20.0  # seconds a test waits for what must happen
LONG = 20  # frames in which a scene is known to stand still, or not to
WINDOW = 4  # the fake service's


@pytest.fixture
def manifest(wide_bundle: Path) -> Manifest:
    return open_bundle(wide_bundle, "device").manifest


@pytest.fixture
def decoder(manifest: Manifest) -> Decoder:
    return Decoder(manifest)


@pytest.fixture
def service(decoder: Decoder) -> FakeService:
    service = FakeService()
    service.respond = decoder
    return service


@pytest.fixture
def config(wide_bundle: Path) -> AgentConfig:
    return AgentConfig(bundle=wide_bundle, cloud="127.0.0.1:1", candidate="floats", patience_ms=6e4)


@pytest.fixture
def agent(config: AgentConfig, service: FakeService) -> Iterator[Agent]:
    with Agent.open(config, transport=service) as agent:
        yield agent


class Symbolist:
    """The symbols of a picture by the plain quantiser, and how far others are from its values."""

    def __init__(self, bundle: Path) -> None:
        opened = open_bundle(bundle, "device")
        candidate = opened.manifest.candidate("floats")
        self._cut = opened.manifest.cut_of(candidate)
        self._chain, self._stages = Chains(opened, 1).of(self._cut), Stages(opened)
        (encoding,) = candidate.encodings
        assert isinstance(encoding, Symbols)
        self._encoding = encoding

    def plain(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        features = self._features(picture)
        (symbols,) = self._stages.wire(self._cut, (features,), (self._encoding,), None)
        return symbols.view(np.uint8)

    def furthest_steps(self, picture: NDArray[np.uint8], symbols: NDArray[np.generic]) -> float:
        steps = (
            self._features(picture).astype(np.float64) / self._encoding.step
            + self._encoding.zero_point
        )
        inside = steps <= self._encoding.levels - 1
        return float(np.abs(steps - symbols.astype(np.float64))[inside].max())

    def _features(self, picture: NDArray[np.uint8]) -> NDArray[np.generic]:
        return self._chain.head(wide_item(picture), self._cut.depth)[FEATURES.name]


def sizes(frames: list[pb.Frame]) -> list[int]:
    return [sum(len(payload.data) for payload in frame.payloads) for frame in frames]


def test_a_video_is_sent_as_differences_and_every_symbol_arrives(
    agent: Agent, service: FakeService, decoder: Decoder, wide_bundle: Path
) -> None:
    pictures, symbolist = moving_video(12), Symbolist(wide_bundle)
    answers = [agent.infer(wide_item(picture)) for picture in pictures]
    assert all(answer.place == "cloud" for answer in answers)
    assert [bool(frame.reference) for frame in service.frames] == [False] * 2 + [True] * 10
    for answer, picture in zip(answers, pictures, strict=True):
        (symbols,) = decoder.tensors[answer.sequence]
        np.testing.assert_array_equal(symbols, symbolist.plain(picture))
    assert max(sizes(service.frames)[2:]) < 0.6 * min(sizes(service.frames)[:2])


def test_with_video_off_every_frame_stands_for_itself(
    config: AgentConfig, service: FakeService
) -> None:
    with Agent.open(replace(config, video="off"), transport=service) as agent:
        for picture in still_video(10):
            agent.infer(wide_item(picture))
    assert [(frame.mark, frame.reference) for frame in service.frames] == [(0, 0)] * 10
    assert min(sizes(service.frames)) > 0.9 * max(sizes(service.frames))


def test_a_still_scene_makes_the_quantiser_sticky_and_its_noise_costs_next_to_nothing(
    agent: Agent, service: FakeService, decoder: Decoder, wide_bundle: Path
) -> None:
    pictures, symbolist = still_video(LONG), Symbolist(wide_bundle)
    for picture in pictures:
        agent.infer(wide_item(picture))
    received = [decoder.tensors[sequence][0] for sequence in sorted(decoder.tensors)]
    plain = [symbolist.plain(picture) for picture in pictures]
    equal = [np.array_equal(got, own) for got, own in zip(received, plain, strict=True)]
    assert all(equal[:5])
    assert not any(equal[-5:])
    for picture, symbols in zip(pictures, received, strict=True):
        assert symbolist.furthest_steps(picture, symbols) <= 0.75 + 1e-6
    not_sticky, sticky = sizes(service.frames)[4], sizes(service.frames)[-1]
    assert sticky < 0.5 * not_sticky


def test_nothing_sticks_once_the_scene_moves(
    agent: Agent, decoder: Decoder, wide_bundle: Path
) -> None:
    symbolist = Symbolist(wide_bundle)
    pictures = [*still_video(LONG), *moving_video(LONG)]
    answers = [agent.infer(wide_item(picture)) for picture in pictures]
    for answer, picture in list(zip(answers, pictures, strict=True))[-5:]:
        (symbols,) = decoder.tensors[answer.sequence]
        np.testing.assert_array_equal(symbols, symbolist.plain(picture))


def test_a_new_connection_begins_with_a_frame_that_needs_no_other(
    agent: Agent, service: FakeService, decoder: Decoder
) -> None:
    pictures = moving_video(8)
    for picture in pictures[:4]:
        agent.infer(wide_item(picture))
    assert service.frames[-1].reference > 0
    decoder.kept = None  # the memory ends with the stream
    service.hang_up()
    give_up_at = time.monotonic() + PATIENT
    while len(service.connections) < 2 or not service.connections[1].frames:
        agent.infer(wide_item(pictures[4]))
        assert time.monotonic() < give_up_at
    assert service.connections[1].frames[0].reference == 0
    assert agent.infer(wide_item(pictures[5])).place == "cloud"
    stats = agent.stats()
    assert (stats.errors, stats.pending, stats.duplicates) == (0, 0, 0)


class Gate:
    """A device that, once told to, keeps back the next piece of work when it is done."""

    def __init__(self) -> None:
        self.keep_back = False
        self.done = threading.Event()
        self.let_go = threading.Event()

    def run(
        self, kind: str, work: Callable[[], Result], call_off: CallOff | None = None
    ) -> tuple[Result, float]:
        result = work()
        if self.keep_back:
            self.keep_back = False
            self.done.set()
            assert self.let_go.wait(PATIENT), kind
        return result, 1.0


def test_a_difference_to_what_the_last_connection_held_never_goes_over_the_next(
    config: AgentConfig, service: FakeService, decoder: Decoder
) -> None:
    pictures, gate = moving_video(6), Gate()
    with Agent.open(config, pace=gate, transport=service) as agent:
        for picture in pictures[:4]:
            agent.infer(wide_item(picture))
        gate.keep_back = True
        future = agent.submit(wide_item(pictures[4]))
        assert gate.done.wait(PATIENT)
        decoder.kept = None
        service.hang_up()
        until(
            lambda: len(service.connections) == 2 and agent.stats().link_state == "up",
            "a new connection",
        )
        gate.let_go.set()
        assert future.result(PATIENT).place == "cloud"
    assert [frame.reference for frame in service.connections[1].frames] == [0]


def test_a_frame_whose_reference_the_cloud_lacks_is_sent_again_and_answered_once(
    agent: Agent, service: FakeService, decoder: Decoder, wide_bundle: Path
) -> None:
    pictures, symbolist = moving_video(8), Symbolist(wide_bundle)
    for picture in pictures[:4]:
        agent.infer(wide_item(picture))
    decoder.kept = None
    answer = agent.infer(wide_item(pictures[4]))
    refused, again = (frame for frame in service.frames if frame.sequence == answer.sequence)
    assert refused.reference > 0
    assert (again.reference, again.mark) == (0, 0)
    assert (again.candidate, again.rung) == (refused.candidate, refused.rung)
    np.testing.assert_array_equal(decoder.tensors[answer.sequence][0], symbolist.plain(pictures[4]))
    assert answer.place == "cloud"
    assert answer.payload_bytes == sum(sizes([refused, again]))
    assert [agent.infer(wide_item(picture)).place for picture in pictures[5:]] == ["cloud"] * 3
    stats = agent.stats()
    assert (stats.accepted, stats.answered_cloud, stats.duplicates) == (8, 8, 0)


def test_many_frames_in_flight_are_all_sent_again_when_the_cloud_forgets(
    agent: Agent, service: FakeService, decoder: Decoder, wide_bundle: Path
) -> None:
    pictures, symbolist = moving_video(30), Symbolist(wide_bundle)

    def forgetful(frame: pb.Frame) -> pb.CloudMessage | None:
        if frame.sequence % 5 == 0:
            decoder.kept = None
        return decoder(frame)

    service.respond = forgetful
    futures = [agent.submit(wide_item(picture)) for picture in pictures]
    answers = [future.result(PATIENT) for future in futures]
    assert {answer.place for answer in answers} == {"cloud"}
    for answer, picture in zip(answers, pictures, strict=True):
        (symbols,) = decoder.tensors[answer.sequence]
        np.testing.assert_array_equal(symbols, symbolist.plain(picture))
    assert len(service.frames) > len(pictures)
    stats = agent.stats()
    assert (stats.accepted, stats.answered_cloud, stats.duplicates) == (30, 30, 0)


def test_a_frame_that_is_sent_again_keeps_its_place_in_the_window(
    agent: Agent, service: FakeService
) -> None:
    service.respond = lambda frame: None
    pictures = tiny_pictures(WINDOW + 1)
    with ThreadPoolExecutor(len(pictures)) as callers:
        futures = [callers.submit(agent.infer, wide_item(picture)) for picture in pictures]
        until(lambda: len(service.frames) == WINDOW, "the window is full")
        refuse = frame_error(pb.ERROR_CODE_KEY_FRAME_NEEDED)
        for frame in tuple(service.frames):
            service.say(refuse(frame))
        until(lambda: len(service.frames) >= 2 * WINDOW, "all are sent again")
        agent.stats()  # a round trip through the agent's loop
        first, second = service.frames[:WINDOW], service.frames[WINDOW:]
        assert sorted(frame.sequence for frame in second) == [frame.sequence for frame in first]
        service.respond = marked_answer
        for frame in second:
            service.say(marked_answer(frame))
        assert {future.result(PATIENT).place for future in futures} == {"cloud"}


def test_a_frame_that_is_refused_twice_is_finished_on_the_device(
    agent: Agent, service: FakeService, wide_bundle: Path
) -> None:
    service.respond = frame_error(pb.ERROR_CODE_KEY_FRAME_NEEDED)
    picture = tiny_pictures(1)[0]
    answer = agent.infer(wide_item(picture))
    assert answer.place == "device"
    assert Reference(wide_bundle).is_right(answer, wide_item(picture))
    assert [frame.sequence for frame in service.frames] == [1, 1]
    assert agent.stats().answered_device == 1


def test_silence_after_the_second_sending_is_waited_for_no_longer_than_for_any_frame(
    config: AgentConfig, service: FakeService, wide_bundle: Path
) -> None:
    def respond(frame: pb.Frame) -> pb.CloudMessage | None:
        if len(service.frames) > 1:
            return None
        return frame_error(pb.ERROR_CODE_KEY_FRAME_NEEDED)(frame)

    service.respond = respond
    picture = tiny_pictures(1)[0]
    with Agent.open(replace(config, patience_ms=50.0), transport=service) as agent:
        answer = agent.infer(wide_item(picture))
        assert answer.place == "device"
        service.say(marked_answer(service.frames[-1]))
        service.respond = marked_answer
        agent.infer(wide_item(picture))
        stats = agent.stats()
    assert (stats.accepted, stats.answered_cloud + stats.answered_device) == (2, 2)


def test_a_link_that_breaks_between_the_two_sendings_costs_no_frame(
    agent: Agent, service: FakeService, wide_bundle: Path
) -> None:
    def respond(frame: pb.Frame) -> pb.CloudMessage | None:
        service.reachable = False
        service.say(frame_error(pb.ERROR_CODE_KEY_FRAME_NEEDED)(frame))
        service.hang_up()
        return None

    service.respond = respond
    picture = tiny_pictures(1)[0]
    answer = agent.infer(wide_item(picture))
    assert answer.place == "device"
    assert Reference(wide_bundle).is_right(answer, wide_item(picture))
    assert (agent.stats().answered_device, agent.stats().pending) == (1, 0)
