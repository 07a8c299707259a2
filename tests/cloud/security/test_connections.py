"""Those who connect and say nothing: they are put out, cost little, and keep nobody away."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
import pytest
from tests.cloud.device import GUARD_S, Head, connected
from tests.cloud.security.loris import Loris
from tests.cloud.security.probe import Probe, ask, probing
from tests.cloud.serving import answering, listening
from tests.commands import Command

from isthmus import Bundle
from isthmus_cloud import ServiceConfig
from isthmus_cloud.answering.parts import Tail
from isthmus_cloud.faces import binding
from isthmus_cloud.faces.binding import FILES_BESIDE_CONNECTIONS, allow_open_files
from isthmus_cloud.security import OpenDoor

CROWD = 1000
CROWD_BYTES = 64 * 1024 * 1024  # 16 KB each was measured; a frame's worth each would be far more
# HTTP/2's first words, and an empty frame of settings: a connection that could make calls.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Serving(Command):
    """The service as a process, ready on `address`."""

    module = "tests.cloud.security.serving"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.address = self.line("listening on ").split()[2]


@pytest.fixture
def open_files() -> Iterator[None]:
    """Enough of them for a crowd in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < CROWD + 256:
        pytest.skip(f"this system gives a process {before[1]} files, fewer than the crowd needs")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], CROWD + 256), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def crowd(address: str, count: int, words: bytes) -> AsyncIterator[list[Connection]]:
    """So many connections that send `words` and nothing more."""
    host, _, port = address.rpartition(":")
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    try:
        for _, writer in connections:
            writer.write(words)
        yield connections
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def put_out(connections: list[Connection]) -> int:
    """Wait until the service has ended each; how many."""

    async def ended(reader: asyncio.StreamReader) -> bool:
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        return True

    async with asyncio.timeout(GUARD_S):
        return sum(await asyncio.gather(*(ended(reader) for reader, _ in connections)))


async def is_served(address: str, bundle: Bundle, head: Head) -> bool:
    async with connected(address) as device:
        await device.hello(bundle.fingerprint)
        await device.send(frame=head.frame("cut-16"))
        return (await device.result()).sequence == 1


@pytest.mark.usefixtures("open_files")
async def test_a_thousand_connections_that_never_speak_keep_nobody_away(
    tiny_bundle: Path, bundle: Bundle, head: Head
) -> None:
    """Half of them say nothing at all, the others only that they could."""
    with Serving(tiny_bundle, 2, 1, 2 * CROWD) as service:
        process = psutil.Process(service.process.pid)
        assert await is_served(service.address, bundle, head)
        before_bytes = process.memory_info().rss
        async with (
            crowd(service.address, CROWD // 2, b"") as silent,
            crowd(service.address, CROWD // 2, PREFACE) as waiting,
        ):
            assert await is_served(service.address, bundle, head)
            grown_bytes = process.memory_info().rss - before_bytes
            assert await put_out([*silent, *waiting]) == CROWD
        assert await is_served(service.address, bundle, head)
        assert len(process.net_connections("tcp")) < 10
    assert grown_bytes < CROWD_BYTES


async def test_a_call_that_drips_is_ended_when_its_hello_is_not_there_in_time(
    bundle: Bundle, config: ServiceConfig, tails: Mapping[str, Tail]
) -> None:
    """Bytes keep coming, so the connection is alive; what counts is the whole message."""
    hasty = replace(config, hello_s=0.3)
    with answering(bundle.manifest, tails) as answerer:
        async with listening(hasty, bundle, answerer) as service, asyncio.timeout(GUARD_S):
            loris = await Loris.arrived(service.address, "/isthmus.v1.Split/Stream")
            status, _ = await loris.drip(10_000)
            loris.leave()
    assert status == "0"  # it ended in order, after an error that says why


async def test_beyond_the_most_connections_one_is_closed_at_once(plain: ServiceConfig) -> None:
    few = replace(plain, max_connections=3)
    async with probing(Probe(OpenDoor()), few) as address, AsyncExitStack() as left:
        three = await left.enter_async_context(crowd(address, 3, PREFACE))
        for reader, _ in three:
            await reader.readexactly(9)  # it is in: the service has sent its settings
        async with crowd(address, 1, PREFACE) as fourth:
            assert await put_out(fourth) == 1
        assert (await ask(address)).code is grpc.StatusCode.UNAVAILABLE
        three[0][1].transport.abort()
        async with asyncio.timeout(GUARD_S):
            while (await ask(address)).code is not grpc.StatusCode.OK:
                pass


async def test_a_handshake_that_is_not_begun_is_not_waited_for(over_tls: ServiceConfig) -> None:
    hasty = replace(over_tls, hello_s=0.1)
    async with probing(Probe(OpenDoor()), hasty) as address:
        for words in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", PREFACE):
            async with crowd(address, 2, words) as connections:
                assert await put_out(connections) == 2


@pytest.mark.parametrize(
    ("limits", "wanted", "complaints"),
    [((1024, 8192), 8000, 0), ((9000, 9000), None, 0), ((1024, 4000), 4000, 1)],
    ids=["asks for more", "has enough", "gets too few"],
)
def test_the_process_asks_for_as_many_files_as_it_may_have_connections(
    limits: tuple[int, int],
    wanted: int | None,
    complaints: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, both: asked.append(both))
    config = ServiceConfig(bundle=Path(), max_connections=8000 - FILES_BESIDE_CONNECTIONS)
    allow_open_files(config)
    assert asked == ([] if wanted is None else [(wanted, limits[1])])
    assert len(caplog.messages) == complaints
    assert all("too few for 7744 connections" in line for line in caplog.messages)


def test_calls_beyond_all_streams_are_bounded_too(plain: ServiceConfig) -> None:
    beside = binding.CALLS_BESIDE_STREAMS + binding.ENDED_CALLS
    assert binding.most_calls(plain) == plain.max_streams + beside
