"""Who calls an operator's verb and is none is told what helps, and nothing that does not."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from tests.commands import PATIENCE_S

from isthmus import PeerError
from isthmus_cli.store_remote import RemoteStore
from isthmus_cloud.security.guards import NO_OPERATORS
from isthmus_edge.stream.credentials import Credentials

SHOW = "give the --token-file or the --tls-cert of an operator"


class Refusing(grpc.GenericRpcHandler):
    """Ends each call with this status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        self._code, self._text = code, text

    def service(self, _details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """For every method alike."""

        def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
            context.abort(self._code, self._text)

        return grpc.unary_unary_rpc_method_handler(refuse)


@contextmanager
def refusing(code: grpc.StatusCode, text: str) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Refusing(code, text)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("code", "text", "is_told"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "this token is not valid here", True),
        (grpc.StatusCode.PERMISSION_DENIED, NO_OPERATORS, False),
    ],
    ids=["unknown", "no operators there"],
)
def test_what_to_show_is_told_where_that_helps(
    code: grpc.StatusCode, text: str, is_told: bool
) -> None:
    with (
        refusing(code, text) as address,
        RemoteStore(address, Credentials(), PATIENCE_S) as store,
        pytest.raises(PeerError) as refused,
    ):
        store.versions(None, verify=False)
    assert text in str(refused.value)
    assert (SHOW in str(refused.value)) is is_told
