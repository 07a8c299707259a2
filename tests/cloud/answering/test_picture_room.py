"""Photographs of clients: their size is known before memory is taken for it."""

import asyncio
import io
import threading

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from PIL import Image
from tests.cloud.device import GUARD_S
from tests.cloud.serving import answering, listening
from tests.cloud.wire import until
from tritonclient.utils import InferenceServerException

from isthmus import Bundle, PictureError, SymbolCoder
from isthmus_cloud import ServiceConfig
from isthmus_cloud.answering import items
from isthmus_cloud.answering.items import Item
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.answering.picture_room import PictureRoom


def photograph(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_what_would_never_fit_is_refused_undecoded(
    tails: dict[str, Tail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "read_picture", None)
    item = Item(tails["input"].cut, {"picture": photograph(100, 50)}, PictureRoom(39_999))
    with pytest.raises(PictureError, match=r"takes 40000 bytes .* 39999 .*; scale the picture"):
        item.decode(SymbolCoder())


def test_what_is_no_picture_takes_no_room(tails: dict[str, Tail]) -> None:
    item = Item(tails["input"].cut, {"picture": b"RIFF1234WEBPnothing"}, PictureRoom(1))
    with pytest.raises(PictureError, match="cannot be decoded as a picture"):
        item.decode(SymbolCoder())


async def test_who_finds_no_room_waits_for_it() -> None:
    room, begun, may_end = PictureRoom(10), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with room.taken(6):
            begun.set()
            assert may_end.wait(GUARD_S)
            order.append("first")

    def second() -> None:
        assert begun.wait(GUARD_S)
        with room.taken(5):
            order.append("second")

    both = asyncio.gather(asyncio.to_thread(first), asyncio.to_thread(second))
    await until(lambda: len(room._changed._waiters) == 1)  # type: ignore[attr-defined]
    with room.taken(4):
        may_end.set()
        await asyncio.wait_for(both, GUARD_S)
    assert order == ["first", "second"]


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
