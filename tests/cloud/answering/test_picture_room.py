"""Photographs of clients: decoded beside the queue, in memory that is counted first."""

import asyncio
import io
import threading
import time
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from PIL import Image
from tests.cloud.device import GUARD_S, Head
from tests.cloud.gated import GatedTail
from tests.cloud.serving import answering, fake_tail, listening
from tests.cloud.wire import settled, until
from tritonclient.utils import InferenceServerException

from isthmus import Bundle, PictureError
from isthmus.picture_files import read_picture
from isthmus_cloud import (
    Answerer,
    Batching,
    Desk,
    DeskLimits,
    OverloadedError,
    ServiceConfig,
    TooLateError,
)
from isthmus_cloud.answering import picture_room
from isthmus_cloud.answering.feeds import AnyArray
from isthmus_cloud.answering.jobs import NEVER_NS
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.picture_room import THREADS, PictureRoom


def photograph(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


async def decoded(room: PictureRoom, tail: Tail, content: bytes, client: str = "one") -> AnyArray:
    arrays = await room.decoded(tail.cut, {"picture": content}, NEVER_NS, client)
    return arrays["picture"]


async def test_what_would_never_fit_is_refused_undecoded(
    tails: dict[str, Tail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_room, "read_picture", None)
    with pytest.raises(PictureError, match=r"takes 40000 bytes .* 39999 .*; scale the picture"):
        await decoded(PictureRoom(39_999), tails["input"], photograph(100, 50))


async def test_what_is_no_picture_takes_no_room(tails: dict[str, Tail]) -> None:
    with pytest.raises(PictureError, match="cannot be decoded as a picture"):
        await decoded(PictureRoom(1), tails["input"], b"RIFF1234WEBPnothing")


class Slow:
    """Pictures whose decoding waits for a word; their first byte is their name."""

    def __init__(self, patch: pytest.MonkeyPatch, size_bytes: int = 1) -> None:
        self.begun: list[str] = []
        self.places = threading.Semaphore(0)
        patch.setattr(picture_room, "decoding_bytes", lambda _: size_bytes)
        patch.setattr(picture_room, "read_picture", self._read)

    def _read(self, content: bytes, *_: int) -> AnyArray:
        self.begun.append(content.decode())
        assert self.places.acquire(timeout=GUARD_S)
        return np.zeros((1, 32, 32, 3), np.uint8)


async def test_who_finds_no_room_waits_for_it(
    tails: dict[str, Tail], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, room = Slow(monkeypatch, size_bytes=6), PictureRoom(10)
    both = asyncio.gather(*(decoded(room, tails["input"], name) for name in (b"a", b"b")))
    await until(lambda: len(room._changed._waiters) == 1)  # type: ignore[attr-defined]
    assert len(slow.begun) == 1
    slow.places.release(2)
    await asyncio.wait_for(both, GUARD_S)
    assert sorted(slow.begun) == ["a", "b"]


async def test_clients_take_turns_and_who_goes_gives_up_what_has_not_begun(
    tails: dict[str, Tail], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, room = Slow(monkeypatch), PictureRoom(100)

    def ask(name: str, client: str) -> asyncio.Task[AnyArray]:
        return asyncio.create_task(decoded(room, tails["input"], name.encode(), client))

    tasks = [ask(f"greedy {number}", "greedy") for number in range(6)]
    await until(lambda: len(slow.begun) == THREADS)
    modest = ask("modest", "modest")
    await settled()
    tasks.pop(2).cancel()
    for count in range(THREADS + 1, 7):
        slow.places.release()
        await until(lambda count=count: len(slow.begun) == count)  # type: ignore[misc]
    slow.places.release(THREADS)
    await asyncio.wait_for(asyncio.gather(modest, *tasks), GUARD_S)
    assert slow.begun[THREADS:] == ["greedy 3", "modest", "greedy 4", "greedy 5"]


async def test_a_picture_whose_deadline_is_over_is_not_decoded(
    tails: dict[str, Tail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_room, "read_picture", None)
    with pytest.raises(TooLateError, match="before it could be decoded"):
        await PictureRoom(10**6).decoded(
            tails["input"].cut, {"picture": photograph(9, 9)}, time.monotonic_ns(), "one"
        )


async def test_no_frame_waits_while_photographs_are_decoded(
    bundle: Bundle, tails: dict[str, Tail], head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one worker for all: it would be busy with the photograph."""
    slow = Slow(monkeypatch)
    with answering(bundle.manifest, tails) as answers:
        photos = [
            asyncio.create_task(answers.answerer.item({"picture": b"photo"}, NEVER_NS, "one"))
            for _ in range(16)
        ]
        await until(lambda: len(slow.begun) == THREADS)
        picture = {"picture": head.pictures[0]}
        async with asyncio.timeout(GUARD_S):
            job = await answers.answerer.item(picture, NEVER_NS, "two")
        assert job.outputs
        assert not any(photo.done() for photo in photos)
        slow.places.release(16)
        await asyncio.wait_for(asyncio.gather(*photos), GUARD_S)


async def test_no_photograph_is_decoded_for_a_queue_that_is_full(
    bundle: Bundle, gate: GatedTail, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodings = []

    def counted(*given: Any) -> AnyArray:
        decodings.append(given)
        return read_picture(*given)

    monkeypatch.setattr(picture_room, "read_picture", counted)
    photo = {"picture": photograph(40, 40)}
    with Desk(DeskLimits(max_waiting=1), Batching()) as desk:
        tails = {name: fake_tail(bundle.manifest, name, gate) for name in ("input", "cut")}
        answerer = Answerer(bundle.manifest, tails, desk)
        running = asyncio.create_task(answerer.item(photo, NEVER_NS, "one"))
        await gate.begun()
        waiting = asyncio.create_task(answerer.item(photo, NEVER_NS, "two"))
        await until(lambda: desk.waiting == 1)
        with pytest.raises(OverloadedError, match="1 frames wait, which is the most"):
            await answerer.item(photo, NEVER_NS, "three")
        desk._gauge.learn(1000.0)
        late_ns = time.monotonic_ns() + 1_000_000
        with pytest.raises(OverloadedError, match="at present, this one has"):
            await answerer.item(photo, late_ns, "four")
        assert len(decodings) == 2
        gate.open_for_good()
        await asyncio.wait_for(asyncio.gather(running, waiting), GUARD_S)


async def test_clients_are_told_which_photographs_are_too_large(
    config: ServiceConfig, bundle: Bundle, tails: dict[str, Tail]
) -> None:
    """Those that fit one after the other are all answered."""
    with answering(bundle.manifest, tails, max_bytes_in_flight=30_000) as answers:
        async with (
            listening(config, bundle, answers) as service,
            triton.InferenceServerClient(service.address) as client,
        ):
            fitting = [photograph(60, 60) for _ in range(3)]
            answer = await client.infer("tiny", pictures(fitting))
            assert answer.as_numpy("probabilities").shape == (3, 10)
            with pytest.raises(InferenceServerException, match="scale the picture down") as told:
                await client.infer("tiny", pictures([photograph(70, 70)]))
            assert "INVALID_ARGUMENT" in str(told.value.status())


def pictures(files: list[bytes]) -> list[triton.InferInput]:
    tensor = triton.InferInput("picture", [len(files)], "BYTES")
    tensor.set_data_from_numpy(np.array(files, np.object_))
    return [tensor]
