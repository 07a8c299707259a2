"""A service that hands out bundles, over gRPC: `isthmus.v1.Bundles`.

One message is one piece of a file, so memory is bounded by what one message may have. A call may
take `call_s`; whoever fetches goes on behind what came, so that only a link that moves nothing for
so long ends a fetch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import grpc

from isthmus import LinkError, PeerError
from isthmus.bundle import MAX_MANIFEST_BYTES
from isthmus.session import cleaned
from isthmus.v1 import store_pb2 as pb
from isthmus.v1.store_pb2_grpc import BundlesStub
from isthmus_edge.bundles.offer import Offer
from isthmus_edge.stream.credentials import Credentials
from isthmus_edge.stream.handshake import trouble_of

CALL_S = 300.0  # a piece of 256 KiB comes within it at 7 kbit/s
OFFER_S = 60.0  # a manifest
MOST_CHARACTERS = 1000  # of what a service says

_MOST_BYTES = MAX_MANIFEST_BYTES + 64 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MOST_BYTES),
    ("grpc.keepalive_time_ms", 10_000),  # a connection that is dead is known by this
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.bdp_probe", 0),  # what is on its way to somebody who pauses stays small
    ("grpc.use_local_subchannel_pool", 1),  # a new attempt must not share a dead connection
    ("grpc.enable_retries", 0),  # whoever fetches has a back-off of its own
)
_PASSING = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
_SHUT = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})

__all__ = ["CALL_S", "BundleService", "Bundles"]


class Bundles(Protocol):
    """Who hands out bundles. LinkError for what passes, PeerError for what does not."""

    def current(self, model: str, held: str) -> Offer:
        """The active version of a model; without its manifest where that is `held`."""
        ...

    def pieces(self, fingerprint: str, path: str, offset: int) -> Iterator[bytes]:
        """A file of the device's half, from an offset on."""
        ...

    def close(self) -> None:
        """End what is under way, with a LinkError there; idempotent, from any thread."""
        ...


class BundleService:
    """The one at HOST:PORT, or at one of the addresses that a name stands for; a context.

    Files with secrets are read here: ConfigError if that cannot be.
    """

    def __init__(self, address: str, credentials: Credentials, call_s: float = CALL_S) -> None:
        shown = credentials.read()
        self._address = address
        self._call_s = call_s
        self._shown = shown
        self._metadata = shown.metadata
        self._channel = shown.channel(address, _OPTIONS)
        self._stub: Any = BundlesStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def current(self, model: str, held: str) -> Offer:
        """See `Bundles.current`."""
        request = pb.CurrentRequest(model=model, fingerprint=held)
        with self._translated():
            reply = self._stub.Current(
                request, metadata=self._metadata, timeout=min(OFFER_S, self._call_s)
            )
        return Offer(
            reply.name, reply.version, reply.fingerprint, reply.manifest, reply.signature or None
        )

    def pieces(self, fingerprint: str, path: str, offset: int) -> Iterator[bytes]:
        """See `Bundles.pieces`."""
        request = pb.FetchRequest(fingerprint=fingerprint, path=path, offset=offset)
        with self._translated():
            call = self._stub.Fetch(request, metadata=self._metadata, timeout=self._call_s)
            try:
                for piece in call:
                    yield piece.data
            finally:
                call.cancel()  # whoever reads no more wants no more

    def close(self) -> None:
        """See `Bundles.close`."""
        self._channel.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """gRPC's errors as ours, with the way out."""
        try:
            yield
        except ValueError as error:  # of gRPC, for a channel that was closed
            raise LinkError(f"{self._address}: the fetch was ended") from error
        except grpc.RpcError as error:
            code, text = error.code(), cleaned(str(error.details()), MOST_CHARACTERS)
            if code is grpc.StatusCode.UNIMPLEMENTED:
                text = "it has no store; start it with `isthmus cloud --store DIR`"
            if code in _PASSING:
                why = self._why(text) or f"{text}; see that the service runs there"
                text = f"{self._address}: {code.name}: {why}; what has come is kept"
                raise LinkError(text) from error
            if code in _SHUT:
                text += "; give this device's token or certificate"
            raise PeerError(code.name, f"{self._address}: {text}") from error

    def _why(self, details: str) -> str:
        """What keeps this device from the service, with the way out; empty if it is not known."""
        trouble = trouble_of(details, self._shown, self._address.rpartition(":")[0])
        return "" if trouble is None else str(trouble)
