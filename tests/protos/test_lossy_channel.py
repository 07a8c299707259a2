"""A channel that loses, repeats and reorders frames: each is decoded exactly or asked for again."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from isthmus import (
    Candidate,
    FrameEncoder,
    Kept,
    KeyFrameNeededError,
    Lossless,
    Raw,
    SymbolCoder,
    Symbols,
    decode_frame,
)
from isthmus.tables import Requantiser
from isthmus.v1 import split_pb2 as pb
from isthmus_bench.fuzz.cases import (
    SOURCE,
    AnyArray,
    candidate_of,
    cut_of,
    plain,
    quantised,
    same,
    staged,
    symbols,
)


@dataclass(frozen=True, slots=True)
class Travelling:
    """A frame under way, what has to come out of it, and what it was made of."""

    message: bytes
    expected: tuple[AnyArray, ...]
    candidate: Candidate
    rung: int
    tensors: tuple[AnyArray, ...]


TRIO = cut_of(staged(4, 5, 5, name="a"), quantised(3, 6, 5, name="b"), plain("int64", 4, name="c"))
TRIO_CANDIDATES = (
    candidate_of(
        [symbols(256, "left"), symbols(256), Lossless()],
        [symbols(16, "up"), symbols(16), Raw()],
        name="one",
    ),
    candidate_of([symbols(16), symbols(16, "left"), Lossless()], name="two"),
)


class LossyChannel(RuleBasedStateMachine):
    """A device and a cloud with a channel between them that loses, repeats and reorders.

    The service answers a missing reference with KEY_FRAME_NEEDED, and the device sends the same
    frame again, alone, while later ones are under way already.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.coder = FrameEncoder(video=True), SymbolCoder()
        self.kept: Kept | None = None
        self.channel: deque[Travelling] = deque()
        self.random = np.random.default_rng(5)
        self.scene = self._fresh_scene()

    def _fresh_scene(self) -> tuple[AnyArray, ...]:
        return (
            self.random.integers(0, 16, (1, 4, 5, 5), np.uint8),
            self.random.integers(0, 256, (1, 3, 6, 5), np.uint8),
            self.random.integers(0, 9, (1, 4), np.int64),
        )

    @rule(amount=st.sampled_from([0, 0, 0, 1, 2, 60]))
    def scene_moves(self, amount: int) -> None:
        hidden, table, ids = self.scene
        moved = self.random.random(hidden.shape) < amount / 100
        hidden = np.where(moved, self.random.integers(0, 16, hidden.shape, np.uint8), hidden)
        shift = self.random.integers(-amount, amount + 1, table.shape)
        table = np.clip(table.astype(int) + shift, 0, 255).astype(np.uint8)
        self.scene = (hidden, table, ids)

    @rule(which=st.sampled_from([(0, 0), (0, 0), (0, 0), (0, 1), (1, 0)]), count=st.integers(1, 9))
    def device_sends(self, which: tuple[int, int], count: int) -> None:
        for _ in range(count):
            self._send(TRIO_CANDIDATES[which[0]], which[1], self.scene)
            self.scene_moves(1)

    def _send(
        self, candidate: Candidate, rung: int, tensors: tuple[AnyArray, ...], alone: bool = False
    ) -> None:
        held = None if alone else self.encoder.held(candidate, rung)
        encoding = candidate.rungs[rung].encodings[1]
        assert isinstance(encoding, Symbols)
        requantiser = Requantiser(SOURCE, encoding)
        integers = tensors[1].view(np.uint8)
        table = (
            requantiser.symbols(integers)
            if held is None
            else requantiser.sticky(integers, held.symbols[1], held.hold)
        )
        frame = self.encoder.encode(candidate, TRIO, rung, tensors, alone=alone)
        expected = (tensors[0], table, tensors[2])
        message = frame.SerializeToString()
        self.channel.append(Travelling(message, expected, candidate, rung, tensors))

    @rule()
    def frame_is_lost(self) -> None:
        if self.channel:
            self.channel.popleft()

    @rule()
    def frame_comes_twice(self) -> None:
        if self.channel:
            self.channel.appendleft(self.channel[0])

    @rule(by=st.integers(1, 4))
    def frames_change_places(self, by: int) -> None:
        self.channel.rotate(by)

    @rule(count=st.integers(1, 20))
    def cloud_receives(self, count: int) -> None:
        for _ in range(min(count, len(self.channel))):
            self._receive(self.channel.popleft())

    def _receive(self, item: Travelling) -> None:
        frame = pb.Frame.FromString(item.message)
        try:
            tensors, self.kept = decode_frame(frame, item.candidate, TRIO, self.coder, self.kept)
        except KeyFrameNeededError:
            assert frame.reference
            self._send(item.candidate, item.rung, item.tensors, alone=True)
            return
        for got, expected in zip(tensors, item.expected, strict=True):
            assert same(got, expected)

    @rule()
    def cloud_loses_its_memory(self) -> None:
        self.kept = None

    @rule()
    def device_connects_anew(self) -> None:
        self.channel.clear()
        self.kept = None
        self.encoder.forget()

    @invariant()
    def a_frame_sent_alone_is_always_understood(self) -> None:
        if not self.channel:
            return
        item = self.channel[-1]
        frame = pb.Frame.FromString(item.message)
        if not frame.reference:
            tensors, _ = decode_frame(frame, item.candidate, TRIO, self.coder, None)
            assert all(map(same, tensors, item.expected))


TestLossyChannel = LossyChannel.TestCase
TestLossyChannel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
