"""What a look at another service costs: the bytes that a real one takes on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.commands import Cloud
from tests.edge.doctor.certificates import make_certificate

from isthmus import open_bundle
from isthmus.session import Identity
from isthmus.v1 import split_pb2 as pb
from isthmus_edge import Connection, OnEnd, OnMessage
from isthmus_edge.stream.look import Sight, look
from isthmus_edge.stream.transport import GrpcTransport


class Counted:
    """A relay to a port of this machine; bytes of the streams, both ways."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._done: list[asyncio.Future[None]] = []
        self.up = self.down = 0

    async def ended(self) -> None:
        """All connections that were made are over."""
        await asyncio.gather(*self._done)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.append(done)
        there, beyond = await asyncio.open_connection("127.0.0.1", self._port)
        up = asyncio.create_task(_pump(reader, beyond))
        self.down += await _pump(there, writer)
        self.up += await up
        done.set_result(None)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    count = 0
    try:
        while piece := await reader.read(65536):
            count += len(piece)
            writer.write(piece)
    except ConnectionError:
        pass  # who has seen enough hangs up
    writer.close()
    return count


@asynccontextmanager
async def counted(cloud: Cloud) -> AsyncIterator[tuple[Counted, str]]:
    """A relay before the service, and its address; what it counts is complete at the end."""
    relay = Counted(int(cloud.address.rpartition(":")[2]))
    async with asyncio.timeout(30.0):
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        yield relay, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        await relay.ended()


async def looked(cloud: Cloud, bundle: Path, trusted: Path | None = None) -> tuple[Counted, Sight]:
    identity = Identity("a device", open_bundle(bundle, "device").fingerprint)
    async with counted(cloud) as (relay, address):
        sight = await look(GrpcTransport(address, trusted, 1_000_000), identity)
    return relay, sight


async def test_a_look_takes_about_a_kilobyte(cloud: Cloud, tiny_bundle: Path) -> None:
    relay, sight = await looked(cloud, tiny_bundle)
    assert sight.load is not None
    assert (sight.load.queue_ms, sight.load.streams) == (0.0, 1)  # it counts itself
    assert 0 < relay.up < 1000
    assert 0 < relay.down < 1000


async def test_over_tls_a_look_takes_some_kilobytes(tmp_path: Path, tiny_bundle: Path) -> None:
    certificate = make_certificate(tmp_path / "certificate")
    flags = ("--tls-cert", certificate.pem, "--tls-key", certificate.key)
    with Cloud(tiny_bundle, "127.0.0.1:0", *flags) as cloud:
        relay, sight = await looked(cloud, tiny_bundle, certificate.pem)
    assert sight.load is not None
    assert 1000 < relay.up < 3000
    assert 1000 < relay.down < 4000


class Plain:
    """A transport whose looks are plain Hellos, as a service of an older release reads them."""

    def __init__(self, address: str) -> None:
        self._transport = GrpcTransport(address, None, 1_000_000)

    def connect(self, on_message: OnMessage, on_end: OnEnd) -> Connection:
        connection = self._transport.connect(on_message, on_end)
        send = connection.send

        def sent(message: pb.EdgeMessage) -> None:
            message.hello.look = False
            send(message)

        connection.send = sent  # type: ignore[method-assign]
        return connection


async def test_a_service_that_knows_no_looks_begins_a_session_and_ends_it(
    cloud: Cloud, tiny_bundle: Path
) -> None:
    identity = Identity("a device", open_bundle(tiny_bundle, "device").fingerprint)
    for _ in range(3):
        sight = await look(Plain(cloud.address), identity)
        assert sight.load is not None
        assert sight.load.streams == 1  # those before it have left


async def test_a_service_with_another_bundle_says_so(cloud: Cloud, other_bundle: Path) -> None:
    _, sight = await looked(cloud, other_bundle)
    assert sight.load is None
    assert "another bundle" in sight.why
    assert sight.rest_s > 0


async def test_where_nobody_listens_the_look_ends_at_once(tiny_bundle: Path) -> None:
    with Cloud(tiny_bundle) as gone:
        address = gone.address
    identity = Identity("a device", open_bundle(tiny_bundle, "device").fingerprint)
    sight = await look(GrpcTransport(address, None, 1_000_000), identity)
    assert sight.load is None
    assert "nothing listens there" in sight.why
