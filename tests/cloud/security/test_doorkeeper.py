"""Who calls is asked before the message is read, whatever kind of call it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from tests.cloud.device import GUARD_S
from tests.cloud.security.loris import Loris
from tests.cloud.security.probe import bearer
from tests.cloud.wire import until

from isthmus_cloud import ServiceConfig
from isthmus_cloud.faces import doorkeeper
from isthmus_cloud.faces.binding import bind, connection_options
from isthmus_cloud.faces.doorkeeper import INFERENCES, OPEN, STREAM, Doorkeeper
from isthmus_cloud.faces.reading import MessageSizes
from isthmus_cloud.security import Guard, OpenDoor, TokenGuard, calls
from isthmus_cloud.security.tokens import Entry, Token, digest_of, new_token

SECRET, OTHER = new_token(), new_token()
DETAIL = "the inside of the service"
PROBE = "/grpc.health.v1.Health/Check"
SIZES = MessageSizes(most=4 * 1024 * 1024, frame=lambda: 4 * 1024 * 1024)
LARGE = bytes(1024 * 1024)  # no caller that does not read takes so much
_INFERRING = ("ModelInfer", "ModelStreamInfer")
KINDS = ("unary", "told", "written", "counted", "echoed", "talked")

Context = grpc.aio.ServicerContext[bytes, bytes]


class Face:
    """A method of each kind; `called` names those that were reached."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.gives_up = asyncio.Event()
        self._news = asyncio.Event()
        self._writing: list[asyncio.Task[None]] = []

    async def unary(self, request: bytes, _: Context) -> bytes:
        self.called.append("unary")
        if request == b"fail":
            raise RuntimeError(DETAIL)
        return request

    async def told(self, request: bytes, _: Context) -> AsyncIterator[bytes]:
        self.called.append("told")
        for _again in range(2):
            yield request

    async def written(self, request: bytes, context: Context) -> None:
        self.called.append("written")
        for _again in range(2):
            await context.write(request)

    async def counted(self, requests: AsyncIterator[bytes], _: Context) -> bytes:
        self.called.append("counted")
        return b"".join([request async for request in requests])

    async def echoed(self, requests: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        self.called.append("echoed")
        async for request in requests:
            yield request

    async def talked(self, requests: AsyncIterator[bytes], context: Context) -> None:
        self.called.append("talked")
        async for request in requests:
            await context.write(request)

    async def stream(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """As the stream of frames of a device that reads nothing."""
        await context.write(b"welcome")
        writing = asyncio.create_task(context.write(LARGE))
        self._writing.append(writing)
        self._news.set()
        await self.gives_up.wait()
        writing.cancel()

    async def stuck(self, count: int) -> None:
        """So many streams are being written to."""
        async with asyncio.timeout(GUARD_S):
            while len(self._writing) < count:
                self._news.clear()
                await self._news.wait()

    def handler(self) -> grpc.GenericRpcHandler:
        made: dict[str, Any] = {
            "unary": grpc.unary_unary_rpc_method_handler(self.unary, request_deserializer=_read),
            "told": grpc.unary_stream_rpc_method_handler(self.told),
            "written": grpc.unary_stream_rpc_method_handler(self.written),
            "counted": grpc.stream_unary_rpc_method_handler(self.counted),
            "echoed": grpc.stream_stream_rpc_method_handler(self.echoed),
            "talked": grpc.stream_stream_rpc_method_handler(self.talked),
        }
        return grpc.method_handlers_generic_handler("f", made)


def _read(data: bytes) -> bytes:
    if data == b"garbage":
        raise DecodeError(DETAIL)
    return data


class Served:
    """The face behind a doorkeeper; `refused` holds who was sent away, and why."""

    def __init__(self, face: Face, guard: Guard, config: ServiceConfig) -> None:
        self.address = ""
        self.face = face
        self.refused: list[tuple[str, str]] = []
        self.keeper = Doorkeeper(guard, config, self._refused, SIZES)

    @property
    def under_way(self) -> int:
        """Calls that are counted now, of all identities."""
        return sum(self.keeper._calls._under_way.values())

    def _refused(self, identity: str, why: str, _peer: str) -> None:
        self.refused.append((identity, why))


@asynccontextmanager
async def serving(guard: Guard, config: ServiceConfig) -> AsyncIterator[Served]:
    served = Served(Face(), guard, config)
    server = grpc.aio.server(options=connection_options(config), interceptors=(served.keeper,))
    server.add_generic_rpc_handlers((served.face.handler(), *_elsewhere(served.face)))
    served.address = bind(server, config)
    await server.start()
    try:
        yield served
    finally:
        await server.stop(0)


def _elsewhere(face: Face) -> list[grpc.GenericRpcHandler]:
    """Methods that the doorkeeper knows by name."""
    unary: Any = grpc.unary_unary_rpc_method_handler(face.unary)
    stream: Any = grpc.stream_stream_rpc_method_handler(face.stream)
    methods = {PROBE: unary, STREAM: stream} | dict.fromkeys(INFERENCES, unary)
    return [
        grpc.method_handlers_generic_handler(service[1:], {method: handler})
        for (service, _, method), handler in (
            (path.rpartition("/"), handler) for path, handler in methods.items()
        )
    ]


@pytest.fixture
def guard() -> TokenGuard:
    guard = TokenGuard()
    secrets = {"camera": SECRET, "other": OTHER}
    guard.use(
        [
            Entry(name=name, tokens=(Token(sha256=digest_of(each)),))
            for name, each in secrets.items()
        ]
    )
    return guard


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """The most calls that an identity may have here."""
    monkeypatch.setattr(calls, "MOST_EACH", {"calls": 2, "inferences": 4})
    return 2


async def call(address: str, method: str, token: str = SECRET, message: bytes = b"x") -> Any:
    """What comes back of one or two messages: bytes, or the status. A stream says nothing where
    `message` is empty: grpc.aio's client may forget the status if it comes while it writes."""
    kind = method.rpartition("/")[2]
    takes_stream = kind in {"counted", "echoed", "talked", "Stream"}
    gives_stream = kind in {"told", "written", "echoed", "talked", "Stream"}
    shape = f"{'stream' if takes_stream else 'unary'}_{'stream' if gives_stream else 'unary'}"
    async with grpc.aio.insecure_channel(address) as channel:
        multicallable: Any = getattr(channel, shape)(method if "/" in method else f"/f/{method}")
        asked = multicallable(
            _twice(message) if takes_stream else message,
            metadata=tuple(bearer(token)),
            timeout=GUARD_S,
        )
        try:
            if gives_stream:
                return b"".join([each async for each in asked])
            return await asked
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_call_works_as_before(
    guard: TokenGuard, plain: ServiceConfig, kind: str
) -> None:
    async with serving(guard, plain) as served:
        assert await call(served.address, kind) == (b"x" if kind == "unary" else b"xx")
    assert served.face.called == [kind]
    assert served.refused == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stranger_reaches_no_method(
    guard: TokenGuard, plain: ServiceConfig, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(guard, plain) as served:
        code, text = await call(served.address, kind, new_token(), message=b"")
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "not valid here" in text
    assert served.face.called == []
    assert served.refused == [("", "token")]
    assert caplog.messages == []  # it is no failure of the service


async def test_a_method_that_is_not_there_is_none(guard: TokenGuard, plain: ServiceConfig) -> None:
    async with serving(guard, plain) as served:
        code, _ = await call(served.address, "/f/nothing")
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_waits_for_the_message_of_a_stranger(
    guard: TokenGuard, plain: ServiceConfig, kind: str
) -> None:
    """Its half message would hold a place among the calls, and its memory, for ever."""
    async with serving(guard, plain) as served, asyncio.timeout(GUARD_S):
        loris = await Loris.arrived(served.address, f"/f/{kind}")
        status, sent = await loris.drip(10_000)
        loris.leave()
    assert status == "16"
    assert sent < 500
    assert served.face.called == []


async def test_the_message_of_a_friend_is_not_waited_for_without_end(
    guard: TokenGuard, plain: ServiceConfig
) -> None:
    hasty = replace(plain, idle_s=1)
    async with serving(guard, hasty) as served, asyncio.timeout(GUARD_S):
        loris = await Loris.arrived(served.address, "/f/unary", *_strings(SECRET))
        status, _ = await loris.drip(10_000)
        loris.leave()
    assert status == "4"
    assert served.face.called == []


@pytest.mark.parametrize("kind", ["unary", "told", "written"])
async def test_an_identity_that_stalls_leaves_places_for_others(
    guard: TokenGuard, plain: ServiceConfig, few: int, kind: str
) -> None:
    """Calls whose message never comes, of whatever kind, are counted together."""
    async with serving(guard, plain) as served, AsyncExitStack() as left:
        stalling = await _stalling(served.address, f"/f/{kind}", few, left)
        await until(lambda: served.under_way == few)
        told = await call(served.address, "unary")
        assert told[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert told[1] == f"camera has {few} calls under way, which is the most it may have"
        assert served.refused[-1] == ("camera", "calls")
        assert await call(served.address, "unary", OTHER) == b"x"
        for each in stalling:
            each.leave()
        await until(lambda: served.under_way == 0)
        assert await call(served.address, "unary") == b"x"


async def test_who_asks_for_answers_may_have_more_calls(
    guard: TokenGuard, plain: ServiceConfig, few: int
) -> None:
    assert {f"/inference.GRPCInferenceService/{each}" for each in _INFERRING} == INFERENCES
    async with serving(guard, plain) as served, AsyncExitStack() as left:
        for method in INFERENCES:
            await _stalling(served.address, method, few, left)
        assert await call(served.address, "unary") == b"x"


async def test_streams_of_frames_are_counted_only_when_nobody_takes_their_end(
    guard: TokenGuard, plain: ServiceConfig, few: int
) -> None:
    async with serving(guard, plain) as served, AsyncExitStack() as left:
        deaf = await _stalling(served.address, STREAM, few, left)
        await served.face.stuck(few)
        assert await call(served.address, "unary") == b"x"
        served.face.gives_up.set()
        await until(lambda: served.under_way == few)
        told = await call(served.address, "unary")
        assert told[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await call(served.address, STREAM, message=b""))[0] is told[0]
        for each in deaf:
            each.leave()
        await until(lambda: served.under_way == 0)
        assert await call(served.address, "unary") == b"x"


async def test_callers_without_a_name_are_not_told_apart(plain: ServiceConfig, few: int) -> None:
    async with serving(OpenDoor(), plain) as served, AsyncExitStack() as left:
        await _stalling(served.address, "/f/unary", 2 * few, left)
        assert await call(served.address, "unary") == b"x"


async def test_probes_need_no_token_and_cannot_be_stopped_up(
    guard: TokenGuard, plain: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PROBE in OPEN
    monkeypatch.setattr(doorkeeper, "OPEN_CALLS", 2)
    hasty = replace(plain, hello_s=1.0)
    async with serving(guard, hasty) as served, AsyncExitStack() as left:
        assert await call(served.address, PROBE, "") == b"x"
        async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
            stoppers = [await Loris.arrived(served.address, PROBE) for _ in range(2)]
            for each in stoppers:
                left.callback(each.leave)
            dripping = [tasks.create_task(each.drip(10_000)) for each in stoppers]
            await until(lambda: served.keeper._open_calls == 2)
            told = await call(served.address, PROBE, "")
            assert told[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [task.result()[0] for task in dripping] == ["4", "4"]
        assert await call(served.address, PROBE, "") == b"x"


async def test_messages_of_strangers_are_read_one_after_the_other_where_memory_is_short(
    plain: ServiceConfig,
) -> None:
    """Half a message takes as much as a whole one in the end."""
    scarce = replace(plain, max_bytes_in_flight=2 * SIZES.most - 1)
    async with serving(OpenDoor(), scarce) as served, asyncio.TaskGroup() as tasks:
        stalling = await Loris.arrived(served.address, PROBE)
        await until(served.keeper._turns.locked)
        probing = tasks.create_task(call(served.address, PROBE, ""))
        await until(lambda: served.keeper._open_calls == 2)
        assert served.face.called == []
        stalling.leave()
        assert await probing == b"x"


async def test_what_goes_wrong_inside_stays_there(
    plain: ServiceConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(OpenDoor(), plain) as served:
        code, text = await call(served.address, "unary", message=b"fail")
    assert code is grpc.StatusCode.INTERNAL
    assert text == "the service failed; its log says why"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert DETAIL in str(record.exc_info[1])


async def test_bytes_that_are_no_message_are_told_so(plain: ServiceConfig) -> None:
    async with serving(OpenDoor(), plain) as served:
        code, text = await call(served.address, "unary", message=b"garbage")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == "bytes came that are no message of this protocol"


async def test_a_call_without_its_message_is_told_so(plain: ServiceConfig) -> None:
    async with (
        serving(OpenDoor(), plain) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        multicallable: Any = channel.stream_unary("/f/unary")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await multicallable(iter(()), timeout=GUARD_S)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def _stalling(address: str, method: str, count: int, left: AsyncExitStack) -> list[Loris]:
    """So many calls of the camera's that say nothing more, and read nothing."""
    stalling = [await Loris.arrived(address, method, *_strings(SECRET)) for _ in range(count)]
    for each in stalling:
        left.callback(each.leave)
    return stalling


async def _twice(message: bytes) -> AsyncIterator[bytes]:
    if not message:
        await asyncio.Event().wait()
    for _again in range(2):
        yield message


def _strings(token: str) -> list[tuple[str, str]]:
    return [(key, str(value)) for key, value in bearer(token)]
